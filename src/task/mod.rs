//! Tasks: starting them, joining them, cancelling them.
//!
//! A task is either a *coroutine* ([`go`]: a closure in Go style, which may wait anywhere) or a *future* ([`spawn`]). Both
//! give a [`JoinHandle`], which is a future itself and can be [joined](JoinHandle::join) in Go style.
//!
//! # Where destructors run
//! A coroutine that has started, and a local task, is ended by its own worker; a future or an unstarted closure by some worker
//! of its runtime; what a runtime refuses, because it is shutting down, by the caller.

mod abort;
pub(crate) mod body;
mod builder;
pub(crate) mod cancel;
pub(crate) mod cell;
mod context;
mod family;
mod group;
pub(crate) mod header;
pub(crate) mod join;
mod local;
mod scope;
pub(crate) mod word;

#[cfg(test)]
mod tests;

pub use abort::AbortHandle;
pub use builder::Builder;
pub use cancel::{is_cancelled, rethrow};
pub(crate) use context::{Cancellable, finish_run, join_borrowing};
pub use context::{Current, StackUse, current, shield, try_current};
pub(crate) use family::AbortOnUnwind;
pub use group::{NextResult, TaskError, TaskGroup};
pub use header::{Kind, State};
pub use join::{JoinError, JoinHandle};
pub(crate) use local::Locals;
pub use local::{LocalKey, LocalScope, NotSet, inherit, inherit_async};
pub use scope::{Scope, ScopedJoinHandle, scope};

use crate::runtime::{Scheduler, global};
use body::Call;
use std::fmt;
use std::future::Future;
use std::panic::Location;

/// A task's number: unique in the process, increasing in the order of spawning on each worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

impl Id {
    pub(crate) fn new(id: u64) -> Self {
        Self(id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.0)
    }
}

/// Starts a coroutine: `f` runs concurrently on the current runtime, off the workers on the global one. The macro
/// [`go!`](crate::go!) wraps a block or an expression for it.
///
/// `f` may wait anywhere and reads like blocking code. It is `Send`, for it may start on any worker; from its start on it
/// stays there, so its local variables need not be. Its stack is a fixed range of address space
/// ([`Builder::stack_size`](crate::runtime::Builder::stack_size)); deep recursion wants
/// [`task::Builder::stack_size`](Builder::stack_size).
///
/// # Panics
/// When the global runtime is needed and cannot be started. A panic of `f` is the joiner's to see.
///
/// # Examples
/// ```
/// let handle = aqueduct::go(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// ```
#[track_caller]
pub fn go<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let traits = global::current_scheduler().traits(Kind::Coroutine, Location::caller());
    // SAFETY: the closure and its output are Send and 'static.
    unsafe { Scheduler::spawn(traits, Call::new(f)) }
}

/// Spawns a future: it runs concurrently on the current runtime, off the workers on the global one.
///
/// # Panics
/// When the global runtime is needed and cannot be started. A panic of the future is the joiner's to see.
///
/// # Examples
/// ```
/// let handle = aqueduct::spawn(async { 6 * 7 });
/// assert_eq!(aqueduct::block_on(handle).unwrap(), 42);
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let traits = global::current_scheduler().traits(Kind::Future, Location::caller());
    // SAFETY: the future and its output are Send and 'static.
    unsafe { Scheduler::spawn(traits, future) }
}

/// Spawns a future that need not be `Send`; it never leaves the worker it is spawned on.
///
/// # Panics
/// Off the workers: there a [`LocalRuntime`](crate::LocalRuntime) is wanted.
///
/// # Examples
/// ```
/// use std::rc::Rc;
///
/// aqueduct::run(|| {
///     let local = Rc::new(7);
///     let handle = aqueduct::spawn_local(async move { *local });
///     assert_eq!(handle.join().unwrap(), 7);
/// });
/// ```
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let traits = local_traits(Kind::Future, Location::caller());
    // SAFETY: pinned to the home that this thread drives.
    unsafe { Scheduler::spawn(traits, future) }
}

/// Traits of a task pinned to the worker we are on.
fn local_traits(kind: Kind, site: &'static Location<'static>) -> header::Traits {
    let Some(home) = crate::runtime::current::home() else {
        panic!(
            "spawn_local at {site} is not on a worker: call it inside `aqueduct::run`, `go` or `spawn`, or spawn on a \
             LocalRuntime"
        );
    };
    let mut traits = home.shared().scheduler().traits(kind, site);
    traits.pinned = Some(home.shared());
    traits
}

/// Spawns a connection's task for `net::serve`: a future that is polled on the stacks kept for closures, so that a handler
/// that waits inside it leaves no polluted stack behind, and that starts on each worker in turn: those that are awake. To wake
/// another core costs more than to serve a short connection: with one that is accepted, echoes once and is closed, half of them sent
/// to a sleeper, a server with 2 workers took 1.4 times the CPU time. When there are many, the sleepers come for them.
#[track_caller]
pub(crate) fn spawn_serve<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let scheduler = global::current_scheduler();
    let mut traits = scheduler.traits(Kind::Future, Location::caller());
    traits.lane = scheduler.config().closures;
    // SAFETY: the future and its output are Send and 'static.
    let (runnable, handle) = unsafe { Scheduler::prepare(traits, future) };
    if let Some(runnable) = runnable {
        crate::runtime::scheduler::start_in_turn(runnable);
    }
    handle
}

/// Starts a coroutine from a block or an expression: `go! { .. }`, `go!(expr)`. Captures by move; gives a [`JoinHandle`].
///
/// Unlike Go, `go!(f(g()))` evaluates `g()` in the new coroutine: bind it first if it must be evaluated here.
///
/// # Examples
/// ```
/// use aqueduct::go;
///
/// let name = "aqueduct".to_string();
/// let length = go!(name.len());
/// let sum = go! {
///     let mut sum = 0;
///     for i in 1..=4 {
///         sum += i;
///     }
///     sum
/// };
/// assert_eq!(length.join().unwrap() + sum.join().unwrap(), 18);
/// ```
#[macro_export]
macro_rules! go {
    ($($body:tt)*) => {
        $crate::go(move || { $($body)* })
    };
}
