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
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::{TcpListener, TcpStream};
use crate::reactor::TimerEntry;

/// The first pause when short of descriptors or memory; each further one is twice as long. A guess.
const PAUSE_FIRST: Duration = Duration::from_millis(5);

/// The longest pause: what keeps "serving again within a second" true with room to spare.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How many failed connections in a row are passed over without a pause. A guess.
const HASTE_MAX: u32 = 64;

/// The future of [`TcpListener::accept_async`].
#[must_use = "futures do nothing unless awaited, or waited for with `.wait()`"]
pub struct Accept<'a> {
    listener: &'a TcpListener,
    failures: u32,
    pause: Option<Pause>,
}

/// A wait by the clock between two attempts.
struct Pause {
    length: Duration,
    timer: TimerEntry,
}

impl<'a> Accept<'a> {
    pub(super) fn new(listener: &'a TcpListener) -> Self {
        Self { listener, failures: 0, pause: None }
    }

    pub(super) fn listener(&self) -> &'a TcpListener {
        self.listener
    }

    /// Ready when the next attempt may be made.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.pause {
            // A listener closed meanwhile says so at the attempt.
            Some(pause) if !self.listener.is_closed() => pause.timer.poll_expired(cx),
            _ => Poll::Ready(()),
        }
    }

    fn start_pause(&mut self) {
        let length = self.pause.as_ref().map_or(PAUSE_FIRST, |pause| (pause.length * 2).min(PAUSE_MAX));
        self.pause = Some(Pause { length, timer: TimerEntry::new(Instant::now() + length) });
    }
}

impl Future for Accept<'_> {
    type Output = io::Result<(TcpStream, SocketAddr)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            ready!(self.poll_pause(cx));
            let error = match ready!(self.listener.poll_accept(cx)) {
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
                Verdict::Again | Verdict::Short => self.start_pause(),
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

/// One attempt; the new socket is non-blocking and closed on exec.
pub(super) fn accept_nonblocking(listener: &std::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, peer) = sys::accept(listener)?;
    let peer = peer.as_socket().ok_or_else(|| io::Error::other("a TCP peer without an internet address"))?;
    Ok((TcpStream::from_nonblocking(socket), peer))
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
mod sys {
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use socket2::SockAddr;

    /// One system call where `std` needs two: the new socket is made non-blocking by `accept4` itself.
    pub(super) fn accept(listener: &std::net::TcpListener) -> io::Result<(std::net::TcpStream, SockAddr)> {
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
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok((socket.into(), peer))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
mod sys {
    use std::io;

    use socket2::SockAddr;

    pub(super) fn accept(listener: &std::net::TcpListener) -> io::Result<(std::net::TcpStream, SockAddr)> {
        let (socket, peer) = listener.accept()?;
        socket.set_nonblocking(true)?;
        Ok((socket, peer.into()))
    }
}

impl fmt::Debug for Accept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("listener", &self.listener)
            .field("failures", &self.failures)
            .field("pause", &self.pause.as_ref().map(|pause| pause.length))
            .finish()
    }
}
