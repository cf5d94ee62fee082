//! Where a message lies while it is on its way. It is copied from place to place and never passes through a frame of ours by value:
//! a message may be large and a stack small, and an unoptimised build gives each by-value step room of its own.
//!
//! # Invariants
//! - `full-is-alive`: a slot that is full holds a message, which is its own. Moving leaves the slot that it came from empty.
//! - `no-drop`: a slot does not drop its message; whoever makes one clears it ([`Held`] in frames, futures in their `Drop`), or takes
//!   the message, as the variables of `select!` do. Forgetting one is a leak.
//! - `one-at-a-time`: a [`Place`] is used by the peers of the waiter that points to it, under the channel's lock, while that waiter is
//!   enrolled; by its owner otherwise.

use crate::primitive::UnsafeCell;
use std::fmt;
use std::mem::{self, MaybeUninit};
use std::ptr;

/// Room for a message.
pub struct Slot<T> {
    full: bool,
    value: MaybeUninit<T>,
}

impl<T> Slot<T> {
    pub(crate) const EMPTY: Self = Self { full: false, value: MaybeUninit::uninit() };

    /// Makes an empty slot where it is to be: `full` is all that it consists of.
    ///
    /// # Safety
    /// `slot` is valid for writing.
    #[inline]
    pub(crate) unsafe fn empty_at(slot: *mut Self) {
        // SAFETY: the caller's promise.
        unsafe { (&raw mut (*slot).full).write(false) };
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Puts a message in. The slot is empty.
    #[inline]
    pub(crate) fn fill(&mut self, message: T) {
        debug_assert!(!self.full, "a slot holds one message");
        // SAFETY: both are valid for a `T`, and forgetting `message` makes this a move.
        unsafe { ptr::copy_nonoverlapping(&raw const message, self.value.as_mut_ptr(), 1) };
        mem::forget(message);
        self.full = true;
    }

    /// Moves the message of a full slot into this one, which is empty.
    #[inline]
    pub(crate) fn move_from(&mut self, other: &mut Self) {
        debug_assert!(other.full && !self.full, "from a full slot into an empty one");
        if mem::take(&mut other.full) {
            // SAFETY: two slots are two objects; `full-is-alive`, and `other` is empty now.
            unsafe { self.write_from(other.value.as_ptr()) };
        }
    }

    /// Where the message is, or is to be.
    #[inline]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.value.as_mut_ptr()
    }

    /// A message has been moved into the empty slot.
    ///
    /// # Safety
    /// It has, and it is the slot's.
    #[inline]
    pub(crate) unsafe fn set_full(&mut self) {
        debug_assert!(!self.full, "a slot holds one message");
        self.full = true;
    }

    /// The message of a full slot has been moved out of it.
    #[inline]
    pub(crate) fn set_empty(&mut self) {
        self.full = false;
    }

    /// Moves a message from elsewhere into the slot, which is empty.
    ///
    /// # Safety
    /// `from` points to a message that nobody uses afterwards, and not into this slot.
    #[inline]
    pub(crate) unsafe fn write_from(&mut self, from: *const T) {
        // SAFETY: the caller's promise.
        unsafe { ptr::copy_nonoverlapping(from, self.value.as_mut_ptr(), 1) };
        self.full = true;
    }

    /// Moves the message, if there is one, to `to`. False: there is none.
    ///
    /// # Safety
    /// `to` is valid for writing a message, and not in this slot.
    #[inline]
    pub(crate) unsafe fn read_to(&mut self, to: *mut T) -> bool {
        let full = mem::take(&mut self.full);
        if full {
            // SAFETY: `full-is-alive`; the slot is empty now. The caller's promise.
            unsafe { ptr::copy_nonoverlapping(self.value.as_ptr(), to, 1) };
        }
        full
    }

    /// Takes the message out.
    ///
    /// # Panics
    /// When there is none.
    #[inline]
    #[track_caller]
    pub(crate) fn take(&mut self) -> T {
        assert!(mem::take(&mut self.full), "there is no message to take");
        // SAFETY: `full-is-alive`; the slot is empty now.
        unsafe { self.value.as_ptr().read() }
    }

    /// Drops the message, if there is one.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if mem::take(&mut self.full) && mem::needs_drop::<T>() {
            // SAFETY: `full-is-alive`; the slot is empty now.
            unsafe { self.value.assume_init_drop() };
        }
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("full", &self.full).finish()
    }
}

/// A slot that a waiter points to.
#[repr(transparent)]
pub(crate) struct Place<T> {
    slot: UnsafeCell<Slot<T>>,
}

// SAFETY: `one-at-a-time`: every access is through `with`; the message goes from thread to thread, hence `T: Send`.
unsafe impl<T: Send> Sync for Place<T> {}

impl<T> Place<T> {
    pub(crate) fn empty() -> Self {
        Self { slot: UnsafeCell::new(Slot::EMPTY) }
    }

    /// A place with a message that is small.
    #[inline]
    pub(super) fn full(message: T) -> Self {
        Self { slot: UnsafeCell::new(Slot { full: true, value: MaybeUninit::new(message) }) }
    }

    /// Makes an empty place where it is to be.
    ///
    /// # Safety
    /// `place` is valid for writing, and nobody else's as long as the result.
    #[inline]
    pub(super) unsafe fn empty_at<'a>(place: *mut Self) -> &'a mut Self {
        // SAFETY: the caller's promise; `UnsafeCell` and `Place` are transparent, so a pointer to one is a pointer to the slot.
        unsafe {
            #[cfg(not(loom))]
            Slot::<T>::empty_at(place.cast());
            #[cfg(loom)]
            place.write(Self::empty());
            &mut *place
        }
    }

    /// Calls `f` with the slot.
    ///
    /// # Safety
    /// `one-at-a-time`: the caller holds the lock, or is the owner and no waiter that points here is enrolled; and `f` does not come
    /// back here.
    #[inline]
    pub(crate) unsafe fn with<R>(&self, f: impl FnOnce(&mut Slot<T>) -> R) -> R {
        // SAFETY: the caller's promise.
        self.slot.with_mut(|slot| f(unsafe { &mut *slot }))
    }

    /// The slot of a place that nobody else knows of.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut Slot<T> {
        // SAFETY: the borrow is exclusive, and lasts as long as the result.
        self.slot.with_mut(|slot| unsafe { &mut *slot })
    }
}

impl<T> fmt::Debug for Place<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// A frame's room for a place.
pub(super) type Room<T> = MaybeUninit<Place<T>>;

/// A place in a frame; its message is dropped with it. Waiters that point to it are declared later in the frame, or further down.
pub(super) struct Held<'a, T> {
    place: &'a mut Place<T>,
}

impl<'a, T> Held<'a, T> {
    #[inline]
    pub(super) fn empty(room: &'a mut Room<T>) -> Self {
        // SAFETY: the room is borrowed.
        Self { place: unsafe { Place::empty_at(room.as_mut_ptr()) } }
    }

    #[inline]
    pub(super) fn full(room: &'a mut Room<T>, message: T) -> Self {
        let held = Self::empty(room);
        held.place.get_mut().fill(message);
        held
    }

    #[inline]
    pub(super) fn place(&self) -> &Place<T> {
        self.place
    }

    #[inline]
    pub(super) fn slot(&mut self) -> &mut Slot<T> {
        self.place.get_mut()
    }
}

impl<T> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.place.get_mut().clear();
    }
}
