//! The runtimes, and which workload runs on which of them with which channels.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::channels::{self, AsyncChannel, Flume, Kanal, TokioMpsc};
use super::workloads::{self, measured};
use super::{Channel, Gate, Lock, Mpmc, Oneshot, Runtime, Selectable, Timed, Yielding};
use crate::measure::Sample;
use crate::sample::Job;

pub(crate) struct Aqueduct;
pub(crate) struct Tokio;
pub(crate) struct Smol;
pub(crate) struct FuturesPool;

type Work = Pin<Box<dyn Future<Output = Sample> + Send>>;

/// Runs the job as a task of its runtime, on its workers.
pub(super) fn run(job: &Job) -> Option<Sample> {
    let workers = job.workers;
    match job.runtime.as_str() {
        "aqueduct-async" => {
            let work = match job.channel.as_str() {
                "" => plain::<Aqueduct>(job)
                    .or_else(|| yields::<Aqueduct>(job))
                    .or_else(|| timed::<Aqueduct>(job))
                    .or_else(|| library::<Aqueduct, AqueductGate, AqueductOneshot>(job))
                    .or_else(|| mutex::<Aqueduct, aqueduct::sync::Mutex<u64>>(job))
                    .or_else(|| channel::<Aqueduct, channels::Aqueduct>(job))
                    .or_else(|| mpmc::<Aqueduct, channels::Aqueduct>(job))
                    .or_else(|| select::<Aqueduct, channels::Aqueduct>(job)),
                _ => None,
            }?;
            let runtime = aqueduct::Runtime::builder().workers(workers).build().expect("a runtime");
            Some(runtime.block_on(runtime.spawn(work)).expect("the workload"))
        }
        "tokio-ct" | "tokio-mt" => {
            let work = match job.channel.as_str() {
                "" => plain::<Tokio>(job)
                    .or_else(|| yields::<Tokio>(job))
                    .or_else(|| timed::<Tokio>(job))
                    .or_else(|| library::<Tokio, tokio::sync::watch::Sender<bool>, TokioOneshot>(job))
                    .or_else(|| mutex::<Tokio, tokio::sync::Mutex<u64>>(job)),
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
                "" => plain::<Smol>(job)
                    .or_else(|| yields::<Smol>(job))
                    .or_else(|| timed::<Smol>(job))
                    .or_else(|| library::<Smol, SmolGate, TokioOneshot>(job))
                    .or_else(|| mutex::<Smol, async_lock::Mutex<u64>>(job)),
                "std-mutex" => mutex::<Smol, std::sync::Mutex<u64>>(job),
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
            let work = plain::<FuturesPool>(job)?;
            let pool = futures::executor::ThreadPool::builder().pool_size(workers).create().expect("a pool");
            let pool = POOL.get_or_init(|| pool);
            let (tx, rx) = tokio::sync::oneshot::channel();
            pool.spawn_ok(async move { drop(tx.send(work.await)) });
            Some(smol::block_on(rx).expect("the workload"))
        }
        _ => None,
    }
}

/// The workloads that need nothing but spawning and joining.
fn plain<R: Runtime>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "spawn-join" => Box::pin(measured(job, workloads::spawn_join::<R>)),
        "chained-spawn" => Box::pin(measured(job, workloads::chained_spawn::<R>)),
        "spawn-many" => Box::pin(measured(job, workloads::spawn_many::<R>)),
        _ => return None,
    })
}

fn yields<R: Yielding>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "yield-1" => Box::pin(measured(job, workloads::yield_one::<R>)),
        "yield-1000" => Box::pin(measured(job, workloads::yield_thousand::<R>)),
        "yield-many" => Box::pin(measured(job, workloads::yield_many::<R>)),
        _ => return None,
    })
}

fn timed<R: Timed>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "timers" => Box::pin(measured(job, workloads::timers::<R>)),
        "timeout-ready" => Box::pin(measured(job, workloads::timeout_ready::<R>)),
        "arm-cancel" => Box::pin(measured(job, workloads::arm_cancel::<R>)),
        _ => return None,
    })
}

/// The workloads that park at what the runtime's own library has.
fn library<R: Runtime, G: Gate, O: Oneshot>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "alive" => Box::pin(measured(job, workloads::alive::<R, G>)),
        "ping-pong-oneshot" => Box::pin(measured(job, workloads::ping_pong_oneshot::<R, O>)),
        _ => return None,
    })
}

fn mutex<R: Runtime, L: Lock>(job: &Job) -> Option<Work> {
    let job = job.clone();
    (job.workload == "mutex").then(|| -> Work { Box::pin(measured(job, workloads::mutex::<R, L>)) })
}

fn channel<R: Runtime, C: Channel>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "ping-pong" => Box::pin(measured(job, workloads::ping_pong::<R, C>)),
        "spsc" => Box::pin(measured(job, workloads::spsc::<R, C>)),
        "skynet" => Box::pin(measured(job, workloads::skynet::<R, C>)),
        "sieve" => Box::pin(measured(job, workloads::sieve::<R, C>)),
        _ => return None,
    })
}

fn mpmc<R: Runtime, C: Mpmc>(job: &Job) -> Option<Work> {
    let job = job.clone();
    (job.workload == "mpmc").then(|| -> Work { Box::pin(measured(job, workloads::mpmc::<R, C>)) })
}

fn select<R: Timed, C: Selectable>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "select" => Box::pin(measured(job, workloads::select_rendezvous::<R, C>)),
        "select-buffered" => Box::pin(measured(job, workloads::select_buffered::<R, C>)),
        "select-timer" => Box::pin(measured(job, workloads::select_timer::<R, C>)),
        _ => return None,
    })
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

/// A join handle whose task neither panics nor is cancelled.
pub(crate) struct Unwrapped<H>(H);

impl<T, E: Debug, H: Future<Output = Result<T, E>> + Unpin> Future for Unwrapped<H> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.expect("a task of the workload"))
    }
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

pub(crate) struct AqueductGate(aqueduct::channel::Sender<u64>, aqueduct::channel::Receiver<u64>);

impl Gate for AqueductGate {
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
    async fn recv(rx: Self::Rx) -> u64 {
        rx.await.expect("the sender sends")
    }
}

impl Lock for aqueduct::sync::Mutex<u64> {
    fn new() -> Self {
        aqueduct::sync::Mutex::new(0)
    }
    async fn add(&self, n: u64) {
        *self.lock_async().await += n;
    }
    async fn get(&self) -> u64 {
        *self.lock_async().await
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

impl Gate for tokio::sync::watch::Sender<bool> {
    fn new() -> Self {
        Self::new(false)
    }
    async fn pass(&self) {
        self.subscribe().wait_for(|open| *open).await.expect("the sender is there");
    }
    fn open(&self) {
        self.send_replace(true);
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

impl Lock for tokio::sync::Mutex<u64> {
    fn new() -> Self {
        tokio::sync::Mutex::new(0)
    }
    async fn add(&self, n: u64) {
        *self.lock().await += n;
    }
    async fn get(&self) -> u64 {
        *self.lock().await
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

impl Lock for async_lock::Mutex<u64> {
    fn new() -> Self {
        async_lock::Mutex::new(0)
    }
    async fn add(&self, n: u64) {
        *self.lock().await += n;
    }
    async fn get(&self) -> u64 {
        *self.lock().await
    }
}

/// A limit, not a peer: it blocks the worker.
impl Lock for std::sync::Mutex<u64> {
    fn new() -> Self {
        std::sync::Mutex::new(0)
    }
    async fn add(&self, n: u64) {
        *self.lock().unwrap() += n;
    }
    async fn get(&self) -> u64 {
        *self.lock().unwrap()
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
