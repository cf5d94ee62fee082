//! Timers and sleeps through the public interface.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct::time::{self, Timer};
use aqueduct::{Wait, block_on};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use futures_test::task::{new_count_waker, noop_context};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn never_early() {
    for micros in [1, 50, 66, 131, 999, 2_500] {
        let duration = Duration::from_micros(micros);
        let start = Instant::now();
        time::sleep(duration);
        assert!(start.elapsed() >= duration);
        let deadline = Instant::now() + duration;
        time::sleep_until(deadline);
        assert!(Instant::now() >= deadline);
        let deadline = Instant::now() + duration;
        block_on(Timer::at(deadline));
        assert!(Instant::now() >= deadline);
    }
}

#[test]
fn timers_complete_in_the_order_of_their_deadlines() {
    // Far enough away that all are armed before the first is due.
    let start = Instant::now() + Duration::from_millis(100);
    let order = [3, 0, 4, 1, 2];
    let timers: FuturesUnordered<_> = order
        .map(|place| async move {
            Timer::at(start + Duration::from_millis(5) * place).await;
            place
        })
        .into_iter()
        .collect();
    // One worker, one wheel: timers of different workers fire in no order but that of their threads.
    let runtime = aqueduct::Runtime::builder().workers(1).build().unwrap();
    assert_eq!(runtime.block_on(timers.collect::<Vec<_>>()), [0, 1, 2, 3, 4]);
}

#[test]
fn ten_thousand_at_once() {
    let timers: FuturesUnordered<_> =
        (0..10_000).map(|n| Timer::after(Duration::from_micros(n % 5_000))).collect();
    assert_eq!(block_on(timers.count()), 10_000);
}

#[test]
fn a_zero_sleep_yields_once() {
    let (waker, woken) = new_count_waker();
    let cx = &mut Context::from_waker(&waker);
    for mut timer in [Timer::after(Duration::ZERO), Timer::at(Instant::now())] {
        let before = woken.get();
        assert!(Pin::new(&mut timer).poll(cx).is_pending());
        assert_eq!(woken.get(), before + 1, "it is polled again at once");
        assert!(Pin::new(&mut timer).poll(cx).is_ready());
        assert!(Pin::new(&mut timer).poll(cx).is_ready(), "and stays complete");
    }
    time::sleep(Duration::ZERO);
}

#[test]
fn absurd_durations_are_far_away() {
    for delay in [Duration::MAX, Duration::from_secs(u64::MAX / 2), HOUR * 24 * 365 * 100] {
        let mut timer = Timer::after(delay);
        assert!(timer.deadline() > Instant::now() + HOUR * 24 * 365);
        assert!(Pin::new(&mut timer).poll(&mut noop_context()).is_pending());
    }
}

#[test]
fn reset_to_earlier_and_to_later() {
    let mut timer = Timer::after(HOUR);
    assert!(Pin::new(&mut timer).poll(&mut noop_context()).is_pending());
    let soon = Instant::now() + Duration::from_millis(1);
    timer.reset(soon);
    assert_eq!(timer.deadline(), soon);
    block_on(&mut timer);
    assert!(Instant::now() >= soon);
    timer.reset(Instant::now() + HOUR);
    assert!(Pin::new(&mut timer).poll(&mut noop_context()).is_pending());
}

#[test]
fn a_dropped_timer_drops_its_waker() {
    struct Idle;
    impl std::task::Wake for Idle {
        fn wake(self: Arc<Self>) {}
    }
    let idle = Arc::new(Idle);
    let mut timer = Timer::after(HOUR);
    let waker = Waker::from(idle.clone());
    assert!(Pin::new(&mut timer).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    assert_eq!(Arc::strong_count(&idle), 2);
    drop(timer);
    assert_eq!(Arc::strong_count(&idle), 1);
}

#[test]
fn a_timer_moves_between_threads() {
    let mut timer = Timer::after(HOUR);
    let (waker, woken) = new_count_waker();
    assert!(Pin::new(&mut timer).poll(&mut Context::from_waker(&waker)).is_pending());
    let moved = thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_millis(1);
        timer.reset(deadline);
        timer.wait();
        assert!(Instant::now() >= deadline);
    });
    moved.join().unwrap();
    assert_eq!(woken.get(), 0, "the waker of the last poll is the one that counts");
}

#[test]
fn sleeping_threads_do_not_wait_for_each_other() {
    let sleepers: Vec<_> =
        (1..=8).map(|n| thread::spawn(move || time::sleep(Duration::from_millis(n)))).collect();
    for sleeper in sleepers {
        sleeper.join().unwrap();
    }
}

#[test]
fn the_types_may_be_shared_and_printed() {
    fn check<T: Send + Sync + Unpin + std::fmt::Debug>(value: &T) -> String {
        format!("{value:?}")
    }
    assert!(check(&Timer::after(HOUR)).contains("deadline"));
    assert!(check(&time::timeout(HOUR, std::future::ready(()))).contains("deadline"));
    assert!(check(&time::interval(HOUR)).contains("period"));
}

#[test]
fn pinned_in_a_select() {
    block_on(async {
        let mut long = pin!(Timer::after(HOUR));
        let short = pin!(Timer::after(Duration::from_millis(1)));
        futures::future::select(&mut long, short).await;
        assert!(Instant::now() < long.deadline());
    });
}

#[test]
fn a_ticker_is_an_iterator() {
    let (period, start) = (Duration::from_millis(5), Instant::now());
    let ticker = time::tick(period);
    let moments: Vec<_> = ticker.iter().take(3).collect();
    assert!(moments[0] >= start + period && moments.is_sorted());
    assert!((&ticker).into_iter().next() > Some(moments[2]));
    let owned = ticker.into_iter().take(2);
    assert_eq!(owned.size_hint(), (2, Some(2)));
    assert_eq!(owned.count(), 2);
    assert!(start.elapsed() >= 6 * period);
}
