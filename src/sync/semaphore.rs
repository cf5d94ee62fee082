//! A counting semaphore.

#![forbid(unsafe_code)]

use super::monitor::{Enrolment, Hold, Monitor};
use super::permits::{MAX, Overflow, Permits, Wanted};
use crate::time::deadline_after;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Permits, handed out in the order in which they are asked for.
///
/// # Fairness
/// Strict: permits go to whoever stands first in line, whatever others ask for. Who asks for many is not passed by those who ask
/// for few, so a large request holds up the small ones behind it until it is granted, or goes away.
///
/// # Panics and cancellation
/// A permit is given back when its [`Permit`] is dropped, by a panic or a cancellation too.
///
/// # Examples
/// At most two at a time:
/// ```
/// use aqueduct::{go, sync::Semaphore};
/// use std::sync::Arc;
///
/// let semaphore = Arc::new(Semaphore::new(2));
/// let tasks: Vec<_> = (0..4)
///     .map(|i| {
///         let semaphore = semaphore.clone();
///         go! {
///             let _permit = semaphore.acquire().unwrap();
///             aqueduct::yield_now();
///             i
///         }
///     })
///     .collect();
/// let sum: i32 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
/// assert_eq!(sum, 6);
/// assert_eq!(semaphore.available(), 2);
/// ```
/// Async:
/// ```
/// # aqueduct::block_on(async {
/// let semaphore = aqueduct::sync::Semaphore::new(3);
/// let two = semaphore.acquire_many_async(2).await.unwrap();
/// assert_eq!((two.count(), semaphore.available()), (2, 1));
/// # });
/// ```
pub struct Semaphore {
    permits: Monitor<Permits>,
}

impl Semaphore {
    /// The most permits that a semaphore can have, those that are free and those that are out.
    pub const MAX_PERMITS: usize = MAX;

    const_fn! {
        /// A semaphore of so many permits.
        ///
        /// # Panics
        /// When it is more than [`MAX_PERMITS`](Self::MAX_PERMITS).
        #[track_caller]
        pub const fn new(permits: usize) -> Self {
            assert!(permits <= MAX, "a semaphore cannot have so many permits");
            Self { permits: Monitor::of_permits(permits) }
        }
    }

    /// Waits for one permit.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened, place in the queue lost*.
    ///
    /// # Errors
    /// [`Closed`] when the semaphore is, or is closed meanwhile.
    ///
    /// # Panics
    /// When it would wait and waiting is [forbidden](crate::wait::forbid).
    #[track_caller]
    pub fn acquire(&self) -> Result<Permit<'_>, Closed> {
        self.acquire_many(1)
    }

    /// Waits for `count` permits at once.
    ///
    /// # Blocking
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened, place in the queue lost*.
    ///
    /// # Errors
    /// [`Closed`] when the semaphore is, or is closed meanwhile.
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> Result<Permit<'_>, Closed> {
        match self.permits.wait(Wanted::new(count), None) {
            Ok(wanted) => self.granted(wanted, count),
            Err(_) => unreachable!("a wait without a deadline ends with the permits"),
        }
    }

    /// The future form of [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened, place in the queue lost*.
    pub fn acquire_async(&self) -> Acquire<'_> {
        self.acquire_many_async(1)
    }

    /// The future form of [`acquire_many`](Self::acquire_many).
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened, place in the queue lost*.
    pub fn acquire_many_async(&self, count: usize) -> Acquire<'_> {
        let enrolment = Enrolment::revocable(&self.permits, Wanted::new(count));
        Acquire { semaphore: self, count, enrolment }
    }

    /// A permit if one is free and nobody waits. Never waits.
    ///
    /// # Errors
    /// Which of the two it is.
    pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// `count` permits if they are free and nobody waits. Never waits.
    ///
    /// # Errors
    /// Which of the two it is.
    pub fn try_acquire_many(&self, count: usize) -> Result<Permit<'_>, TryAcquireError> {
        match self.permits.try_now(Wanted::new(count)) {
            Some(wanted) => Ok(self.granted(wanted, count)?),
            None => Err(TryAcquireError::NoPermits),
        }
    }

    /// As [`acquire`](Self::acquire), but gives up after `timeout`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    ///
    /// # Errors
    /// Closed, or too late.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::sync::{AcquireTimeoutError, Semaphore};
    /// use std::time::Duration;
    ///
    /// let semaphore = Semaphore::new(0);
    /// let error = semaphore.acquire_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(error, AcquireTimeoutError::Timeout);
    /// ```
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, AcquireTimeoutError> {
        self.acquire_deadline(deadline_after(timeout))
    }

    /// As [`acquire`](Self::acquire), but gives up at `deadline`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    ///
    /// # Errors
    /// Closed, or too late.
    #[track_caller]
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<Permit<'_>, AcquireTimeoutError> {
        self.acquire_many_deadline(1, deadline)
    }

    /// As [`acquire_many`](Self::acquire_many), but gives up at `deadline`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    ///
    /// # Errors
    /// Closed, or too late.
    #[track_caller]
    pub fn acquire_many_deadline(
        &self,
        count: usize,
        deadline: Instant,
    ) -> Result<Permit<'_>, AcquireTimeoutError> {
        match self.permits.wait(Wanted::new(count), Some(deadline)) {
            Ok(wanted) => Ok(self.granted(wanted, count)?),
            Err(_) => Err(AcquireTimeoutError::Timeout),
        }
    }

    /// As [`acquire`](Self::acquire); the permit keeps the semaphore alive, so that it may go where no borrow can.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened, place in the queue lost*.
    ///
    /// # Errors
    /// [`Closed`] when the semaphore is, or is closed meanwhile.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::{go, sync::Semaphore};
    /// use std::sync::Arc;
    ///
    /// let semaphore = Arc::new(Semaphore::new(1));
    /// let permit = semaphore.acquire_owned().unwrap(); // here, before the task is started
    /// go!(drop(permit)).join().unwrap();
    /// assert_eq!(semaphore.available(), 1);
    /// ```
    #[track_caller]
    pub fn acquire_owned(self: &Arc<Self>) -> Result<OwnedPermit, Closed> {
        self.acquire().map(|permit| self.owned(permit))
    }

    /// The owned form of [`try_acquire`](Self::try_acquire).
    ///
    /// # Errors
    /// As there.
    pub fn try_acquire_owned(self: &Arc<Self>) -> Result<OwnedPermit, TryAcquireError> {
        self.try_acquire().map(|permit| self.owned(permit))
    }

    /// The future form of [`acquire_owned`](Self::acquire_owned); it borrows nothing.
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened, place in the queue lost*.
    pub fn acquire_owned_async(self: &Arc<Self>) -> AcquireOwned {
        AcquireOwned { enrolment: Enrolment::revocable(self.clone(), Wanted::new(1)) }
    }

    /// Adds permits, and wakes whom that helps.
    ///
    /// # Panics
    /// When it would be more than [`MAX_PERMITS`](Self::MAX_PERMITS); then none is added.
    #[track_caller]
    pub fn add(&self, count: usize) {
        if let Err(Overflow) = self.permits.add(count) {
            panic!("a semaphore cannot have so many permits");
        }
    }

    /// Takes up to `count` free permits away for good; how many it was.
    pub fn remove(&self, count: usize) -> usize {
        self.permits.remove(count)
    }

    /// How many permits are free.
    #[must_use]
    pub fn available(&self) -> usize {
        self.permits.free()
    }

    /// Closes it: whoever waits, and whoever comes, gets [`Closed`]. Permits that are out may still be given back.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(1);
    /// semaphore.close();
    /// assert!(semaphore.acquire().is_err());
    /// ```
    pub fn close(&self) {
        self.permits.close();
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    fn granted(&self, wanted: Wanted, count: usize) -> Result<Permit<'_>, Closed> {
        if wanted.is_refused() { Err(Closed(())) } else { Ok(Permit { semaphore: self, count }) }
    }

    fn owned(self: &Arc<Self>, permit: Permit<'_>) -> OwnedPermit {
        let count = permit.count;
        mem::forget(permit);
        OwnedPermit { semaphore: self.clone(), count }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Permits of a [`Semaphore`], given back when dropped.
#[derive(Debug)]
#[must_use = "the permit is given back when it is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

impl Permit<'_> {
    /// How many permits it stands for.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Never gives it back: the semaphore has so many permits less from now on.
    pub fn forget(self) {
        self.semaphore.permits.write_off(self.count);
        mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.permits.release(self.count);
    }
}

/// Permits of a [`Semaphore`] in an [`Arc`], given back when dropped.
#[derive(Debug)]
#[must_use = "the permit is given back when it is dropped"]
pub struct OwnedPermit {
    semaphore: Arc<Semaphore>,
    count: usize,
}

impl OwnedPermit {
    /// How many permits it stands for.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Never gives it back: the semaphore has so many permits less from now on.
    pub fn forget(mut self) {
        self.semaphore.permits.write_off(mem::take(&mut self.count));
    }
}

impl Drop for OwnedPermit {
    fn drop(&mut self) {
        if self.count > 0 {
            self.semaphore.permits.release(self.count);
        }
    }
}

pin_project_lite::pin_project! {
    /// Future of [`Semaphore::acquire_async`] and [`Semaphore::acquire_many_async`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Acquire<'a> {
        semaphore: &'a Semaphore,
        count: usize,
        #[pin]
        enrolment: Enrolment<&'a Monitor<Permits>>,
    }
}

impl<'a> Future for Acquire<'a> {
    type Output = Result<Permit<'a>, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.enrolment.as_ref().poll(cx).map(|wanted| this.semaphore.granted(wanted, *this.count))
    }
}

impl Hold for Arc<Semaphore> {
    type Rule = Permits;

    fn monitor(&self) -> &Monitor<Permits> {
        &self.permits
    }
}

pin_project_lite::pin_project! {
    /// Future of [`Semaphore::acquire_owned_async`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct AcquireOwned {
        #[pin]
        enrolment: Enrolment<Arc<Semaphore>>,
    }
}

impl Future for AcquireOwned {
    type Output = Result<OwnedPermit, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let enrolment = self.project().enrolment;
        let enrolment = enrolment.as_ref();
        let wanted = std::task::ready!(enrolment.poll(cx));
        let semaphore = enrolment.get_ref().holder();
        Poll::Ready(semaphore.granted(wanted, 1).map(|permit| semaphore.owned(permit)))
    }
}

/// The semaphore is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed(());

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore is closed")
    }
}

impl Error for Closed {}

/// Why there is no permit now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryAcquireError {
    /// Too few are free, or others wait.
    NoPermits,
    /// The semaphore is closed.
    Closed,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPermits => "no permits are free",
            Self::Closed => "the semaphore is closed",
        })
    }
}

impl Error for TryAcquireError {}

impl From<Closed> for TryAcquireError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// Why there was no permit in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireTimeoutError {
    /// The time was up.
    Timeout,
    /// The semaphore is closed.
    Closed,
}

impl fmt::Display for AcquireTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no permits were free in time",
            Self::Closed => "the semaphore is closed",
        })
    }
}

impl Error for AcquireTimeoutError {}

impl From<Closed> for AcquireTimeoutError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}
