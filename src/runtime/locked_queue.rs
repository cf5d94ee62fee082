//! Runnables in a list under a lock: the injector, which takes those from off the workers, and each worker's overflow, which takes what
//! its run queue has no room for.
//!
//! The list goes through the links in the task headers: a push never allocates, so a million tasks that are spawned before
//! the first of them runs cost their own memory and no more, and a worker takes many of them under one lock.
//!
//! # Invariants
//! - `one-list`: a link is in one such list or in an inbox, once: it is guarded by the possession of the task's `Runnable`, which the
//!   link stands for until it is taken.
//! - `counted`: `length` is the length of the list, but for pushes and takes under way. It orders nothing: the idle protocol does
//!   (its model has a Relaxed counter here).

use crate::primitive::atomic::AtomicUsize;
use crate::primitive::atomic::Ordering::Relaxed;
use crate::primitive::{Mutex, lock};
use crate::runtime::inbox::Link;
use crate::task::header::Runnable;
use std::fmt;
use std::ptr::{self, NonNull};

/// See the module's head.
pub(crate) struct LockedQueue {
    list: Mutex<List>,
    length: AtomicUsize,
}

struct List {
    first: *mut Link,
    last: *mut Link,
}

// SAFETY: runnables are Send, and the pointers stand for them.
unsafe impl Send for List {}

impl LockedQueue {
    pub(crate) fn new() -> Self {
        Self {
            list: Mutex::new(List { first: ptr::null_mut(), last: ptr::null_mut() }),
            length: AtomicUsize::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length.load(Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds at the back. Any thread.
    pub(crate) fn push(&self, runnable: Runnable) {
        // The link is the first field of a task.
        let link: NonNull<Link> = runnable.into_raw().cast();
        // SAFETY: `one-list`: the runnable was the caller's, and keeps the task.
        unsafe { link.as_ref() }.set_next(ptr::null_mut());
        let mut list = lock(&self.list);
        match NonNull::new(list.last) {
            // SAFETY: `one-list`; the lock is held.
            Some(last) => unsafe { last.as_ref() }.set_next(link.as_ptr()),
            None => list.first = link.as_ptr(),
        }
        list.last = link.as_ptr();
        self.length.store(self.length.load(Relaxed) + 1, Relaxed);
    }

    /// Takes so many from the front, or all there are. What is returned is to be iterated to the end.
    pub(crate) fn take(&self, count: usize) -> Taken {
        let mut list = lock(&self.list);
        let first = list.first;
        let mut left = count;
        while left > 0
            && let Some(link) = NonNull::new(list.first)
        {
            // SAFETY: `one-list`; the lock is held.
            list.first = unsafe { link.as_ref() }.next();
            left -= 1;
        }
        if list.first.is_null() {
            list.last = ptr::null_mut();
        }
        let count = count - left;
        self.length.store(self.length.load(Relaxed) - count, Relaxed);
        Taken { next: first, count }
    }
}

impl fmt::Debug for LockedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedQueue").field("len", &self.len()).finish()
    }
}

/// Runnables taken.
#[derive(Debug)]
#[must_use = "what is not iterated over is lost"]
pub(crate) struct Taken {
    next: *mut Link,
    count: usize,
}

impl Iterator for Taken {
    type Item = Runnable;

    fn next(&mut self) -> Option<Runnable> {
        self.count = self.count.checked_sub(1)?;
        // SAFETY: `take` has counted it.
        let link = unsafe { NonNull::new_unchecked(self.next) };
        // The successor is read before the link is handed out.
        // SAFETY: `one-list`: taken, so it is ours.
        self.next = unsafe { link.as_ref() }.next();
        // SAFETY: the pointer that `push` had from `into_raw`; each is handed out once.
        Some(unsafe { Runnable::from_raw(link.cast()) })
    }
}
