//! The runtimes, and which workload runs on which of them with which channels.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use workloads::asynchronous::{
    Gate, Lock, Oneshot, Runtime, Timed, Unwrapped, Work, Yielding, channel, library, mpmc, mutex, select,
    spawning, timed, yields,
};
use workloads::{Job, Sample};

use crate::futures_channels::{AsyncChannel, Flume, Kanal, TokioMpsc};

pub(crate) struct Tokio;
pub(crate) struct Smol;
pub(crate) struct FuturesPool;

/// Runs the job as a task of its runtime, on its workers.
pub(crate) fn run(job: &Job) -> Option<Sample> {
    let workers = job.workers;
    match job.runtime.as_str() {
        "tokio-ct" | "tokio-mt" => {
            let work = match job.channel.as_str() {
                "" => spawning::<Tokio, TokioOneshot>(job)
                    .or_else(|| yields::<Tokio>(job))
                    .or_else(|| timed::<Tokio>(job))
                    .or_else(|| library::<Tokio, TokioGate, TokioOneshot>(job))
                    .or_else(|| mutex::<Tokio, TokioMutex>(job)),
                "mpsc" => channel::<Tokio, TokioMpsc>(job).or_else(|| select::<Tokio, TokioMpsc>(job)),
                other => foreign::<Tokio>(other, job),
            }?;
            let mut builder = match job.runtime.as_str() {
                "tokio-ct" if workers == 1 => tokio::runtime::Builder::new_current_thread(),
                "tokio-ct" => return None,
                _ => tokio::runtime::Builder::new_multi_thread(),
            };
            let runtime = builder.worker_threads(workers).enable_all().build().expect("a runtime");
            Some(runtime.block_on(runtime.spawn(work)).expect("the workload"))
        }
        "smol-ex" | "smol-global" => {
            let work = match job.channel.as_str() {
                "" => spawning::<Smol, TokioOneshot>(job)
                    .or_else(|| yields::<Smol>(job))
                    .or_else(|| timed::<Smol>(job))
                    .or_else(|| library::<Smol, SmolGate, TokioOneshot>(job))
                    .or_else(|| mutex::<Smol, AsyncLock>(job)),
                "std-mutex" => mutex::<Smol, StdMutex>(job),
                other => foreign::<Smol>(other, job),
            }?;
            match job.runtime.as_str() {
                "smol-ex" if workers > 1 => None,
                "smol-ex" => Some(smol::block_on(EXECUTOR.run(EXECUTOR.spawn(work)))),
                _ => {
                    IS_GLOBAL.store(true, Ordering::Relaxed);
                    Some(smol::block_on(smol::spawn(work)))
                }
            }
        }
        "futures-pool" => {
            let work = spawning::<FuturesPool, TokioOneshot>(job)?;
            let pool = futures::executor::ThreadPool::builder().pool_size(workers).create().expect("a pool");
            let pool = POOL.get_or_init(|| pool);
            let (tx, rx) = tokio::sync::oneshot::channel();
            pool.spawn_ok(async move { drop(tx.send(work.await)) });
            Some(smol::block_on(rx).expect("the workload"))
        }
        _ => None,
    }
}

/// Channels that are at home on no runtime.
fn foreign<R: Timed>(name: &str, job: &Job) -> Option<Work> {
    match name {
        "kanal" => channel::<R, Kanal>(job).or_else(|| mpmc::<R, Kanal>(job)),
        "flume" => {
            channel::<R, Flume>(job).or_else(|| mpmc::<R, Flume>(job)).or_else(|| select::<R, Flume>(job))
        }
        "async-channel" => channel::<R, AsyncChannel>(job)
            .or_else(|| mpmc::<R, AsyncChannel>(job))
            .or_else(|| select::<R, AsyncChannel>(job)),
        _ => None,
    }
}

impl Runtime for Tokio {
    type Join<T: Send + 'static> = Unwrapped<tokio::task::JoinHandle<T>>;

    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Unwrapped(tokio::spawn(future))
    }

    fn detach<F: Future<Output = ()> + Send + 'static>(future: F) {
        drop(tokio::spawn(future));
    }
}

impl Yielding for Tokio {
    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }
}

impl Timed for Tokio {
    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + Send {
        tokio::time::sleep_until(deadline.into())
    }

    fn timer(delay: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(delay)
    }

    async fn timeout(limit: Duration, future: impl Future<Output = ()> + Send) -> bool {
        tokio::time::timeout(limit, future).await.is_ok()
    }
}

pub(crate) struct TokioGate(tokio::sync::watch::Sender<bool>);

impl Gate for TokioGate {
    fn new() -> Self {
        Self(tokio::sync::watch::Sender::new(false))
    }
    async fn pass(&self) {
        self.0.subscribe().wait_for(|open| *open).await.expect("the sender is there");
    }
    fn open(&self) {
        self.0.send_replace(true);
    }
}

pub(crate) struct TokioOneshot;

impl Oneshot for TokioOneshot {
    type Tx = tokio::sync::oneshot::Sender<u64>;
    type Rx = tokio::sync::oneshot::Receiver<u64>;

    fn channel() -> (Self::Tx, Self::Rx) {
        tokio::sync::oneshot::channel()
    }
    fn send(tx: Self::Tx, value: u64) {
        tx.send(value).expect("the receiver is there")
    }
    async fn recv(rx: Self::Rx) -> u64 {
        rx.await.expect("the sender sends")
    }
}

pub(crate) struct TokioMutex(tokio::sync::Mutex<u64>);

impl Lock for TokioMutex {
    fn new() -> Self {
        Self(tokio::sync::Mutex::new(0))
    }
    async fn add(&self, n: u64) {
        *self.0.lock().await += n;
    }
    async fn get(&self) -> u64 {
        *self.0.lock().await
    }
}

/// smol has two forms: its global executor with threads of its own, and an executor that somebody drives.
static EXECUTOR: async_executor::Executor<'static> = async_executor::Executor::new();
static IS_GLOBAL: AtomicBool = AtomicBool::new(false);

impl Runtime for Smol {
    type Join<T: Send + 'static> = smol::Task<T>;

    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if IS_GLOBAL.load(Ordering::Relaxed) { smol::spawn(future) } else { EXECUTOR.spawn(future) }
    }

    fn detach<F: Future<Output = ()> + Send + 'static>(future: F) {
        Self::spawn(future).detach();
    }
}

impl Yielding for Smol {
    fn yield_now() -> impl Future<Output = ()> + Send {
        smol::future::yield_now()
    }
}

impl Timed for Smol {
    async fn sleep_until(deadline: Instant) {
        smol::Timer::at(deadline).await;
    }

    async fn timer(delay: Duration) {
        smol::Timer::after(delay).await;
    }

    async fn timeout(limit: Duration, future: impl Future<Output = ()> + Send) -> bool {
        let ready = async {
            future.await;
            true
        };
        let late = async {
            smol::Timer::after(limit).await;
            false
        };
        smol::future::or(ready, late).await
    }
}

pub(crate) struct SmolGate(async_channel::Sender<u64>, async_channel::Receiver<u64>);

impl Gate for SmolGate {
    fn new() -> Self {
        let (tx, rx) = async_channel::bounded(1);
        Self(tx, rx)
    }
    async fn pass(&self) {
        self.1.recv().await.expect_err("nothing is sent, the channel is closed");
    }
    fn open(&self) {
        self.0.close();
    }
}

pub(crate) struct AsyncLock(async_lock::Mutex<u64>);

impl Lock for AsyncLock {
    fn new() -> Self {
        Self(async_lock::Mutex::new(0))
    }
    async fn add(&self, n: u64) {
        *self.0.lock().await += n;
    }
    async fn get(&self) -> u64 {
        *self.0.lock().await
    }
}

/// A limit, not a peer: it blocks the worker.
pub(crate) struct StdMutex(std::sync::Mutex<u64>);

impl Lock for StdMutex {
    fn new() -> Self {
        Self(std::sync::Mutex::new(0))
    }
    async fn add(&self, n: u64) {
        *self.0.lock().unwrap() += n;
    }
    async fn get(&self) -> u64 {
        *self.0.lock().unwrap()
    }
}

static POOL: OnceLock<futures::executor::ThreadPool> = OnceLock::new();

impl Runtime for FuturesPool {
    type Join<T: Send + 'static> = futures::future::RemoteHandle<T>;

    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        use futures::task::SpawnExt;
        POOL.get().expect("the pool").spawn_with_handle(future).expect("the pool runs")
    }

    fn detach<F: Future<Output = ()> + Send + 'static>(future: F) {
        POOL.get().expect("the pool").spawn_ok(future);
    }
}
