//! The sending end.

use crate::channel::core::{Channel, Put};
use crate::channel::errors::{ReserveError, SendError, SendTimeoutError, TryReserveError, TrySendError};
use crate::channel::receiver::Receiver;
use crate::channel::waiting::{CommittedOffer, Offered, Offering};
use crate::primitive::atomic::AtomicUsize;
use crate::primitive::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::time::deadline_after;
use crate::wait;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
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
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        wait::yield_if_spent();
        let message = match self.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(message)) => return Err(SendError(message)),
            Err(TrySendError::Full(message)) => message,
        };
        match self.send_waiting(message, None) {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(message) | SendTimeoutError::Closed(message)) => {
                Err(SendError(message))
            }
        }
    }

    /// Sends a message if that is possible at once. On a rendezvous a receiver must be waiting in `recv` or a `select!`; one that
    /// waits as a future does not count, for it could be dropped.
    ///
    /// # Errors
    /// The message comes back when there is no room, or the channel is closed.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut message = Some(message);
        match self.channel.change(|state, wakes| state.put(&mut message, wakes)) {
            Put::Done => Ok(()),
            Put::Full => Err(TrySendError::Full(left(message))),
            Put::Closed => Err(TrySendError::Closed(left(message))),
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
        match self.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(message)) => Err(SendTimeoutError::Closed(message)),
            Err(TrySendError::Full(message)) => self.send_waiting(message, Some(deadline)),
        }
    }

    #[track_caller]
    fn send_waiting(&self, message: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        let offering = pin!(Offering::message(&*self.channel, message, true));
        let offering = offering.into_ref();
        match wait::committed::complete(&mut CommittedOffer(offering), deadline) {
            Ok(Offered::Accepted) => Ok(()),
            Ok(Offered::Refused(message)) => Err(SendTimeoutError::Closed(left(message))),
            Err(wait::committed::DeadlinePassed) => Err(SendTimeoutError::Timeout(left(offering.reclaim()))),
        }
    }

    /// The future form of [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready drops the message, unless it has been taken already: *may lose data*, the message
    /// itself. [`SendFuture::cancel`] gives it back, and [`reserve_async`](Self::reserve_async) waits before there is a message.
    pub fn send_async(&self, message: T) -> SendFuture<'_, T> {
        SendFuture { offering: Offering::message(&*self.channel, message, false) }
    }

    /// Sends a message even if there is no room: then the oldest message makes place, and is returned. On a rendezvous it is
    /// [`try_send`](Self::try_send).
    ///
    /// # Errors
    /// The message comes back when the channel is closed, or when there is no room and nothing that could make place.
    pub fn force_send(&self, message: T) -> Result<Option<T>, TrySendError<T>> {
        let mut message = Some(message);
        match self.channel.change(|state, wakes| state.force(&mut message, wakes)) {
            (Put::Done, oldest) => Ok(oldest),
            (Put::Full, _) => Err(TrySendError::Full(left(message))),
            (Put::Closed, _) => Err(TrySendError::Closed(left(message))),
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
        match self.try_reserve() {
            Ok(permit) => return Ok(permit),
            Err(TryReserveError::Closed) => return Err(ReserveError),
            Err(TryReserveError::Full) => {}
        }
        let offering = pin!(Offering::room(&*self.channel, true));
        let mut operation = CommittedOffer(offering.into_ref());
        match wait::committed::complete(&mut operation, None) {
            Ok(Offered::Accepted) => Ok(Permit { channel: &self.channel, holds_place: true }),
            Ok(Offered::Refused(_)) => Err(ReserveError),
            Err(wait::committed::DeadlinePassed) => unreachable!("there is no deadline"),
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
        ReserveFuture { sender: self, offering: Offering::room(&*self.channel, false) }
    }

    /// Closes the channel: sends fail, receivers drain it. False when it was closed already.
    pub fn close(&self) -> bool {
        self.channel.close()
    }

    /// Whether the channel is closed.
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

    /// Whether both send into the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.channel, &other.channel)
    }

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

/// The message that a failed send left.
fn left<T>(message: Option<T>) -> T {
    message.expect("a message that was not sent is left")
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

/// A sender that does not keep its channel open.
pub struct WeakSender<T> {
    channel: Arc<Channel<T>>,
}

impl<T> WeakSender<T> {
    /// A sender, if there is still one.
    #[must_use]
    pub fn upgrade(&self) -> Option<Sender<T>> {
        Sender::try_new(&self.channel)
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone() }
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakSender")
    }
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
        let mut message = Some(message);
        if !self.holds_place {
            let offering = pin!(Offering::message(&**self.channel, left(message), true));
            return match wait::committed::complete(&mut CommittedOffer(offering.into_ref()), None) {
                Ok(Offered::Accepted) => Ok(()),
                Ok(Offered::Refused(message)) => Err(SendError(left(message))),
                Err(wait::committed::DeadlinePassed) => unreachable!("there is no deadline"),
            };
        }
        self.holds_place = false;
        match self.channel.change(|state, wakes| state.put_reserved(&mut message, wakes)) {
            Put::Done => Ok(()),
            Put::Full | Put::Closed => Err(SendError(left(message))),
        }
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
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct SendFuture<'a, T> {
        #[pin]
        offering: Offering<&'a Channel<T>, T>,
    }
}

impl<T> SendFuture<'_, T> {
    /// Gives up and takes the message back; `None`: it has been taken.
    pub fn cancel(self: Pin<&mut Self>) -> Option<T> {
        self.project().offering.into_ref().get_ref().reclaim()
    }
}

impl<T> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        std::task::ready!(wait::poll_budget(cx));
        match std::task::ready!(self.project().offering.into_ref().poll(cx)) {
            Offered::Accepted => Poll::Ready(Ok(())),
            Offered::Refused(message) => Poll::Ready(Err(SendError(left(message)))),
        }
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendFuture")
    }
}

pin_project_lite::pin_project! {
    /// See [`Sender::reserve_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct ReserveFuture<'a, T> {
        sender: &'a Sender<T>,
        #[pin]
        offering: Offering<&'a Channel<T>, T>,
    }
}

impl<'a, T> Future for ReserveFuture<'a, T> {
    type Output = Result<Permit<'a, T>, ReserveError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let channel = &this.sender.channel;
        if channel.with(|state| state.is_rendezvous() && !state.is_closed()) {
            return Poll::Ready(Ok(Permit { channel, holds_place: false }));
        }
        match std::task::ready!(this.offering.into_ref().poll(cx)) {
            Offered::Accepted => Poll::Ready(Ok(Permit { channel, holds_place: true })),
            Offered::Refused(_) => Poll::Ready(Err(ReserveError)),
        }
    }
}

impl<T> fmt::Debug for ReserveFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReserveFuture")
    }
}
