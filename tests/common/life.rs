//! One text for code in both styles: a future that in Go style never waits, because all that waits in it blocks.

use super::party::{Party, Running};
use aqueduct::channel::{Receiver, RecvError, SendError, Sender};
use aqueduct::{Handle, block_on};
use futures::FutureExt;
use std::future::Future;

/// How code waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Its calls wait.
    Go,
    /// It awaits.
    Async,
}

impl Style {
    pub(crate) fn of(party: Party) -> Self {
        if party == Party::Future { Self::Async } else { Self::Go }
    }

    pub(crate) async fn wait<F: Future>(self, future: F) -> F::Output {
        match self {
            Self::Go => block_on(future),
            Self::Async => future.await,
        }
    }

    pub(crate) async fn send<T>(self, tx: &Sender<T>, message: T) -> Result<(), SendError<T>> {
        match self {
            Self::Go => tx.send(message),
            Self::Async => tx.send_async(message).await,
        }
    }

    pub(crate) async fn recv<T>(self, rx: &Receiver<T>) -> Result<T, RecvError> {
        match self {
            Self::Go => rx.recv(),
            Self::Async => rx.recv_async().await,
        }
    }
}

/// `select!` or `select_async!`, as the style is.
macro_rules! choose {
    ($style:expr; $($cases:tt)+) => {
        match $style {
            common::life::Style::Go => aqueduct::select! { $($cases)+ },
            common::life::Style::Async => aqueduct::select_async! { $($cases)+ },
        }
    };
}
pub(crate) use choose;

impl Party {
    /// Starts a life in the party's style.
    pub(crate) fn live<F>(self, life: impl FnOnce(Style) -> F) -> Running<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.live_on(&Handle::current(), life)
    }

    pub(crate) fn live_on<F>(self, handle: &Handle, life: impl FnOnce(Style) -> F) -> Running<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let life = life(Style::of(self)).boxed();
        match self {
            Party::Coroutine => Running::Task(handle.go(move || at_once(life))),
            Party::Future => Running::Task(handle.spawn(life)),
            Party::Thread => Running::Thread(std::thread::spawn(move || at_once(life))),
        }
    }
}

fn at_once<F: Future>(life: F) -> F::Output {
    life.now_or_never().expect("Go-style code does not await")
}
