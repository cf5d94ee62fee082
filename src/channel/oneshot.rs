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
//!
//! # Bits of the word
//! | bit | meaning | set by | cleared by |
//! |---|---|---|---|
//! | `SENT` | there was a message | `send` | nobody |
//! | `GONE` | the sender has sent, or was dropped | the sender, once | nobody |
//! | `DONE` | the receiver was closed, or dropped | the receiver | nobody |
//! | `WAITING` | the receiver's waker is in its place | the receiver | the receiver, while `GONE` is clear |
//! | `WATCHED` | somebody may wait for `DONE` | those | nobody |
//!
//! # Invariants
//! - `message`: the place is the sender's until `SENT` is set, afterwards the receiver's. `SENT` is not set after `DONE`. A refused
//!   sender takes its message back, and a receiver that goes drops one that was sent: the place is empty when both have gone.
//! - `waker-is-written-by-the-receiver`: and only while `WAITING` and `GONE` are clear. While `WAITING` is set both sides may read. Who
//!   sets `GONE` where it is set owns the waker; so does the receiver that clears it.
//! - `watched-or-told`: one who waits for `DONE` sets `WATCHED` under the lock of the queue, and enrols if `DONE` was not set in that
//!   same operation; the receiver sets `DONE`, and if `WATCHED` was set takes the lock and tells all. One of the two comes first.
//!
//! Every change is a read-modify-write of one word, AcqRel, so each sees what was done before those before it.

use crate::channel::errors::{RecvError, RecvTimeoutError, TryRecvError};
use crate::channel::shared::{self, Shared, Watched, Watching, notify_all};
use crate::channel::slot::{Held, Room, Slot};
use crate::primitive::UnsafeCell;
use crate::primitive::atomic::AtomicUsize;
use crate::primitive::atomic::Ordering::{AcqRel, Acquire};
use crate::time::deadline_after;
use crate::wait;
use crate::wait::committed::{self, Committed, DeadlinePassed};
use crate::wait::queue::WaitQueue;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

const SENT: usize = 1;
const GONE: usize = 2;
const DONE: usize = 4;
const WAITING: usize = 8;
const WATCHED: usize = 16;

/// What both ends share; see the module's head.
struct Shot<T> {
    word: AtomicUsize,
    message: UnsafeCell<Slot<T>>,
    waker: UnsafeCell<MaybeUninit<Waker>>,
    /// Those who wait for `DONE`.
    watchers: Shared<WaitQueue<()>>,
}

// SAFETY: `message` and the head's rules for the waker say who touches what; the message goes from thread to thread.
unsafe impl<T: Send> Send for Shot<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shot<T> {}

impl<T> Shot<T> {
    /// Makes one where it is to be: its message may be large, and would be copied through frames otherwise.
    fn new() -> Arc<Self> {
        let mut shot = Arc::<Self>::new_uninit();
        let this = Arc::get_mut(&mut shot).expect("it is new").as_mut_ptr();
        // SAFETY: all fields are written; an empty slot is written as such, and `UnsafeCell` is transparent.
        unsafe {
            (&raw mut (*this).word).write(AtomicUsize::new(0));
            #[cfg(not(loom))]
            Slot::<T>::empty_at((&raw mut (*this).message).cast());
            #[cfg(loom)]
            (&raw mut (*this).message).write(UnsafeCell::new(Slot::EMPTY));
            (&raw mut (*this).waker).write(UnsafeCell::new(MaybeUninit::uninit()));
            (&raw mut (*this).watchers).write(Shared::new(WaitQueue::new()));
            shot.assume_init()
        }
    }

    #[inline]
    fn bits(&self) -> usize {
        // Acquire pairs with the AcqRel of whoever has set what is seen.
        self.word.load(Acquire)
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.bits() & DONE != 0
    }

    /// Calls `f` with the place of the message.
    ///
    /// # Safety
    /// `message`: it is the caller's.
    #[inline]
    unsafe fn with_message<R>(&self, f: impl FnOnce(&mut Slot<T>) -> R) -> R {
        // SAFETY: the caller's promise.
        self.message.with_mut(|message| f(unsafe { &mut *message }))
    }

    /// # Safety
    /// The place is full, and the waker the caller's.
    #[inline]
    unsafe fn read_waker(&self) -> Waker {
        // SAFETY: the caller's promise.
        self.waker.with(|waker| unsafe { (*waker).assume_init_read() })
    }

    /// The sender's last step. `Err`: the receiver is done, and nothing was changed.
    #[inline]
    fn leave(&self, bits: usize) -> Result<(), ()> {
        let refused = if bits & SENT != 0 { DONE } else { 0 };
        let left = self.word.fetch_update(AcqRel, Acquire, |now| (now & refused == 0).then_some(now | bits));
        if left.map_err(|_| ())? & WAITING != 0 {
            // SAFETY: `WAITING` was set where we have set `GONE`.
            unsafe { self.read_waker() }.wake();
        }
        Ok(())
    }

    /// The receiver takes its waker back; it is to be dropped. `Err`: the sender has gone, and has taken it if it was there.
    fn take_waker(&self) -> Result<Option<Waker>, ()> {
        let before =
            self.word.fetch_update(AcqRel, Acquire, |now| (now & GONE == 0).then_some(now & !WAITING));
        let was_there = before.map_err(|_| ())? & WAITING != 0;
        // SAFETY: `WAITING` was set, and we have cleared it.
        Ok(was_there.then(|| unsafe { self.read_waker() }))
    }

    /// The receiver is done: the senders that wait for that are told, if this is new.
    fn close(&self) {
        let before = self.word.fetch_or(DONE, AcqRel);
        if before & (DONE | WATCHED) == WATCHED {
            // `watched-or-told`
            self.watchers.change(notify_all);
        }
    }
}

/// A channel for one message.
///
/// # Examples
/// See the [module](self).
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shot = Shot::new();
    (Sender { shot: shot.clone(), sent: false }, Receiver { shot, ended: false })
}

/// The sending end; see the [module](self). Dropped without having sent, it makes the receiver fail.
pub struct Sender<T> {
    shot: Arc<Shot<T>>,
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
        // SAFETY: `message`: nothing has been sent.
        unsafe { self.shot.with_message(|slot| slot.fill(message)) };
        match self.shot.leave(SENT | GONE) {
            Ok(()) => Ok(()),
            // SAFETY: it was refused, so the place is still ours.
            Err(()) => Err(unsafe { self.shot.with_message(Slot::take) }),
        }
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
        match shared::wait_for(ReceiverDone(&self.shot), None) {
            Ok(()) => {}
            Err(DeadlinePassed) => unreachable!("there is no deadline"),
        }
    }

    /// The future form of [`closed`](Self::closed).
    ///
    /// # Cancel safety
    /// *Nothing happened*.
    pub fn closed_async(&self) -> ClosedFuture<'_, T> {
        ClosedFuture { watching: Watching::new(ReceiverDone(&self.shot)) }
    }

    /// Whether the receiver has been dropped or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shot.is_closed()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if !self.sent {
            let left = self.shot.leave(GONE);
            debug_assert_eq!(left, Ok(()), "only a message is refused");
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
    shot: Arc<Shot<T>>,
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

    /// Takes the message into an empty slot.
    #[inline]
    fn take(&mut self, into: &mut Slot<T>) -> Result<(), TryRecvError> {
        let bits = self.shot.bits();
        if bits & (GONE | DONE) == 0 {
            return Err(TryRecvError::Empty);
        }
        self.ended = true;
        if bits & SENT == 0 {
            return Err(TryRecvError::Closed);
        }
        // SAFETY: `message`: it has been sent.
        unsafe {
            self.shot.with_message(|message| match message.is_full() {
                true => {
                    into.move_from(message);
                    Ok(())
                }
                false => Err(TryRecvError::Closed),
            })
        }
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
        wait::yield_if_spent();
        match committed::complete(&mut CommittedReceive { receiver: self, into }, deadline) {
            Ok(result) => result.map_err(RecvTimeoutError::from),
            Err(DeadlinePassed) => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Refuses a message that has not been sent yet: the sender's `send` fails. One that has been sent is still received.
    pub fn close(&mut self) {
        self.shot.close();
    }

    /// Ready when the message is in `into`, or when there will be none.
    #[inline]
    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut Slot<T>) -> Poll<Result<(), RecvError>> {
        loop {
            match self.take(into) {
                Err(TryRecvError::Empty) if self.wait(cx.waker()) => return Poll::Pending,
                // The sender has gone meanwhile.
                Err(TryRecvError::Empty) => {}
                taken => return Poll::Ready(taken.map_err(|_| RecvError)),
            }
        }
    }

    /// Leaves a waker for the sender. False: it has gone.
    fn wait(&mut self, waker: &Waker) -> bool {
        let shot = &*self.shot;
        let bits = shot.bits();
        if bits & GONE != 0 {
            return false;
        }
        let mut before = None;
        if bits & WAITING != 0 {
            // SAFETY: the place is full, and written to by us alone; the sender at most reads.
            if shot.waker.with(|place| unsafe { (*place).assume_init_ref().will_wake(waker) }) {
                return true;
            }
            match shot.take_waker() {
                Ok(waker) => before = waker,
                Err(()) => return false,
            }
        }
        let waker = waker.clone();
        // SAFETY: `WAITING` is clear: a sender that goes now finds no waker to read.
        shot.waker.with_mut(|place| unsafe { (*place).write(waker) });
        let placed =
            shot.word.fetch_update(AcqRel, Acquire, |now| (now & GONE == 0).then_some(now | WAITING));
        if placed.is_err() {
            // SAFETY: it has not been published, so it is ours.
            drop(unsafe { shot.read_waker() });
        }
        drop(before);
        placed.is_ok()
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
        let shot = &*self.shot;
        let mut _waker = None;
        // When the sender has gone, nobody is left who would look.
        if shot.bits() & GONE == 0 {
            shot.close();
            _waker = shot.take_waker().ok().flatten();
        }
        if shot.bits() & SENT != 0 {
            // SAFETY: `message`: it has been sent.
            unsafe { shot.with_message(Slot::clear) };
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = self.shot.bits() & SENT != 0 && !self.ended;
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
        drop(self.receiver.shot.take_waker());
        match self.receiver.take(self.into) {
            Err(TryRecvError::Empty) => None,
            taken => Some(taken.map_err(|_| RecvError)),
        }
    }
}

/// Waits for the receiver to be done.
struct ReceiverDone<'a, T>(&'a Shot<T>);

impl<T> Watched for ReceiverDone<'_, T> {
    type State = WaitQueue<()>;
    type Cursor = Self;
    type Output = ();

    fn split(&mut self) -> (&Shared<WaitQueue<()>>, &mut Self) {
        (&self.0.watchers, self)
    }

    /// Under the lock: `watched-or-told`.
    fn look(_: &mut WaitQueue<()>, this: &mut Self) -> Option<()> {
        (this.0.word.fetch_or(WATCHED, AcqRel) & DONE != 0).then_some(())
    }

    fn queue(queue: &mut WaitQueue<()>) -> &mut WaitQueue<()> {
        queue
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
