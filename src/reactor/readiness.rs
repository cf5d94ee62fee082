//! What is known about one direction of a source, packed in one word.
//!
//! ```text
//!  31                                 4    3       2      1      0
//! ┌────────────────────────────────────┬────────┬───────┬──────┬───────┐
//! │ tick: bumped by each report        │ CLOSED │ BLIND │ TAIL │ READY │
//! └────────────────────────────────────┴────────┴───────┴──────┴───────┘
//! ```
//!
//! | bit | meaning | set by | cleared by |
//! |---|---|---|---|
//! | READY | an operation may get somewhere | `new`, `report`, `unwatch`, `watch(true)` | `clear`, `watch` |
//! | TAIL | a short transfer does not prove the descriptor drained | `report` | `watch` |
//! | BLIND | no reactor watches, so READY must stay: nobody would set it again | `new`, `unwatch` | `watch` |
//! | CLOSED | every operation fails | `close` | never |
//!
//! TAIL stays as long as the registration: two pollers may deliver their events in another order than they
//! fetched them, and an event from before the end must not take back what the end has set.

#![forbid(unsafe_code)]

use crate::primitive::atomic::{AtomicU32, Ordering};

const READY: u32 = 1;
const TAIL: u32 = 1 << 1;
const BLIND: u32 = 1 << 2;
const CLOSED: u32 = 1 << 3;
const TICK_ONE: u32 = 1 << 4;
const TICK_MASK: u32 = !(TICK_ONE - 1);

/// The word. All but `load` and the two `clear`s are called under the slot's lock.
#[derive(Debug)]
pub(super) struct Readiness(AtomicU32);

/// The word at one moment, kept across an operation to `clear` only what that operation disproved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen(u32);

impl Seen {
    pub(super) fn is_ready(self) -> bool {
        self.0 & READY != 0
    }

    pub(super) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    pub(super) fn is_blind(self) -> bool {
        self.0 & BLIND != 0
    }
}

impl Readiness {
    /// Unwatched, hence as good as ready: the way to find out is to try.
    pub(super) fn new() -> Readiness {
        Readiness(AtomicU32::new(READY | BLIND))
    }

    /// `Acquire` pairs with the `Release` of `report`: what the kernel had before that event is there for an
    /// operation that starts after this load.
    pub(super) fn load(&self) -> Seen {
        Seen(self.0.load(Ordering::Acquire))
    }

    /// The operation begun after `seen` met WouldBlock. Takes effect only if nothing was reported in between.
    pub(super) fn clear(&self, seen: Seen) {
        if !seen.is_blind() {
            // The word publishes nothing here. Failure means a newer report, which the next look will find.
            let _ = self.0.compare_exchange(seen.0, seen.0 & !READY, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The operation begun after `seen` transferred less than was wanted: as `clear`, unless that proves
    /// nothing.
    pub(super) fn clear_after_short_transfer(&self, seen: Seen) {
        if seen.0 & TAIL == 0 {
            self.clear(seen);
        }
    }

    /// An event came. `Release` pairs with `load`.
    pub(super) fn report(&self, tail: bool) {
        let tail = if tail { TAIL } else { 0 };
        self.update(|word| word | READY | tail);
    }

    /// A reactor watches from now on and will report the present state. `ready`: whether trying before that
    /// report may be worth it.
    pub(super) fn watch(&self, ready: bool) {
        let ready = if ready { READY } else { 0 };
        self.update(|word| (word & !(BLIND | TAIL | READY)) | ready);
    }

    /// No reactor watches any more.
    pub(super) fn unwatch(&self) {
        self.update(|word| word | READY | BLIND);
    }

    pub(super) fn close(&self) {
        self.update(|word| word | CLOSED);
    }

    /// Back to `new`, for the slot's next tenant.
    pub(super) fn reset(&self) {
        self.0.store(READY | BLIND, Ordering::Release);
    }

    /// Changes the bits and bumps the tick. A loop, as a `clear` may come in between: it is the one that
    /// needs no lock.
    fn update(&self, change: impl Fn(u32) -> u32) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let tick = word.wrapping_add(TICK_ONE) & TICK_MASK;
            let next = tick | change(word) & !TICK_MASK;
            match self.0.compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }
}
