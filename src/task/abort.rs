//! A handle that cancels a task, and no more.
//!
//! It is a waker of the task, which keeps the header and is never called.

use crate::task::Id;
use crate::task::cell;
use crate::task::header::Header;
use std::fmt;
use std::task::Waker;

/// Cancels a task from elsewhere than where it is joined; see [`JoinHandle::abort_handle`](crate::JoinHandle::abort_handle).
///
/// Cheap to clone, and `Send` whatever the task is. It neither detaches nor joins, and keeps nothing of the task but its memory.
///
/// # Examples
/// Whoever finishes first ends the others:
/// ```
/// use aqueduct::{go, spawn};
///
/// let slow = spawn(std::future::pending::<&str>());
/// let abort = slow.abort_handle();
/// let quick = go(move || {
///     abort.cancel();
///     "quick"
/// });
/// assert!(slow.join().unwrap_err().is_cancelled());
/// assert_eq!(quick.join().unwrap(), "quick");
/// ```
#[derive(Clone)]
pub struct AbortHandle {
    id: Id,
    /// None: it had ended already.
    task: Option<Waker>,
}

impl AbortHandle {
    /// The caller keeps the task meanwhile.
    pub(crate) fn of(header: &Header) -> Self {
        Self { id: Id::new(header.id), task: cell::waker(header) }
    }

    fn header(&self) -> Option<&Header> {
        // SAFETY: the data of a task's waker is a pointer to its header, kept by the waker's reference.
        self.task.as_ref().map(|waker| unsafe { &*waker.data().cast::<Header>() })
    }

    /// Asks the task to end, as [`JoinHandle::cancel`](crate::JoinHandle::cancel) does: idempotent, and it does not wait.
    pub fn cancel(&self) {
        if let Some(header) = self.header() {
            header.request_cancel();
        }
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.header().is_none_or(|header| header.word.is_completed())
    }

    /// The task's number, unique in the process.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("id", &self.id).field("finished", &self.is_finished()).finish()
    }
}
