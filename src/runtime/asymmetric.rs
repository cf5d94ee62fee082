//! A fence in two halves: next to nothing for who passes it all the time, a system call for who comes rarely.
//!
//! Where two parties each store and then load what the other stores, both need a sequentially consistent fence in between, or
//! each may miss the other (store buffering). Here the frequent one only keeps the compiler from exchanging the two
//! ([`light`]), and the rare one has the system interrupt every core that runs a thread of this process ([`heavy`]): the frequent
//! one's store comes before that interruption, and is seen, or its load comes after it, and sees. So any `light` and any `heavy` are
//! ordered as two sequentially consistent fences are; two `light` are not.
//!
//! # Sources
//! `membarrier(2)`, private and expedited; the pair of names is that of C++'s proposal P1202.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use system::{has_failed, heavy, is_ready, light};

#[cfg(any(loom, shuttle))]
pub(crate) use modelled::{has_failed, heavy, is_ready, light};

#[cfg(not(any(loom, shuttle)))]
mod system {
    use super::membarrier;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
    use std::sync::atomic::{AtomicU8, compiler_fence};
    use std::thread;

    /// Nobody has asked yet.
    const UNKNOWN: u8 = 0;
    /// Being found out, or not available.
    const NOT_READY: u8 = 1;
    const READY: u8 = 2;
    /// It was ready, and has been taken away: by a filter of system calls, say.
    const FAILED: u8 = 3;

    static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

    /// Whether `heavy` may be relied on. The first call has it made ready.
    pub(crate) fn is_ready() -> bool {
        // Acquire: the process is registered.
        match STATE.load(Acquire) {
            UNKNOWN => {
                prepare();
                false
            }
            state => state == READY,
        }
    }

    /// In a thread of its own: to register a process that has several threads takes 10 to 30 ms, and who asks is a worker.
    #[cold]
    fn prepare() {
        if STATE.compare_exchange(UNKNOWN, NOT_READY, Relaxed, Relaxed).is_err() {
            return;
        }
        let register = || {
            if membarrier::register() {
                STATE.store(READY, Release);
            }
        };
        // No thread to be had: then it stays as it is.
        let _ = thread::Builder::new().name("aqueduct-fence".to_owned()).spawn(register);
    }

    #[inline(always)]
    pub(crate) fn light() {
        compiler_fence(SeqCst);
    }

    /// False: it was no fence, and will not be again. After `is_ready` only. Some 0.3 us, or 9 us where another core has to be interrupted (of a
    /// virtual machine).
    #[must_use]
    pub(crate) fn heavy() -> bool {
        let done = membarrier::fence();
        if !done {
            STATE.store(FAILED, Relaxed);
        }
        done
    }

    pub(crate) fn has_failed() -> bool {
        STATE.load(Relaxed) == FAILED
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(any(loom, shuttle))))]
mod membarrier {
    use std::ffi::c_int;

    // `linux/membarrier.h`
    const PRIVATE_EXPEDITED: c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;

    fn call(command: c_int) -> bool {
        // SAFETY: it neither reads nor writes memory of ours; these commands ask for flags and a CPU of 0.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    pub(super) fn register() -> bool {
        call(REGISTER_PRIVATE_EXPEDITED)
    }

    pub(super) fn fence() -> bool {
        call(PRIVATE_EXPEDITED)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", loom, shuttle)))]
mod membarrier {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn fence() -> bool {
        false
    }
}

/// Both halves are whole fences there: what the two are to each other.
#[cfg(any(loom, shuttle))]
mod modelled {
    use crate::primitive::atomic::Ordering::SeqCst;
    use crate::primitive::atomic::fence;

    pub(crate) fn is_ready() -> bool {
        true
    }

    pub(crate) fn light() {
        fence(SeqCst);
    }

    pub(crate) fn heavy() -> bool {
        fence(SeqCst);
        true
    }

    pub(crate) fn has_failed() -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, shuttle))))]
mod tests {
    use super::{heavy, is_ready, light};
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;

    /// Each raises its flag and looks at the other's: never do both miss.
    #[test]
    fn two_that_store_and_look_do_not_miss_each_other() {
        const ROUNDS: usize = 2_000;

        while !is_ready() {
            thread::yield_now();
        }
        let flags = Vec::from_iter((0..ROUNDS).map(|_| [AtomicBool::new(false), AtomicBool::new(false)]));
        let (often, rarely) = thread::scope(|scope| {
            let often = scope.spawn(|| {
                let look = |flag: &[AtomicBool; 2]| {
                    flag[0].store(true, Relaxed);
                    light();
                    flag[1].load(Relaxed)
                };
                Vec::from_iter(flags.iter().map(look))
            });
            let rarely = scope.spawn(|| {
                let look = |flag: &[AtomicBool; 2]| {
                    flag[1].store(true, Relaxed);
                    assert!(heavy());
                    flag[0].load(Relaxed)
                };
                // From the other end: somewhere the two meet.
                Vec::from_iter(flags.iter().rev().map(look))
            });
            (often.join().unwrap(), rarely.join().unwrap())
        });
        let both_missed = often.iter().zip(rarely.iter().rev()).filter(|(a, b)| !**a && !**b).count();
        assert_eq!(both_missed, 0);
    }
}
