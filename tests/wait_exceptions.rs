//! The documented exceptions to "waiting works everywhere", each ending in the documented way.

mod common;

use aqueduct::runtime::{Runtime, WaitsInPoll};
use aqueduct::{LocalRuntime, block_on, go, spawn, wait, yield_now};
use common::{Latch, OnDrop, Reports, panic_of, soon, until, watchdog};
use futures::future::join;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};

#[test]
fn joining_oneself_is_an_error_at_once() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (send, receive) = mpsc::channel::<aqueduct::JoinHandle<()>>();
    let (tell, told) = mpsc::channel();
    let latch = Latch::new();
    let given = latch.clone();
    let handle = runtime.go(move || {
        given.wait();
        let error = receive.recv().expect("the handle").join().expect_err("a deadlock");
        tell.send((error.is_deadlock(), error.to_string())).expect("the test listens");
    });
    send.send(handle).expect("the task listens");
    latch.open();
    let (deadlock, text) = told.recv().expect("the error");
    assert!(deadlock);
    assert!(text.contains("tried to join itself") && text.contains(file!()), "{text}");
}

#[test]
fn awaiting_oneself_is_an_error_at_once() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (send, receive) = futures::channel::oneshot::channel::<aqueduct::JoinHandle<()>>();
    let (tell, told) = mpsc::channel();
    let handle = runtime.spawn(async move {
        let error = receive.await.expect("the handle").await.expect_err("a deadlock");
        tell.send(error.is_deadlock()).expect("the test listens");
    });
    send.send(handle).expect("the task listens");
    assert!(told.recv().expect("the error"));
}

#[test]
fn waiting_for_a_joined_sibling_hangs_that_task_alone_and_can_be_cancelled() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let latch = Latch::new();
    let parked = latch.clone();
    let handle = runtime.spawn(async move {
        let (wait_for_sibling, sibling) = (latch.clone(), latch);
        join(async { wait_for_sibling.wait() }, async { sibling.open() }).await;
    });
    parked.block_thread_until_waited_for();
    // Everybody else goes on.
    assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
    assert_eq!(runtime.spawn(async { 7 }).join().unwrap(), 7);
    assert!(!handle.is_finished());
    handle.cancel();
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn a_task_that_waits_for_a_joined_sibling_is_ended_by_shutdown() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let latch = Latch::new();
    let parked = latch.clone();
    let handle = runtime.spawn(async move {
        let (wait_for_sibling, sibling) = (latch.clone(), latch);
        join(async { wait_for_sibling.wait() }, async { sibling.open() }).await;
    });
    parked.block_thread_until_waited_for();
    assert!(runtime.shutdown(soon()).is_complete());
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn a_timeout_around_a_future_parked_in_its_poll_does_not_fire() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let latch = Latch::new();
    let parked = latch.clone();
    let handle = runtime.spawn(async move {
        let limit = std::time::Duration::from_millis(1);
        aqueduct::time::timeout(limit, async { latch.wait() }).await.is_ok()
    });
    parked.block_thread_until_waited_for();
    runtime.block_on(aqueduct::time::Timer::after(std::time::Duration::from_millis(5)));
    assert!(!handle.is_finished(), "the task is suspended as a whole");
    parked.open();
    assert!(handle.join().unwrap(), "the future came first, when the task was polled at last");
}

#[test]
fn a_local_runtime_that_nobody_drives_stands_still_and_goes_on_when_driven() {
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let latch = Latch::new();
    let opened = latch.clone();
    let joiner = std::thread::spawn(move || {
        let task = handle.go(move || latch.open());
        task.join().unwrap();
    });
    until(|| runtime.handle().dump().tasks().len() == 1);
    assert!(!opened.is_open());
    runtime.block_on(opened.opened());
    // Its end is noticed by whoever drives.
    runtime.block_on(yield_twice());
    joiner.join().unwrap();
}

async fn yield_twice() {
    aqueduct::yield_now_async().await;
    aqueduct::yield_now_async().await;
}

#[test]
fn forbid_names_both_places() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let error = runtime
        .go(|| {
            let _guard = wait::forbid();
            yield_now();
        })
        .join()
        .unwrap_err();
    let text = error.to_string();
    let line = line!();
    assert!(text.contains(&format!("{}:{}:", file!(), line - 6)), "the guard's place in: {text}");
    assert!(text.contains(&format!("{}:{}:", file!(), line - 5)), "the wait's place in: {text}");
}

#[test]
fn forbid_lets_through_what_need_not_wait() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let value = runtime.go(|| {
        let _guard = wait::forbid();
        block_on(async { 7 })
    });
    assert_eq!(value.join().unwrap(), 7);
}

#[test]
fn forbid_ends_with_its_guard_in_any_order() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let task = runtime.go(|| {
        let first = wait::forbid();
        let second = wait::forbid();
        drop(first);
        assert!(panic_of(yield_now).contains("forbidden"));
        drop(second);
        yield_now();
    });
    task.join().unwrap();
}

#[test]
fn forbid_off_the_workers_refuses_to_block() {
    let _dog = watchdog!(20);
    let never = Latch::new();
    let guard = wait::forbid();
    let text = panic_of(|| never.wait());
    assert!(text.matches(file!()).count() == 2, "{text}");
    drop(guard);
    never.open();
    never.wait();
}

#[test]
fn forbid_follows_its_task_and_nobody_else() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (go_on, reached) = (Latch::new(), Latch::new());
    let (gate, done) = (go_on.clone(), reached.clone());
    let future = runtime.go(move || {
        let local = aqueduct::spawn_local(async move {
            let guard = wait::forbid();
            // An await is no wait in this sense.
            gate.opened().await;
            let refused = panic_of(yield_now).contains("forbidden");
            drop(guard);
            refused
        });
        local.join().unwrap()
    });
    go_on.block_thread_until_waited_for();
    runtime
        .go(move || {
            yield_now();
            done.open()
        })
        .join()
        .unwrap();
    assert!(reached.is_open());
    go_on.open();
    assert!(future.join().unwrap());
}

#[test]
fn forbid_refuses_run_before_anything_runs() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let task = runtime.go(|| {
        let _guard = wait::forbid();
        panic_of(|| aqueduct::run(|| unreachable!("nothing may run")))
    });
    assert!(task.join().unwrap().contains("forbidden"));
}

fn one_wait_in_a_poll(runtime: &Runtime) -> aqueduct::JoinHandle<()> {
    runtime.spawn(async { yield_now() })
}

#[test]
fn waits_in_poll_are_counted() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    for _ in 0..3 {
        one_wait_in_a_poll(&runtime).join().unwrap();
    }
    runtime.go(yield_now).join().unwrap();
    assert_eq!(runtime.waits_in_poll(), 3);
}

#[test]
fn waits_in_poll_are_reported_once_for_each_spawn_site() {
    let _dog = watchdog!(20);
    let builder = Runtime::builder().workers(1).waits_in_poll(WaitsInPoll::Report);
    let (builder, reports) = Reports::of(builder);
    let runtime = builder.build().unwrap();
    for _ in 0..3 {
        one_wait_in_a_poll(&runtime).join().unwrap();
    }
    let line = line!() + 1;
    runtime.spawn(async { yield_now() }).join().unwrap();
    assert_eq!(reports.all().len(), 2, "{:?}", reports.all());
    assert_eq!(reports.count(&format!("spawned at {}:{line}:", file!())), 1, "{:?}", reports.all());
    assert_eq!(runtime.waits_in_poll(), 4);
}

#[test]
fn waits_in_poll_panic_if_so_built() {
    let _dog = watchdog!(20);
    let runtime = Runtime::builder().workers(1).waits_in_poll(WaitsInPoll::Panic).build().unwrap();
    let error = one_wait_in_a_poll(&runtime).join().unwrap_err();
    assert!(error.is_panic());
    assert!(error.to_string().matches(file!()).count() >= 2, "{error}");
    runtime.go(yield_now).join().unwrap();
}

/// Notes what happens.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<&'static str>>>);

impl Notes {
    fn note(&self, what: &'static str) -> impl FnMut() + 'static + use<> {
        let notes = self.0.clone();
        move || notes.lock().unwrap().push(what)
    }

    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[test]
fn hooks_nest() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let notes = Notes::default();
    let expected = ["inner out", "outer out", "outer in", "inner in"];
    let task = runtime.go(move || {
        let _outer = wait::hook(notes.note("outer out"), notes.note("outer in"));
        let inner = wait::hook(notes.note("inner out"), notes.note("inner in"));
        for _ in 0..3 {
            yield_now();
            assert_eq!(notes.take(), expected);
        }
        block_on(async { yield_now() });
        assert_eq!(notes.take(), expected, "a nested block_on that waits once suspends once");
        block_on(async {});
        assert_eq!(notes.take(), [""; 0], "what does not wait does not suspend");
        drop(inner);
        yield_now();
        assert_eq!(notes.take(), ["outer out", "outer in"]);
    });
    task.join().unwrap();
}

#[test]
fn hooks_keep_a_thread_local_to_their_task_among_others() {
    use std::cell::Cell;
    thread_local! {
        static OWNER: Cell<u32> = const { Cell::new(0) };
    }
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let work = move |owner: u32| {
        OWNER.set(owner);
        let guard = wait::hook(|| OWNER.set(0), move || OWNER.set(owner));
        for _ in 0..100 {
            yield_now();
            assert_eq!(OWNER.get(), owner);
        }
        drop(guard);
        OWNER.set(0);
    };
    let mut tasks = Vec::new();
    for owner in 1..=50 {
        tasks.push(runtime.go(move || work(owner)));
        tasks.push(runtime.spawn(async move { work(1000 + owner) }));
        tasks.push(runtime.go(|| {
            for _ in 0..100 {
                assert_eq!(OWNER.get(), 0, "another's value is out while it waits");
                yield_now();
            }
        }));
    }
    tasks.into_iter().for_each(|task| task.join().unwrap());
}

#[test]
fn a_hook_that_waits_panics() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let before = runtime.go(|| {
        let _guard = wait::hook(yield_now, || ());
        yield_now();
    });
    assert!(before.join().unwrap_err().to_string().contains("forbidden by the guard or hook"));
    let after = runtime.go(|| {
        let _guard = wait::hook(|| (), yield_now);
        yield_now();
    });
    assert!(after.join().unwrap_err().to_string().contains("forbidden by the guard or hook"));
}

#[test]
fn a_panic_in_a_hook_unwinds_from_the_wait_and_leaves_the_others_in_place() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let notes = Notes::default();
    let task = runtime.go(move || {
        let _outer = wait::hook(notes.note("out"), notes.note("in"));
        for broken_before in [true, false] {
            let guard = wait::hook(
                move || assert!(!broken_before, "broken before"),
                move || assert!(broken_before, "broken after"),
            );
            let text = panic_of(yield_now);
            assert_eq!(text, if broken_before { "broken before" } else { "broken after" });
            drop(guard);
            notes.take();
            yield_now();
            assert_eq!(notes.take(), ["out", "in"]);
        }
    });
    task.join().unwrap();
}

#[test]
fn hooks_run_when_a_cancellation_ends_the_wait() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let never = Latch::new();
    let notes = Notes::default();
    let seen = notes.clone();
    let task = runtime.go(move || {
        let _guard = wait::hook(notes.note("out"), notes.note("in"));
        never.wait();
    });
    common::until_waiting(&runtime, task.id());
    task.cancel();
    assert!(task.join().unwrap_err().is_cancelled());
    assert_eq!(seen.take(), ["out", "in"], "once in, before it unwinds");
}

#[test]
fn a_hook_that_panics_under_run_lets_run_see_its_end_first() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let task = runtime.go(|| {
        let ended = std::cell::Cell::new(false);
        let borrowed = std::sync::atomic::AtomicBool::new(false);
        let guard = wait::hook(|| (), || panic!("a broken hook"));
        let text = panic_of(|| {
            aqueduct::run(|| {
                yield_now();
                borrowed.store(true, std::sync::atomic::Ordering::Relaxed);
            });
        });
        ended.set(borrowed.load(std::sync::atomic::Ordering::Relaxed));
        drop(guard);
        (ended.get(), text)
    });
    assert_eq!(task.join().unwrap(), (true, "a broken hook".to_string()));
}

#[test]
fn a_hook_guard_dropped_in_another_task_is_removed() {
    let _dog = watchdog!(20);
    aqueduct::LocalRuntime::new().unwrap().run(|| {
        let notes = Notes::default();
        let guard = wait::hook(notes.note("out"), notes.note("in"));
        aqueduct::spawn_local(async move { drop(guard) }).join().unwrap();
        notes.take();
        yield_now();
        assert_eq!(notes.take(), [""; 0]);
    });
}

#[test]
fn a_worker_blocked_by_a_lock_held_across_a_wait_is_reported_by_name() {
    let dog = watchdog!(30);
    let (builder, reports) = Reports::of(Runtime::builder().workers(2));
    let runtime = builder.build().unwrap();
    dog.watch(&runtime);
    let mutex = Arc::new(Mutex::new(()));
    let (gate, entered) = (Latch::new(), mutex.clone());
    let waiting = gate.clone();
    // The holder and its neighbour must be on one worker: the neighbour is a local task, spawned by the holder.
    let task = runtime.go(move || {
        let neighbour = std::rc::Rc::new(mutex.clone());
        let handle = aqueduct::task::Builder::new()
            .name("the neighbour")
            .spawn_local(async move { drop(neighbour.lock()) })
            .unwrap();
        let guard = mutex.lock().unwrap();
        gate.wait();
        drop(guard);
        handle.join().unwrap();
    });
    waiting.block_thread_until_waited_for();
    until(|| reports.count("\"the neighbour\"") > 0);
    assert!(entered.try_lock().is_err());
    assert_eq!(reports.count("has not come back for"), 1, "{:?}", reports.all());
    // The holder can go on nowhere else: the documented deadlock of that worker. The other one goes on.
    assert_eq!(runtime.spawn(async { 7 }).join().unwrap(), 7);
    assert!(!task.is_finished());
    std::mem::forget(runtime);
}

#[test]
fn a_destructor_that_waits_while_unwinding_holds_up_no_cancellation_of_waits_before_it() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let never = Latch::new();
    let parked = never.clone();
    let victim = runtime.go(move || never.wait());
    parked.block_thread_until_waited_for();
    let unwinding = runtime.go(move || {
        let cancel_and_join = OnDrop::new(move || {
            victim.cancel();
            assert!(victim.join().is_err_and(|error| error.is_cancelled()));
        });
        std::panic::resume_unwind(Box::new(cancel_and_join_is_held(&cancel_and_join)));
    });
    assert!(unwinding.join().unwrap_err().is_panic());
}

fn cancel_and_join_is_held<T>(_: &T) -> &'static str {
    "on purpose"
}

#[test]
fn a_cancellation_held_off_by_an_unwinding_neighbour_comes_when_it_is_done() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let (gate, never) = (Latch::new(), Latch::new());
    let (in_destructor, parked) = (gate.clone(), never.clone());
    let unwinding = runtime.go(move || {
        let _wait = OnDrop::new(move || gate.wait());
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    in_destructor.block_thread_until_waited_for();
    let victim = runtime.go(move || never.wait());
    parked.block_thread_until_waited_for();
    victim.cancel();
    runtime.go(yield_now).join().unwrap();
    in_destructor.open();
    assert!(unwinding.join().unwrap_err().is_panic());
    assert!(victim.join().unwrap_err().is_cancelled());
}

#[test]
fn run_in_a_destructor_of_a_cancelled_task_runs_to_its_end() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let never = Latch::new();
    let (parked, (send, receive)) = (never.clone(), mpsc::channel());
    let task = runtime.go(move || {
        let _finish = OnDrop::new(move || {
            let value = aqueduct::run(|| {
                yield_now();
                7
            });
            send.send(
                value
                    + LocalRuntime::new().unwrap().run(|| {
                        yield_now();
                        7
                    }),
            )
            .unwrap();
        });
        never.wait();
    });
    parked.block_thread_until_waited_for();
    task.cancel();
    assert!(task.join().unwrap_err().is_cancelled());
    assert_eq!(receive.recv(), Ok(14));
}

#[test]
fn spawn_local_off_the_workers_says_what_to_do() {
    let _dog = watchdog!(20);
    let text = panic_of(|| drop(aqueduct::spawn_local(async {})));
    assert!(text.contains("LocalRuntime") && text.contains(file!()), "{text}");
}

#[test]
fn go_and_spawn_off_the_workers_use_the_global_runtime() {
    let _dog = watchdog!(20);
    let swallowed =
        catch_unwind(AssertUnwindSafe(|| go(|| 1).join().unwrap() + spawn(async { 2 }).join().unwrap()));
    assert_eq!(swallowed.unwrap(), 3);
}
