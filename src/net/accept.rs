//! Accepting, and living through what goes wrong there.
//!
//! # What an error means
//! | error | verdict |
//! |---|---|
//! | `EAGAIN` | wait for the next connection |
//! | `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` | the system is short of something: try again by a timer |
//! | `EINTR`, `ECONNABORTED`, `EPROTO`, `EPERM`, network errors | this connection failed: the next, at once |
//! | any other | the caller's |
//!
//! # Invariants
//! - `no-edge-needed`: an edge says once that connections wait. Only `EAGAIN` takes the readiness back; after
//!   any other error the source still counts as ready, so the next attempt, whoever makes it and when, is
//!   made without waiting for an event that may never come.
//! - `bounded-haste`: after `HASTE_MAX` failures in a row an attempt waits for the timer, whatever the error,
//!   so no error can make a server spin.
//!
//! # Sources
//! accept(2), section "Error handling": which errors of the new connection Linux reports through `accept`.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use socket2::SockAddr;

use super::TcpListener;
use super::pause::Pause;
use crate::reactor::{Direction, Ready};
use crate::wait::{block_on, yield_if_spent};

/// The first pause when short of descriptors or memory; each further one is twice as long. A guess.
const PAUSE_FIRST: Duration = Duration::from_millis(5);

/// The longest pause: what keeps "serving again within a second" true with room to spare.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How many failed connections in a row are passed over without a pause. A guess.
const HASTE_MAX: u32 = 64;

/// What accepts connections: [`TcpListener`] and [`UnixListener`](super::UnixListener). Sealed.
pub trait Listener: sealed::Accepts {}

impl<L: sealed::Accepts> Listener for L {}

pub(super) mod sealed {
    use std::fmt;
    use std::io;

    use crate::reactor::Source;

    pub trait Accepts: fmt::Debug + Sized {
        /// The connections.
        type Stream;
        /// The addresses of their other ends.
        type Address;

        /// Where connections are waited for.
        #[doc(hidden)]
        #[allow(private_interfaces, reason = "sealed")]
        fn source(&self) -> &Source;

        /// Asks the system, once.
        #[doc(hidden)]
        fn accept_once(&self) -> io::Result<(Self::Stream, Self::Address)>;

        /// Whether it was closed by hand.
        #[doc(hidden)]
        fn has_closed(&self) -> bool;
    }
}
use sealed::Accepts;

/// One attempt, which leaves no waker.
fn attempt<L: Accepts>(listener: &L) -> io::Result<(L::Stream, L::Address)> {
    listener.source().try_io(Direction::Read, || listener.accept_once())
}

/// Waits for a connection in Go style.
#[track_caller]
pub(super) fn accept<L: Accepts>(listener: &L) -> io::Result<(L::Stream, L::Address)> {
    yield_if_spent();
    match attempt(listener) {
        Err(error) if verdict(&error) != Verdict::Fatal => block_on(Accept::new(listener)),
        done => done,
    }
}

/// Looks for a connection without waiting: `WouldBlock` when there is none. Those that failed are passed over.
pub(super) fn try_accept<L: Accepts>(listener: &L) -> io::Result<(L::Stream, L::Address)> {
    for _ in 1..HASTE_MAX {
        match attempt(listener) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock && verdict(&error) == Verdict::Again => {}
            done => return done,
        }
    }
    attempt(listener)
}

/// The future of `accept_async` of [`TcpListener`] and [`UnixListener`](super::UnixListener).
#[must_use = "futures do nothing unless awaited, or waited for with `.wait()`"]
pub struct Accept<'a, L: Listener = TcpListener> {
    listener: &'a L,
    arrival: Ready<'a>,
    failures: u32,
    pause: Option<Pause>,
}

impl<'a, L: Listener> Accept<'a, L> {
    pub(super) fn new(listener: &'a L) -> Self {
        Self { listener, arrival: listener.source().ready(Direction::Read), failures: 0, pause: None }
    }

    /// Ready when the next attempt may be made.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.pause {
            // A listener closed meanwhile says so at the attempt.
            Some(pause) if !self.listener.has_closed() => pause.poll(cx),
            _ => Poll::Ready(()),
        }
    }
}

impl<L: Listener> Future for Accept<'_, L> {
    type Output = io::Result<(L::Stream, L::Address)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            ready!(self.poll_pause(cx));
            let listener = self.listener;
            let error = match ready!(self.arrival.poll_io(cx, || listener.accept_once())) {
                Ok(accepted) => {
                    (self.failures, self.pause) = (0, None);
                    return Poll::Ready(Ok(accepted));
                }
                Err(error) => error,
            };
            self.failures += 1;
            match verdict(&error) {
                Verdict::Fatal => return Poll::Ready(Err(error)),
                Verdict::Again if self.failures < HASTE_MAX => {}
                Verdict::Again | Verdict::Short => Pause::start(&mut self.pause, PAUSE_FIRST, PAUSE_MAX),
            }
        }
    }
}

/// What an error of `accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing yet, or this connection failed: go on, waiting for readiness if there is none.
    Again,
    /// The system is short of something: go on after a pause.
    Short,
    /// The caller's business.
    Fatal,
}

pub(super) fn verdict(error: &io::Error) -> Verdict {
    if error.kind() == io::ErrorKind::WouldBlock {
        return Verdict::Again;
    }
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Verdict::Short,
        Some(
            libc::EINTR
            | libc::ECONNABORTED
            | libc::ECONNRESET
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::ETIMEDOUT,
        ) => Verdict::Again,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Some(libc::ENONET) => Verdict::Again,
        _ => Verdict::Fatal,
    }
}

/// The iterator of `incoming` of [`TcpListener`] and [`UnixListener`](super::UnixListener). Each step waits for
/// a connection; it ends when the listener is closed.
#[derive(Debug)]
pub struct Incoming<'a, L: Listener = TcpListener> {
    pub(super) listener: &'a L,
}

impl<L: Listener> Iterator for Incoming<'_, L> {
    type Item = io::Result<L::Stream>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        let accepted = accept(self.listener).map(|(stream, _)| stream);
        if accepted.is_err() && self.listener.has_closed() { None } else { Some(accepted) }
    }
}

/// The stream of `incoming_async` of [`TcpListener`] and [`UnixListener`](super::UnixListener). It ends when the
/// listener is closed.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct IncomingStream<'a, L: Listener = TcpListener> {
    pub(super) accept: Accept<'a, L>,
}

impl<L: Listener> Stream for IncomingStream<'_, L> {
    type Item = io::Result<L::Stream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(Pin::new(&mut self.accept).poll(cx)).map(|(stream, _)| stream);
        let over = accepted.is_err() && self.accept.listener.has_closed();
        Poll::Ready(if over { None } else { Some(accepted) })
    }
}

/// One attempt; the new socket is non-blocking and closed on exec.
pub(super) fn accept_nonblocking(listener: &impl AsFd) -> io::Result<(OwnedFd, SockAddr)> {
    sys::accept(listener.as_fd())
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
mod sys {
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    use socket2::SockAddr;

    /// One system call where `std` needs two: the new socket is made non-blocking by `accept4` itself.
    pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: `try_init` wants the storage and its length to be valid for the family written there; it
        // hands us both, and on success the kernel has filled them in.
        let (fd, peer) = unsafe {
            SockAddr::try_init(|storage, length| {
                // SAFETY: an open descriptor, and pointers that are valid for the call.
                match libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags) {
                    -1 => Err(io::Error::last_os_error()),
                    fd => Ok(fd),
                }
            })?
        };
        // SAFETY: `accept4` has just returned this descriptor; nobody else owns it.
        Ok((unsafe { OwnedFd::from_raw_fd(fd) }, peer))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
mod sys {
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use socket2::{SockAddr, SockRef};

    pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
        let (socket, peer) = SockRef::from(&listener).accept()?;
        socket.set_nonblocking(true)?;
        Ok((socket.into(), peer))
    }
}

impl<L: Listener> fmt::Debug for Accept<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("listener", &self.listener)
            .field("failures", &self.failures)
            .field("pause", &self.pause)
            .finish()
    }
}
