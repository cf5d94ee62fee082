//! The receiving end.
#![forbid(unsafe_code)]

use super::{ChangedFuture, State, WaitForFuture, WatchStream, WatchStreamRef};
use crate::channel::errors::{RecvError, RecvTimeoutError};
use crate::channel::shared::{self, Shared, Watched, notify_all};
use crate::time::deadline_after;
use crate::wait;
use crate::wait::committed::DeadlinePassed;
use crate::wait::queue::WaitQueue;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A receiver that has seen nothing.
const UNSEEN: u64 = 0;

/// The receiving end; see the [module](super). A clone has seen what this one has seen.
pub struct Receiver<T> {
    pub(super) shared: Arc<Shared<State<T>>>,
    /// The version that was seen last.
    pub(super) seen: u64,
}

impl<T> Receiver<T> {
    /// The latest value. It does not count as seen: [`changed`](Self::changed) still returns for it.
    #[must_use]
    pub fn borrow(&self) -> Arc<T> {
        self.shared.with(|state| state.value.clone())
    }

    /// The latest value, which counts as seen.
    #[must_use]
    pub fn borrow_and_update(&mut self) -> Arc<T> {
        self.shared.with(|state| {
            self.seen = state.version;
            state.value.clone()
        })
    }

    /// Whether there is a value that this receiver has not seen.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.shared.with(|state| state.version != self.seen)
    }

    /// Whether all senders are gone. There may be a last value that has not been seen.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.with(|state| state.senders == 0)
    }

    /// Waits for a value that this receiver has not seen, and counts it as seen. [`borrow`](Self::borrow) it then: what that gives is this
    /// value or a later one.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// *Nothing happened*: the value has not been seen.
    ///
    /// # Errors
    /// When all senders are gone and the last value has been seen.
    ///
    /// # Examples
    /// ```
    /// let (tx, mut rx) = aqueduct::channel::watch::channel(0);
    /// tx.send(1);
    /// tx.send(2);
    /// drop(tx);
    /// assert!(rx.changed().is_ok());
    /// assert_eq!(*rx.borrow(), 2);
    /// assert!(rx.changed().is_err());
    /// ```
    #[track_caller]
    pub fn changed(&mut self) -> Result<(), RecvError> {
        self.next(None).map(drop).map_err(|_| RecvError)
    }

    /// As [`changed`](Self::changed), for at most so long.
    ///
    /// # Errors
    /// When the time is up, or all senders are gone and the last value has been seen.
    #[track_caller]
    pub fn changed_timeout(&mut self, timeout: Duration) -> Result<(), RecvTimeoutError> {
        self.changed_deadline(deadline_after(timeout))
    }

    /// As [`changed`](Self::changed), until `deadline` at the latest.
    ///
    /// # Errors
    /// When the time is up, or all senders are gone and the last value has been seen.
    #[track_caller]
    pub fn changed_deadline(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        self.next(Some(deadline)).map(drop)
    }

    /// The future form of [`changed`](Self::changed).
    ///
    /// # Cancel safety
    /// *Nothing happened*: the value has not been seen.
    pub fn changed_async(&mut self) -> ChangedFuture<'_, T> {
        ChangedFuture::new(self)
    }

    /// Waits until a value is as wanted, and returns it; the present value is looked at first. Values that are replaced before this receiver
    /// looks are skipped.
    ///
    /// # Blocking
    /// # Cancel safety
    /// As [`changed`](Self::changed). Values that were looked at count as seen.
    ///
    /// # Errors
    /// When all senders are gone, and the last value is not as wanted.
    #[track_caller]
    pub fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<Arc<T>, RecvError> {
        let mut value = self.borrow_and_update();
        while !wanted(&value) {
            value = self.next(None).map_err(|_| RecvError)?;
        }
        Ok(value)
    }

    /// As [`wait_for`](Self::wait_for), for at most so long.
    ///
    /// # Errors
    /// When the time is up, or all senders are gone and the last value is not as wanted.
    #[track_caller]
    pub fn wait_for_timeout(
        &mut self,
        timeout: Duration,
        wanted: impl FnMut(&T) -> bool,
    ) -> Result<Arc<T>, RecvTimeoutError> {
        self.wait_for_deadline(deadline_after(timeout), wanted)
    }

    /// As [`wait_for`](Self::wait_for), until `deadline` at the latest.
    ///
    /// # Errors
    /// When the time is up, or all senders are gone and the last value is not as wanted.
    #[track_caller]
    pub fn wait_for_deadline(
        &mut self,
        deadline: Instant,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Arc<T>, RecvTimeoutError> {
        let mut value = self.borrow_and_update();
        while !wanted(&value) {
            value = self.next(Some(deadline))?;
        }
        Ok(value)
    }

    /// The future form of [`wait_for`](Self::wait_for).
    ///
    /// # Cancel safety
    /// *Nothing happened*. Values that were looked at count as seen.
    pub fn wait_for_async<F: FnMut(&T) -> bool>(&mut self, wanted: F) -> WaitForFuture<'_, T, F> {
        WaitForFuture::new(self, wanted)
    }

    /// The values as a [`Stream`](::futures::Stream): the present one, then each that this receiver has not seen, until all senders are gone. Values that are
    /// replaced before the stream is polled are skipped; the last one never is.
    ///
    /// # Cancel safety
    /// *Nothing happened*.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::Wait;
    /// use futures::StreamExt;
    ///
    /// let (tx, mut rx) = aqueduct::channel::watch::channel(1);
    /// let mut values = rx.stream();
    /// assert_eq!(*values.next().wait().unwrap(), 1);
    /// tx.send(2);
    /// tx.send(3);
    /// drop(tx);
    /// assert_eq!(*values.next().wait().unwrap(), 3);
    /// assert_eq!(values.next().wait(), None);
    /// ```
    pub fn stream(&mut self) -> WatchStreamRef<'_, T> {
        self.seen = UNSEEN;
        WatchStreamRef::new(self)
    }

    /// As [`stream`](Self::stream), owning the receiver.
    ///
    /// # Cancel safety
    /// *Nothing happened*.
    pub fn into_stream(mut self) -> WatchStream<T> {
        self.seen = UNSEEN;
        WatchStream::new(self)
    }

    /// Whether both look at the same value.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// The next value that has not been seen.
    #[track_caller]
    fn next(&mut self, deadline: Option<Instant>) -> Result<Arc<T>, RecvTimeoutError> {
        wait::yield_if_spent();
        if let Some(result) = shared::look(self) {
            return result.map_err(RecvTimeoutError::from);
        }
        match shared::wait_for(self, deadline) {
            Ok(result) => result.map_err(RecvTimeoutError::from),
            Err(DeadlinePassed) => Err(RecvTimeoutError::Timeout),
        }
    }
}

impl<T> Watched for Receiver<T> {
    type State = State<T>;
    type Cursor = u64;
    type Output = Result<Arc<T>, RecvError>;

    fn split(&mut self) -> (&Shared<State<T>>, &mut u64) {
        (&self.shared, &mut self.seen)
    }

    fn look(state: &mut State<T>, seen: &mut u64) -> Option<Self::Output> {
        if *seen != state.version {
            *seen = state.version;
            return Some(Ok(state.value.clone()));
        }
        (state.senders == 0).then_some(Err(RecvError))
    }

    fn queue(state: &mut State<T>) -> &mut WaitQueue<()> {
        &mut state.changes
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.with(|state| state.receivers += 1);
        Self { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.change(|state, wakes| {
            state.receivers -= 1;
            if state.receivers == 0 {
                notify_all(&mut state.watchers, wakes);
            }
        });
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("watch::Receiver")
            .field("changed", &self.has_changed())
            .field("closed", &self.is_closed())
            .finish()
    }
}
