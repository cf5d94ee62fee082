//! `fork` without `exec`: the child has one thread and no workers, so nothing it started would ever run.

use std::sync::Once;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

static FORKED: AtomicBool = AtomicBool::new(false);

extern "C" fn in_child() {
    FORKED.store(true, Relaxed);
}

/// Called when the first runtime of the process starts. `Command` (vfork, posix_spawn, or fork and exec at once) is unaffected:
/// its child never gets to use a runtime.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler is async-signal-safe: it stores to an atomic. Failure (no memory) only loses the check.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// Whether `check` panics.
#[inline]
pub(crate) fn is_child() -> bool {
    FORKED.load(Relaxed)
}

/// # Panics
/// In a forked child of a process that had started a runtime.
#[inline]
#[track_caller]
pub(crate) fn check() {
    if is_child() {
        refuse();
    }
}

#[cold]
#[track_caller]
fn refuse() -> ! {
    panic!(
        "aqueduct was used in a child made by fork without exec: its worker threads exist only in the parent. Fork before \
         the first runtime starts, or use std::process::Command"
    );
}
