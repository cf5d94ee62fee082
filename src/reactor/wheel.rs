//! The timing wheel: timers ordered just as far as needed to fire them in time.
//!
//! # Picture
//! ```text
//! level  one slot lasts     the level reaches
//!   7    9.1 years          585 years      a timer sits at the level of the highest digit (base 64)
//!  ...                                     in which its tick differs from `elapsed`, in the slot
//!   2    268 ms             17 s           of that digit; when `elapsed` enters the slot, its
//!   1    4.2 ms             268 ms         timers move to lower levels; a slot of level 0 is one
//!   0    65.5 us (a tick)   4.2 ms         tick, whose timers fire
//! ```
//!
//! A tick is 2^16 ns, counted from the wheel's start. Eight levels hold every tick there is (2^48), so
//! nothing wraps around and no deadline needs a second round. Insert and cancel are O(1): slots are circular
//! doubly linked lists over a slab, and a cancelled timer is unlinked, with no tombstone.
//!
//! # Invariants
//! - `not-past`: every linked tick is at least `elapsed`, so in each level the slots in use lie after the
//!   digit of `elapsed` (at level 0, at it or after), and all of a lower level comes before all of a higher
//!   one. The first bit set in the lowest level in use is the earliest.
//! - `owned-entries`: an entry that fired, or was evicted, stays until its owner looks or cancels. Keys
//!   therefore never dangle; the generation in them is a second lock on that door.
//! - `no-user-code`: nothing here clones, wakes or drops a waker; they are moved out to the caller.
//!
//! # Sources
//! Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987, scheme 7. The choice of level by the
//! highest differing digit is tokio's; its wheel has six levels of milliseconds.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::task::Waker;

use super::chunks::Chunks;

/// log2 of a tick's nanoseconds.
pub(super) const TICK_SHIFT: u32 = 16;

const LEVELS: usize = 8;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;

/// The last tick: 585 years after the start. What is later fires then.
pub(super) const LAST_TICK: u64 = (1 << (LEVELS as u32 * DIGIT_BITS)) - 1;

const NIL: u32 = u32::MAX;

pub(super) struct Wheel {
    /// All timers before this tick have fired.
    elapsed: u64,
    entries: Chunks<Entry>,
    /// The first entry of each slot's list, or NIL.
    heads: [[u32; SLOTS]; LEVELS],
    /// One bit for each slot that has a list.
    occupied: [u64; LEVELS],
    generation: u32,
}

/// What `insert` returns and the other verbs take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TimerKey {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry {
    /// There while the entry is linked.
    waker: Option<Waker>,
    tick: u64,
    prev: u32,
    next: u32,
    generation: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Linked { level: u8, slot: u8 },
    Fired,
    Evicted,
}

/// How a timer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It will fire and wake the waker given.
    Armed,
    /// As Armed, but the waker it has is another one.
    ArmedForAnother,
    /// Its time has come.
    Fired,
    /// The wheel was emptied before its time.
    Evicted,
}

// A million timers are 40 MB.
const _: () = assert!(cfg!(not(target_pointer_width = "64")) || size_of::<Option<Entry>>() == 40);

impl Wheel {
    pub(super) fn new() -> Wheel {
        Wheel {
            elapsed: 0,
            entries: Chunks::new(),
            heads: [[NIL; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            generation: 0,
        }
    }

    /// Adds a timer for `tick`; one that is past fires at the next `expire`.
    pub(super) fn insert(&mut self, tick: u64, waker: Waker) -> TimerKey {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let tick = tick.clamp(self.elapsed, LAST_TICK);
        let state = State::Fired;
        let entry = Entry { waker: Some(waker), tick, prev: NIL, next: NIL, generation, state };
        let index = self.entries.insert(entry);
        self.link(index);
        TimerKey { index, generation }
    }

    /// Removes a timer, whatever its standing. Returns the waker that did not fire, for the caller to drop.
    pub(super) fn cancel(&mut self, key: TimerKey) -> Option<Waker> {
        self.standing(key, None)?;
        self.unlink(key.index);
        self.entries.remove(key.index).waker
    }

    /// How the timer stands, compared with `waker`. `None`: there is no such timer.
    pub(super) fn standing(&self, key: TimerKey, waker: Option<&Waker>) -> Option<Standing> {
        let entry = self.entries.get(key.index).filter(|entry| entry.generation == key.generation)?;
        Some(match entry.state {
            State::Fired => Standing::Fired,
            State::Evicted => Standing::Evicted,
            State::Linked { .. } => match (&entry.waker, waker) {
                (Some(own), Some(waker)) if own.will_wake(waker) => Standing::Armed,
                _ => Standing::ArmedForAnother,
            },
        })
    }

    /// Gives an armed timer another waker and returns the one to drop.
    pub(super) fn set_waker(&mut self, key: TimerKey, waker: Waker) -> Option<Waker> {
        match self.entries.get_mut(key.index) {
            Some(entry)
                if entry.generation == key.generation && matches!(entry.state, State::Linked { .. }) =>
            {
                entry.waker.replace(waker)
            }
            _ => Some(waker),
        }
    }

    /// No timer fires before this tick; the wheel wants `expire` to be called then.
    pub(super) fn next_tick(&self) -> Option<u64> {
        let (level, slot, start) = self.earliest()?;
        let head = self.heads[level][slot];
        let first = self.entries.get(head)?;
        // A timer alone in its slot: no need to wake up early just to move it down.
        Some(if first.next == head { first.tick } else { start })
    }

    pub(super) fn is_idle(&self) -> bool {
        self.occupied == [0; LEVELS]
    }

    /// Fires all timers up to and including tick `now`, in the order of their ticks, those of one tick in the
    /// order they were added: moves their wakers to `wakes`.
    pub(super) fn expire(&mut self, now: u64, wakes: &mut VecDeque<Waker>) {
        let now = now.min(LAST_TICK);
        while let Some((level, slot, start)) = self.earliest().filter(|&(.., start)| start <= now) {
            self.elapsed = self.elapsed.max(start);
            self.empty_slot(level, slot, wakes);
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// Empties the wheel: the timers learn that they are to go elsewhere.
    pub(super) fn evict(&mut self, wakes: &mut VecDeque<Waker>) {
        self.heads = [[NIL; SLOTS]; LEVELS];
        self.occupied = [0; LEVELS];
        for entry in self.entries.iter_mut().filter(|entry| matches!(entry.state, State::Linked { .. })) {
            entry.state = State::Evicted;
            wakes.extend(entry.waker.take());
        }
    }

    /// Fires the timers of a slot of level 0, or moves those of a higher one to lower levels. Up to all timers there are lie in one slot, so each
    /// is touched once: nothing is unlinked one by one.
    fn empty_slot(&mut self, level: usize, slot: usize, wakes: &mut VecDeque<Waker>) {
        let first = std::mem::replace(&mut self.heads[level][slot], NIL);
        self.occupied[level] &= !(1 << slot);
        let mut index = first;
        loop {
            let next = self.entry(index).next;
            if level == 0 {
                self.fire(index, wakes)
            } else {
                self.link(index)
            }
            if next == first {
                return;
            }
            index = next;
        }
    }

    fn fire(&mut self, index: u32, wakes: &mut VecDeque<Waker>) {
        let entry = self.entry(index);
        entry.state = State::Fired;
        wakes.extend(entry.waker.take());
    }

    /// Level, slot and first tick of the earliest slot in use.
    fn earliest(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros();
        let shift = level as u32 * DIGIT_BITS;
        let above = self.elapsed >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        Some((level, slot as usize, above | u64::from(slot) << shift))
    }

    /// Appends the entry to the list where its tick belongs.
    fn link(&mut self, index: u32) {
        let tick = self.entry(index).tick;
        let (level, slot) = place(self.elapsed, tick);
        let head = self.heads[level][slot];
        let (prev, next) = if head == NIL { (index, index) } else { (self.entry(head).prev, head) };
        let entry = self.entry(index);
        (entry.prev, entry.next) = (prev, next);
        entry.state = State::Linked { level: level as u8, slot: slot as u8 };
        if head == NIL {
            self.heads[level][slot] = index;
            self.occupied[level] |= 1 << slot;
        } else {
            self.entry(prev).next = index;
            self.entry(head).prev = index;
        }
    }

    /// Takes the entry out of its list, if it is in one. The caller decides what becomes of it.
    fn unlink(&mut self, index: u32) {
        let &mut Entry { prev, next, state, .. } = self.entry(index);
        let State::Linked { level, slot } = state else {
            return;
        };
        let (level, slot) = (usize::from(level), usize::from(slot));
        if next == index {
            self.heads[level][slot] = NIL;
            self.occupied[level] &= !(1 << slot);
        } else {
            self.entry(prev).next = next;
            self.entry(next).prev = prev;
            if self.heads[level][slot] == index {
                self.heads[level][slot] = next;
            }
        }
    }

    fn entry(&mut self, index: u32) -> &mut Entry {
        self.entries.get_mut(index).expect("lists and checked keys lead to live entries")
    }

    /// Timers there are, fired ones that nobody has looked at included; and how many there is memory for.
    #[cfg(test)]
    pub(super) fn usage(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.capacity())
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (timers, elapsed) = (self.entries.len(), self.elapsed);
        write!(f, "Wheel({timers} timers, {elapsed} ticks elapsed)")
    }
}

/// Where a timer for `tick`, not before `elapsed`, belongs.
fn place(elapsed: u64, tick: u64) -> (usize, usize) {
    let highest = (elapsed ^ tick).checked_ilog2().unwrap_or(0);
    let level = highest / DIGIT_BITS;
    let slot = (tick >> (level * DIGIT_BITS)) as usize % SLOTS;
    (level as usize, slot)
}
