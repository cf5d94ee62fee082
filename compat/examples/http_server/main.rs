//! A server of HTTP/1.1 and HTTP/2 with hyper: the same routes once as an async service and once in Go style.
//!
//! Watch for: the two `match`es read alike, but the Go-style one has no `async` and no `.await`; each of its requests is a
//! coroutine. `/wait` takes 10 ms and holds up nothing, in either.
//!
//! ```sh
//! cargo run --release -p aqueduct-compat --example http_server -- --style go
//! curl http://127.0.0.1:8080/wait
//! cargo run --release -p aqueduct-compat --example http_server -- --measure     # needs wrk
//! cargo run --release -p aqueduct-compat --example http_server -- --self-test   # asks each route, and ends
//! ```
//!
//! `--measure` runs `wrk -t1 -c100` against both styles, and against the async service on tokio with hyper-util's adapters, in turns.

mod measure;
mod tokio_style;

use aqueduct::Wait;
use aqueduct::net::TcpListener;
use aqueduct::time::{Timer, sleep};
use aqueduct_compat::hyper::{BoxError, Server, body, client, serve, serve_go};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use std::io::Read;
use std::time::{Duration, Instant};

type Body = UnsyncBoxBody<Bytes, BoxError>;

const A_WHILE: Duration = Duration::from_millis(10);

/// The routes, async.
async fn route_async(request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Ok(text("hello")),
        (&Method::GET, "/wait") => {
            Timer::after(A_WHILE).await;
            Ok(text("waited"))
        }
        (&Method::POST, "/upper") => {
            let body = request.into_body().collect().await?.to_bytes();
            Ok(text(String::from_utf8_lossy(&body).to_uppercase()))
        }
        _ => Ok(not_found()),
    }
}

/// The same routes, in Go style.
fn route_go(request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Ok(text("hello")),
        (&Method::GET, "/wait") => {
            sleep(A_WHILE);
            Ok(text("waited"))
        }
        (&Method::POST, "/upper") => {
            let mut body = String::new();
            body::reader(request.into_body()).read_to_string(&mut body)?;
            Ok(text(body.to_uppercase()))
        }
        _ => Ok(not_found()),
    }
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed_unsync())
}

fn not_found() -> Response<Body> {
    let mut response = text("no such page\n");
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Async,
    Go,
    Tokio,
}

fn start(style: Style, listener: TcpListener) -> Server {
    match style {
        Style::Async => serve(listener, service_fn(route_async)),
        Style::Go => serve_go(listener, route_go),
        Style::Tokio => unreachable!("tokio's server is started by itself"),
    }
}

fn main() -> Result<(), BoxError> {
    let Options { address, style, mode } = Options::from_args()?;
    match mode {
        Mode::SelfTest => self_test(),
        Mode::Measure => measure::run(),
        Mode::Serve if style == Style::Tokio => tokio_style::run(address),
        Mode::Serve => aqueduct::run(|| {
            let server = start(style, TcpListener::bind(address)?);
            println!("listening on {} in style {style:?}", server.local_addr()?);
            server.join()?;
            Ok(())
        }),
    }
}

/// Starts a server in each style, asks each route, and stops it.
fn self_test() -> Result<(), BoxError> {
    for style in [Style::Async, Style::Go] {
        let server = start(style, TcpListener::bind("127.0.0.1:0")?);
        let origin = format!("http://{}", server.local_addr()?);
        let client = client::<Full<Bytes>>();
        let ask = |method: Method, path: &str, body: &'static str| {
            let request = Request::builder().method(method).uri(format!("{origin}{path}"));
            let response = client.request(request.body(Full::from(body))?).wait()?;
            let status = response.status();
            let text = response.into_body().collect().wait()?.to_bytes();
            println!("{style:?} {path}: {status} {text:?}");
            Ok::<_, BoxError>((status, text))
        };
        assert_eq!(ask(Method::GET, "/", "")?, (StatusCode::OK, "hello".into()));
        assert_eq!(ask(Method::GET, "/wait", "")?, (StatusCode::OK, "waited".into()));
        assert_eq!(ask(Method::POST, "/upper", "loud")?, (StatusCode::OK, "LOUD".into()));
        assert_eq!(ask(Method::GET, "/nowhere", "")?.0, StatusCode::NOT_FOUND);
        let summary = server.shutdown(Instant::now() + Duration::from_secs(10));
        assert_eq!((summary.cancelled, summary.stats.open), (0, 0));
    }
    println!("self-test passed");
    Ok(())
}

struct Options {
    address: String,
    style: Style,
    mode: Mode,
}

enum Mode {
    Serve,
    SelfTest,
    Measure,
}

impl Options {
    fn from_args() -> Result<Self, BoxError> {
        use lexopt::prelude::*;
        let mut options = Self { address: "127.0.0.1:8080".into(), style: Style::Async, mode: Mode::Serve };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("addr") => options.address = parser.value()?.string()?,
                Long("style") => {
                    options.style = match parser.value()?.string()?.as_str() {
                        "async" => Style::Async,
                        "go" => Style::Go,
                        "tokio" => Style::Tokio,
                        other => return Err(format!("--style async, go or tokio, not {other}").into()),
                    }
                }
                Long("self-test") => options.mode = Mode::SelfTest,
                Long("measure") => options.mode = Mode::Measure,
                _ => return Err(arg.unexpected().into()),
            }
        }
        Ok(options)
    }
}
