//! Many readers or one writer: very many permits beside a value; a reader takes one, a writer all.

use super::monitor::{Enrolment, Monitor};
use super::permits::{MAX, Permits, Wanted};
use crate::time::deadline_after;
use std::cell::UnsafeCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A value that many parties may read, or one may change, at a time.
///
/// # Fairness
/// Strict: readers and writers are served in the order in which they came. A reader that comes while a writer waits stands
/// behind it, so writers are not starved; readers that stand in a row are let in together. Hence do not read-lock again what you
/// have read-locked: with a writer in between, the two wait for each other.
///
/// # Panics and cancellation
/// There is no poisoning: as with [`Mutex`](super::Mutex).
///
/// # Examples
/// ```
/// use aqueduct::sync::RwLock;
///
/// let lock = RwLock::new(vec![1]);
/// {
///     let (one, two) = (lock.read(), lock.read());
///     assert_eq!(one.len() + two.len(), 2);
/// }
/// lock.write().push(2);
/// # aqueduct::block_on(async {
/// lock.write_async().await.push(3);
/// assert_eq!(*lock.read_async().await, [1, 2, 3]);
/// # });
/// ```
pub struct RwLock<T: ?Sized> {
    permits: Monitor<Permits>,
    value: UnsafeCell<T>,
}

const READ: usize = 1;
const WRITE: usize = MAX;

// SAFETY: sending the lock sends the value.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: readers share the value between threads (`T: Sync`); a writer on any thread may take it out (`T: Send`). A writer has
// all permits, so no other guard exists beside its own.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    const_fn! {
        /// An unlocked lock.
        pub const fn new(value: T) -> Self {
            Self { permits: Monitor::of_permits(MAX), value: UnsafeCell::new(value) }
        }
    }

    /// The value, for good.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until the value may be read.
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
    pub fn read(&self) -> ReadGuard<'_, T> {
        match self.permits.wait(Wanted::new(READ), None) {
            Ok(_) => self.read_guard(),
            Err(_) => unreachable!("a wait without a deadline ends with the lock"),
        }
    }

    /// Waits until the value may be changed.
    ///
    /// # Blocking
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened, place in the queue lost*.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn write(&self) -> WriteGuard<'_, T> {
        match self.permits.wait(Wanted::new(WRITE), None) {
            Ok(_) => self.write_guard(),
            Err(_) => unreachable!("a wait without a deadline ends with the lock"),
        }
    }

    /// As [`read`](Self::read), but gives up after `timeout`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let lock = aqueduct::sync::RwLock::new(());
    /// let _writer = lock.write();
    /// assert!(lock.read_timeout(Duration::from_millis(1)).is_none());
    /// assert!(lock.write_timeout(Duration::from_millis(1)).is_none());
    /// ```
    #[track_caller]
    pub fn read_timeout(&self, timeout: Duration) -> Option<ReadGuard<'_, T>> {
        self.read_deadline(deadline_after(timeout))
    }

    /// As [`write`](Self::write), but gives up after `timeout`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    #[track_caller]
    pub fn write_timeout(&self, timeout: Duration) -> Option<WriteGuard<'_, T>> {
        self.write_deadline(deadline_after(timeout))
    }

    /// As [`read`](Self::read), but gives up at `deadline`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    #[track_caller]
    pub fn read_deadline(&self, deadline: Instant) -> Option<ReadGuard<'_, T>> {
        self.permits.wait(Wanted::new(READ), Some(deadline)).ok().map(|_| self.read_guard())
    }

    /// As [`write`](Self::write), but gives up at `deadline`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened, place in the queue lost*.
    #[track_caller]
    pub fn write_deadline(&self, deadline: Instant) -> Option<WriteGuard<'_, T>> {
        self.permits.wait(Wanted::new(WRITE), Some(deadline)).ok().map(|_| self.write_guard())
    }

    /// Read access if nobody writes and nobody waits. Never waits.
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        self.permits.try_now(Wanted::new(READ)).map(|_| self.read_guard())
    }

    /// Write access if nobody has any. Never waits.
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        self.permits.try_now(Wanted::new(WRITE)).map(|_| self.write_guard())
    }

    /// The future form of [`read`](Self::read).
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened, place in the queue lost*.
    pub fn read_async(&self) -> Read<'_, T> {
        Read { lock: self, enrolment: Enrolment::revocable(&self.permits, Wanted::new(READ)) }
    }

    /// The future form of [`write`](Self::write).
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened, place in the queue lost*.
    pub fn write_async(&self) -> Write<'_, T> {
        Write { lock: self, enrolment: Enrolment::revocable(&self.permits, Wanted::new(WRITE)) }
    }

    /// The value, without locking: nobody else can have access.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// One permit has been taken.
    fn read_guard(&self) -> ReadGuard<'_, T> {
        ReadGuard { lock: self, access: PhantomData }
    }

    /// All permits have been taken.
    fn write_guard(&self) -> WriteGuard<'_, T> {
        WriteGuard { lock: self, access: PhantomData }
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_read() {
            Some(guard) => f.debug_struct("RwLock").field("value", &&*guard).finish(),
            None => f.debug_struct("RwLock").field("value", &format_args!("<locked>")).finish(),
        }
    }
}

/// Read access to the value of a [`RwLock`], until dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct ReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    access: PhantomData<&'a T>,
}

impl<T: ?Sized> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard has one permit, so nobody has all: nobody writes.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.permits.release(READ);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Write access to the value of a [`RwLock`], until dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct WriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// `Sync` only if `T` is.
    access: PhantomData<&'a mut T>,
}

impl<'a, T: ?Sized> WriteGuard<'a, T> {
    /// Goes on reading, and lets other readers in; nobody writes in between.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::sync::{RwLock, WriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writer = lock.write();
    /// *writer += 1;
    /// let reader = WriteGuard::downgrade(writer);
    /// assert_eq!(*lock.read() + *reader, 4);
    /// ```
    pub fn downgrade(guard: Self) -> ReadGuard<'a, T> {
        let lock = guard.lock;
        mem::forget(guard);
        lock.permits.release(WRITE - READ);
        lock.read_guard()
    }
}

impl<T: ?Sized> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard has all permits; access lasts as long as the borrow of it.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.permits.release(WRITE);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

pin_project_lite::pin_project! {
    /// Future of [`RwLock::read_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Read<'a, T: ?Sized> {
        lock: &'a RwLock<T>,
        #[pin]
        enrolment: Enrolment<&'a Monitor<Permits>>,
    }
}

impl<'a, T: ?Sized> Future for Read<'a, T> {
    type Output = ReadGuard<'a, T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.enrolment.as_ref().poll(cx).map(|_| this.lock.read_guard())
    }
}

impl<T: ?Sized> fmt::Debug for Read<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").field("enrolment", &self.enrolment).finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    /// Future of [`RwLock::write_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Write<'a, T: ?Sized> {
        lock: &'a RwLock<T>,
        #[pin]
        enrolment: Enrolment<&'a Monitor<Permits>>,
    }
}

impl<'a, T: ?Sized> Future for Write<'a, T> {
    type Output = WriteGuard<'a, T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.enrolment.as_ref().poll(cx).map(|_| this.lock.write_guard())
    }
}

impl<T: ?Sized> fmt::Debug for Write<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").field("enrolment", &self.enrolment).finish_non_exhaustive()
    }
}
