//! A worker's inbox: what other threads want its worker to do.
//!
//! # Picture
//! ```text
//! any thread ── push ──► head ─► newest ─► … ─► oldest        owner ── take ──► oldest, …, newest
//! ```
//! A Treiber stack whose only consumer takes the whole of it, so no node is ever popped singly and the ABA problem
//! does not arise. The nodes are the links inside coroutine records and task headers: a push never allocates.
//!
//! # Invariants
//! - `in-one-inbox`: a link is in at most one inbox, once. A record's link is guarded by its `flag`, a task's by
//!   the possession of its `Runnable`.
//! - `outlives-the-push`: a record is never freed; a task's allocation is kept by the `Runnable` that the link stands for.
//!
//! # Protocol
//! `push` publishes with `Release`; `take` swaps with `Acquire`, so what the pusher wrote before is seen by the owner.
//! Whether the owner sleeps is the business of [`super::idle`].
//!
//! # Sources
//! Treiber, "Systems programming: coping with parallelism", 1986.

use crate::primitive::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicBool, AtomicPtr};
use std::fmt;
use std::ptr::{self, NonNull};

/// What a link is embedded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkKind {
    /// A coroutine record, at its `remote`.
    Record,
    /// The first field of a task header.
    Task,
}

/// An inbox node; a field of what it stands for. `repr(C)`: one with more behind it begins as one without.
#[repr(C)]
pub(crate) struct Link<R = ()> {
    next: AtomicPtr<Link>,
    kind: LinkKind,
    /// Here because here is room for it, and for the rest. A record's: it is in the inbox, or about to be looked at. A task's: its
    /// result has been taken.
    pub(crate) flag: AtomicBool,
    /// Six bytes that are the owner's.
    pub(crate) room: R,
}

impl<R> Link<R> {
    pub(crate) fn with_room(kind: LinkKind, room: R) -> Self {
        Self { next: AtomicPtr::new(ptr::null_mut()), kind, flag: AtomicBool::new(false), room }
    }
}

impl Link {
    pub(crate) fn new(kind: LinkKind) -> Self {
        Self::with_room(kind, ())
    }

    pub(crate) fn kind(&self) -> LinkKind {
        self.kind
    }

    /// The next in the list that the link is in. For the injector, which has a lock: Relaxed.
    #[inline]
    pub(super) fn next(&self) -> *mut Link {
        self.next.load(Relaxed)
    }

    #[inline]
    pub(super) fn set_next(&self, next: *mut Link) {
        self.next.store(next, Relaxed);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// See the module's head.
pub(crate) struct Inbox {
    head: AtomicPtr<Link>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Adds a link; any thread may.
    ///
    /// # Safety
    /// `link` is in no inbox now (`in-one-inbox`) and stays valid until it has been taken (`outlives-the-push`).
    pub(crate) unsafe fn push(&self, link: NonNull<Link>) {
        let mut head = self.head.load(Relaxed);
        loop {
            // SAFETY: the caller owns the link's membership and keeps it alive; nobody else touches `next` meanwhile.
            unsafe { link.as_ref() }.next.store(head, Relaxed);
            // Release pairs with the Acquire of `take`.
            match self.head.compare_exchange_weak(head, link.as_ptr(), Release, Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes out what `wanted` takes, and puts the rest back. For a rescuer, beside the owner. True when something was put
    /// back: the owner may have found nothing meanwhile, and must be woken if it sleeps.
    #[must_use]
    pub(crate) fn pick_out(&self, mut wanted: impl FnMut(NonNull<Link>) -> bool) -> bool {
        let mut some_left = false;
        for link in self.take() {
            if !wanted(link) {
                // SAFETY: just taken, and whoever has put it there keeps it valid until its owner takes it.
                unsafe { self.push(link) };
                some_left = true;
            }
        }
        some_left
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Relaxed).is_null()
    }

    /// Takes everything, oldest first. Called by the owner, and by a rescuer (`pick_out`): each link goes to one of them.
    pub(crate) fn take(&self) -> Chain {
        if self.is_empty() {
            return Chain { next: ptr::null_mut() };
        }
        // Acquire pairs with the Release of `push`.
        let mut newest = self.head.swap(ptr::null_mut(), Acquire);
        let mut oldest = ptr::null_mut();
        while let Some(link) = NonNull::new(newest) {
            // SAFETY: `outlives-the-push`; the swap made us the only one who knows these nodes.
            let link_ref = unsafe { link.as_ref() };
            newest = link_ref.next.load(Relaxed);
            link_ref.next.store(oldest, Relaxed);
            oldest = link.as_ptr();
        }
        Chain { next: oldest }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("empty", &self.is_empty()).finish()
    }
}

/// What one `take` returned; iterate it to the end (what is left in a dropped chain would be lost).
#[derive(Debug)]
#[must_use]
pub(crate) struct Chain {
    next: *mut Link,
}

impl Iterator for Chain {
    type Item = NonNull<Link>;

    fn next(&mut self) -> Option<NonNull<Link>> {
        let link = NonNull::new(self.next)?;
        // The successor is read before the link is handed out: its next owner may push it again at once.
        // SAFETY: `outlives-the-push`.
        self.next = unsafe { link.as_ref() }.next.load(Relaxed);
        Some(link)
    }
}
