//! The atomics, locks and guards that the crate's protocols are written with: std's; loom's under `--cfg
//! loom`, shuttle's under `--cfg shuttle`, for the model checks.
//!
//! What lies in a `static` stays with std: the checkers' types have no constant constructors, and belong to
//! one run.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::{Mutex, atomic};

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};

use std::ops::DerefMut;
use std::sync::LockResult;

/// A mutex: std's, or a checker's.
pub(crate) trait Lockable {
    type Data: ?Sized;

    fn acquire(&self) -> LockResult<impl DerefMut<Target = Self::Data>>;
}

impl<T: ?Sized> Lockable for std::sync::Mutex<T> {
    type Data = T;

    #[inline]
    fn acquire(&self) -> LockResult<impl DerefMut<Target = T>> {
        self.lock()
    }
}

#[cfg(any(loom, shuttle))]
impl<T: ?Sized> Lockable for Mutex<T> {
    type Data = T;

    fn acquire(&self) -> LockResult<impl DerefMut<Target = T>> {
        self.lock()
    }
}

/// Locks a mutex whose holders run no user code. A panic in between would be a bug of ours, and the data is
/// still whole (every critical section is a few plain assignments), so poisoning is looked through rather
/// than spread.
#[inline]
pub(crate) fn lock<M: Lockable>(mutex: &M) -> impl DerefMut<Target = M::Data> {
    match mutex.acquire() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// `lock`, with a guard that can be named and kept.
#[cfg(any(loom, shuttle))]
pub(crate) fn lock_guard(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

#[cfg(loom)]
pub(crate) use loom::cell::{Cell, UnsafeCell};
#[cfg(not(loom))]
pub(crate) use std::cell::Cell;

/// `std::cell::UnsafeCell` with loom's way of access, which lets the model checker see every one.
#[cfg(not(loom))]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer that it may read through if nobody writes meanwhile.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer that it may write through if nobody else has access meanwhile.
    #[inline]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Tells the processor that what lies here will be needed soon.
#[inline]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which faults at no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Wakes all, though some of the wakers (which are not ours to know) panic; the first panic goes on afterwards.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = std::task::Waker>) {
    let mut panics = FirstPanic::new();
    for waker in wakers {
        panics.keep(|| waker.wake());
    }
    panics.rethrow();
}

/// Calls `f`, what it throws is forgotten: the panic hook has told of it, and the destructor of its payload may throw as well.
pub(crate) fn contain_panic(f: impl FnOnce()) {
    std::mem::forget(std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)));
}

/// The first panic of several steps that are made all the same.
#[derive(Debug)]
#[must_use = "it is to go on"]
pub(crate) struct FirstPanic(Option<Box<dyn std::any::Any + Send>>);

impl FirstPanic {
    pub(crate) fn new() -> Self {
        Self(None)
    }

    pub(crate) fn keep(&mut self, step: impl FnOnce()) {
        if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(step)) {
            match &self.0 {
                None => self.0 = Some(payload),
                // The destructor of a payload may throw as well: forgotten.
                Some(_) => std::mem::forget(payload),
            }
        }
    }

    pub(crate) fn rethrow(self) {
        if let Some(payload) = self.0 {
            std::panic::resume_unwind(payload);
        }
    }
}
