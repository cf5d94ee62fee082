//! Mutual exclusion: a lock beside a value.

use super::exclusive::{Asked, Exclusive};
use super::monitor::{Enrolment, Hold, Monitor};
use crate::time::deadline_after;
use std::cell::UnsafeCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A value that one party at a time has access to.
///
/// Coroutines, futures and plain threads lock the same mutex; waiting for it never blocks a worker, and a [`MutexGuard`] may be
/// held across waits and `.await`s, and sent to another thread if `T` may.
///
/// # Fairness
/// Unlocked, it is free for whoever comes; the first in line is woken to look for itself, and keeps its place if it comes too late.
/// One that comes too late after a millisecond in line is handed the lock next, and nobody barges in before. So nobody starves,
/// coroutine, thread or future: each in line is passed by others for a millisecond, then until those before it have had their look
/// and a turn; and nobody waits for a switch while the mutex is free. The price: a future that has been woken, or handed the lock,
/// and is neither polled nor dropped holds up those behind it.
/// [`Semaphore::new(1)`](super::Semaphore) is strict always.
///
/// # Panics and cancellation
/// There is no poisoning. When the holder panics, or is cancelled, the guard's drop unlocks the mutex, and the next holder finds
/// the value as it was left: keep it whole at every wait and every call that may panic, or say in the value that it is not.
///
/// # Examples
/// Go-style:
/// ```
/// use aqueduct::{go, sync::Mutex};
/// use std::sync::Arc;
///
/// let total = Arc::new(Mutex::new(0));
/// let tasks: Vec<_> = (0..10)
///     .map(|i| {
///         let total = total.clone();
///         go!(*total.lock() += i)
///     })
///     .collect();
/// for task in tasks {
///     task.join().unwrap();
/// }
/// assert_eq!(*total.lock(), 45);
/// ```
/// Async:
/// ```
/// # aqueduct::block_on(async {
/// let mutex = aqueduct::sync::Mutex::new(1);
/// *mutex.lock_async().await += 1;
/// assert_eq!(*mutex.lock_async().await, 2);
/// # });
/// ```
#[repr(C)]
pub struct Mutex<T: ?Sized> {
    // The word that is locked stands last in it, and so mostly in one cache line with the value.
    lock: Monitor<Exclusive>,
    value: UnsafeCell<T>,
}

// SAFETY: sending the mutex sends the value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: `locked-is-exclusive` gives access to one guard at a time, on any thread: hence `T: Send`, and no need for `T: Sync`.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    const_fn! {
        /// An unlocked mutex.
        pub const fn new(value: T) -> Self {
            Self { lock: Monitor::unlocked(), value: UnsafeCell::new(value) }
        }
    }

    /// The value, for good.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the lock is had.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread. To lock a mutex that one holds already
    /// waits for ever.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened, place in the queue lost*.
    ///
    /// # Panics
    /// When it would wait and waiting is [forbidden](crate::wait::forbid).
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        match self.lock.wait(Asked::NEW, None) {
            Ok(_) => self.guard(),
            Err(_) => unreachable!("a wait without a deadline ends with the lock"),
        }
    }

    /// As [`lock`](Self::lock), but gives up after `timeout`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let mutex = aqueduct::sync::Mutex::new(());
    /// let guard = mutex.lock();
    /// assert!(mutex.lock_timeout(Duration::from_millis(1)).is_none());
    /// drop(guard);
    /// assert!(mutex.lock_timeout(Duration::from_millis(1)).is_some());
    /// ```
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Option<MutexGuard<'_, T>> {
        self.lock_deadline(deadline_after(timeout))
    }

    /// As [`lock`](Self::lock), but gives up at `deadline`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    #[track_caller]
    pub fn lock_deadline(&self, deadline: Instant) -> Option<MutexGuard<'_, T>> {
        self.lock.wait(Asked::NEW, Some(deadline)).ok().map(|_| self.guard())
    }

    /// The lock if it is free, and not due to somebody who has waited long. Never waits.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.lock.try_now(Asked::NEW).map(|_| self.guard())
    }

    /// The future form of [`lock`](Self::lock).
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened, place in the queue lost*.
    pub fn lock_async(&self) -> Lock<'_, T> {
        Lock { mutex: self, enrolment: Enrolment::revocable(&self.lock, Asked::NEW) }
    }

    /// As [`lock`](Self::lock); the guard keeps the mutex alive, so that it may go where no borrow can.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened, place in the queue lost*.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::{go, sync::Mutex};
    /// use std::sync::Arc;
    ///
    /// let mutex = Arc::new(Mutex::new(1));
    /// let mut guard = mutex.lock_owned();
    /// go!(*guard += 1).join().unwrap();
    /// assert_eq!(*mutex.lock(), 2);
    /// ```
    #[track_caller]
    pub fn lock_owned(self: &Arc<Self>) -> OwnedMutexGuard<T> {
        mem::forget(self.lock());
        OwnedMutexGuard { mutex: self.clone() }
    }

    /// The owned form of [`try_lock`](Self::try_lock).
    pub fn try_lock_owned(self: &Arc<Self>) -> Option<OwnedMutexGuard<T>> {
        self.lock.try_now(Asked::NEW).map(|_| OwnedMutexGuard { mutex: self.clone() })
    }

    /// The future form of [`lock_owned`](Self::lock_owned); it borrows nothing.
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened, place in the queue lost*.
    pub fn lock_owned_async(self: &Arc<Self>) -> LockOwned<T> {
        LockOwned { enrolment: Enrolment::revocable(Shared(self.clone()), Asked::NEW) }
    }

    /// Whether somebody holds the lock, or has been handed it.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    /// The value, without locking: nobody else can have access.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The lock has been taken.
    fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, access: PhantomData }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_struct("Mutex").field("value", &&*guard).finish(),
            None => f.debug_struct("Mutex").field("value", &format_args!("<locked>")).finish(),
        }
    }
}

/// Access to the value of a [`Mutex`]; unlocks it when dropped.
#[must_use = "the mutex is unlocked when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// `Sync` only if `T` is.
    access: PhantomData<&'a mut T>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex that is locked.
    pub fn mutex(guard: &Self) -> &'a Mutex<T> {
        guard.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard has the lock; access lasts as long as the borrow of it.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed exclusively.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.lock.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

pin_project_lite::pin_project! {
    /// Future of [`Mutex::lock_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Lock<'a, T: ?Sized> {
        mutex: &'a Mutex<T>,
        #[pin]
        enrolment: Enrolment<&'a Monitor<Exclusive>>,
    }
}

impl<'a, T: ?Sized> Future for Lock<'a, T> {
    type Output = MutexGuard<'a, T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.enrolment.as_ref().poll(cx).map(|_| this.mutex.guard())
    }
}

impl<T: ?Sized> fmt::Debug for Lock<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("enrolment", &self.enrolment).finish_non_exhaustive()
    }
}

/// Access to the value of a [`Mutex`] in an [`Arc`]; unlocks it when dropped.
#[must_use = "the mutex is unlocked when the guard is dropped"]
pub struct OwnedMutexGuard<T: ?Sized> {
    mutex: Arc<Mutex<T>>,
}

// SAFETY: the guard gives out `&T`; the lock keeps everybody else from the value. (Sent it may be if `T: Send`, by `Arc`.)
unsafe impl<T: ?Sized + Send + Sync> Sync for OwnedMutexGuard<T> {}

impl<T: ?Sized> OwnedMutexGuard<T> {
    /// The mutex that is locked.
    pub fn mutex(guard: &Self) -> &Arc<Mutex<T>> {
        &guard.mutex
    }
}

impl<T: ?Sized> Deref for OwnedMutexGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard has the lock; access lasts as long as the borrow of it.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for OwnedMutexGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed exclusively.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for OwnedMutexGuard<T> {
    fn drop(&mut self) {
        self.mutex.lock.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for OwnedMutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A counted handle of a mutex, to wait with.
struct Shared<T: ?Sized>(Arc<Mutex<T>>);

impl<T: ?Sized> Hold for Shared<T> {
    type Rule = Exclusive;

    fn monitor(&self) -> &Monitor<Exclusive> {
        &self.0.lock
    }
}

pin_project_lite::pin_project! {
    /// Future of [`Mutex::lock_owned_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct LockOwned<T: ?Sized> {
        #[pin]
        enrolment: Enrolment<Shared<T>>,
    }
}

impl<T: ?Sized> Future for LockOwned<T> {
    type Output = OwnedMutexGuard<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let enrolment = self.project().enrolment;
        let enrolment = enrolment.as_ref();
        enrolment.poll(cx).map(|_| OwnedMutexGuard { mutex: enrolment.holder().0.clone() })
    }
}

impl<T: ?Sized> fmt::Debug for LockOwned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockOwned").field("enrolment", &self.enrolment).finish()
    }
}
