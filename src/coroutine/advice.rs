//! Advice on many ranges of pages with one system call.
//!
//! `process_madvise` takes a vector of ranges and, of a process about itself, any advice (Linux 6.13; 6.15 takes the process's name
//! for itself that is used here). What it saves, per stack, of 64 at a time on a virtual machine: the first touch of a page took 1.40 us by an
//! exception and 1.09 us so; a guard 0.59 us alone and 0.49 us so; a page given back 1.37 us alone and 0.33 us so, for the processors
//! forget their translations once for all. With a second worker that is running each of those calls interrupts it, too.
//!
//! Where the system does not know it, each range has a call of its own, and the refusal is remembered.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::memory;

/// Ranges told of in one call. From 16 on a call costs little beside its work.
pub(super) const BATCH: usize = 64;

/// Set once the system has refused many ranges at once; never cleared. Android's filters may end a process that asks.
static REFUSED: AtomicBool = AtomicBool::new(cfg!(not(target_os = "linux")));

/// Whether several ranges cost one call, as far as is known.
pub(super) fn takes_many() -> bool {
    !REFUSED.load(Ordering::Relaxed)
}

/// Asks once for each range from now on, as with an old kernel.
#[cfg(test)]
pub(super) fn refuse_many() {
    REFUSED.store(true, Ordering::Relaxed);
}

/// What to do about a range for which the system refuses the advice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nothing is asked for those behind it.
    Stops,
    IsSkipped,
}

/// Gives the advice on each range, from the first on. Returns how many took it, and why not more: the last refusal.
///
/// # Safety
///
/// The ranges are whole pages of mappings of ours, and what the advice does to them is what their owner wants.
pub(super) unsafe fn advise_each(
    mut ranges: impl Iterator<Item = Range<usize>>,
    advice: libc::c_int,
    refused: Refused,
) -> (usize, io::Result<()>) {
    let (mut taken, mut outcome) = (0, Ok(()));
    loop {
        let mut batch = Batch::EMPTY;
        batch.fill(&mut ranges);
        if batch.length == 0 {
            return (taken, outcome);
        }
        let mut from = 0;
        while from < batch.length {
            // SAFETY: the caller's promise.
            let (count, error) = unsafe { batch.advise(from, advice) };
            taken += count;
            from += count;
            if let Err(error) = error {
                outcome = Err(error);
                if refused == Refused::Stops {
                    return (taken, outcome);
                }
                from += 1;
            }
        }
    }
}

/// Ranges as the system wants them.
struct Batch {
    vector: [libc::iovec; BATCH],
    length: usize,
}

impl Batch {
    const EMPTY: Self =
        Self { vector: [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH], length: 0 };

    fn fill(&mut self, ranges: &mut impl Iterator<Item = Range<usize>>) {
        for (to, range) in self.vector.iter_mut().zip(ranges) {
            *to = libc::iovec { iov_base: memory::pointer(range.start), iov_len: range.len() };
            self.length += 1;
        }
    }

    /// Gives the advice from the range at `from` up to the first that the system refuses.
    ///
    /// # Safety
    ///
    /// As [`advise_each`].
    unsafe fn advise(&self, from: usize, advice: libc::c_int) -> (usize, io::Result<()>) {
        let all = &self.vector[from..self.length];
        let mut refusal = None;
        let mut done = 0;
        if all.len() > 1 && takes_many() {
            // SAFETY: the caller's promise.
            match unsafe { advise_together(all, advice) } {
                Ok(bytes) => done = whole_ranges(all, bytes),
                Err(error) => refusal = Some(error),
            }
        }
        while let Some(range) = all.get(done) {
            // SAFETY: the caller's promise.
            if unsafe { libc::madvise(range.iov_base, range.iov_len, advice) } != 0 {
                return (done, Err(io::Error::last_os_error()));
            }
            if refusal.take().is_some_and(|error| is_lasting(&error)) {
                // It refuses the call, not what was asked for.
                REFUSED.store(true, Ordering::Relaxed);
            }
            done += 1;
        }
        (done, Ok(()))
    }
}

/// How many ranges, from the first on, lie wholly in the first `bytes` of all.
fn whole_ranges(all: &[libc::iovec], bytes: usize) -> usize {
    let mut left = bytes;
    all.iter()
        .take_while(|range| {
            let fits = range.iov_len <= left;
            left -= if fits { range.iov_len } else { 0 };
            fits
        })
        .count()
}

/// Whether the system will say the same the next time.
pub(super) fn is_lasting(error: &io::Error) -> bool {
    !matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EAGAIN | libc::EINTR))
}

/// Returns how many bytes took the advice: all, or those before the first range that did not.
///
/// # Safety
///
/// As [`advise_each`].
#[cfg(target_os = "linux")]
unsafe fn advise_together(all: &[libc::iovec], advice: libc::c_int) -> io::Result<usize> {
    /// The calling process, in the place of a descriptor of it.
    const PIDFD_SELF: libc::c_int = -10_000;
    let no_flags: libc::c_uint = 0;
    // SAFETY: the system reads the vector, which is alive; the rest is the caller's promise.
    let bytes = unsafe {
        libc::syscall(libc::SYS_process_madvise, PIDFD_SELF, all.as_ptr(), all.len(), advice, no_flags)
    };
    usize::try_from(bytes).map_err(|_| io::Error::last_os_error())
}

/// # Safety
///
/// As [`advise_each`].
#[cfg(not(target_os = "linux"))]
unsafe fn advise_together(_all: &[libc::iovec], _advice: libc::c_int) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
