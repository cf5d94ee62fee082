//! Building a runtime: options, defaults, and starting the workers.

use crate::coroutine::Class;
use crate::coroutine::overflow::{self, Owner};
use crate::primitive::lock;
use crate::runtime::current::{self, CurrentHome};
use crate::runtime::ending;
use crate::runtime::fork;
use crate::runtime::handle::Runtime;
use crate::runtime::home::Home;
use crate::runtime::local::LocalRuntime;
use crate::runtime::report::Report;
use crate::runtime::scheduler::{self, Scheduler};
use crate::runtime::worker::Base;
use crate::task::header::{Header, Kind, Lane};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

/// Address space of a closure's stack, guard included: ten times what an HTTP request through axum and reqwest takes in a
/// release build, 26 KB; debug builds, where it takes 132 KB, get four times as much.
const CLOSURE_SPACING: usize = if cfg!(debug_assertions) { 1 << 20 } else { 256 << 10 };

/// Address space of the stacks that futures are polled on: what they have under tokio and smol.
const FUTURE_SPACING: usize = 2 << 20;

/// The name of the main coroutine.
pub(crate) const MAIN: &str = "main";

/// Usable stack of the main coroutine: what main threads have.
pub(crate) const MAIN_STACK: usize = 8 << 20;

/// Task headers count workers in 16 bits.
const MAX_WORKERS: usize = u16::MAX as usize - 1;

/// What to do about a panic in a task that nobody will join: one whose [`JoinHandle`](crate::JoinHandle) was dropped.
///
/// The panic hook has run already, as for every panic, and by default has printed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// Nothing more: panics stop at the task.
    #[default]
    Ignore,
    /// Begin the shutdown of the runtime.
    Shutdown,
    /// Abort the process, as Go does.
    Abort,
}

/// What to do when a task waits *inside the `poll` of a future* (Go-style code called from async code).
///
/// It works, and it is what this crate is for; but it suspends everything that is concurrent only within that task, so a
/// program that does not mean to do it can find out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsInPoll {
    /// Wait. The runtime counts it ([`Handle::waits_in_poll`](crate::Handle::waits_in_poll)).
    #[default]
    Allow,
    /// Wait, and report it once for each place that spawns such tasks.
    Report,
    /// Panic in the task.
    Panic,
}

/// The options of a [`Runtime`] or a [`LocalRuntime`].
///
/// # Examples
/// ```
/// let runtime = aqueduct::Runtime::builder().workers(2).thread_name("my-worker").build()?;
/// assert_eq!(runtime.block_on(async { 5 }), 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    workers: Option<usize>,
    stack_size: Option<usize>,
    thread_name: Option<String>,
    panic_policy: PanicPolicy,
    waits_in_poll: WaitsInPoll,
    on_report: Option<ReportFn>,
}

type ReportFn = Box<dyn Fn(&Report) + Send + Sync>;

/// A scheduler's options, settled.
pub(crate) struct Config {
    pub(crate) closures: Lane,
    pub(crate) futures: Lane,
    pub(crate) panic_policy: PanicPolicy,
    pub(crate) waits_in_poll: WaitsInPoll,
    pub(crate) on_report: ReportFn,
    /// Spawn sites whose wait in a poll has been reported.
    reported: Mutex<HashSet<&'static Location<'static>>>,
}

impl Config {
    pub(crate) fn first_report_of(&self, site: &'static Location<'static>) -> bool {
        lock(&self.reported).insert(site)
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The number of worker threads. Default: the environment's `AQUEDUCT_WORKERS`, else the CPUs that this process may use,
    /// its affinity mask and cgroup quota considered. Workers are never pinned to CPUs.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Usable stack of a `go` closure in bytes, rounded up so that with its guard of 64 KiB it is a power of two. Default: the
    /// environment's `AQUEDUCT_STACK_SIZE`, else 192 KiB (960 KiB when this crate is built with debug assertions). It is
    /// address space: memory is used only for pages that are touched.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// The name of the worker threads; each gets `-` and its number appended. Default: `aqueduct`.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = Some(name.into());
        self
    }

    /// What a panic in a detached task does. Default: [`PanicPolicy::Ignore`].
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.panic_policy = policy;
        self
    }

    /// What a synchronous wait inside the poll of a future does. Default: [`WaitsInPoll::Allow`].
    pub fn waits_in_poll(mut self, policy: WaitsInPoll) -> Self {
        self.waits_in_poll = policy;
        self
    }

    /// Receives the runtime's own reports (a worker that is stuck, a coroutine that cannot be cancelled). Called on a worker,
    /// outside any task: it must not wait. Default: a line on standard error.
    pub fn on_report(mut self, report: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        self.on_report = Some(Box::new(report));
        self
    }

    /// Starts the runtime. If some worker threads cannot be started, it has fewer.
    ///
    /// # Errors
    /// - `InvalidInput`: `workers(0)`, a stack size out of range, or an environment variable that is not a number.
    /// - What the operating system says when not even one worker, with its poller, can be had.
    pub fn build(self) -> io::Result<Runtime> {
        let workers = match self.workers {
            Some(workers) => workers,
            None => default_workers()?,
        };
        if workers == 0 {
            return Err(invalid("a runtime needs at least one worker: workers(1) or more"));
        }
        if workers > MAX_WORKERS {
            return Err(invalid(&format!("{workers} workers: more than {MAX_WORKERS} are not supported")));
        }
        if self.thread_name.as_ref().is_some_and(|name| name.contains('\0')) {
            return Err(invalid("a thread name must not contain a null byte"));
        }
        let name = self.thread_name.clone().unwrap_or_else(|| "aqueduct".into());
        let config = self.config()?;
        prepare_process();
        let mut starting = Vec::new();
        for index in 0..workers {
            match start_worker(format!("{name}-{index}")) {
                Ok(worker) => starting.push(worker),
                Err(error) if starting.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        let homes = starting.iter().map(|(home, _)| *home).collect();
        let scheduler = Scheduler::new(homes, config, false);
        for (_, start) in starting {
            start.send(()).expect("a worker that has started waits for this");
        }
        Ok(Runtime::from_scheduler(scheduler))
    }

    /// A runtime on the calling thread; the number of workers is ignored.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_local(self) -> io::Result<LocalRuntime> {
        let config = self.config()?;
        prepare_process();
        let home = Home::acquire()?;
        home.reactor.set_mode(crate::reactor::Mode::Local);
        Ok(LocalRuntime::from_scheduler(Scheduler::new([home].into(), config, true)))
    }

    fn config(self) -> io::Result<Config> {
        let stack_size = match self.stack_size {
            Some(bytes) => {
                check_stack_size(bytes)?;
                Some(bytes)
            }
            None => default_stack_size()?,
        };
        let closures = match stack_size {
            Some(bytes) => scheduler::lane(bytes, false),
            None => spaced(CLOSURE_SPACING, false),
        };
        Ok(Config {
            closures,
            futures: spaced(FUTURE_SPACING, true),
            panic_policy: self.panic_policy,
            waits_in_poll: self.waits_in_poll,
            on_report: self.on_report.unwrap_or_else(|| {
                // Not `eprintln!`, which panics when nobody reads standard error.
                Box::new(|report| drop(writeln!(io::stderr(), "aqueduct: {report}")))
            }),
            reported: Mutex::default(),
        })
    }
}

/// The lane whose stacks take `spacing` bytes of address space, guard included.
fn spaced(spacing: usize, futures: bool) -> Lane {
    Lane { class: Class::for_spacing(spacing), futures }
}

/// # Errors
/// `InvalidInput` when no stack can have that size.
pub(crate) fn check_stack_size(bytes: usize) -> io::Result<()> {
    const RANGE: std::ops::RangeInclusive<u64> = 4096..=1 << 32;
    if RANGE.contains(&(bytes as u64)) {
        return Ok(());
    }
    Err(invalid(&format!("a stack of {bytes} bytes: the size must be between 4 KiB and 4 GiB, in bytes")))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn from_environment(variable: &str) -> io::Result<Option<usize>> {
    match std::env::var_os(variable) {
        None => Ok(None),
        Some(text) => match text.to_str().and_then(|text| text.trim().parse().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(invalid(&format!("{variable}={text:?} is not a number: set it to one or unset it"))),
        },
    }
}

fn default_workers() -> io::Result<usize> {
    if let Some(workers) = from_environment("AQUEDUCT_WORKERS")? {
        return match workers {
            0 => Err(invalid(
                "AQUEDUCT_WORKERS=0: a runtime needs at least one worker: set it to 1 or more, or unset it",
            )),
            _ => Ok(workers),
        };
    }
    // Considers the affinity mask and the quota of cgroups, both versions.
    Ok(thread::available_parallelism().map_or(1, usize::from))
}

fn default_stack_size() -> io::Result<Option<usize>> {
    let variable = "AQUEDUCT_STACK_SIZE";
    let Some(bytes) = from_environment(variable)? else { return Ok(None) };
    check_stack_size(bytes).map_err(|error| invalid(&format!("{variable}={bytes}: {error}")))?;
    Ok(Some(bytes))
}

/// What is done once per process, before its first runtime.
fn prepare_process() {
    fork::watch();
    overflow::install(overflowed);
}

/// For the fault handler: is `fault` in the guard of the coroutine that runs on this thread? Reads thread-locals that need no
/// initialisation, and memory that is never freed.
fn overflowed(fault: usize) -> Option<overflow::Overflow> {
    let (_, record) = current::record()?;
    let stack = record.stack.get()?;
    if !stack.guard().contains(&fault) {
        return None;
    }
    let task = record.task();
    let owner = if stack.is_by_hand() { Owner::Generator } else { task.map_or(Owner::Coroutine, owner_of) };
    Some(overflow::Overflow {
        owner,
        name: task.and_then(|task| task.name()).map(NonNull::from),
        site: task.map_or(Location::caller(), |task| task.spawn_site),
        size: stack.size(),
    })
}

/// What runs on the stack of a task. Reads fixed fields only.
fn owner_of(task: &Header) -> Owner {
    match task.kind {
        Kind::Coroutine if task.name() == Some(MAIN) && task.lane.class == Class::for_usable(MAIN_STACK) => {
            Owner::Main
        }
        Kind::Coroutine => Owner::Coroutine,
        Kind::Future if task.lane.futures => Owner::Future,
        Kind::Future => Owner::Connection,
    }
}

/// A thread that waits for the scheduler of its home to be made.
fn start_worker(name: String) -> io::Result<(&'static Home, mpsc::Sender<()>)> {
    let home = Home::acquire()?;
    home.reactor.set_mode(crate::reactor::Mode::Shared);
    let (start, started) = mpsc::channel();
    let thread = thread::Builder::new().name(name).spawn(move || {
        if started.recv().is_ok() {
            let _alternate = overflow::alternate_stack();
            current::replace_home(Some(home));
            // SAFETY: this thread drives the home from here on, alone.
            ending::run(Base { here: unsafe { CurrentHome::new(home) } });
            current::replace_home(None);
            home.scheduler().worker_ended();
        } else {
            home.release();
        }
    });
    match thread {
        Ok(_) => Ok((home, start)),
        Err(error) => {
            home.release();
            let message = format!(
                "no worker thread could be started ({error}): raise the limit on processes and threads"
            );
            Err(io::Error::new(error.kind(), message))
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("stack_size", &self.stack_size)
            .field("thread_name", &self.thread_name)
            .field("panic_policy", &self.panic_policy)
            .field("waits_in_poll", &self.waits_in_poll)
            .finish_non_exhaustive()
    }
}
