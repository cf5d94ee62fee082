//! The runtimes, and which workload runs on which of them with which channels.

use std::thread;
use std::time::Instant;

use super::channels::{self, Crossbeam, Flume, Kanal};
use super::workloads::{self, measured};
use super::{Channel, Coroutines, Lock, Oneshot, Selectable, Tasks};
use crate::measure::{Extra, Sample};
use crate::sample::Job;

pub(crate) struct Aqueduct;
pub(crate) struct May;
pub(crate) struct Threads;

type Work = fn(u64) -> Extra;

/// Runs the job in a coroutine or thread of its runtime.
pub(super) fn run(job: &Job) -> Option<Sample> {
    let name = job.workload.as_str();
    match (job.runtime.as_str(), job.channel.as_str()) {
        ("aqueduct-go", "") => {
            let work = coroutines::<Aqueduct>(name)
                .or_else(|| library::<Aqueduct, channels::Aqueduct, AqueductOneshot>(name))
                .or_else(|| channel::<Aqueduct, channels::Aqueduct>(name))
                .or_else(|| select::<Aqueduct, channels::Aqueduct>(name))
                .or_else(|| timeouts(name))?;
            let runtime = aqueduct::Runtime::builder().workers(job.workers).build().expect("a runtime");
            let job = job.clone();
            Some(runtime.go(move || measured(&job, work)).join().expect("the workload"))
        }
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
                "aqueduct" => on_threads::<channels::Aqueduct>(name)
                    .or_else(|| select::<Threads, channels::Aqueduct>(name)),
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

fn coroutines<R: Coroutines>(name: &str) -> Option<Work> {
    Some(match name {
        "yield-1" => workloads::yield_one::<R>,
        "yield-1000" => workloads::yield_thousand::<R>,
        "yield-many" => workloads::yield_many::<R>,
        "spawn-join" => workloads::spawn_join::<R>,
        "timers" => workloads::timers::<R>,
        "mutex" => workloads::mutex::<R>,
        _ => return None,
    })
}

/// The workloads that park at what the runtime's own library has.
fn library<R: Tasks, C: Channel, O: Oneshot>(name: &str) -> Option<Work> {
    Some(match name {
        "alive" => workloads::alive::<R, C, O>,
        "chained-spawn" => workloads::chained_spawn::<R, O>,
        "spawn-many" => workloads::spawn_many::<R, O>,
        "ping-pong-oneshot" => workloads::ping_pong_oneshot::<R, O>,
        _ => return None,
    })
}

fn channel<R: Tasks, C: Channel>(name: &str) -> Option<Work> {
    Some(match name {
        "skynet" => workloads::skynet::<R, C>,
        "sieve" => workloads::sieve::<R, C>,
        "ping-pong" => workloads::ping_pong::<R, C>,
        "spsc" => workloads::spsc::<R, C>,
        "mpmc" => workloads::mpmc::<R, C>,
        _ => return None,
    })
}

/// Those of `channel` that need few threads.
fn on_threads<C: Channel>(name: &str) -> Option<Work> {
    match name {
        "skynet" | "sieve" => None,
        _ => channel::<Threads, C>(name),
    }
}

fn select<R: Tasks, C: Selectable>(name: &str) -> Option<Work> {
    Some(match name {
        "select" => workloads::select_rendezvous::<R, C>,
        "select-buffered" => workloads::select_buffered::<R, C>,
        "select-timer" => workloads::select_timer::<R, C>,
        _ => return None,
    })
}

fn timeouts(name: &str) -> Option<Work> {
    Some(match name {
        "timeout-ready" => workloads::timeout_ready,
        "arm-cancel" => workloads::arm_cancel,
        _ => return None,
    })
}

impl Tasks for Aqueduct {
    type Join<T: Send + 'static> = aqueduct::JoinHandle<T>;

    fn go<F, T>(f: F) -> Self::Join<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        aqueduct::go(f)
    }

    fn join<T: Send + 'static>(handle: Self::Join<T>) -> T {
        handle.join().expect("a task of the workload")
    }
}

impl Coroutines for Aqueduct {
    type Lock = aqueduct::sync::Mutex<u64>;

    fn yield_now() {
        aqueduct::yield_now();
    }
    fn sleep_until(deadline: Instant) {
        aqueduct::time::sleep_until(deadline);
    }
}

impl Lock for aqueduct::sync::Mutex<u64> {
    fn new() -> Self {
        aqueduct::sync::Mutex::new(0)
    }
    fn add(&self, n: u64) {
        *self.lock() += n;
    }
    fn get(&self) -> u64 {
        *self.lock()
    }
}

pub(crate) struct AqueductOneshot;

impl Oneshot for AqueductOneshot {
    type Tx = aqueduct::channel::oneshot::Sender<u64>;
    type Rx = aqueduct::channel::oneshot::Receiver<u64>;

    fn channel() -> (Self::Tx, Self::Rx) {
        aqueduct::channel::oneshot::channel()
    }
    fn send(tx: Self::Tx, value: u64) {
        tx.send(value).expect("the receiver is there")
    }
    fn recv(rx: Self::Rx) -> u64 {
        rx.recv().expect("the sender sends")
    }
}

/// A channel used once, where there is none for one message.
pub(crate) struct ByChannel<C>(std::marker::PhantomData<C>);

impl<C: Channel> Oneshot for ByChannel<C> {
    type Tx = C::Tx;
    type Rx = C::Rx;

    fn channel() -> (Self::Tx, Self::Rx) {
        C::bounded(1)
    }
    fn send(tx: Self::Tx, value: u64) {
        C::send(&tx, value);
    }
    fn recv(rx: Self::Rx) -> u64 {
        C::recv(&rx).expect("the sender sends")
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
    type Lock = may::sync::Mutex<u64>;

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

impl Lock for may::sync::Mutex<u64> {
    fn new() -> Self {
        may::sync::Mutex::new(0)
    }
    fn add(&self, n: u64) {
        *self.lock().unwrap() += n;
    }
    fn get(&self) -> u64 {
        *self.lock().unwrap()
    }
}

impl Tasks for Threads {
    type Join<T: Send + 'static> = thread::JoinHandle<T>;

    fn go<F, T>(f: F) -> Self::Join<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        thread::spawn(f)
    }

    fn join<T: Send + 'static>(handle: Self::Join<T>) -> T {
        handle.join().expect("a thread of the workload")
    }
}
