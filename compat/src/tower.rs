//! Services of tower on [our server](crate::hyper) of HTTP.
//!
//! ```
//! use aqueduct::{Wait, net::TcpListener};
//! use aqueduct_compat::{hyper::client, tower::serve};
//! use http::Response;
//! use http_body_util::{BodyExt, Empty, Full};
//! use hyper::body::Bytes;
//! use std::{convert::Infallible, time::Instant};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hello = tower::service_fn(|_request| async {
//!     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
//! });
//! let server = serve(TcpListener::bind("127.0.0.1:0")?, hello);
//! let uri = format!("http://{}/", server.local_addr()?).parse()?;
//! let response = client::<Empty<Bytes>>().get(uri).wait()?;
//! assert_eq!(response.into_body().collect().wait()?.to_bytes(), "hello");
//! server.shutdown(Instant::now());
//! # Ok(())
//! # }
//! ```
//!
//! Layers that use tokio's timers (`tower::timeout`, `limit::rate`) want [`Builder::in_tokio`](crate::hyper::Builder::in_tokio).

use crate::hyper::{BoxError, Builder, Server};
use aqueduct::net::TcpListener;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tower_service::Service;

/// Serves HTTP with a service of tower. A clone of it is asked whether it is ready, and called, for each request.
///
/// It returns at once; the server goes on until [`Server::shutdown`].
///
/// # Panics
/// When the global runtime is needed and cannot be started.
///
/// # Examples
/// See the [module](self).
pub fn serve<S, B>(listener: TcpListener, service: S) -> Server
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    Builder::new().serve_tower(listener, service)
}

impl Builder {
    /// Starts serving with a service of tower; see [`tower::serve`](serve()).
    pub fn serve_tower<S, B>(self, listener: TcpListener, service: S) -> Server
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        self.serve(listener, TowerToHyperService::new(service))
    }
}
