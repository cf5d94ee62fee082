//! The result of a task and the handle that waits for it.

use crate::runtime::current;
use crate::runtime::{PanicPolicy, Scheduler};
use crate::task::abort::AbortHandle;
use crate::task::cell::Handle;
use crate::task::header::Header;
use crate::task::{Id, cancel};
use crate::time::{deadline_after, timeout_at};
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Why a task has no value.
pub(crate) enum Failure {
    Cancelled,
    Panicked(Box<dyn Any + Send>),
}

/// Drops the result of a task that nobody joins. What a value's destructor throws ends here (the panic hook has told of it).
pub(crate) fn discard<T>(scheduler: &'static Scheduler, result: Result<T, Failure>) {
    let panicked = matches!(result, Err(Failure::Panicked(_)));
    let destructor = catch_unwind(AssertUnwindSafe(|| drop(result)));
    if panicked || destructor.is_err() {
        // A payload's own destructor may throw as well: forgotten rather than fought.
        mem::forget(destructor);
        scheduler.detached_panic();
    }
}

impl Scheduler {
    /// A panic that no joiner will see.
    fn detached_panic(&'static self) {
        match self.config().panic_policy {
            PanicPolicy::Ignore => {}
            PanicPolicy::Shutdown => self.begin_shutdown(),
            PanicPolicy::Abort => std::process::abort(),
        }
    }
}

/// Waits for a task and owns its result. Dropping it detaches the task, which goes on.
///
/// It is a future (`handle.await`), and [`join`](Self::join) waits for it in Go-style code.
///
/// # Cancel safety
/// Dropping the handle, or a future that holds it, detaches the task: *completes anyway*. Waiting through `&mut handle`
/// and giving up leaves everything as it was: *nothing happened*.
///
/// # Panics
/// When it is polled after it has given its result. A waker that it is polled with must not panic when it is woken: that aborts the
/// process.
///
/// # Examples
/// ```
/// let sum = aqueduct::go(|| (1..=10).sum::<u32>());
/// assert_eq!(sum.join().unwrap(), 55);
///
/// let product = aqueduct::spawn(async { (1..=5).product::<u32>() });
/// assert_eq!(aqueduct::block_on(product).unwrap(), 120);
/// ```
pub struct JoinHandle<T> {
    /// Dropping it detaches the task.
    task: Handle<T>,
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(task: Handle<T>) -> Self {
        Self { task }
    }

    fn header(&self) -> &Header {
        self.task.header()
    }

    /// Waits for the task to end and returns what it returned.
    ///
    /// # Blocking
    /// Suspends the calling coroutine (or task, with everything concurrent only within it); off the workers it blocks the
    /// thread.
    ///
    /// # Errors
    /// [`JoinError`] when the task panicked, was cancelled, or is the caller itself.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        crate::wait::block_on(self)
    }

    /// As [`join`](Self::join), for at most so long. When the time is up the task goes on, and the handle is given back.
    ///
    /// # Blocking
    /// As [`join`](Self::join).
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here, which detaches the other one: *completes anyway*.
    ///
    /// # Errors
    /// The handle, when the time is up. What the task gave, or why it gave nothing, is the value.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = aqueduct::channel::bounded(0);
    /// let task = aqueduct::go(move || rx.recv());
    /// let task = task.join_timeout(Duration::from_millis(1)).expect_err("it waits for a message");
    /// tx.send(5).unwrap();
    /// assert_eq!(task.join_timeout(Duration::from_secs(60)).expect("it has one").unwrap(), Ok(5));
    /// ```
    #[track_caller]
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        self.join_deadline(deadline_after(timeout))
    }

    /// As [`join`](Self::join), until `deadline` at the latest; see [`join_timeout`](Self::join_timeout).
    ///
    /// # Blocking
    /// # Cancel safety
    /// As there.
    ///
    /// # Errors
    /// The handle, when the deadline has passed.
    #[track_caller]
    pub fn join_deadline(mut self, deadline: Instant) -> Result<Result<T, JoinError>, Self> {
        match crate::wait::block_on(timeout_at(deadline, &mut self)) {
            Ok(result) => Ok(result),
            Err(_) => Err(self),
        }
    }

    /// A handle that cancels the task and does not own its result: this one may be joined meanwhile.
    ///
    /// # Examples
    /// ```
    /// let task = aqueduct::spawn(std::future::pending::<()>());
    /// let abort = task.abort_handle();
    /// aqueduct::go(move || abort.cancel());
    /// assert!(task.join().unwrap_err().is_cancelled());
    /// ```
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::of(self.header())
    }

    /// Asks the task to end. Idempotent, from any thread, and it does not wait: `join` does.
    ///
    /// A task that has not started, or a future between two polls, is dropped by a worker. A task suspended in a wait
    /// unwinds from it, running its destructors. One that has completed keeps its result: completion beats cancellation.
    /// One that computes without waiting goes on until it waits.
    ///
    /// While another coroutine of its worker waits in a destructor that runs during an unwind, a wait that *begins* there is
    /// cancelled only when that one is done: std tells only that the thread unwinds, not which coroutine. So such a destructor
    /// should not wait for the end of a task that it has just started or woken.
    pub fn cancel(&self) {
        self.header().request_cancel();
    }

    /// Whether the task has ended: `join` would return at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The task's number, unique in the process.
    #[must_use]
    pub fn id(&self) -> Id {
        Id::new(self.header().id)
    }

    /// The name given with [`Builder::name`](crate::task::Builder::name).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.header().name()
    }

    #[inline]
    fn told(&self, result: Result<T, Failure>) -> Result<T, JoinError> {
        result.map_err(|failure| match failure {
            Failure::Cancelled if self.header().was_refused() => self.error(Cause::Refused),
            Failure::Cancelled => self.error(Cause::Cancelled),
            Failure::Panicked(payload) => self.error(Cause::panicked(payload)),
        })
    }

    #[cold]
    fn error(&self, cause: Cause) -> JoinError {
        let header = self.header();
        JoinError {
            cause,
            id: Id::new(header.id),
            name: header.name().map(Box::from),
            spawn_site: header.spawn_site,
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.task.try_take() {
            return Poll::Ready(self.told(result));
        }
        if current::task_id() == Some(self.header().id) {
            return Poll::Ready(Err(self.error(Cause::Itself)));
        }
        if !self.task.wait(cx.waker()) {
            return Poll::Pending;
        }
        let result = self.task.try_take().expect("it has completed");
        Poll::Ready(self.told(result))
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.header().id)
            .field("name", &self.name())
            .field("finished", &self.is_finished())
            .finish()
    }
}

enum Cause {
    Cancelled,
    Refused,
    /// The mutex only makes the error `Sync`; it is never locked, only taken apart.
    Panicked {
        payload: Mutex<Box<dyn Any + Send>>,
        message: Option<Box<str>>,
    },
    Itself,
}

impl Cause {
    fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(|s| &**s));
        let message = text.map(Box::from);
        Self::Panicked { payload: Mutex::new(payload), message }
    }
}

/// Why a task has no result.
pub struct JoinError {
    cause: Cause,
    id: Id,
    name: Option<Box<str>>,
    spawn_site: &'static Location<'static>,
}

impl JoinError {
    /// The task was cancelled before it completed, or [refused](Self::is_refused), which is a cancellation before its start.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.cause, Cause::Cancelled | Cause::Refused)
    }

    /// The task was never accepted: it was spawned on a runtime that has been shut down, or was about to be.
    ///
    /// # Examples
    /// ```
    /// let runtime = aqueduct::Runtime::new()?;
    /// let handle = *runtime.handle();
    /// drop(runtime);
    /// let error = handle.go(|| 7).join().unwrap_err();
    /// assert!(error.is_refused() && error.is_cancelled());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.cause, Cause::Refused)
    }

    /// The task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panicked { .. })
    }

    /// The task tried to join itself, which could never end.
    #[must_use]
    pub fn is_deadlock(&self) -> bool {
        matches!(self.cause, Cause::Itself)
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The task's name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where the task was spawned.
    #[must_use]
    pub fn spawn_site(&self) -> &'static Location<'static> {
        self.spawn_site
    }

    /// The payload of the panic.
    ///
    /// # Errors
    /// Gives the error back when the task did not panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self.cause {
            Cause::Panicked { payload, .. } => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            _ => Err(self),
        }
    }

    /// Continues the task's panic here.
    ///
    /// # Panics
    /// With the task's payload; with this error's text when the task did not panic.
    #[track_caller]
    pub fn resume(self) -> ! {
        match self.into_panic() {
            Ok(payload) => cancel::rethrow(payload),
            Err(error) => panic!("{error}"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "task \"{name}\" (spawned at {}) ", self.spawn_site)?,
            None => write!(f, "task {} (spawned at {}) ", self.id, self.spawn_site)?,
        }
        match &self.cause {
            Cause::Cancelled => f.write_str("was cancelled"),
            Cause::Refused => f.write_str("was refused: its runtime has been shut down"),
            Cause::Itself => f.write_str("tried to join itself"),
            Cause::Panicked { message: Some(message), .. } => {
                write!(f, "panicked: {message}{}", remedy(message))
            }
            Cause::Panicked { message: None, .. } => f.write_str("panicked"),
        }
    }
}

/// What helps against a panic that tells only what is missing: here tokio's, whose futures look for its context.
fn remedy(message: &str) -> &'static str {
    if message.starts_with("there is no reactor running, must be called from the context of a Tokio") {
        "; wrap the future in `.in_tokio()`, or the call in `tokio::enter`, of the crate aqueduct-compat, feature `tokio`"
    } else {
        ""
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}
