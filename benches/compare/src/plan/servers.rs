//! The servers under load.

use super::{Better, ECHO, Load, Metric, Work, Workload, Wrk, competitor, competitors};

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

const HTTP_SERVERS: &[&str] = &[
    "aqueduct-go/hyper",
    "aqueduct-async/hyper",
    "go/net-http",
    "may/minihttp",
    "tokio-ct/hyper",
    "tokio-mt/hyper",
];

const REQUESTS: Metric = Metric { key: "requests_per_s", unit: "requests/s", better: Better::More };
const P99: Metric = Metric { key: "p99_us", unit: "µs (99th percentile)", better: Better::Less };
const SERVER_CPU: Metric = Metric { key: "cpu_ns", unit: "server CPU ns per request", better: Better::Less };
const MEMORY: Metric =
    Metric { key: "bytes_per_connection", unit: "bytes per connection", better: Better::Less };

const ALL: &[Metric] = &[REQUESTS, P99, SERVER_CPU];
const RATE_AND_CPU: &[Metric] = &[REQUESTS, SERVER_CPU];

fn echo(name: &'static str, title: &'static str, metrics: &'static [Metric], load: Load) -> Workload {
    let servers = if load.size > 4096 { LARGE_SERVERS } else { SERVERS };
    Workload { name, title, metrics, competitors: competitors(&[servers], &[]), work: Work::Echo(load) }
}

pub(super) fn workloads() -> Vec<Workload> {
    let contenders = ["go", "may", "tokio-ct", "tokio-mt@2", "smol-global"];
    let large = ["go/large", "may/large", "tokio-ct/large", "tokio-mt/large@2", "smol-global/large"];
    let mut idle = echo(
        "echo-idle",
        "10,000 connections that idle after one echo",
        &[MEMORY],
        Load { connections: 10_000, active: 0, duration_ms: 100, ..ECHO },
    );
    idle.competitors.push(competitor("tokio-ct/shared-buffer"));
    vec![
        echo("echo-100", "Echo, 100 connections, closed loop, 64 B", ALL, ECHO).between(&contenders),
        echo(
            "echo-1000",
            "Echo, 1,000 connections, closed loop, 64 B",
            ALL,
            Load { connections: 1_000, active: 1_000, ..ECHO },
        )
        .between(&contenders),
        echo(
            "echo-10000",
            "Echo, 10,000 connections, 100 of them active, 64 B",
            ALL,
            Load { connections: 10_000, ..ECHO },
        )
        .between(&contenders),
        echo(
            "echo-10000-active",
            "Echo, 10,000 connections, all active, 64 B",
            ALL,
            Load { connections: 10_000, active: 10_000, duration_ms: 800, ..ECHO },
        )
        .between(&contenders),
        echo(
            "echo-pipelined",
            "Echo, 100 connections, 16 messages of 64 B at once",
            RATE_AND_CPU,
            Load { pipeline: 16, ..ECHO },
        )
        .between(&contenders),
        echo(
            "echo-large",
            "Echo, 10 connections, 64 KiB",
            RATE_AND_CPU,
            Load { connections: 10, active: 10, size: 64 * 1024, ..ECHO },
        )
        .between(&large),
        echo(
            "echo-churn",
            "Connect, echo 64 B, close: 10,000 times, 16 at once",
            RATE_AND_CPU,
            Load { connections: 16, active: 16, cycles: 10_000, ..ECHO },
        )
        .between(&contenders),
        idle.between(&["go", "tokio-mt@2", "smol-global", "tokio-ct/shared-buffer"]),
        Workload {
            name: HTTP,
            title: "HTTP/1.1 hello, `wrk -t1 -c100`",
            metrics: ALL,
            competitors: competitors(&[HTTP_SERVERS], &[]),
            work: Work::Http(Wrk { connections: 100, seconds: 1 }),
        },
    ]
}

/// The one that needs `wrk`.
pub(crate) const HTTP: &str = "http-hello";
