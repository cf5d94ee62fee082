//! The latest value, for all who look.
//!
//! A configuration, a state, a "shutting down". Senders replace the value, receivers look at it whenever they like and can wait for it to
//! change. Values between two looks are skipped; the last one never is: a receiver that waits for changes sees it, even if the sender has
//! gone meanwhile.
//!
//! ```
//! use aqueduct::channel::watch;
//! use aqueduct::go;
//!
//! let (tx, mut rx) = watch::channel("starting");
//! let watcher = go(move || rx.wait_for(|state| *state == "ready").map(|state| *state));
//! tx.send("ready");
//! assert_eq!(watcher.join().unwrap(), Ok("ready"));
//! ```
//!
//! # Looking
//! The value lies in an [`Arc`], and [`borrow`](Receiver::borrow) returns a clone of that: a snapshot, which may be kept over waits, and
//! keeps nobody from sending. No lock is held while it lives, and nothing of the user's runs under one: a replaced value is dropped by who
//! holds it last. Values are seen by several threads at once, so to be sent to another thread the handles ask for `T: Send + Sync`.
#![forbid(unsafe_code)]

mod futures;
mod receiver;
mod sender;

pub use futures::{ChangedFuture, ClosedFuture, WaitForFuture, WatchStream, WatchStreamRef};
pub use receiver::Receiver;
pub use sender::Sender;

use crate::channel::shared::Shared;
use crate::wait::queue::WaitQueue;
use std::sync::Arc;

pub(super) struct State<T> {
    value: Arc<T>,
    /// Counts the values, from 1.
    version: u64,
    senders: usize,
    receivers: usize,
    /// Receivers that wait for another version, or the end.
    changes: WaitQueue<()>,
    /// Senders that wait until there is no receiver.
    watchers: WaitQueue<()>,
}

/// A channel for the latest value, which is `initial`. The receiver has seen it.
///
/// # Examples
/// See the [module](self).
#[must_use]
pub fn channel<T>(initial: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared::new(State {
        value: Arc::new(initial),
        version: 1,
        senders: 1,
        receivers: 1,
        changes: WaitQueue::new(),
        watchers: WaitQueue::new(),
    }));
    (Sender { shared: shared.clone() }, Receiver { shared, seen: 1 })
}
