//! What is known about a source: half a word for each direction.
//!
//! ```text
//!  31                                 4    3       2      1      0
//! ┌────────────────────────────────────┬────────┬───────┬──────┬───────┐
//! │ tick: bumped by each report        │ CLOSED │ BLIND │ TAIL │ READY │   low half: read, high half: write
//! └────────────────────────────────────┴────────┴───────┴──────┴───────┘
//! ```
//! An edge reports both directions at once, and everything but a `clear` concerns both: one change of one word.
//!
//! | bit | meaning | set by | cleared by |
//! |---|---|---|---|
//! | READY | an operation may get somewhere | `new`, `report`, `unwatch`, `watch` of the other | `clear`, `watch` |
//! | TAIL | a short transfer does not prove the descriptor drained | `report` | `watch` |
//! | BLIND | no reactor watches, so READY must stay: nobody would set it again | `new`, `unwatch` | `watch` |
//! | CLOSED | every operation fails | `close` | never |
//!
//! TAIL stays as long as the registration: two pollers may deliver their events in another order than they
//! fetched them, and an event from before the end must not take back what the end has set.

#![forbid(unsafe_code)]

use super::Direction;
use crate::primitive::atomic::{AtomicU64, Ordering};

const READY: u32 = 1;
const TAIL: u32 = 1 << 1;
const BLIND: u32 = 1 << 2;
const CLOSED: u32 = 1 << 3;
const TICK_ONE: u32 = 1 << 4;
const TICK_MASK: u32 = !(TICK_ONE - 1);

/// The word. All but `load` and the two `clear`s are called under the slot's lock.
#[derive(Debug)]
pub(super) struct Readiness(AtomicU64);

/// One direction at one moment, kept across an operation to `clear` only what that operation disproved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen(u32);

impl Seen {
    #[inline]
    pub(super) fn is_ready(self) -> bool {
        self.0 & READY != 0
    }

    #[inline]
    pub(super) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    #[inline]
    pub(super) fn is_blind(self) -> bool {
        self.0 & BLIND != 0
    }
}

/// The two halves: read, write.
type Halves = [u32; 2];

#[inline]
fn split(word: u64) -> Halves {
    [word as u32, (word >> 32) as u32]
}

#[inline]
fn join([read, write]: Halves) -> u64 {
    u64::from(read) | u64::from(write) << 32
}

fn bump(half: u32, bits: u32) -> u32 {
    half.wrapping_add(TICK_ONE) & TICK_MASK | bits & !TICK_MASK
}

impl Direction {
    #[inline]
    fn half(self) -> usize {
        match self {
            Direction::Read => 0,
            Direction::Write => 1,
        }
    }
}

impl Readiness {
    /// Unwatched, hence as good as ready: the way to find out is to try.
    pub(super) fn new() -> Readiness {
        Readiness(AtomicU64::new(join([READY | BLIND; 2])))
    }

    /// `Acquire` pairs with the `Release` of `report`: what the kernel had before that event is there for an
    /// operation that starts after this load.
    #[inline]
    pub(super) fn load(&self, direction: Direction) -> Seen {
        Seen(split(self.0.load(Ordering::Acquire))[direction.half()])
    }

    /// The operation begun after `seen` met WouldBlock. Takes effect only if nothing was reported in between.
    #[inline]
    pub(super) fn clear(&self, direction: Direction, seen: Seen) {
        if seen.is_blind() {
            return;
        }
        // The word publishes nothing here. A half that has changed means a newer report, which the next look will
        // find; the other direction's may change meanwhile.
        let mut word = self.0.load(Ordering::Relaxed);
        while split(word)[direction.half()] == seen.0 {
            let mut halves = split(word);
            halves[direction.half()] = seen.0 & !READY;
            let next = join(halves);
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// The operation begun after `seen` transferred less than was wanted: as `clear`, unless that proves
    /// nothing.
    #[inline]
    pub(super) fn clear_after_short_transfer(&self, direction: Direction, seen: Seen) {
        if seen.0 & TAIL == 0 {
            self.clear(direction, seen);
        }
    }

    /// An event of these directions came. `Release` pairs with `load`.
    #[inline]
    pub(super) fn report(&self, readable: bool, writable: bool, tail: bool) {
        let set = READY | if tail { TAIL } else { 0 };
        let reported = |is: bool, half| if is { bump(half, half | set) } else { half };
        self.update(|[read, write]| [reported(readable, read), reported(writable, write)]);
    }

    /// A reactor watches from now on and will report the present state, for which somebody waits before he tries
    /// `waited_for`; trying the other direction before that report may be worth it.
    pub(super) fn watch(&self, waited_for: Direction) {
        let watched = |half: u32, direction| {
            let ready = if direction == waited_for { 0 } else { READY };
            bump(half, (half & !(BLIND | TAIL | READY)) | ready)
        };
        self.update(|[read, write]| [watched(read, Direction::Read), watched(write, Direction::Write)]);
    }

    /// No reactor watches any more.
    pub(super) fn unwatch(&self) {
        self.update(|halves| halves.map(|half| bump(half, half | READY | BLIND)));
    }

    pub(super) fn close(&self) {
        self.update(|halves| halves.map(|half| bump(half, half | CLOSED)));
    }

    /// Back to `new`, for the slot's next tenant.
    pub(super) fn reset(&self) {
        self.0.store(join([READY | BLIND; 2]), Ordering::Release);
    }

    /// A loop, as a `clear` may come in between: it is the one that needs no lock.
    #[inline]
    fn update(&self, change: impl Fn(Halves) -> Halves) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let next = join(change(split(word)));
            match self.0.compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }
}
