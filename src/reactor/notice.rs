//! The owner's sleep and the notifications that end it: what is kept beside the poller's own notifier,
//! because a rescuer may fetch the notifier's event before the sleeping owner does.
//!
//! # Protocol
//! ```text
//! notifying                   sleeping (the owner)            rescuing
//! 1. notified = true          1. sleeping = true; fence       1. fetch events, the notifier's among them
//! 2. write to the notifier    2. take notified: if it was     2. fence; read sleeping: if set, write
//!                                set, do not sleep               again
//! ```
//! If the rescuer's fence comes first, the owner's comes after what the rescuer fetched, so after `notified`
//! was set: the owner finds it. If the owner's comes first, the rescuer finds `sleeping`. Acquire and release
//! would allow both to miss.

use crate::primitive::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::primitive::atomic::{AtomicBool, fence};

#[derive(Debug)]
pub(super) struct Notice {
    /// The owner is about to wait, or waiting.
    sleeping: AtomicBool,
    /// A notification was posted since the owner last took one.
    notified: AtomicBool,
}

impl Notice {
    pub(super) fn new() -> Self {
        Self { sleeping: AtomicBool::new(false), notified: AtomicBool::new(false) }
    }

    /// Before the write to the notifier. What came before it is there for the owner that takes it.
    pub(super) fn post(&self) {
        // Release pairs with the take in `end_sleep`. A swap, where a store would do: loom does not deduce on
        // which side of such a take a plain store lies.
        self.notified.swap(true, Release);
    }

    /// The owner is about to wait. False: it has been notified, and must not.
    #[must_use]
    pub(super) fn begin_sleep(&self) -> bool {
        self.sleeping.store(true, Relaxed);
        // Pairs with the fence of `was_fetched`.
        fence(SeqCst);
        // Relaxed: `end_sleep` follows, before the look, and acquires through this swap.
        !self.notified.swap(false, Relaxed)
    }

    /// The owner has waited, and looks now at what it may have been notified of.
    pub(super) fn end_sleep(&self) {
        // Relaxed: a rescuer that reads it too late writes once more than needed.
        self.sleeping.store(false, Relaxed);
        // Acquire pairs with `post`.
        self.notified.swap(false, Acquire);
    }

    /// A rescuer has fetched the notifier's event. True: it was the sleeping owner's, and must be written
    /// again.
    #[must_use]
    pub(super) fn was_fetched(&self) -> bool {
        // Pairs with the fence of `begin_sleep`.
        fence(SeqCst);
        self.sleeping.load(Relaxed)
    }
}

/// What tests look at.
#[cfg(all(test, not(any(loom, shuttle))))]
impl Notice {
    pub(super) fn is_sleeping(&self) -> bool {
        self.sleeping.load(SeqCst)
    }

    pub(super) fn is_posted(&self) -> bool {
        self.notified.load(SeqCst)
    }

    pub(super) fn take(&self) -> bool {
        self.notified.swap(false, SeqCst)
    }
}
