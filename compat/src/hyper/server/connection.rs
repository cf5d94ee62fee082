//! One connection, from the accepted stream to its end.

use super::handle::Shared;
use super::opening;
use super::{BoxError, Versions};
use crate::hyper::Io;
use aqueduct::net::TcpStream;
use aqueduct::task;
use aqueduct::time::timeout;
use futures::FutureExt;
use futures::future::{Either, select};
use futures::io::{AsyncRead, AsyncWrite};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What the accepted streams become.
pub(super) struct Transport<W> {
    wrap: W,
    vectored: bool,
}

/// A stream on its way through a handshake.
pub(super) struct Wrapping<F> {
    stream: F,
    vectored: bool,
}

impl<W> Transport<W> {
    pub(super) fn of(wrap: W) -> Self {
        Self { wrap, vectored: false }
    }

    /// For streams that write several slices with one call.
    pub(super) fn vectored(wrap: W) -> Self {
        Self { wrap, vectored: true }
    }

    pub(super) fn wrap<F>(&self, stream: TcpStream) -> Wrapping<F>
    where
        W: Fn(TcpStream) -> F,
    {
        Wrapping { stream: (self.wrap)(stream), vectored: self.vectored }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve<F, T, S, B>(
    shared: Arc<Shared>,
    wrapping: Wrapping<F>,
    service: S,
) -> Result<(), BoxError>
where
    F: Future<Output = io::Result<T>> + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    match AssertUnwindSafe(serve_unguarded(shared, wrapping, service)).catch_unwind().await {
        Ok(result) => result,
        Err(payload) if task::is_cancelled(&*payload) => task::rethrow(payload),
        Err(payload) => Err(panicked(&*payload)),
    }
}

async fn serve_unguarded<F, T, S, B>(
    shared: Arc<Shared>,
    wrapping: Wrapping<F>,
    service: S,
) -> Result<(), BoxError>
where
    F: Future<Output = io::Result<T>> + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let vectored = wrapping.vectored;
    let Some((stream, opening)) = open(&shared, wrapping.stream).await? else { return Ok(()) };
    let io = if vectored { Io::vectored(stream) } else { Io::new(stream) }.with_prefix(opening.read);
    let is_http2 = match shared.versions {
        Versions::Both => opening.is_http2,
        Versions::Http1 => false,
        Versions::Http2 => true,
    };
    if is_http2 {
        let connection = shared.http2.serve_connection(io, service);
        until_stopped(&shared, connection, http2::Connection::graceful_shutdown)
            .await
            .map_err(WithSources)?;
    } else {
        let connection = shared.http1.serve_connection(io, service).with_upgrades();
        until_stopped(&shared, connection, http1::UpgradeableConnection::graceful_shutdown)
            .await
            .map_err(WithSources)?;
    }
    Ok(())
}

/// How long a connection that has not sent anything yet has for that once the server stops. It was accepted, so its client may
/// count on an answer. A guess: many times the way through a loaded reactor, and little beside a deadline.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(100);

/// The handshake and the first bytes, in time. `None`: there is nobody to serve, or the server stops.
async fn open<F, T>(shared: &Shared, stream: F) -> io::Result<Option<(T, opening::Opening)>>
where
    F: Future<Output = io::Result<T>>,
    T: AsyncRead + Unpin,
{
    let opened = async {
        let mut stream = stream.await?;
        let opening = opening::read(&mut stream).await?;
        Ok(opening.map(|opening| (stream, opening)))
    };
    let in_time = async {
        match shared.header_read_timeout {
            Some(limit) => timeout(limit, opened).await.unwrap_or_else(|_| Err(too_slow())),
            None => opened.await,
        }
    };
    match select(pin!(in_time), pin!(shared.stopped())).await {
        Either::Left((opened, _)) => opened,
        // Its request may have arrived, and the reactor not have told of it yet.
        Either::Right(((), in_time)) => timeout(FIRST_REQUEST_GRACE, in_time).await.unwrap_or(Ok(None)),
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client did not begin a request within header_read_timeout")
}

/// Drives a connection of hyper's, gracefully to its end once the server stops (`stop-is-seen`).
async fn until_stopped<C: Future>(shared: &Shared, connection: C, shutdown: fn(Pin<&mut C>)) -> C::Output {
    let mut connection = pin!(connection);
    let mut stopped = pin!(shared.stopped());
    let mut enrolled = false;
    let mut stopping = false;
    // The token is polled once, with the task's waker, which is the same in every poll of a task.
    poll_fn(|cx| {
        // First: hyper takes a connection that it has read nothing of for idle, and would close it with the request that `open` has
        // read. So a request that has arrived is at work when the connection is told.
        if let Poll::Ready(output) = connection.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if !stopping
            && (shared.is_stopping()
                || !std::mem::replace(&mut enrolled, true) && is_ready(stopped.as_mut(), cx))
        {
            stopping = true;
            shutdown(connection.as_mut());
            return connection.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await
}

fn is_ready(future: Pin<&mut impl Future<Output = ()>>, cx: &mut Context<'_>) -> bool {
    matches!(future.poll(cx), Poll::Ready(()))
}

fn panicked(payload: &(dyn Any + Send)) -> BoxError {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(|text| &**text));
    match text {
        Some(text) => format!("the service panicked: {text}{}", remedy(text)).into(),
        None => "the service panicked".into(),
    }
}

/// As the remedy in a `JoinError`: what helps a service that looks for tokio's context.
fn remedy(panic: &str) -> &'static str {
    if panic.starts_with("there is no reactor running, must be called from the context of a Tokio") {
        "; build the server with `Builder::in_tokio`, or wrap the future in `.in_tokio()` (aqueduct-compat, feature `tokio`)"
    } else {
        ""
    }
}

/// An error of hyper's that says what was behind it: by itself it names only hyper's part, as "error from user's Service".
#[derive(Debug)]
struct WithSources(hyper::Error);

impl fmt::Display for WithSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl Error for WithSources {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
