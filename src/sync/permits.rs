//! The rule of everything that counts: a semaphore's permits; a read-write lock has very many, of which a writer takes all.
//!
//! # Picture
//! ```text
//!   word   │ free permits            │ CLOSED │ CROWDED │
//!           bits 2 and above           bit 1     bit 0
//! ```
//!
//! # Invariants
//! - `crowded-while-waiting`: `CROWDED` is set while anybody stands in line, and is set and cleared under the monitor's lock
//!   only; it may stay set for a while after the last has left. While it is set, permits are taken and given back under the lock.
//! - `all-fit`: there are never more than [`MAX`] permits, free and out together, and so many fit into the word: to give back those
//!   that are out needs no check.
//!
//! # Protocol
//! Who finds enough permits, and neither bit, takes them with one compare-exchange; who gives back and finds the line clear does
//! too. Who finds too few sets `CROWDED`, in the same compare-exchange that finds it so, and stands in line under the same lock:
//! a permit given back before that was found, one given back later is given back under the lock, and served. So nobody passes
//! those who wait, and an uncontended lock costs one atomic operation, its release another.

#![forbid(unsafe_code)]

use super::monitor::{Monitor, Rule};
use crate::primitive::atomic::AtomicUsize;
use crate::primitive::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::wait::look_repeatedly;
use std::fmt;

/// How often one looks again before it stands in line, while nobody does, with 31 pauses of the processor in all: a short critical
/// section on another core ends within half a microsecond, a switch there and back costs more. Go's mutex looks for about three
/// times as long.
const LOOKS: u32 = 5;

const CROWDED: usize = 1;
const CLOSED: usize = 2;
const FREE_SHIFT: u32 = 2;

/// The rule; what is free is in the [`Word`].
#[derive(Debug)]
pub(super) struct Permits {
    /// How many there are, free and out.
    total: usize,
}

/// Permits that are free, and who may take them how.
pub(super) struct Word(AtomicUsize);

/// A number of permits asked for; after the grant, had or refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    count: usize,
    refused: bool,
}

impl Wanted {
    pub(super) const fn new(count: usize) -> Self {
        Self { count, refused: false }
    }

    /// The permits were closed: nothing is had.
    pub(super) fn is_refused(self) -> bool {
        self.refused
    }
}

/// More permits than can be.
#[derive(Debug)]
pub(super) struct Overflow;

/// The most permits there can be, free and out together.
pub(super) const MAX: usize = usize::MAX >> 3;

/// What a look under the lock does when there are too few.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    StandInLine,
    GoAway,
}

impl Word {
    const_fn! {
        const fn new(free: usize) -> Self {
            Self(AtomicUsize::new(free << FREE_SHIFT))
        }
    }

    fn load(&self) -> usize {
        // Acquire pairs with the Release of whoever gave permits back: their holder's work is seen by who takes them.
        self.0.load(Acquire)
    }

    fn free(&self) -> usize {
        self.load() >> FREE_SHIFT
    }

    fn is_closed(&self) -> bool {
        self.load() & CLOSED != 0
    }

    /// Changes the word as `f` says. Returns what it was; `None`: `f` did not want to.
    #[inline]
    fn update(&self, mut f: impl FnMut(usize) -> Option<usize>) -> Option<usize> {
        let mut word = self.0.load(Relaxed);
        loop {
            // AcqRel: permits taken bring what their last holder did, permits given back take along what this one did.
            match self.0.compare_exchange_weak(word, f(word)?, AcqRel, Relaxed) {
                Ok(before) => return Some(before),
                Err(now) => word = now,
            }
        }
    }

    /// One who is alone under the lock takes what it wants, or does the other thing.
    fn take_alone(&self, wanted: &mut Wanted, otherwise: Otherwise) -> bool {
        let mut granted = false;
        self.update(|word| {
            wanted.refused = word & CLOSED != 0;
            granted = wanted.refused || word >> FREE_SHIFT >= wanted.count;
            if granted {
                let taken = if wanted.refused { 0 } else { wanted.count };
                return Some((word & !CROWDED) - (taken << FREE_SHIFT));
            }
            (otherwise == Otherwise::StandInLine).then_some(word | CROWDED)
        });
        granted
    }

    /// Gives permits back, if nobody waits.
    #[inline]
    fn give_quickly(&self, count: usize) -> bool {
        self.update(|word| (word & CROWDED == 0).then_some(word + (count << FREE_SHIFT))).is_some()
    }
}

impl Rule for Permits {
    type Request = Wanted;
    type Shared = Word;

    #[inline]
    fn take_quickly(word: &Word, wanted: &mut Wanted) -> bool {
        let count = wanted.count;
        word.update(|word| {
            (word & (CROWDED | CLOSED) == 0 && word >> FREE_SHIFT >= count)
                .then(|| word - (count << FREE_SHIFT))
        })
        .is_some()
    }

    fn take_soon(word: &Word, wanted: &mut Wanted) -> bool {
        look_repeatedly(LOOKS, || Self::take_quickly(word, wanted))
    }

    fn arrive(&mut self, word: &Word, wanted: &mut Wanted, alone: bool) -> bool {
        alone && word.take_alone(wanted, Otherwise::StandInLine)
    }

    fn look_in(&mut self, word: &Word, wanted: &mut Wanted, alone: bool) -> bool {
        alone && word.take_alone(wanted, Otherwise::GoAway)
    }

    fn can_grant(&self, word: &Word, wanted: &Wanted) -> bool {
        word.is_closed() || wanted.count <= word.free()
    }

    fn grant(&mut self, word: &Word, wanted: &mut Wanted) {
        wanted.refused = word.is_closed();
        if !wanted.refused {
            // `crowded-while-waiting`: nobody has taken them since `can_grant`. AcqRel as in `update`.
            word.0.fetch_sub(wanted.count << FREE_SHIFT, AcqRel);
        }
    }

    fn give_back(&mut self, word: &Word, wanted: &Wanted) {
        if !wanted.refused {
            // Release pairs with the Acquire of `load` and `update`.
            word.0.fetch_add(wanted.count << FREE_SHIFT, Release);
        }
    }
}

impl Monitor<Permits> {
    const_fn! {
        /// So many permits, all free.
        pub(super) const fn of_permits(free: usize) -> Self {
            Self::sharing(Permits { total: free }, Word::new(free))
        }
    }

    /// Gives permits back and serves the next in line.
    #[inline]
    pub(super) fn release(&self, count: usize) {
        if !self.shared().give_quickly(count) {
            self.release_slowly(count);
        }
    }

    #[cold]
    fn release_slowly(&self, count: usize) {
        self.change(|_, waiting| {
            self.shared().update(|word| {
                let word = if waiting { word } else { word & !CROWDED };
                Some(word + (count << FREE_SHIFT))
            });
        });
    }

    /// Adds permits that were not there before.
    pub(super) fn add(&self, count: usize) -> Result<(), Overflow> {
        self.change(|rule, _| {
            rule.total = rule.total.checked_add(count).filter(|total| *total <= MAX).ok_or(Overflow)?;
            // `all-fit`. Release as in `give_back`.
            self.shared().0.fetch_add(count << FREE_SHIFT, Release);
            Ok(())
        })
    }

    /// Takes up to `count` of the free ones away; how many it was.
    pub(super) fn remove(&self, count: usize) -> usize {
        self.change(|rule, _| {
            let removed = |word: usize| count.min(word >> FREE_SHIFT);
            let word = self.shared().update(|word| Some(word - (removed(word) << FREE_SHIFT)));
            let removed = word.map_or(0, removed);
            rule.total -= removed;
            removed
        })
    }

    /// Takes permits away that are out, and will not be given back.
    pub(super) fn write_off(&self, count: usize) {
        self.change(|rule, _| rule.total -= count);
    }

    pub(super) fn free(&self) -> usize {
        self.shared().free()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared().is_closed()
    }

    /// Refuses whoever waits and whoever comes.
    pub(super) fn close(&self) {
        self.change(|_, _| {
            // Under the lock: who waits is served, and refused, by this change. AcqRel as in `update`.
            self.shared().0.fetch_or(CLOSED, AcqRel);
        });
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word").field("free", &self.free()).field("closed", &self.is_closed()).finish()
    }
}
