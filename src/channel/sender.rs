//! The sending end.

use crate::channel::core::{Channel, Put};
use crate::channel::errors::{ReserveError, SendError, SendTimeoutError, TryReserveError, TrySendError};
use crate::channel::inspect::{inspection, weak_handle};
use crate::channel::receiver::Receiver;
use crate::channel::slot::{Held, Room};
use crate::channel::waiting::{Offered, Offering, Sending, Unsent};
use crate::primitive::atomic::AtomicUsize;
use crate::primitive::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::time::deadline_after;
use crate::wait;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// The sending end of a channel; see the [module](crate::channel). Clone it for more senders.
pub struct Sender<T> {
    pub(crate) channel: Arc<Channel<T>>,
}

impl<T> Sender<T> {
    pub(super) fn new(channel: Arc<Channel<T>>) -> Self {
        Self { channel }
    }

    /// Sends a message; waits while there is no room, on a rendezvous until a receiver takes it.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here only if the message has not been taken; it is dropped then: *nothing happened*, the place
    /// in the queue is lost.
    ///
    /// # Errors
    /// The message comes back when the channel is closed.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = aqueduct::channel::bounded(0);
    /// let sender = aqueduct::go(move || tx.send(1));
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert!(sender.join().unwrap().is_ok());
    /// ```
    #[track_caller]
    #[inline]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        wait::yield_if_spent();
        let mut room = Room::uninit();
        let mut held = Held::full(&mut room, message);
        match self.channel.send(&mut held, None) {
            Ok(()) => Ok(()),
            Err(Unsent::Closed | Unsent::Timeout) => Err(SendError(held.slot().take())),
        }
    }

    /// Sends a message if that is possible at once. On a rendezvous a receiver must be waiting in `recv` or a `select!`, which may
    /// overtake futures that wait before it. These alone do not count: a future could be dropped.
    ///
    /// # Errors
    /// The message comes back when there is no room, or the channel is closed.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut room = Room::uninit();
        let mut held = Held::full(&mut room, message);
        match self.channel.change(|state, wakes| state.put_now(held.slot(), wakes)) {
            Put::Done => Ok(()),
            Put::Full => Err(TrySendError::Full(held.slot().take())),
            Put::Closed => Err(TrySendError::Closed(held.slot().take())),
        }
    }

    /// As [`send`](Self::send), for at most so long.
    ///
    /// # Errors
    /// The message comes back when the time is up, or the channel is closed.
    #[track_caller]
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_deadline(message, deadline_after(timeout))
    }

    /// As [`send`](Self::send), until `deadline` at the latest.
    ///
    /// # Errors
    /// The message comes back when the time is up, or the channel is closed.
    #[track_caller]
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        wait::yield_if_spent();
        let mut room = Room::uninit();
        let mut held = Held::full(&mut room, message);
        match self.channel.send(&mut held, Some(deadline)) {
            Ok(()) => Ok(()),
            Err(Unsent::Closed) => Err(SendTimeoutError::Closed(held.slot().take())),
            Err(Unsent::Timeout) => Err(SendTimeoutError::Timeout(held.slot().take())),
        }
    }

    /// The future form of [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready drops the message, unless it has been taken already: *may lose data*, the message
    /// itself. [`SendFuture::cancel`] gives it back, and [`reserve_async`](Self::reserve_async) waits before there is a message.
    #[inline]
    pub fn send_async(&self, message: T) -> SendFuture<'_, T> {
        SendFuture { sending: Sending::with_message(&*self.channel, message) }
    }

    /// Sends a message even if there is no room: then the oldest message makes place, and is returned. On a rendezvous it is
    /// [`try_send`](Self::try_send).
    ///
    /// # Errors
    /// The message comes back when the channel is closed, or when there is no room and nothing that could make place.
    pub fn force_send(&self, message: T) -> Result<Option<T>, TrySendError<T>> {
        let mut room = Room::uninit();
        let mut held = Held::full(&mut room, message);
        let mut oldest_room = Room::uninit();
        let mut oldest = Held::empty(&mut oldest_room);
        match self.channel.change(|state, wakes| state.force(held.slot(), oldest.slot(), wakes)) {
            Put::Done => Ok(oldest.slot().is_full().then(|| oldest.slot().take())),
            Put::Full => Err(TrySendError::Full(held.slot().take())),
            Put::Closed => Err(TrySendError::Closed(held.slot().take())),
        }
    }

    /// Waits for room and reserves it: the permit's `send` does not wait. On a rendezvous there is no room to reserve: the permit
    /// is granted at once, and its `send` waits as [`send`](Self::send).
    ///
    /// # Blocking
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// *Nothing happened*, the place in the queue is lost.
    ///
    /// # Errors
    /// When the channel is closed.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = aqueduct::channel::bounded(1);
    /// let permit = tx.reserve().unwrap();
    /// assert!(tx.try_send(0).unwrap_err().is_full());
    /// permit.send(7).unwrap();
    /// assert_eq!(rx.recv(), Ok(7));
    /// ```
    #[track_caller]
    pub fn reserve(&self) -> Result<Permit<'_, T>, ReserveError> {
        wait::yield_if_spent();
        match self.try_reserve() {
            Ok(permit) => return Ok(permit),
            Err(TryReserveError::Closed) => return Err(ReserveError),
            Err(TryReserveError::Full) => {}
        }
        match self.channel.send_waiting(None, None) {
            Ok(()) => Ok(Permit { channel: &self.channel, holds_place: true }),
            Err(Unsent::Closed | Unsent::Timeout) => Err(ReserveError),
        }
    }

    /// Reserves a place if there is one now.
    ///
    /// # Errors
    /// When there is no room, or the channel is closed.
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TryReserveError> {
        let permit = |holds_place| Permit { channel: &self.channel, holds_place };
        self.channel.with(|state| match state.reserve() {
            Put::Done => Ok(permit(true)),
            Put::Closed => Err(TryReserveError::Closed),
            Put::Full if state.is_rendezvous() => Ok(permit(false)),
            Put::Full => Err(TryReserveError::Full),
        })
    }

    /// The future form of [`reserve`](Self::reserve).
    ///
    /// # Cancel safety
    /// *Nothing happened*, the place in the queue is lost: a place that was reserved meanwhile is given back.
    pub fn reserve_async(&self) -> ReserveFuture<'_, T> {
        ReserveFuture { channel: &self.channel, offering: Offering::new(&*self.channel, false), ended: false }
    }

    inspection!();

    /// A handle that does not keep the channel open.
    #[must_use]
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender { channel: self.channel.clone() }
    }

    /// A receiver of this channel; none when there is none left.
    #[must_use]
    pub fn subscribe(&self) -> Option<Receiver<T>> {
        Receiver::try_new(&self.channel)
    }

    fn try_new(channel: &Arc<Channel<T>>) -> Option<Self> {
        count_up(&channel.senders).then(|| Self { channel: channel.clone() })
    }
}

/// Counts a handle, unless there is none left: then the channel has been closed for good.
pub(super) fn count_up(count: &AtomicUsize) -> bool {
    count.fetch_update(AcqRel, Acquire, |handles| (handles > 0).then(|| handles + 1)).is_ok()
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.channel.senders.fetch_add(1, Relaxed);
        Self { channel: self.channel.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // AcqRel: the last one to go closes after what the others did.
        if self.channel.senders.fetch_sub(1, AcqRel) == 1 {
            self.channel.close();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("len", &self.len()).field("closed", &self.is_closed()).finish()
    }
}

weak_handle! {
    /// A sender that does not keep its channel open.
    WeakSender of Sender, "A sender, if there is still one."
}

/// A reserved place for one message; dropping it gives the place back. See [`Sender::reserve`].
#[must_use = "dropping the permit gives the place back"]
pub struct Permit<'a, T> {
    channel: &'a Arc<Channel<T>>,
    holds_place: bool,
}

impl<T> Permit<'_, T> {
    /// Sends a message into the place. It waits only on a rendezvous.
    ///
    /// # Errors
    /// The message comes back when the channel is closed.
    #[track_caller]
    pub fn send(mut self, message: T) -> Result<(), SendError<T>> {
        let mut room = Room::uninit();
        let mut held = Held::full(&mut room, message);
        let sent = if std::mem::take(&mut self.holds_place) {
            let put = self.channel.change(|state, wakes| state.put_reserved(held.slot(), wakes));
            put == Put::Done
        } else {
            self.channel.send(&mut held, None).is_ok()
        };
        if sent { Ok(()) } else { Err(SendError(held.slot().take())) }
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if self.holds_place {
            self.channel.change(|state, wakes| state.release_place(wakes));
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

pin_project_lite::pin_project! {
    /// See [`Sender::send_async`].
    ///
    /// # Panics
    /// When it is polled after it was ready.
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct SendFuture<'a, T> {
        #[pin]
        sending: Sending<&'a Channel<T>, T>,
    }
}

impl<T> SendFuture<'_, T> {
    /// Gives up and takes the message back; `None`: it has been taken.
    pub fn cancel(self: Pin<&mut Self>) -> Option<T> {
        self.project().sending.into_ref().get_ref().reclaim()
    }
}

impl<T> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(wait::poll_budget(cx));
        let sending = self.project().sending.into_ref();
        match ready!(sending.poll_message(cx)) {
            Offered::Accepted => Poll::Ready(Ok(())),
            Offered::Refused => {
                let message = sending.take_message().expect("a message that was refused is left");
                Poll::Ready(Err(SendError(message)))
            }
        }
    }
}

impl<T> FusedFuture for SendFuture<'_, T> {
    fn is_terminated(&self) -> bool {
        self.sending.is_over()
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendFuture")
    }
}

pin_project_lite::pin_project! {
    /// See [`Sender::reserve_async`].
    ///
    /// # Panics
    /// When it is polled after it was ready.
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct ReserveFuture<'a, T> {
        channel: &'a Arc<Channel<T>>,
        #[pin]
        offering: Offering<&'a Channel<T>, T>,
        ended: bool,
    }
}

impl<'a, T> Future for ReserveFuture<'a, T> {
    type Output = Result<Permit<'a, T>, ReserveError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        assert!(!*this.ended, "a `ReserveFuture` was polled after it was ready");
        ready!(wait::poll_budget(cx));
        let channel = *this.channel;
        let permit = |holds_place| Permit { channel, holds_place };
        let result = if channel.with(|state| state.is_rendezvous() && !state.is_closed()) {
            Ok(permit(false))
        } else {
            match ready!(this.offering.into_ref().poll_room(cx)) {
                Offered::Accepted => Ok(permit(true)),
                Offered::Refused => Err(ReserveError),
            }
        };
        *this.ended = true;
        Poll::Ready(result)
    }
}

impl<T> FusedFuture for ReserveFuture<'_, T> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T> fmt::Debug for ReserveFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReserveFuture")
    }
}
