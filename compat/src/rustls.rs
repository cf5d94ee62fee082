//! TLS by the `rustls` crate.
//!
//! rustls needs no adapter. `rustls::Stream` and `StreamOwned` go straight over [`TcpStream`], which is
//! `std::io::Read` and `Write`, and wait as it waits; `futures_rustls` goes over the same type, which is `futures::io` too. What is
//! here is what both leave to the user:
//!
//! - [`Connector`] and [`Acceptor`] do the handshake under a time limit, in both colours, and name the remedy when it fails: a peer
//!   that sends one byte a second cannot hold a coroutine for ever, and text sent to a TLS port is called that;
//! - [`close_write`] ends the sending half of a blocking stream. Dropping one says nothing to the peer, which must then take the
//!   end for a truncation.
//!
//! A connection that ends without the peer's `close_notify` reads as [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof), in both
//! colours: that is rustls', and the difference between an end and a cut.
//!
//! # Client certificates
//! In TLS 1.3 a client has finished its handshake before the server has seen its certificate. A refusal reaches it with the first
//! read.

use std::error::Error;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use aqueduct::net::TcpStream;
use aqueduct::{Wait, time};
use futures::io::{AsyncRead, AsyncWrite};
use futures_rustls::{TlsAcceptor, TlsConnector, client, server};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, SideData, StreamOwned,
};

/// How long a handshake may take unless told otherwise. A guess: two round trips, slow links and busy servers included.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Makes TLS connections as a client.
///
/// # Examples
/// ```no_run
/// use std::io::{Read, Write};
/// use std::sync::Arc;
/// use aqueduct::net::TcpStream;
/// use aqueduct_compat::rustls::{Connector, close_write};
///
/// # fn example(config: rustls::ClientConfig) -> std::io::Result<()> {
/// let connector = Connector::new(Arc::new(config));
/// let tcp = TcpStream::connect("localhost:4433")?;
/// let mut stream = connector.connect("localhost", tcp)?; // a `rustls::StreamOwned`
/// stream.write_all(b"over")?;
/// close_write(&mut stream)?;
/// let mut answer = String::new();
/// stream.read_to_string(&mut answer)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connector {
    inner: TlsConnector,
    limit: Duration,
}

impl Connector {
    /// With [`HANDSHAKE_LIMIT`].
    #[must_use]
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self { inner: config.into(), limit: HANDSHAKE_LIMIT }
    }

    /// Sets how long a handshake may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Does the handshake over `stream` with the server `name`, a DNS name or an address.
    ///
    /// # Blocking
    /// This coroutine, for the limit at most; outside the scheduler, this thread.
    ///
    /// # Cancel safety
    /// The connection is dropped as the coroutine unwinds; the server may have seen a part of the handshake.
    ///
    /// # Errors
    /// A [`HandshakeError`], in an [`io::Error`] of kind `TimedOut`, `UnexpectedEof`, `InvalidData` (what the peer sent, its
    /// certificate included) or of the socket's; [`io::ErrorKind::InvalidInput`] for a name that is none.
    #[track_caller]
    pub fn connect<S>(&self, name: &str, stream: S) -> io::Result<StreamOwned<ClientConnection, S>>
    where
        S: AsyncRead + AsyncWrite + Read + Write + Unpin,
    {
        let (stream, connection) = self.connect_async(name, stream).wait()?.into_inner();
        Ok(StreamOwned::new(connection, stream))
    }

    /// The future form of [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropped, it drops the connection: *may lose data*, the server may have seen a part of the handshake.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_async<S>(&self, name: &str, stream: S) -> io::Result<client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name).map_err(|error| invalid_name(name, error))?.to_owned();
        within(self.limit, self.inner.connect(name, stream)).await
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Makes TLS connections as a server.
///
/// # Examples
/// ```no_run
/// use std::io::{Read, Write};
/// use std::sync::Arc;
/// use aqueduct::{go, net::TcpListener};
/// use aqueduct_compat::rustls::{Acceptor, close_write};
///
/// # fn example(config: rustls::ServerConfig) -> std::io::Result<()> {
/// let acceptor = Acceptor::new(Arc::new(config));
/// for tcp in TcpListener::bind("127.0.0.1:4433")?.incoming() {
///     let (acceptor, tcp) = (acceptor.clone(), tcp?);
///     go! {
///         // In the coroutine of the connection: a handshake is not to hold the others up.
///         let mut stream = acceptor.accept(tcp)?; // a `rustls::StreamOwned`
///         std::io::copy(&mut "over".as_bytes(), &mut stream)?;
///         close_write(&mut stream)
///     };
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Acceptor {
    inner: TlsAcceptor,
    limit: Duration,
}

impl Acceptor {
    /// With [`HANDSHAKE_LIMIT`].
    #[must_use]
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self { inner: config.into(), limit: HANDSHAKE_LIMIT }
    }

    /// Sets how long a handshake may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Does the handshake over `stream`, which has been accepted.
    ///
    /// # Blocking
    /// This coroutine, for the limit at most; outside the scheduler, this thread. Not the accept loop's coroutine, then.
    ///
    /// # Cancel safety
    /// The connection is dropped as the coroutine unwinds.
    ///
    /// # Errors
    /// A [`HandshakeError`], in an [`io::Error`] of kind `TimedOut`, `UnexpectedEof`, `InvalidData` (what the peer sent, its
    /// certificate included) or of the socket's.
    #[track_caller]
    pub fn accept<S>(&self, stream: S) -> io::Result<StreamOwned<ServerConnection, S>>
    where
        S: AsyncRead + AsyncWrite + Read + Write + Unpin,
    {
        let (stream, connection) = self.accept_async(stream).wait()?.into_inner();
        Ok(StreamOwned::new(connection, stream))
    }

    /// The future form of [`accept`](Self::accept).
    ///
    /// # Cancel safety
    /// Dropped, it drops the connection: *may lose data*, the client may have seen a part of the handshake.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn accept_async<S>(&self, stream: S) -> io::Result<server::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        within(self.limit, self.inner.accept(stream)).await
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Ends the sending half of a blocking TLS stream, as `AsyncWriteExt::close` does of an async one: sends `close_notify`, then ends
/// the socket's sending half. Reading goes on until the peer ends its half.
///
/// A peer that has already gone is no error.
///
/// # Blocking
/// This coroutine, until the system takes what is left to send, for the socket's write timeout at most; outside the scheduler, this
/// thread.
///
/// # Cancel safety
/// *May lose data*: part of what was left to send.
///
/// # Errors
/// The socket's.
#[track_caller]
pub fn close_write<C, D>(stream: &mut StreamOwned<C, TcpStream>) -> io::Result<()>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: SideData,
{
    stream.conn.send_close_notify();
    while stream.conn.wants_write() {
        match stream.conn.write_tls(&mut stream.sock) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if has_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    match stream.sock.shutdown(Shutdown::Write) {
        Err(error) if !has_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

fn has_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

/// A TLS handshake failed. Found in the [`io::Error`]s of [`Connector`] and [`Acceptor`].
///
/// Its [`source`](Error::source) is the `rustls::Error`, or the socket's error.
#[derive(Debug)]
pub struct HandshakeError {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for HandshakeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl HandshakeError {
    fn of(kind: io::ErrorKind, what: String, source: Option<Box<dyn Error + Send + Sync>>) -> io::Error {
        io::Error::new(kind, Self { what, source })
    }
}

async fn within<T>(limit: Duration, handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match time::timeout(limit, handshake).await {
        Ok(done) => done.map_err(explain),
        Err(elapsed) => {
            let what = format!("no TLS handshake within {limit:?}: the peer stalls, or does not speak TLS");
            Err(HandshakeError::of(io::ErrorKind::TimedOut, what, Some(elapsed.into())))
        }
    }
}

fn explain(error: io::Error) -> io::Error {
    let kind = error.kind();
    let what = match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(invalid)) => {
            format!(
                "the peer does not speak TLS ({invalid:?}): check the port, and whether it expects plain text"
            )
        }
        Some(rustls) => format!("TLS handshake: {rustls}"),
        None if kind == io::ErrorKind::UnexpectedEof => {
            "the peer ended the connection during the TLS handshake".to_owned()
        }
        None => format!("TLS handshake: {error}"),
    };
    let source = if error.get_ref().is_some() { error.into_inner() } else { Some(error.into()) };
    HandshakeError::of(kind, what, source)
}

fn invalid_name(name: &str, error: impl Error + Send + Sync + 'static) -> io::Error {
    let what = format!("{name:?} is neither a DNS name nor an address");
    HandshakeError::of(io::ErrorKind::InvalidInput, what, Some(error.into()))
}
