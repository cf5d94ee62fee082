//! Routers of axum on [our server](crate::hyper) of HTTP.
//!
//! ```
//! use aqueduct::{Wait, go, net::TcpListener, time};
//! use aqueduct_compat::{axum::serve, hyper::client};
//! use ::axum::{Router, extract::ConnectInfo, routing::get};
//! use http_body_util::{BodyExt, Empty};
//! use hyper::body::Bytes;
//! use std::{net::SocketAddr, time::{Duration, Instant}};
//!
//! async fn hello(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
//!     ::tokio::time::sleep(Duration::from_millis(1)).await; // tokio's context is there
//!     // Go style: in a coroutine of its own.
//!     let slow = go!(time::sleep(Duration::from_millis(1)));
//!     slow.await.unwrap();
//!     format!("hello, {}", peer.ip())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let router = Router::new().route("/", get(hello));
//! let server = serve(TcpListener::bind("127.0.0.1:0")?, router);
//! let uri = format!("http://{}/", server.local_addr()?).parse()?;
//! let response = client::<Empty<Bytes>>().get(uri).wait()?;
//! assert_eq!(response.into_body().collect().wait()?.to_bytes(), "hello, 127.0.0.1");
//! server.shutdown(Instant::now());
//! # Ok(())
//! # }
//! ```
//!
//! Handlers run in [tokio's context](crate::tokio), for most crates that they use want it. A wait in Go style *inside* a handler
//! suspends its whole connection, with the body that the handler may be waiting for: wait in a coroutine, and await that.

use crate::hyper::{Builder, Server};
use aqueduct::net::TcpListener;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::Request;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tower_service::Service;

/// Serves HTTP with a router of axum, in tokio's context. `ConnectInfo<SocketAddr>` tells the peer's address.
///
/// It returns at once; the server goes on until [`Server::shutdown`].
///
/// # Panics
/// When the global runtime, or tokio's background runtime, cannot be started.
///
/// # Examples
/// See the [module](self).
pub fn serve(listener: TcpListener, router: Router) -> Server {
    Builder::new().serve_axum(listener, router)
}

impl Builder {
    /// Starts serving with a router of axum, in tokio's context; see [`axum::serve`](serve()).
    ///
    /// # Panics
    /// When tokio's background runtime cannot be started.
    pub fn serve_axum(self, listener: TcpListener, router: Router) -> Server {
        let _started = crate::tokio::handle();
        self.in_tokio().serve_each(listener, move |peer| service(router.clone(), peer))
    }
}

/// The service of a router for the connection of `peer`, for [`Builder::serve_wrapped`]. That builder should be
/// [`in_tokio`](Builder::in_tokio).
#[must_use]
pub fn service(router: Router, peer: SocketAddr) -> TowerToHyperService<Connected> {
    TowerToHyperService::new(Connected { router, peer })
}

/// A router with the address of one connection's peer.
#[derive(Clone, Debug)]
pub struct Connected {
    router: Router,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for Connected {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Incoming>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        self.router.call(request)
    }
}
