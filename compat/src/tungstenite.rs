//! WebSockets by the `tungstenite` crate, and by `async-tungstenite`.
//!
//! A `tungstenite::WebSocket` goes straight over [`TcpStream`], or over a TLS stream above it, and waits as that waits;
//! `async_tungstenite` goes over the same types. What is here is what both leave to the user:
//!
//! - [`Handshake`] does the opening handshake under a time limit, in both colours, and connects by URL without blocking a worker
//!   (`tungstenite::connect` opens a socket of `std`, and would);
//! - [`close`] and [`close_async`] do the closing handshake under a time limit, so that a peer that never answers does not hold a
//!   task for ever, and end the stream below in order: over TLS a peer would take a mere drop for a truncation.
//!
//! Between the handshakes, time limits are the socket's: [`TcpStream::set_read_timeout`]. After a read that timed out a blocking
//! `WebSocket` is intact, and may be read again.

mod limit;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use aqueduct::net::TcpStream;
use aqueduct::{Wait, time};
use async_tungstenite::WebSocketStream;
use futures::StreamExt;
use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tungstenite::client::IntoClientRequest;
use tungstenite::error::{ProtocolError, UrlError};
use tungstenite::handshake::client::{Request, Response};
use tungstenite::handshake::{HandshakeError, HandshakeRole};
use tungstenite::http::Uri;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// How long a handshake may take unless told otherwise. A guess: a round trip, slow links and busy servers included.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A blocking stream with a [`TcpStream`] below it, which a time limit can close.
pub trait OverTcp: Read + Write {
    /// The socket.
    fn tcp(&self) -> &TcpStream;

    /// Ends the sending half of the stream.
    fn close_write(&mut self) -> io::Result<()>;
}

impl OverTcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }

    fn close_write(&mut self) -> io::Result<()> {
        match self.shutdown(Shutdown::Write) {
            // The peer has gone already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        }
    }
}

#[cfg(feature = "rustls")]
impl<C, D> OverTcp for rustls::StreamOwned<C, TcpStream>
where
    C: std::ops::DerefMut + std::ops::Deref<Target = rustls::ConnectionCommon<D>>,
    D: rustls::SideData,
{
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }

    fn close_write(&mut self) -> io::Result<()> {
        crate::rustls::close_write(self)
    }
}

/// How WebSockets are opened: the time limit, and the configuration of the crate.
///
/// # Examples
/// ```
/// use aqueduct::{go, net::TcpListener};
/// use aqueduct_compat::tungstenite::{Handshake, close};
///
/// # fn main() -> Result<(), tungstenite::Error> {
/// let farewell = std::time::Duration::from_secs(5);
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let url = format!("ws://{}/", listener.local_addr()?);
/// let server = go!({
///     let (tcp, _) = listener.accept()?;
///     let mut socket = Handshake::new().accept(tcp)?;
///     let message = socket.read()?;
///     socket.send(message)?;
///     close(&mut socket, None, farewell)
/// });
/// let (mut socket, _response) = Handshake::new().connect(url)?;
/// socket.send("over".into())?;
/// assert_eq!(socket.read()?.to_text()?, "over");
/// assert!(socket.read()?.is_close());
/// close(&mut socket, None, farewell)?; // answers
/// server.join().unwrap()
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Handshake {
    limit: Duration,
    config: Option<WebSocketConfig>,
}

impl Default for Handshake {
    fn default() -> Self {
        Self { limit: HANDSHAKE_LIMIT, config: None }
    }
}

impl Handshake {
    /// With [`HANDSHAKE_LIMIT`] and the crate's default configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long a handshake may take; with [`connect`](Self::connect), connecting included.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the sizes that are allowed, and so on.
    pub fn config(mut self, config: WebSocketConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// Connects to a `ws://` URL. Redirections are not followed.
    ///
    /// # Blocking
    /// This coroutine, for the limit at most; outside the scheduler, this thread.
    ///
    /// # Cancel safety
    /// The connection is dropped as the coroutine unwinds.
    ///
    /// # Errors
    /// Those of `tungstenite`; [`Error::Io`] of kind `TimedOut`. A `wss://` URL is refused: connect, do the TLS handshake, and use
    /// [`client`](Self::client).
    #[track_caller]
    pub fn connect(
        &self,
        request: impl IntoClientRequest,
    ) -> Result<(WebSocket<TcpStream>, Response), Error> {
        let request = request.into_client_request()?;
        let begin = std::time::Instant::now();
        let tcp = self.within(connect_tcp(request.uri())?).wait()?;
        let rest = Self { limit: self.limit.saturating_sub(begin.elapsed()), ..*self };
        rest.client(request, tcp)
    }

    /// The client's side of the handshake over a stream that is connected.
    ///
    /// # Blocking
    /// # Cancel safety
    /// # Errors
    /// As [`connect`](Self::connect).
    #[track_caller]
    pub fn client<S: OverTcp>(
        &self,
        request: impl IntoClientRequest,
        stream: S,
    ) -> Result<(WebSocket<S>, Response), Error> {
        let request: Request = request.into_client_request()?;
        let tcp = stream.tcp().try_clone()?;
        limit::run(tcp, self.limit, WHAT, || {
            finish(tungstenite::client::client_with_config(request, stream, self.config))
        })
    }

    /// The server's side of the handshake.
    ///
    /// # Blocking
    /// This coroutine, for the limit at most; outside the scheduler, this thread. Not the accept loop's coroutine, then.
    ///
    /// # Cancel safety
    /// The connection is dropped as the coroutine unwinds.
    ///
    /// # Errors
    /// Those of `tungstenite`; [`Error::Io`] of kind `TimedOut`.
    #[track_caller]
    pub fn accept<S: OverTcp>(&self, stream: S) -> Result<WebSocket<S>, Error> {
        let tcp = stream.tcp().try_clone()?;
        limit::run(tcp, self.limit, WHAT, || finish(tungstenite::accept_with_config(stream, self.config)))
    }

    /// The future form of [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropped, it drops the connection: *may lose data*, the server may have seen a part of the handshake.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_async(
        &self,
        request: impl IntoClientRequest,
    ) -> Result<(WebSocketStream<TcpStream>, Response), Error> {
        let request: Request = request.into_client_request()?;
        let config = self.config;
        self.within(async move {
            let tcp = connect_tcp(request.uri())?.await?;
            async_tungstenite::client_async_with_config(request, tcp, config).await
        })
        .await
    }

    /// The future form of [`client`](Self::client); over any stream.
    ///
    /// # Cancel safety
    /// As [`connect_async`](Self::connect_async).
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn client_async<S>(
        &self,
        request: impl IntoClientRequest,
        stream: S,
    ) -> Result<(WebSocketStream<S>, Response), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request: Request = request.into_client_request()?;
        self.within(async_tungstenite::client_async_with_config(request, stream, self.config)).await
    }

    /// The future form of [`accept`](Self::accept); over any stream.
    ///
    /// # Cancel safety
    /// Dropped, it drops the connection: *may lose data*, the client may have seen a part of the handshake.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn accept_async<S>(&self, stream: S) -> Result<WebSocketStream<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.within(async_tungstenite::accept_async_with_config(stream, self.config)).await
    }

    async fn within<T, E: Into<Error>>(
        &self,
        handshake: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        match time::timeout(self.limit, handshake).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(limit::passed(WHAT, self.limit).into()),
        }
    }
}

const WHAT: &str = "WebSocket handshake";

/// Closes a blocking WebSocket in order: sends a close frame unless one has been sent, reads until the peer has answered it, passing
/// over messages that were on their way, and ends the stream below. All of it takes `limit` at most. Drop the socket afterwards.
///
/// Also for the side that has read the peer's close frame: the answer, and the end of the stream, are left for it.
///
/// # Blocking
/// This coroutine, for `limit` at most; outside the scheduler, this thread.
///
/// # Cancel safety
/// *May lose data*: the close frame may have been sent or not.
///
/// # Errors
/// [`Error::Io`] of kind `TimedOut` when the peer has not answered; those of `tungstenite`. The connection is closed in any case.
#[track_caller]
pub fn close<S: OverTcp>(
    socket: &mut WebSocket<S>,
    reason: Option<CloseFrame>,
    limit: Duration,
) -> Result<(), Error> {
    let tcp = socket.get_ref().tcp().try_clone()?;
    limit::run(tcp.try_clone()?, limit, CLOSING, || {
        let mut ending = Ending::default();
        let mut next = socket.close(reason);
        while !ending.is_reached(next)? {
            next = socket.read().map(|message| ending.note(&message));
        }
        Ok(socket.get_mut().close_write()?)
    })
    .inspect_err(|_| tcp.close())
}

/// The future form of [`close`]; over any stream.
///
/// # Cancel safety
/// *May lose data*: the close frame may have been sent or not.
///
/// # Errors
/// As [`close`], except that it is the drop of the socket that closes the connection after an error.
pub async fn close_async<S>(
    socket: &mut WebSocketStream<S>,
    reason: Option<CloseFrame>,
    limit: Duration,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closing = async {
        let mut ending = Ending::default();
        let mut next = socket.close(reason).await;
        while !ending.is_reached(next)? {
            next = match socket.next().await {
                Some(message) => message.map(|message| ending.note(&message)),
                None => Err(Error::ConnectionClosed),
            };
        }
        Ok(socket.get_mut().close().await?)
    };
    match time::timeout(limit, closing).await {
        Ok(done) => done,
        Err(_) => Err(limit::passed(CLOSING, limit).into()),
    }
}

const CLOSING: &str = "closing handshake";

/// How far a closing handshake has come.
#[derive(Default)]
struct Ending {
    /// The peer's close frame has been read.
    answered: bool,
}

impl Ending {
    fn note(&mut self, message: &Message) {
        self.answered |= message.is_close();
    }

    /// Whether that was the end, given what came of closing or reading.
    fn is_reached(&self, next: Result<(), Error>) -> Result<bool, Error> {
        match next {
            Ok(()) => Ok(false),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(true),
            // Both close frames have passed: nothing can have been cut off any more.
            Err(Error::Io(error)) if self.answered && error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }
}

/// Starts connecting to the host of a URL.
fn connect_tcp(uri: &Uri) -> Result<impl Future<Output = io::Result<TcpStream>> + use<>, Error> {
    match uri.scheme_str() {
        Some("ws") => {}
        Some("wss") => return Err(Error::Url(UrlError::TlsFeatureNotEnabled)),
        _ => return Err(Error::Url(UrlError::UnsupportedUrlScheme)),
    }
    let host = uri.host().ok_or(Error::Url(UrlError::NoHostName))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let connecting = TcpStream::connect_async((host, uri.port_u16().unwrap_or(80)));
    Ok(async {
        let tcp = connecting.await?;
        // A frame is one small write.
        tcp.set_nodelay(true)?;
        Ok(tcp)
    })
}

/// A handshake over a stream that waits cannot be interrupted; one with a stream that says so all the same has failed.
fn finish<R: HandshakeRole>(
    handshake: Result<R::FinalResult, HandshakeError<R>>,
) -> Result<R::FinalResult, Error> {
    handshake.map_err(|error| match error {
        HandshakeError::Failure(error) => error,
        HandshakeError::Interrupted(_) => Error::Protocol(ProtocolError::HandshakeIncomplete),
    })
}
