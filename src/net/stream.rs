//! One TCP connection: how it is made, and its options.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;

use super::connect::{self, Connect};
use super::socket::{Shared, StreamSocket, socket_handles, socket_peeks, socket_waits};
use super::stream_io::stream_io;
use super::{ToSocketAddrs, no_timeout};
use crate::io::waiting::wait_for;
use crate::reactor::Direction;
use crate::wait::block_on;

/// A TCP connection, shaped like [`std::net::TcpStream`].
///
/// Reading and writing, through [`std::io::Read`] and [`Write`](std::io::Write), suspend the calling
/// coroutine until they can be done (outside the scheduler they block the thread); [`futures::io::AsyncRead`]
/// and [`AsyncWrite`](futures::io::AsyncWrite) are the same as futures. Both pairs are implemented for
/// `TcpStream` and for `&TcpStream`, so one task may read while another writes;
/// [`try_clone`](TcpStream::try_clone) gives each a handle of its own. Several readers at once are allowed
/// and take the bytes in turn.
///
/// The connection ends when the last handle is dropped; [`close`](TcpStream::close) ends it while others
/// still wait on it.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use aqueduct::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
/// client.write_all(b"over")?;
/// client.shutdown(std::net::Shutdown::Write)?;
/// let mut text = String::new();
/// server.read_to_string(&mut text)?;
/// assert_eq!(text, "over");
/// # Ok(())
/// # }
/// ```
/// ```
/// use aqueduct::{Wait, net::{TcpListener, TcpStream}};
/// use futures::io::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> std::io::Result<()> {
/// async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect_async(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept_async().await?;
///     client.write_all(b"over").await?;
///     AsyncWriteExt::close(&mut client).await?; // ends the sending half
///     let mut text = String::new();
///     server.read_to_string(&mut text).await?;
///     assert_eq!(text, "over");
///     std::io::Result::Ok(())
/// }
/// .wait()
/// # }
/// ```
pub struct TcpStream {
    pub(super) shared: Arc<Shared<std::net::TcpStream>>,
}

impl TcpStream {
    /// Connects to the first of the addresses that answers. A name is looked up by the system's resolver, on
    /// the pool of [`blocking`](crate::blocking()).
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// The last address's, when all fail; the resolver's; [`io::ErrorKind::InvalidInput`] when there is no
    /// address.
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(address: A) -> io::Result<Self> {
        block_on(Self::connect_async(address))
    }

    /// The future form of [`connect`](TcpStream::connect). It starts when first polled, except that the
    /// lookup of a name starts at once.
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*, but that the peer may see a connection open and close.
    pub fn connect_async<A: ToSocketAddrs>(address: A) -> Connect {
        Connect::new(address.addresses())
    }

    /// As [`connect`](TcpStream::connect) to one address, for `timeout` at most. In async code, put
    /// [`connect_async`](TcpStream::connect_async) under a timer instead.
    ///
    /// # Errors
    /// As `connect`; [`io::ErrorKind::TimedOut`]; [`io::ErrorKind::InvalidInput`] for a zero timeout.
    #[track_caller]
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<Self> {
        if timeout.is_zero() {
            return Err(no_timeout());
        }
        let mut connect = Self::connect_async(address);
        wait_for(Some(timeout), |cx| Pin::new(&mut connect).poll(cx))
    }

    /// The address of this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().local_addr()
    }

    /// The address of the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().peer_addr()
    }

    /// Sets `TCP_NODELAY`: whether small writes are sent at once rather than gathered.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.shared.socket().set_nodelay(nodelay)
    }

    /// The value of `TCP_NODELAY`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.shared.socket().nodelay()
    }

    /// Sets `IP_TTL`: how many hops a packet may take.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.shared.socket().set_ttl(ttl)
    }

    /// The value of `IP_TTL`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.shared.socket().ttl()
    }

    /// Sets `SO_LINGER`: what becomes of unsent data when the connection is closed. `None`, the default: sent
    /// in the background. Zero: discarded, and the peer sees a reset. Longer: the last handle's drop blocks
    /// its *thread* that long at most; do that on the pool of [`blocking`](crate::blocking()).
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(self.shared.socket()).set_linger(linger)
    }

    /// The value of `SO_LINGER`.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self.shared.socket()).linger()
    }

    pub(super) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.source().poll_io(Direction::Write, cx, || connect::outcome(self.shared.socket()))
    }
}

socket_handles!(TcpStream, std::net::TcpStream);
socket_waits!(TcpStream);
socket_peeks!(TcpStream);
stream_io!(TcpStream);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(local) = self.local_addr() {
            debug.field("local", &local);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.as_raw_fd()).field("closed", &self.is_closed()).finish()
    }
}
