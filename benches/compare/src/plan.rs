//! What is compared with what: every workload, what it measures, and who takes part.

mod operations;
mod servers;

use serde::{Deserialize, Serialize};

/// How a competitor's program is written. Each colour is ranked by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Colour {
    Coroutine,
    Future,
    Thread,
}

/// What a competitor's figures count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    Ours,
    Peer,
    /// Shown, but no peer: a floor, or something that measures less than the others.
    Limit,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Competitor {
    /// RUNTIME, or RUNTIME/CHANNEL.
    pub(crate) name: &'static str,
    pub(crate) colour: Colour,
    pub(crate) standing: Standing,
    pub(crate) part: Part,
}

/// When a competitor takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Always,
    /// With one worker it has never been the best, and is left out unless all are asked for.
    WithTwo,
    /// It has never been the best.
    InAll,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Less,
    More,
}

/// One figure of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    /// The figure's name in a sample.
    pub(crate) key: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) metrics: &'static [Metric],
    pub(crate) competitors: Vec<Competitor>,
    pub(crate) work: Work,
}

/// What a sample does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Operations in one process.
    Operations(Operations),
    /// An echo server under the load of our client.
    Echo(Load),
    /// An HTTP server under the load of `wrk`.
    Http(Wrk),
}

/// The operations of a sample, of a quick sample, and before either.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operations {
    pub(crate) full: u64,
    pub(crate) quick: u64,
    pub(crate) warm: u64,
}

/// What our client does to an echo server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: u64,
    pub(crate) active: u64,
    /// Bytes of a message, and messages sent before the first reply is waited for.
    pub(crate) size: u64,
    pub(crate) pipeline: u64,
    pub(crate) duration_ms: u64,
    /// Instead of a duration: so many times connect, one echo, close.
    pub(crate) cycles: u64,
}

pub(crate) const ECHO: Load =
    Load { connections: 100, active: 100, size: 64, pipeline: 1, duration_ms: 600, cycles: 0 };

/// What `wrk` does, with one thread: it takes whole seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrk {
    pub(crate) connections: u64,
    pub(crate) seconds: u64,
}

impl Workload {
    /// Whether every style is measured against the peers of both colours, as servers are.
    pub(crate) fn is_server(&self) -> bool {
        !matches!(self.work, Work::Operations(_))
    }

    /// The operations of a sample: fewer where a competitor cannot do them all, or is slower by orders of magnitude.
    pub(crate) fn ops(&self, competitor: &Competitor, quick: bool) -> u64 {
        let Work::Operations(Operations { full, quick: few, .. }) = self.work else { return 0 };
        let ops = if quick { few } else { full };
        match (competitor.name, self.name) {
            // Two mappings a stack, of which the system allows 65,530.
            ("may", "alive" | "timers") => ops.min(30_000),
            ("may", "skynet") => ops.min(10_000),
            ("may", "spawn-join" | "chained-spawn" | "spawn-many") => ops.min(50_000),
            ("may", "select" | "select-timer") => ops.min(400_000),
            (name, "ping-pong") if name.starts_with("threads/") => ops.min(30_000),
            (name, "select" | "select-timer") if name.starts_with("threads/") => ops.min(100_000),
            _ => ops,
        }
    }

    /// A sample of the timers waits for seconds, and its CPU time differs little between samples; so does memory.
    pub(crate) fn rounds(&self, rounds: usize) -> usize {
        if matches!(self.name, "timers" | "echo-idle") { rounds.min(3) } else { rounds }
    }

    /// What a sample takes, roughly, where no run has told.
    pub(crate) fn seconds(&self) -> f64 {
        match (self.name, self.work) {
            ("alive", _) => 3.0,
            ("skynet", _) => 1.0,
            ("timers", _) => 6.0,
            (_, Work::Operations(_)) => 0.4,
            (_, Work::Echo(load)) => 0.15 + (load.duration_ms as f64 + load.connections as f64 * 0.12) / 1e3,
            (_, Work::Http(wrk)) => wrk.seconds as f64 + 0.3,
        }
    }

    /// The peers that take part unless all are asked for: `NAME`, or with two workers only: `NAME@2`.
    fn between(mut self, contenders: &[&str]) -> Self {
        for competitor in self.competitors.iter_mut().filter(|c| c.standing == Standing::Peer) {
            let is_it = |contender: &&&str| contender.trim_end_matches("@2") == competitor.name;
            competitor.part = match contenders.iter().find(is_it) {
                None => Part::InAll,
                Some(contender) if contender.ends_with("@2") => Part::WithTwo,
                Some(_) => Part::Always,
            };
        }
        let takes_part = |name: &str| self.competitors.iter().any(|c| c.name == name.trim_end_matches("@2"));
        debug_assert!(
            contenders.iter().all(|name| takes_part(name)),
            "{}: a contender is not there",
            self.name
        );
        self
    }
}

impl Competitor {
    /// Some run on one worker only, threads on as many as there are, and some are worth their time on two.
    pub(crate) fn runs_on(&self, workers: usize) -> bool {
        let runtime = self.name.split('/').next().unwrap_or_default();
        let contends = match self.part {
            Part::WithTwo => workers >= 2,
            Part::Always | Part::InAll => true,
        };
        contends
            && match runtime {
                "tokio-ct" | "smol-ex" | "epoll" | "corosensei" => workers == 1,
                "threads" => workers == 2,
                _ => true,
            }
    }
}

pub(crate) fn competitor(name: &'static str) -> Competitor {
    let runtime = name.split('/').next().unwrap_or_default();
    let colour = match runtime {
        "aqueduct-go" | "aqueduct-serve" | "go" | "may" | "corosensei" => Colour::Coroutine,
        "threads" => Colour::Thread,
        _ => Colour::Future,
    };
    let standing = match (runtime, name) {
        ("aqueduct-go" | "aqueduct-async" | "aqueduct-serve", _) | (_, "threads/aqueduct") => Standing::Ours,
        ("corosensei" | "epoll", _) | (_, "smol-global/std-mutex") => Standing::Limit,
        _ => Standing::Peer,
    };
    Competitor { name, colour, standing, part: Part::Always }
}

fn competitors(lists: &[&[&'static str]], but: &[&str]) -> Vec<Competitor> {
    let all = lists.iter().flat_map(|list| list.iter().copied());
    all.filter(|name| !but.contains(name)).map(competitor).collect()
}

/// Every workload, in the order of the tables.
pub(crate) fn workloads() -> Vec<Workload> {
    let mut all = operations::workloads();
    all.extend(servers::workloads());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_ours_and_peers_in_the_short_run_on_one_worker_and_on_two() {
        for workload in workloads() {
            for workers in [1, 2] {
                let of = |standing| {
                    let taking_part =
                        workload.competitors.iter().filter(|c| c.part != Part::InAll && c.runs_on(workers));
                    taking_part.filter(|c| c.standing == standing).count()
                };
                let (ours, peers) = (of(Standing::Ours), of(Standing::Peer));
                assert!(
                    ours >= 2 && peers >= 2,
                    "{} on {workers}: {ours} of ours, {peers} peers",
                    workload.name
                );
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let all = workloads();
        for (index, workload) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.name != workload.name));
            for (index, competitor) in workload.competitors.iter().enumerate() {
                let names = workload.competitors[..index].iter().map(|c| c.name);
                assert!(!names.into_iter().any(|name| name == competitor.name), "{}", competitor.name);
            }
        }
    }
}
