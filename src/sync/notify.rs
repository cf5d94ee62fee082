//! Notifications without a value.

#![forbid(unsafe_code)]

use super::monitor::{Enrolment, Monitor};
use super::signal::{Listener, Signal};
use crate::time::{Elapsed, deadline_after};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Wakes one or all of those who wait. One notification is kept when nobody waits.
///
/// [`notify_one`](Self::notify_one) releases whoever has waited longest, or makes the next wait return at once; two of them that
/// nobody waited for are one. [`notify_all`](Self::notify_all) releases those who wait now and keeps nothing.
///
/// # Examples
/// ```
/// use aqueduct::{go, sync::Notify};
/// use std::sync::Arc;
///
/// let notify = Arc::new(Notify::new());
/// let other = notify.clone();
/// let waiting = go!(other.wait());
/// notify.notify_one(); // before or after the wait begins
/// waiting.join().unwrap();
/// # aqueduct::block_on(async {
/// notify.notify_one();
/// notify.wait_async().await;
/// # });
/// ```
pub struct Notify {
    signal: Monitor<Signal>,
}

impl Notify {
    const_fn! {
        /// Nobody waits, and no notification is kept.
        #[must_use]
        pub const fn new() -> Self {
            Self { signal: Monitor::new(Signal::new(true)) }
        }
    }

    /// Releases the party that has waited longest; nobody waiting, the next one to wait.
    pub fn notify_one(&self) {
        self.signal.notify_one();
    }

    /// Releases all who wait now.
    pub fn notify_all(&self) {
        self.signal.notify_all();
    }

    /// Waits for a notification.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened, place in the queue lost*.
    ///
    /// # Panics
    /// When it would wait and waiting is [forbidden](crate::wait::forbid).
    #[track_caller]
    pub fn wait(&self) {
        let Ok(_) = self.signal.wait(Listener::NEW, None) else {
            unreachable!("a wait without a deadline ends with a notification")
        };
    }

    /// As [`wait`](Self::wait), but gives up after `timeout`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    ///
    /// # Errors
    /// [`Elapsed`] when no notification came.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let notify = aqueduct::sync::Notify::new();
    /// assert!(notify.wait_timeout(Duration::from_millis(1)).is_err());
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), Elapsed> {
        self.wait_deadline(deadline_after(timeout))
    }

    /// As [`wait`](Self::wait), but gives up at `deadline`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    ///
    /// # Errors
    /// [`Elapsed`] when no notification came.
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.signal.wait(Listener::NEW, Some(deadline)).map(drop).map_err(|_| Elapsed::new())
    }

    /// Takes the notification that was kept. False: there is none. Never waits.
    pub fn try_wait(&self) -> bool {
        self.signal.try_now(Listener::NEW).is_some()
    }

    /// The future form of [`wait`](Self::wait). A [`notify_all`](Self::notify_all) after this call counts, also before the future
    /// is first polled.
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened, place in the queue lost*.
    pub fn wait_async(&self) -> Notified<'_> {
        Notified { enrolment: Enrolment::revocable(&self.signal, self.signal.look(Signal::listener)) }
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notify")
    }
}

pin_project_lite::pin_project! {
    /// Future of [`Notify::wait_async`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Notified<'a> {
        #[pin]
        enrolment: Enrolment<&'a Monitor<Signal>>,
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().enrolment.as_ref().poll(cx).map(drop)
    }
}
