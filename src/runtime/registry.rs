//! The registry of live tasks: every task can be named, dumped and cancelled until it has ended.
//!
//! A shard is a doubly linked list through the task headers, behind a lock that its worker hardly ever
//! shares; the last one is for tasks spawned off the workers. It owns nothing: a task's own reference is
//! dropped after its removal (`kept-by-registry`), so a task whose wakers are all gone is still there to be cancelled.
//! Nothing of the user's runs under the lock.
//! Closing and counting are the business of [`Gate`].

use crate::runtime::gate::Gate;
use crate::runtime::record::Record;
use crate::task::cell;
use crate::task::header::Header;
use std::fmt;
use std::ptr;
use std::task::Waker;

pub(crate) struct Registry {
    gate: Gate<List>,
}

struct List {
    first: *const Header,
}

// SAFETY: the pointers are to headers that `kept-by-registry` keeps; they are followed under the lock only.
unsafe impl Send for List {}

impl Default for List {
    fn default() -> Self {
        Self { first: ptr::null() }
    }
}

impl List {
    fn link(&mut self, header: &Header) {
        header.next.set(self.first);
        header.previous.set(ptr::null());
        // SAFETY: `kept-by-registry`: the first header is alive, and the lock is held.
        if let Some(first) = unsafe { self.first.as_ref() } {
            first.previous.set(header);
        }
        self.first = header;
    }

    fn unlink(&mut self, header: &Header) {
        // SAFETY: `kept-by-registry` for both neighbours, and the lock is held.
        let (previous, next) = unsafe { (header.previous.get().as_ref(), header.next.get().as_ref()) };
        match previous {
            Some(previous) => previous.next.set(header.next.get()),
            None => self.first = header.next.get(),
        }
        if let Some(next) = next {
            next.previous.set(header.previous.get());
        }
    }

    fn for_each(&self, mut f: impl FnMut(&Header)) {
        let mut next = self.first;
        // SAFETY: `kept-by-registry`, and the lock is held.
        while let Some(header) = unsafe { next.as_ref() } {
            next = header.next.get();
            f(header);
        }
    }
}

impl Registry {
    /// A registry for a scheduler of so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self { gate: Gate::new(workers + 1) }
    }

    pub(crate) fn gate(&self) -> &Gate<impl Sized> {
        &self.gate
    }

    /// Enters a new task. False when the gate is closed: the caller must not schedule it.
    #[must_use]
    #[inline]
    pub(crate) fn insert(&self, header: &Header) -> bool {
        self.gate.enter(header.shard as usize, |list| list.link(header))
    }

    /// Removes an ended task.
    #[inline]
    pub(crate) fn remove(&self, header: &Header) {
        self.gate.leave(header.shard as usize, |list| list.unlink(header));
    }

    /// Calls `f` with every task, under the lock of its shard: it must not run user code or take another
    /// shard's lock.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Header)) {
        self.gate.for_each_list(|list| list.for_each(&mut f));
    }

    /// Requests the cancellation of every task, then wakes them all.
    pub(crate) fn cancel_all(&self) {
        let mut wakes = Vec::new();
        self.for_each(|header| wakes.push(header.begin_cancel()));
        wakes.into_iter().for_each(Wakes::wake);
    }

    /// Requests the cancellation of one task, which is entered here or has ended.
    fn cancel(&self, header: &Header) {
        self.gate.with_list(header.shard as usize, |_| header.begin_cancel()).wake();
    }
}

/// Whom to wake after a cancellation has been requested.
struct Wakes {
    task: Option<Waker>,
    record: Option<&'static Record>,
}

impl Wakes {
    fn wake(self) {
        if let Some(record) = self.record {
            record.wake();
        }
        if let Some(task) = self.task {
            task.wake();
        }
    }
}

impl Header {
    /// Under the shard's lock, which keeps the task if nothing else does.
    fn begin_cancel(&self) -> Wakes {
        let record = self.cancel.request();
        // SAFETY: records are never freed.
        Wakes { task: cell::waker(self), record: unsafe { record.as_ref() } }
    }

    /// See [`JoinHandle::cancel`](crate::task::JoinHandle::cancel).
    pub(crate) fn request_cancel(&self) {
        self.scheduler.registry().cancel(self);
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("gate", &self.gate).finish()
    }
}
