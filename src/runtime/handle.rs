//! A runtime, and handles on it.

use crate::runtime::builder::Builder;
use crate::runtime::dump::Dump;
use crate::runtime::fork;
use crate::runtime::scheduler::Scheduler;
use crate::runtime::shutdown::{self, ShutdownReport};
use crate::runtime::{current, global};
use crate::task::JoinHandle;
use crate::task::body::Call;
use crate::task::header::Kind;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::ops::Deref;
use std::panic::Location;
use std::time::Instant;

/// A scheduler with worker threads of its own.
///
/// It is also a [`Handle`] on itself. Several runtimes live side by side; a task of one may wait for a task of another.
///
/// Dropping it begins its [shutdown](Runtime::shutdown) and does not wait: tasks are cancelled, and the worker threads end
/// after the last of them. That is allowed anywhere, also on one of its own workers.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
///
/// let runtime = aqueduct::Runtime::new()?;
/// let handle = runtime.go(|| "from a coroutine");
/// assert_eq!(handle.join().unwrap(), "from a coroutine");
/// let report = runtime.shutdown(Instant::now() + Duration::from_secs(5));
/// assert!(report.is_complete());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Runtime {
    handle: Handle,
}

impl Runtime {
    /// A runtime with the default options.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Options for a runtime.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_scheduler(scheduler: &'static Scheduler) -> Self {
        Self { handle: Handle { scheduler } }
    }

    pub(crate) fn scheduler(&self) -> &'static Scheduler {
        self.handle.scheduler
    }

    /// A handle, to be cloned and sent wherever it is needed.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Stops the intake, cancels every task, waits until all have ended or the deadline has passed, and reports what has
    /// not stopped. Called from inside, the caller is one of them.
    ///
    /// Tasks that did not stop go on being cancelled; their workers end after them.
    #[track_caller]
    pub fn shutdown(self, deadline: Instant) -> ShutdownReport {
        shutdown::shutdown(self.scheduler(), deadline)
    }
}

impl Deref for Runtime {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if fork::is_child() {
            // The workers are the parent's, and so are the locks that they may have held.
            return;
        }
        self.scheduler().begin_shutdown();
    }
}

/// A handle on a runtime: spawns on it and waits in its context. Cheap to clone; it does not keep the runtime running.
///
/// After the runtime has shut down, what is spawned is dropped at once, and its handle reports a
/// [refused](crate::JoinError::is_refused) task.
#[derive(Clone, Copy)]
pub struct Handle {
    scheduler: &'static Scheduler,
}

impl Handle {
    pub(crate) fn from_scheduler(scheduler: &'static Scheduler) -> Self {
        Self { scheduler }
    }

    pub(crate) fn scheduler(&self) -> &'static Scheduler {
        self.scheduler
    }

    /// The current runtime's handle: on a worker its own, in a [`block_on`](Self::block_on) that one, else the global one.
    ///
    /// # Panics
    /// When the global runtime is needed and cannot be started.
    #[must_use]
    pub fn current() -> Self {
        Self { scheduler: global::current_scheduler() }
    }

    /// As [`current`](Self::current), without starting the global runtime.
    #[must_use]
    pub fn try_current() -> Option<Self> {
        current::scheduler().map(|scheduler| Self { scheduler })
    }

    /// Starts a coroutine on this runtime; see [`go`](fn@crate::go).
    #[track_caller]
    pub fn go<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let traits = self.scheduler.traits(Kind::Coroutine, Location::caller());
        // SAFETY: the closure and its output are Send and 'static.
        unsafe { Scheduler::spawn(traits, Call::new(f)) }
    }

    /// Spawns a future on this runtime; see [`spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let traits = self.scheduler.traits(Kind::Future, Location::caller());
        // SAFETY: the future and its output are Send and 'static.
        unsafe { Scheduler::spawn(traits, future) }
    }

    /// Waits for a future on the calling coroutine or thread, with this runtime as the current one: what the future spawns is
    /// spawned here. See [`block_on`](crate::block_on).
    #[track_caller]
    pub fn block_on<F: IntoFuture>(&self, future: F) -> F::Output {
        let _entered = current::enter(self.scheduler);
        crate::wait::block_on(future)
    }

    /// Runs `f` as a main coroutine on this runtime; see [`run`](crate::run).
    ///
    /// # Panics
    /// As [`run`](crate::run), and when the runtime has shut down.
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        global::run_on(self.scheduler, f, Location::caller())
    }

    /// Every live task, at this moment.
    #[must_use]
    pub fn dump(&self) -> Dump {
        Dump::of(self.scheduler)
    }

    /// The number of worker threads.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.scheduler.homes().len()
    }

    /// How often a task has waited inside the poll of a future; see [`WaitsInPoll`](crate::runtime::WaitsInPoll).
    #[must_use]
    pub fn waits_in_poll(&self) -> u64 {
        self.scheduler.waits_in_poll()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("scheduler", self.scheduler).finish()
    }
}
