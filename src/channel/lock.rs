//! The lock of a channel: held for a few assignments, by somebody who is running, so it spins.
//!
//! Under it messages are moved and waiters linked; nothing of the user's runs, nothing waits, and at most a queue grows. Taking it is
//! one atomic exchange and giving it back a plain store, half of what a lock costs that knows its sleepers; a send and a receive are
//! little more than that. A holder may lose its processor nevertheless: who has spun for a while lets other threads run, and then
//! sleeps, so that a holder of lower priority gets its turn too.
//!
//! # Invariants
//! - `short`: no user code, no wait, no system call but the allocator's while it is held.
//!
//! # Sources
//! kanal's lock, which gives way and does not sleep; the steps are WebKit's.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use spinning::ChannelLock;

#[cfg(any(loom, shuttle))]
pub(crate) use modelled::ChannelLock;

/// Unlocks when dropped.
pub(crate) struct LockGuard<'a>(&'a ChannelLock);

impl ChannelLock {
    /// Locks until the guard is dropped.
    #[inline]
    pub(crate) fn guard(&self) -> LockGuard<'_> {
        self.lock();
        LockGuard(self)
    }
}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `guard` has locked it.
        unsafe { self.0.unlock() };
    }
}

/// Everywhere but in the models of what is built on it.
#[cfg_attr(any(loom, shuttle), allow(dead_code, unreachable_pub, reason = "it has a model of its own"))]
pub(super) mod spinning {
    use crate::primitive::atomic::AtomicBool;
    use crate::primitive::atomic::Ordering::{Acquire, Relaxed, Release};
    use std::time::Duration;

    /// Looks before other threads are let run. Guessed: about a microsecond.
    const SPINS: u32 = 64;
    /// Turns given to other threads before sleeping. Guessed.
    const YIELDS: u32 = 16;
    /// A sleep; guessed.
    const SLEEP: Duration = Duration::from_micros(50);

    /// See the module's head.
    #[derive(Debug)]
    pub struct ChannelLock {
        locked: AtomicBool,
    }

    impl ChannelLock {
        pub(crate) fn new() -> Self {
            Self { locked: AtomicBool::new(false) }
        }

        #[inline]
        pub(crate) fn lock(&self) {
            if !self.try_lock() {
                self.lock_slow();
            }
        }

        #[inline]
        fn try_lock(&self) -> bool {
            // Acquire pairs with the Release of `unlock`: what the holder before did is seen.
            self.locked.compare_exchange(false, true, Acquire, Relaxed).is_ok()
        }

        #[cold]
        #[inline(never)]
        fn lock_slow(&self) {
            let mut looks = 0;
            loop {
                // Reading alone leaves the cache line with the holder.
                if !self.locked.load(Relaxed) && self.try_lock() {
                    return;
                }
                pause(looks);
                looks += 1;
            }
        }

        /// # Safety
        /// The caller has locked it.
        #[inline]
        pub(crate) unsafe fn unlock(&self) {
            self.locked.store(false, Release);
        }
    }

    #[cfg(not(any(loom, shuttle)))]
    fn pause(looks: u32) {
        if looks < SPINS {
            std::hint::spin_loop();
        } else if looks < SPINS + YIELDS {
            std::thread::yield_now();
        } else {
            std::thread::sleep(SLEEP);
        }
    }

    #[cfg(loom)]
    fn pause(_: u32) {
        loom::thread::yield_now();
    }

    #[cfg(shuttle)]
    fn pause(_: u32) {
        shuttle::thread::yield_now();
    }
}

/// In the models of what is built on it: the checker's mutex, whose waiters take no steps.
#[cfg(any(loom, shuttle))]
mod modelled {
    use crate::primitive::{Mutex, MutexGuard, lock_guard};
    use std::cell::UnsafeCell;

    pub struct ChannelLock {
        mutex: Mutex<()>,
        /// The holder's.
        guard: UnsafeCell<Option<MutexGuard<'static, ()>>>,
    }

    // SAFETY: `guard` is touched by the holder alone, and the checkers run one thread at a time, on one thread.
    unsafe impl Send for ChannelLock {}
    // SAFETY: as above.
    unsafe impl Sync for ChannelLock {}

    impl ChannelLock {
        pub(crate) fn new() -> Self {
            Self { mutex: Mutex::new(()), guard: UnsafeCell::new(None) }
        }

        pub(crate) fn lock(&self) {
            // SAFETY: the guard is dropped by `unlock`, before the mutex goes.
            let guard = unsafe {
                std::mem::transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(lock_guard(&self.mutex))
            };
            // SAFETY: the mutex is held.
            unsafe { *self.guard.get() = Some(guard) };
        }

        /// # Safety
        /// The caller has locked it.
        pub(crate) unsafe fn unlock(&self) {
            // SAFETY: the mutex is held.
            let guard = unsafe { (*self.guard.get()).take() };
            drop(guard);
        }
    }

    impl std::fmt::Debug for ChannelLock {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("ChannelLock")
        }
    }
}
