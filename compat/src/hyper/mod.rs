//! hyper 1 on aqueduct: its runtime traits, and a server with services in both colours.
//!
//! # A server
//! [`serve`] runs an async service (hyper's `Service`, for example of `service_fn`) for each request; [`serve_go`] runs a
//! Go-style handler, each call in a coroutine of its own, where it may wait for whatever it likes. Both speak HTTP/1.1 and,
//! with clients that begin with it, HTTP/2. [`Builder`] has the options and takes streams wrapped in TLS.
//!
//! ```
//! use aqueduct::prelude::*;
//! use aqueduct::net::TcpListener;
//! use aqueduct_compat::hyper::{client, serve, serve_go};
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Empty, Full};
//! use hyper::{body::{Bytes, Incoming}, service::service_fn};
//! use std::{convert::Infallible, time::{Duration, Instant}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let greet = || Response::new(Full::new(Bytes::from("hello")));
//! let go_style = serve_go(TcpListener::bind("127.0.0.1:0")?, move |_request: Request<Incoming>| {
//!     time::sleep(Duration::from_millis(1)); // suspends this coroutine, nothing else
//!     greet()
//! });
//! let async_style = serve(
//!     TcpListener::bind("127.0.0.1:0")?,
//!     service_fn(move |_request| async move { Ok::<_, Infallible>(greet()) }),
//! );
//! for server in [&go_style, &async_style] {
//!     let uri = format!("http://{}/", server.local_addr()?).parse()?;
//!     let response = client::<Empty<Bytes>>().get(uri).wait()?;
//!     assert_eq!(response.into_body().collect().wait()?.to_bytes(), "hello");
//!     server.shutdown(Instant::now() + Duration::from_secs(1));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Parts
//! [`Executor`], [`Timer`] and [`Io`] are what hyper (and crates on top of it) ask of a runtime; [`Connector`] and [`client()`]
//! make hyper-util's pooling client of them. [`body`] reads and writes bodies in Go style.

pub mod body;
mod connector;
mod go_service;
mod io;
mod rt;
mod server;

pub use connector::{Connect, ConnectError, Connector, client};
pub use go_service::{GoBody, GoResponse, GoService, Reply, service_go};
pub use io::Io;
pub use rt::{Executor, LocalExecutor, Sleep, Timer};
pub use server::{Builder, Server, Stats, Summary, serve, serve_go};

/// An error of a service, a body or a connection, whatever it is.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
