//! The system calls on pages: map, unmap, protect, give back, ask what is resident.
//!
//! # Unsafe
//!
//! Every call here works on addresses of slabs, which are mapped by [`map`] and stay mapped for ever but for
//! the parts trimmed off before a slab is first used. What a range may lose is for the caller to know; see
//! each function.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::advice::{self, Refused};

#[cfg(any(target_os = "linux", target_os = "android"))]
const MAP_FLAGS: libc::c_int =
    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
// OpenBSD runs on no stack mapped otherwise. FreeBSD's flag of that name means memory that grows downwards:
// not wanted.
#[cfg(target_os = "openbsd")]
const MAP_FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_STACK;
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "openbsd")))]
const MAP_FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANON;

// On Linux the pages go at once, and read as zero afterwards; elsewhere that advice is only a hint, and
// MADV_FREE the one that counts.
#[cfg(any(target_os = "linux", target_os = "android"))]
const GIVE_BACK: libc::c_int = libc::MADV_DONTNEED;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const GIVE_BACK: libc::c_int = libc::MADV_FREE;

/// Bytes in a page; a power of two.
pub(super) fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    match SIZE.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: takes and returns a number.
            let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            let size = usize::try_from(size).ok().filter(|size| size.is_power_of_two()).unwrap_or(4096);
            SIZE.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

/// Maps `bytes` of readable and writable memory without committing any of it.
pub(super) fn map(bytes: usize) -> io::Result<Range<usize>> {
    // SAFETY: a new mapping at an address of the system's choice overlaps nothing.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, MAP_FLAGS, -1, 0)
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = start.expose_provenance();
    Ok(start..start + bytes)
}

/// Takes a range out of the address space.
///
/// # Safety
///
/// It was mapped by [`map`], is whole pages, and nobody uses it from now on.
pub(super) unsafe fn unmap(range: Range<usize>) {
    if !range.is_empty() {
        // SAFETY: the caller's promise. A failure (no mapping left to split with) leaves the range mapped and
        // unused.
        unsafe { libc::munmap(pointer(range.start), range.len()) };
    }
}

/// Makes every access to a range fault. Costs up to two mappings.
///
/// # Safety
///
/// The range is whole pages of a mapping of ours, and nobody uses it from now on.
pub(super) unsafe fn protect(range: &Range<usize>) -> io::Result<()> {
    // SAFETY: the caller's promise.
    match unsafe { libc::mprotect(pointer(range.start), range.len(), libc::PROT_NONE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps huge pages away: one touched byte of a stack would otherwise take 2 MiB. A kernel without huge pages
/// refuses; all is well then.
pub(super) fn forbid_huge_pages(range: &Range<usize>) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: the advice changes no contents and no access rights, whatever is mapped there.
    unsafe {
        libc::madvise(pointer(range.start), range.len(), libc::MADV_NOHUGEPAGE);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = range;
}

/// Returns the pages of each range to the system, but for ranges whose pages it keeps, as it does with locked memory. Returns of
/// how many it took them; on Linux they read as zero afterwards.
///
/// # Safety
///
/// The ranges are whole pages of slabs, and nobody needs what is in them.
pub(super) unsafe fn give_back_each(ranges: impl Iterator<Item = Range<usize>>) -> usize {
    // SAFETY: the caller's promise; guards in the ranges stay.
    unsafe { advice::advise_each(ranges, GIVE_BACK, Refused::IsSkipped) }.0
}

/// Set once the system has refused to get pages that nobody has touched; never cleared.
static POPULATE_REFUSED: AtomicBool = AtomicBool::new(cfg!(not(target_os = "linux")));

/// Whether [`populate_below`] gets anything, as far as is known.
pub(super) fn may_populate() -> bool {
    !POPULATE_REFUSED.load(Ordering::Relaxed)
}

/// Gets the pages that end at `ends`, before they are touched: together that costs less than each one's exception. What fails, or
/// what the system does not know, is left to the exceptions.
pub(super) fn populate_below(ends: impl Iterator<Item = usize>) {
    #[cfg(target_os = "linux")]
    {
        /// Linux 5.14.
        const MADV_POPULATE_WRITE: libc::c_int = 23;
        let pages = ends.map(|end| end - page_size()..end);
        // SAFETY: the advice changes no contents and no access rights, whatever is mapped there.
        let (_, outcome) = unsafe { advice::advise_each(pages, MADV_POPULATE_WRITE, Refused::Stops) };
        if outcome.is_err_and(|error| advice::is_lasting(&error)) {
            POPULATE_REFUSED.store(true, Ordering::Relaxed);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = ends;
}

/// The address of the lowest page of a range (whole pages) that is in memory, if any is. Pages swapped out
/// count as absent. A system that cannot tell has them all in memory.
pub(super) fn lowest_resident(range: &Range<usize>) -> Option<usize> {
    // One call of the system looks at 1 MiB of 4 KiB pages; the callers may be on a small stack.
    const BATCH: usize = 256;
    let page = page_size();
    for start in range.clone().step_by(BATCH * page) {
        let end = range.end.min(start + BATCH * page);
        let mut residency = [0_u8; BATCH];
        // SAFETY: the system writes one byte for each page of `start..end`, of which there are at most BATCH.
        let failed =
            unsafe { libc::mincore(pointer(start), end - start, residency.as_mut_ptr().cast()) != 0 };
        if failed {
            return Some(start);
        }
        if let Some(index) = residency.iter().position(|flags| flags & 1 != 0) {
            return Some(start + index * page);
        }
    }
    None
}

/// An address of ours as the system wants it.
pub(super) fn pointer(address: usize) -> *mut libc::c_void {
    std::ptr::with_exposed_provenance_mut(address)
}
