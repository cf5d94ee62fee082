//! Guards around waits - they forbid them, hook them, shield them from cancelling - where they go in another order than they
//! came in, are leaked, or end up in another task.

mod common;

use aqueduct::{spawn_local, task, time, wait, yield_now};
use common::{Counted, Drops, Latch, panic_of, watchdog};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

#[test]
fn forbid_on_a_plain_thread_ends_with_its_last_guard() {
    let _dog = watchdog!(20);
    let wait = || time::sleep(Duration::from_millis(1));
    let (first, second, third) = (wait::forbid(), wait::forbid(), wait::forbid());
    drop(second);
    assert!(panic_of(wait).contains("forbidden"));
    drop(first);
    assert!(panic_of(wait).contains("forbidden"), "one guard is left");
    drop(third);
    wait();
}

#[test]
fn a_guard_dropped_in_another_task_allows_nothing_in_either() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let tasks = runtime.go(|| {
        let place = Rc::new(RefCell::new(None));
        let (left, dropped) = (Latch::new(), Latch::new());
        let first = spawn_local({
            let (place, left, dropped) = (place.clone(), left.clone(), dropped.clone());
            async move {
                *place.borrow_mut() = Some(wait::forbid());
                left.open();
                dropped.opened().await;
                panic_of(yield_now)
            }
        });
        let second = spawn_local(async move {
            left.opened().await;
            // Both are the first of their tasks.
            let _own = wait::forbid();
            drop(place.take().expect("the other's guard"));
            dropped.open();
            panic_of(yield_now)
        });
        [first, second].map(|task| task.join().unwrap_or_else(|error| error.to_string()))
    });
    for text in tasks.join().unwrap() {
        assert!(text.contains("forbidden"), "{text}");
    }
}

/// A value that is not `Send`: it knows its thread, and counts who uses or drops it on another one.
struct Bound {
    thread: ThreadId,
    strays: Arc<AtomicUsize>,
    _counted: Rc<Counted>,
}

impl Bound {
    fn touch(&self) {
        if thread::current().id() != self.thread {
            self.strays.fetch_add(1, SeqCst);
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.touch();
    }
}

#[test]
fn a_leaked_hook_of_a_future_stays_on_its_thread() {
    let dog = watchdog!(20);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    let (drops, strays) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
    let (occupied, free) = (Latch::new(), Latch::new());
    let (send, receive) = mpsc::channel::<Waker>();
    let task = runtime.spawn({
        let (counted, strays) = (drops.one(), strays.clone());
        let (occupied, free) = (occupied.clone(), free.clone());
        async move {
            let first = thread::current().id();
            let bound = Bound { thread: first, strays, _counted: Rc::new(counted) };
            std::mem::forget(wait::hook(move || bound.touch(), || ()));
            // Keeps this worker busy until the future has gone on elsewhere.
            drop(spawn_local(async move {
                occupied.open();
                free.block_thread();
            }));
            let mut polled = false;
            poll_fn(|cx| {
                if polled {
                    return Poll::Ready(());
                }
                polled = true;
                send.send(cx.waker().clone()).unwrap();
                Poll::Pending
            })
            .await;
            yield_now();
            first != thread::current().id()
        }
    });
    let waker = receive.recv().unwrap();
    occupied.block_thread();
    waker.wake();
    let moved = task.join();
    free.open();
    assert!(moved.unwrap(), "the future has moved, or this tests nothing");
    assert_eq!(strays.load(SeqCst), 0, "uses on another thread");
    assert_eq!((drops.made(), drops.dropped()), (1, 1));
}

fn shielded(depth: usize, inside: &dyn Fn()) {
    if depth == 0 {
        return inside();
    }
    task::shield(|| shielded(depth - 1, inside));
}

#[test]
fn as_many_shields_as_can_be_counted_hold_and_one_more_is_refused() {
    let _dog = watchdog!(60);
    let (started, cancelled) = (Latch::new(), Latch::new());
    let task = task::Builder::new().stack_size(512 << 20).go({
        let (started, cancelled) = (started.clone(), cancelled.clone());
        move || {
            started.open();
            cancelled.block_thread();
            shielded(65_535, &yield_now);
            let text = panic_of(|| shielded(65_536, &yield_now));
            assert!(text.contains("65,535 deep"), "{text}");
            // None is left: this wait is cut short.
            yield_now();
        }
    });
    let task = task.unwrap();
    started.block_thread();
    task.cancel();
    cancelled.open();
    let error = task.join().unwrap_err();
    assert!(error.is_cancelled(), "{error}");
}
