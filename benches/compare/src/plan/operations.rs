//! The workloads of one process.

use super::{Better, Competitor, Metric, Operations, Standing, Work, Workload, competitors};

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

const fn wall(unit: &'static str) -> Metric {
    Metric { key: "wall_ns", unit, better: Better::Less }
}

macro_rules! metrics {
    ($($metric:expr),* $(,)?) => {{
        const METRICS: &[Metric] = &[$($metric),*];
        METRICS
    }};
}

const fn of(full: u64, quick: u64, warm: u64) -> Work {
    Work::Operations(Operations { full, quick, warm })
}

/// Every workload, in the order of the tables.
pub(super) fn workloads() -> Vec<Workload> {
    let none: &[&str] = &[];
    // Its select needs receives that may be dropped, which kanal's are not known to be.
    let kanal = ["tokio-ct/kanal", "tokio-mt/kanal", "smol-ex/kanal", "smol-global/kanal", "threads/kanal"];
    let spawning = || competitors(&[RUNTIMES, &["futures-pool"]], none);
    let channels = || competitors(&[SHARED_CHANNELS, TOKIO_MPSC, THREADS], none);
    let selects = || competitors(&[SHARED_CHANNELS, TOKIO_MPSC, THREADS], &kanal);
    let tasks = || competitors(&[SHARED_CHANNELS, TOKIO_MPSC], none);
    vec![
        Workload {
            name: "yield-1",
            title: "One task yields",
            metrics: metrics![wall("ns per yield")],
            work: of(5_000_000, 500_000, 50_000),
            competitors: competitors(&[RUNTIMES, &["corosensei"]], none),
        }
        .between(&["go", "may", "smol-ex", "smol-global@2"]),
        Workload {
            name: "yield-1000",
            title: "1,000 tasks yield side by side",
            metrics: metrics![wall("ns per yield")],
            work: of(5_000_000, 1_000_000, 50_000),
            competitors: competitors(&[RUNTIMES, &["corosensei"]], none),
        }
        .between(&["go", "may", "tokio-ct", "tokio-mt@2"]),
        Workload {
            name: "spawn-join",
            title: "Spawn and join empty tasks, in batches of 1,000",
            metrics: metrics![wall("ns per task")],
            work: of(1_000_000, 100_000, 20_000),
            competitors: spawning(),
        }
        .between(&["go", "tokio-ct", "smol-ex", "smol-global@2"]),
        Workload {
            name: "alive",
            title: "1,000,000 tasks parked at once, then released and joined",
            metrics: metrics![
                wall("ns per task"),
                Metric { key: "bytes_per_task", unit: "bytes per task", better: Better::Less },
            ],
            work: of(1_000_000, 100_000, 0),
            competitors: competitors(&[RUNTIMES], none),
        }
        .between(&["go", "may", "tokio-ct", "smol-ex", "smol-global@2"]),
        Workload {
            name: "ping-pong",
            title: "Ping-pong over two rendezvous channels (capacity 1 where there is none)",
            metrics: metrics![wall("ns per round trip")],
            work: of(1_000_000, 100_000, 5_000),
            competitors: channels(),
        }
        .between(&[
            "go",
            "may",
            "tokio-mt/kanal",
            "smol-global/kanal",
            "tokio-mt/mpsc@2",
            "threads/kanal",
            "threads/crossbeam",
        ]),
        Workload {
            name: "spsc",
            title: "One sender, one receiver, capacity 128",
            metrics: metrics![wall("ns per message")],
            work: of(10_000_000, 1_000_000, 50_000),
            competitors: channels(),
        }
        .between(&[
            "go",
            "may",
            "tokio-mt/kanal",
            "smol-ex/kanal",
            "smol-global/kanal@2",
            "threads/kanal",
            "threads/crossbeam",
        ]),
        Workload {
            name: "mpmc",
            title: "Four senders, four receivers, capacity 128",
            metrics: metrics![wall("ns per message")],
            work: of(8_000_000, 800_000, 50_000),
            competitors: competitors(&[SHARED_CHANNELS, THREADS], none),
        }
        .between(&[
            "go",
            "may",
            "tokio-mt/kanal",
            "smol-ex/kanal",
            "smol-global/kanal@2",
            "threads/kanal",
            "threads/crossbeam",
        ]),
        Workload {
            name: "select",
            title: "Select over 4 rendezvous channels, a producer for each",
            metrics: metrics![wall("ns per message")],
            work: of(1_000_000, 200_000, 10_000),
            competitors: selects(),
        }
        .between(&[
            "go",
            "may",
            "tokio-ct/flume",
            "tokio-ct/mpsc",
            "smol-ex/flume",
            "smol-global/flume@2",
            "tokio-mt/mpsc@2",
            "threads/crossbeam",
        ]),
        Workload {
            name: "select-buffered",
            title: "Select over 4 channels of capacity 128",
            metrics: metrics![wall("ns per message")],
            work: of(3_000_000, 400_000, 10_000),
            competitors: competitors(
                &[SHARED_CHANNELS, TOKIO_MPSC, THREADS],
                &[&kanal[..], &["may"]].concat(),
            ),
        }
        .between(&[
            "go",
            "tokio-ct/flume",
            "smol-global/flume",
            "tokio-mt/flume@2",
            "tokio-mt/async-channel@2",
            "threads/crossbeam",
        ]),
        Workload {
            name: "select-timer",
            title: "Select over 4 rendezvous channels and a timer that never fires, made anew each time",
            metrics: metrics![wall("ns per message")],
            work: of(1_000_000, 200_000, 10_000),
            competitors: selects(),
        }
        .between(&[
            "go",
            "may",
            "tokio-ct/flume",
            "tokio-ct/mpsc",
            "smol-ex/flume",
            "smol-global/flume@2",
            "tokio-mt/flume@2",
            "threads/crossbeam",
        ]),
        Workload {
            name: "skynet",
            title: "Skynet: a tree of tasks with 1,000,000 leaves",
            metrics: metrics![wall("ns per leaf")],
            work: of(1_000_000, 100_000, 1_000),
            competitors: competitors(&[SHARED_CHANNELS, TOKIO_MPSC, &["go/cap10"]], none),
        }
        .between(&[
            "go",
            "go/cap10",
            "smol-ex/kanal",
            "smol-ex/flume",
            "smol-global/kanal@2",
            "smol-global/flume@2",
            "tokio-mt/kanal@2",
            "tokio-mt/mpsc@2",
        ]),
        Workload {
            name: "sieve",
            title: "Prime sieve to the 2,000th prime: a chain of filters",
            metrics: metrics![wall("ns per prime")],
            work: of(2_000, 600, 50),
            competitors: tasks(),
        }
        .between(&["go", "may", "tokio-mt/kanal", "tokio-mt/mpsc", "smol-global/kanal@2"]),
        Workload {
            name: "chained-spawn",
            title: "A chain of 1,000 tasks, each spawned by the one before",
            metrics: metrics![wall("ns per spawn")],
            work: of(1_500_000, 50_000, 10_000),
            competitors: spawning(),
        }
        .between(&["go", "futures-pool", "tokio-ct", "smol-ex", "tokio-mt@2"]),
        Workload {
            name: "spawn-many",
            title: "10,000 tasks spawned, none joined",
            metrics: metrics![wall("ns per spawn")],
            work: of(1_000_000, 100_000, 10_000),
            competitors: spawning(),
        }
        .between(&["go", "futures-pool", "smol-ex", "smol-global@2"]),
        Workload {
            name: "yield-many",
            title: "200 tasks yield 1,000 times each",
            metrics: metrics![wall("ns per yield")],
            work: of(6_000_000, 1_000_000, 1),
            competitors: competitors(&[RUNTIMES], none),
        }
        .between(&["go", "may", "tokio-ct", "tokio-mt@2"]),
        Workload {
            name: "ping-pong-oneshot",
            title: "1,000 pairs of tasks, a ping and a pong over oneshot channels each",
            metrics: metrics![wall("ns per pair")],
            work: of(500_000, 50_000, 5_000),
            competitors: competitors(&[RUNTIMES], &["may"]),
        }
        .between(&["go", "tokio-ct", "smol-ex", "tokio-mt@2", "smol-global@2"]),
        Workload {
            name: "timers",
            title: "1,000,000 sleeping tasks, deadlines spread over 1 s",
            metrics: metrics![
                Metric { key: "cpu_ns", unit: "CPU ns per timer, all told", better: Better::Less },
                Metric { key: "late_p50_us", unit: "µs late (median)", better: Better::Less },
            ],
            work: of(1_000_000, 100_000, 0),
            competitors: competitors(&[RUNTIMES], none),
        }
        .between(&["go", "may", "tokio-ct", "tokio-mt@2", "smol-global@2"]),
        Workload {
            name: "timeout-ready",
            title: "A timeout around an operation that is ready",
            metrics: metrics![wall("ns each")],
            work: of(3_000_000, 500_000, 10_000),
            // smol's idiom never makes the timer: shown, but no peer.
            competitors: competitors(&[RUNTIMES], &["may"])
                .into_iter()
                .map(|c| match c.name.starts_with("smol") {
                    true => Competitor { standing: Standing::Limit, ..c },
                    false => c,
                })
                .collect(),
        }
        .between(&["go", "tokio-ct", "tokio-mt@2"]),
        Workload {
            name: "arm-cancel",
            title: "Arm a timer of 10 s, cancel it",
            metrics: metrics![wall("ns each")],
            work: of(2_000_000, 300_000, 10_000),
            competitors: competitors(&[RUNTIMES], &["may"]),
        }
        .between(&["go", "tokio-mt@2", "smol-ex", "smol-global"]),
        Workload {
            name: "mutex",
            title: "1,000 tasks lock and unlock one mutex again and again",
            metrics: metrics![wall("ns per lock and unlock")],
            work: of(5_000_000, 1_000_000, 10_000),
            competitors: competitors(&[RUNTIMES, &["smol-global/std-mutex"]], none),
        }
        .between(&["go", "may", "smol-ex", "smol-global@2"]),
    ]
}
