//! The load on an echo server: the generator of the examples, with what the server's process spends on it.

#[path = "../../../../examples/support/load.rs"]
mod generator;

use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use generator::Load;
use workloads::Sample;
use workloads::measure::{process_cpu, process_cpu_ns_of};

const USAGE: &str = "usage: load ADDR --server-pid PID [--connections N] [--active M] [--duration-ms MS] [--size BYTES] \
                     [--pipeline K] [--cycles N]";

/// Loads a server as the arguments say, and prints the sample.
pub(crate) fn main(mut parser: lexopt::Parser) -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::*;
    let (mut load, mut server_pid) = (Load { reset: true, ..Load::default() }, 0_u32);
    while let Some(arg) = parser.next()? {
        match arg {
            Value(address) => load.address = address.parse()?,
            Long("server-pid") => server_pid = parser.value()?.parse()?,
            Long("connections") => load.connections = parser.value()?.parse()?,
            Long("active") => load.active = parser.value()?.parse()?,
            Long("duration-ms") => load.duration = Duration::from_millis(parser.value()?.parse()?),
            Long("size") => load.size = parser.value()?.parse()?,
            Long("pipeline") => load.pipeline = parser.value()?.parse()?,
            // Closing for good is what this one measures.
            Long("cycles") => (load.cycles, load.reset) = (Some(parser.value()?.parse()?), false),
            Long("help") => return Err(USAGE.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    generator::raise_descriptor_limit();
    let runtime = aqueduct::Runtime::builder().workers(1).build()?;
    println!("{}", serde_json::to_string(&runtime.run(|| sample(&load, server_pid))?)?);
    std::process::exit(0)
}

/// What is read when the load begins and when it has ended.
#[derive(Clone, Copy, Default)]
struct Reading {
    server_cpu_ns: u64,
    client_cpu: Duration,
    server_rss: f64,
}

fn sample(load: &Load, server_pid: u32) -> Result<Sample, String> {
    // Before the first connection: one more would count as idle.
    let empty_rss = rss(server_pid);
    let readings = Mutex::new(Cell::new([Reading::default(); 2]));
    let read = |index: usize| {
        let now = Reading {
            server_cpu_ns: process_cpu_ns_of(server_pid),
            client_cpu: process_cpu(),
            server_rss: if index == 1 { rss(server_pid) } else { 0.0 },
        };
        readings.lock().unwrap().get_mut()[index] = now;
    };
    let report = load
        .run(|percent| match percent {
            0 => read(0),
            101.. => read(1),
            _ => {}
        })
        .map_err(|error| error.to_string())?;
    if report.errors + report.dropped > 0 {
        return Err(format!(
            "{} wrong replies, {} connections dropped: {}",
            report.errors,
            report.dropped,
            report.examples.join("; ")
        ));
    }
    let [begin, end] = readings.into_inner().unwrap().get();
    let wall = report.elapsed;
    let client_cpu = (end.client_cpu - begin.client_cpu).as_secs_f64() / wall.as_secs_f64();
    let extra = [
        ("requests_per_s", report.requests_per_second()),
        ("p50_us", report.latency_us(0.5)),
        ("p99_us", report.latency_us(0.99)),
        ("client_cpu", client_cpu),
        ("bytes_per_connection", (end.server_rss - empty_rss) / load.connections as f64),
    ];
    Ok(Sample {
        ops: report.requests.max(1),
        wall_ns: wall.as_nanos() as u64,
        cpu_ns: end.server_cpu_ns - begin.server_cpu_ns,
        allocations: None,
        extra: extra.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    })
}

/// Resident memory of a process, counted exactly.
fn rss(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) * 1024.0
}
