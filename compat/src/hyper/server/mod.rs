//! A server of HTTP/1.1 and HTTP/2 with services in both colours.
//!
//! # Picture
//! ```text
//! accept loop ── stream ──► a task per connection
//!                             wrap (TLS) ─► read the opening ─► hyper's connection ─► service ─► response
//!                             └──── header_read_timeout ────┘   └ until stopped: then gracefully, to its end
//! ```
//! # Invariants
//! - `counted`: a connection is entered, and counted as open, before its task exists, and leaves with its task, also when
//!   that is cancelled before it began. The accept loop counts too. So a count of zero means that the server has ended.
//! - `stop-is-seen`: the flag is set before the token is cancelled. A connection enrols with the token in its first poll, and looks at
//!   the flag in each: a stop before the enrolment is seen by it, a later one wakes the task, which then looks.

mod connection;
mod handle;
mod opening;

pub use handle::{Server, Stats, Summary};

use super::{BoxError, Executor, Reply, Timer, service_go};
use aqueduct::net::{TcpListener, TcpStream};
use connection::Transport;
use futures::io::{AsyncRead, AsyncWrite};
use handle::Shared;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a client has for its TLS handshake and the first bytes, and then for each head of a request. hyper's own default.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves HTTP with an async service, of which each connection gets a clone. [`Builder`] has the options.
///
/// It returns at once; the server goes on until [`Server::shutdown`]. A wait in Go style inside the service's future suspends
/// its whole connection, which could be what it waits for: that is what [`serve_go`] is for.
///
/// # Panics
/// When the global runtime is needed and cannot be started.
///
/// # Examples
/// See the [module](super).
pub fn serve<S, B>(listener: TcpListener, service: S) -> Server
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    Builder::new().serve(listener, service)
}

/// Serves HTTP with a Go-style handler, each call in a coroutine of its own: see [`service_go`].
///
/// It returns at once; the server goes on until [`Server::shutdown`].
///
/// # Panics
/// When the global runtime is needed and cannot be started.
///
/// # Examples
/// ```
/// use aqueduct::net::TcpListener;
/// use aqueduct_compat::hyper::{body, serve_go};
/// use http::{Request, Response};
/// use hyper::body::Incoming;
/// use std::io::Read;
///
/// # fn main() -> std::io::Result<()> {
/// // Any error, by `?`, is a 500.
/// let server = serve_go(TcpListener::bind("127.0.0.1:0")?, |request: Request<Incoming>| {
///     let mut text = String::new();
///     body::reader(request.into_body()).read_to_string(&mut text)?;
///     std::io::Result::Ok(Response::new(text.to_uppercase()))
/// });
/// # server.shutdown(std::time::Instant::now());
/// # Ok(())
/// # }
/// ```
pub fn serve_go<H, R>(listener: TcpListener, handler: H) -> Server
where
    H: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Reply,
{
    Builder::new().serve_go(listener, handler)
}

type OnError = Arc<dyn Fn(SocketAddr, &BoxError) + Send + Sync>;
type Http2Options = Box<dyn FnOnce(&mut http2::Builder<Executor>) -> &mut http2::Builder<Executor> + Send>;

/// Which versions of HTTP are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Versions {
    Both,
    Http1,
    Http2,
}

/// Options of a server.
///
/// # Examples
/// ```
/// use aqueduct::net::TcpListener;
/// use aqueduct_compat::hyper::Builder;
/// use http::{Request, Response};
/// use hyper::body::Incoming;
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let server = Builder::new()
///     .max_connections(10_000)
///     .header_read_timeout(Duration::from_secs(5))
///     .http1(|http1| http1.max_headers(50)) // hyper's own options
///     .http2(|http2| http2.max_concurrent_streams(100))
///     .on_error(|peer, error| eprintln!("{peer}: {error}"))
///     .serve_go(TcpListener::bind("127.0.0.1:0")?, |_: Request<Incoming>| Response::new("hello".to_string()));
/// # server.shutdown(std::time::Instant::now());
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it serves"]
pub struct Builder {
    http1: http1::Builder,
    // Applied at the start, when the executor is known.
    http2: Vec<Http2Options>,
    versions: Versions,
    executor: Executor,
    header_read_timeout: Option<Duration>,
    max_connections: Option<usize>,
    on_error: Option<OnError>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Both versions, 30 s for the head of a request, no limit on connections, errors only counted.
    pub fn new() -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(Timer);
        Self {
            http1,
            http2: Vec::new(),
            versions: Versions::Both,
            executor: Executor::new(),
            header_read_timeout: Some(HEADER_READ_TIMEOUT),
            max_connections: None,
            on_error: None,
        }
    }

    /// Serves on this runtime, rather than on the one that is current.
    pub fn on(mut self, handle: aqueduct::Handle) -> Self {
        self.executor = self.executor.moved_to(handle);
        self
    }

    /// Polls services, and calls Go-style handlers, in [tokio's context](crate::tokio): for those that use crates built on tokio.
    #[cfg(feature = "tokio")]
    pub fn in_tokio(mut self) -> Self {
        self.executor = self.executor.in_tokio();
        self
    }

    /// Speaks HTTP/1 only.
    pub fn http1_only(mut self) -> Self {
        self.versions = Versions::Http1;
        self
    }

    /// Speaks HTTP/2 only.
    pub fn http2_only(mut self) -> Self {
        self.versions = Versions::Http2;
        self
    }

    /// Sets hyper's own options for HTTP/1. Its timer is set already; its header timeout is [`header_read_timeout`](Self::header_read_timeout).
    pub fn http1(mut self, options: impl FnOnce(&mut http1::Builder) -> &mut http1::Builder) -> Self {
        options(&mut self.http1);
        self
    }

    /// Sets hyper's own options for HTTP/2. Its timer is set already.
    pub fn http2(
        mut self,
        options: impl FnOnce(&mut http2::Builder<Executor>) -> &mut http2::Builder<Executor> + Send + 'static,
    ) -> Self {
        self.http2.push(Box::new(options));
        self
    }

    /// How long a client may take from the accepted connection to the first bytes of a request (with the TLS handshake, where
    /// there is one), and in HTTP/1 for each head, also from the end of the request before. `None`: for ever.
    pub fn header_read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.header_read_timeout = timeout.into();
        self
    }

    /// Stops accepting while `n` connections are open (at least one is allowed). Further ones wait in the system's queue, and are
    /// refused by it when that is full.
    pub fn max_connections(mut self, n: usize) -> Self {
        self.max_connections = Some(n.max(1));
        self
    }

    /// Is called with the peer's address when a connection ends by an error: what is not HTTP, a timeout, a reset, a failing
    /// handshake, a service that fails or panics. Also with what a Go-style handler throws or returns as an error. It must not panic.
    ///
    /// The text of the error names its causes too; its [source](std::error::Error::source) is hyper's error, where it is one of those.
    pub fn on_error(mut self, f: impl Fn(SocketAddr, &BoxError) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Arc::new(f));
        self
    }

    /// Starts serving with an async service, of which each connection gets a clone; see [`serve()`].
    pub fn serve<S, B>(self, listener: TcpListener, service: S) -> Server
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        self.serve_each(listener, move |_peer| service.clone())
    }

    /// Starts serving with a Go-style handler; see [`serve_go()`].
    pub fn serve_go<H, R>(self, listener: TcpListener, handler: H) -> Server
    where
        H: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
        R: Reply,
    {
        let service = service_go(handler);
        #[cfg(feature = "tokio")]
        let service = if self.executor.is_in_tokio() { service.in_tokio() } else { service };
        let on_error = self.on_error.clone();
        self.serve_each(listener, move |peer| {
            let service = service.clone();
            match on_error.clone() {
                Some(on_error) => service.on_error(move |error| on_error(peer, error)),
                None => service,
            }
        })
    }

    /// Starts serving with a service for each connection, made for its peer's address.
    pub fn serve_each<M, S, B>(self, listener: TcpListener, service_for: M) -> Server
    where
        M: FnMut(SocketAddr) -> S + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        self.start(
            listener,
            Transport::vectored(|stream| std::future::ready(Ok::<_, io::Error>(stream))),
            service_for,
        )
    }

    /// As [`serve_each`](Self::serve_each), over streams that `wrap` makes of the accepted ones: a TLS handshake, for example. It
    /// runs in the connection's task, within [`header_read_timeout`](Self::header_read_timeout).
    ///
    /// # Examples
    /// ```
    /// # use aqueduct::net::TcpListener;
    /// # use aqueduct_compat::hyper::{Builder, service_go};
    /// # use http::{Request, Response};
    /// # use hyper::body::Incoming;
    /// # fn serve(listener: TcpListener, config: std::sync::Arc<rustls::ServerConfig>) {
    /// let acceptor = futures_rustls::TlsAcceptor::from(config);
    /// Builder::new().serve_wrapped(
    ///     listener,
    ///     move |stream| acceptor.accept(stream),
    ///     |_peer| service_go(|_: Request<Incoming>| Response::new("hello".to_string())),
    /// );
    /// # }
    /// ```
    pub fn serve_wrapped<W, F, T, M, S, B>(self, listener: TcpListener, wrap: W, service_for: M) -> Server
    where
        W: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        M: FnMut(SocketAddr) -> S + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        self.start(listener, Transport::of(wrap), service_for)
    }

    fn start<W, F, T, M, S, B>(
        self,
        listener: TcpListener,
        transport: Transport<W>,
        mut service_for: M,
    ) -> Server
    where
        W: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        M: FnMut(SocketAddr) -> S + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let shared = Arc::new(Shared::new(&listener, self));
        let starting = shared.clone();
        let start = move |stream: TcpStream, peer| {
            let service = service_for(peer);
            let wrapped = transport.wrap(stream);
            let connection = connection::serve(starting.clone(), wrapped, service);
            starting.start_connection(peer, connection);
        };
        shared.start_accepting(listener, start);
        Server::new(shared)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("versions", &self.versions)
            .field("header_read_timeout", &self.header_read_timeout)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
