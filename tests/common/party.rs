//! Who performs an operation: a coroutine, a future or a plain thread.

use aqueduct::{JoinHandle, Wait, go, spawn};
use std::future::Future;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Coroutine,
    Future,
    Thread,
}

pub(crate) const PARTIES: [Party; 3] = [Party::Coroutine, Party::Future, Party::Thread];

/// A running party, to be joined.
pub(crate) enum Running<T> {
    Task(JoinHandle<T>),
    Thread(std::thread::JoinHandle<T>),
}

impl<T> Running<T> {
    #[track_caller]
    pub(crate) fn join(self) -> T {
        match self {
            Running::Task(handle) => handle.join().unwrap(),
            Running::Thread(handle) => handle.join().unwrap(),
        }
    }
}

impl Party {
    /// Starts the Go-style form in a coroutine or a thread, and the other as a future.
    pub(crate) fn start<T, F>(self, go_style: impl FnOnce() -> T + Send + 'static, future: F) -> Running<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        match self {
            Party::Coroutine => Running::Task(go(go_style)),
            Party::Future => Running::Task(spawn(future)),
            Party::Thread => Running::Thread(std::thread::spawn(go_style)),
        }
    }

    /// Has the future driven: as a task, or by `.wait()` in a coroutine or a thread.
    pub(crate) fn drive<F>(self, future: F) -> Running<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match self {
            Party::Coroutine => Running::Task(go(move || future.wait())),
            Party::Future => Running::Task(spawn(future)),
            Party::Thread => Running::Thread(std::thread::spawn(move || future.wait())),
        }
    }
}

/// Every pair of kinds.
pub(crate) fn pairs() -> impl Iterator<Item = (Party, Party)> {
    PARTIES.into_iter().flat_map(|one| PARTIES.into_iter().map(move |other| (one, other)))
}

/// Runs a check as each kind of party in turn: in a coroutine, within the poll of a future, and on a plain thread.
pub(crate) fn everywhere(check: fn()) {
    for party in PARTIES {
        party.start(check, async move { check() }).join();
    }
}
