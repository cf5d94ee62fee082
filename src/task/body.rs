//! What is scheduled besides futures: closures, as futures.

use crate::task::cancel;
use crate::task::header::Header;
use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

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

/// Whether what unwound out of a task is a cancellation that we threw, rather than a panic.
pub(crate) fn is_own_cancellation(header: &Header, payload: &(dyn Any + Send)) -> bool {
    header.cancel.is_requested() && cancel::is_cancelled(payload)
}
