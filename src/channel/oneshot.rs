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
#![forbid(unsafe_code)]

use crate::channel::errors::{RecvError, RecvTimeoutError, TryRecvError};
use crate::channel::shared::{self, Shared, Watched, Watching, notify_all};
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
    message: Option<T>,
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
    fn take(&mut self) -> Result<T, TryRecvError> {
        match self.message.take() {
            Some(message) => Ok(message),
            None if self.sender_done || self.receiver_done => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }
}

/// A channel for one message.
///
/// # Examples
/// See the [module](self).
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared::new(State {
        message: None,
        sender_done: false,
        receiver_done: false,
        receiver: None,
        watchers: WaitQueue::new(),
    }));
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
        self.shared.change(|state, wakes| {
            if state.receiver_done {
                return Err(message);
            }
            state.message = Some(message);
            state.sender_done = true;
            wakes.push(state.receiver.take());
            Ok(())
        })
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
        match self.try_recv() {
            Ok(message) => Ok(message),
            Err(TryRecvError::Closed) => Err(RecvError),
            Err(TryRecvError::Empty) => self.recv_waiting(None).map_err(|_| RecvError),
        }
    }

    /// Receives the message if it has been sent.
    ///
    /// # Errors
    /// When it has not been sent, cannot be any more, or has been received.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let taken = self.shared.with(State::take);
        self.ended |= !matches!(taken, Err(TryRecvError::Empty));
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
        self.recv_waiting(Some(deadline))
    }

    #[track_caller]
    fn recv_waiting(&mut self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        match committed::complete(&mut CommittedReceive(self), deadline) {
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

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        match self.try_recv() {
            Err(TryRecvError::Empty) => {}
            taken => return Poll::Ready(taken.map_err(|_| RecvError)),
        }
        let waker = cx.waker().clone();
        let (taken, _replaced) = self.shared.with(|state| match state.take() {
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
        self.poll_recv(cx)
    }
}

impl<T> FusedFuture for Receiver<T> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let unwanted = self.shared.change(|state, wakes| {
            state.receiver_done = true;
            notify_all(&mut state.watchers, wakes);
            (state.message.take(), state.receiver.take())
        });
        drop(unwanted);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = self.shared.with(|state| state.message.is_some());
        f.debug_struct("oneshot::Receiver").field("sent", &sent).finish()
    }
}

/// A receive in a frame. One that is cut short takes what has come by then.
struct CommittedReceive<'a, T>(&'a mut Receiver<T>);

impl<T> Committed for CommittedReceive<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_recv(cx)
    }

    fn withdraw(&mut self) -> Option<Self::Output> {
        drop(self.0.shared.with(|state| state.receiver.take()));
        match self.0.try_recv() {
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
