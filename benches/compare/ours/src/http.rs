//! The HTTP server: hyper through `aqueduct-compat`, with a service in each colour.

use std::io;
use std::net::SocketAddr;

use aqueduct::net::TcpListener;
use aqueduct_compat::hyper::{Server, serve, serve_go};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};

fn hello() -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(b"hello")))
}

/// Serves until it is killed.
pub(crate) fn main(style: &str) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    println!("listening on {}", listener.local_addr()?);
    let server: Server = match style {
        "aqueduct-go" => serve_go(listener, |_: Request<Incoming>| io::Result::Ok(hello())),
        "aqueduct-async" => serve(listener, service_fn(async |_: Request<Incoming>| io::Result::Ok(hello()))),
        other => return Err(io::Error::other(format!("aqueduct has no HTTP server called {other}"))),
    };
    server.join().map(drop)
}
