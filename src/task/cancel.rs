//! Cancelling a task: the request, its delivery as an unwind, and the places where it is held off.
//!
//! # Protocol of the cell
//! ```text
//! canceller                                   the task, about to wait on coroutine R
//! 1. requested = true; fence                  1. record = R (only when it differs); fence
//! 2. read record: wake it, if any             2. read requested: throw, if set
//!    and wake the task's waker
//! ```
//! Store first, load second, a sequentially consistent fence between, on both sides: either the canceller sees R and wakes
//! it (the wait looks again and sees the request), or the task sees the request before it suspends. The fence of the task's
//! side is paid only when the record changes: for a closure once in its life. A record that the task has left since, or
//! that another task uses by now, is woken for nothing: every wait is a loop that looks again.

use crate::primitive::atomic::Ordering::{Relaxed, SeqCst};
use crate::primitive::atomic::{AtomicBool, AtomicPtr, fence};
use std::any::Any;
use std::ptr;

/// Generic over the record so that the model check can run it without stacks.
#[derive(Debug)]
pub(crate) struct CancelCell<R = crate::runtime::Record> {
    requested: AtomicBool,
    record: AtomicPtr<R>,
}

impl<R> CancelCell<R> {
    pub(crate) fn new() -> Self {
        Self { requested: AtomicBool::new(false), record: AtomicPtr::new(ptr::null_mut()) }
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Relaxed)
    }

    /// The canceller's side. Returns the record to wake.
    pub(crate) fn request(&self) -> *const R {
        self.requested.store(true, Relaxed);
        // Pairs with the fence of `publish`.
        fence(SeqCst);
        self.record.load(Relaxed)
    }

    /// The task's side, before it suspends on `record`. Returns whether cancelling has been requested.
    #[inline]
    pub(crate) fn publish(&self, record: *const R) -> bool {
        if self.record.load(Relaxed).cast_const() != record {
            self.record.store(record.cast_mut(), Relaxed);
            // Pairs with the fence of `request`.
            fence(SeqCst);
        }
        self.is_requested()
    }
}

/// The payload with which a cancelled coroutine unwinds. Private: only this crate can throw it.
struct Cancellation;

/// How often a coroutine may swallow its cancellation before it is suspended for good.
pub(crate) const MAX_THROWS: u8 = 16;

/// Starts the unwind of a cancelled coroutine. No panic hook runs.
#[cold]
pub(crate) fn throw() -> ! {
    std::panic::resume_unwind(Box::new(Cancellation))
}

/// A wait that had been cancelled turned out to be complete: the cancellation is left for the next wait, and this throw does
/// not count as swallowed.
pub(crate) fn put_back(payload: &(dyn Any + Send)) {
    if is_cancelled(payload) {
        crate::runtime::current::with_task(|task| task.throws.set(task.throws.get().saturating_sub(1)));
    }
}

/// Whether a payload caught by `catch_unwind` is the cancellation of the running task rather than a panic.
///
/// Code that catches unwinding panics around calls that may wait should hand a cancellation on with [`rethrow`]. A
/// cancellation that is swallowed is thrown again by the next wait; after 16 times the coroutine is suspended for good and
/// reported as leaked.
///
/// # Examples
/// ```
/// use aqueduct::{go, task};
/// use std::panic::{AssertUnwindSafe, catch_unwind};
///
/// let (started, has_started) = std::sync::mpsc::channel();
/// let handle = go(move || {
///     let caught = catch_unwind(AssertUnwindSafe(|| {
///         started.send(()).unwrap();
///         aqueduct::block_on(std::future::pending::<()>());
///     }));
///     let payload = caught.unwrap_err();
///     assert!(task::is_cancelled(&*payload));
///     task::rethrow(payload);
/// });
/// has_started.recv().unwrap();
/// handle.cancel();
/// assert!(handle.join().unwrap_err().is_cancelled());
/// ```
#[must_use]
pub fn is_cancelled(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Cancellation>()
}

/// Goes on unwinding with a payload caught by `catch_unwind`, a cancellation or a panic, without calling the panic hook.
pub fn rethrow(payload: Box<dyn Any + Send>) -> ! {
    std::panic::resume_unwind(payload)
}
