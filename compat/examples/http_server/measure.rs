//! Requests a second under `wrk`, in turns, so that what else the machine does meets all alike.

use crate::Style;
use aqueduct_compat::hyper::BoxError;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const STYLES: [Style; 3] = [Style::Async, Style::Go, Style::Tokio];
const ROUNDS: usize = 5;
const SECONDS: u32 = 2;

/// Starts a server of each style and measures them in turns.
pub(crate) fn run() -> Result<(), BoxError> {
    let servers = STYLES.map(Running::start).into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut rates = vec![Vec::new(); servers.len()];
    for round in 0..=ROUNDS {
        for (server, rates) in servers.iter().zip(&mut rates) {
            let rate = wrk(&format!("http://{}/", server.address))?;
            // The first round warms up.
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let medians: Vec<f64> = rates.into_iter().map(median).collect();
    let tokio = medians[STYLES.len() - 1];
    for (style, median) in STYLES.iter().zip(medians) {
        println!("{style:?}: {median:.0} requests/s, {:.2} x tokio's", median / tokio);
    }
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn wrk(url: &str) -> Result<f64, BoxError> {
    let output = Command::new("wrk").args(["-t1", "-c100", &format!("-d{SECONDS}s"), url]).output();
    let output =
        output.map_err(|error| format!("cannot run wrk ({error}); Debian has it in the package wrk"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let field = |name| text.lines().find_map(|line: &str| line.trim().strip_prefix(name));
    if let Some(errors) = field("Socket errors:").or_else(|| field("Non-2xx")) {
        return Err(format!("{url}: {errors}").into());
    }
    let rate = field("Requests/sec:").ok_or_else(|| format!("wrk said: {text}"))?;
    Ok(rate.trim().parse()?)
}

/// A server in a process of its own, ended with this value.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(style: Style) -> Result<Self, BoxError> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--addr", "127.0.0.1:0", "--style", &format!("{style:?}").to_lowercase()])
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().expect("it is piped");
        let mut running = Self { child, address: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        running.address = line.split(' ').nth(2).ok_or("the server did not start")?.to_string();
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
