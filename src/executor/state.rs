//! What the handles, the drivers and the tasks of one executor share.
//!
//! # Invariants
//! - `type-stable`: states are never freed. An executor takes one from the pool when it first needs it and returns it when it
//!   has been dropped, so a thread that has just pushed a task may still call `notify` while another one drops the executor: at
//!   worst it wakes a driver of a later tenant for nothing.
//! - `ended-before-return`: when a state goes back to the pool, no task of its tenant is left: none is in the queue, none is on
//!   its way there, and every future has been dropped. [`State::end_all`] sees to it.

#![forbid(unsafe_code)]

use crate::executor::body::{self, Header, Runnable};
use crate::executor::sleepers::Sleepers;
use crate::primitive::{lock, wake_all};
use concurrent_queue::ConcurrentQueue;
use slab::Slab;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::task::Waker;

pub(super) struct State {
    queue: ConcurrentQueue<Runnable>,
    pub(super) sleepers: Sleepers,
    /// One waker for each task that has not ended. Only moved or cloned under the lock: they are our own tasks'.
    live: Mutex<Slab<Waker>>,
    /// The executor is being dropped: every task ends at its next run.
    closed: AtomicBool,
}

static POOL: Mutex<Vec<&'static State>> = Mutex::new(Vec::new());

impl State {
    /// A state from the pool, or a new one.
    pub(super) fn acquire() -> &'static Self {
        let pooled = lock(&POOL).pop();
        pooled.unwrap_or_else(|| {
            Box::leak(Box::new(Self {
                queue: ConcurrentQueue::unbounded(),
                sleepers: Sleepers::new(),
                live: Mutex::new(Slab::new()),
                closed: AtomicBool::new(false),
            }))
        })
    }

    /// Ends every task: wakes them all, and runs each to its end. Nobody drives the executor any more, so whatever is not in the
    /// queue by then is in the hands of a thread that is about to push it.
    pub(super) fn end_all(&self) {
        // Relaxed would do: the runs that read it follow on this thread.
        self.closed.store(true, Release);
        let wakers: Vec<Waker> = lock(&self.live).iter().map(|(_, waker)| waker.clone()).collect();
        wake_all(wakers);
        loop {
            if let Some(runnable) = self.pop() {
                body::run(runnable);
            } else if self.is_empty() {
                return;
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Back to the pool; see `ended-before-return`.
    pub(super) fn release(&'static self) {
        debug_assert!(self.queue.is_empty() && self.is_empty(), "ended-before-return");
        self.closed.store(false, Relaxed);
        self.sleepers.reset();
        lock(&POOL).push(self);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }

    /// Enters a task that has just been made, and schedules it.
    pub(super) fn start(&self, runnable: Runnable) {
        let key = lock(&self.live).insert(runnable.waker());
        runnable.metadata().set_key(key);
        runnable.schedule();
    }

    /// A task has ended. What is dropped here is dropped after the lock.
    pub(super) fn leave(&self, key: usize) {
        let waker = lock(&self.live).try_remove(key);
        drop(waker);
    }

    /// Makes a task that has not ended look at its flags.
    pub(super) fn wake(&self, header: &Header) {
        // The key may be another task's by now: waking that one for nothing does no harm.
        let waker = lock(&self.live).get(header.key()).cloned();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// No task is left.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.live).is_empty()
    }

    pub(super) fn push(&self, runnable: Runnable) {
        if self.queue.push(runnable).is_err() {
            unreachable!("the queue is unbounded and never closed");
        }
        self.sleepers.notify();
    }

    pub(super) fn pop(&self) -> Option<Runnable> {
        self.queue.pop().ok()
    }

    /// Passes on what a driver leaves behind (`passed-on` in `sleepers.rs`).
    pub(super) fn notify_if_more(&self) {
        if !self.queue.is_empty() {
            self.sleepers.notify();
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("State");
        match self.live.try_lock() {
            Ok(live) => text.field("live", &live.len()),
            Err(_) => text.field("live", &format_args!("<locked>")),
        };
        text.field("queued", &self.queue.len()).field("asleep", &self.sleepers).finish()
    }
}
