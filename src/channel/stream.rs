//! Receivers as streams.
//!
//! A stream holds one revocable receive, pinned in a box of its own, which stays enrolled from one poll to the next: a stream that was
//! polled before another receiver came is served before it. The box is made once a stream, not once a message.
//!
//! # Invariants
//! - `ends-once`: a channel that was found closed and empty stays so; the stream asks no more.
#![forbid(unsafe_code)]

use crate::channel::core::Channel;
use crate::channel::receiver::Receiver;
use crate::channel::waiting::{Handle, Receiving};
use crate::wait;
use futures::stream::{FusedStream, Stream};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

/// What both streams are.
struct Messages<H: Handle<T>, T> {
    receiving: Pin<Box<Receiving<H, T>>>,
    ended: bool,
}

impl<H: Handle<T>, T> Messages<H, T> {
    fn new(handle: H) -> Self {
        Self { receiving: Box::pin(Receiving::revocable(handle)), ended: false }
    }

    fn channel(&self) -> &Channel<T> {
        self.receiving.handle().channel()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if self.ended {
            return Poll::Ready(None);
        }
        ready!(wait::poll_budget(cx));
        let message = ready!(self.receiving.as_ref().poll_message(cx)).ok();
        self.ended = message.is_none();
        Poll::Ready(message)
    }

    /// At most: what is queued, once nothing can enter. `sole`: nobody else receives, so that all that is queued will come.
    fn size_hint(&self, sole: bool) -> (usize, Option<usize>) {
        if self.ended {
            return (0, Some(0));
        }
        let (queued, closed) = self.channel().with(|state| (state.len(), state.is_closed()));
        (if sole { queued } else { 0 }, closed.then_some(queued))
    }
}

macro_rules! stream {
    ($name:ident, $($lifetime:lifetime)?, $sole:expr) => {
        impl<T> Stream for $name<$($lifetime,)? T> {
            type Item = T;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
                self.messages.poll_next(cx)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.messages.size_hint($sole(self))
            }
        }

        impl<T> FusedStream for $name<$($lifetime,)? T> {
            fn is_terminated(&self) -> bool {
                self.messages.ended
            }
        }

        impl<T> fmt::Debug for $name<$($lifetime,)? T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("ended", &self.messages.ended).finish_non_exhaustive()
            }
        }
    };
}

/// The messages of a channel as a [`Stream`]; owns its receiver. See [`Receiver::into_stream`].
///
/// `Unpin`, and `Send` if the messages are. A clone is a stream over another receiver of the channel: each message goes to one.
#[must_use = "streams do nothing unless polled"]
pub struct RecvStream<T> {
    messages: Messages<Receiver<T>, T>,
}

impl<T> RecvStream<T> {
    /// The receiver, for calls that do not wait.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<T> {
        self.messages.receiving.handle()
    }

    /// Alone, as far as handles tell.
    fn is_sole(&self) -> bool {
        self.messages.channel().receivers.load(Relaxed) == 1
    }
}

impl<T> Clone for RecvStream<T> {
    fn clone(&self) -> Self {
        self.receiver().clone().into_stream()
    }
}

stream!(RecvStream, , RecvStream::is_sole);

/// The messages of a channel as a [`Stream`]; borrows a receiver. See [`Receiver::stream`].
#[must_use = "streams do nothing unless polled"]
pub struct RecvStreamRef<'a, T> {
    messages: Messages<&'a Channel<T>, T>,
}

// The receiver that it borrows can receive too.
stream!(RecvStreamRef, '_, |_: &Self| false);

impl<T> Receiver<T> {
    /// The messages as a [`Stream`], until the channel is closed and empty; a fused one. It keeps its place in line from one poll to
    /// the next, so a stream that is neither polled nor dropped keeps the notification that it got.
    ///
    /// `size_hint` is exact at its upper end once the channel is closed; its lower end is 0, for this receiver and others may take
    /// the messages.
    ///
    /// # Cancel safety
    /// Dropping the stream, or a future that polls it: *nothing happened*, the place in the queue lost.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::Wait;
    /// use futures::StreamExt;
    ///
    /// let (tx, rx) = aqueduct::channel::bounded(2);
    /// let squares = aqueduct::spawn(async move { rx.stream().map(|i| i * i).collect::<Vec<_>>().await });
    /// for i in 0..4 {
    ///     tx.send(i).unwrap();
    /// }
    /// drop(tx);
    /// assert_eq!(squares.wait().unwrap(), [0, 1, 4, 9]);
    /// ```
    pub fn stream(&self) -> RecvStreamRef<'_, T> {
        RecvStreamRef { messages: Messages::new(&*self.channel) }
    }

    /// As [`stream`](Self::stream), owning the receiver, which is dropped with it.
    ///
    /// While this is the only receiving handle, the lower end of `size_hint` is what is queued.
    ///
    /// # Cancel safety
    /// Dropping the stream drops the receiver: if it was the last, the channel is closed and what was queued is dropped. Dropping a future
    /// that polls the stream: *nothing happened*.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::{Wait, channel, go};
    /// use futures::{StreamExt, stream};
    ///
    /// let (streams, senders): (Vec<_>, Vec<_>) = (0..3)
    ///     .map(|i| {
    ///         let (tx, rx) = channel::bounded(1);
    ///         (rx.into_stream(), go(move || tx.send(i).is_ok()))
    ///     })
    ///     .unzip();
    /// let mut all: Vec<i32> = stream::select_all(streams).collect().wait();
    /// all.sort();
    /// assert_eq!(all, [0, 1, 2]);
    /// assert!(senders.into_iter().all(|sender| sender.join().unwrap()));
    /// ```
    pub fn into_stream(self) -> RecvStream<T> {
        RecvStream { messages: Messages::new(self) }
    }
}
