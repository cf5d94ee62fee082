//! The sending end.
#![forbid(unsafe_code)]

use super::futures::NoReceiver;
use super::{ClosedFuture, Receiver, State};
use crate::channel::shared::{self, Shared, notify_all};
use crate::wait::committed::DeadlinePassed;
use std::fmt;
use std::mem;
use std::sync::Arc;

/// The sending end; see the [module](super). When the last one is dropped, receivers see the last value, then the end.
pub struct Sender<T> {
    pub(super) shared: Arc<Shared<State<T>>>,
}

impl<T> Sender<T> {
    /// Makes `value` the latest; never waits. It need not be seen by anybody: a receiver that is [subscribed](Self::subscribe) later sees
    /// it too.
    pub fn send(&self, value: T) {
        drop(self.replace(value));
    }

    /// As [`send`](Self::send), and returns the value before.
    pub fn replace(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        self.shared.change(|state, wakes| {
            state.version += 1;
            notify_all(&mut state.changes, wakes);
            mem::replace(&mut state.value, value)
        })
    }

    /// Changes the latest value: `f` works on a clone, which then replaces it. `f` is called again if another value was sent meanwhile, so
    /// that no change is lost.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = aqueduct::channel::watch::channel(vec![1]);
    /// tx.modify(|list| list.push(2));
    /// assert_eq!(*rx.borrow(), [1, 2]);
    /// ```
    pub fn modify(&self, mut f: impl FnMut(&mut T))
    where
        T: Clone,
    {
        loop {
            let (before, version) = self.shared.with(|state| (state.value.clone(), state.version));
            let mut value = T::clone(&before);
            f(&mut value);
            let mut value = Arc::new(value);
            let replaced = self.shared.change(|state, wakes| {
                if state.version != version {
                    return false;
                }
                state.version += 1;
                notify_all(&mut state.changes, wakes);
                mem::swap(&mut state.value, &mut value);
                true
            });
            if replaced {
                return;
            }
        }
    }

    /// The latest value.
    #[must_use]
    pub fn borrow(&self) -> Arc<T> {
        self.shared.with(|state| state.value.clone())
    }

    /// Another receiver, which has seen the latest value.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.shared.with(|state| {
            state.receivers += 1;
            state.version
        });
        Receiver { shared: self.shared.clone(), seen }
    }

    /// Receiving handles.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.with(|state| state.receivers)
    }

    /// Whether there is no receiver now.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Waits until there is no receiver.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// *Nothing happened*.
    #[track_caller]
    pub fn closed(&self) {
        match shared::wait_for(NoReceiver(&self.shared), None) {
            Ok(()) => {}
            Err(DeadlinePassed) => unreachable!("there is no deadline"),
        }
    }

    /// The future form of [`closed`](Self::closed).
    ///
    /// # Cancel safety
    /// *Nothing happened*.
    pub fn closed_async(&self) -> ClosedFuture<'_, T> {
        ClosedFuture::new(&self.shared)
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
                notify_all(&mut state.changes, wakes);
            }
        });
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("watch::Sender").field("receivers", &self.receiver_count()).finish()
    }
}
