//! The receiving end.

use crate::channel::core::Channel;
use crate::channel::errors::{RecvError, RecvTimeoutError, TryRecvError};
use crate::channel::sender::count_up;
use crate::channel::waiting::{CommittedReceive, Receiving};
use crate::primitive::atomic::Ordering::{AcqRel, Relaxed};
use crate::time::deadline_after;
use crate::wait;
use std::collections::{VecDeque, vec_deque};
use std::fmt;
use std::future::Future;
use std::iter::FusedIterator;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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
    pub fn recv(&self) -> Result<T, RecvError> {
        wait::yield_if_spent();
        match self.try_recv() {
            Ok(message) => Ok(message),
            Err(TryRecvError::Closed) => Err(RecvError),
            Err(TryRecvError::Empty) => self.recv_waiting(None).map_err(|_| RecvError),
        }
    }

    /// Receives a message if there is one now. On a rendezvous a sender must be waiting.
    ///
    /// # Errors
    /// When there is none, or the channel is closed and empty.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.channel.change(|state, wakes| match state.take(wakes) {
            Some(message) => Ok(message),
            None if state.is_closed() => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        })
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
        match self.try_recv() {
            Ok(message) => Ok(message),
            Err(TryRecvError::Closed) => Err(RecvTimeoutError::Closed),
            Err(TryRecvError::Empty) => self.recv_waiting(Some(deadline)),
        }
    }

    #[track_caller]
    fn recv_waiting(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let receiving = pin!(Receiving::new(&*self.channel, true));
        match wait::committed::complete(&mut CommittedReceive(receiving.into_ref()), deadline) {
            Ok(result) => result.map_err(RecvTimeoutError::from),
            Err(wait::committed::DeadlinePassed) => Err(RecvTimeoutError::Timeout),
        }
    }

    /// The future form of [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// *Nothing happened*, the place in the queue is lost.
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture { receiving: Receiving::new(&*self.channel, false) }
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
        let more = self
            .channel
            .change(|state, wakes| state.take_many(limit - 1, |message| into.push(message), wakes));
        Ok(1 + more)
    }

    /// Takes what is queued now, and does not wait.
    pub fn drain(&self) -> Drain<T> {
        let mut messages = VecDeque::new();
        self.channel.change(|state, wakes| {
            // As many as there are at the beginning: senders that are let in meanwhile are for another time.
            state.take_many(state.len(), |message| messages.push_back(message), wakes)
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

    /// Closes the channel: sends fail, receivers drain it. False when it was closed already.
    pub fn close(&self) -> bool {
        self.channel.close()
    }

    /// Whether the channel is closed; messages may still be queued.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.channel.with(|state| state.is_closed())
    }

    /// Queued messages. Those that waiting senders hold are not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channel.with(|state| state.len())
    }

    /// No message is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// There is no room now; a rendezvous never has any.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.channel.with(|state| state.is_full())
    }

    /// How many messages the channel holds at most; `None`: any number.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.channel.with(|state| state.capacity())
    }

    /// Sending handles.
    #[must_use]
    pub fn sender_count(&self) -> usize {
        self.channel.senders.load(Relaxed)
    }

    /// Receiving handles.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.channel.receivers.load(Relaxed)
    }

    /// Whether both receive from the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.channel, &other.channel)
    }

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

/// A receiver that does not keep its channel open.
pub struct WeakReceiver<T> {
    channel: Arc<Channel<T>>,
}

impl<T> WeakReceiver<T> {
    /// A receiver, if there is still one.
    #[must_use]
    pub fn upgrade(&self) -> Option<Receiver<T>> {
        Receiver::try_new(&self.channel)
    }
}

impl<T> Clone for WeakReceiver<T> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone() }
    }
}

impl<T> fmt::Debug for WeakReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakReceiver")
    }
}

pin_project_lite::pin_project! {
    /// See [`Receiver::recv_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct RecvFuture<'a, T> {
        #[pin]
        receiving: Receiving<&'a Channel<T>, T>,
    }
}

impl<T> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        std::task::ready!(wait::poll_budget(cx));
        self.project().receiving.into_ref().poll(cx)
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecvFuture")
    }
}

/// See [`Receiver::drain`].
pub struct Drain<T>(vec_deque::IntoIter<T>);

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
