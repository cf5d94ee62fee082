//! Servers for one test or example: started as children on a port of their own in a directory of their own, and ended by their
//! process id when dropped, also by a panic; should this process be killed or abort, the system ends them.
//!
//! Debian: `apt-get install redis-server postgresql`. A server that cannot be started is an error that says so, never a skip.
#![allow(dead_code, reason = "each test and example uses its own share")]

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

/// How long a server may take to come up; generous, for machines under load.
const START: Duration = Duration::from_secs(60);

/// A directory that is removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> io::Result<Self> {
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_err(io::Error::other)?
            .as_nanos();
        let path = std::env::temp_dir().join(format!("aqueduct-{name}-{}-{nanos}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Left behind it takes some space, no more.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child that is ended when dropped.
struct Process {
    child: Child,
    log: PathBuf,
    /// What asks it to end at once and in order.
    signal: i32,
}

impl Process {
    fn start(mut command: Command, package: &str, log: PathBuf, signal: i32) -> io::Result<Self> {
        let output = fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let program = command.get_program().display().to_string();
        let child = spawn(command, signal).map_err(|error| {
            let missing = format!("cannot start {program} (Debian: `apt-get install {package}`): {error}");
            io::Error::new(error.kind(), missing)
        })?;
        Ok(Self { child, log, signal })
    }

    /// Waits until it is ready; fails when it has ended, or takes too long.
    fn until(&mut self, mut ready: impl FnMut() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + START;
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failed(&format!("ended: {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.failed(&format!("was not ready after {START:?}")));
            }
            // Another program's start can only be looked at.
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn failed(&self, how: &str) -> io::Error {
        let log = self.log();
        let kind = if log.contains("Address already in use") {
            io::ErrorKind::AddrInUse
        } else {
            io::ErrorKind::Other
        };
        io::Error::new(kind, format!("the server {how}\n{log}"))
    }

    fn kill(&mut self, signal: i32) {
        let pid = self.child.id() as libc::pid_t;
        // SAFETY: no memory is involved; the child has not been waited for, so the number is still its own.
        unsafe { libc::kill(pid, signal) };
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill(self.signal);
        }
        let _ = self.child.wait();
    }
}

/// Spawns a child that is sent `signal` when this process ends, however that may be. The system sends it when the *thread* that
/// spawned the child ends: hence one that does not.
fn spawn(mut command: Command, signal: i32) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (tx, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, child) in orders {
                child.send(command.spawn()).expect("it is waited for");
            }
        });
        Mutex::new(tx)
    });
    // SAFETY: `prctl` is safe to call between fork and exec, and nothing else is done there.
    unsafe {
        command.pre_exec(move || match libc::prctl(libc::PR_SET_PDEATHSIG, signal) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let (tx, child) = mpsc::channel();
    let spawner = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
    spawner.send((command, tx)).expect("the thread does not end");
    child.recv().expect("the thread answers")
}

/// Tries several ports: neither server can be told to choose one itself, and one that was free a moment ago may not be any more.
fn on_a_free_port<T>(mut start: impl FnMut(u16) -> io::Result<T>) -> io::Result<T> {
    let mut tries = 0;
    loop {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        tries += 1;
        match start(port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < 5 => {}
            started => return started,
        }
    }
}

/// A `redis-server` that keeps nothing.
pub(crate) struct Redis {
    port: u16,
    // Ended before its directory goes.
    process: Process,
    _directory: Directory,
}

impl Redis {
    /// Starts one.
    pub(crate) fn start() -> io::Result<Self> {
        Self::with(&[])
    }

    /// Starts one with more options.
    pub(crate) fn with(options: &[&str]) -> io::Result<Self> {
        on_a_free_port(|port| {
            let directory = Directory::new("redis")?;
            let mut command = Command::new("redis-server");
            command
                .args([
                    "--bind",
                    "127.0.0.1",
                    "--port",
                    &port.to_string(),
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ])
                .arg("--dir")
                .arg(&directory.0)
                .args(options);
            let log = directory.0.join("log");
            let mut process = Process::start(command, "redis-server", log.clone(), libc::SIGTERM)?;
            process.until(|| says(&log, "Ready to accept connections"))?;
            Ok(Self { port, process, _directory: directory })
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// As a URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn crash(mut self) {
        self.process.kill(libc::SIGKILL);
    }
}

fn says(log: &Path, line: &str) -> bool {
    fs::read_to_string(log).is_ok_and(|text| text.contains(line))
}

/// A PostgreSQL server that trusts everybody, with the user and database `postgres`.
pub(crate) struct Postgres {
    port: u16,
    process: Process,
    _directory: Directory,
}

impl Postgres {
    /// The one that tests which run at the same time use together: a cluster takes seconds to make. It ends with its last user.
    pub(crate) fn shared() -> io::Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// Makes a cluster and starts its server. It refuses to be run by root: then it is run by the user `postgres`.
    pub(crate) fn start() -> io::Result<Self> {
        let directory = Directory::new("postgres")?;
        let user = Unprivileged::find()?;
        if let Some(user) = &user {
            std::os::unix::fs::chown(&directory.0, Some(user.uid), Some(user.gid))?;
        }
        let data = directory.0.join("data");
        initdb(&data, &directory.0, user.as_ref())?;

        let (port, process) = on_a_free_port(|port| {
            let mut command = Command::new(program("postgres"));
            command
                .arg("-D")
                .arg(&data)
                .args([
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &port.to_string(),
                    "-c",
                    "fsync=off",
                    "-c",
                    "shared_buffers=16MB",
                ])
                .args(["-c", "max_connections=30", "-c", "unix_socket_directories="])
                .current_dir(&directory.0);
            Unprivileged::apply(user.as_ref(), &mut command);
            // SIGINT: fast shutdown. It leaves no shared memory behind.
            let mut process = Process::start(command, "postgresql", directory.0.join("log"), libc::SIGINT)?;
            let pid_file = data.join("postmaster.pid");
            process.until(|| fs::read_to_string(&pid_file).is_ok_and(|text| says_ready(&text)))?;
            Ok((port, process))
        })?;
        Ok(Self { port, process, _directory: directory })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// As a URL.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address())
    }
}

/// The last line of `postmaster.pid` is its state.
fn says_ready(pid_file: &str) -> bool {
    pid_file.lines().nth(7).is_some_and(|line| line.trim() == "ready")
}

fn initdb(data: &Path, directory: &Path, user: Option<&Unprivileged>) -> io::Result<()> {
    let mut command = Command::new(program("initdb"));
    command
        .arg("-D")
        .arg(data)
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        .current_dir(directory);
    Unprivileged::apply(user, &mut command);
    let log = directory.join("initdb.log");
    let mut process = Process::start(command, "postgresql", log, libc::SIGTERM)?;
    match process.child.wait()? {
        status if status.success() => Ok(()),
        status => Err(process.failed(&format!("could not be prepared, initdb: {status}"))),
    }
}

/// A program of PostgreSQL, which Debian does not put into the path; of several versions the newest.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .max_by_key(|(version, _)| *version);
    match newest.map(|(_, path)| path.join("bin").join(name)) {
        Some(path) if path.exists() => path,
        _ => name.into(),
    }
}

/// The user that PostgreSQL is run by when we are root.
struct Unprivileged {
    uid: u32,
    gid: u32,
}

impl Unprivileged {
    fn find() -> io::Result<Option<Self>> {
        // SAFETY: no arguments, cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let entry = users.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let ids = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
            (fields[0] == "postgres").then_some(ids)
        });
        let missing = "PostgreSQL is not run by root, and there is no user postgres (Debian: `apt-get install postgresql`)";
        let (uid, gid) = entry.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, missing))?;
        Ok(Some(Self { uid, gid }))
    }

    fn apply(user: Option<&Self>, command: &mut Command) {
        if let Some(Self { uid, gid }) = user {
            command.uid(*uid).gid(*gid);
        }
    }
}
