//! One message, from one sender to one receiver.
//!
//! The answer to a request, the result of a computation. [`Sender::send`] never waits. The [`Receiver`] is a future, and in Go style has
//! [`recv`](Receiver::recv); dropped or [closed](Receiver::close), it tells the sender that nobody wants the message any more.
//! One allocation a channel.
//!
//! ```
//! use aqueduct::channel::oneshot;
//! use aqueduct::go;
//!
//! let (tx, rx) = oneshot::channel();
//! go!(tx.send(6 * 7).unwrap());
//! assert_eq!(rx.recv(), Ok(42));
//! ```

use crate::channel::errors::{RecvError, RecvTimeoutError, TryRecvError};
use crate::channel::shared::{self, Shared, Watched, Watching, notify_all};
use crate::channel::slot::{Held, Room, Slot};
use crate::time::deadline_after;
use crate::wait;
use crate::wait::committed::{self, Committed, DeadlinePassed};
use crate::wait::queue::WaitQueue;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

pub(super) struct State<T> {
    message: Slot<T>,
    /// It has sent, or gone.
    sender_done: bool,
    /// It has closed, or gone.
    receiver_done: bool,
    /// There is one receiver, so one waker will do.
    receiver: Option<Waker>,
    /// Those who wait for `receiver_done`.
    watchers: WaitQueue<()>,
}

impl<T> State<T> {
    /// Takes the message into an empty slot.
    fn take(&mut self, into: &mut Slot<T>) -> Result<(), TryRecvError> {
        if self.message.is_full() {
            into.move_from(&mut self.message);
            return Ok(());
        }
        Err(if self.sender_done || self.receiver_done { TryRecvError::Closed } else { TryRecvError::Empty })
    }

    /// Makes a state where it is to be: its message may be large.
    ///
    /// # Safety
    /// `state` is valid for writing.
    unsafe fn make_at(state: *mut Self) {
        // SAFETY: the caller's promise; all fields are written.
        unsafe {
            Slot::empty_at(&raw mut (*state).message);
            (&raw mut (*state).sender_done).write(false);
            (&raw mut (*state).receiver_done).write(false);
            (&raw mut (*state).receiver).write(None);
            (&raw mut (*state).watchers).write(WaitQueue::new());
        }
    }
}

/// A message that was sent and not received.
impl<T> Drop for State<T> {
    fn drop(&mut self) {
        self.message.clear();
    }
}

/// A channel for one message.
///
/// # Examples
/// See the [module](self).
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    // SAFETY: `make_at` makes a state.
    let shared = unsafe { Shared::in_arc(|state| State::make_at(state)) };
    (Sender { shared: shared.clone(), sent: false }, Receiver { shared, ended: false })
}

/// The sending end; see the [module](self). Dropped without having sent, it makes the receiver fail.
pub struct Sender<T> {
    shared: Arc<Shared<State<T>>>,
    sent: bool,
}

impl<T> Sender<T> {
    /// Sends the message; never waits.
    ///
    /// # Errors
    /// The message comes back when the receiver has been dropped or closed. `Ok` does not mean that it will be received: the receiver may
    /// be dropped with it.
    pub fn send(mut self, message: T) -> Result<(), T> {
        self.sent = true;
        let mut room = Room::uninit();
        let mut held = Held::full(&mut room, message);
        self.shared.change(|state, wakes| {
            if !state.receiver_done {
                state.message.move_from(held.slot());
                state.sender_done = true;
                wakes.push(state.receiver.take());
            }
        });
        if held.slot().is_full() { Err(held.slot().take()) } else { Ok(()) }
    }

    /// Waits until the receiver is dropped or closed: nobody wants the message.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// *Nothing happened*.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = aqueduct::channel::oneshot::channel::<u32>();
    /// let watcher = aqueduct::go(move || tx.closed());
    /// drop(rx);
    /// watcher.join().unwrap();
    /// ```
    #[track_caller]
    pub fn closed(&self) {
        match shared::wait_for(ReceiverDone(&self.shared), None) {
            Ok(()) => {}
            Err(DeadlinePassed) => unreachable!("there is no deadline"),
        }
    }

    /// The future form of [`closed`](Self::closed).
    ///
    /// # Cancel safety
    /// *Nothing happened*.
    pub fn closed_async(&self) -> ClosedFuture<'_, T> {
        ClosedFuture { watching: Watching::new(ReceiverDone(&self.shared)) }
    }

    /// Whether the receiver has been dropped or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.with(|state| state.receiver_done)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if !self.sent {
            self.shared.change(|state, wakes| {
                state.sender_done = true;
                wakes.push(state.receiver.take());
            });
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("oneshot::Sender").field("closed", &self.is_closed()).finish()
    }
}

/// The receiving end: a future of the message. See the [module](self).
///
/// # Cancel safety
/// A future that is polled by reference and dropped (`(&mut rx).await`): *nothing happened*. Dropping the receiver drops a message that was
/// sent: *may lose data*; [`close`](Self::close) and [`try_recv`](Self::try_recv) save it.
#[must_use = "futures do nothing unless awaited or waited for"]
pub struct Receiver<T> {
    shared: Arc<Shared<State<T>>>,
    ended: bool,
}

impl<T> Receiver<T> {
    /// Receives the message; waits until it is sent.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here only if there is no message yet; the receiver is dropped then: *nothing happened*.
    ///
    /// # Errors
    /// When the sender is dropped without having sent.
    #[track_caller]
    pub fn recv(mut self) -> Result<T, RecvError> {
        let mut room = Room::uninit();
        let mut held = Held::empty(&mut room);
        match self.recv_waiting(held.slot(), None) {
            Ok(()) => Ok(held.slot().take()),
            Err(_) => Err(RecvError),
        }
    }

    /// Receives the message if it has been sent.
    ///
    /// # Errors
    /// When it has not been sent, cannot be any more, or has been received.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut room = Room::uninit();
        let mut held = Held::empty(&mut room);
        match self.take(held.slot()) {
            Ok(()) => Ok(held.slot().take()),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, into: &mut Slot<T>) -> Result<(), TryRecvError> {
        let taken = self.shared.with(|state| state.take(into));
        self.ended |= taken != Err(TryRecvError::Empty);
        taken
    }

    /// As [`recv`](Self::recv), for at most so long; the receiver stays.
    ///
    /// # Errors
    /// When the time is up, or the sender is dropped without having sent.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::channel::{RecvTimeoutError, oneshot};
    /// use std::time::Duration;
    ///
    /// let (tx, mut rx) = oneshot::channel();
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// tx.send("at last").unwrap();
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Ok("at last"));
    /// ```
    #[track_caller]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_deadline(deadline_after(timeout))
    }

    /// As [`recv`](Self::recv), until `deadline` at the latest; the receiver stays.
    ///
    /// # Errors
    /// When the time is up, or the sender is dropped without having sent.
    #[track_caller]
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        let mut room = Room::uninit();
        let mut held = Held::empty(&mut room);
        match self.recv_waiting(held.slot(), Some(deadline)) {
            Ok(()) => Ok(held.slot().take()),
            Err(error) => Err(error),
        }
    }

    #[track_caller]
    fn recv_waiting(
        &mut self,
        into: &mut Slot<T>,
        deadline: Option<Instant>,
    ) -> Result<(), RecvTimeoutError> {
        match committed::complete(&mut CommittedReceive { receiver: self, into }, deadline) {
            Ok(result) => result.map_err(RecvTimeoutError::from),
            Err(DeadlinePassed) => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Refuses a message that has not been sent yet: the sender's `send` fails. One that has been sent is still received.
    pub fn close(&mut self) {
        self.shared.change(|state, wakes| {
            state.receiver_done = true;
            notify_all(&mut state.watchers, wakes);
        });
    }

    /// Ready when the message is in `into`, or when there will be none.
    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut Slot<T>) -> Poll<Result<(), RecvError>> {
        match self.take(into) {
            Err(TryRecvError::Empty) => {}
            taken => return Poll::Ready(taken.map_err(|_| RecvError)),
        }
        let waker = cx.waker().clone();
        let (taken, _replaced) = self.shared.with(|state| match state.take(into) {
            Err(TryRecvError::Empty) => (Err(TryRecvError::Empty), state.receiver.replace(waker)),
            taken => (taken, Some(waker)),
        });
        match taken {
            Err(TryRecvError::Empty) => Poll::Pending,
            taken => {
                self.ended = true;
                Poll::Ready(taken.map_err(|_| RecvError))
            }
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(wait::poll_budget(cx));
        let mut room = Room::uninit();
        let mut held = Held::empty(&mut room);
        match ready!(self.poll_recv(cx, held.slot())) {
            Ok(()) => Poll::Ready(Ok(held.slot().take())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<T> FusedFuture for Receiver<T> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // What is not wanted is dropped after the lock.
        let mut room = Room::uninit();
        let mut unwanted = Held::empty(&mut room);
        let _waker = self.shared.change(|state, wakes| {
            state.receiver_done = true;
            notify_all(&mut state.watchers, wakes);
            if state.message.is_full() {
                unwanted.slot().move_from(&mut state.message);
            }
            state.receiver.take()
        });
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = self.shared.with(|state| state.message.is_full());
        f.debug_struct("oneshot::Receiver").field("sent", &sent).finish()
    }
}

/// A receive in a frame. One that is cut short takes what has come by then.
pub(super) struct CommittedReceive<'a, T> {
    pub(super) receiver: &'a mut Receiver<T>,
    pub(super) into: &'a mut Slot<T>,
}

impl<T> Committed for CommittedReceive<'_, T> {
    type Output = Result<(), RecvError>;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll_recv(cx, self.into)
    }

    fn withdraw(&mut self) -> Option<Self::Output> {
        drop(self.receiver.shared.with(|state| state.receiver.take()));
        match self.receiver.take(self.into) {
            Err(TryRecvError::Empty) => None,
            taken => Some(taken.map_err(|_| RecvError)),
        }
    }
}

/// Waits for the receiver to be done.
struct ReceiverDone<'a, T>(&'a Shared<State<T>>);

impl<T> Watched for ReceiverDone<'_, T> {
    type State = State<T>;
    type Cursor = Self;
    type Output = ();

    fn split(&mut self) -> (&Shared<State<T>>, &mut Self) {
        (self.0, self)
    }

    fn look(state: &mut State<T>, _: &mut Self) -> Option<()> {
        state.receiver_done.then_some(())
    }

    fn queue(state: &mut State<T>) -> &mut WaitQueue<()> {
        &mut state.watchers
    }
}

pin_project_lite::pin_project! {
    /// See [`Sender::closed_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct ClosedFuture<'a, T> {
        #[pin]
        watching: Watching<ReceiverDone<'a, T>>,
    }
}

impl<T> Future for ClosedFuture<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(wait::poll_budget(cx));
        self.project().watching.poll(cx)
    }
}

impl<T> fmt::Debug for ClosedFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("oneshot::ClosedFuture")
    }
}
