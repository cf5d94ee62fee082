//! One sample: one workload, once, in this process.

use crate::measure::{self, Sample};

/// What to run.
#[derive(Clone, Debug)]
pub struct Job {
    pub workload: String,
    /// The competitor: its runtime, and the channel it uses if that is not its own.
    pub runtime: String,
    pub channel: String,
    pub workers: usize,
    pub ops: u64,
    /// Operations before it counts.
    pub warm: u64,
}

const USAGE: &str =
    "usage: sample WORKLOAD RUNTIME[/CHANNEL] --ops N [--warm N] [--workers N] [--allocations]";

/// Runs what the arguments say, if this program can, and prints the sample.
pub fn main(
    mut parser: lexopt::Parser,
    run: impl Fn(&Job) -> Option<Sample>,
) -> Result<(), Box<dyn std::error::Error>> {
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

/// The main function of a program that takes samples.
pub fn program(run: impl Fn(&Job) -> Option<Sample>) -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    let result = match args.peek().and_then(|first| first.to_str()) {
        Some("sample") => main(lexopt::Parser::from_args(args.skip(1)), run),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::from(2)
        }
    }
}
