//! Listening Unix sockets.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::{UnixStream, from_system, unnamed};
use crate::net::accept::sealed::Accepts;
use crate::net::accept::{self, Accept, Incoming, IncomingStream};
use crate::net::socket::{Shared, socket_handles};
use crate::reactor::Source;

/// A Unix socket that accepts connections, shaped like [`std::os::unix::net::UnixListener`].
///
/// It waits, and lives through shortages, as a [`TcpListener`](crate::net::TcpListener) does
/// ([Running short](crate::net::TcpListener#running-short)).
///
/// The file at its path is not removed when the listener is dropped, and binding to a path where there is a
/// file fails: remove what an earlier run has left.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use aqueduct::net::{UnixListener, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("aqueduct-listener-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let mut client = UnixStream::connect(&path)?;
/// let (mut server, _unnamed) = listener.accept()?;
/// std::fs::remove_file(&path)?;
///
/// client.write_all(b"hello")?;
/// let mut message = [0; 5];
/// server.read_exact(&mut message)?;
/// assert_eq!(&message, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct UnixListener {
    shared: Arc<Shared<std::os::unix::net::UnixListener>>,
}

socket_handles!(UnixListener, std::os::unix::net::UnixListener);

impl UnixListener {
    /// Makes a socket file at `path` and listens there. Never waits.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) when there is a file already: remove it if nobody listens at it
    /// any more; [`InvalidInput`](io::ErrorKind::InvalidInput) for a path that is too long (107 bytes on
    /// Linux).
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        let path = path.as_ref();
        let socket = std::os::unix::net::UnixListener::bind(path).map_err(|error| explain(error, path))?;
        Self::from_std(socket)
    }

    /// As [`bind`](UnixListener::bind), for an address that may be abstract.
    ///
    /// # Errors
    /// As [`bind`](UnixListener::bind).
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        Self::from_std(std::os::unix::net::UnixListener::bind_addr(address)?)
    }

    /// The address it listens at.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().local_addr()
    }

    /// Waits for a connection, and returns it with its peer's address (unnamed, unless the peer is bound). Any
    /// number may wait at once; each connection goes to one.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) once [closed](UnixListener::close), and errors that are
    /// not the listener's to deal with; the listener is as usable after them as before.
    #[track_caller]
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        accept::accept(self)
    }

    /// Accepts a connection that has come already. Never waits.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none; else as
    /// [`accept`](UnixListener::accept), and the system's when it is short of descriptors or memory: nothing
    /// is tried again here.
    pub fn try_accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        accept::try_accept(self)
    }

    /// The future form of [`accept`](UnixListener::accept).
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*; a connection that had come is there for the next.
    pub fn accept_async(&self) -> Accept<'_, Self> {
        Accept::new(self)
    }

    /// The connections as they come, each once. Ends when the listener is [closed](UnixListener::close).
    pub fn incoming(&self) -> Incoming<'_, Self> {
        Incoming { listener: self }
    }

    /// The connections as they come, as a [`Stream`](futures::Stream). Ends when the listener is
    /// [closed](UnixListener::close).
    pub fn incoming_async(&self) -> IncomingStream<'_, Self> {
        IncomingStream { accept: self.accept_async() }
    }

    /// Stops listening: connections are refused from now on, and whoever waits in `accept`, on any handle,
    /// gets [`NotConnected`](io::ErrorKind::NotConnected). The descriptor is released when the last handle is
    /// dropped; the file stays. Never waits.
    pub fn close(&self) {
        self.shared.source().close();
        // As for TCP: elsewhere than on Linux this may be refused, and the end comes with the last handle.
        let _ = socket2::SockRef::from(self.shared.socket()).shutdown(std::net::Shutdown::Both);
    }
}

impl Accepts for UnixListener {
    type Stream = UnixStream;
    type Address = SocketAddr;

    #[allow(private_interfaces, reason = "sealed")]
    fn source(&self) -> &Source {
        self.shared.source()
    }

    fn accept_once(&self) -> io::Result<(UnixStream, SocketAddr)> {
        accept_one(self.shared.socket())
    }

    fn has_closed(&self) -> bool {
        self.is_closed()
    }
}

fn accept_one(socket: &std::os::unix::net::UnixListener) -> io::Result<(UnixStream, SocketAddr)> {
    let (stream, peer) = accept::accept_nonblocking(socket)?;
    // A client may have a name that `std` cannot express (108 bytes): that must not cost the connection, or the accept loop.
    let peer = from_system(&peer).or_else(|_| unnamed())?;
    Ok((UnixStream::from_nonblocking(stream.into()), peer))
}

fn explain(error: io::Error, path: &Path) -> io::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => io::Error::new(
            error.kind(),
            format!("there is a file at {} already: remove it if nobody listens there", path.display()),
        ),
        _ => error,
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixListener");
        if let Ok(local) = self.local_addr() {
            debug.field("local", &local);
        }
        debug.field("fd", &self.as_raw_fd()).field("closed", &self.is_closed()).finish()
    }
}
