//! Shutting a runtime down.
//!
//! # Phases
//! 1. *Intake stops*: the shards of the registry are closed; a spawn is refused, on the workers too, and its
//!    handle tells of a cancelled task.
//! 2. *Cancelling*: every task's flag is set and it is woken: unstarted closures and futures are dropped by a
//!    worker, parked coroutines unwind.
//! 3. *Ending*: when the last task has left the registry, the workers are notified; each finds the scheduler
//!    closed and empty, closes its poller (whoever still waits on it registers elsewhere), ends its idle
//!    loops. The last one returns the homes of all.
//!
//! A task that never waits, or swallows its cancellation, stays registered, and its worker stays with it.

use crate::runtime::current;
use crate::runtime::dump::{Dump, TaskInfo};
use crate::runtime::scheduler::Scheduler;
use std::fmt;
use std::future::poll_fn;
use std::ptr;
use std::task::Poll;
use std::time::Instant;

/// Waits for the end of all tasks but the caller's own.
#[track_caller]
pub(crate) fn shutdown(scheduler: &'static Scheduler, deadline: Instant) -> ShutdownReport {
    scheduler.begin_shutdown();
    let inside = current::with_task(|task| ptr::eq(task.scheduler, scheduler)).unwrap_or(false);
    let ended = poll_fn(|cx| {
        scheduler.registry().gate().wait(cx.waker());
        if scheduler.live() <= usize::from(inside) { Poll::Ready(()) } else { Poll::Pending }
    });
    // The caller has just been cancelled itself; that must not cut the wait short.
    crate::task::shield(|| crate::wait::block_on_until(ended, deadline));
    ShutdownReport { remaining: Dump::of(scheduler).into_tasks() }
}

/// What [`Runtime::shutdown`](crate::Runtime::shutdown) left.
#[derive(Clone, Debug)]
#[must_use = "it names the tasks that did not stop"]
pub struct ShutdownReport {
    remaining: Vec<TaskInfo>,
}

impl ShutdownReport {
    /// Every task has ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.remaining.is_empty()
    }

    /// The tasks that had not stopped at the deadline; called from inside the runtime, the caller is one.
    #[must_use]
    pub fn remaining(&self) -> &[TaskInfo] {
        &self.remaining
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return f.write_str("all tasks have stopped");
        }
        write!(f, "{} tasks have not stopped:", self.remaining.len())?;
        self.remaining.iter().try_for_each(|task| write!(f, "\n  {task}"))
    }
}
