//! aqueduct side by side with its peers: the same workloads, once for each runtime, in one run.
//!
//! ```text
//! cargo run --release --manifest-path benches/compare/Cargo.toml              # everything: about half an hour
//! cargo run --release --manifest-path benches/compare/Cargo.toml -- --quick
//! cargo run --release --manifest-path benches/compare/Cargo.toml -- --resume   # what an interrupted run has not measured
//! cargo run --release --manifest-path benches/compare/Cargo.toml -- --only ping-pong --workers 1
//! cargo run --release --manifest-path benches/compare/Cargo.toml -- --help
//! ```
//!
//! The driver starts one process for each sample, the competitors in turn (A B C A B C ...), and compares medians. Every
//! workload checks what came out, so that a runtime that loses a message fails. aqueduct is used through its public API with
//! default settings, the same for every workload.
//!
//! - this package: who is compared with whom, the processes, the figures and what is written about them
//! - `workloads`: every workload once, for what speaks in futures and for what waits on the spot
//! - `ours`, `peers`: the runtimes and channels, as programs that take one sample
//! - `go`: the workloads in Go
//! - `notes`: what explains the bars that are not met, by hand

mod bars;
mod callgrind;
mod chart;
mod costs;
mod driver;
mod growth;
mod machine;
mod options;
mod perf;
mod plan;
mod process;
mod report;
mod results;
mod run;
mod wrk;

fn main() -> std::process::ExitCode {
    match driver::main(lexopt::Parser::from_env()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::from(2)
        }
    }
}
