//! Listening sockets.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::accept::sealed::Accepts;
use super::accept::{self, Accept, Incoming, IncomingStream};
use super::address::no_address;
use super::connect::nonblocking_socket;
use super::socket::{Shared, socket_handles};
use super::{TcpStream, ToSocketAddrs};
use crate::reactor::Source;
use crate::wait::block_on;

/// How many connections the system completes ahead of `accept`; it lowers this to its own limit
/// (`net.core.somaxconn`, 4096 on Linux).
const BACKLOG: i32 = 4096;

/// A socket that accepts TCP connections, shaped like [`std::net::TcpListener`].
///
/// # Running short
/// [`accept`](TcpListener::accept) deals with what a server meets by itself. Out of descriptors or memory
/// (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`) it tries again after 5 ms, then 10, up to every 500 ms: it costs
/// next to nothing meanwhile, and serves again within a second of a descriptor coming free. Connections that
/// failed before they were accepted (`ECONNABORTED`, and the network errors that Linux reports through
/// `accept`) are passed over. No error leaves connections waiting unserved.
///
/// # Examples
/// ```no_run
/// use std::io::{Read, Write};
/// use aqueduct::net::TcpListener;
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:8080")?;
/// for stream in listener.incoming() {
///     let mut stream = stream?;
///     let mut byte = [0];
///     stream.read_exact(&mut byte)?;
///     stream.write_all(&byte)?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct TcpListener {
    shared: Arc<Shared<std::net::TcpListener>>,
}

impl TcpListener {
    /// Listens at the first of the addresses that can be had; port 0 lets the system choose. `SO_REUSEADDR`
    /// is set, as `std` does, so that a restarted server gets its address back.
    ///
    /// Waits only when a name has to be looked up.
    ///
    /// # Errors
    /// The last address's, when none can be had; the resolver's; [`io::ErrorKind::InvalidInput`] when there
    /// is no address.
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(address: A) -> io::Result<Self> {
        Self::bind_first(block_on(address.addresses().resolve())?)
    }

    /// The future form of [`bind`](TcpListener::bind), for names that have to be looked up.
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    pub async fn bind_async<A: ToSocketAddrs>(address: A) -> io::Result<Self> {
        let addresses = address.addresses().resolve();
        drop(address);
        Self::bind_first(addresses.await?)
    }

    fn bind_first(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<Self> {
        let mut last_error = None;
        for address in addresses {
            match listen(address) {
                Ok(socket) => return Ok(Self::from_nonblocking(socket)),
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(no_address))
    }

    /// The address it listens at.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().local_addr()
    }

    /// Waits for a connection, and returns it with its peer's address. Any number may wait at once; each
    /// connection goes to one.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] once [closed](TcpListener::close), and errors that are not the
    /// listener's to deal with (see [Running short](TcpListener#running-short)); the listener is as usable
    /// after them as before.
    #[track_caller]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        accept::accept(self)
    }

    /// Accepts a connection that has come already. Never waits.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none; else as [`accept`](TcpListener::accept), and the
    /// system's when it is short of descriptors or memory: nothing is tried again here.
    pub fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        accept::try_accept(self)
    }

    /// The future form of [`accept`](TcpListener::accept).
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*; a connection that had come is there for the next.
    pub fn accept_async(&self) -> Accept<'_> {
        Accept::new(self)
    }

    /// The connections as they come, each once. Ends when the listener is [closed](TcpListener::close).
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The connections as they come, as a [`Stream`](futures::Stream). Ends when the listener is [closed](TcpListener::close).
    pub fn incoming_async(&self) -> IncomingStream<'_> {
        IncomingStream { accept: self.accept_async() }
    }

    /// Stops listening, as Go's `Close`: connections are refused from now on, and whoever waits in `accept`,
    /// on any handle, gets [`io::ErrorKind::NotConnected`]. Connections that were not yet accepted are reset.
    /// One that is [short of descriptors](TcpListener#running-short) learns of it at its next attempt, half a
    /// second later at most. The descriptor is released when the last handle is dropped. Never waits.
    pub fn close(&self) {
        self.shared.source().close();
        // Linux stops listening at once; elsewhere this may be refused, and the end comes with the last
        // handle.
        let _ = socket2::SockRef::from(self.shared.socket()).shutdown(std::net::Shutdown::Both);
    }

    /// Sets `IP_TTL` of the connections to come.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.shared.socket().set_ttl(ttl)
    }

    /// The value of `IP_TTL`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.shared.socket().ttl()
    }
}

socket_handles!(TcpListener, std::net::TcpListener);

impl Accepts for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    #[allow(private_interfaces, reason = "sealed")]
    fn source(&self) -> &Source {
        self.shared.source()
    }

    fn accept_once(&self) -> io::Result<(TcpStream, SocketAddr)> {
        accept_one(self.shared.socket())
    }

    fn has_closed(&self) -> bool {
        self.is_closed()
    }
}

fn accept_one(socket: &std::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = accept::accept_nonblocking(socket)?;
    let peer = peer.as_socket().ok_or_else(|| io::Error::other("a TCP peer without an internet address"))?;
    Ok((TcpStream::from_nonblocking(stream.into()), peer))
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = nonblocking_socket(address)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(local) = self.local_addr() {
            debug.field("local", &local);
        }
        debug.field("fd", &self.as_raw_fd()).field("closed", &self.is_closed()).finish()
    }
}
