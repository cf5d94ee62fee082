//! Sockets: TCP, UDP and Unix, and a server that costs little per idle connection.
//!
//! The types have the shape of their namesakes in `std::net` and `std::os::unix::net`. What waits has two
//! faces: `accept()`, `connect()`, `recv()` and the `std::io` traits suspend the calling coroutine (off the
//! workers, block the thread), and `accept_async()`, `connect_async()`, `recv_async()` and the `futures::io`
//! traits are futures; `try_accept()`, `try_recv()` and their like never wait. All faces are on one type and may
//! be mixed on one socket. Importing both `std::io::Read` and `futures::io::AsyncReadExt` in one module makes
//! `stream.read(..)` ambiguous (E0034): import the pair of the world that the module lives in.
//!
//! | | connections | datagrams |
//! |---|---|---|
//! | between machines | [`TcpListener`], [`TcpStream`] | [`UdpSocket`] |
//! | within one | [`UnixListener`], [`UnixStream`] | [`UnixDatagram`] |
//!
//! To split a connection, [`try_clone`](TcpStream::try_clone) it: a handle more costs no descriptor; or use `&TcpStream`,
//! which reads and writes as well. A proxy's two directions are [`io::copy_bidirectional`](crate::io::copy_bidirectional).
//! Buffering and lines are `std::io::BufReader`'s and `futures::io::BufReader`'s work.
//!
//! [`serve()`] runs a Go-style handler for every connection, and only while the connection has input.
//!
//! ```
//! use std::io::{Read, Write};
//! use aqueduct::net::{TcpListener, TcpStream};
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?;
//! let (mut server, _peer) = listener.accept()?;
//!
//! client.write_all(b"hello")?;
//! let mut message = [0; 5];
//! server.read_exact(&mut message)?;
//! assert_eq!(&message, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Picture
//! ```text
//! TcpStream ─┐                       ┌─ Source (readiness, waiters; crate::reactor)
//! TcpStream ─┴─ Arc<socket::Shared> ─┤                      both in an io::Io
//!  (try_clone)                       └─ the descriptor, non-blocking
//!
//! serve: accept loop ──► one small future per connection ── input ──► handler, called inside its poll
//! ```
//! # Invariants
//! Those of [`io`](crate::io): the source is dropped before the descriptor, which nothing replaces.

mod accept;
mod address;
mod connect;
mod datagram;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod kernel;
mod listener;
mod pause;
pub mod serve;
mod socket;
mod stream;
mod stream_io;
mod udp;
mod unix;

pub use accept::{Accept, Incoming, IncomingStream, Listener};
pub use address::{ToSocketAddrs, lookup_host, lookup_host_async};
pub use connect::Connect;
pub use listener::TcpListener;
pub use serve::{Conn, Serve, serve, serve_with};
pub use stream::TcpStream;
pub use udp::UdpSocket;
pub use unix::{PeerCredentials, UnixConnect, UnixDatagram, UnixListener, UnixStream};

/// The error of a timeout of zero, as in `std`: it would make every operation fail.
fn no_timeout() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, "a timeout must not be zero")
}
