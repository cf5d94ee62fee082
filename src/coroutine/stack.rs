//! Stacks: their sizes, and what one can tell and give back.

use std::num::NonZeroUsize;
use std::ops::{Deref, Range};

use super::guard::GUARD_BYTES;
use super::memory;

/// A size of stacks: the base-two logarithm of the spacing, in bytes, at which they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Class(u8);

impl Class {
    /// 128 KiB, of which half is guard.
    pub(super) const MIN: Self = Self(17);

    /// More than any system maps, so that a size beyond all bounds fails when it is acquired and is not
    /// quietly cut.
    pub(super) const MAX: Self = Self(if usize::BITS == 64 { 46 } else { 31 });

    /// How many classes there are.
    pub(super) const COUNT: usize = (Self::MAX.0 - Self::MIN.0) as usize + 1;

    /// The smallest class with at least so many usable bytes.
    pub(crate) const fn for_usable(bytes: usize) -> Self {
        Self::for_spacing(bytes.saturating_add(GUARD_BYTES))
    }

    /// The smallest class whose stacks take at least so many bytes of address space, guard included.
    pub(crate) const fn for_spacing(bytes: usize) -> Self {
        let log2 = match bytes.checked_next_power_of_two() {
            Some(spacing) => spacing.trailing_zeros() as u8,
            None => Self::MAX.0,
        };
        if log2 < Self::MIN.0 {
            Self::MIN
        } else if log2 > Self::MAX.0 {
            Self::MAX
        } else {
            Self(log2)
        }
    }

    /// Bytes of address space a stack takes, guard included.
    pub(crate) const fn spacing(self) -> usize {
        1 << self.0
    }

    /// Bytes a stack has for frames.
    pub(crate) const fn usable(self) -> usize {
        self.spacing() - GUARD_BYTES
    }

    /// All classes, from the smallest.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (Self::MIN.0..=Self::MAX.0).map(Self)
    }

    /// Position among the classes, from the smallest.
    pub(super) const fn index(self) -> usize {
        (self.0 - Self::MIN.0) as usize
    }
}

/// Where a stack lies: a copy that owns nothing. It is what one may hold of the stack of a *running* coroutine, when the
/// [`Coroutine`](super::Coroutine) itself is borrowed by the `resume` in progress.
///
/// One word, because ten thousand idle coroutines have two each: the top, whose low bits are zero, and in them the class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent(NonZeroUsize);

/// The bits of an extent that hold the class.
const CLASS_MASK: usize = 0x7f;
/// The bit that is a stack's.
const TOUCHED: usize = 0x80;
/// The bit of an extent whose coroutine is resumed by hand.
const BY_HAND: usize = 0x100;

impl Extent {
    pub(super) fn new(top: NonZeroUsize, class: Class) -> Self {
        debug_assert_eq!(top.get() % class.spacing(), 0);
        Self(top | usize::from(class.0))
    }

    /// The address above the highest usable one, by which a stack is known.
    #[inline]
    pub(crate) fn top(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.0.get() & !(CLASS_MASK | TOUCHED | BY_HAND)).expect("a top is not zero")
    }

    /// The same, marked as that of a coroutine that user code resumes: an overflow has another remedy there.
    pub(crate) fn by_hand(self) -> Self {
        Self(self.0 | BY_HAND)
    }

    pub(crate) fn is_by_hand(&self) -> bool {
        self.0.get() & BY_HAND != 0
    }

    /// Bytes for frames.
    pub(crate) fn size(&self) -> usize {
        self.class().usable()
    }

    /// The class it belongs to.
    pub(crate) fn class(&self) -> Class {
        Class((self.0.get() & CLASS_MASK) as u8)
    }

    /// The usable addresses, from the end of the guard to the top.
    pub(crate) fn range(&self) -> Range<usize> {
        self.top().get() - self.size()..self.top().get()
    }

    /// The addresses of the guard, right below the usable ones.
    pub(crate) fn guard(&self) -> Range<usize> {
        let low = self.top().get() - self.class().spacing();
        low..low + GUARD_BYTES
    }

    /// Bytes between the top and the lowest page that is in memory: the deepest use since the pages below
    /// were last given back. Pages that were swapped out do not count.
    pub(crate) fn high_water(&self) -> usize {
        let range = self.range();
        memory::lowest_resident(&range).map_or(0, |lowest| range.end - lowest)
    }

    /// The pages wholly below `sp`, less a margin for what the switch saves and the red zone, if there are any: what
    /// [`trim_below`] returns to the system.
    pub(crate) fn idle_below(&self, sp: usize) -> Option<Range<usize>> {
        let range = self.range();
        if !range.contains(&sp) {
            return None;
        }
        let end = (sp - SWITCH_MARGIN_BYTES) & !(memory::page_size() - 1);
        (end > range.start).then_some(range.start..end)
    }
}

/// Returns the pages of ranges that [`Extent::idle_below`] gave to the system, which does not take locked ones. Returns of how
/// many ranges it took them.
///
/// # Safety
///
/// Each stack is a suspended coroutine's of this thread, that has not run since the range was asked for. Its `sp` is what
/// [`stack_pointer`](super::stack_pointer) returned in the function that called [`suspend`](super::Suspender::suspend), so its
/// stack pointer lies less than the margin below.
pub(crate) unsafe fn trim_below(ranges: impl Iterator<Item = Range<usize>>) -> usize {
    // SAFETY: by the caller's promise every live byte of the suspended coroutines lies above these ranges, and they do not run.
    unsafe { memory::give_back_each(ranges) }
}

/// A stack with nothing on it, or the part of a [`Coroutine`](super::Coroutine) that says where its stack is.
/// Back to the pool when dropped.
///
/// It is `Send` by what it is made of, two numbers: by the invariant `quiet` nothing on it belongs to any
/// thread.
#[derive(Debug)]
pub(crate) struct Stack {
    /// With `TOUCHED` when pages may be resident that nobody has given back.
    extent: Extent,
}

impl Stack {
    /// Takes over the spacing that ends at `top`, which nobody else has.
    pub(super) fn new(top: NonZeroUsize, class: Class, touched: bool) -> Self {
        let mut stack = Self { extent: Extent::new(top, class) };
        stack.set_touched(touched);
        stack
    }

    /// Where it lies.
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// Notes that it is about to be written to.
    pub(super) fn mark_touched(&mut self) {
        self.set_touched(true);
    }

    fn set_touched(&mut self, touched: bool) {
        let word = self.extent.0.get() & !TOUCHED;
        self.extent = Extent(
            NonZeroUsize::new(if touched { word | TOUCHED } else { word }).expect("a top is not zero"),
        );
    }

    /// Whether it may hold pages.
    pub(super) fn is_touched(&self) -> bool {
        self.extent.0.get() & TOUCHED != 0
    }
}

impl Deref for Stack {
    type Target = Extent;

    fn deref(&self) -> &Extent {
        &self.extent
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        super::pool::put_back(self);
    }
}

// SAFETY: the guard lies at the low end of the range and faults on every access (`slab` hands out no spacing
// without one), the rest is mapped, at least 64 KiB, and aligned to its spacing; whoever has the stack has it alone.
unsafe impl corosensei::stack::Stack for Stack {
    #[inline]
    fn base(&self) -> NonZeroUsize {
        let index = self.top().get() / self.class().spacing();
        let top = self.top().get() - index % COLOURS * LINE_BYTES;
        NonZeroUsize::new(top).unwrap_or(NonZeroUsize::MIN)
    }

    #[inline]
    fn limit(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.guard().start).unwrap_or(NonZeroUsize::MIN)
    }
}

/// Stacks lie a power of two apart, so the frames of coroutines that wait in the same place would all fall into the same few sets
/// of the caches. Neighbours begin at so many different lines: a bare switch among 1,000
/// coroutines took 31 ns with it and 42 without (medians, interleaved). More would push the frames of an idle coroutine across a
/// page.
const COLOURS: usize = 32;
/// A cache line.
const LINE_BYTES: usize = 64;

/// What is kept below the stack pointer of the function that suspends: the frames of the switch, which are
/// large in debug builds and larger under the address sanitizer, and the red zone of 128 bytes. At least
/// twice what the test `switch_fits_in_margin` finds.
pub(super) const SWITCH_MARGIN_BYTES: usize = if cfg!(feature = "sanitizer") {
    8192
} else if cfg!(debug_assertions) {
    2048
} else {
    1024
};
