//! Connections for hyper-util's client, and that client.

use super::{Executor, Io, Timer};
use aqueduct::net::TcpStream;
use http::Uri;
use hyper_util::client::legacy::{Client, connect};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// hyper-util's pooling client over our sockets, timers and executor. In Go style, wait for its futures.
///
/// It speaks `http` only. For `https`, [reqwest](https://docs.rs/reqwest) runs in tokio's context (feature `tokio`).
///
/// # Examples
/// ```no_run
/// use aqueduct::Wait;
/// use http_body_util::{BodyExt, Empty};
/// use hyper::body::Bytes;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = aqueduct_compat::hyper::client::<Empty<Bytes>>();
/// let response = client.get("http://127.0.0.1:8080/".parse()?).wait()?;
/// println!("{:?}", response.into_body().collect().wait()?.to_bytes());
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn client<B>() -> Client<Connector, B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    Client::builder(Executor::new()).timer(Timer).pool_timer(Timer).build(Connector::new())
}

/// Opens a TCP connection to the host and port of a URI: a connector for hyper-util's client.
///
/// # Examples
/// ```
/// use aqueduct_compat::hyper::{Connector, Executor, Timer};
/// use hyper_util::client::legacy::Client;
///
/// let client = Client::builder(Executor::new())
///     .pool_timer(Timer)
///     .http2_only(true)
///     .build::<_, http_body_util::Empty<hyper::body::Bytes>>(Connector::new());
/// # drop(client);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Connector(());

impl Connector {
    /// A connector with `TCP_NODELAY` set on what it opens.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Service<Uri> for Connector {
    type Response = Io<TcpStream>;
    type Error = ConnectError;
    type Future = Connect;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connect {
        Connect(match target(&uri) {
            Ok((host, port)) => Ok(TcpStream::connect_async((host, port))),
            Err(error) => Err(Some(error)),
        })
    }
}

fn target(uri: &Uri) -> Result<(&str, u16), ConnectError> {
    let unusable = |what| Err(ConnectError::Uri(uri.clone(), what));
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return unusable("this connector speaks no TLS; see the feature `tokio` and reqwest");
        }
        Some(_) => return unusable("the scheme is not `http`"),
        None => return unusable("it has no scheme"),
    }
    match uri.host() {
        // An IPv6 address stands in brackets in a URI.
        Some(host) => Ok((host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80))),
        None => unusable("it has no host"),
    }
}

/// The future of [`Connector`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited, or waited for with `.wait()`"]
pub struct Connect(Result<aqueduct::net::Connect, Option<ConnectError>>);

impl Future for Connect {
    type Output = Result<Io<TcpStream>, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(connect) => {
                Poll::Ready(ready!(Pin::new(connect).poll(cx)).and_then(connected).map_err(ConnectError::Io))
            }
            Err(error) => Poll::Ready(Err(error.take().expect("polled after it was ready"))),
        }
    }
}

fn connected(stream: TcpStream) -> io::Result<Io<TcpStream>> {
    stream.set_nodelay(true)?;
    Ok(Io::vectored(stream))
}

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URI cannot be connected to, and why.
    Uri(Uri, &'static str),
    /// Nobody answered.
    Io(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri, why) => write!(f, "cannot connect to {uri}: {why}"),
            Self::Io(error) => write!(f, "cannot connect: {error}"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Uri(..) => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl connect::Connection for Io<TcpStream> {
    fn connected(&self) -> connect::Connected {
        connect::Connected::new()
    }
}
