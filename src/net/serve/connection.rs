//! The task of one connection: a future that waits for input and calls the handler inside its poll.
#![forbid(unsafe_code)]

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::registry::Server;
use super::{Conn, OnError};

/// Messages of one connection handled in one poll before the others have their turn. A guess: enough to
/// spread the cost of a switch, few enough for a fair share.
const MESSAGES_PER_POLL: usize = 16;

/// Messages of one connection that are still handled once the server is stopping: what a peer may have sent
/// ahead, but no peer that never pauses can hold up the stop. A guess.
const MESSAGES_AT_STOP: usize = 64;

/// What all connections of a server share.
pub(super) struct Service<O, H> {
    pub(super) server: Arc<Server>,
    pub(super) open: O,
    pub(super) handler: H,
    pub(super) on_error: Option<OnError>,
}

/// One connection.
pub(super) struct Connection<S, O, H> {
    /// `None` before `open` has made it.
    state: Option<S>,
    conn: Conn,
    service: Arc<Service<O, H>>,
    messages_at_stop: usize,
    /// Whether readiness was seen gone since the last message, so that readiness means input. Else it may be
    /// left over: a read that filled its buffer leaves it, whether there is more or not; and a handler called
    /// in vain would wait on a stack, and hold up a stop.
    was_drained: bool,
}

// Nothing in it is ever pinned: `S` is only borrowed.
impl<S, O, H> Unpin for Connection<S, O, H> {}

impl<S, O, H> Connection<S, O, H> {
    pub(super) fn new(conn: Conn, service: Arc<Service<O, H>>) -> Self {
        Self { state: None, conn, service, messages_at_stop: 0, was_drained: false }
    }
}

/// What a connection does next.
enum Next {
    Message,
    End,
}

impl<S, O, H> Future for Connection<S, O, H>
where
    O: Fn(&mut Conn) -> io::Result<S>,
    H: Fn(&mut Conn, &mut S) -> io::Result<()>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.is_none() && matches!(self.open(), Next::End) {
            return Poll::Ready(());
        }
        for _ in 0..MESSAGES_PER_POLL {
            match std::task::ready!(self.poll_next(cx)) {
                Next::Message if matches!(self.handle_message(), Next::Message) => {}
                Next::Message | Next::End => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S, O, H> Connection<S, O, H>
where
    O: Fn(&mut Conn) -> io::Result<S>,
    H: Fn(&mut Conn, &mut S) -> io::Result<()>,
{
    /// Makes the state.
    fn open(&mut self) -> Next {
        let service = &*self.service;
        let opened = catch_unwind(AssertUnwindSafe(|| (service.open)(&mut self.conn)));
        match self.judge(opened) {
            Some(state) => {
                self.state = Some(state);
                Next::Message
            }
            None => {
                self.service.server.count_rejected();
                Next::End
            }
        }
    }

    /// Waits for input, or for the server to stop.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let stream = &*self.conn.stream().shared;
        let input = if self.was_drained { stream.poll_input(cx) } else { stream.poll_input_surely(cx) };
        match input {
            // A peer that has reset the connection is the handler's to see, as its end is; a closed stream is
            // nobody's.
            Poll::Ready(_) if stream.io.is_closed() => Poll::Ready(Next::End),
            Poll::Ready(_) if self.conn.registration().is_stopping() => Poll::Ready(self.next_at_stop()),
            Poll::Ready(_) => Poll::Ready(Next::Message),
            Poll::Pending => {
                // The budget may have made it pending: look.
                self.was_drained |= stream.is_drained();
                self.conn.registration_mut().poll_stop(cx).map(|()| self.next_at_stop())
            }
        }
    }

    fn next_at_stop(&mut self) -> Next {
        self.messages_at_stop += 1;
        if self.messages_at_stop <= MESSAGES_AT_STOP && self.conn.stream().shared.has_input() {
            Next::Message
        } else {
            Next::End
        }
    }

    fn handle_message(&mut self) -> Next {
        let Some(state) = &mut self.state else { return Next::End };
        let service = &*self.service;
        self.was_drained = false;
        self.conn.begin_message();
        let handled = catch_unwind(AssertUnwindSafe(|| (service.handler)(&mut self.conn, state)));
        match self.judge(handled) {
            Some(()) if !self.conn.stream().shared.at_end() => Next::Message,
            _ => Next::End,
        }
    }

    /// Counts and tells what went wrong, if anything.
    fn judge<R>(&self, outcome: Result<io::Result<R>, Box<dyn Any + Send>>) -> Option<R> {
        let error = match outcome {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) if self.ended_between_messages(&error) => return None,
            Ok(Err(error)) => {
                self.service.server.count_error();
                error
            }
            // Not a fault of the handler: the task is being cancelled and goes on unwinding.
            Err(panic) if crate::task::is_cancelled(&*panic) => crate::task::rethrow(panic),
            Err(panic) => {
                self.service.server.count_panic();
                io::Error::other(format!("the handler panicked: {}", text_of(&*panic)))
            }
        };
        if let Some(on_error) = &self.service.on_error {
            on_error(self.conn.peer_addr(), &error);
        }
        None
    }

    /// A handler that asks for a whole message finds the peer's end (or the server's) instead: an ordinary
    /// end, unless a part had been read.
    fn ended_between_messages(&self, error: &io::Error) -> bool {
        let is_end = || self.conn.stream().shared.at_end() || self.conn.registration().is_stopping();
        error.kind() == io::ErrorKind::UnexpectedEof && !self.conn.has_read() && is_end()
    }
}

/// The message of a panic, if it is text as usual.
fn text_of(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&'static str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "not a text",
    }
}
