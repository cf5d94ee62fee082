//! Takes the samples: one process for each, the competitors in turn, round after round.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::plan::{Competitor, Metric, Work, Workload};
use crate::process::{MachineCpu, Server, Usage};
use crate::results::{Entry, Figures, MetricShown, Row, Settings};
use crate::{machine, plan, process, wrk};

use workloads::measure::{Sample, process_cpu, process_cpu_ns_of};

/// What a sample may take.
pub(crate) const SAMPLE_LIMIT: Duration = Duration::from_secs(120);

/// During a sample others may keep so many CPUs busy; beyond that it is taken again.
const FOREIGN_CPU_MAX: f64 = 0.25;

/// How often a sample is taken again for that, after what pause, and what a whole run may spend on it. After that the quietest sample
/// counts, and the page says so.
const RETRIES: usize = 4;
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const RETRIES_MS_MAX: u64 = 5 * 60 * 1_000;

/// How often a program is started again that has failed. A competitor that fails as often is out of its row.
const ATTEMPTS: usize = 2;

/// What is needed to take samples.
pub(crate) struct Run {
    pub(crate) quick: bool,
    all: bool,
    rounds: usize,
    foreign_cpu_max: Option<f64>,
    /// Where the programs are.
    pub(crate) programs: PathBuf,
    is_terminal: bool,
    by_cpu: bool,
    go: Result<(PathBuf, String), String>,
    has_wrk: bool,
    /// What has been spent on samples that were taken again.
    retried_ms: AtomicU64,
}

impl Run {
    pub(crate) fn prepare(options: &Options) -> io::Result<Self> {
        let programs = build_rust()?;
        let go = build_go();
        match &go {
            Ok((_, version)) => println!("Go takes part: {version}"),
            Err(reason) => println!("Go does not take part: {reason}"),
        }
        let has_wrk = wrk::is_there();
        if !has_wrk {
            println!("{}", wrk::MISSING);
        }
        Ok(Self {
            quick: options.quick,
            all: options.all,
            rounds: options.rounds(),
            foreign_cpu_max: (!options.allow_noise).then_some(FOREIGN_CPU_MAX),
            programs,
            is_terminal: io::stderr().is_terminal(),
            by_cpu: options.by_cpu,
            go,
            has_wrk,
            retried_ms: AtomicU64::new(0),
        })
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            quick: self.quick,
            all: self.all,
            rounds: self.rounds,
            foreign_cpu_max: self.foreign_cpu_max,
            go: self.go.as_ref().map(|(_, version)| version.clone()).map_err(String::clone),
            by_cpu: self.by_cpu,
            left_out: if self.has_wrk { vec![] } else { vec![wrk::MISSING.into()] },
        }
    }

    /// Whether the programs that the workload needs are there.
    pub(crate) fn can(&self, workload: &Workload) -> bool {
        self.has_wrk || !matches!(workload.work, Work::Http(_))
    }

    /// All competitors of a workload, in turn, round after round.
    pub(crate) fn row(&self, workload: &Workload, workers: usize) -> Row {
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
        for round in 0..workload.rounds(self.rounds) {
            for (competitor, entry) in competitors.iter().zip(&mut entries) {
                self.tell(&format!(
                    "{} · {workers} · round {} · {}",
                    workload.name,
                    round + 1,
                    competitor.name
                ));
                let figures = match &entry.failure {
                    None => self.sample(workload, competitor, workers),
                    Some(_) => Err(io::Error::other("it has failed before")),
                };
                entry.samples.push(match figures {
                    Ok(figures) => Some(figures),
                    Err(error) => {
                        entry.failure.get_or_insert(error.to_string());
                        None
                    }
                });
            }
        }
        self.tell("");
        let shown = |metric: &Metric| MetricShown {
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
            commit: None,
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

    /// One sample, taken again when it fails, and while others use the machine.
    fn sample(&self, workload: &Workload, competitor: &Competitor, workers: usize) -> io::Result<Figures> {
        let attempt = || {
            let mut result = self.sample_once(workload, competitor, workers);
            for _ in 1..ATTEMPTS {
                if result.is_err() {
                    result = self.sample_once(workload, competitor, workers);
                }
            }
            result
        };
        let mut quietest = attempt()?;
        let is_noisy = |figures: &Figures| {
            self.foreign_cpu_max.is_some_and(|max| figures.get("foreign_cpu").is_some_and(|used| *used > max))
        };
        for _ in 0..RETRIES {
            if !is_noisy(&quietest) || self.retried_ms.load(Ordering::Relaxed) > RETRIES_MS_MAX {
                break;
            }
            let start = Instant::now();
            std::thread::sleep(RETRY_PAUSE);
            let again = attempt()?;
            if again["foreign_cpu"] < quietest["foreign_cpu"] {
                quietest = again;
            }
            self.retried_ms.fetch_add(start.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
        Ok(quietest)
    }

    fn sample_once(
        &self,
        workload: &Workload,
        competitor: &Competitor,
        workers: usize,
    ) -> io::Result<Figures> {
        let start = Instant::now();
        let (before, own) = (MachineCpu::now(), process_cpu());
        let (sample, usage) = match workload.work {
            Work::Operations(_) => self.operations(workload, competitor, workers)?,
            work => self.served(work, competitor.name, workers)?,
        };
        let foreign = before.foreign_since(usage.cpu + (process_cpu() - own));
        let per_op = |total: u64| total as f64 / sample.ops as f64;
        let mut figures: Figures = sample.extra.clone();
        figures.insert("cpu_ns".into(), per_op(sample.cpu_ns));
        figures.insert("peak_rss_bytes".into(), usage.peak_rss_bytes as f64);
        figures.insert("foreign_cpu".into(), foreign);
        figures.insert("took_s".into(), start.elapsed().as_secs_f64());
        if !workload.is_server() {
            let ranked = if self.by_cpu { sample.cpu_ns } else { sample.wall_ns };
            figures.insert("wall_ns".into(), per_op(ranked));
            figures.insert("ops".into(), sample.ops as f64);
        }
        Ok(figures)
    }

    /// A process that does the workload's operations.
    fn operations(
        &self,
        workload: &Workload,
        competitor: &Competitor,
        workers: usize,
    ) -> io::Result<(Sample, Usage)> {
        let Work::Operations(operations) = workload.work else { unreachable!("a workload of operations") };
        let ops = workload.ops(competitor, self.quick);
        let mut command = self.command(competitor.name, workers, &[]);
        command.args(["sample", workload.name, competitor.name, "--workers", &workers.to_string()]);
        command.args(["--ops", &ops.to_string(), "--warm", &operations.warm.to_string()]);
        let (text, usage) = process::output(&mut command, SAMPLE_LIMIT)?;
        Ok((serde_json::from_str(text.trim())?, usage))
    }

    /// A server, and the client that is to load it: with one worker each is on a CPU of its own.
    pub(crate) fn server(
        &self,
        work: Work,
        competitor: &str,
        workers: usize,
    ) -> io::Result<(Server, Command)> {
        process::wait_for_ports();
        let mut server = self.command(competitor, workers, &[]);
        server.args(["serve", competitor, "--workers", &workers.to_string()]);
        let mut client = match work {
            Work::Http(load) => wrk::command(load),
            _ => Command::new(self.programs.join("compare-aqueduct")),
        };
        if workers == 1 && std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) {
            process::pin(&mut server, 0);
            process::pin(&mut client, 1);
        }
        let server = Server::start(&mut server)?;
        match work {
            Work::Operations(_) => unreachable!("a server's workload"),
            Work::Echo(load) => load_args(&mut client, &server, &load),
            Work::Http(_) => _ = client.arg(format!("http://{}/", server.address)),
        }
        Ok((server, client))
    }

    /// Lets the client load the server, to its end.
    pub(crate) fn load(work: Work, server: &Server, client: &mut Command) -> io::Result<(Sample, Usage)> {
        let cpu_before = process_cpu_ns_of(server.pid());
        let (text, usage) = process::output(client, SAMPLE_LIMIT)?;
        let sample = match work {
            Work::Http(_) => wrk::sample(&text, process_cpu_ns_of(server.pid()) - cpu_before)?,
            _ => serde_json::from_str(text.trim())?,
        };
        Ok((sample, usage))
    }

    /// A server, loaded by its client.
    pub(crate) fn served(&self, work: Work, competitor: &str, workers: usize) -> io::Result<(Sample, Usage)> {
        let work = match work {
            Work::Echo(load) if self.quick => {
                Work::Echo(plan::Load { duration_ms: load.duration_ms.min(300), ..load })
            }
            _ => work,
        };
        let (server, mut client) = self.server(work, competitor, workers)?;
        let (sample, client_usage) = Self::load(work, &server, &mut client)?;
        let usage = server.end()?;
        Ok((sample, Usage { cpu: usage.cpu + client_usage.cpu, ..usage }))
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
        // Go and smol are told by their environment. Of a panic the first lines are enough.
        command.env("GOMAXPROCS", workers.to_string()).env("SMOL_THREADS", workers.to_string());
        command.env("RUST_BACKTRACE", "0");
        command
    }
}

/// What the client of an echo server is told.
fn load_args(client: &mut Command, server: &Server, load: &plan::Load) {
    client.args(["load", &server.address, "--server-pid", &server.pid().to_string()]);
    for (option, value) in [
        ("--connections", load.connections),
        ("--active", load.active),
        ("--duration-ms", load.duration_ms),
        ("--size", load.size),
        ("--pipeline", load.pipeline),
    ] {
        client.args([option, &value.to_string()]);
    }
    if load.cycles > 0 {
        client.args(["--cycles", &load.cycles.to_string()]);
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
