//! Staying away for a while from what another core is using.
//!
//! A word that goes from core to core with every operation costs each of them some hundred nanoseconds: its line has to move, and what
//! it guards. Far more operations are done when one core does a run of them while the other stays away. So who finds such a thing
//! in use stays away before it looks again, and for longer, up to 3 us, if that comes soon after another has had to; who meets a
//! user by chance looks again almost at once.
//!
//! What it gains, and what other figures would: `channel/lock.rs`, `sync/exclusive.rs`.

use crate::reactor::clock;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;

/// How long one stays away who meets a user by chance: about as long as a channel's lock is held.
const AWAY_NS: u64 = 50;
/// So much longer for each time that contention has followed on contention: 50 ns, 200, 800.
const LEVEL_SHIFT: u16 = 2;
const LEVELS: u16 = 3;
/// The longest: 3.2 us, some hundred operations of the other's. With four times that two threads with a channel gained nothing, two
/// workers with a mutex 2 to 10 %, for as much longer an absence from what else they have to do.
const AWAY_NS_MOST: u64 = AWAY_NS << (LEVELS * LEVEL_SHIFT);

/// When the thing was last got by one who had had to stay away from it, and how often such had followed on each other: 3 bits of
/// the latter, above them 13 of the time, so that it lies in a gap. The time comes round every 2 ms; a chance that is taken for
/// contention then costs a longer absence.
///
/// Of std also in the models, for it orders nothing: under it anything is right.
#[derive(Debug)]
pub(crate) struct Contention(AtomicU16);

const LEVEL_BITS: u16 = 3;
const TICK_BITS: u16 = u16::BITS as u16 - LEVEL_BITS;
/// A tick is 256 ns.
const TICK_SHIFT: u16 = 8;
/// How long after it one follows on another. By far longer than between two operations of threads that do nothing else.
const TICKS_SOON: u16 = 1;

impl Contention {
    pub(crate) const fn none() -> Self {
        Self(AtomicU16::new(0))
    }

    fn tick_at(now_ns: u64) -> u16 {
        ((now_ns >> TICK_SHIFT) & ((1 << TICK_BITS) - 1)) as u16
    }

    /// The level of one who finds the thing in use now.
    fn level_at(&self, now_ns: u64) -> u16 {
        let word = self.0.load(Relaxed);
        let (tick, level) = (word >> LEVEL_BITS, word & ((1 << LEVEL_BITS) - 1));
        let since = Self::tick_at(now_ns).wrapping_sub(tick) & ((1 << TICK_BITS) - 1);
        if since <= TICKS_SOON { (level + 1).min(LEVELS) } else { 0 }
    }

    fn set(&self, now_ns: u64, level: u16) {
        let word = (Self::tick_at(now_ns) << LEVEL_BITS) | level;
        self.0.store(word, Relaxed);
    }

    /// Looks so many times, each after an absence; not at all if nobody runs at the same time. In models, where time means nothing, once.
    pub(crate) fn look_now_and_then(&self, looks: u32, mut found: impl FnMut() -> bool) -> bool {
        if cfg!(any(loom, shuttle)) {
            return found();
        }
        if !super::has_company() {
            return false;
        }
        let mut absence = Absence::begin(self);
        let found = (0..looks).any(|_| {
            absence.pause();
            found()
        });
        if found {
            absence.end(self);
        }
        found
    }
}

/// Of one who has found the thing in use.
#[derive(Debug)]
pub(crate) struct Absence {
    level: u16,
    /// Until its next look.
    away_ns: u64,
    /// At its last look: the clock is not read while the thing is held.
    now_ns: u64,
}

impl Absence {
    pub(crate) fn begin(contention: &Contention) -> Self {
        let now_ns = clock::nanos();
        let level = contention.level_at(now_ns);
        Self { level, away_ns: AWAY_NS << (level * LEVEL_SHIFT), now_ns }
    }

    /// Stays away, for twice as long the next time.
    pub(crate) fn pause(&mut self) {
        let until = clock::nanos() + self.away_ns;
        loop {
            self.now_ns = clock::nanos();
            if self.now_ns >= until {
                break;
            }
            std::hint::spin_loop();
        }
        self.away_ns = (2 * self.away_ns).min(AWAY_NS_MOST);
    }

    /// It has got the thing.
    pub(crate) fn end(&self, contention: &Contention) {
        contention.set(self.now_ns, self.level);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::{Contention, LEVELS};

    #[test]
    fn contention_that_follows_on_contention_is_told_from_chance() {
        let contention = Contention::none();
        let mut now_ns = 1_000_000_000;
        for expected in [0, 1, 2, LEVELS, LEVELS] {
            let level = contention.level_at(now_ns);
            assert_eq!(level, expected);
            // It stays away for longer than what counts as soon: that begins when the thing has been got.
            now_ns += 5_000;
            contention.set(now_ns, level);
            now_ns += 100;
        }
        now_ns += 10_000;
        assert_eq!(contention.level_at(now_ns), 0, "a chance, after a while");
    }

    #[test]
    fn the_time_of_contention_comes_round() {
        let contention = Contention::none();
        // On both sides of where the 13 bits of the time begin anew.
        let round_ns = 256 << 13;
        contention.set(round_ns - 50, 1);
        assert_eq!(contention.level_at(round_ns + 50), 2);
    }

    #[test]
    fn in_vain_it_looks_as_often_as_it_was_asked_to() {
        let contention = Contention::none();
        let mut looks = 0;
        let found = contention.look_now_and_then(3, || {
            looks += 1;
            false
        });
        assert!(!found);
        assert_eq!(looks, if crate::wait::has_company() { 3 } else { 0 });
    }
}
