//! The clock: the one module of the crate that reads time, so that a deterministic runtime can put its own in
//! place.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The farthest deadline worth keeping: about 30 years. What is asked for beyond it fires there.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The present moment of the monotonic clock, to the nanosecond. About 25 ns: no system call.
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds of the monotonic clock, about as long to read as `now`: for who looks again and again. The origin is arbitrary.
#[inline]
pub(crate) fn nanos() -> u64 {
    now().duration_since(*ORIGIN.get_or_init(now)).as_nanos() as u64
}

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds of a monotonic clock that stands still for 1 to 4 ms at a time and is read in about 5 ns: for
/// ages and reports, never for deadlines. The origin is arbitrary; only differences mean something.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn coarse() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live, writable timespec and the kernel keeps no reference to it.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    debug_assert_eq!(failed, 0, "every Linux has the coarse clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds of a monotonic clock: for ages and reports, never for deadlines. The origin is arbitrary.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn coarse() -> u64 {
    nanos()
}

/// The moment `delay` from now. A delay that no clock can express, or beyond 30 years, ends 30 years from
/// now.
pub(crate) fn deadline_after(delay: Duration) -> Instant {
    later(now(), delay)
}

/// The moment `delay` after `moment`, with delays beyond 30 years cut to that.
pub(crate) fn later(moment: Instant, delay: Duration) -> Instant {
    moment.checked_add(delay.min(FOREVER)).unwrap_or(moment)
}
