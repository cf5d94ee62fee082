//! aqueduct's futures.

use std::future::Future;
use std::time::{Duration, Instant};

use workloads::asynchronous::{
    Channel, Gate, Lock, Mpmc, Oneshot, Runtime, Selectable, Timed, Unwrapped, Yielding, channel, library,
    mpmc, mutex, select, spawning, timed, yields,
};
use workloads::{Job, Sample};

pub(crate) struct Aqueduct;
pub(crate) struct Channels;

/// Runs the job as a task, on the workers.
pub(crate) fn run(job: &Job) -> Option<Sample> {
    if job.runtime != "aqueduct-async" || !job.channel.is_empty() {
        return None;
    }
    let work = spawning::<Aqueduct, Once>(job)
        .or_else(|| yields::<Aqueduct>(job))
        .or_else(|| timed::<Aqueduct>(job))
        .or_else(|| library::<Aqueduct, Gated, Once>(job))
        .or_else(|| mutex::<Aqueduct, Mutex>(job))
        .or_else(|| channel::<Aqueduct, Channels>(job))
        .or_else(|| mpmc::<Aqueduct, Channels>(job))
        .or_else(|| select::<Aqueduct, Channels>(job))?;
    let runtime = aqueduct::Runtime::builder().workers(job.workers).build().expect("a runtime");
    Some(runtime.block_on(runtime.spawn(work)).expect("the workload"))
}

impl Runtime for Aqueduct {
    type Join<T: Send + 'static> = Unwrapped<aqueduct::JoinHandle<T>>;

    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Unwrapped(aqueduct::spawn(future))
    }

    fn detach<F: Future<Output = ()> + Send + 'static>(future: F) {
        drop(aqueduct::spawn(future));
    }
}

impl Yielding for Aqueduct {
    fn yield_now() -> impl Future<Output = ()> + Send {
        aqueduct::yield_now_async()
    }
}

impl Timed for Aqueduct {
    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + Send {
        aqueduct::time::Timer::at(deadline)
    }

    fn timer(delay: Duration) -> impl Future<Output = ()> + Send {
        aqueduct::time::Timer::after(delay)
    }

    async fn timeout(limit: Duration, future: impl Future<Output = ()> + Send) -> bool {
        aqueduct::time::timeout(limit, future).await.is_ok()
    }
}

pub(crate) struct Gated(aqueduct::channel::Sender<u64>, aqueduct::channel::Receiver<u64>);

impl Gate for Gated {
    fn new() -> Self {
        let (tx, rx) = aqueduct::channel::bounded(1);
        Self(tx, rx)
    }
    async fn pass(&self) {
        self.1.recv_async().await.expect_err("nothing is sent, the channel is closed");
    }
    fn open(&self) {
        self.0.close();
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
    async fn recv(rx: Self::Rx) -> u64 {
        rx.await.expect("the sender sends")
    }
}

pub(crate) struct Mutex(aqueduct::sync::Mutex<u64>);

impl Lock for Mutex {
    fn new() -> Self {
        Self(aqueduct::sync::Mutex::new(0))
    }
    async fn add(&self, n: u64) {
        *self.0.lock_async().await += n;
    }
    async fn get(&self) -> u64 {
        *self.0.lock_async().await
    }
}

impl Channel for Channels {
    type Tx = aqueduct::channel::Sender<u64>;
    type Rx = aqueduct::channel::Receiver<u64>;
    const SMALLEST: usize = 0;

    fn bounded(capacity: usize) -> (Self::Tx, Self::Rx) {
        aqueduct::channel::bounded(capacity)
    }
    async fn send(tx: &Self::Tx, value: u64) {
        tx.send_async(value).await.expect("the receiver is there")
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv_async().await.ok()
    }
}

impl Mpmc for Channels {
    fn share(rx: &Self::Rx) -> Self::Rx {
        rx.clone()
    }
}

impl Selectable for Channels {
    async fn select(rxs: &mut [Self::Rx; 4]) -> u64 {
        let [a, b, c, d] = &*rxs;
        let message = aqueduct::select_async! {
            v = <-a => v,
            v = <-b => v,
            v = <-c => v,
            v = <-d => v,
        };
        message.expect("the senders are there")
    }

    async fn select_or<R: Timed>(rxs: &mut [Self::Rx; 4], limit: Duration) -> u64 {
        let [a, b, c, d] = &*rxs;
        let message = aqueduct::select_async! {
            v = <-a => v,
            v = <-b => v,
            v = <-c => v,
            v = <-d => v,
            _ = <-aqueduct::time::after(limit) => panic!("the timer fired"),
        };
        message.expect("the senders are there")
    }
}
