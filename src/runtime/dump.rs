//! A picture of every live task, for people looking for what hangs.

use crate::reactor::clock;
use crate::runtime::scheduler::Scheduler;
use crate::task::Id;
use crate::task::header::{Header, Kind, State};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// Every live task of a runtime at one moment; see [`Handle::dump`](crate::runtime::Handle::dump). Displays as a line each.
///
/// It is gathered while the tasks run: each line is true at its own moment.
///
/// # Examples
/// ```
/// let runtime = aqueduct::Runtime::builder().workers(1).build()?;
/// let _waiting = runtime.go(|| aqueduct::block_on(std::future::pending::<()>()));
/// let dump = runtime.dump();
/// assert_eq!(dump.tasks().len(), 1);
/// println!("{dump}");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dump {
    tasks: Vec<TaskInfo>,
}

impl Dump {
    pub(crate) fn of(scheduler: &Scheduler) -> Self {
        let now = clock::coarse();
        let mut tasks = Vec::new();
        scheduler.registry().for_each(|header| tasks.extend(TaskInfo::of(header, now)));
        tasks.sort_by_key(|task| task.id);
        Self { tasks }
    }

    /// The tasks, in the order of their ids, which is the order of their making.
    #[must_use]
    pub fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }

    pub(crate) fn into_tasks(self) -> Vec<TaskInfo> {
        self.tasks
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} tasks", self.tasks.len())?;
        self.tasks.iter().try_for_each(|task| writeln!(f, "{task}"))
    }
}

/// One task in a [`Dump`] or a [`ShutdownReport`](crate::runtime::ShutdownReport).
#[derive(Clone, Debug)]
pub struct TaskInfo {
    id: Id,
    name: Option<Box<str>>,
    kind: Kind,
    spawn_site: &'static Location<'static>,
    worker: Option<usize>,
    state: State,
    wait_site: Option<&'static Location<'static>>,
    age: Duration,
}

impl TaskInfo {
    /// None: the task has ended.
    pub(crate) fn of(header: &Header, now: u64) -> Option<Self> {
        let state = header.state()?;
        Some(Self {
            id: Id::new(header.id),
            name: header.name().map(Box::from),
            kind: header.kind,
            spawn_site: header.spawn_site,
            worker: header.worker(),
            state,
            wait_site: if state == State::Running { None } else { header.wait_site() },
            age: header.age(now),
        })
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// Its name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// A coroutine or a future.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it was spawned.
    #[must_use]
    pub fn spawn_site(&self) -> &'static Location<'static> {
        self.spawn_site
    }

    /// The number of the worker that ran it last; none before it has run.
    #[must_use]
    pub fn worker(&self) -> Option<usize> {
        self.worker
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Where it waits, when that is a synchronous wait. A future between two polls waits at an `.await` that has no name
    /// outside it.
    #[must_use]
    pub fn wait_site(&self) -> Option<&'static Location<'static>> {
        self.wait_site
    }

    /// Time since it was spawned, to within a few milliseconds.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Coroutine => "coroutine",
            Kind::Future => "future",
        };
        write!(f, "{kind} {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " \"{name}\"")?;
        }
        write!(f, " spawned at {}, {:.3?} ago", self.spawn_site, self.age)?;
        match self.state {
            State::Running => f.write_str(", running")?,
            State::Ready => f.write_str(", ready")?,
            State::Waiting => f.write_str(", waiting")?,
        }
        if let Some(site) = self.wait_site {
            write!(f, " at {site}")?;
        }
        match self.worker {
            Some(worker) => write!(f, ", worker {worker}"),
            None => f.write_str(", not yet run"),
        }
    }
}
