//! aqueduct's samples, one process each; started by the comparison. Everything here is its public API with default settings.

mod blocking;
mod futures;
mod http;
mod load;
mod serve;
mod steady;

fn main() -> std::process::ExitCode {
    workloads::sample::program(
        |job| futures::run(job).or_else(|| blocking::run(job)).or_else(|| steady::run(job)),
        serve::main,
        Some(load::main),
    )
}
