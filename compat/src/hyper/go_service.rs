//! Go-style handlers as services: each request in a coroutine of its own.

use super::BoxError;
use aqueduct::{JoinError, JoinHandle};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::service::Service;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A Go-style handler as a service, each call in a coroutine of its own: it reads the request's body, asks other servers and
/// waits as it likes, and holds up neither the connection's other requests nor a thread. See [`body`](super::body) for bodies
/// in Go style.
///
/// The handler returns a response, or a `Result` of one. An error, or a panic, is answered with 500 and no body, and told to
/// [`Builder::on_error`](super::Builder::on_error) where [`serve_go`](super::serve_go) made the service.
///
/// # Cancellation
/// When the client goes away, or resets the stream, the handler is [cancelled](JoinHandle::cancel): it unwinds from its next
/// wait. What must be finished goes under [`task::shield`](aqueduct::task::shield), or into a task of its own.
///
/// # Examples
/// ```
/// use aqueduct_compat::hyper::{Builder, service_go};
/// use aqueduct::net::TcpListener;
/// use http::{Request, Response};
/// use hyper::body::Incoming;
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// // A service for each connection, which knows its peer.
/// let server = Builder::new().serve_each(listener, |peer| {
///     service_go(move |_: Request<Incoming>| Response::new(format!("hello, {peer}")))
/// });
/// # server.shutdown(std::time::Instant::now());
/// # Ok(())
/// # }
/// ```
pub fn service_go<H, R>(handler: H) -> GoService<H>
where
    H: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Reply,
{
    GoService { handler: Arc::new(handler), in_tokio: false, on_error: None }
}

type OnError = Arc<dyn Fn(&BoxError) + Send + Sync>;

/// The service of [`service_go`].
pub struct GoService<H> {
    handler: Arc<H>,
    in_tokio: bool,
    on_error: Option<OnError>,
}

impl<H> GoService<H> {
    /// Runs the handler in [tokio's context](crate::tokio).
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn in_tokio(mut self) -> Self {
        self.in_tokio = true;
        self
    }

    /// Is called with the errors and panics of the handler, which are answered with 500. It must not panic.
    #[must_use]
    pub fn on_error(mut self, f: impl Fn(&BoxError) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Arc::new(f));
        self
    }
}

impl<H> Clone for GoService<H> {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), in_tokio: self.in_tokio, on_error: self.on_error.clone() }
    }
}

impl<H> fmt::Debug for GoService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoService").field("in_tokio", &self.in_tokio).finish_non_exhaustive()
    }
}

impl<H, R> Service<Request<Incoming>> for GoService<H>
where
    H: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Reply,
{
    type Response = Response<GoBody<R::Body>>;
    type Error = Infallible;
    type Future = GoResponse<R::Body>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (handler, in_tokio) = (self.handler.clone(), self.in_tokio);
        let task = aqueduct::go(move || in_context(in_tokio, || handler(request).into_reply()));
        GoResponse { task, on_error: self.on_error.clone() }
    }
}

#[cfg(feature = "tokio")]
fn in_context<T>(in_tokio: bool, f: impl FnOnce() -> T) -> T {
    if in_tokio { crate::tokio::enter(f) } else { f() }
}

#[cfg(not(feature = "tokio"))]
fn in_context<T>(_: bool, f: impl FnOnce() -> T) -> T {
    f()
}

/// The body of a [`GoService`]'s response: the handler's, or none.
pub type GoBody<B> = Either<B, Empty<<B as Body>::Data>>;

/// What a Go-style handler may return: a response, or a `Result` of one.
pub trait Reply: Send + 'static {
    /// The body of the response.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// The response, or the error to answer with 500.
    ///
    /// # Errors
    /// The handler's.
    fn into_reply(self) -> Result<Response<Self::Body>, BoxError>;
}

impl<B> Reply for Response<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;

    fn into_reply(self) -> Result<Response<B>, BoxError> {
        Ok(self)
    }
}

impl<B, E> Reply for Result<Response<B>, E>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    type Body = B;

    fn into_reply(self) -> Result<Response<B>, BoxError> {
        self.map_err(Into::into)
    }
}

/// The future of a [`GoService`]: dropping it cancels the handler.
#[must_use = "dropping it cancels the handler"]
pub struct GoResponse<B> {
    task: JoinHandle<Result<Response<B>, BoxError>>,
    on_error: Option<OnError>,
}

impl<B: Body> Future for GoResponse<B> {
    type Output = Result<Response<GoBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.task).poll(cx));
        let response = match ended {
            Ok(Ok(response)) => response.map(Either::Left),
            Ok(Err(error)) => self.failed(&error),
            Err(error) => self.failed(&told(error)),
        };
        Poll::Ready(Ok(response))
    }
}

impl<B: Body> GoResponse<B> {
    fn failed(&self, error: &BoxError) -> Response<GoBody<B>> {
        if let Some(on_error) = &self.on_error {
            on_error(error);
        }
        let mut response = Response::new(Either::Right(Empty::new()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }
}

fn told(error: JoinError) -> BoxError {
    Box::new(error)
}

impl<B> Drop for GoResponse<B> {
    fn drop(&mut self) {
        // Too late for a handler that has returned, which is as well: completion beats cancellation.
        self.task.cancel();
    }
}

impl<B> fmt::Debug for GoResponse<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoResponse").field("task", &self.task).finish_non_exhaustive()
    }
}
