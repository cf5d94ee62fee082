//! A server whose idle connections cost next to nothing, with handlers that read like Go.
//!
//! # Picture
//! ```text
//! intake (one task)                     per connection (one small task)
//! ─────────────────                     ───────────────────────────────
//! room? ── accept ── register ── spawn ──► wait for input ◄───────────────┐
//!   ▲                                          │                          │
//!   │                                     handler(&mut conn) ── Ok ───────┘
//!   │                                          │ end, error, panic, stop
//!   └────────── room ◄── unregister ◄── close ─┘
//! ```
//! Between two messages a connection is a future without a stack: its socket, its state, a few words. The
//! handler is called inside the poll of that future. It may wait there like any Go-style code; the worker
//! then goes on with other work, and only meanwhile does the connection occupy a stack.
//!
//! # Invariants
//! - `registered-while-open`: a connection is in the registry from before its task is spawned until after its
//!   socket is closed; so an empty registry after the intake has ended means that every descriptor is back.
//! - `stop-is-seen`: a connection leaves its waker in its link, then looks at `stopping`, then waits; a stop
//!   sets `stopping`, then wakes the links. Whichever comes second sees the other.

mod conn;
mod connection;
mod intake;
mod registry;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

pub use conn::Conn;
pub use registry::Stats;

use super::TcpListener;
use crate::wait::block_on;
use connection::Service;
use registry::Server;

/// Serves every connection of `listener` with `handler`, which is called each time its connection has input,
/// and only then.
///
/// The handler is Go-style: it reads and writes, and waits while it does. It should take one message (or all
/// there are), answer, and return; when more input is there it is called again, else the connection waits
/// without a stack and without a buffer. It must read something, or it is called again at once. Bytes it has
/// read ahead, into a buffer of its own, bring no further call: a handler that buffers returns only when its
/// buffer holds no whole message. To keep something per connection, use [`serve_with`].
///
/// A connection is closed when its peer has ended and the handler has seen it (a read returned 0), when the
/// handler returns an error (which [`Builder::on_error`] is told), when it panics (its own connection only),
/// or when it calls [`Conn::close`].
///
/// Returns at once. Dropping the returned handle lets the server go on.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use std::time::{Duration, Instant};
/// use aqueduct::net::{self, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let server = net::serve(listener, |conn| {
///     let mut buffer = aqueduct::io::buffer();
///     let n = conn.read(&mut buffer)?;
///     conn.write_all(&buffer[..n])
/// });
///
/// let mut client = TcpStream::connect(address)?;
/// client.write_all(b"echo")?;
/// let mut reply = [0; 4];
/// client.read_exact(&mut reply)?;
/// assert_eq!(&reply, b"echo");
///
/// let summary = server.shutdown(Instant::now() + Duration::from_secs(1));
/// assert_eq!(summary.stats.accepted, 1);
/// # Ok(())
/// # }
/// ```
pub fn serve<H>(listener: TcpListener, handler: H) -> Serve
where
    H: Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static,
{
    Builder::new().serve(listener, handler)
}

/// As [`serve()`], with a value of its own for each connection: `open` makes it when the connection comes,
/// before any input (a greeting may be sent there), and the handler borrows it for each message.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use aqueduct::net::{self, TcpListener};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let server = net::serve_with(
///     listener,
///     |_conn| Ok(0_u64), // messages so far
///     |conn, count| {
///         let mut message = [0; 8];
///         conn.read_exact(&mut message)?;
///         *count += 1;
///         conn.write_all(&count.to_be_bytes())
///     },
/// );
/// # server.shutdown(std::time::Instant::now());
/// # Ok(())
/// # }
/// ```
pub fn serve_with<S, O, H>(listener: TcpListener, open: O, handler: H) -> Serve
where
    S: Send + 'static,
    O: Fn(&mut Conn) -> io::Result<S> + Send + Sync + 'static,
    H: Fn(&mut Conn, &mut S) -> io::Result<()> + Send + Sync + 'static,
{
    Builder::new().serve_with(listener, open, handler)
}

type OnError = Box<dyn Fn(SocketAddr, &io::Error) + Send + Sync>;

/// Options of a server.
///
/// # Examples
/// ```
/// use std::io::Write;
/// use aqueduct::net::{TcpListener, serve};
///
/// # fn main() -> std::io::Result<()> {
/// let server = serve::Builder::new()
///     .max_connections(1_000)
///     .on_error(|peer, error| eprintln!("{peer}: {error}"))
///     .serve(TcpListener::bind("127.0.0.1:0")?, |conn| {
///         let mut buffer = aqueduct::io::buffer();
///         std::io::Read::read(conn, &mut buffer)?;
///         conn.write_all(b"go away\n")?;
///         conn.close();
///         Ok(())
///     });
/// # server.shutdown(std::time::Instant::now());
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until `serve` is called"]
pub struct Builder {
    max_connections: Option<usize>,
    on_error: Option<OnError>,
}

impl Builder {
    /// No limit on connections, errors only counted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops accepting while `n` connections are open (at least one is allowed). Further ones wait in the
    /// system's queue, and are refused by it when that is full.
    pub fn max_connections(mut self, n: usize) -> Self {
        self.max_connections = Some(n.max(1));
        self
    }

    /// Is called with the peer's address when a connection ends by an error of its handler, or by its panic
    /// (an error of kind [`Other`](io::ErrorKind::Other) that says so). A peer that ends between two messages
    /// is no error, also when the handler then reports [`UnexpectedEof`](io::ErrorKind::UnexpectedEof). It is
    /// called in the connection's task, and must not panic.
    pub fn on_error(mut self, f: impl Fn(SocketAddr, &io::Error) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Box::new(f));
        self
    }

    /// Starts serving; see [`serve()`].
    pub fn serve<H>(self, listener: TcpListener, handler: H) -> Serve
    where
        H: Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static,
    {
        self.serve_with(listener, |_| Ok(()), move |conn, ()| handler(conn))
    }

    /// Starts serving with a value per connection; see [`serve_with`].
    pub fn serve_with<S, O, H>(self, listener: TcpListener, open: O, handler: H) -> Serve
    where
        S: Send + 'static,
        O: Fn(&mut Conn) -> io::Result<S> + Send + Sync + 'static,
        H: Fn(&mut Conn, &mut S) -> io::Result<()> + Send + Sync + 'static,
    {
        let max_connections = self.max_connections.unwrap_or(usize::MAX);
        let server = Arc::new(Server::new(listener.clone_handle(), max_connections));
        let service = Service { server: Arc::clone(&server), open, handler, on_error: self.on_error };
        intake::start(listener, Arc::new(service));
        Serve { server }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("max_connections", &self.max_connections).finish_non_exhaustive()
    }
}

/// A running server: look at its counters, wait for it, stop it. Cloning gives another handle; dropping them
/// all lets it go on.
#[derive(Clone)]
pub struct Serve {
    server: Arc<Server>,
}

/// What [`Serve::shutdown`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The counters at the end.
    pub stats: Stats,
    /// Connections whose handlers were still busy at the deadline and were cancelled.
    pub cancelled: usize,
    /// Those of them that had not ended a moment later: handlers that compute, or block their thread, without
    /// ever waiting.
    pub unfinished: usize,
}

impl Serve {
    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.server.stats()
    }

    /// Stops the server: no connection is accepted any more, idle ones are closed, handlers at work finish
    /// their message (and what their peer has already sent) until `deadline`; those still at it then are
    /// cancelled. A deadline that has passed cancels at once.
    ///
    /// # Blocking
    /// Waits until the last connection is closed: this coroutine; outside the scheduler, this thread. Not
    /// longer than the deadline and a tenth of a second.
    ///
    /// # Panics
    /// Never. Called from a handler of the same server it waits for itself until the deadline: spawn the call
    /// instead.
    #[track_caller]
    pub fn shutdown(&self, deadline: Instant) -> Summary {
        block_on(self.shutdown_async(deadline))
    }

    /// The future form of [`shutdown`](Serve::shutdown).
    ///
    /// # Cancel safety
    /// *Completes anyway*, but for the deadline: intake and idle connections have stopped once it was polled,
    /// and nobody cancels what is still busy.
    pub async fn shutdown_async(&self, deadline: Instant) -> Summary {
        self.server.stop();
        let (cancelled, unfinished) = self.server.drain(deadline).await;
        Summary { stats: self.stats(), cancelled, unfinished }
    }

    /// Waits until the server has stopped and its last connection is closed.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// The error that made it impossible to go on accepting. Connections accepted before were served to their
    /// ends.
    #[track_caller]
    pub fn join(&self) -> io::Result<Stats> {
        block_on(self.join_async())
    }

    /// The future form of [`join`](Serve::join).
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    pub async fn join_async(&self) -> io::Result<Stats> {
        self.server.ended().await;
        match self.server.intake_error() {
            Some(error) => Err(error),
            None => Ok(self.stats()),
        }
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("stats", &self.stats())
            .field("stopping", &self.server.is_stopping())
            .finish()
    }
}
