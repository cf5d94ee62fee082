//! Executors in the places that only this crate has: in coroutines and runtimes, with tasks that wait synchronously, with
//! destructors that panic.

mod common;

use aqueduct::executor::{Executor, LocalExecutor, Task};
use aqueduct::{LocalRuntime, Wait, block_on, channel, go, spawn_local, time, yield_now, yield_now_async};
use common::{Drops, Latch, OnDrop, Rng, panic_of, until, until_waiting, watchdog};
use futures::future::{join, pending, ready, select};
use futures_lite::future as foreign;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(2);

// ---- destructors that panic

/// A future that is never ready and whose destructor panics.
async fn bad_to_drop(text: &'static str) {
    let _guard = OnDrop::new(move || panic!("{text}"));
    pending::<()>().await;
}

#[test]
fn a_destructor_that_panics_ends_neither_the_process_nor_the_other_destructors() {
    let _dog = watchdog!(20);
    let drops = Drops::new();
    let executor = Executor::new();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        executor.spawn(bad_to_drop("in a destructor")).detach();
        let counted = drops.one();
        tasks.push(executor.spawn(async move {
            let _counted = counted;
            pending::<()>().await;
        }));
    }
    let told = executor.spawn(bad_to_drop("told to the one who awaits")).fallible();
    while executor.try_tick() {}
    drop(executor);
    assert_eq!(drops.dropped(), 4);
    assert_eq!(panic_of(|| block_on(told)), "told to the one who awaits");
}

#[test]
fn a_local_destructor_that_panics_ends_neither() {
    let _dog = watchdog!(20);
    let drops = Drops::new();
    let executor = LocalExecutor::new();
    for _ in 0..4 {
        executor.spawn(bad_to_drop("in a destructor")).detach();
        let counted = drops.one();
        executor
            .spawn(async move {
                let _counted = counted;
                pending::<()>().await;
            })
            .detach();
    }
    let told = executor.spawn(bad_to_drop("told to the one who awaits")).fallible();
    while executor.try_tick() {}
    drop(executor);
    assert_eq!(drops.dropped(), 4);
    assert_eq!(panic_of(|| block_on(told)), "told to the one who awaits");
}

#[test]
fn the_one_who_cancels_is_told_of_a_destructor_that_panics() {
    let _dog = watchdog!(20);
    let executor = Executor::new();
    let task = executor.spawn(bad_to_drop("of the cancelled"));
    assert!(executor.try_tick());
    let text = panic_of(|| block_on(executor.run(task.cancel())));
    assert_eq!(text, "of the cancelled");
    let task = executor.spawn(bad_to_drop("of the dropped"));
    assert!(executor.try_tick());
    drop(task);
    assert!(executor.try_tick(), "the driver goes on");
    assert!(executor.is_empty());
}

#[test]
fn an_output_whose_destructor_panics_is_nobodys_end() {
    let _dog = watchdog!(20);
    let executor = Executor::new();
    executor.spawn(async { OnDrop::new(|| panic!("in the output's destructor")) }).detach();
    assert!(executor.try_tick());
    let task = executor.spawn(async { OnDrop::new(|| panic!("in the output's destructor")) });
    assert!(executor.try_tick());
    drop(task);
    assert!(executor.is_empty());
}

#[test]
fn awaiting_a_task_whose_executor_was_dropped_names_the_remedy() {
    let _dog = watchdog!(20);
    let executor = Executor::new();
    let task = executor.spawn(pending::<()>());
    drop(executor);
    let text = panic_of(|| block_on(task));
    assert!(text.contains("executor was dropped") && text.contains("fallible"), "{text}");
}

#[test]
fn completion_beats_a_cancellation_that_comes_during_the_last_poll() {
    let _dog = watchdog!(20);
    let executor = Executor::new();
    let (running, go_on) = (Latch::new(), Latch::new());
    let task = executor.spawn({
        let (running, go_on) = (running.clone(), go_on.clone());
        async move {
            running.open();
            go_on.block_thread();
            "completed"
        }
    });
    let output = std::thread::scope(|scope| {
        scope.spawn(|| block_on(executor.tick()));
        running.block_thread();
        let mut cancelled = pin!(task.cancel());
        assert!(foreign::block_on(foreign::poll_once(cancelled.as_mut())).is_none());
        go_on.open();
        block_on(cancelled)
    });
    assert_eq!(output, Some("completed"));
}

// ---- an executor in a coroutine

#[test]
fn a_task_that_waits_suspends_the_coroutine_that_drives_and_not_its_worker() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let (latch, other_latch) = (Latch::new(), Latch::new());
    let driver = runtime.go({
        let (latch, other_latch) = (latch.clone(), other_latch.clone());
        move || {
            let executor = Executor::new();
            let waiting = executor.spawn(async move {
                other_latch.open();
                latch.wait();
                7
            });
            executor.run(waiting).wait()
        }
    });
    other_latch.block_thread();
    assert_eq!(runtime.go(|| 8).join().unwrap(), 8, "the worker goes on");
    latch.open();
    assert_eq!(driver.join().unwrap(), 7);
}

#[test]
fn a_coroutine_cancelled_inside_a_task_ends_and_the_executor_stays_whole() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let executor = Arc::new(Executor::new());
    let drops = Drops::new();
    let inside = executor.spawn({
        let counted = drops.one();
        async move {
            let _counted = counted;
            Latch::new().wait();
        }
    });
    let after = executor.spawn(ready(7));
    let driver = runtime.go({
        let executor = executor.clone();
        move || executor.run(pending::<()>()).wait()
    });
    until_waiting(&runtime, driver.id());
    driver.cancel();
    assert!(driver.join().unwrap_err().is_cancelled());
    assert_eq!(drops.dropped(), 1, "the task unwound with the coroutine");
    assert_eq!(block_on(inside.fallible()), None);
    assert_eq!(block_on(executor.run(after)), 7, "the others are there for another driver");
    assert!(executor.is_empty());
}

#[test]
fn coroutines_drive_one_executor_together() {
    let dog = watchdog!(30);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    let executor: Arc<Executor<'static>> = Arc::default();
    let stop = Latch::new();
    let drivers: Vec<_> = (0..4)
        .map(|_| {
            let (executor, stop) = (executor.clone(), stop.opened());
            runtime.go(move || executor.run(stop).wait())
        })
        .collect();
    let (tx, rx) = channel::bounded(1);
    let tasks: Vec<_> = (0..100)
        .map(|index| {
            let tx = tx.clone();
            executor.spawn(async move {
                // Synchronous: parks the driver until the receiver comes.
                if index % 3 == 0 { tx.send(index).unwrap() } else { tx.send_async(index).await.unwrap() }
            })
        })
        .collect();
    drop(tx);
    let sum = runtime.go(move || rx.iter().sum::<i32>());
    for task in tasks {
        runtime.block_on(task);
    }
    assert_eq!(sum.join().unwrap(), 99 * 100 / 2);
    stop.open();
    for driver in drivers {
        driver.join().unwrap();
    }
}

#[test]
fn tasks_borrow_from_the_coroutine_that_drives() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let total = runtime.go(|| {
        let numbers = [1, 2, 3, 4];
        let executor = Executor::new();
        let halves: Vec<Task<i32>> = numbers
            .chunks(2)
            .map(|half| {
                executor.spawn(async move {
                    yield_now();
                    half.iter().sum()
                })
            })
            .collect();
        executor
            .run(async {
                let mut total = 0;
                for half in halves {
                    total += half.await;
                }
                total
            })
            .wait()
    });
    assert_eq!(total.join().unwrap(), 10);
}

#[test]
fn an_executor_in_a_runtimes_future_and_timers_in_its_tasks() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(2);
    let task = runtime.spawn(async {
        let executor = Executor::new();
        let begin = Instant::now();
        let tasks: Vec<_> = (0..10).map(|_| executor.spawn(time::Timer::after(SOON))).collect();
        executor
            .run(async {
                for task in tasks {
                    task.await;
                }
            })
            .await;
        begin.elapsed()
    });
    assert!(task.join().unwrap() >= SOON);
    // And with nobody's runtime around it.
    let executor = Executor::new();
    let task = executor.spawn(time::Timer::after(SOON));
    foreign::block_on(executor.run(task));
}

// ---- the local executor

#[test]
fn a_local_task_that_waits_lets_the_others_go_on() {
    let _dog = watchdog!(20);
    let order = RefCell::new(Vec::new());
    let (tx, rx) = channel::bounded::<u32>(0);
    let executor = LocalExecutor::new();
    let receiver = executor.spawn(async {
        order.borrow_mut().push("waits");
        let value = rx.recv().unwrap();
        order.borrow_mut().push("received");
        value
    });
    let sender = executor.spawn(async move {
        yield_now_async().await;
        tx.send(7).unwrap();
    });
    let value = block_on(executor.run(async {
        sender.await;
        receiver.await
    }));
    assert_eq!(value, 7);
    drop(executor);
    assert_eq!(order.into_inner(), ["waits", "received"]);
}

#[test]
fn the_main_future_may_wait_for_a_local_task() {
    let _dog = watchdog!(20);
    let executor = LocalExecutor::new();
    let task = executor.spawn(async {
        yield_now_async().await;
        time::sleep(SOON);
        7
    });
    assert_eq!(foreign::block_on(executor.run(async { task.wait() })), 7);
}

#[test]
fn a_driver_stays_while_a_borrowing_frame_is_suspended() {
    let _dog = watchdog!(20);
    let latch = Latch::new();
    let frames = Cell::new(0);
    let executor = LocalExecutor::new();
    executor
        .spawn(async {
            frames.set(frames.get() + 1);
            latch.wait();
            frames.set(frames.get() - 1);
        })
        .detach();
    let opener = std::thread::spawn({
        let latch = latch.clone();
        move || {
            latch.block_thread_until_waited_for();
            latch.open();
        }
    });
    assert!(executor.try_tick());
    assert_eq!(frames.get(), 0, "the tick has waited for the frame");
    opener.join().unwrap();
}

#[test]
fn a_detached_output_whose_destructor_waits_is_waited_for() {
    let _dog = watchdog!(20);
    let latch = Latch::new();
    let ended = Cell::new(false);
    let executor = LocalExecutor::new();
    executor
        .spawn(async {
            OnDrop::new(|| {
                latch.wait();
                ended.set(true);
            })
        })
        .detach();
    let opener = std::thread::spawn({
        let latch = latch.clone();
        move || {
            latch.block_thread_until_waited_for();
            latch.open();
        }
    });
    assert!(executor.try_tick());
    assert!(ended.get());
    opener.join().unwrap();
}

#[test]
fn destructors_that_wait_for_each_other_when_the_local_executor_is_dropped() {
    let _dog = watchdog!(20);
    let latch = Latch::new();
    let (waited, opened) = (Cell::new(false), Cell::new(false));
    let executor = LocalExecutor::new();
    executor
        .spawn(async {
            let _guard = OnDrop::new(|| {
                latch.wait();
                waited.set(true);
            });
            pending::<()>().await;
        })
        .detach();
    executor
        .spawn(async {
            let _guard = OnDrop::new(|| {
                opened.set(true);
                latch.open();
            });
            pending::<()>().await;
        })
        .detach();
    while executor.try_tick() {}
    drop(executor);
    assert!(waited.get() && opened.get());
}

#[test]
fn local_tasks_start_coroutines_and_local_futures() {
    let _dog = watchdog!(20);
    let executor = LocalExecutor::new();
    let sum = executor.spawn(async {
        let one = go!({
            time::sleep(SOON);
            1
        });
        let shared = Rc::new(2);
        let two = spawn_local(async move { *shared });
        one.await.unwrap() + two.await.unwrap()
    });
    assert_eq!(foreign::block_on(executor.run(sum)), 3);
    assert!(executor.is_empty());
}

#[test]
fn a_waiting_coroutine_of_a_local_executor_does_not_hold_its_driver() {
    let _dog = watchdog!(20);
    let executor = LocalExecutor::new();
    let latch = Latch::new();
    let (coroutine,) = block_on(executor.run(async {
        let latch = latch.clone();
        (go!(latch.wait()),)
    }));
    // The run has returned while the coroutine waits.
    while executor.try_tick() {}
    assert!(!coroutine.is_finished());
    latch.open();
    block_on(executor.run(coroutine)).unwrap();
}

#[test]
fn wakes_from_elsewhere_reach_an_idle_local_executor() {
    let _dog = watchdog!(20);
    let executor = LocalExecutor::new();
    for _ in 0..200 {
        let (tx, rx) = futures::channel::oneshot::channel();
        let task = executor.spawn(rx);
        let thread = std::thread::spawn(move || tx.send(7));
        assert_eq!(foreign::block_on(executor.run(task)), Ok(7));
        thread.join().unwrap().unwrap();
    }
}

#[test]
fn two_runs_of_a_local_executor_at_once() {
    let _dog = watchdog!(20);
    let executor = LocalExecutor::new();
    let (one, other) =
        (executor.spawn(time::Timer::after(SOON)), executor.spawn(time::Timer::after(SOON * 2)));
    let both = join(
        executor.run(async {
            one.await;
            1
        }),
        executor.run(async {
            other.await;
            2
        }),
    );
    assert_eq!(foreign::block_on(both), (1, 2));
    // One that is given up while it waits leaves the other one.
    let (tx, rx) = futures::channel::oneshot::channel();
    let task = executor.spawn(rx);
    let mut given_up = Box::pin(executor.run(pending::<()>()));
    assert!(foreign::block_on(foreign::poll_once(given_up.as_mut())).is_none());
    drop(given_up);
    let thread = std::thread::spawn(move || tx.send(3));
    assert_eq!(foreign::block_on(executor.run(task)), Ok(3));
    thread.join().unwrap().unwrap();
}

#[test]
fn run_inside_a_task_of_the_same_local_executor() {
    let _dog = watchdog!(20);
    let executor: Rc<LocalExecutor<'static>> = Rc::default();
    let task = executor.spawn({
        let executor = executor.clone();
        async move {
            let inner = executor.spawn(async {
                yield_now_async().await;
                7
            });
            assert!(!executor.try_tick(), "its driver is busy with us");
            executor.run(inner).await
        }
    });
    assert_eq!(block_on(executor.run(task)), 7);
}

#[test]
fn a_local_executor_in_a_coroutine_leaves_the_worker_to_others() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let (latch, waits) = (Latch::new(), Latch::new());
    let nested = runtime.go({
        let (latch, waits) = (latch.clone(), waits.clone());
        move || {
            let text = String::from("borrowed");
            let executor = LocalExecutor::new();
            let task = executor.spawn(async {
                waits.open();
                latch.opened().await; // asynchronously
                latch.wait(); // and synchronously
                text.len()
            });
            executor.run(task).wait()
        }
    });
    waits.block_thread();
    for _ in 0..10 {
        assert_eq!(runtime.go(|| 8).join().unwrap(), 8);
    }
    latch.open();
    assert_eq!(nested.join().unwrap(), 8);
}

#[test]
fn a_busy_local_executor_in_a_coroutine_leaves_the_worker_to_others() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let nested = runtime.go(|| {
        let (tx, rx) = channel::bounded(1);
        let executor = LocalExecutor::new();
        let never_idle = async {
            loop {
                yield_now_async().await;
            }
        };
        executor.spawn(never_idle).detach();
        // It waits for a neighbour of the coroutine that drives.
        let waits = executor.spawn(async move { rx.recv().unwrap() });
        drop(go(move || tx.send(7).unwrap()));
        executor.run(waits).wait()
    });
    assert_eq!(nested.join().unwrap(), 7);
}

#[test]
fn a_cancelled_coroutine_takes_its_local_executor_with_it() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let drops = Drops::new();
    for synchronous in [false, true] {
        let counted = drops.one();
        let nested = runtime.go(move || {
            let executor = LocalExecutor::new();
            let main = async {
                let _counted = &counted;
                if synchronous { Latch::new().wait() } else { pending::<()>().await }
            };
            executor.run(main).wait();
        });
        until_waiting(&runtime, nested.id());
        nested.cancel();
        assert!(nested.join().unwrap_err().is_cancelled());
    }
    assert_eq!(drops.dropped(), 2);
}

#[test]
fn a_local_executor_in_a_task_of_a_local_runtime() {
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::new().unwrap();
    let shared = Rc::new(Cell::new(0));
    let seen = shared.clone();
    runtime.run(move || {
        let executor = LocalExecutor::new();
        let inner = executor.spawn(async {
            time::Timer::after(SOON).await;
            seen.set(seen.get() + 1);
        });
        let sibling = spawn_local({
            let seen = seen.clone();
            async move { seen.set(seen.get() + 10) }
        });
        executor.run(inner).wait();
        sibling.join().unwrap();
    });
    assert_eq!(shared.get(), 11);
}

#[test]
fn a_panic_of_the_main_future_leaves_the_local_executor_usable() {
    let _dog = watchdog!(20);
    let executor = LocalExecutor::new();
    let caught =
        catch_unwind(AssertUnwindSafe(|| block_on(executor.run(async { panic!("of the main future") }))));
    assert_eq!(common::panic_text(&*caught.unwrap_err()), "of the main future");
    let task = executor.spawn(ready(7));
    assert_eq!(block_on(executor.run(task)), 7);
}

#[test]
fn a_local_executor_beside_other_futures_of_a_foreign_loop() {
    let _dog = watchdog!(20);
    let executor = LocalExecutor::new();
    let (tx, rx) = channel::bounded(0);
    // Inside the executor one end, outside it the other, on one thread and with somebody else's loop around both.
    let task = executor.spawn(async move {
        let mut sum = 0;
        while let Ok(value) = rx.recv_async().await {
            sum += value;
        }
        sum
    });
    let outside = async move {
        for value in 1..=10 {
            tx.send_async(value).await.unwrap();
            foreign::yield_now().await;
        }
    };
    let (sum, ()) = foreign::block_on(foreign::zip(executor.run(task), outside));
    assert_eq!(sum, 55);
}

// ---- conservation

/// Every future is dropped exactly once and every output is fetched or dropped, whatever becomes of the handles.
#[test]
fn storm_of_random_ends() {
    let dog = watchdog!(60);
    let mut rng = Rng::new("executor_waits::storm_of_random_ends");
    for round in 0..20 {
        dog.doing(format_args!("round {round}"));
        let (futures, outputs) = (Drops::new(), Drops::new());
        let fetched = AtomicUsize::new(0);
        {
            let executor = Executor::new();
            let stop = Latch::new();
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    let stop = stop.opened();
                    let executor = &executor;
                    scope.spawn(move || block_on(executor.run(stop)));
                }
                for _ in 0..200 {
                    let (turns, counted, output) = (rng.below(4), futures.one(), outputs.clone());
                    let task = executor.spawn(async move {
                        let _counted = counted;
                        for _ in 0..turns {
                            yield_now_async().await;
                        }
                        if turns == 3 {
                            time::Timer::after(Duration::from_micros(100)).await;
                        }
                        output.one()
                    });
                    match rng.below(5) {
                        0 => drop(task),
                        1 => task.detach(),
                        2 => {
                            let output = block_on(task.cancel());
                            fetched.fetch_add(usize::from(output.is_some()), SeqCst);
                        }
                        3 => {
                            let _output = block_on(task);
                        }
                        _ => {
                            let first = select(
                                task.fallible(),
                                Box::pin(time::Timer::after(Duration::from_micros(50))),
                            );
                            drop(block_on(first));
                        }
                    }
                }
                stop.open();
            });
        }
        until(|| futures.dropped() == futures.made());
        assert_eq!(futures.dropped(), 200);
        until(|| outputs.dropped() == outputs.made());
        assert!(fetched.load(SeqCst) <= outputs.made());
    }
}
