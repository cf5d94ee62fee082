//! The receiving end.
#![forbid(unsafe_code)]

use super::{RecvError, RecvTimeoutError, State, TryRecvError};
use crate::channel::shared::{self, Shared, Watched, Watching};
use crate::time::deadline_after;
use crate::wait;
use crate::wait::committed::DeadlinePassed;
use crate::wait::queue::WaitQueue;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// The receiving end; see the [module](super). A clone has yet to receive what this one has yet to receive.
pub struct Receiver<T> {
    shared: Arc<Shared<State<T>>>,
    position: u64,
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Arc<Shared<State<T>>>, position: u64) -> Self {
        Self { shared, position }
    }

    /// Messages that this receiver has yet to receive; those that it has missed are not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.with(|state| state.slots.len() - state.index(self.position))
    }

    /// There is no message for this receiver now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all senders are gone. There may be messages left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.with(|state| state.senders == 0)
    }

    /// A receiver of the messages that are sent from now on.
    #[must_use]
    pub fn resubscribe(&self) -> Self {
        let position = self.shared.with(|state| {
            state.receivers += 1;
            state.tail()
        });
        Self::new(self.shared.clone(), position)
    }

    /// Whether both receive from the same senders.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

/// The caller's own: the last to receive a message gets it itself, the others a clone.
pub(super) fn own<T: Clone>(received: Result<Arc<T>, RecvError>) -> Result<T, RecvError> {
    received.map(Arc::unwrap_or_clone)
}

impl<T: Clone> Receiver<T> {
    /// Receives the next message; waits while there is none.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here only if there is no message: *nothing happened*.
    ///
    /// # Errors
    /// When messages were overwritten, once, and when all senders are gone and everything has been received.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::channel::broadcast::{self, RecvError};
    ///
    /// let (tx, mut rx) = broadcast::channel(4);
    /// tx.send(1).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert_eq!(rx.recv(), Err(RecvError::Closed));
    /// ```
    #[track_caller]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        wait::yield_if_spent();
        if let Some(received) = shared::look(self) {
            return own(received);
        }
        match shared::wait_for(self, None) {
            Ok(received) => own(received),
            Err(DeadlinePassed) => unreachable!("there is no deadline"),
        }
    }

    /// Receives the next message if there is one now.
    ///
    /// # Errors
    /// When there is none, and as [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match shared::look(self) {
            Some(received) => Ok(own(received)?),
            None => Err(TryRecvError::Empty),
        }
    }

    /// As [`recv`](Self::recv), for at most so long.
    ///
    /// # Errors
    /// When the time is up, and as [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_deadline(deadline_after(timeout))
    }

    /// As [`recv`](Self::recv), until `deadline` at the latest.
    ///
    /// # Errors
    /// When the time is up, and as [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        wait::yield_if_spent();
        if let Some(received) = shared::look(self) {
            return Ok(own(received)?);
        }
        match shared::wait_for(self, Some(deadline)) {
            Ok(received) => Ok(own(received)?),
            Err(DeadlinePassed) => Err(RecvTimeoutError::Timeout),
        }
    }

    /// The future form of [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// *Nothing happened*.
    pub fn recv_async(&mut self) -> RecvFuture<'_, T> {
        RecvFuture { watching: Watching::new(self) }
    }
}

impl<T> Watched for Receiver<T> {
    type State = State<T>;
    type Cursor = u64;
    type Output = Result<Arc<T>, RecvError>;

    fn split(&mut self) -> (&Shared<State<T>>, &mut u64) {
        (&self.shared, &mut self.position)
    }

    fn look(state: &mut State<T>, position: &mut u64) -> Option<Self::Output> {
        state.take(position)
    }

    fn queue(state: &mut State<T>) -> &mut WaitQueue<()> {
        &mut state.waiting
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.with(|state| state.join(self.position));
        Self { shared: self.shared.clone(), position: self.position }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        drop(self.shared.with(|state| state.leave(self.position)));
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("broadcast::Receiver")
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish()
    }
}

pin_project_lite::pin_project! {
    /// See [`Receiver::recv_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct RecvFuture<'a, T> {
        #[pin]
        watching: Watching<&'a mut Receiver<T>>,
    }
}

impl<T: Clone> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(wait::poll_budget(cx));
        self.project().watching.poll(cx).map(own)
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broadcast::RecvFuture")
    }
}
