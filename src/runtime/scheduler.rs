//! A scheduler: the workers of one runtime, what they share, and the way a task gets to them.
//!
//! Schedulers are never freed (a few hundred bytes for each runtime ever built): a waker that is being called while the last
//! worker ends may still be inside `schedule`.

use crate::coroutine::Class;
use crate::primitive::contain_panic;
use crate::reactor::clock;
use crate::runtime::builder::{Config, WaitsInPoll};
use crate::runtime::current;
use crate::runtime::home::Home;
use crate::runtime::idle::Idle;
use crate::runtime::locked_queue::LockedQueue;
use crate::runtime::registry::Registry;
use crate::runtime::report::Report;
use crate::task::AbortOnUnwind;
use crate::task::cell::{self, Ended};
use crate::task::header::{self, Header, Kind, Lane, Runnable, State, Traits};
use crate::task::join::JoinHandle;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

pub(crate) struct Scheduler {
    homes: Box<[&'static Home]>,
    registry: Registry,
    /// Runnables from off the workers.
    pub(crate) injector: LockedQueue,
    pub(crate) idle: Idle,
    config: Config,
    /// Worker threads that have ended.
    ended: AtomicUsize,
    /// Some worker could not get a stack: the others give up the idle ones they keep.
    pub(crate) short_of_stacks: AtomicBool,
    next_home: AtomicUsize,
    waits_in_poll: AtomicU64,
    local: bool,
}

impl Scheduler {
    /// A scheduler of these homes, which nobody drives yet. `local`: it is a `LocalRuntime`'s.
    pub(crate) fn new(homes: Box<[&'static Home]>, config: Config, local: bool) -> &'static Self {
        let scheduler: &'static Self = Box::leak(Box::new(Self {
            registry: Registry::new(homes.len()),
            homes,
            injector: LockedQueue::new(),
            idle: Idle::new(),
            config,
            ended: AtomicUsize::new(0),
            short_of_stacks: AtomicBool::new(false),
            next_home: AtomicUsize::new(0),
            waits_in_poll: AtomicU64::new(0),
            local,
        }));
        for (index, home) in scheduler.homes.iter().enumerate() {
            home.join(scheduler, index);
        }
        scheduler
    }

    pub(crate) fn homes(&self) -> &[&'static Home] {
        &self.homes
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn is_local(&self) -> bool {
        self.local
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.registry.gate().is_closed()
    }

    /// Some home of it, each in turn.
    pub(crate) fn any_home(&self) -> &'static Home {
        self.homes[self.next_home.fetch_add(1, Relaxed) % self.homes.len()]
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Tasks that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.registry.gate().live()
    }

    /// Shut down and without tasks: the workers may end.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.is_closed() && self.registry.gate().is_empty()
    }

    // ---- spawning

    /// Traits of a task of this scheduler with its default stack.
    pub(crate) fn traits(&'static self, kind: Kind, spawn_site: &'static Location<'static>) -> Traits {
        let lane = match kind {
            Kind::Coroutine => self.config.closures,
            Kind::Future => self.config.futures,
        };
        let pinned = self.local.then(|| self.homes[0]);
        Traits { scheduler: self, kind, lane, spawn_site, name: None, pinned }
    }

    /// Makes a task and schedules it. A scheduler that is shutting down refuses it: then the future is dropped here and
    /// the handle tells of a cancelled task.
    ///
    /// # Safety
    /// - A future that is not `Send`, or whose output is not, is pinned to the home that the calling thread drives.
    /// - What the future borrows outlives the task: the caller waits for its end, whatever happens.
    pub(crate) unsafe fn spawn<F: Future>(traits: Traits, future: F) -> JoinHandle<F::Output> {
        let here = current::home().filter(|home| ptr::eq(home.shared().scheduler(), traits.scheduler));
        // SAFETY: the caller's promise.
        let (runnable, handle) = unsafe { Self::prepare_from(here, traits, &raw const future) };
        mem::forget(future);
        if let Some(runnable) = runnable {
            schedule_from(here, runnable);
        }
        handle
    }

    /// `spawn` less the scheduling. No runnable: the task was refused and has been run to its end.
    ///
    /// # Safety
    /// As `spawn`.
    pub(crate) unsafe fn prepare<F: Future>(
        traits: Traits,
        future: F,
    ) -> (Option<Runnable>, JoinHandle<F::Output>) {
        let here = current::home().filter(|home| ptr::eq(home.shared().scheduler(), traits.scheduler));
        // SAFETY: the caller's promise.
        let prepared = unsafe { Self::prepare_from(here, traits, &raw const future) };
        mem::forget(future);
        prepared
    }

    /// `prepare`, by one who knows where we are: `here` is the home of this scheduler that the thread drives, if any. The future is
    /// moved out of its place, to save copies from frame to frame; when this unwinds it has not been.
    ///
    /// # Safety
    /// As `spawn`; and the caller forgets the future afterwards.
    #[inline]
    unsafe fn prepare_from<F: Future>(
        here: Option<current::CurrentHome>,
        traits: Traits,
        future: *const F,
    ) -> (Option<Runnable>, JoinHandle<F::Output>) {
        super::fork::check();
        let scheduler = traits.scheduler;
        let (id, shard) = match here {
            Some(home) => (home.local().next_id(), home.shared().index()),
            None => (header::take_ids(1), scheduler.homes.len()),
        };
        let born = clock::coarse();
        // SAFETY: the caller answers for lifetimes and for threads.
        let (runnable, task) =
            unsafe { cell::new(here, |vtable| Header::new(id, traits, shard as u16, born, vtable), future) };
        // From here on the future is the task's, and the caller's no more.
        let whole = AbortOnUnwind;
        let runnable = match scheduler.registry.insert(runnable.metadata()) {
            true => Some(runnable),
            false => {
                runnable.metadata().cancel.request();
                // It completes, being cancelled: what runs is its destructors.
                drop(runnable.run(&Cell::new(false)));
                None
            }
        };
        mem::forget(whole);
        (runnable, JoinHandle::new(task))
    }

    /// A task has ended: takes it out of the registry, and drops its own reference.
    #[inline]
    pub(crate) fn finish(&'static self, ended: Ended) {
        self.registry.remove(ended.header());
        drop(ended);
        if self.registry.gate().has_left() {
            self.notify_all();
        }
    }

    // ---- waking workers

    /// Wakes one sleeping worker, if there is one, to look for work.
    pub(crate) fn wake_one(&self) {
        let workers = self.homes.len();
        let first = self.next_home.load(Relaxed);
        for i in 0..workers {
            let home = self.homes[(first + i) % workers];
            if home.sleeper.is_sleeping() && home.sleeper.claim_wake() {
                home.reactor.notify();
                return;
            }
        }
    }

    pub(crate) fn notify_all(&self) {
        for home in &self.homes {
            home.reactor.notify();
        }
    }

    /// Puts a runnable where every worker looks, and wakes one for it.
    pub(crate) fn inject(&self, runnable: Runnable) {
        self.injector.push(runnable);
        if !self.idle.someone_searches() {
            self.wake_one();
        }
    }

    // ---- shutdown

    /// Refuses further tasks and cancels all there are. Idempotent; does not wait.
    pub(crate) fn begin_shutdown(&'static self) {
        self.registry.gate().close();
        self.registry.cancel_all();
        if self.registry.gate().tell() {
            self.notify_all();
        }
    }

    /// A worker thread has ended. The last one returns the homes of all: until then a worker looks into the others' queues
    /// and inboxes, and must not find those of another runtime.
    pub(crate) fn worker_ended(&'static self) {
        // AcqRel: what every worker did with its home comes before the next tenant.
        if self.ended.fetch_add(1, AcqRel) + 1 == self.homes.len() {
            self.homes.iter().for_each(|home| home.release());
        }
    }

    // ---- reports

    pub(crate) fn report(&self, report: &Report) {
        // Called on the base, too: what unwinds from there ends the worker, and all it owns hangs.
        contain_panic(|| (self.config.on_report)(report));
    }

    /// A task waits inside the poll of a future, on that worker's stack for futures.
    pub(crate) fn count_wait_in_poll(&self, task: &Header, site: &'static Location<'static>) {
        self.waits_in_poll.fetch_add(1, Relaxed);
        if self.config.waits_in_poll == WaitsInPoll::Report && self.config.first_report_of(task.spawn_site) {
            self.report(&Report::wait_in_poll(task, site));
        }
    }

    /// Whether this task must not wait, because it is a future.
    pub(crate) fn refuses_wait_in_poll(&self, task: &Header) -> bool {
        self.config.waits_in_poll == WaitsInPoll::Panic && task.lane.futures
    }

    /// # Panics
    /// When the runtime was built to refuse waits inside the poll of a future, and this would be one.
    #[inline]
    pub(crate) fn refuse_wait_in_poll(&self, task: &Header, site: &'static Location<'static>) {
        // While unwinding, a second panic would abort the process: then the wait goes ahead.
        if self.refuses_wait_in_poll(task) && !std::thread::panicking() {
            panic!(
                "the wait at {site} is inside the poll of the future spawned at {}, and this runtime was built with \
                 waits_in_poll(Panic): use `.await` there, or `blocking`",
                task.spawn_site
            );
        }
    }

    pub(crate) fn waits_in_poll(&self) -> u64 {
        self.waits_in_poll.load(Relaxed)
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("workers", &self.homes.len())
            .field("local", &self.local)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Gives a runnable to a worker: the schedule function of every task. Any thread.
pub(crate) fn schedule(runnable: Runnable) {
    let scheduler = runnable.metadata().scheduler;
    runnable.metadata().set_state(State::Ready);
    schedule_from(current::home().filter(|home| ptr::eq(home.shared().scheduler(), scheduler)), runnable);
}

/// `schedule`, by one who knows where we are: `here` is the home of the task's scheduler that the thread drives, if any.
#[inline]
fn schedule_from(here: Option<current::CurrentHome>, runnable: Runnable) {
    let header = runnable.metadata();
    let scheduler = header.scheduler;
    match (header.pinned(), here) {
        (Some(home), Some(here)) if ptr::eq(home, here.shared()) => here.local().ready.push_task(runnable),
        (Some(home), _) => send(home, runnable),
        (None, Some(here)) => push_stealable(here, runnable),
        (None, None) => scheduler.inject(runnable),
    }
}

/// Schedules a new task on the worker whose turn it is, or, if that one sleeps, here.
pub(crate) fn start_in_turn(runnable: Runnable) {
    let scheduler = runnable.metadata().scheduler;
    let here = current::home().filter(|home| ptr::eq(home.shared().scheduler(), scheduler));
    let there = scheduler.any_home();
    match here {
        Some(here) if ptr::eq(here.shared(), there) || there.sleeper.is_sleeping() => {
            schedule_from(Some(here), runnable);
        }
        _ => send(there, runnable),
    }
}

/// Puts a runnable in a home's inbox.
pub(crate) fn send(home: &'static Home, runnable: Runnable) {
    // SAFETY: the link is the first field of a `repr(C)` header, which is the first of its task. The runnable keeps the task until it
    // is taken out of the inbox; possessing it, we are the only runner, so the link is in no other inbox.
    unsafe { home.inbox.push(runnable.into_raw().cast()) };
    home.wake_if_sleeping();
}

/// The runnable that a link in an inbox stands for.
///
/// # Safety
/// The link was taken from an inbox, and is a task's.
pub(crate) unsafe fn received(link: NonNull<super::inbox::Link>) -> Runnable {
    // SAFETY: the caller's promise: the pointer is the one that `send` had from `into_raw`.
    unsafe { Runnable::from_raw(link.cast()) }
}

/// The owner's side of the stealable queue.
fn push_stealable(here: current::CurrentHome, runnable: Runnable) {
    debug_assert!(runnable.metadata().pinned().is_none(), "a pinned task must not be stealable");
    let home = here.shared();
    let scheduler = home.scheduler();
    if let Err(raw) = home.queue.push(runnable.into_raw()) {
        // SAFETY: the pointer came from `into_raw` just now.
        home.overflow.push(unsafe { Runnable::from_raw(raw) });
    }
    let workers = scheduler.homes.len();
    if workers > 1 && home.queue.len() > 1 && scheduler.idle.seems_worth_waking(workers) {
        scheduler.wake_one();
    }
}

/// The class of stacks that a size asks for.
pub(crate) fn lane(stack_size: usize, futures: bool) -> Lane {
    Lane { class: Class::for_usable(stack_size), futures }
}
