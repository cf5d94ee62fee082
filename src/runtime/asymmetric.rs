//! A fence in two halves: next to nothing for who passes it all the time, a system call for who comes rarely.
//!
//! Where two parties each store and then load what the other stores, both need a sequentially consistent fence in between, or
//! each may miss the other (store buffering). Here the frequent one only keeps the compiler from exchanging the two
//! ([`light`]), and the rare one has the system interrupt every core that runs a thread of this process ([`heavy`]): the frequent
//! one's store comes before that interruption, and is seen, or its load comes after it, and sees. So any `light` and any `heavy` are
//! ordered as two sequentially consistent fences are; two `light` are not. That is all that may be relied on: a `light` neither
//! acquires nor releases anything. (In the models it does both, so they do not find what leans on that.)
//!
//! Linux alone has it. A filter of system calls that kills should let `membarrier` pass, as the usual ones do.
//!
//! # Sources
//! `membarrier(2)`, private and expedited; the pair of names is that of C++'s proposal P1202.

#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
pub(crate) use linux::{heavy, is_ready, light};

#[cfg(not(any(target_os = "linux", loom, shuttle)))]
pub(crate) use elsewhere::{heavy, is_ready, light};

#[cfg(any(loom, shuttle))]
pub(crate) use modelled::{heavy, is_ready, light};

#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
mod linux {
    use std::ffi::c_int;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
    use std::sync::atomic::{AtomicU8, compiler_fence};
    use std::thread;

    /// Nobody has asked yet.
    const UNKNOWN: u8 = 0;
    /// Being found out, or not to be had.
    const NOT_READY: u8 = 1;
    const READY: u8 = 2;

    static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

    // `linux/membarrier.h`
    const PRIVATE_EXPEDITED: c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;

    fn membarrier(command: c_int) -> bool {
        // SAFETY: it neither reads nor writes memory of ours; these commands ask for flags and a CPU of 0.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    /// Makes it ready: 2 us while the process has one thread, and 10 to 30 ms later.
    pub(super) fn register() -> bool {
        membarrier(REGISTER_PRIVATE_EXPEDITED)
    }

    /// Whether `heavy` is to be had. The first call has it made ready.
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

    /// In a thread of its own: who asks is a worker.
    #[cold]
    fn prepare() {
        if STATE.compare_exchange(UNKNOWN, NOT_READY, Relaxed, Relaxed).is_err() {
            return;
        }
        let prepare = || {
            if register() {
                STATE.store(READY, Release);
            }
        };
        // No thread to be had: then it stays as it is.
        let _ = thread::Builder::new().name("aqueduct-fence".to_owned()).spawn(prepare);
    }

    #[inline(always)]
    pub(crate) fn light() {
        compiler_fence(SeqCst);
    }

    /// False: it was no fence, because a filter of system calls forbids it by now, or for want of memory. Some 0.3 us, or 9 us where another
    /// core has to be interrupted (of a virtual machine of two).
    #[must_use]
    pub(crate) fn heavy() -> bool {
        membarrier(PRIVATE_EXPEDITED)
    }
}

#[cfg(not(any(target_os = "linux", loom, shuttle)))]
mod elsewhere {
    pub(crate) fn is_ready() -> bool {
        false
    }

    pub(crate) fn light() {}

    #[must_use]
    pub(crate) fn heavy() -> bool {
        false
    }
}

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

    #[must_use]
    pub(crate) fn heavy() -> bool {
        fence(SeqCst);
        true
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, shuttle))))]
mod tests {
    use super::linux::register;
    use super::{heavy, light};
    use std::hint::{black_box, spin_loop};
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::thread;

    /// Each raises its flag and looks at the other's, in the same moment: never do both miss.
    #[test]
    fn two_that_store_and_look_do_not_miss_each_other() {
        const ROUNDS: usize = 20_000;

        if !register() {
            eprintln!("skipped: there is no membarrier here");
            return;
        }
        let flags = Vec::from_iter((0..ROUNDS).map(|_| [AtomicBool::new(false), AtomicBool::new(false)]));
        let begun = AtomicUsize::new(0);
        // For about as long as the other needs to see the round begin, from round to round another time.
        let later = |round: usize| (0..round % 400).for_each(|i| _ = black_box(i));
        let (often, rarely) = thread::scope(|scope| {
            let often = scope.spawn(|| {
                let look = |(round, flag): (usize, &[AtomicBool; 2])| {
                    while begun.load(Acquire) <= round {
                        spin_loop();
                    }
                    flag[0].store(true, Relaxed);
                    light();
                    flag[1].load(Relaxed)
                };
                Vec::from_iter(flags.iter().enumerate().map(look))
            });
            let rarely = scope.spawn(|| {
                let look = |(round, flag): (usize, &[AtomicBool; 2])| {
                    begun.store(round + 1, Release);
                    later(round);
                    flag[1].store(true, Relaxed);
                    assert!(heavy());
                    flag[0].load(Relaxed)
                };
                Vec::from_iter(flags.iter().enumerate().map(look))
            });
            (often.join().unwrap(), rarely.join().unwrap())
        });
        let both_missed = often.iter().zip(&rarely).filter(|(often, rarely)| !**often && !**rarely).count();
        assert_eq!(both_missed, 0);
    }
}
