//! The waits of both ends, as futures and streams.
#![forbid(unsafe_code)]

use super::{Receiver, State};
use crate::channel::errors::RecvError;
use crate::channel::shared::{Shared, Watched, Watching};
use crate::wait;
use crate::wait::queue::WaitQueue;
use ::futures::stream::{FusedStream, Stream};
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Waits until there is no receiver.
pub(super) struct NoReceiver<'a, T>(pub(super) &'a Shared<State<T>>);

impl<T> Watched for NoReceiver<'_, T> {
    type State = State<T>;
    type Cursor = Self;
    type Output = ();

    fn split(&mut self) -> (&Shared<State<T>>, &mut Self) {
        (self.0, self)
    }

    fn look(state: &mut State<T>, _: &mut Self) -> Option<()> {
        (state.receivers == 0).then_some(())
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
        watching: Watching<NoReceiver<'a, T>>,
    }
}

impl<'a, T> ClosedFuture<'a, T> {
    pub(super) fn new(shared: &'a Shared<State<T>>) -> Self {
        Self { watching: Watching::new(NoReceiver(shared)) }
    }
}

impl<T> Future for ClosedFuture<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(wait::poll_budget(cx));
        self.project().watching.poll(cx)
    }
}

pin_project_lite::pin_project! {
    /// See [`Receiver::changed_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct ChangedFuture<'a, T> {
        #[pin]
        watching: Watching<&'a mut Receiver<T>>,
    }
}

impl<'a, T> ChangedFuture<'a, T> {
    pub(super) fn new(receiver: &'a mut Receiver<T>) -> Self {
        Self { watching: Watching::new(receiver) }
    }
}

impl<T> Future for ChangedFuture<'_, T> {
    type Output = Result<(), RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(wait::poll_budget(cx));
        self.project().watching.poll(cx).map(|result| result.map(drop))
    }
}

pin_project_lite::pin_project! {
    /// See [`Receiver::wait_for_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct WaitForFuture<'a, T, F> {
        #[pin]
        watching: Watching<&'a mut Receiver<T>>,
        wanted: F,
        started: bool,
    }
}

impl<'a, T, F> WaitForFuture<'a, T, F> {
    pub(super) fn new(receiver: &'a mut Receiver<T>, wanted: F) -> Self {
        Self { watching: Watching::new(receiver), wanted, started: false }
    }
}

impl<T, F: FnMut(&T) -> bool> Future for WaitForFuture<'_, T, F> {
    type Output = Result<Arc<T>, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            ready!(wait::poll_budget(cx));
            let value = if mem::replace(this.started, true) {
                ready!(this.watching.as_mut().poll(cx))?
            } else {
                this.watching.as_mut().watched().borrow_and_update()
            };
            if (this.wanted)(&value) {
                return Poll::Ready(Ok(value));
            }
        }
    }
}

macro_rules! stream {
    ($(#[$doc:meta])* $name:ident, $($lifetime:lifetime)?, $receiver:ty) => {
        $(#[$doc])*
        #[must_use = "streams do nothing unless polled"]
        pub struct $name<$($lifetime,)? T> {
            watching: Pin<Box<Watching<$receiver>>>,
            ended: bool,
        }

        impl<$($lifetime,)? T> $name<$($lifetime,)? T> {
            pub(super) fn new(receiver: $receiver) -> Self {
                Self { watching: Box::pin(Watching::new(receiver)), ended: false }
            }
        }

        impl<$($lifetime,)? T> Stream for $name<$($lifetime,)? T> {
            type Item = Arc<T>;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<T>>> {
                if self.ended {
                    return Poll::Ready(None);
                }
                ready!(wait::poll_budget(cx));
                let value = ready!(self.watching.as_mut().poll(cx)).ok();
                self.ended = value.is_none();
                Poll::Ready(value)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (0, self.ended.then_some(0))
            }
        }

        impl<$($lifetime,)? T> FusedStream for $name<$($lifetime,)? T> {
            fn is_terminated(&self) -> bool {
                self.ended
            }
        }
    };
}

stream! {
    /// The values of a receiver, which it owns. See [`Receiver::into_stream`].
    WatchStream, , Receiver<T>
}

stream! {
    /// The values of a receiver, which it borrows. See [`Receiver::stream`].
    WatchStreamRef, 'a, &'a mut Receiver<T>
}

macro_rules! debug {
    ($($name:ident<$($lifetime:lifetime,)? T $(, $f:ident)?>)*) => {$(
        impl<T $(, $f)?> fmt::Debug for $name<$($lifetime,)? T $(, $f)?> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!("watch::", stringify!($name)))
            }
        }
    )*};
}

debug! { ClosedFuture<'_, T> ChangedFuture<'_, T> WaitForFuture<'_, T, F> WatchStream<T> WatchStreamRef<'_, T> }
