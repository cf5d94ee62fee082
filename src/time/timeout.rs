//! A future that must complete in time: [`timeout`].

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::deadline_after;
use crate::reactor::TimerEntry;

/// Runs `future` for at most `limit`, counted from this call.
///
/// The future is polled first: one that is ready costs no timer, and wins even when the limit has passed.
/// When the limit passes, [`Elapsed`] is returned; the future goes with the [`Timeout`] when that is dropped.
///
/// A wait in Go style *inside* the future's poll suspends the whole task, the timeout with it: it then cannot
/// fire until that wait is over.
///
/// # Errors
/// [`Elapsed`] if the limit has passed. `?` turns it into an [`io::Error`] of kind `TimedOut` where one is
/// wanted.
///
/// # Cancel safety
/// That of the future. The timer's: *nothing happened*.
///
/// # Examples
///
/// ```
/// use std::{future, time::Duration};
/// use aqueduct::{Wait, time};
///
/// aqueduct::block_on(async {
///     assert_eq!(time::timeout(Duration::from_secs(1), async { 7 }).await, Ok(7));
/// });
/// // Go-style:
/// let limit = Duration::from_millis(1);
/// assert!(time::timeout(limit, future::pending::<()>()).wait().is_err());
/// ```
pub fn timeout<F: IntoFuture>(limit: Duration, future: F) -> Timeout<F::IntoFuture> {
    timeout_at(deadline_after(limit), future)
}

/// Runs `future` until `deadline` at most; as [`timeout`] in all else.
///
/// # Errors
/// [`Elapsed`] if the deadline has passed.
///
/// # Cancel safety
/// That of the future. The timer's: *nothing happened*.
///
/// # Examples
///
/// ```
/// use std::{future, time::{Duration, Instant}};
/// use aqueduct::time;
///
/// aqueduct::block_on(async {
///     let deadline = Instant::now() + Duration::from_millis(1);
///     assert!(time::timeout_at(deadline, future::pending::<()>()).await.is_err());
/// });
/// ```
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), entry: TimerEntry::new(deadline) }
}

pin_project! {
    /// Future of [`timeout`] and [`timeout_at`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        entry: TimerEntry,
    }
}

impl<F> Timeout<F> {
    /// When the limit passes.
    pub fn deadline(&self) -> Instant {
        self.entry.deadline()
    }

    /// Gives the future back, without its limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use aqueduct::time;
    ///
    /// let limited = time::timeout(Duration::from_millis(1), async { 7 });
    /// assert_eq!(aqueduct::block_on(limited.into_inner()), 7);
    /// ```
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => this.entry.poll_expired(cx).map(|()| Err(Elapsed(()))),
        }
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("deadline", &self.deadline()).finish_non_exhaustive()
    }
}

/// The error of a [`timeout`]: time was up before the future was ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed(());

impl Elapsed {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit has passed")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
