//! Unix datagram sockets.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::{PAUSE_FIRST, PAUSE_MAX};
use crate::io::waiting::wait_for;
use crate::net::datagram::datagrams;
use crate::net::pause::Pause;
use crate::net::socket::{Shared, socket_handles, socket_peeks, socket_waits};
use crate::wait::yield_if_spent;

type Std = std::os::unix::net::UnixDatagram;

/// A Unix datagram socket, shaped like [`std::os::unix::net::UnixDatagram`].
///
/// It waits like a [`UdpSocket`](crate::net::UdpSocket), but nothing is lost on the way: a sender waits until
/// its receiver has room. The file at its path is not removed when it is dropped.
///
/// # Examples
/// ```
/// use aqueduct::net::UnixDatagram;
///
/// # fn main() -> std::io::Result<()> {
/// let (left, right) = UnixDatagram::pair()?;
/// left.send(b"one")?;
/// left.send(b"two")?;
/// let mut buffer = [0; 64];
/// assert_eq!(right.recv(&mut buffer)?, 3);
/// assert_eq!(&buffer[..3], b"one");
/// # Ok(())
/// # }
/// ```
pub struct UnixDatagram {
    shared: Arc<Shared<Std>>,
}

socket_handles!(UnixDatagram, Std);
socket_waits!(UnixDatagram);
socket_peeks!(UnixDatagram);
datagrams!(UnixDatagram, SocketAddr);

impl UnixDatagram {
    /// Makes a socket file at `path`, for others to send to. Never waits.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) when there is a file already: remove it if nobody uses it any
    /// more; [`InvalidInput`](io::ErrorKind::InvalidInput) for a path that is too long (107 bytes on Linux).
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::from_std(Std::bind(path)?)
    }

    /// As [`bind`](UnixDatagram::bind), for an address that may be abstract.
    ///
    /// # Errors
    /// As [`bind`](UnixDatagram::bind).
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        Self::from_std(Std::bind_addr(address)?)
    }

    /// A socket without an address, for sending.
    ///
    /// # Errors
    /// The system's, when it is out of descriptors.
    pub fn unbound() -> io::Result<Self> {
        Self::from_std(Std::unbound()?)
    }

    /// Two sockets connected to each other.
    ///
    /// # Errors
    /// The system's, when it is out of descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Std::pair()?;
        Ok((Self::from_std(one)?, Self::from_std(other)?))
    }

    /// Makes the socket at `path` the peer: [`send`](UnixDatagram::send) sends there, and nobody else is
    /// received from. Never waits.
    ///
    /// # Errors
    /// The system's, when there is no such socket.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.shared.socket().connect(path)
    }

    /// As [`connect`](UnixDatagram::connect), for an address that may be abstract.
    ///
    /// # Errors
    /// As [`connect`](UnixDatagram::connect).
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.shared.socket().connect_addr(address)
    }

    /// Sends a datagram to the socket at `path`, waiting until it has room: by the clock, for no event tells
    /// of it. Returns the datagram's length.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread; for the write timeout at most.
    ///
    /// # Errors
    /// The system's, when there is no such socket or the datagram is too large;
    /// [`TimedOut`](io::ErrorKind::TimedOut) after the write timeout;
    /// [`NotConnected`](io::ErrorKind::NotConnected) once closed.
    #[track_caller]
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_patiently(|socket| socket.send_to(buf, &path))
    }

    /// The future form of [`send_to`](UnixDatagram::send_to); it knows no timeout.
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    ///
    /// # Errors
    /// Those of [`send_to`](UnixDatagram::send_to).
    pub async fn send_to_async<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        let mut patience = None;
        poll_fn(|cx| self.poll_send(cx, &mut patience, |socket| socket.send_to(buf, &path))).await
    }

    /// Sends a datagram to the socket at `path` if it has room. Never waits.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when it has none; else those of
    /// [`send_to`](UnixDatagram::send_to).
    pub fn try_send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.shared.socket().send_to(buf, path)
    }

    /// As [`send_to`](UnixDatagram::send_to), for an address that may be abstract.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread; for the write timeout at most.
    ///
    /// # Errors
    /// Those of [`send_to`](UnixDatagram::send_to).
    #[track_caller]
    pub fn send_to_addr(&self, buf: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.send_patiently(|socket| socket.send_to_addr(buf, address))
    }

    /// The future form of [`send_to_addr`](UnixDatagram::send_to_addr); it knows no timeout.
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    ///
    /// # Errors
    /// Those of [`send_to`](UnixDatagram::send_to).
    pub async fn send_to_addr_async(&self, buf: &[u8], address: &SocketAddr) -> io::Result<usize> {
        let mut patience = None;
        poll_fn(|cx| self.poll_send(cx, &mut patience, |socket| socket.send_to_addr(buf, address))).await
    }

    /// The address it is bound to; unnamed if it is not.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().local_addr()
    }

    /// The address it is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().peer_addr()
    }

    /// Ends one or both halves: present and later receives here return 0, or sends fail.
    ///
    /// # Errors
    /// The system's, when it is not connected.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shared.socket().shutdown(how)
    }

    #[track_caller]
    fn send_patiently(&self, mut op: impl FnMut(&Std) -> io::Result<usize>) -> io::Result<usize> {
        yield_if_spent();
        let mut patience = None;
        wait_for(self.shared.write_timeout.get(), |cx| self.poll_send(cx, &mut patience, &mut op))
    }

    /// One attempt, and a pause after each that finds no room. Past the reactor: what it knows of this socket
    /// says nothing about room elsewhere.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        pause: &mut Option<Pause>,
        mut op: impl FnMut(&Std) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(pause) = pause {
                ready!(pause.poll(cx));
            }
            if self.is_closed() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::NotConnected, "closed")));
            }
            match op(self.shared.socket()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if finds_no_room(&error) => Pause::start(pause, PAUSE_FIRST, PAUSE_MAX),
                done => return Poll::Ready(done),
            }
        }
    }
}

/// Linux says that it would block; others that they are out of buffers.
fn finds_no_room(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixDatagram");
        if let Ok(local) = self.local_addr() {
            debug.field("local", &local);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.as_raw_fd()).field("closed", &self.is_closed()).finish()
    }
}
