//! `wrk`, the client of the HTTP servers: how it is called, and what it says.

use std::io;
use std::process::{Command, Stdio};

use workloads::Sample;

use crate::plan::Wrk;

pub(crate) const MISSING: &str = "HTTP hello: `wrk` is not there";

pub(crate) fn is_there() -> bool {
    // It has no option that does nothing: without an address it tells how it is used, and fails.
    let run = Command::new("wrk").stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok()
}

pub(crate) fn command(load: Wrk) -> Command {
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{}", load.connections), &format!("-d{}s", load.seconds), "--latency"]);
    command
}

/// What `wrk` has printed, as a sample of a server that has used so much CPU time.
pub(crate) fn sample(text: &str, server_cpu_ns: u64) -> io::Result<Sample> {
    let field = |name: &str| text.lines().find_map(|line| Some(line.trim().strip_prefix(name)?.trim()));
    if let Some(errors) = field("Socket errors:").or_else(|| field("Non-2xx")) {
        return Err(io::Error::other(format!("wrk has seen errors: {errors}")));
    }
    let unclear = || io::Error::other(format!("wrk said: {text}"));
    let rate: f64 = field("Requests/sec:").and_then(|rate| rate.parse().ok()).ok_or_else(unclear)?;
    let line = text.lines().find(|line| line.contains(" requests in ")).ok_or_else(unclear)?;
    let requests: u64 = line.split_whitespace().next().and_then(|n| n.parse().ok()).ok_or_else(unclear)?;
    let latency = |name| field(name).and_then(microseconds).ok_or_else(unclear);
    let extra = [("requests_per_s", rate), ("p50_us", latency("50%")?), ("p99_us", latency("99%")?)];
    Ok(Sample {
        ops: requests.max(1),
        wall_ns: (requests as f64 / rate * 1e9) as u64,
        cpu_ns: server_cpu_ns,
        allocations: None,
        extra: extra.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    })
}

/// `823.00us`, `1.13ms`, `2.00s`
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6)];
    units.into_iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
Running 1s test @ http://127.0.0.1:43211/
  1 threads and 100 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   701.06us   96.05us   3.08ms   91.83%
    Req/Sec   143.11k     2.52k  146.20k    72.73%
  Latency Distribution
     50%  686.00us
     75%  712.00us
     90%  758.00us
     99%    1.13ms
  156542 requests in 1.10s, 12.54MB read
Requests/sec: 142316.81
Transfer/sec:     11.40MB
";

    #[test]
    fn what_it_says_becomes_a_sample() {
        let sample = sample(SAID, 1_565_420).unwrap();
        assert_eq!((sample.ops, sample.cpu_ns), (156_542, 1_565_420));
        assert_eq!(sample.extra["requests_per_s"], 142_316.81);
        assert_eq!((sample.extra["p50_us"], sample.extra["p99_us"]), (686.0, 1130.0));
    }

    #[test]
    fn errors_fail_the_sample() {
        for line in
            ["  Socket errors: connect 0, read 3, write 0, timeout 0", "  Non-2xx or 3xx responses: 7"]
        {
            let text = SAID.replace("Requests/sec", &format!("{line}\nRequests/sec"));
            assert!(sample(&text, 0).unwrap_err().to_string().contains("errors"));
        }
        assert!(sample("unable to connect", 0).is_err());
    }
}
