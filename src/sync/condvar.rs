//! Waiting for a change of what a mutex guards.

#![forbid(unsafe_code)]

use super::monitor::{Enrolment, Monitor};
use super::mutex::{Lock, MutexGuard};
use super::signal::{Listener, Signal};
use crate::time::deadline_after;
use crate::wait::committed::{Committed, complete};
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Lets those who hold a [`Mutex`](super::Mutex) wait until the guarded value has changed.
///
/// A wait unlocks the mutex and enrols in one step, and locks it again before it returns. Look at the value in a loop, or use
/// [`wait_while`](Self::wait_while): between the notification and the lock others may have changed it again.
///
/// # Fairness
/// [`notify_one`](Self::notify_one) releases whoever has waited longest. A notification whose receiver is cancelled before it
/// has the lock again is passed on to the next.
///
/// # Examples
/// ```
/// use aqueduct::{go, sync::{Condvar, Mutex}};
/// use std::sync::Arc;
///
/// let shared = Arc::new((Mutex::new(0), Condvar::new()));
/// let counter = {
///     let shared = shared.clone();
///     go! {
///         for _ in 0..3 {
///             *shared.0.lock() += 1;
///             shared.1.notify_one();
///         }
///     }
/// };
/// let (count, changed) = &*shared;
/// let three = changed.wait_while(count.lock(), |count| *count < 3);
/// assert_eq!(*three, 3);
/// drop(three);
/// counter.join().unwrap();
/// ```
/// Async:
/// ```
/// # use aqueduct::sync::{Condvar, Mutex};
/// # aqueduct::block_on(async {
/// let (ready, changed) = (Mutex::new(false), Condvar::new());
/// let wait = async {
///     let mut guard = ready.lock_async().await;
///     while !*guard {
///         guard = changed.wait_async(guard).await;
///     }
/// };
/// let set = async {
///     *ready.lock_async().await = true;
///     changed.notify_all();
/// };
/// futures::join!(wait, set);
/// # });
/// ```
pub struct Condvar {
    signal: Monitor<Signal>,
}

/// How a timed wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// By a notification.
    Notified,
    /// The time was up.
    TimedOut,
}

impl Condvar {
    const_fn! {
        /// Nobody waits.
        #[must_use]
        pub const fn new() -> Self {
            Self { signal: Monitor::new(Signal::new(false)) }
        }
    }

    /// Unlocks the mutex, waits for a notification, and locks it again.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here, with the mutex unlocked; a notification that it got is passed on: *nothing happened, place
    /// in the queue lost*.
    ///
    /// # Panics
    /// When waiting is [forbidden](crate::wait::forbid).
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.wait_until(guard, None).0
    }

    /// Waits for as long as `condition` holds. It is called with the mutex locked, the first time at once.
    ///
    /// # Cancel safety
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// As [`wait`](Self::wait), but for a notification within `timeout`. Locking again takes the time it takes.
    ///
    /// # Cancel safety
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```
    /// use aqueduct::sync::{Condvar, Mutex, Woken};
    /// use std::time::Duration;
    ///
    /// let mutex = Mutex::new(());
    /// let (_guard, woken) = Condvar::new().wait_timeout(mutex.lock(), Duration::from_millis(1));
    /// assert_eq!(woken, Woken::TimedOut);
    /// ```
    #[track_caller]
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, Woken) {
        self.wait_deadline(guard, deadline_after(timeout))
    }

    /// As [`wait`](Self::wait), but for a notification before `deadline`. Locking again takes the time it takes.
    ///
    /// # Cancel safety
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_deadline<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> (MutexGuard<'a, T>, Woken) {
        self.wait_until(guard, Some(deadline))
    }

    /// The future form of [`wait`](Self::wait). The mutex is unlocked when it is first polled.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it leaves the mutex unlocked, and passes a notification that it got on: *nothing happened,
    /// place in the queue lost*.
    pub fn wait_async<'a, T: ?Sized>(&'a self, guard: MutexGuard<'a, T>) -> WaitForSignal<'a, T> {
        WaitForSignal {
            listening: Enrolment::revocable(&self.signal, Listener::NEW),
            locking: MutexGuard::mutex(&guard).lock_async(),
            guard: Some(guard),
            released: Released { condvar: self, by: None },
        }
    }

    /// Releases the party that has waited longest. Nobody waiting: nothing happens.
    pub fn notify_one(&self) {
        self.signal.notify_one();
    }

    /// Releases all who wait now.
    pub fn notify_all(&self) {
        self.signal.notify_all();
    }

    #[track_caller]
    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, T>, Woken) {
        let mutex = MutexGuard::mutex(&guard);
        let enrolment = pin!(Enrolment::new(&self.signal, Listener::NEW, true));
        let mut waiting = Waiting { guard: Some(guard), enrolment: enrolment.as_ref() };
        let by = complete(&mut waiting, deadline).ok();
        drop(waiting);
        let released = Released { condvar: self, by };
        let guard = mutex.lock();
        (guard, if released.used() { Woken::Notified } else { Woken::TimedOut })
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}

/// A notification on its way to somebody who has to lock the mutex first; passed on if that does not come about.
#[derive(Debug)]
struct Released<'a> {
    condvar: &'a Condvar,
    by: Option<Listener>,
}

impl Released<'_> {
    /// The mutex is locked. Whether there was a notification.
    fn used(mut self) -> bool {
        self.by.take().is_some()
    }
}

impl Drop for Released<'_> {
    fn drop(&mut self) {
        if let Some(listener) = self.by.take() {
            self.condvar.signal.pass_on(listener);
        }
    }
}

/// Enrols, then unlocks: what is notified by whoever locks the mutex next is not missed.
struct Waiting<'a, 'e, 'c, T: ?Sized> {
    guard: Option<MutexGuard<'a, T>>,
    enrolment: Pin<&'e Enrolment<&'c Monitor<Signal>>>,
}

impl<T: ?Sized> Committed for Waiting<'_, '_, '_, T> {
    type Output = Listener;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Listener> {
        let poll = self.enrolment.poll_at_once(cx);
        drop(self.guard.take());
        poll
    }

    fn withdraw(&mut self) -> Option<Listener> {
        self.enrolment.withdraw()
    }
}

pin_project_lite::pin_project! {
    /// Future of [`Condvar::wait_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct WaitForSignal<'a, T: ?Sized> {
        #[pin]
        listening: Enrolment<&'a Monitor<Signal>>,
        #[pin]
        locking: Lock<'a, T>,
        guard: Option<MutexGuard<'a, T>>,
        released: Released<'a>,
    }
}

impl<'a, T: ?Sized> Future for WaitForSignal<'a, T> {
    type Output = MutexGuard<'a, T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.released.by.is_none() {
            let poll = this.listening.as_ref().poll_at_once(cx);
            drop(this.guard.take());
            this.released.by = Some(ready!(poll));
        }
        let guard = ready!(this.locking.poll(cx));
        mem::take(&mut this.released.by);
        Poll::Ready(guard)
    }
}

impl<T: ?Sized> fmt::Debug for WaitForSignal<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitForSignal").field("released", &self.released).finish_non_exhaustive()
    }
}
