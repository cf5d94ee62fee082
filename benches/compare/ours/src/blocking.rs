//! aqueduct's coroutines, and its channels between threads.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use aqueduct::Wait;
use workloads::blocking::{
    Coroutines, Lock, Oneshot, Selectable, Tasks, Threads, Work, channel, coroutines, library, measured,
    on_threads, select,
};
use workloads::shapes::FAR;
use workloads::{Extra, Job, Sample};

pub(crate) struct Aqueduct;
pub(crate) struct Channels;

/// Runs the job in a coroutine on the workers, or on threads.
pub(crate) fn run(job: &Job) -> Option<Sample> {
    let name = job.workload.as_str();
    match (job.runtime.as_str(), job.channel.as_str()) {
        ("aqueduct-go", "") => {
            let work = coroutines::<Aqueduct>(name)
                .or_else(|| library::<Aqueduct, Channels, Once>(name))
                .or_else(|| channel::<Aqueduct, Channels>(name))
                .or_else(|| select::<Aqueduct, Channels>(name))
                .or_else(|| timeouts(name))?;
            let runtime = aqueduct::Runtime::builder().workers(job.workers).build().expect("a runtime");
            let job = job.clone();
            Some(runtime.go(move || measured(&job, work)).join().expect("the workload"))
        }
        ("threads", "aqueduct") => {
            let work = on_threads::<Channels>(name).or_else(|| select::<Threads, Channels>(name))?;
            Some(measured(job, work))
        }
        _ => None,
    }
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
    type Lock = Mutex;

    #[inline(always)]
    fn yield_now() {
        aqueduct::yield_now();
    }
    fn sleep_until(deadline: Instant) {
        aqueduct::time::sleep_until(deadline);
    }
}

pub(crate) struct Mutex(aqueduct::sync::Mutex<u64>);

impl Lock for Mutex {
    fn new() -> Self {
        Self(aqueduct::sync::Mutex::new(0))
    }
    fn add(&self, n: u64) {
        *self.0.lock() += n;
    }
    fn get(&self) -> u64 {
        *self.0.lock()
    }
}

pub(crate) struct Once;

impl Oneshot for Once {
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

fn timeouts(name: &str) -> Option<Work> {
    Some(match name {
        "timeout-ready" => timeout_ready,
        "arm-cancel" => arm_cancel,
        _ => return None,
    })
}

/// In Go style a future is waited for; the limit is around it.
fn timeout_ready(ops: u64) -> Extra {
    for _ in 0..ops {
        aqueduct::time::timeout(FAR, async {}).wait().expect("it is ready");
    }
    vec![]
}

fn arm_cancel(ops: u64) -> Extra {
    for _ in 0..ops {
        let mut timer = pin!(aqueduct::time::Timer::after(FAR));
        let armed = poll_fn(|cx| {
            assert!(timer.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        });
        armed.wait();
    }
    vec![]
}

workloads::blocking_channel!(Channels, aqueduct::channel, 0);

impl Selectable for Channels {
    fn choose([a, b, c, d]: [Self::Rx; 4], count: u64, limit: Option<Duration>) -> u64 {
        let mut sum = 0;
        for _ in 0..count {
            let message = match limit {
                None => aqueduct::select! {
                    v = <-a => v,
                    v = <-b => v,
                    v = <-c => v,
                    v = <-d => v,
                },
                Some(limit) => aqueduct::select! {
                    v = <-a => v,
                    v = <-b => v,
                    v = <-c => v,
                    v = <-d => v,
                    _ = <-aqueduct::time::after(limit) => panic!("the timer fired"),
                },
            };
            sum += message.expect("the senders are there");
        }
        sum
    }
}
