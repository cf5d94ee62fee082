//! Receivers as streams.
#![forbid(unsafe_code)]

use super::receiver::own;
use super::{Lagged, Receiver, RecvError};
use crate::channel::shared::Watching;
use crate::wait;
use futures::stream::{FusedStream, Stream};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

macro_rules! stream {
    ($(#[$doc:meta])* $name:ident, $($lifetime:lifetime)?, $receiver:ty) => {
        $(#[$doc])*
        #[must_use = "streams do nothing unless polled"]
        pub struct $name<$($lifetime,)? T> {
            watching: Pin<Box<Watching<$receiver>>>,
            ended: bool,
        }

        impl<$($lifetime,)? T> $name<$($lifetime,)? T> {
            fn new(receiver: $receiver) -> Self {
                Self { watching: Box::pin(Watching::new(receiver)), ended: false }
            }
        }

        impl<$($lifetime,)? T: Clone> Stream for $name<$($lifetime,)? T> {
            type Item = Result<T, Lagged>;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                if self.ended {
                    return Poll::Ready(None);
                }
                ready!(wait::poll_budget(cx));
                Poll::Ready(match own(ready!(self.watching.as_mut().poll(cx))) {
                    Ok(message) => Some(Ok(message)),
                    Err(RecvError::Lagged(missed)) => Some(Err(Lagged(missed))),
                    Err(RecvError::Closed) => {
                        self.ended = true;
                        None
                    }
                })
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (0, self.ended.then_some(0))
            }
        }

        impl<$($lifetime,)? T: Clone> FusedStream for $name<$($lifetime,)? T> {
            fn is_terminated(&self) -> bool {
                self.ended
            }
        }

        impl<$($lifetime,)? T> fmt::Debug for $name<$($lifetime,)? T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(concat!("broadcast::", stringify!($name)))
                    .field("ended", &self.ended)
                    .finish_non_exhaustive()
            }
        }
    };
}

stream! {
    /// The messages of a receiver, which it owns. See [`Receiver::into_stream`].
    RecvStream, , Receiver<T>
}

stream! {
    /// The messages of a receiver, which it borrows. See [`Receiver::stream`].
    RecvStreamRef, 'a, &'a mut Receiver<T>
}

impl<T: Clone> Receiver<T> {
    /// The messages as a [`Stream`], until all senders are gone; a fused one. Where messages were overwritten it has a [`Lagged`].
    ///
    /// # Cancel safety
    /// *Nothing happened*.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::Wait;
    /// use aqueduct::channel::broadcast::{self, Lagged};
    /// use futures::StreamExt;
    ///
    /// let (tx, mut rx) = broadcast::channel(2);
    /// for i in 0..3 {
    ///     tx.send(i).unwrap();
    /// }
    /// drop(tx);
    /// assert_eq!(rx.stream().collect::<Vec<_>>().wait(), [Err(Lagged(1)), Ok(1), Ok(2)]);
    /// ```
    pub fn stream(&mut self) -> RecvStreamRef<'_, T> {
        RecvStreamRef::new(self)
    }

    /// As [`stream`](Self::stream), owning the receiver.
    ///
    /// # Cancel safety
    /// *Nothing happened*.
    pub fn into_stream(self) -> RecvStream<T> {
        RecvStream::new(self)
    }
}
