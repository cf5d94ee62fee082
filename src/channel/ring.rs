//! The queue of a channel: a ring that grows, into which and out of which messages move in place. (`VecDeque` takes and gives them by
//! value: see `slot.rs`.)
//!
//! # Picture
//! ```text
//!   buffer   ┌───┬───┬───┬───┬───┬───┬───┬───┐
//!            │ d │   │   │   │   │ a │ b │ c │      first = 5, len = 4; the size is a power of two
//!            └───┴───┴───┴───┴───┴───┴───┴───┘
//! ```
//!
//! # Invariants
//! - `len-are-alive`: the `len` places from `first` on, around the end, hold messages, which are the ring's; the others do not.

use crate::channel::slot::Slot;
use std::mem::{self, MaybeUninit};
use std::ptr;

pub(crate) struct Ring<T> {
    buffer: Box<[MaybeUninit<T>]>,
    first: usize,
    len: usize,
}

/// Places of the first buffer; guessed.
const FIRST_PLACES: usize = 4;

impl<T> Ring<T> {
    /// An empty ring; it allocates when the first message comes.
    pub(crate) fn new() -> Self {
        Self { buffer: Box::default(), first: 0, len: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the place so many behind the first is. The buffer is not empty.
    #[inline]
    fn index(&self, behind: usize) -> usize {
        self.first.wrapping_add(behind) & (self.buffer.len() - 1)
    }

    /// Moves the message of a full slot behind all others.
    #[inline]
    pub(crate) fn push(&mut self, message: &mut Slot<T>) {
        if self.len == self.buffer.len() {
            self.grow();
        }
        let at = self.index(self.len);
        // SAFETY: `index` is below the buffer's length; `len-are-alive`: the place is free, and the ring's from here on.
        let full = unsafe { message.read_to(self.buffer.as_mut_ptr().add(at).cast()) };
        debug_assert!(full, "a message is pushed");
        self.len += usize::from(full);
    }

    /// Moves the first message into an empty slot. False: there is none.
    #[inline]
    pub(crate) fn pop(&mut self, into: &mut Slot<T>) -> bool {
        debug_assert!(!into.is_full(), "a slot holds one message");
        // SAFETY: the slot is no place of the ring; it is full when a message has been moved there.
        unsafe {
            let popped = self.pop_to(into.as_mut_ptr());
            if popped {
                into.set_full();
            }
            popped
        }
    }

    /// Moves a message behind all others, if the buffer has a place for it.
    ///
    /// # Safety
    /// `message` points to a message, which is the ring's when the result is true, and not in the ring.
    #[inline]
    pub(crate) unsafe fn push_from(&mut self, message: *const T) -> bool {
        if self.len == self.buffer.len() {
            return false;
        }
        let at = self.index(self.len);
        // SAFETY: `index` is below the buffer's length; `len-are-alive`: the place is free. The caller's promise.
        unsafe { ptr::copy_nonoverlapping(message, self.buffer.as_mut_ptr().add(at).cast(), 1) };
        self.len += 1;
        true
    }

    /// Moves the first message to `to`. False: there is none.
    ///
    /// # Safety
    /// `to` is valid for writing a message, and not in the ring.
    #[inline]
    pub(crate) unsafe fn pop_to(&mut self, to: *mut T) -> bool {
        if self.len == 0 {
            return false;
        }
        // SAFETY: `len-are-alive`: the first place holds a message, which leaves the ring. The caller's promise.
        unsafe { ptr::copy_nonoverlapping(self.buffer.as_ptr().add(self.first).cast(), to, 1) };
        self.first = self.index(1);
        self.len -= 1;
        true
    }

    /// Doubles the buffer. The messages keep their order.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let places = self.buffer.len();
        let mut larger = Box::new_uninit_slice((2 * places).max(FIRST_PLACES));
        let until_end = places - self.first;
        // SAFETY: the old buffer is full. Its messages from `first` to the end, then those before `first`, move to the beginning of the
        // new one, which is larger; the old one is freed without them, for `MaybeUninit` drops nothing.
        unsafe {
            let (old, new): (*const MaybeUninit<T>, *mut MaybeUninit<T>) =
                (self.buffer.as_ptr(), larger.as_mut_ptr().cast());
            ptr::copy_nonoverlapping(old.add(self.first), new, until_end);
            ptr::copy_nonoverlapping(old, new.add(until_end), self.first);
        }
        // SAFETY: every content is one of `MaybeUninit`.
        self.buffer = unsafe { larger.assume_init() };
        self.first = 0;
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let len = mem::take(&mut self.len);
        let until_end = len.min(self.buffer.len() - self.first);
        let places: *mut T = self.buffer.as_mut_ptr().cast();
        // SAFETY: within the buffer.
        let first = ptr::slice_from_raw_parts_mut(unsafe { places.add(self.first) }, until_end);
        let wrapped = ptr::slice_from_raw_parts_mut(places, len - until_end);
        let rest = DropInPlace(wrapped);
        drop(DropInPlace(first));
        drop(rest);
    }
}

/// Drops messages of a ring that goes: those behind one whose destructor panics too.
struct DropInPlace<T>(*mut [T]);

impl<T> Drop for DropInPlace<T> {
    fn drop(&mut self) {
        // SAFETY: `len-are-alive`, and the ring has none any more: nobody else drops them.
        unsafe { ptr::drop_in_place(self.0) };
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Arc;

    fn push<T>(ring: &mut Ring<T>, message: T) {
        let mut slot = Slot::EMPTY;
        slot.fill(message);
        ring.push(&mut slot);
        assert!(!slot.is_full());
    }

    fn pop<T>(ring: &mut Ring<T>) -> Option<T> {
        let mut slot = Slot::EMPTY;
        ring.pop(&mut slot).then(|| slot.take())
    }

    #[test]
    fn it_does_what_a_deque_does() {
        let rng = crate::random::Rng::new();
        let (mut ring, mut model) = (Ring::new(), VecDeque::new());
        for i in 0..20_000_u32 {
            // Now it grows, now it shrinks.
            if rng.below(10) < if i % 2_000 < 1_000 { 6 } else { 4 } {
                push(&mut ring, Box::new(i));
                model.push_back(Box::new(i));
            } else {
                assert_eq!(pop(&mut ring), model.pop_front());
            }
            assert_eq!((ring.len(), ring.is_empty()), (model.len(), model.is_empty()));
        }
    }

    #[test]
    fn it_drops_what_is_left() {
        let counted = Arc::new(());
        let mut ring = Ring::new();
        // Around the end of the buffer.
        for _ in 0..3 {
            push(&mut ring, counted.clone());
        }
        assert!(pop(&mut ring).is_some() && pop(&mut ring).is_some());
        for _ in 0..3 {
            push(&mut ring, counted.clone());
        }
        assert_eq!((ring.len(), Arc::strong_count(&counted)), (4, 5));
        drop(ring);
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn messages_of_no_size_are_counted() {
        let mut ring = Ring::new();
        for _ in 0..9 {
            push(&mut ring, ());
        }
        assert_eq!(std::iter::from_fn(|| pop(&mut ring)).count(), 9);
    }
}
