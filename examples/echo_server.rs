//! An echo server in three styles, to compare: what do you write, and what does a connection cost while it
//! idles?
//!
//! ```text
//! cargo run --release --example echo_server                               # 127.0.0.1:8080, a coroutine each
//! cargo run --release --example echo_server -- --style serve --workers 2  # net::serve, two workers
//! cargo run --release --example echo_server -- --acceptance               # measures all three
//! ```
//! Ctrl-C stops it: no new connections, echoes under way finish, a summary.

#[path = "support/acceptance.rs"]
mod acceptance;
#[path = "echo_client.rs"]
#[allow(dead_code, reason = "a program of its own, of which this one uses a part")]
mod echo_client;
#[path = "../benches/peers/epoll_echo.rs"]
#[allow(dead_code, reason = "a program of its own, of which this one uses a part")]
mod epoll_echo;
#[path = "support/open_streams.rs"]
mod open_streams;
#[path = "support/signals.rs"]
mod signals;

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aqueduct::Runtime;
use aqueduct::net::TcpListener;

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
static MESSAGES: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// One coroutine per connection: plain sequential code. An idle one holds one page of stack, because it waits
/// before it borrows a buffer.
mod go_style {
    use super::*;
    use crate::open_streams::OpenStreams;
    use aqueduct::{Wait, go, net::TcpStream};
    use std::io::{Read, Write};

    pub(crate) fn serve(listener: TcpListener, open: OpenStreams) {
        for stream in listener.incoming().flatten() {
            let stream = open.add(stream);
            drop(go!(echo(&stream)));
        }
    }

    fn echo(mut stream: &TcpStream) -> io::Result<()> {
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        loop {
            stream.readable().wait()?;
            let mut buffer = aqueduct::io::buffer();
            let n = stream.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..n])?;
            count(n);
        }
    }
}

/// One async task per connection: the same lines with `.await` in them.
mod async_style {
    use super::*;
    use crate::open_streams::OpenStreams;
    use aqueduct::{net::TcpStream, spawn};
    use futures::StreamExt;
    use futures::io::{AsyncReadExt, AsyncWriteExt};

    pub(crate) async fn serve(listener: TcpListener, open: OpenStreams) {
        let mut incoming = listener.incoming_async();
        while let Some(stream) = incoming.next().await {
            let Ok(stream) = stream else { continue };
            let stream = open.add(stream);
            drop(spawn(async move { echo(&stream).await }));
        }
    }

    async fn echo(mut stream: &TcpStream) -> io::Result<()> {
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        loop {
            stream.readable().await?;
            let mut buffer = aqueduct::io::buffer();
            let n = stream.read(&mut buffer).await?;
            if n == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..n]).await?;
            count(n);
        }
    }
}

/// `net::serve`: only what happens to one message. The loop, the waiting and the stopping are the library's.
mod serve_style {
    use super::*;
    use aqueduct::net::{self, Conn, Serve};
    use std::io::{Read, Write};

    pub(crate) fn serve(listener: TcpListener) -> Serve {
        net::serve_with(listener, |_| Ok(CONNECTIONS.fetch_add(1, Ordering::Relaxed)), |conn, _| echo(conn))
    }

    fn echo(conn: &mut Conn) -> io::Result<()> {
        let mut buffer = aqueduct::io::buffer();
        let n = conn.read(&mut buffer)?;
        conn.write_all(&buffer[..n])?;
        count(n);
        Ok(())
    }
}

fn count(bytes: usize) {
    if bytes > 0 {
        MESSAGES.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// How long echoes under way may take after a signal.
const PATIENCE: Duration = Duration::from_secs(5);

fn serve_until_signal(options: &Options) -> io::Result<()> {
    let listener = TcpListener::bind(&options.addr).map_err(|error| named(&options.addr, error))?;
    let mut signals = signals::on_stop()?;
    print_line(&format!("listening on {}", listener.local_addr()?))?;
    let start = Instant::now();

    match options.style {
        Style::Serve => {
            let server = serve_style::serve(listener);
            signals.wait()?;
            server.shutdown(Instant::now() + PATIENCE);
        }
        style => {
            let (closer, open) = (listener.try_clone()?, OpenStreams::new());
            let accepting = match style {
                Style::Go => aqueduct::go({
                    let open = open.clone();
                    move || go_style::serve(listener, open)
                }),
                _ => aqueduct::spawn(async_style::serve(listener, open.clone())),
            };
            signals.wait()?;
            closer.close();
            accepting.join().map_err(io::Error::other)?;
            open.finish(Instant::now() + PATIENCE);
        }
    }
    print_line(&format!(
        "stopped after {:.1} s: {} connections, {} messages, {} bytes",
        start.elapsed().as_secs_f64(),
        CONNECTIONS.load(Ordering::Relaxed),
        MESSAGES.load(Ordering::Relaxed),
        BYTES.load(Ordering::Relaxed),
    ))
}

use open_streams::OpenStreams;

struct Options {
    addr: String,
    style: Style,
    workers: Option<usize>,
}

#[derive(Clone, Copy)]
enum Style {
    Go,
    Async,
    Serve,
}

const USAGE: &str =
    "usage: echo_server [--addr HOST:PORT] [--style go|async|serve] [--workers N] [--acceptance]";

fn parse(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
    use lexopt::{Arg::Long, ValueExt};
    let mut options = Options { addr: "127.0.0.1:8080".to_owned(), style: Style::Go, workers: None };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("addr") => options.addr = parser.value()?.string()?,
            Long("workers") => options.workers = Some(parser.value()?.parse()?),
            Long("style") => {
                options.style = match parser.value()?.string()?.as_str() {
                    "go" => Style::Go,
                    "async" => Style::Async,
                    "serve" => Style::Serve,
                    other => return Err(format!("--style {other}: go, async or serve expected").into()),
                }
            }
            Long("help") => return Err(USAGE.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let options = parse(lexopt::Parser::from_env())?;
    echo_client::raise_descriptor_limit();
    let mut builder = Runtime::builder();
    if let Some(workers) = options.workers {
        builder = builder.workers(workers);
    }
    let runtime = builder.build()?;
    runtime.run(|| serve_until_signal(&options))?;
    Ok(())
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    match args.peek().and_then(|first| first.to_str()) {
        Some("--acceptance") => return acceptance::main(),
        // The load generator and the limit to compare with live in this program too: the acceptance run needs
        // no other.
        Some("--client") => return echo_client::main_with(lexopt::Parser::from_args(args.skip(1))),
        Some("--bare-epoll") => return epoll_echo::main(),
        _ => {}
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_server: {error}");
            ExitCode::from(2)
        }
    }
}

fn named(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn print_line(line: &str) -> io::Result<()> {
    use io::Write;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
