//! Handles on the tasks of an executor: dropping one cancels its task.

#![forbid(unsafe_code)]

use crate::executor::body::{Failure, Handle};
use crate::executor::local::Output;
use crate::task::JoinHandle;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

/// A task spawned on an [`Executor`](super::Executor) or a [`LocalExecutor`](super::LocalExecutor). It is a future of the task's
/// output; in Go-style code, `task.wait()`.
///
/// **Dropping it cancels the task**: its future is not polled again, and is dropped by whoever drives the executor next (or drops
/// it). [`detach`](Self::detach) lets the task go on by itself, [`cancel`](Self::cancel) waits for the end of one that is
/// cancelled. (The runtime's [`JoinHandle`] is the other way round: dropped, it detaches.)
///
/// # Cancel safety
/// Dropped, or held by a future that is dropped: the task is cancelled. Awaited through `&mut task` and given up: *nothing
/// happened*.
///
/// # Panics
/// Awaiting it resumes the task's panic. Awaiting a task that was cancelled, because its executor was dropped, panics: await
/// [`fallible`](Self::fallible) where that may be.
///
/// # Examples
/// ```
/// use aqueduct::executor::Executor;
///
/// let executor = Executor::new();
/// let task = executor.spawn(async { 1 + 2 });
/// assert_eq!(aqueduct::block_on(executor.run(task)), 3);
/// ```
#[must_use = "a task is cancelled when its handle is dropped: `detach` it to let it go on"]
pub struct Task<T> {
    inner: FallibleTask<T>,
}

impl<T> Task<T> {
    pub(super) fn shared(handle: Handle<T>) -> Self {
        Self { inner: FallibleTask { inner: Inner::Shared { handle, polled: false } } }
    }

    pub(super) fn local(handle: JoinHandle<Output<T>>) -> Self {
        Self { inner: FallibleTask { inner: Inner::Local(handle) } }
    }

    /// Lets the task go on by itself. Its output is dropped where it ends; the panic hook alone tells of a panic.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::Executor;
    ///
    /// let executor = Executor::new();
    /// executor.spawn(async { println!("nobody waits for this") }).detach();
    /// assert!(executor.try_tick());
    /// ```
    pub fn detach(self) {
        self.inner.detach();
    }

    /// Cancels the task and waits for its end: whoever drives the executor drops its future. `Some` when it had completed, or
    /// completed in the poll that was under way: completion beats cancellation.
    ///
    /// # Cancel safety
    /// The task stays cancelled: *completes anyway*.
    ///
    /// # Panics
    /// With what the task, or a destructor that ran when it was cancelled, has panicked with.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(std::future::pending::<()>());
    /// assert_eq!(aqueduct::block_on(executor.run(task.cancel())), None);
    /// assert!(executor.is_empty());
    /// ```
    pub async fn cancel(self) -> Option<T> {
        self.inner.cancel().await
    }

    /// A handle whose output is `None` if the task is cancelled, where this one panics.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(std::future::pending::<()>()).fallible();
    /// drop(executor);
    /// assert_eq!(aqueduct::block_on(task), None);
    /// ```
    pub fn fallible(self) -> FallibleTask<T> {
        self.inner
    }

    /// Whether the task has ended: awaiting it would not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.inner).poll(cx)) {
            Some(output) => Poll::Ready(output),
            None => panic!(
                "the task was cancelled before it completed, because its executor was dropped: keep the executor, or await \
                 `Task::fallible`"
            ),
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("finished", &self.is_finished()).finish()
    }
}

/// A [`Task`] whose output is `None` if it is cancelled. Made by [`Task::fallible`]; dropping it cancels the task, too.
#[must_use = "a task is cancelled when its handle is dropped: `detach` it to let it go on"]
pub struct FallibleTask<T> {
    inner: Inner<T>,
}

enum Inner<T> {
    Shared {
        handle: Handle<T>,
        /// A waker has been left with the task.
        polled: bool,
    },
    Local(JoinHandle<Output<T>>),
    /// Detached: nothing is left to cancel.
    Gone,
}

impl<T> FallibleTask<T> {
    /// As [`Task::detach`].
    pub fn detach(mut self) {
        self.let_go();
    }

    /// As [`Task::cancel`].
    pub async fn cancel(self) -> Option<T> {
        self.request_cancel();
        self.await
    }

    /// As [`Task::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &self.inner {
            Inner::Shared { handle, .. } => handle.is_finished(),
            Inner::Local(handle) => handle.is_finished(),
            Inner::Gone => true,
        }
    }

    fn request_cancel(&self) {
        match &self.inner {
            Inner::Shared { handle, .. } if !handle.is_finished() => handle.metadata().cancel(),
            Inner::Local(handle) if !handle.is_finished() => handle.cancel(),
            _ => {}
        }
    }

    /// Gives up the handle, and takes back the waker that it was polled with: async-task would keep it until the task ends.
    fn let_go(&mut self) {
        match mem::replace(&mut self.inner, Inner::Gone) {
            Inner::Shared { mut handle, polled } => {
                if polled && !handle.is_finished() {
                    // What it may give is dropped here, as `detach` would.
                    let _ = Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop()));
                }
                handle.detach();
            }
            // Dropping it detaches.
            Inner::Local(_) | Inner::Gone => {}
        }
    }
}

impl<T> Future for FallibleTask<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut self.inner {
            Inner::Shared { handle, polled } => {
                *polled = true;
                match ready!(Pin::new(handle).poll(cx)).take() {
                    Ok(output) => Poll::Ready(Some(output)),
                    Err(Failure::Cancelled) => Poll::Ready(None),
                    Err(Failure::Panicked(payload)) => std::panic::resume_unwind(payload),
                }
            }
            Inner::Local(handle) => match ready!(Pin::new(handle).poll(cx)) {
                Ok(output) => Poll::Ready(Some(output.into_value())),
                Err(error) if error.is_cancelled() => Poll::Ready(None),
                Err(error) => error.resume(),
            },
            Inner::Gone => unreachable!("a detached handle is not polled: `detach` takes it"),
        }
    }
}

impl<T> Drop for FallibleTask<T> {
    fn drop(&mut self) {
        self.request_cancel();
        self.let_go();
    }
}

impl<T> fmt::Debug for FallibleTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallibleTask").field("finished", &self.is_finished()).finish()
    }
}
