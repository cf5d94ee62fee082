//! The rule of a mutex: one permit, which goes by order only as far as order is cheap.
//!
//! # Picture
//! ```text
//!   word   │ STRICT │ CALLED │ CROWDED │ LOCKED │     contention: when somebody had to stay away
//! ```
//!
//! # Why not strictly in order
//! Handing the lock over is a promise to somebody who is asleep: nobody runs the critical section until it has been woken, however
//! many pass by who could. With parties on several cores that is the rule, not the exception: each hand-over finds its party on
//! the other core, so everybody ends up in line (a convoy), and a lock of 17 ns costs microseconds (1,000 tasks on 2 workers:
//! 3 to 7 µs each). So an unlocked mutex is free for whoever comes, and the first in line is *called*, to look for itself.
//!
//! Whoever was called in vain and has waited for `PATIENCE` makes the mutex strict: nobody barges in until the next unlocking, which
//! hands it the lock. So one in line is passed by others for a millisecond, and by one more each time somebody before it is
//! called. (Go's mutex has the same millisecond, and stays strict until the line is worked off. With a line that takes longer
//! than that to go round it stays a convoy: 0.7 µs a lock in one of three runs of the above.)
//!
//! # Invariants
//! - `locked-is-exclusive`: who sets `LOCKED` has the lock, and only its owner clears it. Strict, whoever sees to the line then sets it for whom it hands over to.
//! - `crowded-while-waiting`: `CROWDED` is set whenever the lock is held and somebody stands in line.
//! - `one-is-called`: `CALLED` is set while one party has been called, or is about to be, and has neither looked nor gone.
//! - `strict-or-called`: not both, and `STRICT` only with `CROWDED`. Strict makes the one who was called, by the change that ends that;
//!   while it lasts nobody is called.
//! - `called-or-crowded`: while somebody stands in line, the lock is held and its release will see to the line, or who has released it
//!   is about to, or somebody is called and will, when it looks or goes.
//!
//! # Protocol
//! *Lock*: one compare-exchange, if neither `LOCKED` nor `STRICT`. Else, under the monitor's lock: the compare-exchange that finds
//! `LOCKED` sets `CROWDED`, and one stands in line.
//!
//! *Unlock*: one subtraction, and that is all if the line was clear, or somebody was called already (it will find the lock free, or
//! locked by somebody whose unlocking is to come). Else, under the monitor's lock: strict, nobody has taken it meanwhile, and the
//! front is handed the lock; otherwise the front is called, unless somebody has it.
//!
//! *Called*: it takes the lock, or finds `LOCKED`; both clear `CALLED` in the same compare-exchange, so that the unlocking that
//! follows sees to the line again. In vain it returns to the front. Goes it instead, the call is passed on.

#![forbid(unsafe_code)]

use super::monitor::{Due, Monitor, Rule};
use crate::primitive::atomic::AtomicU32;
use crate::primitive::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::wait::absence::Contention;
use std::fmt;
use std::time::{Duration, Instant};

/// How often one looks again before it stands in line, each time after an absence: for 0.4 us in all, which is what a switch there and back
/// costs; up to 10 where each lets the other do hundreds of operations. 1,000 tasks on 2 workers, ns a lock, medians of 15 in
/// turn: 13.7 for 21.2 with looks after 1, 2 and 4 pauses of the processor, however contended (every look takes the word's line from who
/// has the lock); with five times as many locks 10.8 for 16.3. One worker: 10.9. With 2 absences the same, with 1 some 5 % more. At
/// times, when the two cores of the same (virtual) machine are far from each other, both are 15 to 18.
const LOOKS: u32 = 3;

/// How long one stands in line before order is kept. Go's figure: long beside any line that moves, short beside what people notice.
const PATIENCE: Duration = Duration::from_millis(1);

const LOCKED: u32 = 1;
const CROWDED: u32 = 2;
const CALLED: u32 = 4;
const STRICT: u32 = 8;

/// The rule; whether it is locked is in the [`Word`].
#[derive(Debug)]
pub(super) struct Exclusive {
    patience: Duration,
}

/// See the module's head. 8 bytes with the contention, which is of use only where the word has to be had as well.
pub(super) struct Word {
    flags: AtomicU32,
    contention: Contention,
}

/// The lock asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Since it stands in line.
    since: Option<Instant>,
}

impl Asked {
    pub(super) const NEW: Self = Self { since: None };
}

impl Word {
    const_fn! {
        const fn unlocked() -> Self {
            Self { flags: AtomicU32::new(0), contention: Contention::none() }
        }
    }

    fn load(&self) -> u32 {
        // Acquire pairs with the Release of whoever unlocked.
        self.flags.load(Acquire)
    }

    /// Changes the word as `f` says; false: `f` did not want to.
    #[inline]
    fn update(&self, mut f: impl FnMut(u32) -> Option<u32>) -> bool {
        let mut word = self.flags.load(Relaxed);
        loop {
            let Some(changed) = f(word) else { return false };
            // AcqRel: the lock taken brings what its last owner did, the lock given back takes along what this one did.
            match self.flags.compare_exchange_weak(word, changed, AcqRel, Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// A look under the monitor's lock: takes the lock with `taking`, or leaves `otherwise` behind.
    fn look(&self, taking: impl Fn(u32) -> u32, otherwise: impl Fn(u32) -> u32) -> bool {
        let mut taken = false;
        self.update(|word| {
            taken = word & LOCKED == 0;
            Some(if taken { taking(word) | LOCKED } else { otherwise(word) })
        });
        taken
    }

    /// Unlocks. True: nobody need be seen to.
    #[inline]
    fn unlock(&self) -> bool {
        // Release pairs with the Acquire of who locks next.
        let word = self.flags.fetch_sub(LOCKED, Release);
        word & CROWDED == 0 || word & (CALLED | STRICT) == CALLED
    }
}

/// A newcomer's way in.
#[inline]
fn barge_in(word: u32) -> Option<u32> {
    (word & (LOCKED | STRICT) == 0).then_some(word | LOCKED)
}

/// The way in of one who was called.
fn answer(word: u32) -> Option<u32> {
    (word & LOCKED == 0).then_some((word | LOCKED) & !CALLED)
}

/// What is not true of an empty line.
fn unless(alone: bool) -> u32 {
    if alone { CROWDED | STRICT } else { 0 }
}

impl Rule for Exclusive {
    type Request = Asked;
    type Shared = Word;

    #[inline]
    fn take_quickly(word: &Word, _: &mut Asked) -> bool {
        word.update(barge_in)
    }

    fn take_soon(word: &Word, _: &mut Asked) -> bool {
        // Strict, nobody barges in: it is not for looking that one gets it.
        word.load() & STRICT == 0 && word.contention.look_now_and_then(LOOKS, || word.update(barge_in))
    }

    fn answer_soon(word: &Word) -> bool {
        word.contention.look_now_and_then(LOOKS, || word.update(answer))
    }

    fn arrive(&mut self, word: &Word, asked: &mut Asked, alone: bool) -> bool {
        // Strict with nobody in line: the last of those it was for has gone.
        let may_enter = alone || word.load() & STRICT == 0;
        let taken = may_enter && word.look(|word| word & !unless(alone), |word| word | CROWDED);
        if !taken {
            asked.since.get_or_insert_with(Instant::now);
        }
        taken
    }

    fn look_in(&mut self, word: &Word, _: &mut Asked, alone: bool) -> bool {
        alone && word.look(|word| word & !unless(true), |word| word)
    }

    fn look_again(&mut self, word: &Word, asked: &mut Asked, alone: bool) -> bool {
        let strict = if self.has_waited(asked) { STRICT } else { 0 };
        word.look(|word| word & !(CALLED | unless(alone)), |word| (word & !CALLED) | CROWDED | strict)
    }

    fn can_grant(&self, word: &Word, _: &Asked) -> bool {
        word.load() & (LOCKED | STRICT) == STRICT
    }

    fn due(&self, word: &Word, _: &Asked) -> Due {
        match word.load() & (LOCKED | STRICT | CALLED) {
            STRICT => Due::Grant,
            0 => Due::Call,
            _ => Due::Nothing,
        }
    }

    fn called(&mut self, word: &Word) {
        word.update(|word| Some(word | CALLED | CROWDED));
    }

    fn goes_called(&mut self, word: &Word) {
        word.update(|word| Some(word & !CALLED));
    }

    fn grant(&mut self, word: &Word, _: &mut Asked) {
        // Nobody has taken it since `can_grant`: strict, it is taken under the monitor's lock only.
        word.update(|word| Some((word | LOCKED) & !STRICT));
    }

    fn give_back(&mut self, word: &Word, _: &Asked) {
        word.update(|word| Some(word & !LOCKED));
    }
}

impl Exclusive {
    fn has_waited(&self, asked: &Asked) -> bool {
        asked.since.is_some_and(|since| since.elapsed() >= self.patience)
    }
}

impl Monitor<Exclusive> {
    const_fn! {
        pub(super) const fn unlocked() -> Self {
            Self::sharing(Exclusive { patience: PATIENCE }, Word::unlocked())
        }
    }

    /// Whose waiters' patience is so long: for models, which know no time but none and for ever.
    #[cfg(all(test, loom))]
    pub(super) fn with_patience(patience: Duration) -> Self {
        Self::sharing(Exclusive { patience }, Word::unlocked())
    }

    /// Gives the lock back, and sees to the line.
    #[inline]
    pub(super) fn unlock(&self) {
        if !self.shared().unlock() {
            self.see_to_the_line();
        }
    }

    #[cold]
    fn see_to_the_line(&self) {
        self.change(|_, waiting| {
            // Somebody may have taken the lock meanwhile: then its unlocking finds what is left.
            self.shared().update(|word| Some(word & !unless(!waiting)));
        });
    }

    pub(super) fn is_locked(&self) -> bool {
        self.shared().load() & LOCKED != 0
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Word").field(&format_args!("{:#06b}", self.load())).finish()
    }
}
