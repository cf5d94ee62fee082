//! Runtimes and channels that speak in futures, behind two traits, and every workload once for all of them.

mod channels;
mod runtimes;
mod workloads;

use std::future::Future;
use std::time::{Duration, Instant};

use crate::measure::Sample;

/// What spawns and polls futures.
pub(crate) trait Runtime: 'static {
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
pub(crate) trait Yielding: Runtime {
    fn yield_now() -> impl Future<Output = ()> + Send;
}

/// What has timers.
pub(crate) trait Timed: Runtime {
    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + Send;

    /// A timer that somebody else awaits.
    fn timer(delay: Duration) -> impl Future<Output = ()> + Send;

    /// True if the future was ready in time.
    fn timeout(limit: Duration, future: impl Future<Output = ()> + Send)
    -> impl Future<Output = bool> + Send;
}

/// A mutex of counters.
pub(crate) trait Lock: Send + Sync + 'static {
    fn new() -> Self;
    fn add(&self, n: u64) -> impl Future<Output = ()> + Send;
    fn get(&self) -> impl Future<Output = u64> + Send;
}

/// What holds any number of tasks back until it is opened.
pub(crate) trait Gate: Send + Sync + 'static {
    fn new() -> Self;
    fn pass(&self) -> impl Future<Output = ()> + Send;
    fn open(&self);
}

/// A channel for one number.
pub(crate) trait Oneshot: 'static {
    type Tx: Send + 'static;
    type Rx: Send + 'static;

    fn channel() -> (Self::Tx, Self::Rx);
    fn send(tx: Self::Tx, value: u64);
    fn recv(rx: Self::Rx) -> impl Future<Output = u64> + Send;
}

/// A channel of numbers.
pub(crate) trait Channel: 'static {
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
pub(crate) trait Mpmc: Channel {
    fn share(rx: &Self::Rx) -> Self::Rx;
}

/// A channel whose receive may lose against others.
pub(crate) trait Selectable: Channel {
    fn select(rxs: &mut [Self::Rx; 4]) -> impl Future<Output = u64> + Send;

    /// As `select`, with a timer that must not fire.
    fn select_or<R: Timed>(rxs: &mut [Self::Rx; 4], limit: Duration) -> impl Future<Output = u64> + Send;
}

/// Runs the workload in this process, if the runtime can.
pub(crate) fn run(job: &crate::sample::Job) -> Option<Sample> {
    runtimes::run(job)
}
