//! The peers' samples, one process each; started by the comparison.

mod blocking;
mod blocking_channels;
mod futures;
mod futures_channels;
mod serve;

fn main() -> std::process::ExitCode {
    workloads::sample::program(|job| futures::run(job).or_else(|| blocking::run(job)), serve::main, None)
}
