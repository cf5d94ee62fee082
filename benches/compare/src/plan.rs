//! What is compared with what: every workload, what it measures, and who takes part.

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

#[derive(Clone, Debug)]
pub(crate) struct Competitor {
    /// RUNTIME, or RUNTIME/CHANNEL.
    pub(crate) name: &'static str,
    pub(crate) colour: Colour,
    pub(crate) standing: Standing,
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

impl Workload {
    /// Whether every style is measured against the peers of both colours, as servers are.
    pub(crate) fn is_server(&self) -> bool {
        self.load.is_some()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) metrics: &'static [Metric],
    /// Operations of a sample, of a quick sample, and before either.
    pub(crate) ops: u64,
    pub(crate) quick_ops: u64,
    pub(crate) warm: u64,
    pub(crate) competitors: Vec<Competitor>,
    /// Servers under load, instead of operations in one process.
    pub(crate) load: Option<Load>,
}

/// What the client does to a server.
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
    Load { connections: 100, active: 100, size: 64, pipeline: 1, duration_ms: 1_500, cycles: 0 };

impl Workload {
    /// The operations of a sample: fewer where a competitor cannot do them all, or is slower by orders of magnitude.
    pub(crate) fn ops(&self, competitor: &Competitor, quick: bool) -> u64 {
        let ops = if quick { self.quick_ops } else { self.ops };
        match (competitor.name, self.name) {
            // Two mappings a stack, of which the system allows 65,530.
            ("may", "alive" | "timers") => ops.min(30_000),
            ("may", "skynet") => ops.min(10_000),
            ("may", "select" | "select-timer") => ops.min(400_000),
            (name, "ping-pong") if name.starts_with("threads/") => ops.min(30_000),
            (name, "select" | "select-timer") if name.starts_with("threads/") => ops.min(100_000),
            _ => ops,
        }
    }
}

impl Competitor {
    /// Some run on one worker only, threads on as many as there are.
    pub(crate) fn runs_on(&self, workers: usize) -> bool {
        let runtime = self.name.split('/').next().unwrap_or_default();
        match runtime {
            "tokio-ct" | "smol-ex" | "epoll" => workers == 1,
            "threads" => workers == 2,
            _ => true,
        }
    }
}

const RUNTIMES: &[&str] =
    &["aqueduct-go", "aqueduct-async", "go", "may", "tokio-ct", "tokio-mt", "smol-ex", "smol-global"];

const SHARED_CHANNELS: &[&str] = &[
    "aqueduct-go",
    "aqueduct-async",
    "go",
    "may",
    "tokio-ct/kanal",
    "tokio-mt/kanal",
    "smol-ex/kanal",
    "smol-global/kanal",
    "tokio-ct/flume",
    "tokio-mt/flume",
    "smol-ex/flume",
    "smol-global/flume",
    "tokio-ct/async-channel",
    "tokio-mt/async-channel",
    "smol-ex/async-channel",
    "smol-global/async-channel",
];
const TOKIO_MPSC: &[&str] = &["tokio-ct/mpsc", "tokio-mt/mpsc"];
const THREADS: &[&str] = &["threads/aqueduct", "threads/crossbeam", "threads/kanal", "threads/flume"];

pub(crate) fn competitor(name: &'static str) -> Competitor {
    let runtime = name.split('/').next().unwrap_or_default();
    let colour = match runtime {
        "aqueduct-go" | "aqueduct-serve" | "go" | "may" => Colour::Coroutine,
        "threads" => Colour::Thread,
        _ => Colour::Future,
    };
    let standing = match name {
        "aqueduct-go" | "aqueduct-async" | "aqueduct-serve" | "threads/aqueduct" => Standing::Ours,
        "smol-global/std-mutex" | "epoll" => Standing::Limit,
        _ => Standing::Peer,
    };
    Competitor { name, colour, standing }
}

fn competitors(lists: &[&[&'static str]], but: &[&str]) -> Vec<Competitor> {
    let all = lists.iter().flat_map(|list| list.iter().copied());
    all.filter(|name| !but.contains(name)).map(competitor).collect()
}

const fn wall(unit: &'static str) -> Metric {
    Metric { key: "wall_ns", unit, better: Better::Less }
}

macro_rules! metrics {
    ($($metric:expr),* $(,)?) => {{
        const METRICS: &[Metric] = &[$($metric),*];
        METRICS
    }};
}

/// Every workload, in the order of the tables.
pub(crate) fn workloads() -> Vec<Workload> {
    let none: &[&str] = &[];
    // Its select needs receives that may be dropped, which kanal's are not known to be.
    let kanal = ["tokio-ct/kanal", "tokio-mt/kanal", "smol-ex/kanal", "smol-global/kanal", "threads/kanal"];
    let spawning = || competitors(&[RUNTIMES, &["futures-pool"]], none);
    let channels = || competitors(&[SHARED_CHANNELS, TOKIO_MPSC, THREADS], none);
    let selects = || competitors(&[SHARED_CHANNELS, TOKIO_MPSC, THREADS], &kanal);
    let tasks = || competitors(&[SHARED_CHANNELS, TOKIO_MPSC], none);
    let mut all = vec![
        Workload {
            name: "yield-1",
            title: "One task yields",
            metrics: metrics![wall("ns per yield")],
            ops: 5_000_000,
            quick_ops: 500_000,
            warm: 50_000,
            competitors: competitors(&[RUNTIMES], none),
            load: None,
        },
        Workload {
            name: "yield-1000",
            title: "1,000 tasks yield side by side",
            metrics: metrics![wall("ns per yield")],
            ops: 10_000_000,
            quick_ops: 1_000_000,
            warm: 50_000,
            competitors: competitors(&[RUNTIMES], none),
            load: None,
        },
        Workload {
            name: "spawn-join",
            title: "Spawn and join empty tasks, in batches of 1,000",
            metrics: metrics![wall("ns per task")],
            ops: 1_000_000,
            quick_ops: 100_000,
            warm: 20_000,
            competitors: spawning(),
            load: None,
        },
        Workload {
            name: "alive",
            title: "1,000,000 tasks parked at once, then released and joined",
            metrics: metrics![
                wall("ns per task"),
                Metric { key: "bytes_per_task", unit: "bytes per task", better: Better::Less },
            ],
            ops: 1_000_000,
            quick_ops: 100_000,
            warm: 0,
            competitors: competitors(&[RUNTIMES], none),
            load: None,
        },
        Workload {
            name: "ping-pong",
            title: "Ping-pong over two rendezvous channels (capacity 1 where there is none)",
            metrics: metrics![wall("ns per round trip")],
            ops: 1_000_000,
            quick_ops: 100_000,
            warm: 5_000,
            competitors: channels(),
            load: None,
        },
        Workload {
            name: "spsc",
            title: "One sender, one receiver, capacity 128",
            metrics: metrics![wall("ns per message")],
            ops: 10_000_000,
            quick_ops: 1_000_000,
            warm: 50_000,
            competitors: channels(),
            load: None,
        },
        Workload {
            name: "mpmc",
            title: "Four senders, four receivers, capacity 128",
            metrics: metrics![wall("ns per message")],
            ops: 8_000_000,
            quick_ops: 800_000,
            warm: 50_000,
            competitors: competitors(&[SHARED_CHANNELS, THREADS], none),
            load: None,
        },
        Workload {
            name: "select",
            title: "Select over 4 rendezvous channels, a producer for each",
            metrics: metrics![wall("ns per message")],
            ops: 2_000_000,
            quick_ops: 200_000,
            warm: 10_000,
            competitors: selects(),
            load: None,
        },
        Workload {
            name: "select-buffered",
            title: "Select over 4 channels of capacity 128",
            metrics: metrics![wall("ns per message")],
            ops: 4_000_000,
            quick_ops: 400_000,
            warm: 10_000,
            competitors: competitors(
                &[SHARED_CHANNELS, TOKIO_MPSC, THREADS],
                &[&kanal[..], &["may"]].concat(),
            ),
            load: None,
        },
        Workload {
            name: "select-timer",
            title: "Select over 4 rendezvous channels and a timer that never fires, made anew each time",
            metrics: metrics![wall("ns per message")],
            ops: 2_000_000,
            quick_ops: 200_000,
            warm: 10_000,
            competitors: selects(),
            load: None,
        },
        Workload {
            name: "skynet",
            title: "Skynet: a tree of tasks with 1,000,000 leaves",
            metrics: metrics![wall("ns per leaf")],
            ops: 1_000_000,
            quick_ops: 100_000,
            warm: 1_000,
            competitors: competitors(&[SHARED_CHANNELS, TOKIO_MPSC, &["go/cap10"]], none),
            load: None,
        },
        Workload {
            name: "sieve",
            title: "Prime sieve to the 2,000th prime: a chain of filters",
            metrics: metrics![wall("ns per prime")],
            ops: 2_000,
            quick_ops: 600,
            warm: 50,
            competitors: tasks(),
            load: None,
        },
        Workload {
            name: "chained-spawn",
            title: "A chain of 1,000 tasks, each spawned by the one before",
            metrics: metrics![wall("ns per spawn")],
            ops: 500_000,
            quick_ops: 50_000,
            warm: 10_000,
            competitors: spawning(),
            load: None,
        },
        Workload {
            name: "spawn-many",
            title: "10,000 tasks spawned, none joined",
            metrics: metrics![wall("ns per spawn")],
            ops: 500_000,
            quick_ops: 100_000,
            warm: 10_000,
            competitors: spawning(),
            load: None,
        },
        Workload {
            name: "yield-many",
            title: "200 tasks yield 1,000 times each",
            metrics: metrics![wall("ns per yield")],
            ops: 4_000_000,
            quick_ops: 1_000_000,
            warm: 1,
            competitors: competitors(&[RUNTIMES], none),
            load: None,
        },
        Workload {
            name: "ping-pong-oneshot",
            title: "1,000 pairs of tasks, a ping and a pong over oneshot channels each",
            metrics: metrics![wall("ns per pair")],
            ops: 200_000,
            quick_ops: 50_000,
            warm: 5_000,
            competitors: competitors(&[RUNTIMES], &["may"]),
            load: None,
        },
        Workload {
            name: "timers",
            title: "1,000,000 sleeping tasks, deadlines spread over 1 s",
            metrics: metrics![
                Metric { key: "cpu_ns", unit: "CPU ns per timer, all told", better: Better::Less },
                Metric { key: "late_p50_us", unit: "µs late (median)", better: Better::Less },
            ],
            ops: 1_000_000,
            quick_ops: 100_000,
            warm: 0,
            competitors: competitors(&[RUNTIMES], none),
            load: None,
        },
        Workload {
            name: "timeout-ready",
            title: "A timeout around an operation that is ready",
            metrics: metrics![wall("ns each")],
            ops: 2_000_000,
            quick_ops: 500_000,
            warm: 10_000,
            // smol's idiom never makes the timer: shown, but no peer.
            competitors: competitors(&[RUNTIMES], &["may"])
                .into_iter()
                .map(|c| match c.name.starts_with("smol") {
                    true => Competitor { standing: Standing::Limit, ..c },
                    false => c,
                })
                .collect(),
            load: None,
        },
        Workload {
            name: "arm-cancel",
            title: "Arm a timer of 10 s, cancel it",
            metrics: metrics![wall("ns each")],
            ops: 2_000_000,
            quick_ops: 300_000,
            warm: 10_000,
            competitors: competitors(&[RUNTIMES], &["may"]),
            load: None,
        },
        Workload {
            name: "mutex",
            title: "1,000 tasks lock and unlock one mutex 1,000 times each",
            metrics: metrics![wall("ns per lock and unlock")],
            ops: 1_000_000,
            quick_ops: 1_000_000,
            warm: 10_000,
            competitors: competitors(&[RUNTIMES, &["smol-global/std-mutex"]], none),
            load: None,
        },
    ];
    all.extend(servers());
    all
}

const SERVERS: &[&str] = &[
    "aqueduct-go",
    "aqueduct-async",
    "aqueduct-serve",
    "go",
    "may",
    "tokio-ct",
    "tokio-mt",
    "smol-ex",
    "smol-global",
    "epoll",
];

/// Whose connections hold a buffer that a large message fits into.
const LARGE_SERVERS: &[&str] = &[
    "aqueduct-go",
    "aqueduct-async",
    "aqueduct-serve",
    "go/large",
    "may/large",
    "tokio-ct/large",
    "tokio-mt/large",
    "smol-ex/large",
    "smol-global/large",
    "epoll",
];

const REQUESTS: Metric = Metric { key: "requests_per_s", unit: "requests/s", better: Better::More };
const P99: Metric = Metric { key: "p99_us", unit: "µs (99th percentile)", better: Better::Less };
const SERVER_CPU: Metric = Metric { key: "cpu_ns", unit: "server CPU ns per request", better: Better::Less };

fn servers() -> Vec<Workload> {
    let server = |name, title, metrics, load: Load| Workload {
        name,
        title,
        metrics,
        ops: 0,
        quick_ops: 0,
        warm: 0,
        competitors: competitors(&[if load.size > 4096 { LARGE_SERVERS } else { SERVERS }], &[]),
        load: Some(load),
    };
    let all = metrics![REQUESTS, P99, SERVER_CPU];
    let mut idle = server(
        "echo-idle",
        "10,000 connections that idle after one echo",
        metrics![Metric { key: "bytes_per_connection", unit: "bytes per connection", better: Better::Less }],
        Load { connections: 10_000, active: 0, duration_ms: 200, ..ECHO },
    );
    idle.competitors.push(competitor("tokio-ct/shared-buffer"));
    vec![
        server("echo-100", "Echo, 100 connections, closed loop, 64 B", all, ECHO),
        server(
            "echo-1000",
            "Echo, 1,000 connections, closed loop, 64 B",
            all,
            Load { connections: 1_000, active: 1_000, ..ECHO },
        ),
        server(
            "echo-10000",
            "Echo, 10,000 connections, 100 of them active, 64 B",
            all,
            Load { connections: 10_000, ..ECHO },
        ),
        server(
            "echo-pipelined",
            "Echo, 100 connections, 16 messages of 64 B at once",
            metrics![REQUESTS, SERVER_CPU],
            Load { pipeline: 16, ..ECHO },
        ),
        server(
            "echo-large",
            "Echo, 10 connections, 64 KiB",
            metrics![REQUESTS, SERVER_CPU],
            Load { connections: 10, active: 10, size: 64 * 1024, ..ECHO },
        ),
        server(
            "echo-churn",
            "Connect, echo 64 B, close: 2,000 times, 16 at once",
            metrics![REQUESTS, SERVER_CPU],
            Load { connections: 16, active: 16, cycles: 2_000, ..ECHO },
        ),
        idle,
    ]
}
