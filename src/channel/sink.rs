//! Senders as sinks.
//!
//! # States
//! ```text
//!          poll_ready            granted             start_send
//!   Idle ─────────────► Asking ───────────► Reserved ───────────► Idle        with room to reserve
//!
//!          start_send             taken
//!   Idle ─────────────► Offered ──────────► Idle                              rendezvous
//! ```
//! A rendezvous has no room to reserve: `start_send` puts the offer in line, where a receiver finds it at once, and `poll_flush`, like
//! the next `poll_ready`, is ready when it has been taken.
//!
//! # Invariants
//! - `one-wait`: a sink holds one offer, pinned in a box, which is renewed for every wait.
//! - `place-returned`: a place that was reserved and not used is given back when the sink is closed or dropped.
#![forbid(unsafe_code)]

use crate::channel::core::{Channel, Put};
use crate::channel::sender::Sender;
use crate::channel::slot::{Held, Room};
use crate::channel::waiting::{Handle, Offered, Sending};
use crate::wait;
use futures::sink::Sink;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

/// A sink failed: the channel, or the sink itself, is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SinkError<T>(Option<T>);

impl<T> SinkError<T> {
    /// The message that was not sent, if there is one.
    pub fn into_inner(self) -> Option<T> {
        self.0
    }
}

impl<T> fmt::Debug for SinkError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SinkError(..)")
    }
}

impl<T> fmt::Display for SinkError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sending on a closed channel or sink")
    }
}

impl<T> Error for SinkError<T> {}

/// See the module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Asking,
    Reserved,
    Offered,
}

/// What both sinks are.
struct Messages<H: Handle<T>, T> {
    /// None: the sink is closed.
    sending: Option<Pin<Box<Sending<H, T>>>>,
    state: State,
}

impl<H: Handle<T>, T> Messages<H, T> {
    fn new(handle: H) -> Self {
        Self { sending: Some(Box::pin(Sending::new(handle))), state: State::Idle }
    }

    fn handle(&self) -> Option<&H> {
        self.sending.as_ref().map(|sending| sending.handle())
    }

    fn channel(&self) -> Result<&Channel<T>, SinkError<T>> {
        self.handle().map(Handle::channel).ok_or(SinkError(None))
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError<T>>> {
        ready!(self.poll_offered(cx))?;
        if self.state == State::Reserved {
            return Poll::Ready(Ok(()));
        }
        let (is_rendezvous, is_closed) =
            self.channel()?.with(|state| (state.is_rendezvous(), state.is_closed()));
        if is_rendezvous {
            return Poll::Ready(if is_closed { Err(SinkError(None)) } else { Ok(()) });
        }
        ready!(wait::poll_budget(cx));
        let Some(sending) = &self.sending else { return Poll::Ready(Err(SinkError(None))) };
        if self.state == State::Idle {
            self.state = State::Asking;
        }
        self.state = match ready!(sending.as_ref().poll_room(cx)) {
            Offered::Accepted => State::Reserved,
            Offered::Refused => State::Idle,
        };
        Poll::Ready(if self.state == State::Reserved { Ok(()) } else { Err(SinkError(None)) })
    }

    /// Ready when no offer is outstanding.
    fn poll_offered(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError<T>>> {
        let Some(sending) = &self.sending else { return Poll::Ready(Ok(())) };
        if self.state != State::Offered {
            return Poll::Ready(Ok(()));
        }
        let offered = ready!(sending.as_ref().poll_message(cx));
        self.state = State::Idle;
        Poll::Ready(match offered {
            Offered::Accepted => Ok(()),
            Offered::Refused => Err(SinkError(sending.take_message())),
        })
    }

    #[track_caller]
    fn start_send(&mut self, message: T) -> Result<(), SinkError<T>> {
        let Some(sending) = &self.sending else { return Err(SinkError(Some(message))) };
        if self.state != State::Reserved {
            return self.offer(message);
        }
        self.state = State::Idle;
        let mut room = Room::uninit();
        let mut held = Held::full(&mut room, message);
        match sending.handle().channel().change(|state, wakes| state.put_reserved(held.slot(), wakes)) {
            Put::Done => Ok(()),
            Put::Full | Put::Closed => Err(SinkError(Some(held.slot().take()))),
        }
    }

    /// Puts an offer in line; who is to be woken when it is taken is known at the next poll.
    #[track_caller]
    fn offer(&mut self, message: T) -> Result<(), SinkError<T>> {
        let Some(sending) = &self.sending else { return Err(SinkError(Some(message))) };
        let is_rendezvous = sending.handle().channel().with(|state| state.is_rendezvous());
        assert!(
            is_rendezvous && self.state == State::Idle,
            "start_send must follow a poll_ready that was ready"
        );
        sending.set_message(message);
        match sending.as_ref().poll_message(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => self.state = State::Offered,
            Poll::Ready(Offered::Accepted) => {}
            Poll::Ready(Offered::Refused) => return Err(SinkError(sending.take_message())),
        }
        Ok(())
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError<T>>> {
        let flushed = ready!(self.poll_offered(cx));
        self.close();
        Poll::Ready(flushed)
    }

    /// Gives back what is reserved, withdraws what is asked for, and drops the handle.
    fn close(&mut self) {
        let Some(sending) = self.sending.take() else { return };
        if self.state == State::Reserved {
            sending.handle().channel().change(|state, wakes| state.release_place(wakes));
        }
        self.state = State::Idle;
    }
}

impl<H: Handle<T>, T> Drop for Messages<H, T> {
    fn drop(&mut self) {
        self.close();
    }
}

macro_rules! sink {
    ($name:ident, $($lifetime:lifetime)?) => {
        impl<T> Sink<T> for $name<$($lifetime,)? T> {
            type Error = SinkError<T>;

            fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError<T>>> {
                self.messages.poll_ready(cx)
            }

            #[track_caller]
            fn start_send(mut self: Pin<&mut Self>, message: T) -> Result<(), SinkError<T>> {
                self.messages.start_send(message)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError<T>>> {
                self.messages.poll_offered(cx)
            }

            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError<T>>> {
                self.messages.poll_close(cx)
            }
        }

        impl<T> fmt::Debug for $name<$($lifetime,)? T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("state", &self.messages.state).finish_non_exhaustive()
            }
        }
    };
}

/// A sender as a [`Sink`]; owns it. See [`Sender::into_sink`].
///
/// `Unpin`, and `Send` if the messages are. A clone is a sink over another sender of the channel; of a closed sink, a closed one.
#[must_use = "sinks do nothing unless polled"]
pub struct SendSink<T> {
    messages: Messages<Sender<T>, T>,
}

impl<T> SendSink<T> {
    /// The sender, for calls that do not wait; `None` when the sink is closed.
    #[must_use]
    pub fn sender(&self) -> Option<&Sender<T>> {
        self.messages.handle()
    }
}

impl<T> Clone for SendSink<T> {
    fn clone(&self) -> Self {
        match self.sender() {
            Some(sender) => sender.clone().into_sink(),
            None => Self { messages: Messages { sending: None, state: State::Idle } },
        }
    }
}

sink!(SendSink,);

/// A sender as a [`Sink`]; borrows it. See [`Sender::sink`].
#[must_use = "sinks do nothing unless polled"]
pub struct SendSinkRef<'a, T> {
    messages: Messages<&'a Channel<T>, T>,
}

sink!(SendSinkRef, '_);

impl<T> Sender<T> {
    /// This sender as a [`Sink`], with the channel's back-pressure:
    ///
    /// - `poll_ready` waits for room and reserves a place, which is held until `start_send`, or until the sink is closed or dropped;
    /// - `start_send` puts the message into it;
    /// - `poll_flush` is ready at once: what has been sent is in the channel;
    /// - `poll_close` closes the sink, not the channel: the sender is only borrowed.
    ///
    /// A rendezvous has no room: `poll_ready` is ready when the message before has been taken, `start_send` offers the next one to the
    /// receivers, and `poll_flush` is ready when it has been taken.
    ///
    /// # Cancel safety
    /// Dropping the sink gives a reserved place back: *nothing happened*, the place in the queue lost. On a rendezvous an offer that has
    /// not been taken is dropped with the sink: *may lose data*, that message.
    ///
    /// # Errors
    /// When the channel or the sink is closed, with the message if there is one.
    ///
    /// # Panics
    /// `start_send` panics if no `poll_ready` that was ready came before.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::Wait;
    /// use futures::SinkExt;
    ///
    /// let (tx, rx) = aqueduct::channel::bounded(4);
    /// tx.sink().send(1).wait().unwrap();
    /// assert_eq!(rx.recv(), Ok(1));
    /// ```
    pub fn sink(&self) -> SendSinkRef<'_, T> {
        SendSinkRef { messages: Messages::new(&*self.channel) }
    }

    /// As [`sink`](Self::sink), owning the sender: `poll_close` drops it, which closes the channel if it was the last one.
    ///
    /// # Cancel safety
    /// # Errors
    /// # Panics
    /// As [`sink`](Self::sink).
    ///
    /// # Examples
    /// ```
    /// use aqueduct::{Wait, channel, go};
    /// use futures::StreamExt;
    ///
    /// let (tx, numbers) = channel::bounded(1);
    /// let (doubled, rx) = channel::bounded(0);
    /// let pipe = aqueduct::spawn(numbers.into_stream().map(|i| Ok(2 * i)).forward(doubled.into_sink()));
    /// go!(for i in 0..3 {
    ///     tx.send(i).unwrap();
    /// });
    /// assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 2, 4]); // forward closes the sink
    /// pipe.wait().unwrap().unwrap();
    /// ```
    pub fn into_sink(self) -> SendSink<T> {
        SendSink { messages: Messages::new(self) }
    }
}
