//! The runtimes, and which workload runs on which of them with which channels.

use std::time::Instant;

use workloads::blocking::{
    ByChannel, Coroutines, Lock, Tasks, Threads, channel, coroutines, library, measured, on_threads, select,
};
use workloads::{Job, Sample};

use crate::blocking_channels::{self as channels, Crossbeam, Flume, Kanal};

pub(crate) struct May;

/// Runs the job in a coroutine or thread of its runtime.
pub(crate) fn run(job: &Job) -> Option<Sample> {
    let name = job.workload.as_str();
    match (job.runtime.as_str(), job.channel.as_str()) {
        ("may", "") => {
            let work = coroutines::<May>(name)
                .or_else(|| library::<May, channels::May, ByChannel<channels::May>>(name))
                .or_else(|| channel::<May, channels::May>(name))
                .or_else(|| select::<May, channels::May>(name))?;
            may::config().set_workers(job.workers);
            let job = job.clone();
            Some(May::join(May::go(move || measured(&job, work))))
        }
        ("threads", name_of_channel) => {
            let work = match name_of_channel {
                "kanal" => on_threads::<Kanal>(name),
                "flume" => on_threads::<Flume>(name).or_else(|| select::<Threads, Flume>(name)),
                "crossbeam" => on_threads::<Crossbeam>(name).or_else(|| select::<Threads, Crossbeam>(name)),
                _ => None,
            }?;
            Some(measured(job, work))
        }
        _ => None,
    }
}

impl Tasks for May {
    type Join<T: Send + 'static> = may::coroutine::JoinHandle<T>;

    fn go<F, T>(f: F) -> Self::Join<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // Its conditions, no thread-locals across a wait and small frames, hold for the workloads here.
        may::go!(f)
    }

    fn join<T: Send + 'static>(handle: Self::Join<T>) -> T {
        handle.join().expect("a coroutine of the workload")
    }
}

impl Coroutines for May {
    type Lock = MayMutex;

    #[inline(always)]
    fn yield_now() {
        may::coroutine::yield_now();
    }
    fn sleep_until(deadline: Instant) {
        // It takes a duration only; early by nothing, for it rounds upwards.
        while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            may::coroutine::sleep(left);
        }
    }
}

pub(crate) struct MayMutex(may::sync::Mutex<u64>);

impl Lock for MayMutex {
    fn new() -> Self {
        Self(may::sync::Mutex::new(0))
    }
    fn add(&self, n: u64) {
        *self.0.lock().unwrap() += n;
    }
    fn get(&self) -> u64 {
        *self.0.lock().unwrap()
    }
}
