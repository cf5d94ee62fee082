//! The lock of a channel: held for a few assignments, by somebody who is running, so it spins.
//!
//! Under it messages are moved and waiters linked; nothing of the user's runs, nothing waits, and at most a queue grows. Taking it is
//! one atomic exchange and giving it back a plain store, half of what a lock costs that knows its sleepers; a send and a receive are
//! little more than that. A holder may lose its processor nevertheless: who has spun for a while lets other threads run, and then
//! sleeps, so that a holder of lower priority gets its turn too.
//!
//! # Contention
//! A lock that goes from core to core with every operation costs each of them some hundred nanoseconds: the line of the lock and those
//! of the state have to move. Far more operations are done when one core does a run of them while the other stays away. So who finds
//! the lock held stays away for a while, and for longer, up to 3 us, if that comes soon after another has had to; who meets a holder by
//! chance looks again almost at once. Two threads that send and receive without a pause took 200 ns a message when they looked at
//! every pause of the processor, 45 to 60 so; eight of them 290 and 60; four senders and a select 340 and 150. Where the threads do
//! something else for 0.4 us between two operations, 90 ns an operation were lost by contention, now 30; and 150 if all stayed away for
//! the longest time at once.
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
    use crate::reactor::clock;
    use std::sync::atomic::AtomicU16;
    use std::time::Duration;

    /// How long one stays away who meets a holder by chance: about as long as a holder takes.
    const AWAY_NS: u64 = 50;
    /// So much longer for each time that contention has followed on contention: 50 ns, 200, 800.
    const LEVEL_SHIFT: u16 = 2;
    pub(super) const LEVELS: u16 = 3;
    /// The longest: 3.2 us, some hundred operations of the other's. With four times that the threads above gained nothing.
    const AWAY_NS_MOST: u64 = AWAY_NS << (LEVELS * LEVEL_SHIFT);
    /// Looks before other threads are let run, after 3 to 20 us. With 4 to 10 there was no difference.
    const LOOKS: u32 = 6;
    /// Turns given to other threads before sleeping. Guessed.
    const YIELDS: u32 = 16;
    /// A sleep; guessed.
    const SLEEP: Duration = Duration::from_micros(50);

    /// See the module's head.
    #[derive(Debug)]
    pub struct ChannelLock {
        locked: AtomicBool,
        contention: Contention,
    }

    impl ChannelLock {
        pub(crate) fn new() -> Self {
            Self { locked: AtomicBool::new(false), contention: Contention::default() }
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
            let mut absence = Absence::begin(&self.contention);
            loop {
                absence.pause();
                // Reading alone leaves the cache line with the holder.
                if !self.locked.load(Relaxed) && self.try_lock() {
                    return absence.end(&self.contention);
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

    /// When the lock was last taken by one who had to stay away for it, and how often such had followed on each other: 3 bits of
    /// the latter, above them 13 of the time, so that it lies in a gap. The time comes round every 2 ms; a chance that is taken for
    /// contention then costs a longer absence.
    ///
    /// Of std also in the models, for it orders nothing: under it anything is right.
    #[derive(Debug, Default)]
    pub(super) struct Contention(AtomicU16);

    const LEVEL_BITS: u16 = 3;
    const TICK_BITS: u16 = u16::BITS as u16 - LEVEL_BITS;
    /// A tick is 256 ns.
    const TICK_SHIFT: u16 = 8;
    /// How long after it one follows on another. By far longer than between two operations of threads that do nothing else.
    const TICKS_SOON: u16 = 1;

    impl Contention {
        fn tick_at(now_ns: u64) -> u16 {
            ((now_ns >> TICK_SHIFT) & ((1 << TICK_BITS) - 1)) as u16
        }

        /// The level of one who finds the lock held now.
        pub(super) fn level_at(&self, now_ns: u64) -> u16 {
            let word = self.0.load(Relaxed);
            let (tick, level) = (word >> LEVEL_BITS, word & ((1 << LEVEL_BITS) - 1));
            let since = Self::tick_at(now_ns).wrapping_sub(tick) & ((1 << TICK_BITS) - 1);
            if since <= TICKS_SOON { (level + 1).min(LEVELS) } else { 0 }
        }

        pub(super) fn set(&self, now_ns: u64, level: u16) {
            let word = (Self::tick_at(now_ns) << LEVEL_BITS) | level;
            self.0.store(word, Relaxed);
        }
    }

    /// Of one who has found the lock held.
    struct Absence {
        level: u16,
        /// Until its next look.
        away_ns: u64,
        looks: u32,
        /// At its last look: the clock is not read while the lock is held.
        now_ns: u64,
    }

    #[cfg(not(any(loom, shuttle)))]
    impl Absence {
        fn begin(contention: &Contention) -> Self {
            let now_ns = clock::nanos();
            let level = contention.level_at(now_ns);
            Self { level, away_ns: AWAY_NS << (level * LEVEL_SHIFT), looks: 0, now_ns }
        }

        fn pause(&mut self) {
            if self.looks < LOOKS {
                let until = clock::nanos() + self.away_ns;
                loop {
                    self.now_ns = clock::nanos();
                    if self.now_ns >= until {
                        break;
                    }
                    std::hint::spin_loop();
                }
                self.away_ns = (2 * self.away_ns).min(AWAY_NS_MOST);
            } else {
                if self.looks < LOOKS + YIELDS {
                    std::thread::yield_now();
                } else {
                    std::thread::sleep(SLEEP);
                }
                self.now_ns = clock::nanos();
            }
            self.looks += 1;
        }

        /// The lock has been taken.
        fn end(self, contention: &Contention) {
            contention.set(self.now_ns, self.level);
        }
    }

    /// In models time means nothing.
    #[cfg(any(loom, shuttle))]
    impl Absence {
        fn begin(_: &Contention) -> Self {
            Self { level: 0, away_ns: 0, looks: 0, now_ns: 0 }
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
    use super::spinning::{ChannelLock, Contention, LEVELS};
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn contention_that_follows_on_contention_is_told_from_chance() {
        let contention = Contention::default();
        let mut now_ns = 1_000_000_000;
        for expected in [0, 1, 2, LEVELS, LEVELS] {
            let level = contention.level_at(now_ns);
            assert_eq!(level, expected);
            // It stays away for longer than what counts as soon: that begins when the lock has been taken.
            now_ns += 5_000;
            contention.set(now_ns, level);
            now_ns += 100;
        }
        now_ns += 10_000;
        assert_eq!(contention.level_at(now_ns), 0, "a chance, after a while");
    }

    #[test]
    fn the_time_of_contention_comes_round() {
        let contention = Contention::default();
        // On both sides of where the 13 bits of the time begin anew.
        let round_ns = 256 << 13;
        contention.set(round_ns - 50, 1);
        assert_eq!(contention.level_at(round_ns + 50), 2);
    }

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
