//! A worker's stealable run queue: one owner pushes and pops, any worker steals half.
//!
//! # Picture
//! ```text
//!            head (moved by the owner's pop and by thieves)    tail (stored by the owner alone)
//!              │                                                 │
//!   slots:  … [a] [b] [c] [d] [e] ……………………………………………………………………… [ ] …     CAPACITY slots, indices wrap
//!
//!   popping: the owner is about to move head with a store       bias: UNBIASED, thieves at work
//! ```
//!
//! # Invariants
//! - `owner-writes`: only the owner stores to `slots` and `tail`; everybody else only moves `head` forward.
//! - `window`: `tail - head <= CAPACITY`, so a slot is overwritten only after `head` has passed it.
//! - `store-alone`: while the owner moves `head` with a store, nobody else moves it.
//! - `once`: an item leaves by exactly one successful CAS of `head`, or store of it (`store-alone`).
//!
//! # Protocol
//! - push: read `head` (Acquire: pairs with the Release of a thief's CAS, so its reads of the slot came before our
//!   overwrite), store the slot, store `tail` (Release).
//! - pop: read the slot at `head`, CAS `head` forward. When `bias` is 0: set `popping`, light fence, read `bias` again; still 0: read
//!   the slot, store `head`; clear `popping` (Release). When a thief is counted, and `UNBIASED` clear: set it (Release).
//! - claim, by the owner, after so many pops with the CAS: clear `UNBIASED`, if no thief is counted (Acquire).
//! - steal: count oneself in `bias`. If it was not `UNBIASED`: heavy fence, read `popping` (Acquire; set: go away, for the owner has been
//!   interrupted in between), set `UNBIASED`. Read `head` (Acquire), then `tail` (Acquire: pairs with the owner's
//!   Release), copy half into the thief's own unpublished slots, CAS `head` forward (Release). Only when that succeeds is the copy
//!   valid; then the thief publishes its own `tail`. Leave `bias` (Release). A slot read that was overtaken is a stale
//!   pointer value that is thrown away, never followed.
//!
//! `store-alone`: a thief's fence and the owner's are ordered ([`asymmetric`]). Owner's first: the thief sees `popping`, and goes away, or
//! sees it cleared, and so the `head` stored before. Thief's first: the owner sees it in `bias`. Once `UNBIASED` is set, by a thief
//! that got so far or by an owner that has found one, every pop uses the CAS up to the next claim, so thieves that find it (by an
//! Acquire of what was released then) need no fence. A claim finds no thief counted, and what the last one did is seen.
//!
//! A fence that fails was none: the thief leaves itself counted and goes, and the owner, which finds that at its next pop, cannot claim any
//! more. An owner that is interrupted in the middle of a pop, for a time slice, is not stolen from meanwhile.
//!
//! A pop is 2.4 ns less that way (10.1 ns a yield of 1,000 futures on two workers for 12.5), a fence up to 9 us, with two cores; with more
//! it interrupts more. The first claim comes after 16,384 pops, so it is at most half a nanosecond for each, and each further one after twice
//! as many as the one before, up to a million.
//!
//! # Sources
//! The bounded ring of Go's scheduler (`runqput`, `runqgrab`); there is no LIFO end, so Chase and Lev's deque is not needed. The bias
//! is that of locks (Dice, Huang and Yang, "Asymmetric Dekker Synchronization").

use super::asymmetric;
use crate::primitive::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
use std::fmt;
use std::ptr::{self, NonNull};

/// Slots of one queue. Go and tokio have 256; what a task spawns beyond that goes through a list with a lock (`Home::overflow`), which
/// costs more than the ring: with 1,024 a batch of 1,000 goes without. Tiny in models, to reach the wrap-around and the overflow.
#[cfg(not(any(loom, shuttle)))]
pub(crate) const CAPACITY: usize = 1024;
#[cfg(any(loom, shuttle))]
pub(crate) const CAPACITY: usize = 4;

const MASK: usize = CAPACITY - 1;

/// In `bias`: the owner uses the CAS.
const UNBIASED: usize = 1;
/// In `bias`: a thief.
const THIEF: usize = 2;

/// Pops with the CAS before the owner claims the queue, the first time.
#[cfg(not(any(loom, shuttle)))]
pub(super) const CALM: u32 = 1 << 14;
#[cfg(any(loom, shuttle))]
pub(super) const CALM: u32 = 2;
/// And at most, later on.
const CALM_MOST: u32 = CALM << 6;

/// Looks of a thief for the end of a pop, which takes some nanoseconds.
const LOOKS: usize = if cfg!(any(loom, shuttle)) { 1 } else { 16 };

/// Raw pointers in, raw pointers out: the queue neither follows nor drops them.
pub(crate) struct RunQueue {
    head: AtomicUsize,
    tail: AtomicUsize,
    popping: AtomicBool,
    bias: AtomicUsize,
    /// With the CAS, up to the next attempt to claim the queue, and after how many that comes. Owner only: of std also in the models, for there
    /// is nothing to explore.
    pops_left: std::sync::atomic::AtomicU32,
    calm: std::sync::atomic::AtomicU32,
    slots: Box<[AtomicPtr<()>]>,
}

impl RunQueue {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            popping: AtomicBool::new(false),
            bias: AtomicUsize::new(UNBIASED),
            pops_left: std::sync::atomic::AtomicU32::new(CALM),
            calm: std::sync::atomic::AtomicU32::new(CALM),
            slots: (0..CAPACITY).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
        }
    }

    /// Items present; exact for the owner, a moment's view for others.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // Head first: the other order could see a head beyond the tail.
        let head = self.head.load(Acquire);
        self.tail.load(Acquire).wrapping_sub(head)
    }

    /// Whether there is nothing. Exact for the owner.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Relaxed) == self.tail.load(Relaxed)
    }

    /// Head and tail index, each at some moment: a thief compares two looks to see what the owner has taken and added.
    pub(crate) fn ends(&self) -> (usize, usize) {
        (self.head.load(Relaxed), self.tail.load(Relaxed))
    }

    /// Adds at the back. Owner only. Gives the item back when the queue is full.
    #[inline]
    pub(crate) fn push(&self, item: NonNull<()>) -> Result<(), NonNull<()>> {
        // Acquire pairs with the Release CAS of `steal_into`: the thief has read the slot we are about to overwrite.
        let head = self.head.load(Acquire);
        let tail = self.tail.load(Relaxed);
        if tail.wrapping_sub(head) == CAPACITY {
            return Err(item);
        }
        self.slots[tail & MASK].store(item.as_ptr(), Relaxed);
        // Release pairs with the Acquire of `tail` in `steal_into`.
        self.tail.store(tail.wrapping_add(1), Release);
        Ok(())
    }

    /// Takes from the front. Owner only.
    #[inline]
    pub(crate) fn pop(&self) -> Option<NonNull<()>> {
        let bias = self.bias.load(Relaxed);
        if bias != 0 {
            return self.pop_among_thieves(bias);
        }
        self.popping.store(true, Relaxed);
        // Pairs with the heavy one of `steal_behind`.
        asymmetric::light();
        // Relaxed: since the claim nobody else has moved `head`, or it is not 0.
        let bias = self.bias.load(Relaxed);
        let item = if bias == 0 { self.pop_alone() } else { None };
        // Release pairs with the Acquire of `is_between_pops`: who sees this sees what was stored to `head`, now or in a pop before.
        self.popping.store(false, Release);
        if bias == 0 { item } else { self.pop_among_thieves(bias) }
    }

    /// `bias`: as it was just now. Nobody else clears `UNBIASED`.
    #[inline(never)]
    fn pop_among_thieves(&self, bias: usize) -> Option<NonNull<()>> {
        if bias & UNBIASED == 0 {
            // Release pairs with the Acquire of `steal_behind`: all that was stored to `head` is seen.
            self.bias.fetch_or(UNBIASED, Release);
        }
        let left = self.pops_left.load(Relaxed) - 1;
        self.pops_left.store(left, Relaxed);
        if left == 0 {
            self.claim();
        }
        let mut head = self.head.load(Relaxed);
        loop {
            // Only we store the tail, so Relaxed reads our own latest value.
            if head == self.tail.load(Relaxed) {
                return None;
            }
            let item = self.slots[head & MASK].load(Relaxed);
            // The slot was written by this same thread. Release pairs with the Acquire of `head` elsewhere: who sees the head
            // here sees a tail that is not before it.
            match self.head.compare_exchange_weak(head, head.wrapping_add(1), Release, Relaxed) {
                Ok(_) => return NonNull::new(item),
                Err(now) => head = now,
            }
        }
    }

    /// From here on the owner need not use the CAS, if no thief is there. Owner only.
    #[cold]
    fn claim(&self) {
        let calm = self.calm.load(Relaxed);
        // Acquire pairs with the Release of a thief that leaves: its `head` is seen.
        let claimed =
            asymmetric::is_ready() && self.bias.compare_exchange(UNBIASED, 0, Acquire, Relaxed).is_ok();
        let calm = if claimed { (2 * calm).min(CALM_MOST) } else { calm };
        self.calm.store(calm, Relaxed);
        self.pops_left.store(calm, Relaxed);
    }

    /// Takes from the front, where nobody steals meanwhile, or ever. Owner only.
    #[inline]
    pub(crate) fn pop_alone(&self) -> Option<NonNull<()>> {
        // Relaxed, as in `pop_among_thieves`; nobody else moves the head.
        let head = self.head.load(Relaxed);
        if head == self.tail.load(Relaxed) {
            return None;
        }
        let item = self.slots[head & MASK].load(Relaxed);
        // Release, as there.
        self.head.store(head.wrapping_add(1), Release);
        NonNull::new(item)
    }

    /// Moves the older half (rounded up) of this queue, or as much of it as there is room for, to the end of `thief`, whose owner is
    /// the caller. Returns how many were moved; none, too, if the owner has just been interrupted in a pop.
    pub(crate) fn steal_into(&self, thief: &RunQueue) -> usize {
        // The fence is not for nothing.
        if self.is_empty() { 0 } else { self.steal_behind(asymmetric::heavy, thief) }
    }

    /// `fence`: whether it was one.
    pub(super) fn steal_behind(&self, fence: impl FnOnce() -> bool, thief: &RunQueue) -> usize {
        // Acquire pairs with the Release of whoever set `UNBIASED`.
        if self.bias.fetch_add(THIEF, AcqRel) & UNBIASED == 0 {
            // Pairs with the light one of `pop`.
            if !fence() {
                // Still counted: the owner is to find it.
                return 0;
            }
            if !self.is_between_pops() {
                self.bias.fetch_sub(THIEF, Release);
                return 0;
            }
            self.bias.fetch_or(UNBIASED, Release);
        }
        let moved = self.move_half(thief);
        // Release pairs with the Acquire of `claim`.
        self.bias.fetch_sub(THIEF, Release);
        moved
    }

    fn is_between_pops(&self) -> bool {
        (0..LOOKS).any(|_| {
            // Acquire pairs with the Release of `pop`.
            let between = !self.popping.load(Acquire);
            if !between {
                std::hint::spin_loop();
            }
            between
        })
    }

    /// The owner uses the CAS meanwhile.
    fn move_half(&self, thief: &RunQueue) -> usize {
        let thief_tail = thief.tail.load(Relaxed);
        // Acquire as in `push`: whoever stole from the thief has read the slots that are about to be overwritten.
        let thief_head = thief.head.load(Acquire);
        // Others can only take from the thief meanwhile, which makes more room.
        let room = CAPACITY - thief_tail.wrapping_sub(thief_head);
        let mut head = self.head.load(Acquire);
        loop {
            // Acquire pairs with the Release of `push`: the slots up to here are visible.
            let length = self.tail.load(Acquire).wrapping_sub(head);
            let count = (length - length / 2).min(room);
            if count == 0 {
                return 0;
            }
            if length > CAPACITY {
                // `head` was stale when `tail` was read; look again.
                head = self.head.load(Acquire);
                continue;
            }
            for i in 0..count {
                let item = self.slots[head.wrapping_add(i) & MASK].load(Relaxed);
                thief.slots[thief_tail.wrapping_add(i) & MASK].store(item, Relaxed);
            }
            // Release pairs with the Acquire of `head` in `push`; Acquire orders a retry's reads.
            match self.head.compare_exchange_weak(head, head.wrapping_add(count), Release, Acquire) {
                Ok(_) => {
                    // Release pairs with the Acquire of `tail` by thieves of the thief.
                    thief.tail.store(thief_tail.wrapping_add(count), Release);
                    return count;
                }
                Err(now) => head = now,
            }
        }
    }
}

impl fmt::Debug for RunQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunQueue").field("len", &self.len()).finish()
    }
}
