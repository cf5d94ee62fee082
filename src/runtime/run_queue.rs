//! A worker's stealable run queue: one owner pushes and pops, any worker steals half.
//!
//! # Picture
//! ```text
//!            head (CAS by the owner's pop and by thieves)      tail (stored by the owner alone)
//!              │                                                 │
//!   slots:  … [a] [b] [c] [d] [e] ……………………………………………………………………… [ ] …     CAPACITY slots, indices wrap
//! ```
//!
//! # Invariants
//! - `owner-writes`: only the owner stores to `slots` and `tail`; everybody else only moves `head` forward.
//! - `window`: `tail - head <= CAPACITY`, so a slot is overwritten only after `head` has passed it.
//! - `once`: an item leaves by exactly one successful CAS of `head`, or store where there is no thief (`pop_unshared`).
//!
//! # Protocol
//! - push: read `head` (Acquire: pairs with the Release of a thief's CAS, so its reads of the slot came before our
//!   overwrite), store the slot, store `tail` (Release).
//! - pop: read `tail`, read the slot at `head`, CAS `head` forward; a store does where there is no thief, ever (`pop_unshared`).
//! - steal: read `head` (Acquire), then `tail` (Acquire: pairs with the owner's Release), copy half into the thief's own
//!   unpublished slots, CAS `head` forward (Release). Only when that succeeds is the copy valid; then the thief publishes
//!   its own `tail`. A slot read that was overtaken is a stale pointer value that is thrown away, never followed.
//!
//! # Sources
//! The bounded ring of Go's scheduler (`runqput`, `runqgrab`); there is no LIFO end, so Chase and Lev's deque is not needed.

use crate::primitive::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicPtr, AtomicUsize};
use std::fmt;
use std::ptr::{self, NonNull};

/// Slots of one queue. Go and tokio have 256; what a task spawns beyond that goes through a list with a lock (`Home::overflow`), which
/// costs more than the ring: with 1,024 a batch of 1,000 goes without. Tiny in models, to reach the wrap-around and the overflow.
#[cfg(not(any(loom, shuttle)))]
pub(crate) const CAPACITY: usize = 1024;
#[cfg(any(loom, shuttle))]
pub(crate) const CAPACITY: usize = 4;

const MASK: usize = CAPACITY - 1;

/// Raw pointers in, raw pointers out: the queue neither follows nor drops them.
pub(crate) struct RunQueue {
    head: AtomicUsize,
    tail: AtomicUsize,
    slots: Box<[AtomicPtr<()>]>,
}

impl RunQueue {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
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

    /// Takes from the front, where nobody ever steals. Owner only.
    #[inline]
    pub(crate) fn pop_unshared(&self) -> Option<NonNull<()>> {
        // Relaxed, as in `pop`; nobody else moves the head.
        let head = self.head.load(Relaxed);
        if head == self.tail.load(Relaxed) {
            return None;
        }
        let item = self.slots[head & MASK].load(Relaxed);
        // Release, as in `pop`.
        self.head.store(head.wrapping_add(1), Release);
        NonNull::new(item)
    }

    /// Moves the older half (rounded up) of this queue, or as much of it as there is room for, to the end of `thief`, whose owner is
    /// the caller. Returns how many were moved.
    pub(crate) fn steal_into(&self, thief: &RunQueue) -> usize {
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
