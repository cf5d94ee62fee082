//! One sample: one workload, once, in this process.

use crate::measure::{self, Sample};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) workload: String,
    /// The competitor: its runtime, and the channel it uses if that is not its own.
    pub(crate) runtime: String,
    pub(crate) channel: String,
    pub(crate) workers: usize,
    pub(crate) ops: u64,
    /// Operations before it counts.
    pub(crate) warm: u64,
}

const USAGE: &str =
    "usage: sample WORKLOAD RUNTIME[/CHANNEL] --ops N [--warm N] [--workers N] [--allocations]";

/// Runs what the arguments say and prints the sample.
pub(crate) fn main(mut parser: lexopt::Parser) -> Result<(), Box<dyn std::error::Error>> {
    use lexopt::prelude::*;
    let (mut workers, mut ops, mut warm, mut words) = (1, 0, 0, Vec::new());
    while let Some(arg) = parser.next()? {
        match arg {
            Value(word) => words.push(word.string()?),
            Long("workers") => workers = parser.value()?.parse()?,
            Long("ops") => ops = parser.value()?.parse()?,
            Long("warm") => warm = parser.value()?.parse()?,
            Long("allocations") => measure::count_allocations(),
            other => return Err(other.unexpected().into()),
        }
    }
    let [workload, competitor] = <[String; 2]>::try_from(words).map_err(|_| USAGE)?;
    let (runtime, channel) = competitor.split_once('/').unwrap_or((&competitor, ""));
    let job = Job { workload, runtime: runtime.into(), channel: channel.into(), workers, ops, warm };
    let sample = run(&job).ok_or_else(|| format!("{competitor} does not run {}", job.workload))?;
    println!("{}", serde_json::to_string(&sample)?);
    // What the runtime still holds is its own affair: the figures are taken.
    std::process::exit(0)
}

fn run(job: &Job) -> Option<Sample> {
    crate::asynchronous::run(job).or_else(|| crate::blocking::run(job))
}
