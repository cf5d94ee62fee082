//! Runs the comparison: one process for each sample, the competitors in turn, round after round.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::plan::{Competitor, Workload};
use crate::process::{MachineCpu, Server, Usage};
use crate::results::{Entry, Figures, MetricShown, Results, Row, Settings};

use workloads::measure::{Sample, process_cpu};

use crate::{chart, costs, growth, machine, plan, process, report};

/// What a sample may take.
pub(crate) const SAMPLE_LIMIT: Duration = Duration::from_secs(120);

/// During a sample others may keep so many CPUs busy; beyond that it is taken again.
const FOREIGN_CPU_MAX: f64 = 0.25;

/// How often a sample is taken again, and how long we wait for the others to be done, before we give up.
const RETRIES: usize = 20;
const RETRY_PAUSE: Duration = Duration::from_secs(3);

/// A workload that is wanted and not here yet.
const HTTP_LEFT_OUT: &str = "HTTP hello through hyper: it needs the adapters of `aqueduct-compat`";

const USAGE: &str = "\
usage: cargo run --release --manifest-path benches/compare/Cargo.toml -- [OPTIONS]

  --quick            fewer operations and rounds
  --only PATTERN     a workload of that name, or else all whose names contain it; may be given several times.
                     WORKLOAD:COMPETITOR narrows it to competitors whose names contain that
  --workers LIST     1, 2 or 1,2 (default)
  --rounds N         samples of each (default 5; quick 3)
  --allow-noise      take samples while others use the machine
  --by-cpu           rank by the process's CPU time instead of wall time: for a noisy machine and one worker
  --costs            allocations, instructions and system calls of an operation; --growth: figures over the number
                     of tasks, timers and connections. Both are part of a run without --only; --costs --only X: of these
  --render FILE      no run: write the page, the charts and results.json from the figures in FILE; several, of runs in
                     parts, are put together
  --list             names of workloads and competitors, and no run
  --json FILE        where the figures go (default: nowhere with --only, else benches/results.json)

The Go programs take part if there is a Go toolchain: `go` on the PATH, or $GO.";

struct Options {
    quick: bool,
    only: Vec<String>,
    workers: Vec<usize>,
    rounds: Option<usize>,
    allow_noise: bool,
    by_cpu: bool,
    list: bool,
    costs: bool,
    growth: bool,
    render: Vec<PathBuf>,
    json: Option<PathBuf>,
}

fn parse(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        quick: false,
        only: Vec::new(),
        workers: vec![1, 2],
        rounds: None,
        allow_noise: false,
        by_cpu: false,
        list: false,
        costs: false,
        growth: false,
        render: Vec::new(),
        json: None,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("quick") => options.quick = true,
            Long("only") => options.only.push(parser.value()?.string()?),
            Long("workers") => {
                let list = parser.value()?.string()?;
                options.workers = list
                    .split(',')
                    .map(|n| n.parse().ok().filter(|n| (1..=64).contains(n)))
                    .collect::<Option<_>>()
                    .ok_or_else(|| format!("--workers {list}: a list like 1,2 expected"))?;
            }
            Long("rounds") => options.rounds = Some(parser.value()?.parse()?),
            Long("allow-noise") => options.allow_noise = true,
            Long("by-cpu") => options.by_cpu = true,
            Long("list") => options.list = true,
            Long("costs") => options.costs = true,
            Long("growth") => options.growth = true,
            Long("render") => options.render.push(parser.value()?.into()),
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("help") => return Err(USAGE.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

/// Runs the comparison that the arguments ask for.
pub(crate) fn main(parser: lexopt::Parser) -> Result<(), Box<dyn std::error::Error>> {
    let options = parse(parser)?;
    let all = plan::workloads();
    let names: Vec<_> = all.iter().map(|workload| workload.name).collect();
    let workloads: Vec<_> = all.into_iter().filter_map(|workload| options.chosen(workload, &names)).collect();
    if workloads.is_empty() {
        return Err("no workload is called that: see --list".into());
    }
    if options.list {
        for workload in &workloads {
            let names: Vec<_> = workload.competitors.iter().map(|c| c.name).collect();
            println!("{}: {}\n    {}", workload.name, workload.title, names.join(" "));
        }
        return Ok(());
    }
    if let Some(results) = put_together(&options.render)? {
        std::fs::write(machine::benches().join("results.json"), serde_json::to_string(&results)? + "\n")?;
        return Ok(render(&results)?);
    }
    let run = Run::prepare(&options)?;
    let everything = options.only.is_empty() && !options.costs && !options.growth;
    let mut results = Results {
        machine: machine::Machine::describe(),
        settings: run.settings(),
        rows: Vec::new(),
        costs: Vec::new(),
        growth: Vec::new(),
    };
    if everything || (!options.costs && !options.growth) {
        for workload in &workloads {
            for &workers in &options.workers {
                let row = run.row(workload, workers);
                print_row(&row);
                results.rows.push(row);
            }
        }
    }
    if everything || options.costs {
        results.costs = costs::measure(&run, &workloads);
    }
    if everything || options.growth {
        results.growth = growth::measure(&run);
    }
    if everything {
        render(&results)?;
    } else {
        // What a part of a run has found is put together by --render.
        costs::print(&results.costs);
        growth::print(&results.growth);
    }
    let default = everything.then(|| machine::benches().join("results.json"));
    if let Some(path) = options.json.clone().or(default) {
        std::fs::write(&path, serde_json::to_string(&results)? + "\n")?;
        println!("figures: {}", path.display());
    }
    Ok(())
}

/// The figures of several runs of one machine and commit.
fn put_together(files: &[PathBuf]) -> Result<Option<Results>, Box<dyn std::error::Error>> {
    let mut all: Option<Results> = None;
    for file in files {
        let part: Results = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        match &mut all {
            None => all = Some(part),
            Some(all) if (&all.machine.commit, &all.settings) != (&part.machine.commit, &part.settings) => {
                return Err(format!("{}: another commit, or other settings", file.display()).into());
            }
            Some(all) => {
                all.rows.extend(part.rows);
                all.costs.extend(part.costs);
                all.growth.extend(part.growth);
            }
        }
    }
    if let Some(all) = &mut all {
        let places: Vec<_> = plan::workloads().iter().map(|workload| workload.name).collect();
        let place = |row: &Row| (places.iter().position(|name| *name == row.workload), row.workers);
        all.rows.sort_by_key(place);
    }
    Ok(all)
}

/// Writes the page and its charts.
fn render(results: &Results) -> io::Result<()> {
    let benches = machine::benches();
    std::fs::write(benches.join("RESULTS.md"), report::page(results))?;
    std::fs::write(benches.join("results.svg"), chart::ratios(results))?;
    if !results.growth.is_empty() {
        std::fs::write(benches.join("growth.svg"), chart::growth(results))?;
    }
    println!("page: {}", benches.join("RESULTS.md").display());
    Ok(())
}

impl Options {
    /// The workload with the competitors that are asked for, if any.
    fn chosen(&self, mut workload: Workload, names: &[&str]) -> Option<Workload> {
        if self.only.is_empty() {
            return Some(workload);
        }
        workload.competitors.retain(|competitor| {
            self.only.iter().any(|pattern| {
                let (name, who) = pattern.split_once(':').unwrap_or((pattern, ""));
                let is_it =
                    if names.contains(&name) { workload.name == name } else { workload.name.contains(name) };
                is_it && competitor.name.contains(who)
            })
        });
        (!workload.competitors.is_empty()).then_some(workload)
    }
}

/// What is needed to take samples.
pub(crate) struct Run {
    pub(crate) quick: bool,
    rounds: usize,
    foreign_cpu_max: Option<f64>,
    /// Where the programs are.
    pub(crate) programs: PathBuf,
    is_terminal: bool,
    by_cpu: bool,
    go: Result<(PathBuf, String), String>,
}

impl Run {
    fn prepare(options: &Options) -> io::Result<Self> {
        let programs = build_rust()?;
        let go = build_go();
        match &go {
            Ok((_, version)) => println!("Go takes part: {version}"),
            Err(reason) => println!("Go does not take part: {reason}"),
        }
        Ok(Self {
            quick: options.quick,
            rounds: options.rounds.unwrap_or(if options.quick { 3 } else { 5 }),
            foreign_cpu_max: (!options.allow_noise).then_some(FOREIGN_CPU_MAX),
            programs,
            is_terminal: io::stderr().is_terminal(),
            by_cpu: options.by_cpu,
            go,
        })
    }

    fn settings(&self) -> Settings {
        Settings {
            quick: self.quick,
            rounds: self.rounds,
            foreign_cpu_max: self.foreign_cpu_max,
            go: self.go.as_ref().map(|(_, version)| version.clone()).map_err(String::clone),
            by_cpu: self.by_cpu,
            left_out: vec![HTTP_LEFT_OUT.into()],
        }
    }

    /// All competitors of a workload, in turn, round after round.
    fn row(&self, workload: &Workload, workers: usize) -> Row {
        let is_go = |competitor: &Competitor| competitor.name.split('/').next() == Some("go");
        let competitors: Vec<_> = workload
            .competitors
            .iter()
            .filter(|competitor| competitor.runs_on(workers) && (self.go.is_ok() || !is_go(competitor)))
            .collect();
        let mut entries: Vec<_> = competitors
            .iter()
            .map(|competitor| Entry {
                competitor: competitor.name.to_owned(),
                colour: competitor.colour,
                standing: competitor.standing,
                samples: Vec::new(),
                failure: None,
            })
            .collect();
        for round in 0..self.rounds {
            for (competitor, entry) in competitors.iter().zip(&mut entries) {
                self.tell(&format!(
                    "{} · {workers} · round {} · {}",
                    workload.name,
                    round + 1,
                    competitor.name
                ));
                let sample = match &entry.failure {
                    None => self.sample(workload, competitor, workers),
                    // It has failed before; once is enough.
                    Some(_) => Err(io::Error::other("")),
                };
                match sample {
                    Ok(figures) => entry.samples.push(Some(figures)),
                    Err(error) => {
                        entry.samples.push(None);
                        entry.failure.get_or_insert(error.to_string());
                    }
                }
            }
        }
        self.tell("");
        let shown = |metric: &plan::Metric| MetricShown {
            key: metric.key.to_owned(),
            unit: metric.unit.to_owned(),
            better: metric.better,
        };
        Row {
            workload: workload.name.to_owned(),
            title: workload.title.to_owned(),
            is_server: workload.is_server(),
            workers,
            metrics: workload.metrics.iter().map(shown).collect(),
            entries,
        }
    }

    /// Where we are, for who watches.
    pub(crate) fn tell(&self, where_we_are: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[K{where_we_are}");
        }
    }

    /// The program that has the competitor.
    fn program(&self, competitor: &str) -> PathBuf {
        match (&self.go, competitor.split_once('/').unwrap_or((competitor, ""))) {
            (Ok((program, _)), ("go", _)) => program.clone(),
            (_, ("aqueduct-go" | "aqueduct-async" | "aqueduct-serve", _) | (_, "aqueduct")) => {
                self.programs.join("compare-aqueduct")
            }
            _ => self.programs.join("compare-peers"),
        }
    }

    /// One sample, taken again while others use the machine.
    fn sample(&self, workload: &Workload, competitor: &Competitor, workers: usize) -> io::Result<Figures> {
        let mut quietest: Option<Figures> = None;
        for _ in 0..=RETRIES {
            let figures = self.sample_once(workload, competitor, workers)?;
            let foreign = figures["foreign_cpu"];
            if self.foreign_cpu_max.is_none_or(|max| foreign <= max) {
                return Ok(figures);
            }
            if quietest.as_ref().is_none_or(|quietest| foreign < quietest["foreign_cpu"]) {
                quietest = Some(figures);
            }
            std::thread::sleep(RETRY_PAUSE);
        }
        let foreign = quietest.map_or(f64::NAN, |figures| figures["foreign_cpu"]);
        Err(io::Error::other(format!(
            "the machine is busy ({foreign:.2} CPUs used by others at best): try later, or --allow-noise"
        )))
    }

    fn sample_once(
        &self,
        workload: &Workload,
        competitor: &Competitor,
        workers: usize,
    ) -> io::Result<Figures> {
        let (before, own) = (MachineCpu::now(), process_cpu());
        let (text, usage) = match &workload.load {
            None => self.operations(workload, competitor, workers)?,
            Some(load) => self.load(load, competitor, workers)?,
        };
        let foreign = before.foreign_since(usage.cpu + (process_cpu() - own));
        let sample: Sample = serde_json::from_str(text.trim()).map_err(io::Error::other)?;
        let per_op = |total: u64| total as f64 / sample.ops as f64;
        let mut figures: Figures = sample.extra.clone();
        figures.insert("cpu_ns".into(), per_op(sample.cpu_ns));
        figures.insert("peak_rss_bytes".into(), usage.peak_rss_bytes as f64);
        figures.insert("foreign_cpu".into(), foreign);
        if workload.load.is_none() {
            let ranked = if self.by_cpu { sample.cpu_ns } else { sample.wall_ns };
            figures.insert("wall_ns".into(), per_op(ranked));
        }
        Ok(figures)
    }

    /// A process that does the workload's operations.
    fn operations(
        &self,
        workload: &Workload,
        competitor: &Competitor,
        workers: usize,
    ) -> io::Result<(String, Usage)> {
        let ops = workload.ops(competitor, self.quick);
        let mut command = self.command(competitor.name, workers, &[]);
        command.args(["sample", workload.name, competitor.name, "--workers", &workers.to_string()]);
        command.args(["--ops", &ops.to_string(), "--warm", &workload.warm.to_string()]);
        process::output(&mut command, SAMPLE_LIMIT)
    }

    /// A server, and a client that loads it: with one worker each on a CPU of its own.
    pub(crate) fn load(
        &self,
        load: &plan::Load,
        competitor: &Competitor,
        workers: usize,
    ) -> io::Result<(String, Usage)> {
        process::wait_for_ports();
        let mut server = self.command(competitor.name, workers, &[]);
        server.args(["serve", competitor.name, "--workers", &workers.to_string()]);
        let mut client = Command::new(self.programs.join("compare-aqueduct"));
        if workers == 1 && std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) {
            process::pin(&mut server, 0);
            process::pin(&mut client, 1);
        }
        let server = Server::start(&mut server)?;
        let duration_ms = if self.quick { load.duration_ms.min(700) } else { load.duration_ms };
        client.args(["load", &server.address, "--server-pid", &server.pid().to_string()]);
        for (option, value) in [
            ("--connections", load.connections),
            ("--active", load.active),
            ("--duration-ms", duration_ms),
            ("--size", load.size),
            ("--pipeline", load.pipeline),
        ] {
            client.args([option, &value.to_string()]);
        }
        if load.cycles > 0 {
            client.args(["--cycles", &load.cycles.to_string()]);
        }
        let (text, client_usage) = process::output(&mut client, SAMPLE_LIMIT)?;
        let usage = server.end()?;
        Ok((text, Usage { cpu: usage.cpu + client_usage.cpu, ..usage }))
    }

    /// The competitor's program, run by `tool` if there is one.
    pub(crate) fn command(&self, competitor: &str, workers: usize, tool: &[&str]) -> Command {
        let program = self.program(competitor);
        let mut command = match tool {
            [] => Command::new(program),
            [tool, args @ ..] => {
                let mut command = Command::new(tool);
                command.args(args).arg(program);
                command
            }
        };
        // Go and smol are told by their environment.
        command.env("GOMAXPROCS", workers.to_string()).env("SMOL_THREADS", workers.to_string());
        command
    }
}

/// Builds the programs that take samples, as `cargo run` has built this one.
fn build_rust() -> io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(machine::package().join("Cargo.toml"));
    build.args(["-p", "compare-aqueduct", "-p", "compare-peers", "--target-dir"]).arg(machine::target());
    match build.status()?.success() {
        true => Ok(machine::target().join("release")),
        false => Err(io::Error::other("the programs that take samples do not build")),
    }
}

/// Builds the Go programs, if there is a toolchain: where they are, and its version.
fn build_go() -> Result<(PathBuf, String), String> {
    let go = std::env::var_os("GO").unwrap_or_else(|| "go".into());
    let version = machine::said(Command::new(&go).arg("version"));
    if version.is_empty() {
        return Err("no Go toolchain (`go` on the PATH, or $GO)".into());
    }
    let program = machine::target().join("compare-go");
    let mut build = Command::new(&go);
    build.current_dir(machine::package().join("go")).args(["build", "-o"]).arg(&program).arg(".");
    match process::output(&mut build, Duration::from_secs(300)) {
        Ok(_) => Ok((program, version.trim_start_matches("go version ").to_owned())),
        Err(error) => Err(format!("its programs do not build: {error}")),
    }
}

/// The row as text, best first in each metric.
fn print_row(row: &Row) {
    let workers = if row.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", row.workers) };
    println!("\n{} ({}, {workers})", row.title, row.workload);
    for metric in &row.metrics {
        println!(
            "  {:<28} {:>12} {:>7}  {:>11} {:>8}",
            metric.unit, "median", "spread", "CPU ns/op", "foreign"
        );
        let mut shown: Vec<_> =
            row.entries.iter().filter_map(|entry| Some((entry, entry.summary(&metric.key)?))).collect();
        shown.sort_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
        if metric.better == plan::Better::More {
            shown.reverse();
        }
        for (entry, summary) in shown {
            let cpu = entry.summary("cpu_ns").map_or(f64::NAN, |summary| summary.median);
            let foreign = entry.summary("foreign_cpu").map_or(f64::NAN, |summary| summary.max);
            println!(
                "  {:<28} {:>12.1} {:>6.0}%  {cpu:>11.1} {foreign:>8.2}",
                entry.competitor,
                summary.median,
                summary.spread() * 100.0,
            );
        }
    }
    for entry in &row.entries {
        if let Some(failure) = &entry.failure {
            println!("  {:<28} FAILED: {failure}", entry.competitor);
        }
    }
}
