//! What an operation costs beside time: allocations, instructions, system calls.

use std::fs;
use std::io;
use std::process::Command;
use std::time::Duration;

use workloads::Sample;

use crate::driver::{Run, SAMPLE_LIMIT};
use crate::machine;
use crate::plan::{ECHO, Workload};
use crate::process::{self, Server};
use crate::report::number;
use crate::results::Cost;

/// The workloads whose operations are all alike, and how many of them are counted.
const COUNTED: &[(&str, u64)] = &[
    ("yield-1", 20_000),
    ("yield-1000", 50_000),
    ("spawn-join", 10_000),
    ("chained-spawn", 10_000),
    ("spawn-many", 20_000),
    ("ping-pong", 10_000),
    ("ping-pong-oneshot", 5_000),
    ("spsc", 50_000),
    ("mpmc", 50_000),
    ("select", 10_000),
    ("select-buffered", 20_000),
    ("select-timer", 10_000),
    ("timeout-ready", 20_000),
    ("arm-cancel", 20_000),
    ("mutex", 50_000),
];

const COMPETITORS: &[&str] =
    &["aqueduct-go", "aqueduct-async", "tokio-ct", "tokio-ct/kanal", "tokio-ct/flume"];

const SERVERS: &[&str] =
    &["aqueduct-go", "aqueduct-async", "aqueduct-serve", "tokio-ct", "smol-ex", "may", "epoll"];

/// Callgrind runs a program some fifty times slower.
const TOOL_LIMIT: Duration = Duration::from_secs(300);

/// Of those of the workloads that can be counted.
pub(crate) fn measure(run: &Run, workloads: &[Workload]) -> Vec<Cost> {
    let has = |tool: &str| !machine::said(Command::new(tool).arg("--version")).is_empty();
    let (has_callgrind, has_strace) = (has("valgrind"), has("strace"));
    for (tool, there) in [("valgrind", has_callgrind), ("strace", has_strace)] {
        if !there {
            println!("{tool} is not there: what it counts is left out");
        }
    }
    let mut costs = Vec::new();
    for &(name, ops) in COUNTED {
        let taking_part = workloads.iter().filter(|workload| workload.name == name);
        for competitor in taking_part.flat_map(|workload| &workload.competitors) {
            if !COMPETITORS.contains(&competitor.name) {
                continue;
            }
            run.tell(&format!("costs · {name} · {}", competitor.name));
            costs.push(Cost {
                workload: name.to_owned(),
                competitor: competitor.name.to_owned(),
                allocations: told(allocations(run, name, competitor.name, ops)),
                instructions: if has_callgrind {
                    told(instructions(run, name, competitor.name, ops))
                } else {
                    None
                },
                system_calls: None,
            });
        }
    }
    let has_echo = workloads.iter().any(|workload| workload.name == "echo-100");
    for &name in SERVERS.iter().filter(|_| has_strace && has_echo) {
        run.tell(&format!("costs · echo · {name}"));
        costs.push(Cost {
            workload: "echo-100".to_owned(),
            competitor: name.to_owned(),
            allocations: None,
            instructions: None,
            system_calls: told(system_calls(run, name)),
        });
    }
    run.tell("");
    costs
}

pub(crate) fn print(costs: &[Cost]) {
    let cell = |value: Option<f64>| value.map_or("-".to_owned(), number);
    for cost in costs {
        println!(
            "{:<20} {:<18} {:>8} allocations {:>9} instructions {:>8} system calls",
            cost.workload,
            cost.competitor,
            cell(cost.allocations),
            cell(cost.instructions),
            cell(cost.system_calls)
        );
    }
}

/// A cost that could not be measured is left out, aloud.
fn told(result: io::Result<f64>) -> Option<f64> {
    result.inspect_err(|error| eprintln!("\nnot measured: {error}")).ok()
}

fn sample(
    run: &Run,
    tool: &[&str],
    workload: &str,
    competitor: &str,
    ops: u64,
    more: &[&str],
) -> io::Result<String> {
    let mut command = run.command(competitor, 1, tool);
    command.args(["sample", workload, competitor, "--workers", "1", "--ops", &ops.to_string()]).args(more);
    Ok(process::output(&mut command, TOOL_LIMIT)?.0)
}

/// Between the warm-up, which is as long, and the end.
fn allocations(run: &Run, workload: &str, competitor: &str, ops: u64) -> io::Result<f64> {
    let warm = ops.to_string();
    let text = sample(run, &[], workload, competitor, ops, &["--allocations", "--warm", &warm])?;
    let sample: Sample = serde_json::from_str(text.trim()).map_err(io::Error::other)?;
    let allocations = sample.allocations.ok_or_else(|| io::Error::other("the program did not count"))?;
    Ok(allocations as f64 / sample.ops as f64)
}

/// Of all threads, start-up taken off by the difference of two lengths.
fn instructions(run: &Run, workload: &str, competitor: &str, ops: u64) -> io::Result<f64> {
    let file = machine::target().join("callgrind.out");
    let tool = ["valgrind", "--tool=callgrind", &format!("--callgrind-out-file={}", file.display())];
    let counted = |ops: u64| -> io::Result<f64> {
        sample(run, &tool, workload, competitor, ops, &[])?;
        let text = fs::read_to_string(&file)?;
        let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
        total
            .and_then(|total| total.trim().parse().ok())
            .ok_or_else(|| io::Error::other("callgrind gave no total"))
    };
    Ok((counted(2 * ops)? - counted(ops)?) / ops as f64)
}

/// Of an echo: the calls of the server while it is loaded, those at its start and for each new connection among them, by the
/// requests it answers.
fn system_calls(run: &Run, server: &str) -> io::Result<f64> {
    let file = machine::target().join("strace.out");
    let tool = ["strace", "-f", "-c", "-o", &file.display().to_string()];
    let mut command = run.command(server, 1, &tool);
    command.args(["serve", server, "--workers", "1"]);
    let tracer = Server::start(&mut command)?;
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", tracer.pid()))?;
    let traced: i32 = children
        .split_whitespace()
        .next()
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| io::Error::other("strace traces nothing"))?;
    let mut client = Command::new(run.programs.join("compare-aqueduct"));
    client.args(["load", &tracer.address, "--server-pid", &traced.to_string()]);
    client.args(["--connections", &ECHO.connections.to_string(), "--active", &ECHO.active.to_string()]);
    client.args(["--duration-ms", "2000"]);
    let loaded = process::output(&mut client, SAMPLE_LIMIT);
    // SAFETY: a signal to a process that we have started by way of strace, which still waits for it.
    unsafe { libc::kill(traced, libc::SIGKILL) };
    tracer.wait()?;
    let sample: Sample = serde_json::from_str(loaded?.0.trim()).map_err(io::Error::other)?;
    // "100.00    0.012345           0     12345        12 total"
    let text = fs::read_to_string(&file)?;
    let total = text.lines().find(|line| line.trim_end().ends_with(" total"));
    let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse::<f64>().ok());
    Ok(calls.ok_or_else(|| io::Error::other("strace gave no total"))? / sample.ops as f64)
}
