//! Runtimes and channels that speak in futures, behind two traits, and every workload once for all of them.

mod workloads;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use workloads::measured;

use crate::measure::Sample;
use crate::sample::Job;

/// What spawns and polls futures.
pub trait Runtime: 'static {
    type Join<T: Send + 'static>: Future<Output = T> + Send;

    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// Spawns what nobody will join.
    fn detach<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static;
}

/// Whose yield goes through the scheduler.
pub trait Yielding: Runtime {
    fn yield_now() -> impl Future<Output = ()> + Send;
}

/// What has timers.
pub trait Timed: Runtime {
    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + Send;

    /// A timer that somebody else awaits.
    fn timer(delay: Duration) -> impl Future<Output = ()> + Send;

    /// True if the future was ready in time.
    fn timeout(limit: Duration, future: impl Future<Output = ()> + Send)
    -> impl Future<Output = bool> + Send;
}

/// A mutex of counters.
pub trait Lock: Send + Sync + 'static {
    fn new() -> Self;
    fn add(&self, n: u64) -> impl Future<Output = ()> + Send;
    fn get(&self) -> impl Future<Output = u64> + Send;
}

/// What holds any number of tasks back until it is opened.
pub trait Gate: Send + Sync + 'static {
    fn new() -> Self;
    fn pass(&self) -> impl Future<Output = ()> + Send;
    fn open(&self);
}

/// A channel for one number.
pub trait Oneshot: 'static {
    type Tx: Send + 'static;
    type Rx: Send + 'static;

    fn channel() -> (Self::Tx, Self::Rx);
    fn send(tx: Self::Tx, value: u64);
    fn recv(rx: Self::Rx) -> impl Future<Output = u64> + Send;
}

/// A channel of numbers.
pub trait Channel: 'static {
    type Tx: Clone + Send + Sync + 'static;
    type Rx: Send + 'static;

    /// The smallest capacity there is: 0 is a rendezvous.
    const SMALLEST: usize;

    fn bounded(capacity: usize) -> (Self::Tx, Self::Rx);
    fn send(tx: &Self::Tx, value: u64) -> impl Future<Output = ()> + Send;
    /// None: closed.
    fn recv(rx: &mut Self::Rx) -> impl Future<Output = Option<u64>> + Send;
}

/// A channel that several may receive from.
pub trait Mpmc: Channel {
    fn share(rx: &Self::Rx) -> Self::Rx;
}

/// A channel whose receive may lose against others.
pub trait Selectable: Channel {
    fn select(rxs: &mut [Self::Rx; 4]) -> impl Future<Output = u64> + Send;

    /// As `select`, with a timer that must not fire.
    fn select_or<R: Timed>(rxs: &mut [Self::Rx; 4], limit: Duration) -> impl Future<Output = u64> + Send;
}

/// A workload that is ready to run.
pub type Work = Pin<Box<dyn Future<Output = Sample> + Send>>;

/// The workloads that need little but spawning and joining.
pub fn spawning<R: Runtime, O: Oneshot>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "spawn-join" => Box::pin(measured(job, workloads::spawn_join::<R>)),
        "chained-spawn" => Box::pin(measured(job, workloads::chained_spawn::<R, O>)),
        "spawn-many" => Box::pin(measured(job, workloads::spawn_many::<R, O>)),
        _ => return None,
    })
}

pub fn yields<R: Yielding>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "yield-1" => Box::pin(measured(job, workloads::yield_one::<R>)),
        "yield-1000" => Box::pin(measured(job, workloads::yield_thousand::<R>)),
        "yield-many" => Box::pin(measured(job, workloads::yield_many::<R>)),
        _ => return None,
    })
}

pub fn timed<R: Timed>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "timers" => Box::pin(measured(job, workloads::timers::<R>)),
        "timeout-ready" => Box::pin(measured(job, workloads::timeout_ready::<R>)),
        "arm-cancel" => Box::pin(measured(job, workloads::arm_cancel::<R>)),
        _ => return None,
    })
}

/// The workloads that park at what the runtime's own library has.
pub fn library<R: Runtime, G: Gate, O: Oneshot>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "alive" => Box::pin(measured(job, workloads::alive::<R, G, O>)),
        "ping-pong-oneshot" => Box::pin(measured(job, workloads::ping_pong_oneshot::<R, O>)),
        _ => return None,
    })
}

pub fn mutex<R: Runtime, L: Lock>(job: &Job) -> Option<Work> {
    let job = job.clone();
    (job.workload == "mutex").then(|| -> Work { Box::pin(measured(job, workloads::mutex::<R, L>)) })
}

pub fn channel<R: Runtime, C: Channel>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "ping-pong" => Box::pin(measured(job, workloads::ping_pong::<R, C>)),
        "spsc" => Box::pin(measured(job, workloads::spsc::<R, C>)),
        "skynet" => Box::pin(measured(job, workloads::skynet::<R, C>)),
        "sieve" => Box::pin(measured(job, workloads::sieve::<R, C>)),
        _ => return None,
    })
}

pub fn mpmc<R: Runtime, C: Mpmc>(job: &Job) -> Option<Work> {
    let job = job.clone();
    (job.workload == "mpmc").then(|| -> Work { Box::pin(measured(job, workloads::mpmc::<R, C>)) })
}

pub fn select<R: Timed, C: Selectable>(job: &Job) -> Option<Work> {
    let job = job.clone();
    Some(match job.workload.as_str() {
        "select" => Box::pin(measured(job, workloads::select_rendezvous::<R, C>)),
        "select-buffered" => Box::pin(measured(job, workloads::select_buffered::<R, C>)),
        "select-timer" => Box::pin(measured(job, workloads::select_timer::<R, C>)),
        _ => return None,
    })
}

/// A join handle whose task neither panics nor is cancelled.
pub struct Unwrapped<H>(pub H);

impl<T, E: Debug, H: Future<Output = Result<T, E>> + Unpin> Future for Unwrapped<H> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.expect("a task of the workload"))
    }
}
