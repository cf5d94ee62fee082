//! Where CPU time goes, by `perf`'s samples: of servers, most of whose time is the kernel's, and of what callgrind cannot run.

use std::io;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use workloads::Sample;

use crate::plan::{Load, Work, Wrk};
use crate::run::{Run, SAMPLE_LIMIT};
use crate::{callgrind, machine, process};

/// For so long samples are taken, and the load runs: connecting may take longer or less than is said.
const SAMPLED_S: u64 = 1;
const LOAD_MS: u64 = 2_500;
/// What a connection takes that is made before, and the rest of the start.
const CONNECT: Duration = Duration::from_micros(120);
const BEFORE: Duration = Duration::from_millis(400);

/// CPU ns of an operation in all, and its parts.
pub(crate) type Profile = (f64, Vec<(String, f64)>);

/// CPU ns of a request in all, and where they go: the kernel's part, the program's part, and of that the functions that take most.
pub(crate) fn of_server(run: &Run, work: Work, competitor: &str, count: usize) -> io::Result<Profile> {
    let file = machine::target().join("perf.data");
    let (work, before) = longer(work);
    let (server, mut client) = run.server(work, competitor, 1)?;
    let mut record = Command::new("perf");
    record.args(["record", "-q", "-F", "1999", "-e", "cpu-clock", "-p", &server.pid().to_string(), "-o"]);
    record.arg(&file).args(["--", "sleep", &SAMPLED_S.to_string()]);
    let (loaded, recorded) = thread::scope(|scope| {
        let loading = scope.spawn(|| Run::load(work, &server, &mut client));
        thread::sleep(before);
        let recorded = process::output(&mut record, SAMPLE_LIMIT);
        (loading.join(), recorded)
    });
    let (sample, _) = loaded.map_err(|_| io::Error::other("the client panicked"))??;
    drop(server.end());
    recorded?;
    parts(&reported(&file)?, sample, count)
}

/// A load that lasts as long as is wanted, and when that has begun. Where connections are made and closed, that is the load.
fn longer(work: Work) -> (Work, Duration) {
    match work {
        Work::Echo(load) if load.cycles > 0 => (work, Duration::ZERO),
        Work::Echo(load) => {
            let before = BEFORE + CONNECT * load.connections as u32;
            (Work::Echo(Load { duration_ms: LOAD_MS, ..load }), before)
        }
        Work::Http(load) => (Work::Http(Wrk { seconds: LOAD_MS.div_ceil(1_000), ..load }), BEFORE),
        Work::Operations(_) => (work, Duration::ZERO),
    }
}

/// The same of a program that takes one sample.
pub(crate) fn of_program(
    run: &Run,
    [workload, competitor]: [&str; 2],
    ops: u64,
    lane: usize,
    count: usize,
) -> io::Result<Profile> {
    let file = machine::target().join(format!("perf.{lane}.data"));
    let tool = ["perf", "record", "-q", "-F", "1999", "-e", "cpu-clock", "-o", &file.display().to_string()];
    let mut command = run.command(competitor, 1, &tool);
    command.args(["sample", workload, competitor, "--workers", "1", "--ops", &ops.to_string()]);
    let sample = serde_json::from_str(process::output(&mut command, SAMPLE_LIMIT)?.0.trim())?;
    parts(&reported(&file)?, sample, count)
}

fn reported(file: &Path) -> io::Result<String> {
    let mut report = Command::new("perf");
    report.arg("report").arg("-i").arg(file);
    report.args(["--stdio", "-q", "--no-children", "-g", "none", "-s", "symbol"]);
    Ok(process::output(&mut report, SAMPLE_LIMIT)?.0)
}

/// Lines like ` 12.34%  [k] tcp_sendmsg    -  -`; `[.]` is the program's.
fn parts(text: &str, sample: Sample, count: usize) -> io::Result<Profile> {
    let whole = sample.cpu_ns as f64 / sample.ops as f64;
    let line = |line: &str| {
        let (share, rest) = line.trim().split_once('%')?;
        let share: f64 = share.parse().ok()?;
        let (place, rest) = rest.trim_start().split_at_checked(3)?;
        let name = rest.split("   ").next()?.trim().to_owned();
        Some((place == "[k]", name, share / 100.0 * whole))
    };
    let lines: Vec<_> = text.lines().filter_map(line).collect();
    if lines.is_empty() {
        return Err(io::Error::other("perf took no samples"));
    }
    let sum = |kernel: bool| lines.iter().filter(|line| line.0 == kernel).map(|line| line.2).sum();
    let mut parts = vec![
        ("the kernel, all of it".to_owned(), sum(true)),
        ("the program, all of it".to_owned(), sum(false)),
    ];
    let own = lines.into_iter().filter(|(kernel, ..)| !kernel);
    parts.extend(own.map(|(_, name, ns)| (callgrind::short(&name), ns)).take(count));
    Ok((whole, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_times_and_the_kernels_functions_are_one() {
        let text = "    60.00%  [k] tcp_sendmsg      -      -\n    15.00%  [k] schedule   -   -\n\
                    \x20   20.00%  [.] <aqueduct::net::TcpStream as std::io::Read>::read      -      -\n     5.00%  [.] main   - -\n\n";
        let sample = Sample { ops: 10, cpu_ns: 60_000, ..Sample::default() };
        let (whole, parts) = parts(text, sample, 1).unwrap();
        assert_eq!(whole, 6_000.0);
        assert_eq!(parts.len(), 3);
        assert_eq!((parts[0].1, parts[1].1), (4_500.0, 1_500.0));
        assert_eq!(parts[2], ("<aqueduct::net::TcpStream as std::io::Read>::read".to_owned(), 1_200.0));
    }
}
