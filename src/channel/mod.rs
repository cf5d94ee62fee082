//! Channels: one type for coroutines, async functions and plain threads.
//!
//! [`bounded(n)`](bounded) holds `n` messages, `bounded(0)` is a rendezvous (a send meets a receive, nothing is stored),
//! [`unbounded()`](unbounded) holds any number. There may be many senders and many receivers; handles are cloned. `send` and
//! `recv` wait for the caller (a coroutine, or off the workers a thread), `send_async` and `recv_async` are futures, `try_*`
//! never waits, `*_timeout` and `*_deadline` give up.
//!
//! ```
//! use aqueduct::{channel, go};
//!
//! let (tx, rx) = channel::bounded(2);
//! go!(for i in 0..4 {
//!     tx.send(i).unwrap();
//! });
//! assert_eq!(rx.iter().sum::<i32>(), 6); // ends when the last sender is gone
//! ```
//!
//! # Closing
//! A channel is closed by `close()` from either end, or when the last sender or the last receiver is dropped. Sends fail from
//! then on and give the message back; receives drain what is queued, then fail. Everybody who waits is woken.
//!
//! # Guarantees
//! - FIFO: messages are received in the order in which they were sent, as far as one sender and one receiver can tell.
//! - Every message goes to exactly one receiver.
//! - Dropping, cancelling or timing out at any moment loses no message, duplicates none, and loses no wake-up of somebody else. A
//!   future that is neither polled nor dropped keeps the notification that it got; others may take the message meanwhile.
//! - On a rendezvous, `send` returning `Ok` means that a receiver has taken the message.
//! - Nothing of the user's (a message's `Drop`, a waker) runs under the channel's lock.
//!
//! # Cost
//! One lock a channel, which an operation that need not wait takes once; one that waits, once or twice. A message moves straight from
//! a sender to a waiting receiver. Nothing is allocated by a send or a receive, except when the queue grows; a new channel has no queue yet.

pub mod broadcast;
pub(crate) mod core;
mod errors;
mod inspect;
pub(crate) mod lock;
pub mod oneshot;
mod receiver;
mod ring;
mod sender;
mod shared;
mod sink;
pub(crate) mod slot;
mod stream;
#[cfg(all(test, loom))]
mod tests;
mod waiting;
pub mod watch;

pub use errors::{
    RecvError, RecvTimeoutError, ReserveError, SendError, SendTimeoutError, TryRecvError, TryReserveError,
    TrySendError,
};
pub use receiver::{Drain, IntoIter, Iter, Receiver, RecvFuture, TryIter, WeakReceiver};
pub use sender::{Permit, ReserveFuture, SendFuture, Sender, WeakSender};
pub use sink::{SendSink, SendSinkRef, SinkError};
pub use stream::{RecvStream, RecvStreamRef};

use crate::channel::core::Channel;
use std::sync::Arc;

/// A channel that holds up to `capacity` messages; 0 is a rendezvous.
///
/// Memory is taken as it is used, not in proportion to the capacity.
///
/// # Examples
/// ```
/// let (tx, rx) = aqueduct::channel::bounded(1);
/// tx.send("a message").unwrap();
/// assert!(tx.try_send("no room").unwrap_err().is_full());
/// assert_eq!(rx.recv(), Ok("a message"));
/// ```
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    // One less than unbounded, which nothing can fill either.
    new(capacity.min(usize::MAX - 1))
}

/// A channel that holds any number of messages: `send` never waits, and a receiver that is too slow costs memory.
///
/// # Examples
/// ```
/// let (tx, rx) = aqueduct::channel::unbounded();
/// for i in 0..1000 {
///     tx.send(i).unwrap();
/// }
/// assert_eq!(rx.len(), 1000);
/// ```
#[must_use]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    new(usize::MAX)
}

fn new<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel::new(capacity));
    (Sender::new(channel.clone()), Receiver::new(channel))
}
