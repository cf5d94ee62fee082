//! One program, two imports: what holds for `async_executor` holds for `aqueduct::executor`. The foreign executor around both is
//! `futures_lite`'s.

mod common;

use common::{Drops, Latch, watchdog};
use futures::channel::oneshot;
use futures_lite::future::{self, block_on, poll_once};
use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Bell {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn rung(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Leaves its waker in a place that everybody can reach, and is never ready.
fn leave_waker(place: Arc<Mutex<Option<Waker>>>) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        *common::lock(&place) = Some(cx.waker().clone());
        Poll::Pending
    })
}

fn is_send<T: Send>(_: &T) {}
fn is_sync<T: Sync>(_: &T) {}
fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>(_: &T) {}

/// The programs that only know the verbs: for either executor of either crate.
macro_rules! programs_of {
    ($Executor:ident) => {
        use super::*;

        #[test]
        fn an_executor_that_is_dropped_drops_its_futures_and_their_tasks_are_cancelled() {
            let _dog = watchdog!(20);
            let drops = Drops::new();
            let waker = Arc::new(Mutex::new(None));
            let executor = $Executor::new();
            let task = executor.spawn({
                let (counted, place) = (drops.one(), waker.clone());
                async move {
                    let _counted = counted;
                    leave_waker(place).await;
                }
            });
            let fallible = executor.spawn(pending::<()>()).fallible();
            block_on(executor.tick());
            assert!(common::lock(&waker).is_some());
            assert_eq!(drops.dropped(), 0);
            drop(executor);
            assert_eq!(drops.dropped(), 1, "dropped by the drop of the executor");
            assert!(catch_unwind(AssertUnwindSafe(|| block_on(task))).is_err());
            assert_eq!(block_on(fallible), None);
            // Late wakes, and the last waker's drop, on a foreign thread.
            let waker = common::lock(&waker).take().unwrap();
            std::thread::spawn(move || {
                waker.wake_by_ref();
                waker.clone().wake();
            })
            .join()
            .unwrap();
            assert_eq!(drops.dropped(), 1);
        }

        #[test]
        fn a_leaked_executor_leaks_its_tasks() {
            let _dog = watchdog!(20);
            let drops = Drops::new();
            let executor = $Executor::new();
            let counted = drops.one();
            let mut task = executor.spawn(async move {
                let _counted = counted;
                pending::<()>().await;
            });
            block_on(executor.tick());
            std::mem::forget(executor);
            assert!(block_on(poll_once(&mut task)).is_none());
            drop(task);
            assert_eq!(drops.dropped(), 0);
        }

        #[test]
        fn an_output_that_borrows_may_be_fetched_after_the_executor_has_gone() {
            let _dog = watchdog!(20);
            let text = String::from("hello");
            let executor = $Executor::new();
            let task = executor.spawn(async { &*text });
            assert!(executor.try_tick());
            drop(executor);
            assert_eq!(block_on(task), "hello");
            drop(text);
        }

        #[test]
        fn an_output_is_dropped_with_its_handle() {
            let _dog = watchdog!(20);
            let drops = Drops::new();
            let executor = $Executor::new();
            let (first, second) = (drops.one(), drops.one());
            let (first, second) = (executor.spawn(ready(first)), executor.spawn(ready(second)));
            while executor.try_tick() {}
            assert_eq!(drops.dropped(), 0);
            drop(first);
            assert_eq!(drops.dropped(), 1);
            drop(executor);
            assert_eq!(drops.dropped(), 1);
            drop(second);
            assert_eq!(drops.dropped(), 2);
        }

        #[test]
        fn a_future_borrows_and_is_dropped_when_it_completes() {
            let _dog = watchdog!(20);
            let drops = Drops::new();
            let counted = drops.one();
            let executor = $Executor::new();
            let task = executor.spawn(async {
                let _inside = &counted;
                7
            });
            assert!(executor.try_tick());
            assert!(executor.is_empty());
            assert_eq!(block_on(task), 7);
            assert_eq!(drops.dropped(), 0, "it was only borrowed");
        }

        #[test]
        fn a_panic_is_for_the_one_who_awaits_and_the_driver_goes_on() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            let bad = executor.spawn(async { panic!("of the task") });
            let bad_fallible = executor.spawn(async { panic!("of the fallible task") }).fallible();
            let bad_cancelled = executor.spawn(async { panic!("seen by the canceller") });
            executor.spawn(async { panic!("of nobody's concern") }).detach();
            let good = executor.spawn(ready(7));
            while executor.try_tick() {}
            assert_eq!(block_on(good), 7);
            let text = |f: &mut dyn FnMut()| common::panic_of(f);
            let (mut bad, mut bad_fallible) = (Some(bad), Some(bad_fallible));
            assert_eq!(text(&mut || block_on(bad.take().unwrap())), "of the task");
            assert_eq!(text(&mut || _ = block_on(bad_fallible.take().unwrap())), "of the fallible task");
            let mut bad_cancelled = Some(bad_cancelled);
            assert_eq!(
                text(&mut || _ = block_on(bad_cancelled.take().unwrap().cancel())),
                "seen by the canceller"
            );
            assert!(executor.is_empty());
        }

        #[test]
        fn an_iterator_that_panics_in_spawn_many_leaves_the_executor_usable() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            let futures = (0..50).map(|i| if i == 25 { panic!("at 25") } else { ready(i) });
            let caught = catch_unwind(AssertUnwindSafe(|| executor.spawn_many(futures, &mut Vec::new())));
            assert!(caught.is_err());
            let task = executor.spawn(ready(0));
            assert_eq!(block_on(executor.run(task)), 0);
        }

        #[test]
        fn spawn_many_spawns_each() {
            let _dog = watchdog!(60);
            const MANY: usize = if cfg!(debug_assertions) { 5_000 } else { 50_000 };
            let executor = $Executor::new();
            let mut tasks = Vec::new();
            executor.spawn_many((0..MANY).map(ready), &mut tasks);
            assert_eq!(tasks.len(), MANY);
            block_on(executor.run(async {
                for (index, task) in tasks.into_iter().enumerate() {
                    assert_eq!(task.await, index);
                }
            }));
            assert!(executor.is_empty());
        }

        #[test]
        fn dropping_a_handle_cancels_and_a_driver_drops_the_future() {
            let _dog = watchdog!(20);
            let drops = Drops::new();
            let executor = $Executor::new();
            let polled = Arc::new(AtomicUsize::new(0));
            let counted = drops.one();
            let task = executor.spawn({
                let polled = polled.clone();
                async move {
                    let _counted = counted;
                    poll_fn(|_| {
                        polled.fetch_add(1, SeqCst);
                        Poll::<()>::Pending
                    })
                    .await;
                }
            });
            assert!(executor.try_tick());
            drop(task);
            assert_eq!(drops.dropped(), 0, "not by the one who drops the handle");
            assert!(!executor.is_empty());
            assert!(executor.try_tick());
            assert_eq!(drops.dropped(), 1);
            assert_eq!(polled.load(SeqCst), 1, "not polled again");
            assert!(executor.is_empty());
        }

        #[test]
        fn a_task_that_was_never_polled_is_dropped_unpolled() {
            let _dog = watchdog!(20);
            let drops = Drops::new();
            let executor = $Executor::new();
            let counted = drops.one();
            let task = executor.spawn(async move {
                drop(counted);
                panic!("polled");
            });
            let cancelled: Option<()> = block_on(executor.run(task.cancel()));
            assert_eq!((cancelled, drops.dropped()), (None, 1));
        }

        #[test]
        fn cancelling_waits_for_the_end() {
            let _dog = watchdog!(20);
            let drops = Drops::new();
            let executor = $Executor::new();
            let counted = drops.one();
            let task = executor.spawn(async move {
                let _counted = counted;
                pending::<()>().await;
            });
            assert!(executor.try_tick());
            let mut cancelled = pin!(task.cancel());
            assert!(block_on(poll_once(cancelled.as_mut())).is_none(), "nobody has driven since");
            assert_eq!(drops.dropped(), 0);
            assert_eq!(block_on(executor.run(cancelled)), None);
            assert_eq!(drops.dropped(), 1);
        }

        #[test]
        fn cancelling_a_task_that_has_completed_gives_its_output() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            let task = executor.spawn(ready(7));
            let other = executor.spawn(ready(8)).fallible();
            while executor.try_tick() {}
            assert!(task.is_finished() && other.is_finished());
            assert_eq!(block_on(task.cancel()), Some(7));
            assert_eq!(block_on(other.cancel()), Some(8));
        }

        #[test]
        fn a_detached_task_goes_on() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            let (send, mut receive) = oneshot::channel();
            executor
                .spawn(async move {
                    future::yield_now().await;
                    send.send("went on").unwrap();
                })
                .detach();
            executor.spawn(future::yield_now()).fallible().detach();
            while executor.try_tick() {}
            assert_eq!(receive.try_recv().unwrap(), Some("went on"));
            assert!(executor.is_empty());
        }

        #[test]
        fn a_tick_polls_one_task_once() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            assert!(!executor.try_tick());
            let polls = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<_> = (0..3)
                .map(|_| {
                    let polls = polls.clone();
                    executor.spawn(poll_fn(move |cx| {
                        polls.fetch_add(1, SeqCst);
                        cx.waker().wake_by_ref();
                        Poll::<()>::Pending
                    }))
                })
                .collect();
            for expected in 1..20 {
                assert!(executor.try_tick());
                assert_eq!(polls.load(SeqCst), expected);
            }
            block_on(executor.tick());
            assert_eq!(polls.load(SeqCst), 20);
            drop(tasks);
        }

        #[test]
        fn tasks_take_turns() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            let order = Arc::new(Mutex::new(Vec::new()));
            for name in ["a", "b", "c"] {
                let order = order.clone();
                let turns = async move {
                    for _ in 0..2 {
                        common::lock(&order).push(name);
                        future::yield_now().await;
                    }
                };
                executor.spawn(turns).detach();
            }
            while executor.try_tick() {}
            assert_eq!(*common::lock(&order), ["a", "b", "c", "a", "b", "c"]);
        }

        #[test]
        fn a_waiting_tick_is_woken_by_a_spawn_and_by_a_wake() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            let bell = Bell::new();
            let waker = Waker::from(bell.clone());
            let mut tick = Box::pin(executor.tick());
            assert!(tick.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let (send, receive) = oneshot::channel::<()>();
            let task = executor.spawn(receive);
            until_rung(&bell, 1);
            poll_until_ready(tick.as_mut(), &waker);
            drop(tick);
            let mut tick = Box::pin(executor.tick());
            assert!(tick.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let before = bell.rung();
            std::thread::spawn(move || send.send(()).unwrap()).join().unwrap();
            until_rung(&bell, before + 1);
            poll_until_ready(tick.as_mut(), &waker);
            assert!(task.is_finished());
        }

        #[test]
        fn the_futures_of_a_run_and_of_ticks_may_be_dropped_at_any_point() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            let mut first = Box::pin(executor.run(pending::<()>()));
            let mut second = pin!(executor.run(pending::<()>()));
            assert!(block_on(poll_once(first.as_mut())).is_none());
            assert!(block_on(poll_once(second.as_mut())).is_none());
            drop(first);
            assert!(block_on(poll_once(second.as_mut())).is_none());
            let task = executor.spawn(ready(7));
            assert!(block_on(poll_once(second.as_mut())).is_none());
            assert!(task.is_finished());
            drop(executor.tick());
            drop(executor.run(pending::<()>()));
            assert_eq!(block_on(executor.run(async { executor.spawn(ready(8)).await })), 8);
        }

        #[test]
        fn a_run_that_ends_leaves_what_it_did_not_come_to() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            let (send, receive) = oneshot::channel::<()>();
            let task = executor.spawn(async move {
                receive.await.unwrap();
                7
            });
            block_on(executor.run(future::yield_now()));
            assert!(!task.is_finished());
            send.send(()).unwrap();
            assert_eq!(block_on(executor.run(task)), 7);
        }

        #[test]
        fn two_executors_of_a_thread_do_not_mix() {
            let _dog = watchdog!(20);
            let polled = Arc::new(AtomicUsize::new(0));
            let (one, other) = ($Executor::new(), $Executor::new());
            let (mut run_one, mut run_other) =
                (pin!(one.run(pending::<()>())), pin!(other.run(pending::<()>())));
            assert!(block_on(poll_once(run_one.as_mut())).is_none());
            assert!(block_on(poll_once(run_other.as_mut())).is_none());
            let seen = polled.clone();
            one.spawn(async move {
                seen.fetch_add(1, SeqCst);
            })
            .detach();
            assert!(block_on(poll_once(run_other)).is_none());
            assert_eq!(polled.load(SeqCst), 0);
            assert!(block_on(poll_once(run_one)).is_none());
            assert_eq!(polled.load(SeqCst), 1);
        }

        #[test]
        fn an_executor_is_driven_by_a_task_of_another_one() {
            let _dog = watchdog!(20);
            let inner = $Executor::new();
            let outer = $Executor::new();
            let task = inner.spawn(async {
                future::yield_now().await;
                7
            });
            let driver = outer.spawn(inner.run(task));
            assert_eq!(block_on(outer.run(driver)), 7);
        }

        #[test]
        fn large_futures_and_large_outputs() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            let task = executor.spawn(async {
                let large = [7_u8; 16 << 10];
                future::yield_now().await;
                large
            });
            let output = block_on(executor.run(task));
            assert!(output.iter().all(|byte| *byte == 7));
        }

        #[test]
        fn a_wake_during_the_poll_schedules_once_more_and_one_after_the_end_does_nothing() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            let place = Arc::new(Mutex::new(None));
            let polls = Arc::new(AtomicUsize::new(0));
            let task = executor.spawn({
                let (place, polls) = (place.clone(), polls.clone());
                poll_fn(move |cx: &mut Context<'_>| {
                    *common::lock(&place) = Some(cx.waker().clone());
                    if polls.fetch_add(1, SeqCst) == 2 {
                        return Poll::Ready(());
                    }
                    for _ in 0..3 {
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                })
            });
            for expected in 1..=3 {
                assert!(executor.try_tick());
                assert_eq!(polls.load(SeqCst), expected);
            }
            let waker = common::lock(&place).take().unwrap();
            waker.wake_by_ref();
            assert!(!executor.try_tick());
            assert!(task.is_finished());
            drop(executor);
            waker.wake();
        }

        #[test]
        fn debug_never_waits() {
            let _dog = watchdog!(20);
            let executor = $Executor::new();
            assert!(format!("{executor:?}").contains(stringify!($Executor)));
            let task = executor.spawn(ready(()));
            let during = block_on(executor.run(async { format!("{executor:?} {task:?}") }));
            assert!(during.contains("Task"), "{during}");
        }
    };
}

/// The waker is called at once, or, where a reactor stands between, soon.
fn until_rung(bell: &Bell, times: usize) {
    common::until(|| bell.rung() >= times);
}

fn poll_until_ready<F: Future>(mut future: Pin<&mut F>, waker: &Waker) -> F::Output {
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker)) {
            return output;
        }
        std::thread::yield_now();
    }
}

/// What only the executor that any thread drives can do.
macro_rules! programs_of_shared {
    () => {
        use super::super::*;

        static EXECUTOR: Executor<'static> = Executor::new();

        #[test]
        fn an_executor_in_a_static() {
            let _dog = watchdog!(20);
            assert!(EXECUTOR.is_empty());
            let driver = std::thread::spawn(|| block_on(EXECUTOR.run(future::yield_now())));
            let task = EXECUTOR.spawn(ready(7));
            assert_eq!(block_on(EXECUTOR.run(task)), 7);
            driver.join().unwrap();
        }

        #[test]
        fn auto_traits() {
            let executor = Executor::new();
            is_send(&executor);
            is_sync(&executor);
            is_unwind_safe(&executor);
            let (run, tick) = (executor.run(pending::<()>()), executor.tick());
            is_send(&run);
            is_sync(&run);
            is_send(&tick);
            is_sync(&tick);
            let task = executor.spawn(ready(Cell::new(1)));
            is_send(&task);
            is_sync(&task);
            is_unwind_safe(&task);
        }

        #[test]
        fn many_threads_drive_one_executor() {
            let _dog = watchdog!(60);
            let executor = &Arc::new(Executor::new());
            let stop = Latch::new();
            let done = Arc::new(AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    let stop = stop.opened();
                    scope.spawn(|| block_on(executor.run(stop)));
                }
                let ticker = stop.clone();
                scope.spawn(move || {
                    block_on(future::or(ticker.opened(), async {
                        loop {
                            executor.tick().await;
                        }
                    }))
                });
                let tasks: Vec<_> = (0..500)
                    .map(|index| {
                        let (done, executor) = (done.clone(), executor.clone());
                        executor.clone().spawn(async move {
                            for _ in 0..index % 7 {
                                future::yield_now().await;
                            }
                            let inner = executor.spawn(async move { index });
                            done.fetch_add(inner.await, SeqCst);
                        })
                    })
                    .collect();
                for task in tasks {
                    block_on(task);
                }
                stop.open();
            });
            assert_eq!(done.load(SeqCst), 500 * 499 / 2);
            assert!(executor.is_empty());
        }

        /// Of two sleeping drivers one is told of a task; when it goes away, the other one is.
        #[test]
        fn a_driver_that_goes_away_passes_its_notification_on() {
            let _dog = watchdog!(20);
            let executor = Executor::new();
            let bells = [Bell::new(), Bell::new()];
            let mut runs: Vec<_> = (0..2).map(|_| Some(Box::pin(executor.run(pending::<()>())))).collect();
            for (run, bell) in runs.iter_mut().zip(&bells) {
                let waker = Waker::from(bell.clone());
                assert!(run.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            let before = bells.each_ref().map(|bell| bell.rung());
            let task = executor.spawn(ready(7));
            let told = (0..2).find(|i| bells[*i].rung() > before[*i]).expect("one is told");
            let other = 1 - told;
            let before = bells[other].rung();
            drop(runs[told].take());
            assert!(bells[other].rung() > before, "the other one is told");
            let waker = Waker::from(bells[other].clone());
            assert!(
                runs[other].as_mut().unwrap().as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            );
            assert!(task.is_finished());
        }

        /// A driver that is busy for long is not waited for.
        #[test]
        fn a_task_that_blocks_its_driver_does_not_hold_up_the_others() {
            let _dog = watchdog!(20);
            let executor = Executor::new();
            let (stop, latch) = (Latch::new(), Latch::new());
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    let stop = stop.opened();
                    scope.spawn(|| block_on(executor.run(stop)));
                }
                let blocker = executor.spawn({
                    let latch = latch.clone();
                    async move { latch.block_thread() }
                });
                let opener = executor.spawn({
                    let latch = latch.clone();
                    async move { latch.open() }
                });
                block_on(async {
                    opener.await;
                    blocker.await;
                });
                stop.open();
            });
        }

        #[test]
        fn a_handle_dropped_on_another_thread_while_the_task_runs() {
            let _dog = watchdog!(20);
            let executor = Executor::new();
            let drops = Drops::new();
            let (running, go_on) = (Latch::new(), Latch::new());
            let task = executor.spawn({
                let (running, go_on, counted) = (running.clone(), go_on.clone(), drops.one());
                async move {
                    let _counted = counted;
                    running.open();
                    go_on.block_thread();
                    pending::<()>().await;
                }
            });
            std::thread::scope(|scope| {
                scope.spawn(|| block_on(executor.tick()));
                running.block_thread();
                drop(task);
                assert_eq!(drops.dropped(), 0);
                go_on.open();
            });
            while executor.try_tick() {}
            assert_eq!(drops.dropped(), 1);
            assert!(executor.is_empty());
        }

        #[test]
        fn a_task_may_drop_its_own_handle() {
            let _dog = watchdog!(20);
            let executor = Executor::new();
            let (send, receive) = oneshot::channel::<Task<()>>();
            let drops = Drops::new();
            let counted = drops.one();
            let task = executor.spawn(async move {
                let _counted = counted;
                drop(receive.await.unwrap());
                future::yield_now().await;
                panic!("it was polled after its handle had been dropped");
            });
            send.send(task).unwrap();
            while executor.try_tick() {}
            assert_eq!(drops.dropped(), 1);
            assert!(executor.is_empty());
        }
    };
}

macro_rules! programs {
    ($name:ident, $Executor:ident) => {
        mod $name {
            use super::$Executor;
            programs_of!($Executor);
        }
    };
}

mod theirs {
    use super::*;
    use async_executor::{Executor, LocalExecutor, Task};

    programs!(shared, Executor);
    programs!(local, LocalExecutor);
    mod threads {
        use super::{Executor, Task};
        programs_of_shared!();
    }
}

mod ours {
    use super::*;
    use aqueduct::executor::{Executor, LocalExecutor, Task};

    programs!(shared, Executor);
    programs!(local, LocalExecutor);
    mod threads {
        use super::{Executor, Task};
        programs_of_shared!();
    }
}
