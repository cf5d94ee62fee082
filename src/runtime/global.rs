//! The global runtime, and `run`.

use crate::runtime::builder::{Builder, MAIN, MAIN_STACK};
use crate::runtime::current;
use crate::runtime::scheduler::{self, Scheduler};
use crate::task::body::Call;
use crate::task::header::Kind;
use crate::task::{self, Cancellable};
use std::mem;
use std::panic::Location;
use std::sync::OnceLock;

/// The scheduler of the global runtime; starts it.
///
/// # Panics
/// When it cannot be started.
pub(crate) fn scheduler() -> &'static Scheduler {
    static GLOBAL: OnceLock<&'static Scheduler> = OnceLock::new();
    GLOBAL.get_or_init(|| match Builder::new().build() {
        Ok(runtime) => {
            let scheduler = runtime.scheduler();
            // It goes on until the process ends, as Go's does.
            mem::forget(runtime);
            scheduler
        }
        Err(error) => {
            panic!("the global runtime cannot be started: {error}; build a Runtime to handle the error")
        }
    })
}

/// The current scheduler, or the global one.
pub(crate) fn current_scheduler() -> &'static Scheduler {
    current::scheduler().unwrap_or_else(scheduler)
}

/// Runs `f` as the main coroutine on the current runtime (off the workers the global one) and returns its value.
///
/// The main coroutine has a stack of 8 MiB, which no option changes: deeper work goes into a task made with
/// [`task::Builder::stack_size`](crate::task::Builder::stack_size). As in Go, `run` does not wait for other tasks when `f`
/// returns: the runtime goes on, until the process ends.
///
/// # Blocking
/// The calling thread, or the calling coroutine or task, until `f` has returned. A cancellation of the caller is passed on to
/// `f` and waits for its end, because `f` may borrow from the caller.
///
/// # Panics
/// When `f` panics, with its payload; when the global runtime cannot be started.
///
/// # Examples
/// ```
/// let words = vec!["one", "two"];
/// let length = aqueduct::run(|| {
///     let handle = aqueduct::go(|| 4);
///     words.len() + handle.join().unwrap()
/// });
/// assert_eq!(length, 6);
/// ```
#[track_caller]
pub fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    run_on(current_scheduler(), f, Location::caller())
}

/// `run` on this scheduler.
#[track_caller]
pub(crate) fn run_on<F, T>(scheduler: &'static Scheduler, f: F, site: &'static Location<'static>) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    crate::wait::assert_may_wait(site);
    let caller = Cancellable::here();
    let mut traits = scheduler.traits(Kind::Coroutine, site);
    traits.lane = scheduler::lane(MAIN_STACK, false);
    traits.name = Some(MAIN.into());
    // SAFETY: `join_borrowing` returns only after the task has ended, and does not unwind.
    let handle = unsafe { Scheduler::spawn(traits, Call::new(f)) };
    task::finish_run(task::join_borrowing(handle, caller), caller)
}
