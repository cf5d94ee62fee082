//! Slabs: the mappings that stacks are cut from.
//!
//! Stacks come many at a time, so that a million of them are a few thousand mappings (fewer, as neighbours
//! merge) and the guards are made in one pass. A slab starts at a multiple of its spacing: then the guard and
//! the top of a 2 MiB stack share one page of page tables, eight stacks of 256 KiB share one between them,
//! and rounding an address down finds its spacing. Slabs are never unmapped.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::{io, mem};

use corosensei::stack::valgrind::ValgrindStackRegistration;

use super::guard::GUARD_BYTES;
use super::limits::Exhausted;
use super::stack::Class;
use super::{guard, memory};

/// Address space of a slab, in bytes. A compromise, not measured finely: 256 stacks of 256 KiB, whose guards
/// take 0.3 ms.
const SLAB_BYTES: usize = 64 * 1024 * 1024;

/// The least number of stacks a slab begins with, however large they are.
const STACKS_MIN: usize = 4;

/// Address space that must still be there when a slab has been mapped, in bytes (guessed). Under a limit of
/// address space the last slab would otherwise take what the allocator needs to report the failure that
/// follows.
pub(super) const KEPT_FREE_BYTES: usize = 16 * 1024 * 1024;

/// Stacks that have never been handed out: all but the first few of a slab.
pub(super) struct Slab {
    rest: Range<usize>,
    spacing: usize,
}

impl Slab {
    /// Nothing yet.
    pub(super) const EMPTY: Self = Self { rest: 0..0, spacing: 0 };

    /// Maps a slab and makes its guards. When memory is short it takes half as many stacks, down to one.
    pub(super) fn map(class: Class) -> Result<Self, Exhausted> {
        let spacing = class.spacing();
        let mut stacks = (SLAB_BYTES / spacing).max(STACKS_MIN);
        let mut kept_free = KEPT_FREE_BYTES;
        let all = loop {
            let error = match map_aligned(stacks, spacing, kept_free) {
                Ok(range) => break range,
                Err(error) => error,
            };
            match error.raw_os_error() {
                // A process that locks all it maps, and may lock no more. What is kept free would have to be
                // locked first.
                Some(libc::EAGAIN) if kept_free > 0 => kept_free = 0,
                Some(libc::ENOMEM | libc::EAGAIN) if stacks > 1 => stacks /= 2,
                _ => return Err(Exhausted::diagnose(class, &error)),
            }
        };
        memory::forbid_huge_pages(&all);
        Self::guarded(all, class)
    }

    /// Makes the guards. What has none is unmapped again.
    fn guarded(all: Range<usize>, class: Class) -> Result<Self, Exhausted> {
        let spacing = class.spacing();
        let (count, outcome) = guard::install(&all, spacing);
        let end = all.start + count * spacing;
        // SAFETY: just mapped, whole spacings, and not handed out: `rest` ends before it.
        unsafe { memory::unmap(end..all.end) };
        match outcome {
            Err(error) if count == 0 => Err(Exhausted::diagnose(class, &error)),
            _ => Ok(Self { rest: all.start..end, spacing }),
        }
    }

    /// How many stacks are left.
    pub(super) fn len(&self) -> usize {
        if self.rest.is_empty() { 0 } else { self.rest.len() / self.spacing }
    }

    /// The top of a stack that nobody has had.
    pub(super) fn take(&mut self) -> Option<NonZeroUsize> {
        if self.rest.is_empty() {
            return None;
        }
        let low = self.rest.start;
        self.rest.start += self.spacing;
        announce(low + GUARD_BYTES..self.rest.start);
        NonZeroUsize::new(self.rest.start)
    }
}

/// Tells the checkers that a process may run under about a stack, for ever.
fn announce(stack: Range<usize>) {
    // Valgrind takes a far jump of the stack pointer for a switch only between stacks it knows. Otherwise
    // this does nothing.
    mem::forget(ValgrindStackRegistration::new(memory::pointer(stack.start).cast(), stack.len()));
    #[cfg(feature = "sanitizer")]
    {
        unsafe extern "C" {
            fn __lsan_register_root_region(start: *const libc::c_void, size: usize);
        }
        // What only a suspended coroutine refers to is not leaked.
        // SAFETY: mapped and readable for ever.
        unsafe { __lsan_register_root_region(memory::pointer(stack.start), stack.len()) };
    }
}

/// Maps `stacks` spacings that start at a multiple of the spacing, at the high end of a larger mapping whose
/// rest, with what is to be kept free, is unmapped.
fn map_aligned(stacks: usize, spacing: usize, kept_free: usize) -> io::Result<Range<usize>> {
    let wanted = stacks.checked_mul(spacing);
    let mapped = wanted.and_then(|bytes| bytes.checked_add(spacing + kept_free));
    let (Some(wanted), Some(mapped)) = (wanted, mapped) else {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    };
    let all = memory::map(mapped)?;
    let end = all.end & !(spacing - 1);
    let start = end - wanted;
    // SAFETY: both ends are ours, unused, and whole pages.
    unsafe {
        memory::unmap(end..all.end);
        memory::unmap(all.start..start);
    }
    Ok(start..end)
}
