//! Guards: the low end of each spacing, where every access faults.
//!
//! Two ways to make one. Linux 6.13 and later mark the pages in the page table (`MADV_GUARD_INSTALL`): cheap,
//! no mapping is split, and the guard survives both giving back pages and fork. Everywhere else the range is
//! protected, which costs two mappings a guard, and a process has some 65,000 of them. Locked memory refuses
//! the first way at any version, so the first refusal is remembered.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::advice::{self, Refused};
use super::{limits, memory};

/// Bytes of a guard: a multiple of every page size in use (4, 16 and 64 KiB). Wide, because a function of
/// foreign code may step over a single page without touching it; address space costs nothing.
pub(super) const GUARD_BYTES: usize = 64 * 1024;

/// `MADV_GUARD_INSTALL` of Linux 6.13.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Set once the system has refused a marked guard; never cleared.
static MARKS_REFUSED: AtomicBool =
    AtomicBool::new(cfg!(not(any(target_os = "linux", target_os = "android"))));

/// Guards made by protecting; each costs two mappings.
static PROTECTED: AtomicUsize = AtomicUsize::new(0);

/// Makes a guard at the low end of each spacing of a slab, from the first on, and stops at the first that
/// fails. Returns how many there are, and why not more.
pub(super) fn install(slab: &Range<usize>, spacing: usize) -> (usize, io::Result<()>) {
    let mut count = 0;
    if !MARKS_REFUSED.load(Ordering::Relaxed) {
        let outcome;
        (count, outcome) = mark(guards(slab, spacing));
        match outcome {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                MARKS_REFUSED.store(true, Ordering::Relaxed);
            }
            done => return (count, done),
        }
    }
    for guard in guards(slab, spacing).skip(count) {
        if let Err(error) = protect(&guard) {
            return (count, Err(error));
        }
        count += 1;
    }
    (count, Ok(()))
}

fn guards(slab: &Range<usize>, spacing: usize) -> impl Iterator<Item = Range<usize>> {
    slab.clone().step_by(spacing).map(|start| start..start + GUARD_BYTES)
}

/// Whether there are as many guards made by protecting as there may be.
pub(super) fn is_spent() -> bool {
    PROTECTED.load(Ordering::Relaxed) >= limits::protected_guards_max()
}

/// Whether guards are marks in the page table, so that their number has no limit.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn are_marks() -> bool {
    !MARKS_REFUSED.load(Ordering::Relaxed)
}

/// Makes guards the old way from now on, as an old kernel would have it.
#[cfg(test)]
pub(super) fn refuse_marks() {
    MARKS_REFUSED.store(true, Ordering::Relaxed);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn mark(guards: impl Iterator<Item = Range<usize>>) -> (usize, io::Result<()>) {
    // SAFETY: each range is the low end of a spacing of a slab that is not handed out yet; nothing lives
    // there.
    unsafe { advice::advise_each(guards, MADV_GUARD_INSTALL, Refused::Stops) }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn mark(_guards: impl Iterator<Item = Range<usize>>) -> (usize, io::Result<()>) {
    (0, Err(io::Error::from_raw_os_error(libc::EINVAL)))
}

fn protect(guard: &Range<usize>) -> io::Result<()> {
    if is_spent() {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    // SAFETY: as in `mark`.
    unsafe { memory::protect(guard)? };
    PROTECTED.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
