//! What a runtime has to tell on its own account.

use crate::reactor::clock;
use crate::runtime::dump::TaskInfo;
use crate::runtime::home::Home;
use crate::runtime::scheduler::Scheduler;
use crate::task::header::{Header, Kind};
use std::fmt;
use std::io;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Something that went wrong in the running of a program and that no call can return; see
/// [`Builder::on_report`](crate::runtime::Builder::on_report). Displays as one line that names the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum Report {
    /// A worker has not come back to its loop for a second: a poll that computes, or a thread blocked in a system call or a
    /// lock that is held across a wait. Another worker of the runtime reports it, one that comes back to its own loop: when
    /// all stand still, as the only one of a runtime does, nobody is there to tell.
    #[non_exhaustive]
    StuckWorker {
        /// The worker's number.
        worker: usize,
        /// For how long it has been seen there.
        since: Duration,
        /// The task that it runs.
        task: Option<TaskInfo>,
        /// Started coroutines of this worker beside the one that it runs; no other worker can run them.
        holds_up: usize,
    },
    /// A task waited inside the poll of a future, under [`WaitsInPoll::Report`](crate::runtime::WaitsInPoll::Report).
    #[non_exhaustive]
    WaitInPoll {
        /// Where such tasks are spawned.
        spawn_site: &'static Location<'static>,
        /// Where it waits.
        site: &'static Location<'static>,
    },
    /// A coroutine has swallowed its cancellation so often that it was suspended for good.
    #[non_exhaustive]
    Leaked {
        /// The task.
        task: Option<TaskInfo>,
    },
    /// No stack could be had for a task; it starts when one is free.
    #[non_exhaustive]
    NoStack {
        /// What the operating system said, with the limit that was met.
        error: String,
    },
    /// The poller failed.
    #[non_exhaustive]
    PollerFailed {
        /// What the operating system said.
        error: String,
    },
}

impl Report {
    pub(crate) fn stuck(scheduler: &Scheduler, home: &Home, since: Duration) -> Self {
        let running = home.running_task();
        let now = clock::coarse();
        let mut task = None;
        scheduler.registry().for_each(|header| {
            if ptr::eq(header, running) {
                task = TaskInfo::of(header, now);
            }
        });
        // The one that runs has started too, and does not wait for itself.
        let itself = task.as_ref().is_some_and(|task| task.kind() == Kind::Coroutine);
        let holds_up = home.started.load(Relaxed).saturating_sub(usize::from(itself));
        Self::StuckWorker { worker: home.index(), since, task, holds_up }
    }

    pub(crate) fn wait_in_poll(task: &Header, site: &'static Location<'static>) -> Self {
        Self::WaitInPoll { spawn_site: task.spawn_site, site }
    }

    pub(crate) fn leaked(task: &Header) -> Self {
        Self::Leaked { task: TaskInfo::of(task, clock::coarse()) }
    }

    pub(crate) fn no_stack(error: &io::Error) -> Self {
        Self::NoStack { error: error.to_string() }
    }

    pub(crate) fn poller_failed(error: &io::Error) -> Self {
        Self::PollerFailed { error: error.to_string() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StuckWorker { worker, since, task, holds_up } => {
                write!(f, "worker {worker} has not come back for {since:.1?}; ")?;
                match task {
                    Some(task) => write!(f, "it runs {task}")?,
                    None => f.write_str("it runs no task")?,
                }
                let them = if *holds_up == 1 { "coroutine waits" } else { "coroutines wait" };
                write!(
                    f,
                    "; {holds_up} started {them} for it; remedy: yield_now in long computations, `blocking` for calls \
                     that block, no system lock held across a wait"
                )
            }
            Self::WaitInPoll { spawn_site, site } => {
                write!(
                    f,
                    "a future spawned at {spawn_site} waits at {site} inside its poll; use `.await` there, or allow it"
                )
            }
            Self::Leaked { task } => {
                match task {
                    Some(task) => write!(f, "{task}")?,
                    None => f.write_str("a task")?,
                }
                f.write_str(
                    " has swallowed its cancellation 16 times and is suspended for good; use task::rethrow",
                )
            }
            Self::NoStack { error } => write!(f, "no stack for a task, it waits until one is free: {error}"),
            Self::PollerFailed { error } => write!(f, "the poller failed: {error}"),
        }
    }
}
