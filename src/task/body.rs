//! The future that is scheduled: it owns the user's future and never lets it unwind, or be dropped, into async-task.
//!
//! async-task's own cancellation is never used: it cannot reach a poll that is suspended in a wait, it discards an output
//! that is already there, and it aborts the process when a destructor unwinds. Instead the body looks at the task's flag
//! before each poll, drops the user's future itself, under `catch_unwind` and shielded from cancellation, and returns.

use crate::runtime::current;
use crate::task::cancel;
use crate::task::header::{Header, State};
use crate::task::join::Outcome;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

pin_project_lite::pin_project! {
    pub(crate) struct Body<F> {
        header: NonNull<Header>,
        #[pin]
        future: Option<F>,
    }
}

// SAFETY: the pointer is to the header in this body's own allocation, and `Header` is Sync; the future decides the rest.
unsafe impl<F: Send> Send for Body<F> {}

impl<F> Body<F> {
    /// `header` is the metadata of the allocation that this body is placed in.
    pub(crate) fn new(header: &Header, future: F) -> Self {
        Self { header: NonNull::from(header), future: Some(future) }
    }
}

impl<F: Future> Future for Body<F> {
    type Output = Outcome<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // SAFETY: the metadata lives in the same allocation as this body and is dropped after it.
        let header = unsafe { this.header.as_ref() };
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            unreachable!("async-task does not poll a task that has completed");
        };
        let mut outcome = if header.cancel.is_requested() {
            Outcome::cancelled(header)
        } else {
            match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => {
                    // A wake during the poll is scheduled after this, and says `Ready`.
                    header.set_state(State::Waiting);
                    return Poll::Pending;
                }
                Ok(Poll::Ready(value)) => Outcome::done(header, value),
                Err(payload) => Outcome::unwound(header, payload),
            }
        };
        let destructors = || {
            this.future.set(None);
            drop(header.take_extras());
        };
        if let Err(payload) = drop_shielded(header, destructors) {
            outcome.replace(Outcome::unwound(header, payload));
        }
        header.set_ended();
        current::mark_completed(header);
        Poll::Ready(outcome)
    }
}

/// Runs a destructor: what it throws is returned, and no cancellation is thrown inside it.
fn drop_shielded(header: &Header, destructor: impl FnOnce()) -> Result<(), Box<dyn Any + Send>> {
    header.shields.set(header.shields.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(destructor));
    header.shields.set(header.shields.get() - 1);
    result
}

impl<F> fmt::Debug for Body<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

/// A closure as a future that is ready at its only poll.
pub(crate) struct Call<F>(Option<F>);

impl<F> Call<F> {
    pub(crate) fn new(function: F) -> Self {
        Self(Some(function))
    }
}

// Never pinned structurally: the closure is moved out before it is called.
impl<F> Unpin for Call<F> {}

impl<F: FnOnce() -> T, T> Future for Call<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        let function = self.0.take().expect("a closure is called once");
        Poll::Ready(function())
    }
}

/// What unwound out of a body: a cancellation that we threw, or a panic.
pub(crate) fn is_own_cancellation(header: &Header, payload: &(dyn Any + Send)) -> bool {
    header.cancel.is_requested() && cancel::is_cancelled(payload)
}
