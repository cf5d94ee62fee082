//! The policies, on made-up moments.

use super::*;

const PERIOD: Duration = Duration::from_millis(10);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_tick_taken_late_but_before_the_next_moves_nothing() {
    let due = clock::now();
    for policy in [MissedTick::Burst, MissedTick::Delay, MissedTick::Skip] {
        for late in [ms(0), ms(1), PERIOD - Duration::from_nanos(1)] {
            assert_eq!(policy.next(due, due + late, PERIOD), due + PERIOD, "{policy:?} {late:?}");
        }
    }
}

#[test]
fn burst_delivers_every_missed_tick() {
    let due = clock::now();
    assert_eq!(MissedTick::Burst.next(due, due + ms(37), PERIOD), due + ms(10));
}

#[test]
fn delay_counts_from_the_moment_the_tick_was_taken() {
    let due = clock::now();
    assert_eq!(MissedTick::Delay.next(due, due + ms(37), PERIOD), due + ms(47));
}

#[test]
fn skip_goes_to_the_next_multiple_after_now() {
    let due = clock::now();
    assert_eq!(MissedTick::Skip.next(due, due + ms(37), PERIOD), due + ms(40));
    // A tick due this very moment is among the missed.
    assert_eq!(MissedTick::Skip.next(due, due + ms(40), PERIOD), due + ms(50));
}

#[test]
fn absurd_periods_do_not_overflow() {
    let due = clock::now();
    for policy in [MissedTick::Burst, MissedTick::Delay, MissedTick::Skip] {
        assert!(policy.next(due, due, Duration::MAX) > due + Duration::from_secs(1 << 29));
    }
}

#[test]
fn remainder_of_long_lengths() {
    assert_eq!(remainder(Duration::MAX, Duration::MAX), Duration::ZERO);
    assert_eq!(
        remainder(Duration::from_secs(1_000_000_007), Duration::from_secs(10)),
        Duration::from_secs(7)
    );
}
