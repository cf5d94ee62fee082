//! Coroutines, and threads: runtimes and channels whose operations wait on the spot, behind traits, and every workload once
//! for all of them.

mod workloads;

use std::thread;
use std::time::{Duration, Instant};

pub use workloads::measured;

use crate::measure::Extra;

/// What runs closures side by side.
pub trait Tasks: 'static {
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
pub trait Coroutines: Tasks {
    type Lock: Lock;

    fn yield_now();
    fn sleep_until(deadline: Instant);
}

/// A mutex of a counter.
pub trait Lock: Send + Sync + 'static {
    fn new() -> Self;
    fn add(&self, n: u64);
    fn get(&self) -> u64;
}

/// A channel of numbers.
pub trait Channel: 'static {
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
pub trait Oneshot: 'static {
    type Tx: Send + 'static;
    type Rx: Send + 'static;

    fn channel() -> (Self::Tx, Self::Rx);
    fn send(tx: Self::Tx, value: u64);
    fn recv(rx: Self::Rx) -> u64;
}

/// Channels of which one may be chosen.
pub trait Selectable: Channel {
    /// Takes so many messages from whichever channel has one; their sum. With a limit, each choice has a timer that must not
    /// fire.
    fn choose(rxs: [Self::Rx; 4], count: u64, limit: Option<Duration>) -> u64;
}

/// A workload that is ready to run.
pub type Work = fn(u64) -> Extra;

pub fn coroutines<R: Coroutines>(name: &str) -> Option<Work> {
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
pub fn library<R: Tasks, C: Channel, O: Oneshot>(name: &str) -> Option<Work> {
    Some(match name {
        "alive" => workloads::alive::<R, C, O>,
        "chained-spawn" => workloads::chained_spawn::<R, O>,
        "spawn-many" => workloads::spawn_many::<R, O>,
        "ping-pong-oneshot" => workloads::ping_pong_oneshot::<R, O>,
        _ => return None,
    })
}

pub fn channel<R: Tasks, C: Channel>(name: &str) -> Option<Work> {
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
pub fn on_threads<C: Channel>(name: &str) -> Option<Work> {
    match name {
        "skynet" | "sieve" => None,
        _ => channel::<Threads, C>(name),
    }
}

pub fn select<R: Tasks, C: Selectable>(name: &str) -> Option<Work> {
    Some(match name {
        "select" => workloads::select_rendezvous::<R, C>,
        "select-buffered" => workloads::select_buffered::<R, C>,
        "select-timer" => workloads::select_timer::<R, C>,
        _ => return None,
    })
}

/// The system's threads.
pub struct Threads;

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

/// A channel used once, where there is none for one message.
pub struct ByChannel<C>(std::marker::PhantomData<C>);

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
