//! The waker of the future that a local executor is run with. During a turn it wakes the task that polls the future there, so
//! what the future waits for in the executor does not take it through the executor around; between two turns it wakes that one.
//!
//! # Protocol
//! ```text
//! waker                                   end of a turn
//! 1. woken = true                         1. under the lock: take `inner`
//! 2. under the lock: copy `inner`, or     2. wake that task, which takes `woken` and polls if it was set
//!    take `outer` if there is none
//! 3. call it
//! ```
//! If the copy is made before `inner` is taken, `woken` is set before the task looks for the last time. Else the outer one is
//! called. Called too late, the inner one wakes a task that has ended, and does nothing.

#![forbid(unsafe_code)]

use crate::primitive::atomic::AtomicBool;
use crate::primitive::atomic::Ordering::{Acquire, Release};
use crate::primitive::{Mutex, lock};
use std::sync::Arc;
use std::task::{Wake, Waker};

/// See the module's head.
pub(super) struct Relay {
    woken: AtomicBool,
    target: Mutex<Target>,
}

#[derive(Default)]
struct Target {
    inner: Option<Waker>,
    outer: Option<Waker>,
}

impl Relay {
    /// Woken, for the first poll.
    pub(super) fn new() -> Self {
        Self { woken: AtomicBool::new(true), target: Mutex::new(Target::default()) }
    }

    pub(super) fn take_woken(&self) -> bool {
        // Acquire pairs with the Release of `wake_by_ref`: the poll sees what the waker's caller wrote before.
        self.woken.swap(false, Acquire)
    }

    pub(super) fn set_outer(&self, waker: &Waker) {
        self.set(|target| &mut target.outer, waker);
    }

    pub(super) fn set_inner(&self, waker: &Waker) {
        self.set(|target| &mut target.inner, waker);
    }

    fn set(&self, which: impl FnOnce(&mut Target) -> &mut Option<Waker>, waker: &Waker) {
        let waker = waker.clone();
        // Bound to a name: dropped after the lock.
        let _before = which(&mut lock(&self.target)).replace(waker);
    }

    pub(super) fn take_inner(&self) -> Option<Waker> {
        lock(&self.target).inner.take()
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release pairs with the Acquire of `take_woken`. A swap, where a store would do: loom does not deduce on which side of
        // such a take a plain store lies.
        self.woken.swap(true, Release);
        let waker = {
            let mut target = lock(&self.target);
            // The outer one is somebody else's: it is not cloned under the lock, and left anew by the poll that it brings about.
            target.inner.clone().or_else(|| target.outer.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
