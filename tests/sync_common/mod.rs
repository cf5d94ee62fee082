//! What the tests of `aqueduct::sync` share: futures polled by hand.
#![allow(dead_code, reason = "each test crate uses its own share")]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A boxed future that has been polled once and is pending.
#[track_caller]
pub(crate) fn enrolled<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    assert!(poll_once(future.as_mut()).is_pending(), "it did not have to wait");
    future
}

/// The output of a future that is ready.
#[track_caller]
pub(crate) fn ready<F: Future>(mut future: Pin<Box<F>>) -> F::Output {
    match poll_once(future.as_mut()) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is not ready"),
    }
}

#[track_caller]
pub(crate) fn assert_pending<F: Future>(future: &mut Pin<Box<F>>) {
    assert!(poll_once(future.as_mut()).is_pending(), "it is ready");
}
