//! Cancelling a task: the request, its delivery as an unwind, and the places where it is held off.
//!
//! # Protocol of the cell
//! ```text
//!   word   │ the record that the task waited on last, or null │ REQUESTED │
//!
//! canceller                                   the task, about to wait on coroutine R
//! 1. set REQUESTED, read the record           1. put R there (only when it differs), read REQUESTED
//! 2. wake R, if any, and the task's waker     2. throw, if set
//! ```
//! Step 1 is one read-modify-write of one word on both sides, so one comes before the other: either the canceller sees R and
//! wakes it (the wait looks again and sees the request), or the task sees the request before it suspends. A task that waits on
//! the same record again only reads: R is there for every canceller to see. So the operation is paid when the record changes:
//! for a closure once in its life. A record that the task has left since, or that another task uses by now, is woken for
//! nothing: every wait is a loop that looks again.

use crate::primitive::atomic::AtomicPtr;
use crate::primitive::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::any::Any;
use std::ptr;

/// Generic over the record so that the model check can run it without stacks.
#[derive(Debug)]
pub(crate) struct CancelCell<R = crate::runtime::Record> {
    word: AtomicPtr<R>,
}

/// The lowest bit, which the alignment of records leaves clear.
const REQUESTED: usize = 1;

fn is_requested<R>(word: *mut R) -> bool {
    word.addr() & REQUESTED != 0
}

fn record<R>(word: *mut R) -> *const R {
    word.map_addr(|address| address & !REQUESTED)
}

impl<R> CancelCell<R> {
    pub(crate) fn new() -> Self {
        const { assert!(align_of::<R>() > REQUESTED) };
        Self { word: AtomicPtr::new(ptr::null_mut()) }
    }

    #[inline]
    pub(crate) fn is_requested(&self) -> bool {
        is_requested(self.word.load(Relaxed))
    }

    /// Changes the word as `f` says. Returns what it was.
    fn update(&self, f: impl Fn(*mut R) -> *mut R) -> *mut R {
        let mut word = self.word.load(Relaxed);
        loop {
            // AcqRel: canceller and task each see what the other did before, in the order that the head speaks of.
            match self.word.compare_exchange_weak(word, f(word), AcqRel, Acquire) {
                Ok(before) => return before,
                Err(now) => word = now,
            }
        }
    }

    /// The canceller's side. Returns the record to wake.
    pub(crate) fn request(&self) -> *const R {
        record(self.update(|word| word.map_addr(|address| address | REQUESTED)))
    }

    /// The task's side, before it suspends on `here`.
    #[inline]
    pub(crate) fn publish(&self, here: *const R) -> Requested {
        let word = self.word.load(Relaxed);
        if record(word) != here {
            return self.publish_anew(here);
        }
        if is_requested(word) { Requested::Yes } else { Requested::No }
    }

    /// `publish` would change nothing and return `No`.
    #[inline]
    pub(crate) fn is_published(&self, here: *const R) -> bool {
        ptr::eq(self.word.load(Relaxed), here)
    }

    #[cold]
    fn publish_anew(&self, here: *const R) -> Requested {
        let flag = |word: *mut R| word.addr() & REQUESTED;
        let before = self.update(|word| here.cast_mut().map_addr(|address| address | flag(word)));
        if is_requested(before) { Requested::Unseen } else { Requested::No }
    }
}

/// Whether cancelling has been requested, as a task learns that is about to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Requested {
    No,
    Yes,
    /// By one who did not know of this wait and has not woken it: if it is not ended now, it looks again before it suspends.
    Unseen,
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
