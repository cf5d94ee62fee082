//! Waiting off the workers: block the thread.
//!
//! A wait has its own flag and loops on it: the token of `thread::park` alone could be consumed by other code that parks in
//! between. The parker is cached per thread; a nested wait finds the cache empty and makes its own, so that no wake is
//! consumed by the wrong one.
//!
//! A thread looks for some microseconds before it sleeps, if there is a core for whoever is to wake it: to be woken on another core
//! costs both sides tens of microseconds, more than most answers take.

use crate::reactor::clock;
use crate::runtime::current;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How often a thread looks before it sleeps: at first each time after twice as many pauses of the processor, 63 in all, or up to
/// 3 us; then after letting others run, which takes up to 50 us when there are none: as long as it takes to be woken on another core,
/// for a pair of which one sleeps makes the other sleep, and stays that slow. Two threads on a rendezvous took 64 us a round trip
/// without, 7.6 with 255 pauses alone, 1.4 with both; threads that select over four rendezvous 8.7 and 0.8 us.
const LOOKS: u32 = 6;
const YIELDS: u32 = 64;

struct Parker {
    notified: AtomicBool,
    thread: Thread,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release pairs with the Acquire in `park`: the woken thread sees what the waker wrote before.
        if !self.notified.swap(true, Release) {
            self.thread.unpark();
        }
    }
}

impl Parker {
    /// Blocks until notified (true) or until the deadline (false).
    fn park(&self, deadline: Option<Instant>) -> bool {
        self.look(deadline);
        while !self.notified.swap(false, Acquire) {
            match deadline {
                None => thread::park(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(clock::now());
                    if left.is_zero() {
                        return false;
                    }
                    thread::park_timeout(left);
                }
            }
        }
        true
    }

    /// Looks for a while whether it is notified, not past the deadline.
    fn look(&self, deadline: Option<Instant>) {
        if !super::has_company() || super::look_repeatedly(LOOKS, || self.notified.load(Relaxed)) {
            return;
        }
        for _ in 0..YIELDS {
            if self.notified.load(Relaxed) || deadline.is_some_and(|deadline| clock::now() >= deadline) {
                return;
            }
            thread::yield_now();
        }
    }
}

/// Looks for a while, before a wait begins, for what it is for; not if the wait is refused, or may end sooner than that. A select that
/// stands in line does so at each of its channels, and is handed one message: four senders and a select took 150 ns a message
/// without, 120 with it. A receive or a send alone gained nothing: for a buffer they stand in one line, and they disturb the other.
pub(super) fn look_ahead<T>(deadline: Option<Instant>, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    if current::forbidden().is_some() || deadline.is_some_and(|deadline| deadline <= clock::now() + AHEAD) {
        return None;
    }
    let mut found = look();
    if found.is_none() {
        super::look_repeatedly(LOOKS, || {
            found = look();
            found.is_some()
        });
    }
    found
}

/// Longer than looking ahead takes, unless a lock is contended.
const AHEAD: Duration = Duration::from_micros(10);

/// Whether this process may use more than one, as far as was known at the first wait.
pub(crate) fn several_cores() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| thread::available_parallelism().is_ok_and(|cores| cores.get() > 1))
}

thread_local! {
    static CACHE: Cell<Option<Arc<Parker>>> = const { Cell::new(None) };
}

/// Takes the thread's parker; a new one when it is in use, or when the thread is ending and its locals are gone.
fn take_parker() -> Arc<Parker> {
    let cached = CACHE.try_with(Cell::take).ok().flatten();
    cached.unwrap_or_else(|| Arc::new(Parker { notified: AtomicBool::new(false), thread: thread::current() }))
}

/// The thread's parker, put back when dropped.
pub(super) struct Cached(Arc<Parker>);

impl Cached {
    pub(super) fn take() -> Self {
        Self(take_parker())
    }

    pub(super) fn waker(&self) -> Waker {
        Waker::from(self.0.clone())
    }

    /// Blocks until notified (true) or until the deadline (false).
    pub(super) fn park(&self, deadline: Option<Instant>) -> bool {
        self.0.park(deadline)
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        let parker = self.0.clone();
        let _ = CACHE.try_with(|cache| cache.set(Some(parker)));
    }
}

/// None: the deadline passed first.
#[track_caller]
pub(super) fn block_on<F: Future>(mut future: Pin<&mut F>, deadline: Option<Instant>) -> Option<F::Output> {
    let parker = Cached::take();
    let waker = parker.waker();
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        crate::runtime::fork::check();
        if let Some(site) = current::forbidden() {
            super::hook::refuse(site, std::panic::Location::caller());
        }
        if !parker.park(deadline) {
            return None;
        }
    }
}
