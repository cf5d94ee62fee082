//! The receiving end.

use crate::channel::core::Channel;
use crate::channel::errors::{RecvError, RecvTimeoutError, TryRecvError};
use crate::channel::inspect::{inspection, weak_handle};
use crate::channel::sender::count_up;
use crate::channel::slot::{Held, Room};
use crate::channel::waiting::Receiving;
use crate::primitive::atomic::Ordering::{AcqRel, Relaxed};
use crate::time::deadline_after;
use crate::wait;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use std::vec;

/// The receiving end of a channel; see the [module](crate::channel). Clone it for more receivers: each message goes to one.
pub struct Receiver<T> {
    pub(crate) channel: Arc<Channel<T>>,
}

impl<T> Receiver<T> {
    pub(super) fn new(channel: Arc<Channel<T>>) -> Self {
        Self { channel }
    }

    pub(super) fn try_new(channel: &Arc<Channel<T>>) -> Option<Self> {
        count_up(&channel.receivers).then(|| Self { channel: channel.clone() })
    }

    /// Receives a message; waits while there is none.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here only if it was handed no message: *nothing happened*, the place in the queue is lost.
    ///
    /// # Errors
    /// When the channel is closed and empty.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = aqueduct::channel::unbounded();
    /// tx.send(1).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert!(rx.recv().is_err());
    /// ```
    #[track_caller]
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        wait::yield_if_spent();
        let mut room = Room::uninit();
        let mut held = Held::empty(&mut room);
        match self.channel.receive(&mut held, None) {
            Ok(()) => Ok(held.slot().take()),
            Err(_) => Err(RecvError),
        }
    }

    /// Receives a message if there is one now. On a rendezvous a sender must be waiting.
    ///
    /// # Errors
    /// When there is none, or the channel is closed and empty.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut room = Room::uninit();
        let mut held = Held::empty(&mut room);
        let (taken, closed) =
            self.channel.change(|state, wakes| (state.take(held.slot(), wakes), state.is_closed()));
        match (taken, closed) {
            (true, _) => Ok(held.slot().take()),
            (false, true) => Err(TryRecvError::Closed),
            (false, false) => Err(TryRecvError::Empty),
        }
    }

    /// As [`recv`](Self::recv), for at most so long.
    ///
    /// # Errors
    /// When the time is up, or the channel is closed and empty.
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_deadline(deadline_after(timeout))
    }

    /// As [`recv`](Self::recv), until `deadline` at the latest.
    ///
    /// # Errors
    /// When the time is up, or the channel is closed and empty.
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        wait::yield_if_spent();
        let mut room = Room::uninit();
        let mut held = Held::empty(&mut room);
        match self.channel.receive(&mut held, Some(deadline)) {
            Ok(()) => Ok(held.slot().take()),
            Err(error) => Err(error),
        }
    }

    /// The future form of [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// *Nothing happened*, the place in the queue is lost.
    #[inline]
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture { receiving: Receiving::revocable(&*self.channel), ended: false }
    }

    /// Waits for a message, then takes up to `limit` of those that are there, into `into`. Returns how many; 0 only when
    /// `limit` is 0.
    ///
    /// # Blocking
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    ///
    /// # Errors
    /// When the channel is closed and empty.
    #[track_caller]
    pub fn recv_many(&self, into: &mut Vec<T>, limit: usize) -> Result<usize, RecvError> {
        if limit == 0 {
            return Ok(0);
        }
        into.push(self.recv()?);
        Ok(1 + self.channel.change(|state, wakes| state.take_many(limit - 1, into, wakes)))
    }

    /// Takes what is queued now, and does not wait.
    pub fn drain(&self) -> Drain<T> {
        let mut messages = Vec::new();
        self.channel.change(|state, wakes| {
            // As many as there are at the beginning: senders that are let in meanwhile are for another time.
            state.take_many(state.len(), &mut messages, wakes)
        });
        Drain(messages.into_iter())
    }

    /// Messages as they come, until the channel is closed and empty; `next` waits as [`recv`](Self::recv).
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// The messages that are there; it ends when there is none, and does not wait.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter(self)
    }

    inspection!();

    /// A handle that does not keep the channel open.
    #[must_use]
    pub fn downgrade(&self) -> WeakReceiver<T> {
        WeakReceiver { channel: self.channel.clone() }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.channel.receivers.fetch_add(1, Relaxed);
        Self { channel: self.channel.clone() }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // AcqRel: the last one to go closes after what the others did.
        if self.channel.receivers.fetch_sub(1, AcqRel) == 1 {
            self.channel.abandon();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).field("closed", &self.is_closed()).finish()
    }
}

weak_handle! {
    /// A receiver that does not keep its channel open.
    WeakReceiver of Receiver, "A receiver, if there is still one."
}

pin_project_lite::pin_project! {
    /// See [`Receiver::recv_async`].
    ///
    /// # Panics
    /// When it is polled after it was ready.
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct RecvFuture<'a, T> {
        #[pin]
        receiving: Receiving<&'a Channel<T>, T>,
        ended: bool,
    }
}

impl<T> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        assert!(!*this.ended, "a `RecvFuture` was polled after it was ready");
        ready!(wait::poll_budget(cx));
        let polled = this.receiving.into_ref().poll_message(cx);
        *this.ended = polled.is_ready();
        polled
    }
}

impl<T> FusedFuture for RecvFuture<'_, T> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecvFuture")
    }
}

/// See [`Receiver::drain`].
pub struct Drain<T>(vec::IntoIter<T>);

impl<T> Iterator for Drain<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T> ExactSizeIterator for Drain<T> {}
impl<T> FusedIterator for Drain<T> {}

impl<T> fmt::Debug for Drain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(&self.0.len()).finish()
    }
}

/// See [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T>(&'a Receiver<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> FusedIterator for Iter<'_, T> {}

/// See [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T>(&'a Receiver<T>);

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

/// Messages as they come, until the channel is closed and empty; owns its receiver.
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> FusedIterator for IntoIter<T> {}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
