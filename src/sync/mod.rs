//! Locks and signals for coroutines, futures and plain threads, on the same objects.
//!
//! # Forms
//! Every operation that waits has the same forms:
//!
//! | form | for example | waits |
//! |---|---|---|
//! | Go-style | [`lock()`](Mutex::lock) | the coroutine or task; off the workers the thread |
//! | async | [`lock_async()`](Mutex::lock_async) | a named future, for `.await` |
//! | timed | [`lock_timeout(..)`](Mutex::lock_timeout), [`lock_deadline(..)`](Mutex::lock_deadline) | as Go-style, up to a time; in async code `time::timeout` does it |
//! | trying | [`try_lock()`](Mutex::try_lock) | never |
//!
//! # Guarantees
//! - **In order.** Who asks first is served first, in all forms alike, and nobody barges in; what is asked for is handed over. But
//!   for the [`Mutex`], which a newcomer may find free while others wait, until one of them has waited for a millisecond.
//! - **Nothing is lost.** A wait that times out, is cancelled, or whose future is dropped at any moment, takes nothing away: what
//!   it was granted in that moment goes to the next in line. (A future that is neither polled nor dropped keeps what it was
//!   granted.) A call that was granted before it was cancelled returns normally; the cancellation comes at the next wait.
//! - **No poisoning.** Guards unlock when they are dropped, by a panic or a cancellation too.
//! - **No user code under a lock of ours**: neither wakers nor closures nor destructors.
//! - Guards are not bound to a thread: they may be held across waits, and are `Send` if the value allows.

/// A `const fn`, except under the model checkers, whose primitives cannot be made in constants.
macro_rules! const_fn {
    ($(#[$attribute:meta])* $visibility:vis const fn $($rest:tt)*) => {
        $(#[$attribute])*
        #[cfg(not(any(loom, shuttle)))]
        $visibility const fn $($rest)*

        $(#[$attribute])*
        #[cfg(any(loom, shuttle))]
        $visibility fn $($rest)*
    };
}

mod barrier;
mod cancellation;
mod condvar;
mod exclusive;
mod monitor;
mod mutex;
mod notify;
mod once;
mod permits;
mod rwlock;
mod semaphore;
mod signal;
mod spin;
mod wait_group;

#[cfg(test)]
mod tests;

pub use barrier::{Arrive, Barrier, Passed};
pub use cancellation::{CancelGuard, CancellationToken, Cancelled, Cause};
pub use condvar::{Condvar, WaitForSignal, Woken};
pub use mutex::{Lock, LockOwned, Mutex, MutexGuard, OwnedMutexGuard};
pub use notify::{Notified, Notify};
pub use once::{Lazy, OnceCell};
pub use rwlock::{Read, ReadGuard, RwLock, Write, WriteGuard};
pub use semaphore::{
    Acquire, AcquireOwned, AcquireTimeoutError, Closed, OwnedPermit, Permit, Semaphore, TryAcquireError,
};
pub use spin::{SpinGuard, SpinLock};
pub use std::sync::atomic;
pub use wait_group::{WaitForZero, WaitGroup, Working};
