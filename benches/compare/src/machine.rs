//! What was measured, and on what.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) commit: String,
    /// The commit has uncommitted changes on top.
    pub(crate) dirty: bool,
    pub(crate) date: String,
    /// Versions of the peers, from Cargo.lock.
    pub(crate) versions: Vec<(String, String)>,
}

/// The peers whose versions stand beside the figures.
const PEERS: &[&str] = &[
    "may",
    "tokio",
    "hyper",
    "smol",
    "async-executor",
    "async-io",
    "async-lock",
    "futures",
    "crossbeam-channel",
    "flume",
    "kanal",
    "async-channel",
];

/// Where this package stands: the comparison builds and reads its own sources.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where this package's programs are built: two levels above this one, or in the usual place.
pub(crate) fn target() -> PathBuf {
    let myself = std::env::current_exe().ok();
    let above = myself.as_deref().and_then(Path::parent).and_then(Path::parent);
    above.map_or_else(|| package().join("target"), Path::to_path_buf)
}

/// The `benches` folder of the crate.
pub(crate) fn benches() -> PathBuf {
    package().join("..")
}

impl Machine {
    pub(crate) fn describe() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse::<f64>();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_kib.map_or(f64::NAN, |kib| (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rustc: said(Command::new("rustc").arg("--version")),
            commit: said(git().args(["rev-parse", "--short=12", "HEAD"])),
            dirty: !said(git().args([
                "status",
                "--porcelain",
                "--untracked-files=no",
                "--",
                "src",
                "Cargo.toml",
            ]))
            .is_empty(),
            date: said(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"])),
            versions: versions(),
        }
    }
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(benches().join(".."));
    git
}

/// What a command prints; nothing when it cannot be run.
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn versions() -> Vec<(String, String)> {
    let lock = include_str!("../Cargo.lock");
    let mut lines = lock.lines();
    let mut versions = Vec::new();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("name = ").map(|name| name.trim_matches('"')) else { continue };
        let version = lines.next().and_then(|line| line.strip_prefix("version = "));
        if let (Some(version), true) = (version, PEERS.contains(&name)) {
            versions.push((name.to_owned(), version.trim_matches('"').to_owned()));
        }
    }
    versions
}
