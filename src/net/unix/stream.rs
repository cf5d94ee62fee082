//! One Unix connection.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::SockAddr;

use super::credentials::{self, PeerCredentials};
use super::{UnixConnect, to_system};
use crate::net::socket::{Shared, StreamSocket, socket_handles, socket_peeks, socket_waits};
use crate::net::stream_io::stream_io;
use crate::reactor::Direction;
use crate::wait::block_on;

/// A connection between processes of one machine, shaped like [`std::os::unix::net::UnixStream`].
///
/// It reads, writes and waits like a [`TcpStream`](crate::net::TcpStream). For passing descriptors, wrap
/// `std`'s type and a library for that in [`Io`](crate::io::Io).
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use aqueduct::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (mut left, mut right) = UnixStream::pair()?;
/// left.write_all(b"over")?;
/// drop(left);
/// let mut text = String::new();
/// right.read_to_string(&mut text)?;
/// assert_eq!(text, "over");
/// # Ok(())
/// # }
/// ```
/// ```
/// use aqueduct::{Wait, net::UnixStream};
/// use futures::io::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> std::io::Result<()> {
/// async {
///     let (mut left, mut right) = UnixStream::pair()?;
///     left.write_all(b"over").await?;
///     AsyncWriteExt::close(&mut left).await?; // ends the sending half
///     let mut text = String::new();
///     right.read_to_string(&mut text).await?;
///     assert_eq!(text, "over");
///     std::io::Result::Ok(())
/// }
/// .wait()
/// # }
/// ```
pub struct UnixStream {
    pub(in crate::net) shared: Arc<Shared<std::os::unix::net::UnixStream>>,
}

socket_handles!(UnixStream, std::os::unix::net::UnixStream);
socket_waits!(UnixStream);
socket_peeks!(UnixStream);
stream_io!(UnixStream);

impl UnixStream {
    /// Connects to the socket at `path`. Waits while the listener has no room for another connection.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// The system's: [`NotFound`](io::ErrorKind::NotFound) when there is no such file,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when nobody listens at it;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a path that is too long (107 bytes on Linux).
    #[track_caller]
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        block_on(Self::connect_async(path))
    }

    /// The future form of [`connect`](UnixStream::connect).
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    pub fn connect_async<P: AsRef<Path>>(path: P) -> UnixConnect {
        UnixConnect::new(SockAddr::unix(path))
    }

    /// As [`connect`](UnixStream::connect), for an address that may be abstract.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// As [`connect`](UnixStream::connect); [`InvalidInput`](io::ErrorKind::InvalidInput) for an unnamed
    /// address.
    #[track_caller]
    pub fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        block_on(Self::connect_addr_async(address))
    }

    /// The future form of [`connect_addr`](UnixStream::connect_addr).
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    pub fn connect_addr_async(address: &SocketAddr) -> UnixConnect {
        UnixConnect::new(to_system(address))
    }

    /// Two sockets connected to each other.
    ///
    /// # Errors
    /// The system's, when it is out of descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = std::os::unix::net::UnixStream::pair()?;
        Ok((Self::from_std(one)?, Self::from_std(other)?))
    }

    /// The address of this end: unnamed, unless it came from a listener.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().local_addr()
    }

    /// The address of the other end: unnamed, unless that was bound.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().peer_addr()
    }

    /// Who was at the other end when the connection was made. Never waits.
    ///
    /// # Examples
    /// ```
    /// let (stream, _peer) = aqueduct::net::UnixStream::pair()?;
    /// let peer = stream.peer_credentials()?;
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(peer.pid, Some(std::process::id()));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        credentials::of(self)
    }

    /// What has become of a connection attempt.
    pub(super) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.source().poll_io(Direction::Write, cx, || {
            let socket = self.shared.socket();
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            match socket.peer_addr() {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                done => done.map(drop),
            }
        })
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixStream");
        if let Ok(local) = self.local_addr() {
            debug.field("local", &local);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.as_raw_fd()).field("closed", &self.is_closed()).finish()
    }
}
