//! One sample: a process of its own, watched from outside.

use std::fs;
use std::io::{self, BufRead, Read};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the system says about a process that has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) peak_rss_bytes: u64,
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started, fails (with what it said), or is not done in time (it is killed then).
pub(crate) fn output(command: &mut Command, limit: Duration) -> io::Result<(String, Usage)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + limit;
    let mut stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
    let mut stderr = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
    let complaint = std::thread::spawn(move || {
        let mut text = String::new();
        drop(stderr.read_to_string(&mut text));
        text
    });
    let mut text = String::new();
    let in_time = read_all(&mut stdout, &mut text, deadline)?;
    if !in_time {
        child.kill()?;
    }
    let (success, usage) = wait(&child)?;
    let complaint = complaint.join().unwrap_or_default();
    match (in_time, success) {
        (true, true) => Ok((text, usage)),
        (false, _) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("not done within {limit:?}"))),
        _ => Err(io::Error::other(first_line_that_tells(&complaint))),
    }
}

/// Reads to the end; false when the deadline has passed before that.
fn read_all(stream: &mut (impl Read + AsRawFd), text: &mut String, deadline: Instant) -> io::Result<bool> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, as is said.
        match unsafe { libc::poll(&mut polled, 1, left.as_millis().min(60_000) as i32) } {
            0 if left.is_zero() => return Ok(false),
            0 => continue,
            -1 => return Err(io::Error::last_os_error()),
            _ => {}
        }
        match stream.read(&mut part)? {
            0 => break,
            n => bytes.extend_from_slice(&part[..n]),
        }
    }
    text.push_str(&String::from_utf8_lossy(&bytes));
    Ok(true)
}

/// Waits for the child, which nobody else waits for, and tells whether it succeeded and what it used.
fn wait(child: &Child) -> io::Result<(bool, Usage)> {
    let mut status = 0;
    // SAFETY: all zero is a valid `rusage`; the call writes to both places and to nothing else.
    let (result, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(child.id() as i32, &mut status, 0, &mut usage), usage)
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    let usage =
        Usage { cpu: of(usage.ru_utime) + of(usage.ru_stime), peak_rss_bytes: usage.ru_maxrss as u64 * 1024 };
    Ok((libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, usage))
}

/// A server's process; killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    ended: bool,
}

impl Server {
    /// Starts a server and waits until it has said where it listens.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let mut line = String::new();
        io::BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let mut server = Self { child, address: String::new(), ended: false };
        server.address =
            address.ok_or_else(|| io::Error::other("the server does not say where it listens"))?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server has ended by itself.
    pub(crate) fn wait(mut self) -> io::Result<Usage> {
        self.ended = true;
        Ok(wait(&self.child)?.1)
    }

    /// Kills the server and tells what it has used.
    pub(crate) fn end(mut self) -> io::Result<Usage> {
        self.ended = true;
        self.child.kill()?;
        Ok(wait(&self.child)?.1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.ended {
            drop(self.child.kill());
            drop(wait(&self.child));
        }
    }
}

/// Lets the command's process run on one CPU only.
pub(crate) fn pin(command: &mut Command, cpu: usize) {
    use std::os::unix::process::CommandExt;
    let on_cpu = move || {
        // SAFETY: all zero is the empty set; both calls touch only the set.
        let result = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of_val(&set), &set)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(on_cpu) };
}

/// Waits while so many sockets are in TIME_WAIT that the kernel is about to make no more of them, from where on every server
/// would look faster.
pub(crate) fn wait_for_ports() {
    const TIME_WAIT_MAX: u64 = 60_000;
    let in_time_wait = || -> Option<u64> {
        let text = fs::read_to_string("/proc/net/sockstat").ok()?;
        let line = text.lines().find(|line| line.starts_with("TCP:"))?;
        line.split_whitespace().skip_while(|word| *word != "tw").nth(1)?.parse().ok()
    };
    for _ in 0..120 {
        if in_time_wait().is_none_or(|sockets| sockets < TIME_WAIT_MAX) {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn first_line_that_tells(complaint: &str) -> String {
    let mut lines = complaint.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or("it failed and said nothing");
    // A panic's place, and then its message.
    match lines.next() {
        Some(second) if first.contains("panicked at") => format!("{first} {second}"),
        _ => first.to_owned(),
    }
}

/// CPU time that all processes of the machine have used.
#[derive(Clone, Copy)]
pub(crate) struct MachineCpu {
    busy: Duration,
    at: Instant,
}

impl MachineCpu {
    pub(crate) fn now() -> Self {
        Self { busy: machine_busy().unwrap_or_default(), at: Instant::now() }
    }

    /// How many CPUs others have kept busy since then, on average, when `ours` is what we used ourselves.
    pub(crate) fn foreign_since(self, ours: Duration) -> f64 {
        let now = Self::now();
        let others = (now.busy - self.busy).saturating_sub(ours);
        others.as_secs_f64() / (now.at - self.at).as_secs_f64().max(1e-9)
    }
}

/// The first line of /proc/stat, without idle and waiting time; what the host has taken away counts as busy. Without the kernel's work
/// on interrupts, which is that of our own connections, and in part counted as the processes' too.
fn machine_busy() -> Option<Duration> {
    let text = fs::read_to_string(Path::new("/proc/stat")).ok()?;
    let fields: Vec<u64> =
        text.lines().next()?.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let ticks = |index: usize| fields.get(index).copied().unwrap_or(0);
    let busy = ticks(0) + ticks(1) + ticks(2) + ticks(7);
    // SAFETY: a query without arguments.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    Some(Duration::from_millis(busy * 1_000 / per_second))
}
