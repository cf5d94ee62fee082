//! Every message to every receiver.
//!
//! A receiver gets each message that is sent after it subscribed. The channel keeps the last `capacity` messages that somebody has yet to
//! receive; [`Sender::send`] never waits, it overwrites the oldest. A receiver that is too slow for that learns how many messages it has
//! missed ([`RecvError::Lagged`]) and goes on with the oldest that is left.
//!
//! ```
//! use aqueduct::channel::broadcast;
//! use aqueduct::go;
//!
//! let (tx, mut rx) = broadcast::channel(16);
//! let mut other = tx.subscribe();
//! let both = [go(move || rx.recv()), go(move || other.recv())];
//! tx.send("to all").unwrap();
//! assert!(both.into_iter().all(|receiver| receiver.join().unwrap() == Ok("to all")));
//! ```
//!
//! # Picture
//! ```text
//!   head                       head + slots.len()
//!    │                          │
//!   ┌───┬───┬───┬───┐
//!   │ 1 │ 1 │ 2 │ 3 │ ◄─ send   each slot: the message, and how many receivers have yet to get it
//!   └─▲─┴───┴─▲─┴─▲─┘
//!     a       b   c             the receivers' positions
//! ```
//!
//! # Invariants
//! - `counted`: a slot's count is the number of receivers whose position is not behind it; so counts grow from the oldest to the newest, and
//!   slots that nobody needs are at the front.
//! - `freed`: a message that all have received, or missed, is not kept.
//! - `no-user-code`: messages lie in `Arc`s, which alone are cloned and moved under the lock; `T::clone` and `Drop` run outside.
//!
//! Several receivers clone one message at once, so to be sent to another thread the handles ask for `T: Send + Sync`:
//!
//! ```compile_fail,E0277
//! let (tx, _rx) = aqueduct::channel::broadcast::channel::<std::cell::Cell<u8>>(1);
//! aqueduct::go(move || tx);
//! ```
#![forbid(unsafe_code)]

mod errors;
mod receiver;
mod sender;
mod stream;

pub use errors::{Lagged, RecvError, RecvTimeoutError, SendError, TryRecvError};
pub use receiver::{Receiver, RecvFuture};
pub use sender::Sender;
pub use stream::{RecvStream, RecvStreamRef};

use crate::channel::shared::{Shared, notify_all};
use crate::wait::queue::{WaitQueue, WakeList};
use std::collections::VecDeque;
use std::sync::Arc;

/// A message, and how many receivers have yet to get it.
struct Slot<T> {
    message: Arc<T>,
    pending: usize,
}

/// See the module's head.
pub(super) struct State<T> {
    slots: VecDeque<Slot<T>>,
    /// The position of the first slot: messages that came before.
    head: u64,
    capacity: usize,
    senders: usize,
    receivers: usize,
    waiting: WaitQueue<()>,
}

impl<T> State<T> {
    /// Where the next message will be.
    fn tail(&self) -> u64 {
        self.head + self.slots.len() as u64
    }

    /// Puts a message for all receivers there are, of which there is one. The one overwritten is to be dropped after the lock.
    fn put(&mut self, message: Arc<T>, wakes: &mut WakeList) -> Option<Arc<T>> {
        let oldest = if self.slots.len() == self.capacity { self.pop() } else { None };
        self.slots.push_back(Slot { message, pending: self.receivers });
        notify_all(&mut self.waiting, wakes);
        oldest
    }

    fn pop(&mut self) -> Option<Arc<T>> {
        let slot = self.slots.pop_front()?;
        self.head += 1;
        Some(slot.message)
    }

    /// Takes the message at `position`, and moves on.
    fn take(&mut self, position: &mut u64) -> Option<Result<Arc<T>, RecvError>> {
        if *position < self.head {
            let missed = self.head - *position;
            *position = self.head;
            return Some(Err(RecvError::Lagged(missed)));
        }
        let index = self.index(*position);
        let Some(slot) = self.slots.get_mut(index) else {
            return (self.senders == 0).then_some(Err(RecvError::Closed));
        };
        *position += 1;
        slot.pending -= 1;
        // A slot that nobody needs is the first (`counted`).
        let message = if slot.pending > 0 { Some(slot.message.clone()) } else { self.pop() };
        message.map(Ok)
    }

    /// The slots from `position` on, or from the first, if that comes later.
    fn index(&self, position: u64) -> usize {
        // No further than the tail: less than the length, which is a usize.
        position.saturating_sub(self.head) as usize
    }

    /// A receiver is to get what is at `position` and after.
    fn join(&mut self, position: u64) {
        self.receivers += 1;
        let index = self.index(position);
        self.slots.range_mut(index..).for_each(|slot| slot.pending += 1);
    }

    /// A receiver at `position` goes away. Messages that nobody needs any more are to be dropped after the lock.
    fn leave(&mut self, position: u64) -> Vec<Arc<T>> {
        self.receivers -= 1;
        let index = self.index(position);
        self.slots.range_mut(index..).for_each(|slot| slot.pending -= 1);
        let mut unwanted = Vec::new();
        while self.slots.front().is_some_and(|slot| slot.pending == 0) {
            unwanted.extend(self.pop());
        }
        unwanted
    }
}

/// A channel that keeps the last `capacity` messages for its receivers. Memory is taken as it is used, and an allocation made for every
/// message.
///
/// # Panics
/// When `capacity` is 0.
///
/// # Examples
/// ```
/// use aqueduct::channel::broadcast::{self, RecvError};
///
/// let (tx, mut rx) = broadcast::channel(2);
/// for i in 0..5 {
///     tx.send(i).unwrap();
/// }
/// assert_eq!(rx.recv(), Err(RecvError::Lagged(3)));
/// assert_eq!(rx.recv(), Ok(3));
/// assert_eq!(rx.recv(), Ok(4));
/// ```
#[must_use]
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a broadcast channel keeps at least one message");
    let shared = Arc::new(Shared::new(State {
        slots: VecDeque::new(),
        head: 0,
        capacity,
        senders: 1,
        receivers: 1,
        waiting: WaitQueue::new(),
    }));
    (Sender::new(shared.clone()), Receiver::new(shared, 0))
}
