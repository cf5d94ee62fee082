//! Talks to an echo server: one message to see whether it works, or a load to see how well.
//!
//! ```text
//! cargo run --release --example echo_client -- 127.0.0.1:8080                      # PASS or FAIL
//! cargo run --release --example echo_client -- 127.0.0.1:8080 --connections 10000 --active 100 --duration 5
//! cargo run --release --example echo_client -- 127.0.0.1:8080 --pipeline 16 --json
//! ```
//! Every byte that comes back is compared with what was sent.

#[path = "support/load.rs"]
mod load;

use std::io::{self, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use aqueduct::Runtime;
use aqueduct::net::TcpStream;
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) use load::raise_descriptor_limit;
use load::{Load, Report};

fn main() -> ExitCode {
    main_with(lexopt::Parser::from_env())
}

pub(crate) fn main_with(parser: lexopt::Parser) -> ExitCode {
    match run(parser) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("echo_client: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(parser: lexopt::Parser) -> Result<ExitCode, Box<dyn std::error::Error + Send + Sync>> {
    let options = parse(parser)?;
    let runtime = Runtime::new()?;
    if !options.is_load {
        return Ok(match runtime.run(|| check(options.load.address)) {
            Ok(()) => {
                println!("PASS");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("FAIL: {error}");
                ExitCode::FAILURE
            }
        });
    }
    raise_descriptor_limit();
    let bar = progress_bar(&options);
    let report = runtime.run(|| options.load.run(|percent| bar.set_position(percent)))?;
    bar.finish_and_clear();
    if options.json {
        print_json(&report)
    } else {
        print_summary(&options.load, &report)
    }
    Ok(if report.errors + report.dropped == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One message, there and back.
fn check(address: SocketAddr) -> io::Result<()> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let message = b"what goes around comes around";
    stream.write_all(message)?;
    let mut reply = [0; 29];
    stream.read_exact(&mut reply)?;
    if reply != *message {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is not what was sent"));
    }
    Ok(())
}

struct Options {
    load: Load,
    is_load: bool,
    json: bool,
}

const USAGE: &str = "usage: echo_client HOST:PORT [--connections N] [--active M] [--duration SECONDS] \
                     [--size BYTES] [--pipeline K] [--cycles N] [--json]";

fn parse(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
    use lexopt::Arg::{Long, Value};
    use lexopt::ValueExt;
    let (mut address, mut active, mut is_load, mut json) = (None, None, false, false);
    let mut load = Load::default();
    while let Some(arg) = parser.next()? {
        is_load |= matches!(&arg, Long(flag) if *flag != "help");
        match arg {
            Value(value) if address.is_none() => address = Some(value.string()?),
            Long("connections") => load.connections = parser.value()?.parse()?,
            Long("active") => active = Some(parser.value()?.parse()?),
            Long("duration") => {
                load.duration = Duration::try_from_secs_f64(parser.value()?.parse()?)
                    .map_err(|_| "--duration: 0 or more expected")?
            }
            Long("size") => load.size = parser.value()?.parse()?,
            Long("pipeline") => load.pipeline = parser.value()?.parse()?,
            Long("cycles") => load.cycles = Some(parser.value()?.parse()?),
            Long("json") => json = true,
            Long("help") => return Err(USAGE.into()),
            other => return Err(other.unexpected()),
        }
    }
    let address = address.ok_or(USAGE)?;
    load.address = resolve(&address).map_err(|error| format!("{address}: {error}"))?;
    load.active = active.unwrap_or(load.connections).min(load.connections);
    if load.active == 0 || load.size == 0 || load.pipeline == 0 {
        return Err("at least one connection, byte and message is needed".into());
    }
    Ok(Options { load, is_load, json })
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    use std::net::ToSocketAddrs;
    address.to_socket_addrs()?.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn progress_bar(options: &Options) -> ProgressBar {
    if options.json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {elapsed}");
    ProgressBar::new(100).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print_json(report: &Report) {
    println!(
        "{{\"requests\":{},\"req_per_s\":{:.0},\"p50_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\
         \"errors\":{},\"dropped\":{}}}",
        report.requests,
        report.requests_per_second(),
        report.latency_us(0.5),
        report.latency_us(0.99),
        report.latency_us(0.999),
        report.errors,
        report.dropped,
    );
}

fn print_summary(load: &Load, report: &Report) {
    println!(
        "{} connections, {} active, {} bytes, pipeline {}",
        load.connections, load.active, load.size, load.pipeline
    );
    println!(
        "{} requests in {:.2} s: {:.0} a second",
        report.requests,
        report.elapsed.as_secs_f64(),
        report.requests_per_second()
    );
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|quantile| report.latency_us(quantile));
    println!("latency: p50 {p50:.0} us, p99 {p99:.0} us, p99.9 {p999:.0} us, max {max:.0} us");
    println!("{} errors, {} connections dropped", report.errors, report.dropped);
    for example in &report.examples {
        println!("  for example: {example}");
    }
}
