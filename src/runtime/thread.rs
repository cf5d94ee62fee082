//! What the system does with the thread of a worker, as others see it: whether it computes, is blocked, or waits for a core.

use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;

/// A thread; none at first.
#[derive(Debug, Default)]
pub(crate) struct Thread {
    /// 0 (the name of another clock) for none.
    clock: AtomicI32,
    id: AtomicI32,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Thread {
    pub(crate) fn set_to_current(&self) {
        let mut clock = 0;
        // SAFETY: the thread is alive, being this one; `clock` is a live, writable number.
        let error = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        self.clock.store(if error == 0 { clock } else { 0 }, Relaxed);
        // SAFETY: it asks for a number.
        self.id.store(unsafe { libc::gettid() }, Relaxed);
    }

    /// For how many nanoseconds it has been on a core; none when that cannot be told, or when it has ended (and its number is not that of another
    /// thread by now). A system call, 0.2 us.
    pub(crate) fn ran_for(&self) -> Option<u64> {
        let clock = self.clock.load(Relaxed);
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a live, writable timespec and the kernel keeps no reference to it.
        let read = clock != 0 && unsafe { libc::clock_gettime(clock, &mut time) } == 0;
        read.then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    /// Whether it is on a core, or would be if there were one for it; none when that cannot be told. Reads a file of `/proc`, some 5 us.
    pub(crate) fn is_runnable(&self) -> Option<bool> {
        use std::io::Read;
        // The state comes third, after a number of up to 7 digits and a name of up to 15 bytes in parentheses.
        let mut start = [0; 64];
        let path = format!("/proc/self/task/{}/stat", self.id.load(Relaxed));
        let length = std::fs::File::open(path).ok()?.read(&mut start).ok()?;
        let name_end = start[..length].iter().rposition(|byte| *byte == b')')?;
        start.get(name_end + 2).map(|state| *state == b'R')
    }
}

/// Elsewhere nothing is known.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Thread {
    pub(crate) fn set_to_current(&self) {
        self.clock.store(0, Relaxed);
        self.id.store(0, Relaxed);
    }

    pub(crate) fn ran_for(&self) -> Option<u64> {
        None
    }

    pub(crate) fn is_runnable(&self) -> Option<bool> {
        None
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, shuttle))))]
mod tests {
    use super::Thread;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::{Duration, Instant};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn eventually(what: &str, mut seen: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !seen() {
            assert!(begun.elapsed() < PATIENCE, "never seen: {what}");
            thread::yield_now();
        }
    }

    /// What is asked about others can be asked here.
    fn can_be_told() -> bool {
        let this = Thread::default();
        this.set_to_current();
        let told = this.ran_for().is_some() && this.is_runnable() == Some(true);
        if !told {
            eprintln!("skipped: without /proc");
        }
        told
    }

    /// Ends, however the test does.
    struct Over(Arc<AtomicBool>);

    impl Drop for Over {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }

    #[test]
    fn a_blocked_thread_neither_runs_nor_could() {
        if !can_be_told() {
            return;
        }
        let (tell, told) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let blocked = thread::spawn(move || {
            let this = Arc::new(Thread::default());
            this.set_to_current();
            tell.send(this).unwrap();
            let _ = released.recv();
        });
        let thread = told.recv().unwrap();
        eventually("blocked", || {
            let ran = thread.ran_for();
            thread.is_runnable() == Some(false) && ran.is_some() && thread.ran_for() == ran
        });
        drop(release);
        blocked.join().unwrap();
        // Of a thread that has been joined the kernel may not be quite done.
        eventually("ended", || thread.ran_for().is_none() && thread.is_runnable().is_none());
    }

    #[test]
    fn of_two_that_compute_on_one_core_one_waits_for_it() {
        if !can_be_told() {
            return;
        }
        let (tell, told) = mpsc::channel();
        let over = Over(Arc::new(AtomicBool::new(false)));
        let computing: Vec<_> = (0..2)
            .map(|_| {
                let (tell, over) = (tell.clone(), over.0.clone());
                thread::spawn(move || {
                    stay_on_first_core();
                    let this = Arc::new(Thread::default());
                    this.set_to_current();
                    tell.send(this).unwrap();
                    while !over.load(Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let threads = [told.recv().unwrap(), told.recv().unwrap()];
        for thread in &threads {
            eventually("waiting", || {
                let ran = thread.ran_for();
                thread.is_runnable() == Some(true) && thread.ran_for() == ran
            });
            let ran = thread.ran_for();
            eventually("running", || thread.is_runnable() == Some(true) && thread.ran_for() > ran);
        }
        drop(over);
        computing.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// The first that this process may use.
    fn stay_on_first_core() {
        // SAFETY: all zeros is a set without members; the calls read and write the set, whose size is given.
        let result = unsafe {
            let mut cores: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of_val(&cores), &mut cores);
            let first = (0..libc::CPU_SETSIZE as usize).find(|core| libc::CPU_ISSET(*core, &cores)).unwrap();
            libc::CPU_ZERO(&mut cores);
            libc::CPU_SET(first, &mut cores);
            libc::sched_setaffinity(0, size_of_val(&cores), &cores)
        };
        assert_eq!(result, 0);
    }
}
