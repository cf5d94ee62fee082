//! `--acceptance`: a server and a client as two processes on loopback, in every style, and what came of each
//! promise.
//!
//! The server has one worker on the first CPU, the client runs on the second. A bare epoll loop takes the
//! same tests: where the machine is slow today, speed is judged against that. Memory is the server's
//! proportional share (`Pss` of smaps_rollup) before and after this process has opened 10,000 connections,
//! each used once and then left alone.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::echo_client::raise_descriptor_limit;

const CONNECTIONS: usize = 10_000;
const ACTIVE: usize = 100;
const CYCLES: usize = 20_000;
const STYLES: [&str; 4] = ["bare epoll", "go", "async", "serve"];

/// How long a load lasts, and how often it is repeated; the median counts.
const LOAD_SECONDS: usize = 1;
const TURNS: usize = 3;

/// What any one step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much slower than bare epoll is still good enough on a slow day.
const SLOW_DAY: f64 = 1.25;

pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("echo_server: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> io::Result<bool> {
    let descriptors = raise_descriptor_limit() as usize;
    let connections = CONNECTIONS.min(descriptors.saturating_sub(100));
    let cpus = allowed_cpus();
    describe(connections, descriptors, &cpus);
    let measured = measure(connections, &cpus)?;
    Ok(print_table(&measured))
}

fn describe(connections: usize, descriptors: usize, cpus: &[usize]) {
    match cpus {
        [server, client, ..] => {
            println!("server with one worker on CPU {server}, client on CPU {client}, 127.0.0.1")
        }
        _ => println!("one CPU for server and client: the speeds are those of a crowded machine"),
    }
    if connections < CONNECTIONS {
        println!(
            "10,000 connections are impossible here: {descriptors} descriptors are allowed (`ulimit -Hn`)"
        );
    }
}

struct Measured {
    style: &'static str,
    connections: usize,
    idle_bytes: f64,
    busy: Figures,
    crowded: Figures,
    churn: Figures,
    large: Figures,
    stopped: bool,
}

/// What the client reports.
#[derive(Debug)]
struct Figures {
    requests: f64,
    req_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    errors: f64,
    dropped: f64,
}

/// All servers run side by side and take turns, so that a busy moment of the machine hits all alike; the idle
/// ones cost nothing.
fn measure(connections: usize, cpus: &[usize]) -> io::Result<Vec<Measured>> {
    let servers: Vec<_> = STYLES.iter().map(|style| Server::start(style, cpus)).collect::<io::Result<_>>()?;
    let client =
        |server: &Server, args: &[(&str, usize)]| run_client(server.address, args, cpus.get(1).copied());
    let load = |server: &Server, connections, active, size| {
        let duration = ("duration", LOAD_SECONDS);
        client(server, &[("connections", connections), ("active", active), ("size", size), duration])
    };
    eprintln!("measuring memory ...");
    let idle: Vec<_> = each(&servers, |server| server.memory_per_idle_connection(connections))?;
    eprintln!("measuring speed ...");
    let busy = median_of_turns(&servers, |server| load(server, ACTIVE, ACTIVE, 64))?;
    let crowded = median_of_turns(&servers, |server| load(server, connections, ACTIVE, 64))?;
    eprintln!("opening and closing ...");
    let churn = each(&servers, |server| client(server, &[("cycles", CYCLES), ("connections", 50)]))?;
    let large = each(&servers, |server| load(server, 8, 8, 64 * 1024))?;
    let figures = idle.into_iter().zip(busy).zip(crowded).zip(churn).zip(large);
    let measured = STYLES.into_iter().zip(servers).zip(figures).map(|((style, server), figures)| {
        let (((((connections, idle_bytes), busy), crowded), churn), large) = figures;
        let stopped = server.stop()?;
        Ok(Measured { style, connections, idle_bytes, busy, crowded, churn, large, stopped })
    });
    measured.collect()
}

fn each<R>(servers: &[Server], measure: impl Fn(&Server) -> io::Result<R>) -> io::Result<Vec<R>> {
    servers.iter().map(measure).collect()
}

/// The turn with the median speed, of each server; errors and dropped connections are those of all turns.
fn median_of_turns(
    servers: &[Server],
    measure: impl Fn(&Server) -> io::Result<Figures>,
) -> io::Result<Vec<Figures>> {
    let mut turns: Vec<Vec<Figures>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..TURNS {
        for (server, turns) in servers.iter().zip(&mut turns) {
            turns.push(measure(server)?);
        }
    }
    let median = |mut turns: Vec<Figures>| {
        turns.sort_by(|a, b| a.req_per_s.total_cmp(&b.req_per_s));
        let (errors, dropped) = (turns.iter().map(|f| f.errors).sum(), turns.iter().map(|f| f.dropped).sum());
        Figures { errors, dropped, ..turns.swap_remove(TURNS / 2) }
    };
    Ok(turns.into_iter().map(median).collect())
}

struct Server {
    child: Child,
    /// Kept open: the server prints a summary in the end.
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
    is_bare: bool,
}

impl Server {
    fn start(style: &str, cpus: &[usize]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let is_bare = style == "bare epoll";
        match is_bare {
            true => command.arg("--bare-epoll"),
            false => command.args(["--addr", "127.0.0.1:0", "--workers", "1", "--style", style]),
        };
        let cpu = if cpus.len() > 1 { Some(cpus[0]) } else { None };
        let mut child = on_cpu(cpu, || command.stdout(Stdio::piped()).spawn())?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the server has no stdout"))?;
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        match address {
            Some(address) => Ok(Self { child, stdout, address, is_bare }),
            None => {
                let _ = child.kill();
                Err(io::Error::other(format!("the server did not start: {line:?}")))
            }
        }
    }

    fn memory_per_idle_connection(&self, connections: usize) -> io::Result<(usize, f64)> {
        drop(self.open(200)?);
        std::thread::sleep(Duration::from_millis(500));
        let before = self.memory()?;
        let open = self.open(connections)?;
        std::thread::sleep(Duration::from_millis(1_000));
        let bytes = (self.memory()? - before) / open.len() as f64;
        let alive = open.iter().filter(|stream| echo_once(stream).is_ok()).count();
        drop(open);
        std::thread::sleep(Duration::from_millis(500));
        Ok((alive, bytes))
    }

    fn open(&self, connections: usize) -> io::Result<Vec<TcpStream>> {
        let open = || {
            let stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            echo_once(&stream).map(|()| stream)
        };
        (0..connections).map(|_| open()).collect()
    }

    /// The server's share of memory, in bytes.
    fn memory(&self) -> io::Result<f64> {
        let smaps = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = smaps.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0).ok_or_else(|| io::Error::other("no Pss in smaps_rollup"))
    }

    /// Asks the server to stop; whether it did, in good order.
    fn stop(mut self) -> io::Result<bool> {
        if self.is_bare {
            self.child.kill()?;
            self.child.wait()?;
            return Ok(true);
        }
        // SAFETY: a signal to our own child, which has not been waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let has_succeeded = wait_until(&mut self.child, Instant::now() + PATIENCE)?;
        let mut summary = String::new();
        self.stdout.read_to_string(&mut summary)?;
        Ok(has_succeeded && summary.starts_with("stopped after"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After a failure half way; a server that has ended does not mind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn echo_once(mut stream: &TcpStream) -> io::Result<()> {
    let mut reply = [0; 64];
    stream.write_all(&[7; 64])?;
    stream.read_exact(&mut reply)?;
    if reply == [7; 64] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether the child ends well before the deadline; killed otherwise.
fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<bool> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status.success()),
            None if Instant::now() > deadline => {
                child.kill()?;
                child.wait()?;
                return Ok(false);
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn run_client(address: SocketAddr, args: &[(&str, usize)], cpu: Option<usize>) -> io::Result<Figures> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--client", &address.to_string(), "--json"]).stdout(Stdio::piped());
    command.args(args.iter().map(|(flag, value)| format!("--{flag}={value}")));
    let mut child = on_cpu(cpu, || command.spawn())?;
    wait_until(&mut child, Instant::now() + PATIENCE)?;
    let mut json = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut json)?;
    }
    Figures::parse(&json)
        .ok_or_else(|| io::Error::other(format!("the client reported {json:?} for {args:?}")))
}

impl Figures {
    fn parse(json: &str) -> Option<Self> {
        let field = |name: &str| {
            let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
            rest.split([',', '}']).next()?.parse().ok()
        };
        Some(Self {
            requests: field("requests")?,
            req_per_s: field("req_per_s")?,
            p50_us: field("p50_us")?,
            p99_us: field("p99_us")?,
            p999_us: field("p999_us")?,
            errors: field("errors")?,
            dropped: field("dropped")?,
        })
    }

    fn is_clean(&self) -> bool {
        self.errors + self.dropped == 0.0 && self.requests > 0.0
    }

    fn latencies(&self) -> String {
        format!("{:.0} / {:.0} / {:.0}", self.p50_us, self.p99_us, self.p999_us)
    }
}

/// One line of the table: what was promised, how to show what was measured, and whether that is good enough.
struct Row {
    promise: String,
    show: fn(&Measured) -> String,
    is_kept: fn(&Measured, bare: &Measured) -> bool,
}

fn rows() -> Vec<Row> {
    let row = |promise: &str, show, is_kept| Row { promise: promise.to_owned(), show, is_kept };
    vec![
        row(
            "10,000 concurrent connections",
            |m| m.connections.to_string(),
            |m, _| m.connections == CONNECTIONS,
        ),
        row(
            "bytes per idle connection: go < 4,600, others < 1,000",
            |m| format!("{:.0}", m.idle_bytes),
            |m, _| m.idle_bytes < if m.style == "go" { 4_600.0 } else { 1_000.0 },
        ),
        row(
            "echoes/s at 100 connections of 64 B: > 100,000",
            |m| format!("{:.0}", m.busy.req_per_s),
            |m, bare| m.busy.is_fast(&bare.busy),
        ),
        row(
            "p50 / p99 / p99.9 in us: p99 < 1,000",
            |m| m.busy.latencies(),
            |m, bare| m.busy.is_prompt(&bare.busy),
        ),
        row(
            "echoes/s, 10,000 connected, 100 active: > 100,000",
            |m| format!("{:.0}", m.crowded.req_per_s),
            |m, bare| m.crowded.is_fast(&bare.crowded),
        ),
        row(
            "p50 / p99 / p99.9 in us: p99 < 1,000",
            |m| m.crowded.latencies(),
            |m, bare| m.crowded.is_prompt(&bare.crowded),
        ),
        row(
            "connections dropped: 0",
            |m| format!("{}", m.busy.dropped + m.crowded.dropped),
            |m, _| m.busy.is_clean() && m.crowded.is_clean(),
        ),
        row(
            "20,000 cycles of connect, echo, close: all",
            |m| format!("{} ({:.0}/s)", m.churn.requests, m.churn.req_per_s),
            |m, _| m.churn.is_clean() && m.churn.requests == CYCLES as f64,
        ),
        row(
            "64 KiB messages byte-exact: all",
            |m| format!("{} of {}", m.large.requests, m.large.requests + m.large.errors),
            |m, _| m.large.is_clean(),
        ),
        row(
            "SIGTERM: stops in good order",
            |m| (if m.stopped { "yes" } else { "no" }).to_owned(),
            |m, _| m.stopped,
        ),
    ]
}

impl Figures {
    fn is_fast(&self, bare: &Figures) -> bool {
        self.req_per_s > 100_000.0 || self.req_per_s * SLOW_DAY > bare.req_per_s
    }

    fn is_prompt(&self, bare: &Figures) -> bool {
        self.p99_us < 1_000.0 || self.p99_us < bare.p99_us * SLOW_DAY
    }
}

/// Prints what was promised beside what was measured; whether every promise was kept.
fn print_table(measured: &[Measured]) -> bool {
    let [bare, ours @ ..] = measured else { return false };
    print!("\n{:<52}", "promise");
    measured.iter().for_each(|m| print!("{:>22}    ", m.style));
    println!();
    let mut all_kept = true;
    for row in rows() {
        print!("{:<52}{:>22}    ", row.promise, (row.show)(bare));
        for m in ours {
            let is_kept = (row.is_kept)(m, bare);
            all_kept &= is_kept;
            print!("{:>22} {} ", (row.show)(m), if is_kept { "ok" } else { "NO" });
        }
        println!();
    }
    println!("\nSpeeds count as kept, too, when no worse than {SLOW_DAY} times bare epoll in this run.");
    println!("{}", if all_kept { "every promise was kept" } else { "not every promise was kept" });
    all_kept
}

/// The CPUs this process may use.
fn allowed_cpus() -> Vec<usize> {
    // SAFETY: all zeroes is a valid set, and the call fills it in.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        set
    };
    // SAFETY: only looks at bits within the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Runs `f` with this thread on one CPU: a process that it starts stays there.
fn on_cpu<R>(cpu: Option<usize>, f: impl FnOnce() -> R) -> R {
    let Some(cpu) = cpu else { return f() };
    let before = allowed_cpus();
    pin(&[cpu]);
    let result = f();
    pin(&before);
    result
}

fn pin(cpus: &[usize]) {
    // SAFETY: as in `allowed_cpus`; the set is read during the call only.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cpus.iter().for_each(|&cpu| libc::CPU_SET(cpu, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}
