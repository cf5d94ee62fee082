//! TCP: listeners, streams, and a server that costs little per idle connection.
//!
//! [`TcpListener`] and [`TcpStream`] have the shape of their namesakes in `std::net`. What waits has two
//! faces: `accept()`, `connect()`, `peek()` and the `std::io` traits suspend the calling coroutine (off the
//! workers, block the thread), and `accept_async()`, `connect_async()`, `peek_async()` and the `futures::io`
//! traits are futures. Both faces are on one type and may be mixed on one connection. Importing both
//! `std::io::Read` and `futures::io::AsyncReadExt` in one module makes `stream.read(..)` ambiguous (E0034):
//! import the pair of the world that the module lives in.
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
//! TcpStream ─┴─ Arc<stream::Shared> ─┤
//!  (try_clone)                       └─ the descriptor, non-blocking
//!
//! serve: accept loop ──► one small future per connection ── input ──► handler, called inside its poll
//! ```
//! # Invariants
//! Those of [`io`](crate::io): the source is dropped before the descriptor, which nothing replaces.

mod accept;
mod address;
mod connect;
mod listener;
pub mod serve;
mod stream;
mod stream_io;

pub use accept::Accept;
pub use address::ToSocketAddrs;
pub use connect::Connect;
pub use listener::{Incoming, IncomingStream, TcpListener};
pub use serve::{Conn, Serve, serve, serve_with};
pub use stream::{Peek, TcpStream};

/// The error of a timeout of zero, as in `std`: it would make every operation fail.
fn no_timeout() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, "a timeout must not be zero")
}
