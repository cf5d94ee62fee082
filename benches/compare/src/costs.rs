//! What an operation costs beside time: allocations, instructions and where they go, system calls.

use std::fs;
use std::io;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use workloads::Sample;

use crate::callgrind::Counted;
use crate::plan::{ECHO, Standing, Work, Workload};
use crate::process::{self, Server};
use crate::report::{number, verdicts};
use crate::results::{Cost, Results};
use crate::run::{Run, SAMPLE_LIMIT};
use crate::{bars, machine, perf};

/// What it takes, roughly.
pub(crate) const MINUTES: f64 = 5.0;

/// How many operations of a workload are counted: what the longer run has on top of the shorter one, and so without the start.
const COUNTED: &[(&str, u64, u64)] = &[
    ("yield-1", 20_000, 40_000),
    ("yield-1000", 50_000, 100_000),
    ("spawn-join", 10_000, 20_000),
    ("alive", 5_000, 10_000),
    ("ping-pong", 10_000, 20_000),
    ("spsc", 50_000, 100_000),
    ("mpmc", 50_000, 100_000),
    ("select", 10_000, 20_000),
    ("select-buffered", 20_000, 40_000),
    ("select-timer", 10_000, 20_000),
    ("skynet", 1_000, 10_000),
    ("sieve", 100, 200),
    ("chained-spawn", 10_000, 20_000),
    ("spawn-many", 20_000, 40_000),
    ("yield-many", 200_000, 400_000),
    ("ping-pong-oneshot", 5_000, 10_000),
    ("timers", 2_000, 4_000),
    ("timeout-ready", 20_000, 40_000),
    ("arm-cancel", 20_000, 40_000),
    ("mutex", 50_000, 100_000),
];

/// What is counted and not compared: steady operations of ours that must not allocate.
const STEADY: &[(&str, &[&str], u64)] = &[
    ("sleep", &["aqueduct-go", "aqueduct-async"], 3_000),
    ("read-write", &["aqueduct-go", "aqueduct-async", "aqueduct-serve"], 20_000),
];

/// Whose costs are counted beside ours where no row tells who the best peer is.
const PEERS: &[&str] = &["tokio-ct", "tokio-ct/kanal", "tokio-ct/flume"];

const SERVERS: &[&str] =
    &["aqueduct-go", "aqueduct-async", "aqueduct-serve", "tokio-ct", "smol-ex", "may", "epoll"];

/// Of so many functions we say what they take.
const FUNCTIONS: usize = 8;

/// Callgrind runs a program some fifty times slower.
const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// One program to count.
struct Job {
    workload: &'static str,
    competitor: String,
    few: u64,
    many: u64,
    /// By what the instructions, or where the time goes, are counted.
    tool: Tool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    None,
    Callgrind,
    /// Go does not run under callgrind. With so many operations.
    Perf(u64),
}

/// Of those of the workloads that can be counted: ours, and the best peers by the rows.
pub(crate) fn measure(run: &Run, workloads: &[Workload], results: &Results) -> Vec<Cost> {
    let has = |tool: &str| !machine::said(Command::new(tool).arg("--version")).is_empty();
    let (has_callgrind, has_strace, has_perf) = (has("valgrind"), has("strace"), has("perf"));
    for (tool, there) in [("valgrind", has_callgrind), ("strace", has_strace), ("perf", has_perf)] {
        if !there {
            println!("{tool} is not there: what it counts is left out");
        }
    }
    let mut costs = side_by_side(run, &jobs(workloads, results, has_callgrind, has_perf));
    costs.extend(servers(run, workloads, results, has_strace, has_perf));
    run.tell("");
    costs
}

/// Of those that are behind a peer, or above the limit, and of the best peers: where their time goes. Of the simplest echo: system calls.
fn servers(
    run: &Run,
    workloads: &[Workload],
    results: &Results,
    has_strace: bool,
    has_perf: bool,
) -> Vec<Cost> {
    let mut costs = Vec::new();
    for workload in workloads {
        if !workload.is_server() {
            continue;
        }
        // While connections are idle there is no load to look at.
        let is_loaded = !matches!(workload.work, Work::Echo(load) if load.cycles == 0 && load.active == 0);
        let wanted = wanted(workload, results);
        for competitor in workload.competitors.iter().filter(|competitor| competitor.runs_on(1)) {
            let name = competitor.name;
            let counts_calls = has_strace && workload.name == "echo-100" && SERVERS.contains(&name);
            let is_profiled = has_perf && is_loaded && run.can(workload) && wanted.contains(&name);
            if !counts_calls && !is_profiled {
                continue;
            }
            run.tell(&format!("costs · {} · {name}", workload.name));
            let system_calls =
                counts_calls.then(|| told("system calls", name, system_calls(run, name))).flatten();
            let profile = is_profiled.then(|| perf::of_server(run, workload.work, name, FUNCTIONS));
            let (cpu_ns, functions) = profile.and_then(|result| told("profile", name, result)).unzip();
            costs.push(Cost {
                workload: workload.name.to_owned(),
                competitor: name.to_owned(),
                allocations: None,
                instructions: None,
                system_calls,
                cpu_ns,
                functions: functions.unwrap_or_default(),
                commit: None,
            });
        }
    }
    costs
}

/// Ours where a bar is not met, the peers that are ahead, and the limit.
fn wanted<'a>(workload: &Workload, results: &'a Results) -> Vec<&'a str> {
    let mut wanted: Vec<&str> = Vec::new();
    for verdict in verdicts(results).iter().filter(|v| v.row.workload == workload.name && !v.is_met()) {
        wanted.extend([verdict.ours.competitor.as_str(), verdict.peer.competitor.as_str()]);
    }
    for (ours, _) in bars::over_limit(results).into_iter().filter(|(_, name)| *name == workload.name) {
        wanted.push(ours);
    }
    if !wanted.is_empty() {
        wanted.push("epoll");
    }
    wanted
}

fn jobs(workloads: &[Workload], results: &Results, has_callgrind: bool, has_perf: bool) -> Vec<Job> {
    let verdicts = verdicts(results);
    let mut jobs = Vec::new();
    for &(name, few, many) in COUNTED {
        let Some(workload) = workloads.iter().find(|workload| workload.name == name) else { continue };
        let best: Vec<_> = verdicts
            .iter()
            .filter(|verdict| verdict.row.workload == name)
            .map(|verdict| verdict.peer.competitor.as_str())
            .collect();
        for competitor in &workload.competitors {
            let is_peer = if best.is_empty() {
                PEERS.contains(&competitor.name)
            } else {
                best.contains(&competitor.name)
            };
            // Threads are no tasks of one worker.
            if (competitor.standing == Standing::Ours || is_peer) && competitor.runs_on(1) {
                let tool = match (competitor.name.starts_with("go"), workload.work) {
                    (true, Work::Operations(ops)) if has_perf => Tool::Perf(ops.quick),
                    (false, _) if has_callgrind => Tool::Callgrind,
                    _ => Tool::None,
                };
                jobs.push(Job { workload: name, competitor: competitor.name.to_owned(), few, many, tool });
            }
        }
        if name == "arm-cancel" {
            let steady =
                STEADY.iter().flat_map(|(name, who, ops)| who.iter().map(move |who| (*name, *who, *ops)));
            jobs.extend(steady.map(|(workload, competitor, few)| Job {
                workload,
                competitor: competitor.to_owned(),
                few,
                many: 2 * few,
                tool: Tool::None,
            }));
        }
    }
    jobs
}

/// Nothing is timed here: as many at once as there are CPUs. In the order of the jobs.
fn side_by_side(run: &Run, jobs: &[Job]) -> Vec<Cost> {
    let (next, costs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for lane in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (next, costs) = (&next, &costs);
            scope.spawn(move || {
                while let Some((index, job)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, jobs.get(i)?)))
                {
                    run.tell(&format!("costs · {} · {}", job.workload, job.competitor));
                    let cost = cost(run, job, lane);
                    costs.lock().unwrap().push((index, cost));
                }
            });
        }
    });
    let mut costs = costs.into_inner().unwrap();
    costs.sort_by_key(|(index, _)| *index);
    costs.into_iter().map(|(_, cost)| cost).collect()
}

fn cost(run: &Run, job: &Job, lane: usize) -> Cost {
    let what = |what: &str| format!("{what} of {}", job.workload);
    // Go does not count.
    let counts = !job.competitor.starts_with("go");
    let allocations =
        counts.then(|| told(&what("allocations"), &job.competitor, allocations(run, job))).flatten();
    let competitor = job.competitor.as_str();
    let counted = match job.tool {
        Tool::Callgrind => told(&what("instructions"), competitor, instructions(run, job, lane)),
        _ => None,
    };
    let profile = match job.tool {
        Tool::Perf(ops) => {
            let profile = perf::of_program(run, [job.workload, competitor], ops, lane, FUNCTIONS);
            told(&what("profile"), competitor, profile)
        }
        _ => None,
    };
    let (cpu_ns, by_time) = profile.unzip();
    let instructions = counted.as_ref().map(|counted| counted.total);
    let functions = counted.map(|counted| counted.top(FUNCTIONS)).or(by_time).unwrap_or_default();
    Cost {
        workload: job.workload.to_owned(),
        competitor: job.competitor.clone(),
        allocations,
        instructions,
        system_calls: None,
        cpu_ns,
        functions,
        commit: None,
    }
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
fn told<T>(what: &str, competitor: &str, result: io::Result<T>) -> Option<T> {
    result.inspect_err(|error| eprintln!("\n{competitor}: {what} not measured: {error}")).ok()
}

fn sample(run: &Run, tool: &[&str], job: &Job, ops: u64, more: &[&str]) -> io::Result<String> {
    let mut command = run.command(&job.competitor, 1, tool);
    command.args(["sample", job.workload, &job.competitor, "--workers", "1", "--ops", &ops.to_string()]);
    Ok(process::output(command.args(more), TOOL_LIMIT)?.0)
}

/// Between the warm-up, which is as long, and the end. At full speed more can be counted, and the tasks of a start weigh less.
fn allocations(run: &Run, job: &Job) -> io::Result<f64> {
    let ops = if job.tool == Tool::None { job.few } else { 10 * job.few };
    let text = sample(run, &[], job, ops, &["--allocations", "--warm", &ops.to_string()])?;
    let sample: Sample = serde_json::from_str(text.trim())?;
    let allocations = sample.allocations.ok_or_else(|| io::Error::other("the program did not count"))?;
    Ok(allocations as f64 / sample.ops as f64)
}

/// Of all threads.
fn instructions(run: &Run, job: &Job, lane: usize) -> io::Result<Counted> {
    let file = machine::target().join(format!("callgrind.{lane}.out"));
    let tool = ["valgrind", "-q", "--tool=callgrind", &format!("--callgrind-out-file={}", file.display())];
    let counted = |ops: u64| -> io::Result<Counted> {
        sample(run, &tool, job, ops, &[])?;
        Counted::parse(&fs::read_to_string(&file)?).ok_or_else(|| io::Error::other("callgrind gave no total"))
    };
    let fewer = counted(job.few)?;
    Ok(counted(job.many)?.beyond(&fewer, (job.many - job.few) as f64))
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
