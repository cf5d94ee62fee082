//! One sample: one workload, once, in this process.

use std::error::Error;
use std::process::ExitCode;

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

const USAGE: &str = "\
usage: sample WORKLOAD RUNTIME[/CHANNEL] --ops N [--warm N] [--workers N] [--allocations]
       serve NAME [--workers N]";

/// Runs what the arguments say, if this program can, and prints the sample.
pub fn main(mut parser: lexopt::Parser, run: impl Fn(&Job) -> Option<Sample>) -> Result<(), Box<dyn Error>> {
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

/// Serves echoes under the name of a competitor until it is killed.
pub type Serve = fn(name: &str, workers: usize) -> Result<(), Box<dyn Error>>;

/// Loads a server.
pub type Load = fn(lexopt::Parser) -> Result<(), Box<dyn Error>>;

/// The main function of a program that takes samples and serves.
pub fn program(run: impl Fn(&Job) -> Option<Sample>, serve: Serve, load: Option<Load>) -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let parser = |args| lexopt::Parser::from_args(args);
    let result = match (args.next().as_deref().and_then(|first| first.to_str()), load) {
        (Some("sample"), _) => main(parser(args), run),
        (Some("serve"), _) => serve_as_told(parser(args), serve),
        (Some("load"), Some(load)) => load(parser(args)),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn serve_as_told(mut parser: lexopt::Parser, serve: Serve) -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::*;
    let (mut name, mut workers) = (None, 1);
    while let Some(arg) = parser.next()? {
        match arg {
            Value(value) => name = Some(value.string()?),
            Long("workers") => workers = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    serve(&name.ok_or(USAGE)?, workers)
}
