//! What the model checks share.

use crate::primitive::{Mutex, lock};
#[cfg(loom)]
use crate::wait::committed::Committed;

#[cfg(loom)]
use loom::sync::{Condvar, Notify};
#[cfg(shuttle)]
use shuttle::sync::Condvar;
#[cfg(loom)]
use std::{
    cell::Cell,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

/// Explores every order of the steps, and every value that a load may return.
#[cfg(loom)]
pub(crate) fn explore(model: impl Fn() + Sync + Send + 'static) {
    loom::model::Builder::new().check(model);
}

/// As `explore`, but only orders in which threads are interrupted, other than where they wait, at most
/// `preemptions` times: for models whose full space takes minutes. Nearly all known bugs need two or fewer.
#[cfg(loom)]
pub(crate) fn explore_bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// As `explore_bounded`, and [`wait_for`] does not wake anybody for nothing: for three parties.
#[cfg(loom)]
pub(crate) fn explore_calmly(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    CALM.set(true);
    explore_bounded(preemptions, model);
    CALM.set(false);
}

#[cfg(loom)]
thread_local! {
    /// All threads of a model are coroutines of the thread that runs its test.
    static CALM: Cell<bool> = const { Cell::new(false) };
}

/// Waits for a future. Once it may be woken for nothing.
#[cfg(loom)]
pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
    struct Parked(Notify);

    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.notify();
        }
    }

    if !CALM.get() {
        return loom::future::block_on(future);
    }
    let mut future = pin!(future);
    let parked = Arc::new(Parked(Notify::new()));
    let waker = Waker::from(parked.clone());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => parked.0.wait(),
        }
    }
}

/// Something to sleep in, a poller or a parked coroutine: a notification ends the wait in progress, or the next one. Nothing
/// else does, so a lost wake is a deadlock, which the checkers report.
pub(crate) struct Poller {
    notified: Mutex<bool>,
    changed: Condvar,
}

impl Poller {
    pub(crate) fn new() -> Self {
        Self { notified: Mutex::new(false), changed: Condvar::new() }
    }

    pub(crate) fn notify(&self) {
        *lock(&self.notified) = true;
        self.changed.notify_one();
    }

    pub(crate) fn wait(&self) {
        let mut notified = self.notified.lock().unwrap();
        while !*notified {
            notified = self.changed.wait(notified).unwrap();
        }
        *notified = false;
    }

    /// Takes a notification without waiting, as somebody else's poll does.
    #[cfg(loom)]
    pub(crate) fn fetch(&self) -> bool {
        std::mem::take(&mut *lock(&self.notified))
    }
}

/// Enrols a committed operation and takes it back, as a frame does whose deadline has passed, or that is cancelled.
#[cfg(loom)]
pub(crate) fn attempt_and_withdraw<C: Committed>(operation: &mut C) -> Option<C::Output> {
    match operation.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => operation.withdraw(),
    }
}
