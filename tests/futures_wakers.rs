//! The wakers that futures are polled with, in every place where they are polled, and the wakers of others that our futures are
//! polled with: both sides of the contract.

mod common;

use aqueduct::executor::{Executor, LocalExecutor};
use aqueduct::select::Select;
use aqueduct::{LocalRuntime, Wait, channel, select_async, sync, time, yield_now};
use common::{Drops, Latch, OnDrop, Rng, lock, panic_of, watchdog};
use futures::task::AtomicWaker;
use futures_test::future::FutureTestExt;
use futures_test::stream::StreamTestExt;
use futures_test::task::{new_count_waker, panic_waker};
use std::fmt;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

// ---- places

/// Where a future is polled, and so whose waker it sees.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A task of a runtime.
    Task,
    /// `block_on` in a coroutine.
    Coroutine,
    /// `block_on` inside the poll of a task.
    InsidePoll,
    /// `block_on` on a plain thread.
    Thread,
    LocalTask,
    LocalCoroutine,
    ExecutorTask,
    /// The future that an executor is run with.
    ExecutorMain,
    LocalExecutorTask,
    LocalExecutorMain,
}

use Place::*;

const PLACES: [Place; 10] = [
    Task,
    Coroutine,
    InsidePoll,
    Thread,
    LocalTask,
    LocalCoroutine,
    ExecutorTask,
    ExecutorMain,
    LocalExecutorTask,
    LocalExecutorMain,
];

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {self:?}")
    }
}

impl Place {
    /// Runs a future there. What it ran on is gone afterwards.
    fn run<F>(self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match self {
            Task => common::runtime(2).spawn(future).join().unwrap(),
            Coroutine => common::runtime(2).go(move || future.wait()).join().unwrap(),
            InsidePoll => common::runtime(2).spawn(async move { future.wait() }).join().unwrap(),
            Thread => future.wait(),
            LocalTask => LocalRuntime::new().unwrap().block_on(future),
            LocalCoroutine => LocalRuntime::new().unwrap().run(move || future.wait()),
            ExecutorTask => {
                let executor = Executor::new();
                let task = executor.spawn(future);
                executor.run(task).wait()
            }
            ExecutorMain => Executor::new().run(future).wait(),
            LocalExecutorTask => {
                let executor = LocalExecutor::new();
                let task = executor.spawn(future);
                executor.run(task).wait()
            }
            LocalExecutorMain => LocalExecutor::new().run(future).wait(),
        }
    }
}

/// Polls `poll` and sees to it that nobody polls it after it was ready.
fn once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> impl Future<Output = T> {
    let mut ready = false;
    poll_fn(move |cx| {
        assert!(!ready, "polled after it was ready");
        let result = poll(cx);
        ready = result.is_ready();
        result
    })
}

// ---- the wakers that we make

#[test]
fn a_waker_wakes_what_its_clones_wake_and_nothing_else() {
    let _dog = watchdog!(60);
    for place in PLACES {
        let before: Arc<Mutex<Option<Waker>>> = Arc::default();
        let seen = before.clone();
        let polls = place.run({
            let mut polls = 0;
            once(move |cx| {
                polls += 1;
                let waker = cx.waker();
                let copy = waker.clone();
                assert!(waker.will_wake(&copy) && copy.will_wake(waker), "{place}");
                assert!(!waker.will_wake(Waker::noop()), "{place}");
                let kept = lock(&seen).replace(copy);
                if let Some(kept) = kept {
                    assert!(kept.will_wake(waker), "{place}: the same task, another waker");
                }
                if polls == 3 {
                    return Poll::Ready(polls);
                }
                waker.wake_by_ref();
                Poll::Pending
            })
        });
        assert_eq!(polls, 3, "{place}");
    }
}

#[test]
fn wakers_of_two_tasks_differ() {
    let _dog = watchdog!(30);
    let mine = |cx: &mut Context<'_>| Poll::Ready(cx.waker().clone());
    let executor = Executor::new();
    let local = LocalRuntime::new().unwrap();
    let runtime = common::runtime(1);
    let wakers = [
        runtime.spawn(poll_fn(mine)).join().unwrap(),
        runtime.spawn(poll_fn(mine)).join().unwrap(),
        executor.run(executor.spawn(poll_fn(mine))).wait(),
        executor.run(executor.spawn(poll_fn(mine))).wait(),
        local.block_on(poll_fn(mine)),
        local.block_on(poll_fn(mine)),
    ];
    for (index, waker) in wakers.iter().enumerate() {
        for (other, other_waker) in wakers.iter().enumerate() {
            assert_eq!(waker.will_wake(other_waker), index == other, "{index} and {other}");
        }
    }
}

#[test]
fn a_wake_during_the_poll_is_followed_by_a_poll() {
    let _dog = watchdog!(60);
    for place in PLACES {
        // By reference, by value, of a clone, several at once, and together with one from another thread.
        let wakes: [fn(&Waker); 5] = [
            |waker| waker.wake_by_ref(),
            |waker| {
                let copy = waker.clone();
                drop(waker.clone());
                copy.wake();
            },
            |waker| (0..10).for_each(|_| waker.wake_by_ref()),
            |waker| {
                let waker = waker.clone();
                std::thread::spawn(move || waker.wake()).join().unwrap();
            },
            |waker| {
                waker.wake_by_ref();
                let waker = waker.clone();
                std::thread::spawn(move || waker.wake_by_ref()).join().unwrap();
            },
        ];
        let mut wakes = wakes.into_iter();
        let polls = place.run({
            let mut polls = 0;
            once(move |cx| {
                polls += 1;
                match wakes.next() {
                    Some(wake) => {
                        wake(cx.waker());
                        Poll::Pending
                    }
                    None => Poll::Ready(polls),
                }
            })
        });
        assert_eq!(polls, 6, "{place}");
    }
}

#[test]
fn spurious_wakes_do_no_harm() {
    let _dog = watchdog!(60);
    for place in PLACES {
        let latch = Latch::new();
        let stop = Arc::new(AtomicBool::new(false));
        let place_of_waker: Arc<Mutex<Option<Waker>>> = Arc::default();
        let pesterer = {
            let (stop, waker, latch) = (stop.clone(), place_of_waker.clone(), latch.clone());
            std::thread::spawn(move || {
                let mut wakes = 0;
                while !stop.load(SeqCst) {
                    let waker = lock(&waker).clone();
                    if let Some(waker) = waker {
                        waker.wake();
                        wakes += 1;
                    }
                    if wakes == 50 {
                        latch.open();
                    }
                    std::thread::yield_now();
                }
                wakes
            })
        };
        let mut opened = latch.opened();
        place.run(once(move |cx| {
            *lock(&place_of_waker) = Some(cx.waker().clone());
            Pin::new(&mut opened).poll(cx)
        }));
        stop.store(true, SeqCst);
        assert!(pesterer.join().unwrap() >= 50, "{place}");
    }
}

#[test]
fn wakers_are_cloned_dropped_and_woken_on_many_threads() {
    let _dog = watchdog!(60);
    for place in PLACES {
        let woken = Arc::new(AtomicBool::new(false));
        let seen = woken.clone();
        let mut started = false;
        place.run(once(move |cx| {
            if seen.load(SeqCst) {
                return Poll::Ready(());
            }
            if !started {
                started = true;
                let waker = cx.waker().clone();
                let woken = seen.clone();
                std::thread::spawn(move || {
                    // Most are only dropped, in another order than they were made.
                    let mut clones: Vec<_> = (0..100).map(|_| waker.clone()).collect();
                    clones.swap(3, 90);
                    clones.drain(10..60);
                    let threads: Vec<_> = clones.into_iter().step_by(10).collect();
                    let threads: Vec<_> =
                        threads.into_iter().map(|waker| std::thread::spawn(move || drop(waker))).collect();
                    threads.into_iter().for_each(|thread| thread.join().unwrap());
                    woken.store(true, SeqCst);
                    waker.wake();
                });
            }
            Poll::Pending
        }));
        assert!(woken.load(SeqCst), "{place}");
    }
}

#[test]
fn a_wake_comes_from_a_task_and_a_coroutine_of_another_runtime() {
    let _dog = watchdog!(60);
    let other = common::runtime(1);
    for place in PLACES {
        let handle = *other.handle();
        let mut stage = 0;
        place.run(once(move |cx| {
            let waker = cx.waker().clone();
            stage += 1;
            match stage {
                1 => drop(handle.spawn(async move { waker.wake() })),
                2 => drop(handle.go(move || waker.wake_by_ref())),
                3 => {
                    // From a destructor there.
                    let guard = OnDrop::new(move || waker.wake());
                    drop(handle.spawn(async move {
                        let _guard = guard;
                        yield_now();
                    }));
                }
                _ => return Poll::Ready(()),
            }
            Poll::Pending
        }));
    }
}

#[test]
fn a_future_wakes_its_own_waker_when_it_is_dropped() {
    let _dog = watchdog!(60);
    struct WakesOnDrop(Option<Waker>, Drops);

    impl Future for WakesOnDrop {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let first = self.0.is_none();
            self.0 = Some(cx.waker().clone());
            cx.waker().wake_by_ref();
            if first { Poll::Pending } else { Poll::Ready(()) }
        }
    }

    impl Drop for WakesOnDrop {
        fn drop(&mut self) {
            self.0.as_ref().expect("it was polled").wake_by_ref();
            drop(self.1.one());
        }
    }

    for place in PLACES {
        let drops = Drops::new();
        place.run(WakesOnDrop(None, drops.clone()));
        assert_eq!(drops.dropped(), 1, "{place}");
    }
    // Also when it is cancelled rather than completed.
    let drops = Drops::new();
    let runtime = common::runtime(1);
    let latch = Latch::new();
    let (opened, counted) = (latch.clone(), drops.clone());
    let task = runtime.spawn(async move {
        let mut wakes = WakesOnDrop(None, counted);
        let _ = futures::poll!(&mut wakes);
        opened.opened().await;
    });
    latch.block_thread_until_waited_for();
    task.cancel();
    assert!(task.join().unwrap_err().is_cancelled());
    let executor = Executor::new();
    let counted = drops.clone();
    let task = executor.spawn(async move {
        let mut wakes = WakesOnDrop(None, counted);
        let _ = futures::poll!(&mut wakes);
        pending::<()>().await;
    });
    assert!(executor.try_tick(), "its first poll");
    drop((task, executor));
    assert_eq!(drops.dropped(), 2);
}

/// A waker that outlives its task and its runtime: it does nothing, whoever calls it, and whoever drops it last.
#[test]
fn late_wakes_and_late_drops() {
    let _dog = watchdog!(60);
    for place in PLACES {
        let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let drops = Drops::new();
        let (keep, counted) = (kept.clone(), drops.one());
        place.run(async move {
            let _counted = &counted;
            poll_fn(|cx| {
                lock(&keep).extend((0..4).map(|_| cx.waker().clone()));
                Poll::Ready(())
            })
            .await;
        });
        common::until(|| drops.dropped() == 1);
        let wakers = std::mem::take(&mut *lock(&kept));
        assert_eq!(wakers.len(), 4);
        wakers[0].wake_by_ref();
        let last = std::thread::spawn(move || {
            let mut wakers = wakers.into_iter();
            wakers.next().unwrap().wake();
            wakers.next().unwrap().wake_by_ref();
            wakers
        });
        let rest = last.join().unwrap();
        std::thread::spawn(move || drop(rest)).join().unwrap();
    }
}

/// Wakes that race with the runtime's shutdown.
#[test]
fn wakes_during_a_shutdown() {
    let _dog = watchdog!(60);
    let mut rng = Rng::new("futures_wakers::wakes_during_a_shutdown");
    for _ in 0..30 {
        let runtime = common::runtime(2);
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        for index in 0..20 {
            let wakers = wakers.clone();
            let leave = poll_fn(move |cx| {
                lock(&wakers).push(cx.waker().clone());
                Poll::<()>::Pending
            });
            if index % 2 == 0 { drop(runtime.spawn(leave)) } else { drop(runtime.go(move || leave.wait())) }
        }
        common::until(|| lock(&wakers).len() >= 20);
        let stop = Arc::new(AtomicBool::new(false));
        let waking = {
            let (wakers, stop) = (std::mem::take(&mut *lock(&wakers)), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    wakers.iter().for_each(Waker::wake_by_ref);
                }
            })
        };
        for _ in 0..rng.below(2_000) {
            std::hint::spin_loop();
        }
        assert!(runtime.shutdown(common::soon()).is_complete());
        stop.store(true, SeqCst);
        waking.join().unwrap();
    }
}

/// Nothing is lost: each value is stored before its wake, and seen by the poll that follows.
#[test]
fn every_wake_of_a_storm_is_followed_by_a_poll() {
    let _dog = watchdog!(120);
    const THREADS: usize = 3;
    const EACH: usize = 1_000;
    for place in PLACES {
        let shared = Arc::new((AtomicUsize::new(0), AtomicWaker::new()));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let shared = shared.clone();
                std::thread::spawn(move || {
                    for _ in 0..EACH {
                        shared.0.fetch_add(1, Relaxed);
                        shared.1.wake();
                    }
                })
            })
            .collect();
        place.run(once(move |cx| {
            shared.1.register(cx.waker());
            if shared.0.load(Relaxed) == THREADS * EACH { Poll::Ready(()) } else { Poll::Pending }
        }));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn what_futures_test_makes_of_futures_and_streams() {
    let _dog = watchdog!(60);
    use futures::StreamExt;
    for place in PLACES {
        let value = place.run(async { 7 }.pending_once().interleave_pending().assert_unmoved());
        assert_eq!(value, 7, "{place}");
        let numbers = futures::stream::iter(0..50).interleave_pending().assert_unmoved().collect::<Vec<_>>();
        assert_eq!(place.run(numbers.interleave_pending()), (0..50).collect::<Vec<_>>(), "{place}");
    }
}

// ---- the wakers that our futures are given

/// A waker that counts its wakes and its living clones.
struct Watched {
    wakes: AtomicUsize,
}

impl Wake for Watched {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, SeqCst);
    }
}

/// One future of ours that is not ready, and what makes it so.
struct Case {
    name: &'static str,
    future: Pin<Box<dyn Future<Output = ()>>>,
    complete: Box<dyn FnOnce()>,
}

fn case(
    name: &'static str,
    future: impl Future<Output = ()> + 'static,
    complete: impl FnOnce() + 'static,
) -> Case {
    Case { name, future: Box::pin(future), complete: Box::new(complete) }
}

/// Everything that registers a waker with something of ours. The timer is due `delay` after its first poll.
fn cases(delay: Duration) -> Vec<Case> {
    let mut all = Vec::new();
    let (latch, notify) = (Latch::new(), Arc::new(sync::Notify::new()));
    let task = aqueduct::spawn(latch.opened());
    all.push(case("JoinHandle", async move { task.await.unwrap() }, move || latch.open()));
    let waiting = notify.clone();
    all.push(case("Notify", async move { waiting.wait_async().await }, move || notify.notify_one()));
    let (tx, rx) = channel::bounded::<()>(1);
    all.push(case("recv_async", async move { rx.recv_async().await.unwrap() }, move || tx.send(()).unwrap()));
    let (tx, rx) = channel::bounded::<()>(1);
    tx.send(()).unwrap();
    all.push(case("send_async", async move { tx.send_async(()).await.unwrap() }, move || rx.recv().unwrap()));
    for capacity in [0, 1] {
        let (tx, rx) = channel::bounded::<()>(capacity);
        let receive = async move {
            select_async! { v = <-rx => v.unwrap() }
        };
        all.push(case("select_async! receives", receive, move || {
            meet(async move { tx.send_async(()).await })
        }));
        let (tx, rx) = channel::bounded::<()>(capacity);
        (0..capacity).for_each(|_| tx.send(()).unwrap());
        let send = async move {
            select_async! { r = tx <- () => r.unwrap() }
        };
        all.push(case("select_async! sends", send, move || meet(async move { rx.recv_async().await })));
        let (tx, rx) = channel::bounded::<()>(capacity);
        let receive = async move { Select::new().recv(&rx, |v| v.unwrap()).wait_async().await };
        all.push(case("Select::wait_async", receive, move || meet(async move { tx.send_async(()).await })));
    }
    let (tx, rx) = channel::oneshot::channel::<()>();
    all.push(case("oneshot", async move { rx.await.unwrap() }, move || tx.send(()).unwrap()));
    all.push(case("Timer", async move { time::Timer::after(delay).await }, || ()));
    let mutex = Arc::new(sync::Mutex::new(()));
    let (locking, release) = (mutex.clone(), Latch::new());
    let (held, hold) = (Latch::new(), release.clone());
    let holds = held.clone();
    let holder = std::thread::spawn(move || {
        let _guard = mutex.lock();
        holds.open();
        hold.block_thread();
    });
    held.block_thread();
    all.push(case("Mutex", async move { drop(locking.lock_async().await) }, move || {
        release.open();
        holder.join().unwrap();
    }));
    let executor: Arc<Executor<'static>> = Arc::default();
    let latch = Latch::new();
    let task = executor.spawn(latch.opened());
    all.push(case("executor's Task", task, {
        let executor = executor.clone();
        move || {
            latch.open();
            while executor.try_tick() {}
        }
    }));
    all
}

/// Does one half of what `select` waits for; at a rendezvous it is done when the select is polled next.
fn meet<F: Future<Output: Send> + Send + 'static>(operation: F) {
    let mut operation = Box::pin(operation);
    if operation.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        drop(aqueduct::spawn(operation));
    }
}

fn poll_with(future: &mut Pin<Box<dyn Future<Output = ()>>>, waker: &Waker) -> bool {
    future.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
}

/// Of the wakers that a future was polled with, the last one is called. The others are neither called later nor kept.
#[test]
fn the_last_waker_is_called_and_none_is_kept() {
    let _dog = watchdog!(30);
    for mut case in cases(Duration::from_millis(100)) {
        let watched: Vec<_> = (0..3).map(|_| Arc::new(Watched { wakes: AtomicUsize::new(0) })).collect();
        for watched in &watched {
            let waker = Waker::from(watched.clone());
            assert!(!poll_with(&mut case.future, &waker), "{}", case.name);
            // Again with the same one: nothing changes.
            assert!(!poll_with(&mut case.future, &waker), "{}", case.name);
        }
        (case.complete)();
        common::until(|| watched[2].wakes.load(SeqCst) > 0);
        assert!(poll_with(&mut case.future, Waker::noop()), "{}", case.name);
        assert_eq!(watched[0].wakes.load(SeqCst), 0, "{}: a stale waker", case.name);
        drop(case.future);
        for watched in &watched {
            common::until(|| Arc::strong_count(watched) == 1);
        }
    }
}

/// A select that was told of a message, and found that another had been faster, stands in line with the waker of its last poll.
#[test]
fn a_replaced_waker_stays_away() {
    let (tx, rx) = channel::bounded(1);
    let mut select = pin!(async {
        // The future makes each poll look again.
        select_async! { v = <-rx => v.unwrap(), v = pending::<u32>() => v }
    });
    let ((first, first_count), (second, second_count)) = (new_count_waker(), new_count_waker());
    assert!(select.as_mut().poll(&mut Context::from_waker(&first)).is_pending());
    assert!(select.as_mut().poll(&mut Context::from_waker(&second)).is_pending());
    tx.send(1).unwrap();
    assert_eq!((first_count.get(), second_count.get()), (0, 1));
    assert_eq!(rx.try_recv(), Ok(1));
    assert!(select.as_mut().poll(&mut Context::from_waker(&second)).is_pending());
    tx.send(2).unwrap();
    assert_eq!((first_count.get(), second_count.get()), (0, 2));
    assert_eq!(select.as_mut().poll(&mut Context::from_waker(&second)), Poll::Ready(2));
}

/// A future that is dropped while it waits keeps no waker and calls none.
#[test]
fn a_dropped_future_lets_go_of_its_waker() {
    let _dog = watchdog!(30);
    for mut case in cases(Duration::from_secs(3600)) {
        match case.name {
            // Their other end would find nobody; the channels have tests of their own.
            "recv_async" | "send_async" | "oneshot" => continue,
            name if name.starts_with("select_async!") || name == "Select::wait_async" => continue,
            _ => {}
        }
        let watched = Arc::new(Watched { wakes: AtomicUsize::new(0) });
        assert!(!poll_with(&mut case.future, &Waker::from(watched.clone())), "{}", case.name);
        drop(case.future);
        common::until(|| Arc::strong_count(&watched) == 1);
        (case.complete)();
        assert_eq!(watched.wakes.load(SeqCst), 0, "{}", case.name);
    }
}

/// A run of a local executor beside another one that drives it waits for its turn, with one waker however often it is polled.
#[test]
fn a_run_beside_a_driver_keeps_a_waker_once() {
    let _dog = watchdog!(30);
    let kept = aqueduct::go(|| {
        let executor = Rc::new(LocalExecutor::new());
        let latch = Latch::new();
        let waits = latch.clone();
        let task = executor.spawn(async move { waits.wait() });
        let driver = aqueduct::spawn_local({
            let executor = executor.clone();
            async move { executor.run(task).await }
        });
        aqueduct::block_on(latch.waited_for());
        let watched = Arc::new(Watched { wakes: AtomicUsize::new(0) });
        let waker = Waker::from(watched.clone());
        let mut run = pin!(executor.run(pending::<()>()));
        for _ in 0..1000 {
            assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let kept = Arc::strong_count(&watched);
        latch.open();
        driver.join().unwrap();
        kept
    });
    let kept = kept.join().unwrap();
    assert!(kept < 10, "{kept} clones of a waker");
}

#[test]
fn a_future_that_is_ready_touches_no_waker() {
    let _dog = watchdog!(30);
    for mut case in cases(Duration::from_millis(100)) {
        let (waker, count) = new_count_waker();
        assert!(!poll_with(&mut case.future, &waker), "{}", case.name);
        (case.complete)();
        common::until(|| count.get() > 0);
        // `panic_waker` panics when it is cloned or woken.
        assert!(poll_with(&mut case.future, &panic_waker()), "{}", case.name);
    }
}

/// A waker may do anything, also come back to where it is called from.
#[test]
fn a_waker_that_comes_back() {
    let _dog = watchdog!(30);
    struct Back(Arc<Executor<'static>>, Arc<AtomicUsize>);
    impl Wake for Back {
        fn wake(self: Arc<Self>) {
            // A driver's waker, called by a push: it pushes, drives and asks itself.
            let ran = self.1.clone();
            self.0.spawn(async move { _ = ran.fetch_add(1, SeqCst) }).detach();
            self.0.try_tick();
            assert!(!format!("{:?}", self.0).is_empty());
        }
    }
    let executor: Arc<Executor<'static>> = Arc::default();
    let ran = Arc::new(AtomicUsize::new(0));
    let waker = Waker::from(Arc::new(Back(executor.clone(), ran.clone())));
    let mut tick = pin!(executor.tick());
    assert!(tick.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    executor.spawn(ready(())).detach();
    while executor.try_tick() {}
    assert_eq!(ran.load(SeqCst), 1);
}

/// Of four that wait for the same, two have wakers that panic: the others are woken, and one panic goes on.
#[test]
fn a_waker_that_panics_keeps_nobody_from_being_woken() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("of a waker");
        }
    }
    fn check<F: Future, R>(name: &str, mut wait: impl FnMut() -> F, event: impl FnOnce() -> R) {
        let (one, one_count) = new_count_waker();
        let (other, other_count) = new_count_waker();
        let wakers = [Arc::new(Panics).into(), one, Arc::new(Panics).into(), other];
        let mut waiting = wakers.map(|waker: Waker| {
            let mut future = Box::pin(wait());
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "{name}");
            future
        });
        assert_eq!(panic_of(event), "of a waker", "{name}");
        assert_eq!((one_count.get(), other_count.get()), (1, 1), "{name}");
        for future in &mut waiting {
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready(), "{name}");
        }
    }
    let (tx, rx) = channel::unbounded::<()>();
    check("a channel is closed", || rx.recv_async(), || tx.close());
    let (tx, rx) = channel::watch::channel(0);
    let changed = || {
        let mut rx = rx.clone();
        async move { rx.changed_async().await }
    };
    check("a watched value changes", changed, || tx.send(1));
    let (tx, rx) = channel::broadcast::channel::<()>(1);
    let received = || {
        let mut rx = rx.clone();
        async move { rx.recv_async().await }
    };
    check("a message is broadcast", received, || tx.send(()));
    let semaphore = sync::Semaphore::new(0);
    let acquired = || async { semaphore.acquire_async().await.unwrap().forget() };
    check("permits are added", acquired, || semaphore.add(4));
    let notify = sync::Notify::new();
    check("all are notified", || notify.wait_async(), || notify.notify_all());
    let token = sync::CancellationToken::new();
    let cancelled = || {
        let child = token.child();
        async move { child.cancelled_async().await }
    };
    check("a tree of tokens is cancelled", cancelled, || token.cancel());
}
