//! What the core's integration tests share, and what only these tests need: servers in both colours, readings of our descriptors.
#![allow(dead_code, unused_imports, reason = "each test crate uses its own share")]

#[path = "../../../tests/common/mod.rs"]
mod shared;

pub(crate) use shared::*;

use aqueduct::Wait;
use aqueduct::net::{TcpListener, TcpStream};
use aqueduct_compat::hyper::{BoxError, Builder, Server, body, service_go};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The two colours of a service.
pub(crate) const COLOURS: [Colour; 2] = [Colour::Async, Colour::Go];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Async,
    Go,
}

pub(crate) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) fn text(text: impl Into<Bytes>) -> AnyBody {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Serves the routes of the tests:
///
/// - `GET /` a word; `/slow` the same after a while; `/stuck` never; `/panic`, `/error` as they say;
/// - `/big` many megabytes, streamed; `/broken` a body that breaks off;
/// - `POST /echo` the body, as it comes.
pub(crate) fn serve(colour: Colour, builder: Builder) -> Server {
    match colour {
        Colour::Async => builder.serve(listener(), service_fn(routes_async)),
        Colour::Go => builder.serve_go(listener(), routes_go),
    }
}

/// The length of `/big`.
pub(crate) const BIG: usize = 12 << 20;

fn big() -> AnyBody {
    let written = body::stream(|writer| {
        let piece: Vec<u8> = (0..1 << 16).map(|i| (i / 5) as u8).collect();
        for _ in 0..BIG >> 16 {
            writer.write_all(&piece)?;
        }
        Ok(())
    });
    written.map_err(Into::into).boxed_unsync()
}

fn broken() -> AnyBody {
    let written = body::stream(|writer| {
        writer.write_all(b"the beginning")?;
        writer.flush()?;
        Err(io::Error::other("and no end"))
    });
    written.map_err(Into::into).boxed_unsync()
}

fn not_found() -> Response<AnyBody> {
    let mut response = Response::new(text(""));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

const A_WHILE: Duration = Duration::from_millis(20);

async fn routes_async(request: Request<Incoming>) -> Result<Response<AnyBody>, BoxError> {
    let body = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => text("word"),
        (&Method::GET, "/slow") => {
            aqueduct::time::Timer::after(A_WHILE).await;
            text("slow word")
        }
        (&Method::GET, "/stuck") => std::future::pending().await,
        (&Method::GET, "/big") => big(),
        (&Method::GET, "/broken") => broken(),
        (&Method::GET, "/panic") => panic!("the service's own"),
        (&Method::GET, "/error") => return Err("the service's error".into()),
        (&Method::POST, "/echo") => request.into_body().map_err(Into::into).boxed_unsync(),
        _ => return Ok(not_found()),
    };
    Ok(Response::new(body))
}

fn routes_go(request: Request<Incoming>) -> Result<Response<AnyBody>, BoxError> {
    let body = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => text("word"),
        (&Method::GET, "/slow") => {
            aqueduct::time::sleep(A_WHILE);
            text("slow word")
        }
        (&Method::GET, "/stuck") => std::future::pending().wait(),
        (&Method::GET, "/big") => big(),
        (&Method::GET, "/broken") => broken(),
        (&Method::GET, "/panic") => panic!("the service's own"),
        (&Method::GET, "/error") => return Err("the service's error".into()),
        (&Method::POST, "/echo") => {
            let mut reader = body::reader(request.into_body());
            let written = body::stream(move |writer| io::copy(&mut reader, writer).map(drop));
            written.map_err(Into::into).boxed_unsync()
        }
        _ => return Ok(not_found()),
    };
    Ok(Response::new(body))
}

/// The errors that a server tells of.
#[derive(Clone, Default)]
pub(crate) struct Errors(Arc<Mutex<Vec<String>>>);

impl Errors {
    /// A builder that keeps them here.
    pub(crate) fn builder() -> (Builder, Self) {
        let errors = Self::default();
        let sink = errors.clone();
        // The sources too: hyper's own text names only its part of the story.
        let builder = Builder::new().on_error(move |_peer, error| lock(&sink.0).push(chain(&**error)));
        (builder, errors)
    }

    pub(crate) fn all(&self) -> Vec<String> {
        lock(&self.0).clone()
    }

    /// Waits for the `n`th error.
    pub(crate) fn until(&self, n: usize) -> Vec<String> {
        until(|| self.all().len() >= n);
        self.all()
    }
}

/// An error and its sources, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// Stops a server that has nothing to do any more; fails when something was left.
#[track_caller]
pub(crate) fn stop(server: Server) {
    let summary = server.shutdown(Instant::now() + Duration::from_secs(20));
    assert_eq!((summary.cancelled, summary.unfinished, summary.stats.open), (0, 0, 0));
    server.join().unwrap();
}

/// Runs all of a test in a process of its own, twice, and sees that as many descriptors are open after the second time as before.
/// The first may open some for good: epoll's, the background runtime's.
#[track_caller]
pub(crate) fn leaks_no_descriptor(test: &'static str, mut body: impl FnMut()) {
    child::alone(test, || {
        body();
        let before = proc::descriptors();
        body();
        // A peer's end is closed by its own task, in its own time.
        until(|| proc::descriptors() <= before);
    });
}
