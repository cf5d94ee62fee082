//! Coroutines, and threads: runtimes and channels whose operations wait on the spot, behind traits, and every workload once
//! for all of them.

mod channels;
mod runtimes;
mod workloads;

use std::time::{Duration, Instant};

use crate::measure::Sample;

/// What runs closures side by side.
pub(crate) trait Tasks: 'static {
    type Join<T: Send + 'static>: Send;

    fn go<F, T>(f: F) -> Self::Join<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static;

    fn join<T: Send + 'static>(handle: Self::Join<T>) -> T;

    /// Starts what nobody will join.
    fn detach<F>(f: F)
    where
        F: FnOnce() + Send + 'static,
    {
        drop(Self::go(f));
    }
}

/// What can yield, lock and sleep without a thread.
pub(crate) trait Coroutines: Tasks {
    type Lock: Lock;

    fn yield_now();
    fn sleep_until(deadline: Instant);
}

/// A mutex of a counter.
pub(crate) trait Lock: Send + Sync + 'static {
    fn new() -> Self;
    fn add(&self, n: u64);
    fn get(&self) -> u64;
}

/// A channel of numbers.
pub(crate) trait Channel: 'static {
    type Tx: Clone + Send + 'static;
    type Rx: Send + Sync + 'static;

    /// The smallest capacity there is: 0 is a rendezvous.
    const SMALLEST: usize;

    fn bounded(capacity: usize) -> (Self::Tx, Self::Rx);
    fn send(tx: &Self::Tx, value: u64);
    /// None: closed.
    fn recv(rx: &Self::Rx) -> Option<u64>;
    fn share(rx: &Self::Rx) -> Self::Rx;
}

/// A channel for one number.
pub(crate) trait Oneshot: 'static {
    type Tx: Send + 'static;
    type Rx: Send + 'static;

    fn channel() -> (Self::Tx, Self::Rx);
    fn send(tx: Self::Tx, value: u64);
    fn recv(rx: Self::Rx) -> u64;
}

/// Channels of which one may be chosen.
pub(crate) trait Selectable: Channel {
    /// Takes so many messages from whichever channel has one; their sum. With a limit, each choice has a timer that must not
    /// fire.
    fn choose(rxs: [Self::Rx; 4], count: u64, limit: Option<Duration>) -> u64;
}

/// Runs the workload in this process, if the runtime can.
pub(crate) fn run(job: &crate::sample::Job) -> Option<Sample> {
    runtimes::run(job)
}
