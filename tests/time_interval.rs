//! Intervals through the public interface. What happens to missed ticks is tested on made-up moments beside
//! the code.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use aqueduct::block_on;
use aqueduct::time::{self, Interval, MissedTick};
use futures::StreamExt;
use futures_test::task::{noop_context, panic_waker};

const HOUR: Duration = Duration::from_secs(3600);
const MILLI: Duration = Duration::from_millis(1);

#[test]
fn ticks_are_due_one_period_apart_and_never_early() {
    let start = Instant::now();
    let mut interval = time::interval(MILLI);
    let mut due = interval.tick();
    assert!(due >= start + MILLI);
    for _ in 0..5 {
        let next = interval.tick();
        assert!(Instant::now() >= next);
        assert_eq!(next - due, MILLI);
        due = next;
    }
}

fn overdue(policy: MissedTick) -> (Interval, Instant) {
    let first = Instant::now() - Duration::from_millis(350);
    (time::interval_at(first, Duration::from_millis(100)).missed_tick(policy), first)
}

#[test]
fn burst_catches_up() {
    let (mut interval, first) = overdue(MissedTick::Burst);
    for n in 0..4 {
        assert_eq!(interval.tick(), first + Duration::from_millis(100) * n);
    }
}

#[test]
fn delay_starts_anew() {
    let (mut interval, first) = overdue(MissedTick::Delay);
    let before = Instant::now();
    assert_eq!(interval.tick(), first);
    assert!(interval.next_tick() >= before + Duration::from_millis(100));
}

#[test]
fn skip_keeps_the_beat() {
    let (mut interval, first) = overdue(MissedTick::Skip);
    assert_eq!(interval.tick(), first);
    let beat = interval.next_tick() - first;
    assert!(beat >= Duration::from_millis(400));
    assert_eq!(beat.as_nanos() % 100_000_000, 0);
}

#[test]
fn a_dropped_tick_loses_nothing() {
    let now = Instant::now();
    let mut interval = time::interval_at(now + MILLI, HOUR);
    {
        let mut tick = pin!(interval.tick_async());
        assert!(tick.as_mut().poll(&mut noop_context()).is_pending());
    }
    assert_eq!(interval.tick(), now + MILLI);
}

#[test]
fn a_tick_that_is_due_is_there_at_once() {
    let mut interval = time::interval_at(Instant::now(), HOUR);
    let waker = panic_waker();
    let cx = &mut std::task::Context::from_waker(&waker);
    assert!(matches!(interval.poll_tick(cx), Poll::Ready(_)));
}

#[test]
fn a_stream_of_ticks() {
    let ticks: Vec<_> = block_on(time::interval(MILLI).take(3).collect());
    assert_eq!(ticks.len(), 3);
    assert!(ticks.is_sorted());
}

#[test]
fn reset_moves_the_next_tick() {
    let mut interval = time::interval_at(Instant::now(), HOUR);
    let before = Instant::now();
    interval.reset();
    assert!(interval.next_tick() >= before + HOUR);
    assert_eq!(interval.period(), HOUR);
}

#[test]
fn absurd_periods() {
    let mut interval = time::interval_at(Instant::now(), Duration::MAX);
    interval.tick();
    assert!(interval.next_tick() > Instant::now() + HOUR);
    drop(time::interval(Duration::MAX));
}

#[test]
#[should_panic(expected = "must not be zero")]
fn a_period_of_zero_panics() {
    drop(time::interval(Duration::ZERO));
}
