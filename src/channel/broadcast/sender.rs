//! The sending end.
#![forbid(unsafe_code)]

use super::{Receiver, SendError, State};
use crate::channel::shared::{Shared, notify_all};
use std::fmt;
use std::sync::Arc;

/// The sending end; see the [module](super). When the last one is dropped, receivers get what is left, then the end.
pub struct Sender<T> {
    shared: Arc<Shared<State<T>>>,
}

impl<T> Sender<T> {
    pub(super) fn new(shared: Arc<Shared<State<T>>>) -> Self {
        Self { shared }
    }

    /// Sends a message to every receiver there is, and returns how many there are. Never waits: if there is no room, the oldest message is
    /// overwritten.
    ///
    /// # Errors
    /// The message comes back when there is no receiver. There may be one later, by [`subscribe`](Self::subscribe).
    pub fn send(&self, message: T) -> Result<usize, SendError<T>> {
        let message = Arc::new(message);
        let sent = self.shared.change(|state, wakes| {
            if state.receivers == 0 {
                return Err(message);
            }
            Ok((state.receivers, state.put(message, wakes)))
        });
        match sent {
            Ok((receivers, _overwritten)) => Ok(receivers),
            Err(message) => match Arc::try_unwrap(message) {
                Ok(message) => Err(SendError(message)),
                Err(_) => unreachable!("a message that was not put has one owner"),
            },
        }
    }

    /// A receiver of the messages that are sent from now on.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        let position = self.shared.with(|state| {
            state.receivers += 1;
            state.tail()
        });
        Receiver::new(self.shared.clone(), position)
    }

    /// Messages that somebody has yet to receive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.with(|state| state.slots.len())
    }

    /// Everything has been received by all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages are kept at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.with(|state| state.capacity)
    }

    /// Receiving handles.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.with(|state| state.receivers)
    }

    /// Whether both send to the same receivers.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.with(|state| state.senders += 1);
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.change(|state, wakes| {
            state.senders -= 1;
            if state.senders == 0 {
                notify_all(&mut state.waiting, wakes);
            }
        });
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, receivers) = self.shared.with(|state| (state.slots.len(), state.receivers));
        f.debug_struct("broadcast::Sender").field("len", &len).field("receivers", &receivers).finish()
    }
}
