//! A lock for a few instructions.

use crate::primitive::atomic::AtomicBool;
use crate::primitive::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::wait::{self, ForbidGuard};
use std::cell::UnsafeCell;
use std::fmt;
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::thread;

/// A value behind a lock that spins: for critical sections of a few instructions, which never wait.
///
/// Waiting is [forbidden](crate::wait::forbid) while it is held: a wait panics. So its holder is always running, on another
/// thread, and who finds it locked spins for a moment, then gives the processor to other threads, and spins again. The worker it
/// runs on does nothing else meanwhile. It is not fair, and not poisoned. To lock it twice in one task spins for ever.
///
/// When in doubt, use [`Mutex`](super::Mutex): it does not cost much more when it is free, and far less when it is not.
///
/// # Examples
/// ```
/// use aqueduct::sync::SpinLock;
///
/// static COUNTS: SpinLock<[u32; 2]> = SpinLock::new([0; 2]);
///
/// COUNTS.lock()[1] += 1;
/// assert_eq!(*COUNTS.lock(), [0, 1]);
/// ```
/// It does not lend itself to waiting:
/// ```
/// # use aqueduct::sync::SpinLock;
/// let task = aqueduct::go(|| {
///     let lock = SpinLock::new(());
///     let _guard = lock.lock();
///     aqueduct::yield_now();
/// });
/// assert!(task.join().unwrap_err().is_panic());
/// ```
/// Nor can its guard be held across an `.await` in a task that may move:
/// ```compile_fail
/// # use aqueduct::sync::SpinLock;
/// aqueduct::spawn(async {
///     let lock = SpinLock::new(());
///     let _guard = lock.lock();
///     aqueduct::yield_now_async().await;
/// });
/// ```
pub struct SpinLock<T: ?Sized> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: sending the lock sends the value.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}
// SAFETY: one guard at a time has access, on any thread: hence `T: Send`, and no need for `T: Sync`.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}

/// Looks before other threads are let run. Guessed: about a microsecond.
const SPINS: u32 = 64;

impl<T> SpinLock<T> {
    const_fn! {
        /// An unlocked lock.
        pub const fn new(value: T) -> Self {
            Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
        }
    }

    /// The value, for good.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Spins until the lock is had. There is no async form, as it never suspends, and no timed one.
    ///
    /// # Blocking
    /// The thread, for as long as the holder takes.
    ///
    /// # Cancel safety
    /// It is not a wait: a cancellation comes at the next one.
    #[track_caller]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        // First, so that the holder cannot be suspended in between.
        let forbid = wait::forbid();
        while !self.acquire() {
            self.spin();
        }
        SpinGuard { lock: self, _forbid: forbid, access: PhantomData }
    }

    /// The lock if it is free. Never spins.
    #[track_caller]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        let forbid = wait::forbid();
        self.acquire().then(|| SpinGuard { lock: self, _forbid: forbid, access: PhantomData })
    }

    /// The value, without locking: nobody else can have access.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn acquire(&self) -> bool {
        // Acquire pairs with the Release of the guard's drop.
        !self.locked.swap(true, Acquire)
    }

    /// Returns when it looks free. Reading alone leaves the cache line with the holder.
    #[cold]
    fn spin(&self) {
        let mut spins = 0;
        while self.locked.load(Relaxed) {
            if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                spins = 0;
                thread::yield_now();
            }
        }
    }
}

impl<T: Default> Default for SpinLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_struct("SpinLock").field("value", &&*guard).finish(),
            None => f.debug_struct("SpinLock").field("value", &format_args!("<locked>")).finish(),
        }
    }
}

/// Access to the value of a [`SpinLock`]; unlocks it when dropped. It stays on its thread.
#[must_use = "the lock is released when the guard is dropped"]
pub struct SpinGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    // Dropped after the lock is released.
    _forbid: ForbidGuard,
    /// `Sync` only if `T` is.
    access: PhantomData<&'a mut T>,
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `locked` was set by this guard's party; access lasts as long as the borrow of it.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `acquire`.
        self.lock.locked.store(false, Release);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for SpinGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
