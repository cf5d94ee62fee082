//! Where a server's CPU time goes, by `perf`'s samples.

use std::io;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::machine;
use crate::plan::{Competitor, Load};
use crate::process;
use crate::run::{Run, SAMPLE_LIMIT};

/// The load runs longer than the samples are taken.
const LOAD_MS: u64 = 1_600;
const BEFORE: Duration = Duration::from_millis(400);

/// CPU ns of a request in all, and where they go: the kernel's part, the program's part, and of that the functions that take most.
pub(crate) fn profile(
    run: &Run,
    load: Load,
    competitor: &Competitor,
    count: usize,
) -> io::Result<(f64, Vec<(String, f64)>)> {
    let file = machine::target().join("perf.data");
    let mut client = run.client();
    let server = run.server(competitor.name, 1, &mut client)?;
    let pid = server.pid();
    // What takes no time of its own, churn, is not profiled.
    Run::load_args(&mut client, &server, &Load { duration_ms: LOAD_MS, ..load });
    let loading = thread::spawn(move || process::output(&mut client, SAMPLE_LIMIT));
    thread::sleep(BEFORE);
    let mut record = Command::new("perf");
    record.args(["record", "-q", "-F", "1999", "-e", "cpu-clock", "-p", &pid.to_string(), "-o"]);
    record.arg(&file).args(["--", "sleep", "1"]);
    let recorded = process::output(&mut record, SAMPLE_LIMIT);
    let loaded = loading.join().map_err(|_| io::Error::other("the client panicked"))?;
    drop(server.end());
    recorded?;
    let sample: workloads::Sample = serde_json::from_str(loaded?.0.trim())?;
    let mut report = Command::new("perf");
    report.arg("report").arg("-i").arg(&file);
    report.args(["--stdio", "-q", "--no-children", "-g", "none", "-s", "symbol"]);
    let (text, _) = process::output(&mut report, SAMPLE_LIMIT)?;
    let each = sample.cpu_ns as f64 / sample.ops as f64;
    Ok((each, parts(&text, each, count)))
}

/// Lines like ` 12.34%  [k] tcp_sendmsg    -  -`; `[.]` is the program's.
fn parts(text: &str, whole: f64, count: usize) -> Vec<(String, f64)> {
    let line = |line: &str| {
        let (share, rest) = line.trim().split_once('%')?;
        let share: f64 = share.parse().ok()?;
        let (place, rest) = rest.trim_start().split_at_checked(3)?;
        let name = rest.split("   ").next()?.trim().to_owned();
        Some((place == "[k]", name, share / 100.0 * whole))
    };
    let lines: Vec<_> = text.lines().filter_map(line).collect();
    let sum =
        |of_kernel: bool| lines.iter().filter(|(kernel, ..)| *kernel == of_kernel).map(|(_, _, ns)| ns).sum();
    let mut parts = vec![
        ("the kernel, all of it".to_owned(), sum(true)),
        ("the program, all of it".to_owned(), sum(false)),
    ];
    let own = lines
        .into_iter()
        .filter(|(kernel, ..)| !kernel)
        .map(|(_, name, ns)| (crate::callgrind::short(&name), ns));
    parts.extend(own.take(count));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_times_and_the_kernels_functions_are_one() {
        let text = "    60.00%  [k] tcp_sendmsg      -      -\n    15.00%  [k] schedule   -   -\n\
                    \x20   20.00%  [.] <aqueduct::net::TcpStream as std::io::Read>::read      -      -\n     5.00%  [.] main   - -\n\n";
        let parts = parts(text, 6_000.0, 1);
        assert_eq!(parts.len(), 3);
        assert_eq!((parts[0].1, parts[1].1), (4_500.0, 1_500.0));
        assert_eq!(parts[2], ("<aqueduct::net::TcpStream as std::io::Read>::read".to_owned(), 1_200.0));
    }
}
