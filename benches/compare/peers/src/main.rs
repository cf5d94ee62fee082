//! The peers' samples, one process each; started by the comparison.

mod blocking;
mod blocking_channels;
mod floor;
mod futures;
mod futures_channels;
mod http;
mod serve;

fn main() -> std::process::ExitCode {
    workloads::sample::program(
        |job| futures::run(job).or_else(|| blocking::run(job)).or_else(|| floor::run(job)),
        serve::main,
        None,
    )
}
