//! What the arguments ask for.

use std::path::PathBuf;

use crate::plan::{Part, Workload};

pub(crate) const USAGE: &str = "\
usage: cargo run --release --manifest-path benches/compare/Cargo.toml -- [OPTIONS]

  --quick            fewer operations and rounds
  --all              also the competitors that have never been the best of their workload; they are left out otherwise,
                     of all workloads or of those with one worker
  --only PATTERN     a workload of that name, or else all whose names contain it; may be given several times.
                     WORKLOAD:COMPETITOR narrows it to competitors whose names contain that, of all there are
  --workers LIST     1, 2 or 1,2 (default)
  --rounds N         samples of each (default 5; quick 3)
  --allow-noise      take samples while others use the machine
  --by-cpu           rank by the process's CPU time instead of wall time: for a noisy machine and one worker
  --costs            allocations, instructions (with the functions that take most) and system calls of an operation;
                     --growth: figures over the number of tasks, timers and connections. Both are part of a run without
                     --only; --costs --only X: of these
  --resume           go on with a run that was interrupted: what results.json has of this commit and these settings stays
  --render FILE      no run: write the page, the charts and results.json from the figures in FILE; several, of runs in
                     parts, are put together, the later ones first. Figures are written after each workload, so an
                     interrupted run can be rendered too
  --list             names of workloads and competitors, how long each will take, and no run
  --json FILE        where the figures go (default: nowhere with --only, else benches/results.json)

The Go programs take part if there is a Go toolchain: `go` on the PATH, or $GO; HTTP needs `wrk`.";

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) all: bool,
    pub(crate) only: Vec<String>,
    pub(crate) workers: Vec<usize>,
    pub(crate) rounds: Option<usize>,
    pub(crate) allow_noise: bool,
    pub(crate) by_cpu: bool,
    pub(crate) list: bool,
    pub(crate) costs: bool,
    pub(crate) growth: bool,
    pub(crate) resume: bool,
    pub(crate) render: Vec<PathBuf>,
    pub(crate) json: Option<PathBuf>,
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        quick: false,
        all: false,
        only: Vec::new(),
        workers: vec![1, 2],
        rounds: None,
        allow_noise: false,
        by_cpu: false,
        list: false,
        costs: false,
        growth: false,
        resume: false,
        render: Vec::new(),
        json: None,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("quick") => options.quick = true,
            Long("all") => options.all = true,
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
            Long("resume") => options.resume = true,
            Long("render") => options.render.push(parser.value()?.into()),
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("help") => return Err(USAGE.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

impl Options {
    /// Every workload, its costs and its growth.
    pub(crate) fn is_everything(&self) -> bool {
        self.only.is_empty() && !self.costs && !self.growth
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 })
    }

    /// The workloads that are asked for, with the competitors that are asked for.
    pub(crate) fn chosen(&self, workloads: Vec<Workload>) -> Vec<Workload> {
        let names: Vec<_> = workloads.iter().map(|workload| workload.name).collect();
        let chosen = workloads.into_iter().filter_map(|mut workload| {
            let name = workload.name;
            workload.competitors.retain(|competitor| {
                self.only.iter().any(|pattern| is_called(pattern, name, competitor.name, &names))
                    || self.only.is_empty()
            });
            // A competitor that is named takes part, whatever it has been.
            let is_named = self.only.iter().any(|pattern| pattern.contains(':'));
            match self.all || is_named {
                true => workload.competitors.iter_mut().for_each(|competitor| competitor.part = Part::Always),
                false => workload.competitors.retain(|competitor| competitor.part != Part::InAll),
            }
            (!workload.competitors.is_empty()).then_some(workload)
        });
        chosen.collect()
    }
}

fn is_called(pattern: &str, workload: &str, competitor: &str, names: &[&str]) -> bool {
    let (name, who) = pattern.split_once(':').unwrap_or((pattern, ""));
    let is_it = if names.contains(&name) { workload == name } else { workload.contains(name) };
    is_it && competitor.contains(who)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    fn chosen(args: &[&str]) -> Vec<(String, Vec<&'static str>)> {
        let options = parse(lexopt::Parser::from_args(args)).unwrap();
        let workloads = options.chosen(plan::workloads());
        workloads
            .into_iter()
            .map(|w| (w.name.to_owned(), w.competitors.iter().map(|c| c.name).collect()))
            .collect()
    }

    #[test]
    fn a_whole_name_is_one_workload_and_a_part_of_a_name_is_several() {
        let of = |pattern| chosen(&["--only", pattern]).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(of("echo-100"), ["echo-100"]);
        assert_eq!(of("yield"), ["yield-1", "yield-1000", "yield-many"]);
        assert!(of("no-such-workload").is_empty());
    }

    #[test]
    fn those_that_never_win_take_part_when_they_are_named_or_all_are_asked_for() {
        let takes_part = |args: &[&str]| chosen(args)[0].1.contains(&"smol-ex/async-channel");
        assert!(!takes_part(&["--only", "ping-pong"]));
        assert!(takes_part(&["--only", "ping-pong", "--all"]));
        assert!(takes_part(&["--only", "ping-pong:smol-ex"]));
    }
}
