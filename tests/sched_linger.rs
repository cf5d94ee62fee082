//! Coroutines on different workers that talk to each other.

mod common;

use aqueduct::{Runtime, channel};
use common::watchdog;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

const ROUND_TRIPS: u64 = 1_000;

/// How often threads of this process have fallen asleep.
fn sleeps() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a `rusage`.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: zeroed is valid for numbers, and it has been filled.
    unsafe { usage.assume_init() }.ru_nvcsw as u64
}

/// A ping and a pong, each with its own worker.
fn talk(here: &Runtime, there: &Runtime) {
    let (ask, asked) = channel::bounded(0);
    let (answer, answered) = channel::bounded(0);
    let started = Arc::new(AtomicBool::new(false));
    let begun = started.clone();
    let pong = there.go(move || {
        begun.store(true, Release);
        for question in asked {
            answer.send(question + 1).unwrap();
        }
    });
    let ping = here.go(move || {
        // If it is another worker of this runtime, it has to take that one for itself.
        while !started.load(Acquire) {
            std::hint::spin_loop();
        }
        for i in 0..ROUND_TRIPS {
            ask.send(i).unwrap();
            assert_eq!(answered.recv(), Ok(i + 1));
        }
    });
    ping.join().unwrap();
    pong.join().unwrap();
}

/// What this process has used.
fn cpu_time() -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to a `timespec`.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, time.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: zeroed is valid for numbers, and it has been filled.
    let time = unsafe { time.assume_init() };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What all processes of the machine have used.
fn time_of_all() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let all = stat.lines().next().unwrap().split_whitespace().skip(1);
    let ticks: Vec<u64> = all.map(|field| field.parse().unwrap()).collect();
    // All but idle and waiting for disks. A tick is 10 ms.
    Duration::from_millis(10 * (ticks[..3].iter().sum::<u64>() + ticks[5..8].iter().sum::<u64>()))
}

/// Tries again while others use the cores. Who has to share a core does not wait awake: where others use more than half of one, nothing
/// can be told.
fn sooner_or_later(what: &str, mut so: impl FnMut() -> bool) {
    const LONGEST: Duration = Duration::from_secs(20);
    let (begun, all, own) = (Instant::now(), time_of_all(), cpu_time());
    while begun.elapsed() < LONGEST {
        if so() {
            return;
        }
    }
    let others = (time_of_all() - all).saturating_sub(cpu_time() - own);
    assert!(others > LONGEST / 2, "{what}, every time");
    println!("not told: others have used {others:?} meanwhile");
}

// One test: it counts what the whole process does.
#[test]
fn workers_wait_awake_for_each_other_while_they_talk_and_sleep_afterwards() {
    if std::thread::available_parallelism().map_or(1, |cores| cores.get()) < 2 {
        // Whoever waited awake would keep the other from its core.
        return;
    }
    let dog = watchdog!(90);
    let (here, there, both) = (common::runtime(1), common::runtime(1), common::runtime(2));
    for runtime in [&here, &there, &both] {
        dog.watch(runtime);
    }
    let sleeps_of_a_talk = |here, there| {
        let before = sleeps();
        talk(here, there);
        sleeps() - before
    };
    for (here, there) in [(&here, &there), (&both, &both)] {
        // Two for each round trip if nobody lingered.
        let few = || sleeps_of_a_talk(here, there) < ROUND_TRIPS / 4;
        sooner_or_later("a quarter as many sleeps as round trips, or more", few);
    }

    let used_in_silence = || {
        let before = cpu_time();
        // This orders nothing: it is the silence.
        std::thread::sleep(Duration::from_millis(50));
        cpu_time() - before
    };
    sooner_or_later("a tenth of the time or more in silence", || {
        used_in_silence() < Duration::from_millis(5)
    });
}
