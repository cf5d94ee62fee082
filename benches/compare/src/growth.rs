//! How time and memory grow with the number of tasks, timers and connections: they should not.

use std::io;

use workloads::Sample;

use crate::plan::{ECHO, Load, Work};
use crate::process;
use crate::report::number;
use crate::results::{Growth, Summary};
use crate::run::{Run, SAMPLE_LIMIT};

const TASKS: &[u64] = &[1_000, 10_000, 100_000, 1_000_000];
const CONNECTIONS: &[u64] = &[10, 100, 1_000, 10_000];

/// A few tasks are over in a moment, and their figures differ more.
fn rounds(count: u64) -> usize {
    if count <= 10_000 { 7 } else { 3 }
}

/// A program's first tasks touch its code for the first time.
const WARM: u64 = 32;

/// What it takes, roughly.
pub(crate) const MINUTES: f64 = 3.0;

/// Where each line comes from.
struct Line {
    what: &'static str,
    workload: &'static str,
    key: &'static str,
}

const LINES: &[Line] = &[
    Line { what: "tasks: CPU ns to spawn, park, release and join one", workload: "alive", key: "cpu_ns" },
    Line { what: "tasks: bytes of a parked one", workload: "alive", key: "bytes_per_task" },
    Line { what: "timers: CPU ns for one, all told", workload: "timers", key: "cpu_ns" },
    Line {
        what: "timers: CPU ns to arm and cancel one beside so many armed",
        workload: "arm-cancel-among",
        key: "cpu_ns",
    },
    Line { what: "connections: server CPU ns for an echo", workload: "echo", key: "cpu_ns" },
    Line { what: "connections: bytes of one", workload: "echo", key: "bytes_per_connection" },
];

pub(crate) fn measure(run: &Run) -> Vec<Growth> {
    let mut growth: Vec<Growth> = Vec::new();
    for workload in ["alive", "timers", "arm-cancel-among", "echo"] {
        let (counts, competitors): (&[u64], &[&str]) = match workload {
            "echo" => (CONNECTIONS, &["aqueduct-go", "aqueduct-async", "aqueduct-serve"]),
            "arm-cancel-among" => (TASKS, &["aqueduct-async"]),
            _ => (TASKS, &["aqueduct-go", "aqueduct-async"]),
        };
        for &competitor in competitors {
            for &count in counts.iter().filter(|&&count| !run.quick || count <= 100_000) {
                run.tell(&format!("growth · {workload} · {competitor} · {count}"));
                point(run, &mut growth, workload, competitor, count);
            }
        }
    }
    run.tell("");
    growth
}

pub(crate) fn print(growth: &[Growth]) {
    for line in growth {
        let points: Vec<_> =
            line.points.iter().map(|(n, value)| format!("{n}: {}", number(*value))).collect();
        println!("{} · {}: {}", line.what, line.competitor, points.join(", "));
    }
}

/// All figures of one workload at one number; those that fail are left out, aloud.
fn point(run: &Run, growth: &mut Vec<Growth>, workload: &str, competitor: &'static str, count: u64) {
    let rounds = if workload == "timers" || workload == "echo" { 3 } else { rounds(count) };
    let samples: Vec<Sample> = (0..rounds)
        .map_while(|_| {
            let sample = sample(run, workload, competitor, count);
            sample.inspect_err(|error| eprintln!("\n{workload}, {competitor}, {count}: {error}")).ok()
        })
        .collect();
    for line in LINES.iter().filter(|line| line.workload == workload) {
        let value = |sample: &Sample| match line.key {
            "cpu_ns" => sample.cpu_ns as f64 / sample.ops as f64,
            key => sample.extra.get(key).copied().unwrap_or(f64::NAN),
        };
        let Some(summary) = Summary::of(samples.iter().map(value)) else { continue };
        let is_it = |known: &&mut Growth| known.what == line.what && known.competitor == competitor;
        match growth.iter_mut().find(is_it) {
            Some(known) => known.points.push((count, summary.median)),
            None => growth.push(Growth {
                what: line.what.to_owned(),
                competitor: competitor.to_owned(),
                points: vec![(count, summary.median)],
            }),
        }
    }
}

fn sample(run: &Run, workload: &str, competitor: &'static str, count: u64) -> io::Result<Sample> {
    if workload == "echo" {
        // The same ten are active whatever their number.
        let load = Load { connections: count, active: 10, duration_ms: 400, ..ECHO };
        return Ok(run.served(Work::Echo(load), competitor, 1)?.0);
    }
    let mut command = run.command(competitor, 1, &[]);
    command.args(["sample", workload, competitor, "--workers", "1", "--ops", &count.to_string()]);
    // To warm the timers up would take a second each time.
    let warm = if workload == "alive" { WARM } else { 0 };
    command.args(["--warm", &warm.to_string()]);
    Ok(serde_json::from_str(process::output(&mut command, SAMPLE_LIMIT)?.0.trim())?)
}
