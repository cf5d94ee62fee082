//! One moment to wait for: [`Timer`], and [`sleep`] for Go-style code.

#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::deadline_after;
use crate::reactor::TimerEntry;
use crate::wait;

/// A future that completes at a moment.
///
/// It is registered, with the worker that polls it, at its first poll; it completes at once when polled again
/// after that. If its moment has passed before the first poll, that poll still returns `Pending` once, so
/// that a loop of zero-length sleeps lets others run.
///
/// # Cancel safety
/// *Nothing happened*: a dropped timer leaves nothing behind.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use aqueduct::time::Timer;
///
/// aqueduct::block_on(async {
///     let start = Instant::now();
///     Timer::after(Duration::from_millis(2)).await;
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// });
/// ```
#[must_use = "futures do nothing unless they are polled"]
pub struct Timer {
    entry: TimerEntry,
    /// It has been polled since it was made or reset.
    polled: bool,
}

impl Timer {
    /// A timer that completes `delay` from now.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use aqueduct::{Wait, time::Timer};
    ///
    /// Timer::after(Duration::from_millis(1)).wait();
    /// ```
    pub fn after(delay: Duration) -> Timer {
        Timer::at(deadline_after(delay))
    }

    /// A timer that completes at `deadline`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use aqueduct::{Wait, time::Timer};
    ///
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// Timer::at(deadline).wait();
    /// assert!(Instant::now() >= deadline);
    /// ```
    pub fn at(deadline: Instant) -> Timer {
        Timer { entry: TimerEntry::new(deadline), polled: false }
    }

    /// When the timer completes, or did.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use aqueduct::time::Timer;
    ///
    /// let now = Instant::now();
    /// assert_eq!(Timer::at(now).deadline(), now);
    /// ```
    pub fn deadline(&self) -> Instant {
        self.entry.deadline()
    }

    /// Sets another deadline, earlier or later, also after the timer has completed. Takes effect at the next
    /// poll: reset a timer that some task waits for from within that task.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use aqueduct::time::Timer;
    ///
    /// aqueduct::block_on(async {
    ///     let mut timer = Timer::after(Duration::from_secs(3600));
    ///     timer.reset(Instant::now());
    ///     timer.await;
    /// });
    /// ```
    pub fn reset(&mut self, deadline: Instant) {
        self.entry.reset(deadline);
        self.polled = false;
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let first = !std::mem::replace(&mut self.polled, true);
        match self.entry.poll_expired(cx) {
            Poll::Ready(()) if first => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            result => result,
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("deadline", &self.deadline()).finish_non_exhaustive()
    }
}

/// Waits for `duration`. In async code, await a [`Timer`] instead.
///
/// A zero duration lets others run, once.
///
/// # Blocking
/// Suspends the calling coroutine, with the task it runs; outside the scheduler, blocks the thread.
///
/// # Cancel safety
/// *Nothing happened*.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use aqueduct::time;
///
/// let start = Instant::now();
/// time::sleep(Duration::from_millis(2));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
#[track_caller]
pub fn sleep(duration: Duration) {
    sleep_until(deadline_after(duration));
}

/// Waits until `deadline`. In async code, await [`Timer::at`] instead.
///
/// A deadline that has passed lets others run, once.
///
/// # Blocking
/// Suspends the calling coroutine, with the task it runs; outside the scheduler, blocks the thread.
///
/// # Cancel safety
/// *Nothing happened*.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use aqueduct::time;
///
/// let deadline = Instant::now() + Duration::from_millis(2);
/// time::sleep_until(deadline);
/// assert!(Instant::now() >= deadline);
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) {
    wait::rest_until(deadline);
}
