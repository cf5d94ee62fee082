//! The lock of a channel: held for a few assignments, by somebody who is running, so it spins.
//!
//! Under it messages are moved and waiters linked; nothing of the user's runs, nothing waits, and at most a queue grows. Taking it is
//! one atomic exchange and giving it back a plain store, half of what a lock costs that knows its sleepers; a send and a receive are
//! little more than that. A holder may lose its processor nevertheless: who has spun for a while lets other threads run, and then
//! sleeps, so that a holder of lower priority gets its turn too.
//!
//! # Contention
//! Who finds the lock held stays away from it (`wait/absence.rs`). Two threads that send and receive without a pause took 200 ns a message
//! when they looked at every pause of the processor, 45 to 60 so; eight of them 290 and 60; four senders and a select 340 and 150.
//! Where the threads do something else for 0.4 us between two operations, 90 ns an operation were lost by contention, now 30; and
//! 150 if all stayed away for the longest time at once.
//!
//! # Invariants
//! - `short`: no user code, no wait, no system call but the allocator's while it is held.
//!
//! # Sources
//! kanal's lock, which stays away and does not sleep; the steps after that are WebKit's.

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
    #[cfg(not(any(loom, shuttle)))]
    use crate::wait::absence::Absence;
    use crate::wait::absence::Contention;
    #[cfg(not(any(loom, shuttle)))]
    use std::time::Duration;

    /// See the module's head.
    #[derive(Debug)]
    pub struct ChannelLock {
        locked: AtomicBool,
        contention: Contention,
    }

    impl ChannelLock {
        pub(crate) fn new() -> Self {
            Self { locked: AtomicBool::new(false), contention: Contention::none() }
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
            let mut waiting = Waiting::begin(&self.contention);
            loop {
                waiting.pause();
                // Reading alone leaves the cache line with the holder.
                if !self.locked.load(Relaxed) && self.try_lock() {
                    return waiting.end(&self.contention);
                }
            }
        }

        /// # Safety
        /// The caller has locked it.
        #[inline]
        pub(crate) unsafe fn unlock(&self) {
            self.locked.store(false, Release);
        }
    }

    /// Of one who has found the lock held.
    #[cfg(not(any(loom, shuttle)))]
    struct Waiting {
        absence: Absence,
        pauses: u32,
    }

    #[cfg(not(any(loom, shuttle)))]
    impl Waiting {
        /// Pauses before other threads are let run, after 3 to 20 us. With 4 to 10 there was no difference.
        const ABSENCES: u32 = 6;
        /// Turns given to other threads before sleeping. Guessed.
        const YIELDS: u32 = 16;
        /// Guessed.
        const SLEEP: Duration = Duration::from_micros(50);

        fn begin(contention: &Contention) -> Self {
            Self { absence: Absence::begin(contention), pauses: 0 }
        }

        fn pause(&mut self) {
            if self.pauses < Self::ABSENCES {
                self.absence.pause();
            } else if self.pauses < Self::ABSENCES + Self::YIELDS {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Self::SLEEP);
            }
            self.pauses += 1;
        }

        /// The lock has been taken.
        fn end(self, contention: &Contention) {
            if self.pauses <= Self::ABSENCES {
                self.absence.end(contention);
            }
        }
    }

    /// In models time means nothing.
    #[cfg(any(loom, shuttle))]
    struct Waiting;

    #[cfg(any(loom, shuttle))]
    impl Waiting {
        fn begin(_: &Contention) -> Self {
            Self
        }

        fn pause(&mut self) {
            #[cfg(loom)]
            loom::thread::yield_now();
            #[cfg(shuttle)]
            shuttle::thread::yield_now();
        }

        fn end(self, _: &Contention) {}
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

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::spinning::ChannelLock;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn many_holders_are_alone_one_by_one() {
        struct Shared(ChannelLock, std::cell::UnsafeCell<u32>);
        // SAFETY: the value is touched under the lock.
        unsafe impl Sync for Shared {}
        const EACH: u32 = 20_000;

        let shared = Arc::new(Shared(ChannelLock::new(), std::cell::UnsafeCell::new(0)));
        let add = |shared: Arc<Shared>| {
            for _ in 0..EACH {
                let _guard = shared.0.guard();
                // SAFETY: the lock is held.
                unsafe { *shared.1.get() += 1 };
            }
        };
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || add(shared))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // SAFETY: the others have ended.
        assert_eq!(unsafe { *shared.1.get() }, 4 * EACH);
    }
}
