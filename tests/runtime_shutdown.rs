//! The end of a runtime: shutdown and drop, from every context, and what outlives it.

mod common;

use aqueduct::runtime::Runtime;
use aqueduct::{Handle, JoinHandle, LocalRuntime, block_on, task, yield_now};
use common::child::{alone, assert_says};
use common::{Child, Drops, Latch, OnDrop, proc, soon, until, until_waiting, watchdog};
use std::future::pending;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

fn in_ms(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

/// Tasks in every state a runtime can be left with; none outlives a shutdown.
fn fill(handle: &Handle) -> Vec<JoinHandle<()>> {
    let parked = Latch::new();
    let in_poll = Latch::new();
    let mut tasks = vec![
        handle.go({
            let parked = parked.clone();
            move || parked.wait()
        }),
        handle.spawn({
            let parked = parked.clone();
            async move { parked.opened().await }
        }),
        handle.spawn({
            let in_poll = in_poll.clone();
            async move { in_poll.wait() }
        }),
        handle.go(|| aqueduct::time::sleep(Duration::from_secs(3600))),
        handle.spawn(async { aqueduct::time::Timer::after(Duration::from_secs(3600)).await }),
        handle.go(|| {
            loop {
                yield_now()
            }
        }),
        handle.spawn(async {
            loop {
                aqueduct::yield_now_async().await;
            }
        }),
    ];
    tasks.iter().take(5).for_each(|task| until_waiting(handle, task.id()));
    tasks.push(handle.go(|| block_on(pending())));
    tasks.push(handle.spawn(pending()));
    tasks
}

#[test]
fn shutdown_from_outside_ends_tasks_in_every_state() {
    let dog = watchdog!(30);
    for workers in [1, 2] {
        let runtime = common::runtime(workers);
        dog.watch(&runtime);
        let tasks = fill(&runtime);
        let report = runtime.shutdown(soon());
        assert!(report.is_complete(), "{report}");
        assert_eq!(report.to_string(), "all tasks have stopped");
        for task in tasks {
            assert!(task.join().unwrap_err().is_cancelled());
        }
    }
}

#[test]
fn shutdown_from_inside_lists_the_caller_alone() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let handle = *runtime.handle();
    fill(&runtime);
    let (send, receive) = mpsc::channel();
    let caller = handle.block_on(async {
        task::Builder::new().name("the caller").go(move || {
            let report = runtime.shutdown(soon());
            send.send((report.remaining().len(), report.remaining()[0].name().map(String::from))).unwrap();
        })
    });
    assert_eq!(receive.recv().unwrap(), (1, Some("the caller".to_string())));
    caller.unwrap().join().unwrap();
}

#[test]
fn shutdown_from_inside_a_future() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    fill(&runtime);
    let remaining = handle.spawn(async move { runtime.shutdown(soon()).remaining().len() });
    assert_eq!(remaining.join().unwrap(), 1);
}

#[test]
fn shutdown_names_what_did_not_stop_at_the_deadline() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let go_on = Latch::new();
    let (gate, started) = (go_on.clone(), Latch::new());
    let running = started.clone();
    let busy = runtime.block_on(async {
        task::Builder::new().name("computes").go(move || {
            running.open();
            gate.block_thread();
        })
    });
    started.block_thread();
    let before = Instant::now();
    let report = runtime.shutdown(in_ms(50));
    assert!(before.elapsed() >= Duration::from_millis(50));
    assert_eq!(report.remaining().len(), 1);
    assert_eq!(report.remaining()[0].name(), Some("computes"));
    assert!(report.to_string().contains("1 tasks have not stopped:\n  coroutine #"), "{report}");
    assert!(report.to_string().contains("\"computes\" spawned at tests/runtime_shutdown.rs:"), "{report}");
    go_on.open();
    busy.unwrap().join().unwrap();
}

#[test]
fn a_shutdown_at_a_deadline_in_the_past_does_not_wait() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let go_on = Latch::new();
    let gate = go_on.clone();
    let last = OnDrop::new(move || gate.block_thread());
    let handle = runtime.go(move || {
        let _last = last;
        block_on(pending::<()>());
    });
    until_waiting(&runtime, handle.id());
    assert!(!runtime.shutdown(in_ms(0)).is_complete());
    go_on.open();
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn a_shutdown_waits_for_destructors_that_wait() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let (send, receive) = mpsc::channel();
    let handle = runtime.go(move || {
        let _last = OnDrop::new(move || {
            aqueduct::time::sleep(Duration::from_millis(10));
            send.send("ended").unwrap();
        });
        block_on(pending::<()>());
    });
    until_waiting(&runtime, handle.id());
    assert!(runtime.shutdown(soon()).is_complete());
    assert_eq!(receive.try_recv(), Ok("ended"));
}

#[test]
fn two_shutdowns_at_once_through_run_and_drop() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    let never = Latch::new();
    let (gate, waits) = (never.clone(), never.clone());
    let in_destructor = thread::spawn(move || {
        handle.block_on(async {
            let late = handle.go(move || {
                let _last = OnDrop::new(yield_now);
                gate.wait();
            });
            late.await.unwrap_err().is_cancelled()
        })
    });
    waits.block_thread_until_waited_for();
    assert!(runtime.shutdown(soon()).is_complete());
    assert!(in_destructor.join().unwrap());
}

// ---- dropping

#[test]
fn drop_from_outside_returns_at_once() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let (started, go_on) = (Latch::new(), Latch::new());
    let (running, gate) = (started.clone(), go_on.clone());
    let busy = runtime.go(move || {
        running.open();
        gate.block_thread();
    });
    started.block_thread();
    let tasks = [runtime.go(|| block_on(pending())), runtime.spawn(pending())];
    drop(runtime);
    go_on.open();
    busy.join().unwrap();
    for task in tasks {
        let error: aqueduct::JoinError = match task.join() {
            Ok(()) => panic!("it was cancelled"),
            Err(error) => error,
        };
        assert!(error.is_cancelled());
    }
}

#[test]
fn drop_inside_its_own_coroutine() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    let task = handle.go(move || {
        drop(runtime);
        7
    });
    assert_eq!(task.join().unwrap(), 7);
}

#[test]
fn drop_inside_its_own_coroutine_cancels_it_at_its_next_wait() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    let task = handle.go(move || {
        drop(runtime);
        yield_now();
    });
    assert!(task.join().unwrap_err().is_cancelled());
}

#[test]
fn drop_inside_its_own_future() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    let task = handle.spawn(async move {
        drop(runtime);
        7
    });
    assert_eq!(task.join().unwrap(), 7);
}

#[test]
fn drop_inside_its_own_unstarted_closure_that_is_cancelled() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    let gate = Latch::new();
    let shut = gate.clone();
    drop(handle.go(move || gate.block_thread()));
    let task = handle.go(move || drop(runtime));
    task.cancel();
    shut.open();
    assert!(task.join().unwrap_err().is_cancelled());
}

#[test]
fn drop_inside_another_runtime() {
    let _dog = watchdog!(30);
    let (inner, outer) = (common::runtime(1), common::runtime(1));
    let tasks = fill(&inner);
    outer.go(move || drop(inner)).join().unwrap();
    tasks.into_iter().for_each(|task| assert!(task.join().unwrap_err().is_cancelled()));
}

#[test]
fn shutdown_inside_another_runtime_waits_there() {
    let _dog = watchdog!(30);
    let (inner, outer) = (common::runtime(1), common::runtime(1));
    fill(&inner);
    let report = outer.go(move || inner.shutdown(soon()).is_complete());
    assert!(report.join().unwrap());
}

#[test]
fn drop_in_a_destructor_during_unwinding() {
    let _dog = watchdog!(30);
    let (inner, outer) = (common::runtime(1), common::runtime(1));
    let tasks = fill(&inner);
    let unwound = outer.go(move || {
        let _inner = inner;
        resume_unwind(Box::new("on purpose"));
    });
    assert!(unwound.join().unwrap_err().is_panic());
    tasks.into_iter().for_each(|task| assert!(task.join().unwrap_err().is_cancelled()));
}

#[test]
fn drop_in_a_destructor_of_its_own_cancelled_task() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    let task = handle.go(move || {
        let _runtime = runtime;
        block_on(pending::<()>());
    });
    until_waiting(&handle, task.id());
    task.cancel();
    assert!(task.join().unwrap_err().is_cancelled());
    assert!(handle.go(|| 7).join().unwrap_err().is_cancelled());
}

#[test]
fn a_refused_task_is_told_from_a_cancelled_one() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    // Neither that which waits nor that which has not started is refused.
    let waiting = handle.go(|| block_on(pending::<()>()));
    waiting.cancel();
    let error = waiting.join().unwrap_err();
    assert!(error.is_cancelled() && !error.is_refused(), "{error}");
    let error = handle
        .go(move || {
            let unstarted = handle.go(|| 7);
            unstarted.cancel();
            unstarted.join().unwrap_err()
        })
        .join()
        .unwrap();
    assert!(error.is_cancelled() && !error.is_refused(), "{error}");
    assert!(runtime.shutdown(Instant::now() + Duration::from_secs(10)).is_complete());
    for error in [handle.go(|| 7).join().unwrap_err(), handle.spawn(async { 7 }).join().unwrap_err()] {
        assert!(error.is_refused() && error.is_cancelled() && !error.is_panic(), "{error}");
        let text = error.to_string();
        assert!(text.contains("tests/runtime_shutdown.rs:"), "{text}");
        assert!(text.ends_with("was refused: its runtime has been shut down"), "{text}");
    }
}

#[test]
fn run_on_a_runtime_that_has_shut_down_panics_at_the_caller() {
    let ended = Child::new(common::test_path!()).run("", || {
        let runtime = common::runtime(1);
        let handle = *runtime.handle();
        assert!(runtime.shutdown(Instant::now() + Duration::from_secs(10)).is_complete());
        let text = common::panic_of(|| handle.run(|| 7));
        assert!(text.ends_with("was refused: its runtime has been shut down"), "{text}");
    });
    assert_says(&ended.well(), &["panicked at tests/runtime_shutdown.rs:"]);
}

#[test]
fn shutdown_in_a_destructor_of_its_own_cancelled_task() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    let (send, receive) = mpsc::channel();
    let mut slot = Some(runtime);
    let task = handle.go(move || {
        let _last = OnDrop::new(move || {
            let report = slot.take().unwrap().shutdown(soon());
            send.send(report.remaining().len()).unwrap();
        });
        block_on(pending::<()>());
    });
    until_waiting(&handle, task.id());
    task.cancel();
    assert!(task.join().unwrap_err().is_cancelled());
    assert_eq!(receive.recv(), Ok(1));
}

#[test]
fn drop_of_one_during_the_shutdown_of_another_that_owns_it() {
    let _dog = watchdog!(30);
    let (inner, outer) = (common::runtime(1), common::runtime(1));
    let inner_handle = *inner.handle();
    let tasks = fill(&inner);
    let owner = outer.go(move || {
        let _inner = inner;
        block_on(pending::<()>());
    });
    until_waiting(&outer, owner.id());
    assert!(outer.shutdown(soon()).is_complete());
    tasks.into_iter().for_each(|task| assert!(task.join().unwrap_err().is_cancelled()));
    assert!(inner_handle.spawn(async {}).join().unwrap_err().is_cancelled());
}

// ---- afterwards

#[test]
fn a_spawn_after_shutdown_is_cancelled_and_dropped_once() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    assert!(runtime.shutdown(soon()).is_complete());
    let drops = Drops::new();
    let (one, two) = (drops.one(), drops.one());
    let coroutine = handle.go(move || drop(one));
    let future = handle.spawn(async move { drop(two) });
    assert_eq!(drops.dropped(), 2);
    assert!(coroutine.is_finished() && future.is_finished());
    assert!(coroutine.join().unwrap_err().is_cancelled());
    assert!(future.join().unwrap_err().is_cancelled());
    assert!(common::panic_of(|| handle.run(|| 7)).contains("was refused"));
    assert_eq!(handle.block_on(async { 7 }), 7, "waiting needs no worker");
    assert!(handle.dump().tasks().is_empty());
}

#[test]
fn a_spawn_from_a_task_that_is_being_shut_down_is_refused() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let (send, receive) = mpsc::channel();
    let task = runtime.go(move || {
        let _last = OnDrop::new(move || {
            let refused = aqueduct::go(|| 7).join().is_err_and(|error| error.is_cancelled());
            send.send(refused).unwrap();
        });
        block_on(pending::<()>());
    });
    until_waiting(&runtime, task.id());
    assert!(runtime.shutdown(soon()).is_complete());
    assert_eq!(receive.recv(), Ok(true));
}

/// A waker of the task that runs, brought out.
fn wakers_of_tasks(runtime: &Runtime) -> Vec<Waker> {
    let (send, receive) = mpsc::channel();
    let waker = move || {
        let send = send.clone();
        std::future::poll_fn(move |cx| {
            send.send(cx.waker().clone()).unwrap();
            std::task::Poll::<()>::Pending
        })
    };
    let (coroutine, future, in_poll) = (waker(), waker(), waker());
    drop(runtime.go(move || block_on(coroutine)));
    drop(runtime.spawn(future));
    drop(runtime.spawn(async move { block_on(in_poll) }));
    (0..3).map(|_| receive.recv().unwrap()).collect()
}

#[test]
fn wakers_outlive_the_runtime_and_then_do_nothing() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let wakers = wakers_of_tasks(&runtime);
    assert!(runtime.shutdown(soon()).is_complete());
    let wake_all = || {
        for waker in &wakers {
            let clone = waker.clone();
            waker.wake_by_ref();
            clone.wake();
        }
    };
    wake_all();
    // Their memory may have a new tenant by now.
    let next = common::runtime(2);
    wake_all();
    next.go(move || {
        wakers.iter().for_each(Waker::wake_by_ref);
        yield_now();
        drop(wakers);
    })
    .join()
    .unwrap();
}

#[test]
fn wakers_called_while_the_runtime_ends_do_no_harm() {
    let _dog = watchdog!(60);
    for _ in 0..50 {
        let runtime = common::runtime(2);
        let wakers = wakers_of_tasks(&runtime);
        let waking = thread::spawn(move || {
            for _ in 0..200 {
                wakers.iter().for_each(Waker::wake_by_ref);
            }
        });
        drop(runtime);
        waking.join().unwrap();
    }
}

#[test]
fn hundreds_of_runtimes_leave_nothing_behind() {
    alone(common::test_path!(), || {
        let use_one = |workers| {
            let runtime = common::runtime(workers);
            let tasks: Vec<_> = (0..20)
                .map(|i| {
                    runtime.go(move || {
                        yield_now();
                        i
                    })
                })
                .collect();
            let sum: i32 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
            assert_eq!(sum, 190);
            drop(runtime.go(|| block_on(pending::<()>())));
            drop(runtime.spawn(pending::<()>()));
            drop(runtime);
        };
        let settle = || until(|| proc::threads_named("aqueduct").is_empty());
        for _ in 0..20 {
            use_one(3);
        }
        settle();
        let (descriptors, resident) = (proc::descriptors(), proc::resident());
        for _ in 0..300 {
            use_one(2);
            settle();
        }
        assert!(
            proc::descriptors() <= descriptors,
            "{descriptors} descriptors became {}",
            proc::descriptors()
        );
        let grown = proc::resident().saturating_sub(resident);
        assert!(grown < 8 << 20, "resident memory grew by {grown} bytes over 300 runtimes");
    });
}

#[test]
fn several_runtimes_wait_for_each_others_tasks() {
    let dog = watchdog!(30);
    let runtimes: Vec<_> = (0..4).map(|_| common::runtime(1)).collect();
    runtimes.iter().for_each(|runtime| dog.watch(runtime));
    let handles: Vec<Handle> = runtimes.iter().map(|runtime| *runtime.handle()).collect();
    fn relay(handles: &[Handle], hops: usize) -> usize {
        if hops == 0 {
            return 0;
        }
        let (next, owned) = (handles[hops % handles.len()], handles.to_vec());
        let task = match hops % 3 {
            0 => next.spawn(async move { relay(&owned, hops - 1) }),
            1 => next.go(move || relay(&owned, hops - 1)),
            _ => return next.run(|| relay(handles, hops - 1)) + 1,
        };
        task.join().unwrap() + 1
    }
    let chains: Vec<_> = (0..20)
        .map(|i| {
            let (first, handles) = (handles[i % 4], handles.clone());
            first.go(move || relay(&handles, 30))
        })
        .collect();
    chains.into_iter().for_each(|chain| assert_eq!(chain.join().unwrap(), 30));
}

// ---- LocalRuntime

#[test]
fn a_dropped_local_runtime_unwinds_its_parked_coroutines() {
    let _dog = watchdog!(30);
    let runtime = LocalRuntime::new().unwrap();
    let drops = Drops::new();
    let not_send = Rc::new(());
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let (coroutine, future, unstarted) = (drops.one(), drops.one(), drops.one());
        let (first, second) = (not_send.clone(), not_send.clone());
        tasks.push(runtime.go(move || {
            let _values = (coroutine, first);
            block_on(pending::<()>());
        }));
        tasks.push(runtime.spawn(async move {
            let _values = (future, second);
            pending::<()>().await;
        }));
        runtime.run(yield_now);
        tasks.push(runtime.go(move || drop(unstarted)));
    }
    drop(runtime);
    assert_eq!(drops.dropped(), 9);
    assert_eq!(Rc::strong_count(&not_send), 1);
    assert!(tasks.iter().all(JoinHandle::is_finished));
}

#[test]
fn a_local_runtime_dropped_in_a_coroutine_and_in_a_poll() {
    let _dog = watchdog!(30);
    let outer = common::runtime(1);
    let drops = Drops::new();
    let leave = |value: common::Counted| {
        let runtime = LocalRuntime::new().unwrap();
        drop(runtime.go(move || {
            let _value = value;
            block_on(pending::<()>());
        }));
        runtime.run(yield_now);
    };
    let (one, two) = (drops.one(), drops.one());
    outer.go(move || leave(one)).join().unwrap();
    outer.spawn(async move { leave(two) }).join().unwrap();
    assert_eq!(drops.dropped(), 2);
}

#[test]
fn a_local_runtime_leaks_what_waits_for_something_nobody_drives() {
    let _dog = watchdog!(30);
    let runtime = LocalRuntime::new().unwrap();
    let drops = Drops::new();
    let (value, never) = (drops.one(), Latch::new());
    let gate = never.clone();
    drop(runtime.go(move || {
        let _value = value;
        let _last = OnDrop::new(move || gate.wait());
        block_on(pending::<()>());
    }));
    runtime.run(yield_now);
    drop(runtime);
    assert_eq!(drops.dropped(), 0);
    never.open();
}

#[test]
fn a_local_runtimes_handle_is_refused_after_its_end() {
    let _dog = watchdog!(30);
    let runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let early = handle.go(|| 7);
    drop(runtime);
    assert!(early.join().unwrap_err().is_cancelled());
    let late = thread::spawn(move || handle.go(|| 7).join().unwrap_err().is_cancelled());
    assert!(late.join().unwrap());
}

#[test]
fn two_waits_take_turns_in_driving_one_local_runtime() {
    let dog = watchdog!(30);
    let outer = common::runtime(1);
    dog.watch(&outer);
    let task = outer.go(|| {
        let runtime = Rc::new(LocalRuntime::new().unwrap());
        let second = runtime.clone();
        let gate = Latch::new();
        let opened = gate.clone();
        let neighbour = aqueduct::spawn_local(async move {
            second.block_on(async move {
                opened.open();
                aqueduct::time::Timer::after(Duration::from_millis(5)).await;
                3
            })
        });
        let here = runtime.block_on(async move {
            gate.opened().await;
            4
        });
        here + neighbour.join().unwrap()
    });
    assert_eq!(task.join().unwrap(), 7);
}

#[test]
fn the_driver_leaves_first_and_the_follower_drives_on() {
    let dog = watchdog!(30);
    let outer = common::runtime(1);
    dog.watch(&outer);
    let task = outer.go(|| {
        let runtime = Rc::new(LocalRuntime::new().unwrap());
        let (first, second) = (runtime.clone(), runtime);
        let (gate, go_on) = (Latch::new(), Latch::new());
        let (opened, then) = (gate.clone(), go_on.clone());
        let driver = aqueduct::spawn_local(async move { first.block_on(gate.opened()) });
        yield_now();
        let follower = aqueduct::spawn_local(async move {
            second.block_on(async move {
                then.opened().await;
                aqueduct::yield_now_async().await;
            });
        });
        yield_now();
        opened.open();
        driver.join().unwrap();
        go_on.open();
        follower.join().unwrap();
    });
    task.join().unwrap();
}
