//! Entering tokio's context for each poll and each drop, and leaving it around waits.
//!
//! # Protocol
//! `Entered` is one stay in the context. tokio keeps its stays in a stack per thread and panics when one ends that is not the
//! last. A task that waits leaves its frames suspended, and other tasks use the thread: so a hook ends the task's stays before it
//! suspends, from the innermost outwards, and begins them again after, from the outermost inwards. What runs in between finds the
//! stack as it was before the task ran, and stays nest again.
//!
//! A stay belongs to a frame (of a poll, a drop, an `enter`), which ends on the thread that it began on: on a worker because a
//! coroutine never leaves its worker, elsewhere because nothing suspends.

use super::background;
use aqueduct::task;
use aqueduct::wait::{self, HookGuard};
use futures::Stream;
use pin_project_lite::pin_project;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::runtime::{EnterGuard, Handle};

/// One stay in tokio's context, held by a frame.
struct Entered {
    // Dropped first: from then on nothing enters the slot again.
    _hook: HookGuard,
    _leave: Leave,
}

/// tokio's guard while its stay goes on; empty while the task waits.
struct Slot {
    handle: &'static Handle,
    guard: Cell<Option<EnterGuard<'static>>>,
}

impl Slot {
    fn enter(&self) {
        self.guard.set(Some(self.handle.enter()));
    }

    fn leave(&self) {
        drop(self.guard.take());
    }
}

struct Leave(Rc<Slot>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Entered {
    /// `None` where a context is there already and stays there: on threads that are not our workers nothing suspends. On a worker
    /// the context that is found may be that of a frame further out, which this one may outlast.
    fn new() -> Option<Self> {
        if task::try_current().is_none() && Handle::try_current().is_ok() {
            return None;
        }
        let slot = Rc::new(Slot { handle: background::handle(), guard: Cell::new(None) });
        slot.enter();
        let leave = Leave(slot.clone());
        let (before, after) = (slot.clone(), slot);
        Some(Self { _hook: wait::hook(move || before.leave(), move || after.enter()), _leave: leave })
    }

    /// As `new`, for destructors: none where the thread is ending and tokio's thread-local is gone.
    fn for_drop() -> Option<Self> {
        match Handle::try_current() {
            Err(error) if error.is_thread_local_destroyed() => None,
            _ => Self::new(),
        }
    }
}

/// Calls `f` in tokio's context. Go-style code in it may wait.
///
/// It is for constructors that want the context, and for stretches of Go-style code. A future that is waited for inside finds the
/// context as well; one that is *spawned* inside does not: wrap it [`in_tokio`](InTokioExt::in_tokio).
///
/// # Panics
/// When the background runtime has to be started and cannot be; with what `f` throws.
///
/// The body of a generator must not suspend itself inside: the context would stay behind, and tokio panics when contexts are left
/// in another order than they were entered.
///
/// # Examples
/// ```
/// use aqueduct::prelude::*;
/// use std::time::Duration;
///
/// let task = aqueduct::go(|| {
///     aqueduct_compat::tokio::enter(|| {
///         let timer = ::tokio::time::sleep(Duration::from_millis(1)); // would panic outside
///         timer.wait();
///     });
/// });
/// task.join().unwrap();
/// ```
pub fn enter<T>(f: impl FnOnce() -> T) -> T {
    let _entered = Entered::new();
    f()
}

/// Wraps a future so that tokio's context is there for each poll of it and for its drop: see [`in_tokio`](InTokioExt::in_tokio).
///
/// # Panics
/// When the background runtime has to be started and cannot be.
pub fn with_context<F: IntoFuture>(future: F) -> InTokio<F::IntoFuture> {
    InTokio::new(enter(|| future.into_future()))
}

/// `.in_tokio()` on every future.
pub trait InTokioExt: IntoFuture + Sized {
    /// Wraps this future so that tokio's context is there for each poll of it and for its drop.
    ///
    /// The future must not have been polled before. `tokio::spawn` called inside runs its task on the background runtime, where
    /// nothing may wait in Go style.
    ///
    /// # Cancel safety
    /// That of the future.
    ///
    /// # Panics
    /// When the background runtime has to be started and cannot be.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::Wait;
    /// use aqueduct_compat::tokio::InTokioExt;
    /// use std::time::Duration;
    ///
    /// let limit = Duration::from_millis(1);
    /// let late = async { ::tokio::time::timeout(limit, std::future::pending::<()>()).await };
    /// assert!(late.in_tokio().wait().is_err());
    /// ```
    fn in_tokio(self) -> InTokio<Self::IntoFuture> {
        with_context(self)
    }
}

impl<F: IntoFuture> InTokioExt for F {}

pin_project! {
    /// A value that is polled, and dropped, in tokio's context. Made by [`InTokioExt::in_tokio`], [`with_context`] and, for
    /// streams, [`InTokio::new`].
    #[must_use = "futures and streams do nothing unless they are polled"]
    pub struct InTokio<T> {
        // `None` once it has been dropped.
        #[pin]
        inner: Option<T>,
    }

    impl<T> PinnedDrop for InTokio<T> {
        fn drop(this: Pin<&mut Self>) {
            this.drop_inner();
        }
    }
}

impl<T> InTokio<T> {
    /// Wraps a future or a [`Stream`] that is there already.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::Wait;
    /// use aqueduct_compat::tokio::{InTokio, enter};
    /// use futures::StreamExt;
    /// use std::time::Duration;
    ///
    /// let timers = futures::stream::iter(1..=2).then(|n| async move {
    ///     ::tokio::time::sleep(Duration::from_millis(n)).await;
    ///     n
    /// });
    /// assert_eq!(InTokio::new(timers).collect::<Vec<_>>().wait(), [1, 2]);
    /// ```
    pub fn new(inner: T) -> Self {
        Self { inner: Some(inner) }
    }

    fn drop_inner(self: Pin<&mut Self>) {
        let mut inner = self.project().inner;
        if inner.is_some() {
            let _entered = Entered::for_drop();
            inner.set(None);
        }
    }
}

impl<F: Future> Future for InTokio<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let inner = self.project().inner.as_pin_mut().expect("present until dropped");
        let _entered = Entered::new();
        inner.poll(cx)
    }
}

impl<S: Stream> Stream for InTokio<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let inner = self.project().inner.as_pin_mut().expect("present until dropped");
        let _entered = Entered::new();
        inner.poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, None), Stream::size_hint)
    }
}

impl<T: fmt::Debug> fmt::Debug for InTokio<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InTokio").field(&self.inner).finish()
    }
}
