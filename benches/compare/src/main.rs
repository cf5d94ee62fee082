//! aqueduct side by side with its peers: the same workloads, once for each runtime, in one run.
//!
//! ```text
//! cargo run --release --manifest-path benches/compare/Cargo.toml -- --quick
//! cargo run --release --manifest-path benches/compare/Cargo.toml -- --only ping-pong --workers 1
//! cargo run --release --manifest-path benches/compare/Cargo.toml -- --help
//! ```
//!
//! The driver starts one process for each sample, the competitors in turn (A B C A B C ...), and compares medians. Every
//! workload checks what came out, so that a runtime that loses a message fails. aqueduct is used through its public API with
//! default settings, the same for every workload.
//!
//! - `driver`: who is compared with whom, the processes, the figures and what is written about them
//! - `asynchronous`: the workloads for runtimes and channels that speak in futures
//! - `blocking`: the workloads for coroutines and threads
//! - `go/`: the workloads in Go

mod asynchronous;
mod blocking;
mod driver;
mod measure;
mod sample;
mod shapes;

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    let result = match args.peek().and_then(|first| first.to_str()) {
        Some("sample") => sample::main(lexopt::Parser::from_args(args.skip(1))),
        _ => driver::main(lexopt::Parser::from_args(args)),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::from(2)
        }
    }
}
