//! Ends of runtimes that something is in the way of: wakers that wait, spawns from other threads, no stacks, `fork`, work that
//! never pauses.

mod common;

use aqueduct::runtime::Report;
use aqueduct::{LocalRuntime, go, task, time, yield_now, yield_now_async};
use common::child::{alone, lift_address_space_limit, limit_address_space};
use common::{Drops, Latch, lock, proc, soon, until, watchdog};
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

// ---- wakers that wait

/// A waker that waits where it is called, and notes the threads before and after.
#[derive(Default)]
struct Waits {
    gate: Latch,
    threads: Mutex<Vec<ThreadId>>,
}

impl Wake for Waits {
    fn wake(self: Arc<Self>) {
        lock(&self.threads).push(thread::current().id());
        self.gate.wait();
        lock(&self.threads).push(thread::current().id());
    }
}

/// A timer that calls it soon, polled by the calling task.
fn timer_with(waits: &Arc<Waits>) -> Pin<Box<time::Timer>> {
    let mut timer = Box::pin(time::Timer::after(Duration::from_millis(1)));
    let waker = Waker::from(waits.clone());
    assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    timer
}

#[test]
fn a_worker_stays_for_a_waker_that_waits_on_it() {
    alone(common::test_path!(), || {
        let first = aqueduct::Runtime::builder().workers(1).thread_name("first").build().unwrap();
        let waits = Arc::new(Waits::default());
        let waker = waits.clone();
        let timer = first.go(move || timer_with(&waker)).join().unwrap();
        waits.gate.block_thread_until_waited_for();
        assert!(first.shutdown(soon()).is_complete());
        // A worker that does not stay has time to end, so that the next runtime gets what it leaves.
        let patience = Instant::now() + Duration::from_millis(200);
        until(|| proc::threads_named("first").is_empty() || Instant::now() > patience);
        let second = common::runtime(1);
        assert_eq!(second.go(|| 7).join().unwrap(), 7);
        waits.gate.open();
        until(|| lock(&waits.threads).len() == 2);
        let threads = lock(&waits.threads).clone();
        assert_eq!(threads[0], threads[1]);
        drop(timer);
        until(|| proc::threads_named("first").is_empty());
    });
}

#[test]
fn a_waker_that_waits_on_a_local_runtime_goes_on_nowhere_else() {
    alone(common::test_path!(), || {
        let waits = Arc::new(Waits::default());
        let waker = waits.clone();
        let first = thread::spawn(move || {
            let runtime = LocalRuntime::new().unwrap();
            let timer = runtime.run(|| timer_with(&waker));
            runtime.block_on(waker.gate.waited_for());
            drop(timer);
        });
        first.join().unwrap();
        // It would get what the first one leaves.
        let second = LocalRuntime::new().unwrap();
        waits.gate.open();
        second.run(|| time::sleep(Duration::from_millis(10)));
        assert_eq!(lock(&waits.threads).len(), 1, "{:?}", waits.threads);
    });
}

// ---- LocalRuntime

#[test]
fn tasks_spawned_while_a_local_runtime_is_dropped_are_dropped_with_it() {
    let _dog = watchdog!(60);
    for round in 0..200 {
        let drops = Drops::new();
        let runtime = LocalRuntime::new().unwrap();
        let (handle, made) = (runtime.handle(), drops.clone());
        let spawning = thread::spawn(move || {
            let refused = |value| handle.spawn(async move { drop(value) }).is_finished();
            while !refused(made.one()) {}
        });
        // It is under way by then, and in the middle of a spawn as likely as not.
        until(|| drops.made() > 50);
        drop(runtime);
        spawning.join().unwrap();
        assert_eq!(drops.made(), drops.dropped(), "in round {round}");
    }
}

#[test]
fn a_local_runtime_that_gets_no_stack_can_be_dropped() {
    alone(common::test_path!(), || {
        let refusals = Arc::new(AtomicUsize::new(0));
        let counted = refusals.clone();
        let builder = LocalRuntime::builder().stack_size(1 << 30);
        let runtime =
            builder.on_report(move |_: &Report| _ = counted.fetch_add(1, SeqCst)).build_local().unwrap();
        limit_address_space(256 << 20);
        let task = runtime.go(|| 7);
        until(|| {
            runtime.turn();
            refusals.load(SeqCst) > 0
        });
        drop(runtime);
        lift_address_space_limit();
        assert!(!task.is_finished());
        assert_eq!(LocalRuntime::new().unwrap().run(|| 7), 7);
    });
}

// ---- on a coroutine of another runtime

#[test]
fn a_busy_local_runtime_that_is_dropped_leaves_the_worker_to_others() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let dropping = runtime.go(|| {
        let local = LocalRuntime::new().unwrap();
        let done = Latch::new();
        let seen = done.clone();
        let busy = local.go(move || {
            task::shield(|| {
                while !seen.is_open() {
                    yield_now();
                }
            });
        });
        local.turn();
        // A neighbour of the coroutine that drops it.
        drop(go(move || done.open()));
        drop(local);
        busy.is_finished()
    });
    assert!(dropping.join().unwrap());
}

#[test]
fn a_cancellation_reaches_a_nested_local_runtime_that_is_never_idle() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let started = Latch::new();
    let running = started.clone();
    let busy = runtime.go(move || {
        LocalRuntime::new().unwrap().block_on(async move {
            running.open();
            loop {
                yield_now_async().await;
            }
        });
    });
    started.block_thread();
    busy.cancel();
    assert!(busy.join().unwrap_err().is_cancelled());
    assert!(runtime.shutdown(soon()).is_complete());
}

// ---- fork

#[test]
fn a_forked_child_drops_a_runtime_at_once() {
    alone(common::test_path!(), || {
        let runtime = ManuallyDrop::new(common::runtime(2));
        // A lock of the runtime's is held now and then. In a child forked meanwhile nobody opens it.
        for _ in 0..4 {
            drop(runtime.go(|| {
                loop {
                    drop(go(yield_now));
                    yield_now();
                }
            }));
        }
        for round in 0..500 {
            // SAFETY: the child drops the runtime and ends.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: the signal ends a child that hangs.
                unsafe { libc::alarm(2) };
                drop(ManuallyDrop::into_inner(runtime));
                // SAFETY: ends this process at once.
                unsafe { libc::_exit(3) };
            }
            let mut status = 0;
            // SAFETY: writes to the integer it is given.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert!(libc::WIFEXITED(status), "child {round} hung");
            assert_eq!(libc::WEXITSTATUS(status), 3);
        }
        assert_eq!(runtime.go(|| 7).join().unwrap(), 7, "the parent goes on");
    });
}
