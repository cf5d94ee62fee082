//! The HTTP servers.

use std::io;
use std::net::{SocketAddr, TcpListener};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};

/// Serves until it is killed.
pub(crate) fn main(runtime: &str, workers: usize) -> io::Result<()> {
    match runtime {
        "tokio-ct" => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(in_tokio())
        }
        "tokio-mt" => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(workers).enable_all().build()?;
            runtime.block_on(async { tokio::spawn(in_tokio()).await })?
        }
        "may" => in_may(workers),
        other => Err(io::Error::other(format!("no HTTP server is called {other}"))),
    }
}

async fn in_tokio() -> io::Result<()> {
    async fn hello(_: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut http1 = http1::Builder::new();
            http1.timer(TokioTimer::new());
            // Clients that leave are no concern here.
            drop(http1.serve_connection(TokioIo::new(stream), service_fn(hello)).await);
        });
    }
}

#[derive(Clone)]
struct Hello;

impl may_minihttp::HttpService for Hello {
    fn call(&mut self, _: may_minihttp::Request, response: &mut may_minihttp::Response) -> io::Result<()> {
        response.body("hello");
        Ok(())
    }
}

fn in_may(workers: usize) -> io::Result<()> {
    may::config().set_workers(workers);
    // It does not tell which port it was given: a free one is found before.
    let address = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()?;
    let server = may_minihttp::HttpServer(Hello).start(address)?;
    println!("listening on {address}");
    server.join().map_err(|_| io::Error::other("the server panicked"))
}
