//! A home: everything that belongs to one worker, in memory that is never freed.
//!
//! Homes are pooled. A worker thread (or a `LocalRuntime`) takes one when it starts; the homes of a scheduler are returned
//! together, when its last worker has ended, for until then its workers look into each other's. The next tenant uses a home
//! whole, with its records, its inbox and its poller. So a waker that outlives its runtime points to memory that
//! is still what it was, and at worst wakes a coroutine of a later tenant for nothing.
//!
//! The fields are grouped by who may touch them: [`Home`] any thread, [`Local`] the thread that drives the home.

use crate::coroutine::{self, Stack};
use crate::primitive::lock;
use crate::random::Rng;
use crate::reactor::Reactor;
use crate::runtime::idle::Sleeper;
use crate::runtime::inbox::Inbox;
use crate::runtime::record::Record;
use crate::runtime::run_queue::RunQueue;
use crate::runtime::scheduler::Scheduler;
use crate::task::header::{Lane, Runnable};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
use std::task::Waker;

/// Operations that a slice may do before it gives others a turn. 128 is tokio's number; not measured here.
pub(crate) const BUDGET: u32 = 128;

/// Records made at a time.
pub(crate) const RECORD_BLOCK: usize = 64;

/// What any thread may touch.
pub(crate) struct Home {
    pub(crate) inbox: Inbox,
    pub(crate) sleeper: Sleeper,
    pub(crate) reactor: Reactor,
    /// Futures and unstarted closures.
    pub(crate) queue: RunQueue,
    /// Moves with everything that the worker runs.
    pub(crate) tick: AtomicU32,
    /// The task that runs, or 0.
    pub(crate) running_task: AtomicU64,
    /// Closures that have started and not ended.
    pub(crate) started: AtomicUsize,
    /// Closures sent here to start, for balance, that nobody has started yet. A worker that wakes late would otherwise look
    /// idle to the others and be sent everything.
    pub(crate) placed: AtomicUsize,
    index: AtomicUsize,
    scheduler: AtomicPtr<Scheduler>,
    local: Local,
}

// SAFETY: `local` is reached only through `Home::local`, whose callers drive the home; everything else is Sync by itself.
unsafe impl Sync for Home {}
// SAFETY: as above; a home changes hands through the pool's lock.
unsafe impl Send for Home {}

/// An entry of the ready queue.
pub(crate) enum Item {
    /// A woken coroutine.
    Coroutine(&'static Record),
    /// A task that only this home may run.
    Task(Runnable),
}

/// What only the thread that drives the home touches.
pub(crate) struct Local {
    /// The coroutine that runs; none on the base.
    pub(crate) record: Cell<Option<&'static Record>>,
    /// Woken coroutines and pinned tasks.
    ready: RefCell<VecDeque<Item>>,
    /// A runnable popped by a loop of another lane.
    pub(crate) stash: Cell<Option<Runnable>>,
    /// Wakers to call: of ready sources and expired timers.
    pub(crate) wakes: RefCell<VecDeque<Waker>>,
    /// Coroutines whose loop is idle, hot last.
    pub(crate) spares: RefCell<Vec<(Lane, Vec<&'static Record>)>>,
    free_records: RefCell<Vec<&'static Record>>,
    pub(crate) blocks: RefCell<Vec<&'static [Record]>>,
    pub(crate) rng: Rng,
    /// Picks left until the worker looks at its inbox, the injector and the poller.
    pub(crate) slice: Cell<u32>,
    /// Whose turn it is: the ready queue's or the stealable queue's.
    pub(crate) turn: Cell<bool>,
    budget: Cell<u32>,
    /// Cancelled coroutines that wait on, because they may be unwinding: while a neighbour is suspended in a destructor that
    /// runs during an unwind, the thread reads as panicking and nobody can tell. They look again when it no longer does.
    held: RefCell<Vec<&'static Record>>,
    pub(crate) trim: crate::runtime::trim::Trim,
    pub(crate) watch: crate::runtime::sentinel::Watch,
    pub(crate) start_limit: Cell<usize>,
}

impl Home {
    fn new() -> io::Result<&'static Self> {
        Ok(Box::leak(Box::new(Self {
            inbox: Inbox::new(),
            sleeper: Sleeper::new(),
            reactor: Reactor::new()?,
            queue: RunQueue::new(),
            tick: AtomicU32::new(0),
            running_task: AtomicU64::new(0),
            started: AtomicUsize::new(0),
            placed: AtomicUsize::new(0),
            index: AtomicUsize::new(0),
            scheduler: AtomicPtr::new(ptr::null_mut()),
            local: Local {
                record: Cell::new(None),
                ready: RefCell::default(),
                stash: Cell::new(None),
                wakes: RefCell::default(),
                spares: RefCell::default(),
                free_records: RefCell::default(),
                blocks: RefCell::default(),
                rng: Rng::new(),
                slice: Cell::new(0),
                turn: Cell::new(false),
                budget: Cell::new(BUDGET),
                held: RefCell::default(),
                trim: crate::runtime::trim::Trim::default(),
                watch: crate::runtime::sentinel::Watch::default(),
                start_limit: Cell::new(0),
            },
        })))
    }

    /// A home from the pool, or a new one.
    pub(crate) fn acquire() -> io::Result<&'static Self> {
        let pooled = lock(&POOL).pop();
        match pooled {
            Some(home) => Ok(home),
            None => Self::new(),
        }
    }

    /// Returns a home that nobody drives any more.
    pub(crate) fn release(&'static self) {
        lock(&POOL).push(self);
    }

    /// Makes the home worker `index` of `scheduler`.
    pub(crate) fn join(&self, scheduler: &'static Scheduler, index: usize) {
        self.index.store(index, Relaxed);
        self.started.store(0, Relaxed);
        self.placed.store(0, Relaxed);
        self.scheduler.store(ptr::from_ref(scheduler).cast_mut(), Release);
    }

    pub(crate) fn scheduler(&self) -> &'static Scheduler {
        // SAFETY: schedulers are never freed; a home is handed out for use only after `join`.
        unsafe { &*self.scheduler.load(Acquire) }
    }

    pub(crate) fn index(&self) -> usize {
        self.index.load(Relaxed)
    }

    /// Closures that are this worker's, as far as balance is concerned.
    pub(crate) fn load(&self) -> usize {
        self.started.load(Relaxed) + self.placed.load(Relaxed)
    }

    /// # Safety
    /// The caller is on the thread that drives the home.
    pub(crate) unsafe fn local(&'static self) -> &'static Local {
        &self.local
    }

    /// After an item was put in the inbox.
    pub(crate) fn wake_if_sleeping(&self) {
        if self.sleeper.claim_wake() {
            self.reactor.notify();
        }
    }
}

static POOL: Mutex<Vec<&'static Home>> = Mutex::new(Vec::new());

impl Local {
    #[inline]
    pub(crate) fn push_ready(&self, item: Item) {
        self.ready.borrow_mut().push_back(item);
    }

    #[inline]
    pub(crate) fn pop_ready(&self) -> Option<Item> {
        self.ready.borrow_mut().pop_front()
    }

    /// Pops the front if it is a task; a woken coroutine is popped by the base alone (`resumed-on-base`).
    pub(crate) fn pop_ready_task(&self) -> ReadyTask {
        let mut ready = self.ready.borrow_mut();
        match ready.front() {
            None => ReadyTask::Empty,
            Some(Item::Coroutine(_)) => ReadyTask::Coroutine,
            Some(Item::Task(_)) => match ready.pop_front() {
                Some(Item::Task(runnable)) => ReadyTask::Task(runnable),
                _ => unreachable!("the front was a task"),
            },
        }
    }

    pub(crate) fn ready_len(&self) -> usize {
        self.ready.borrow().len()
    }

    pub(crate) fn has_wakes(&self) -> bool {
        !self.wakes.borrow().is_empty()
    }

    pub(crate) fn reset_budget(&self) {
        self.budget.set(BUDGET);
    }

    #[inline]
    pub(crate) fn spend_budget(&self) -> bool {
        let left = self.budget.get().saturating_sub(1);
        self.budget.set(left);
        left == 0
    }

    /// `record` has been cancelled, but may be unwinding.
    #[cold]
    pub(crate) fn hold_cancellation(&self, record: &'static Record) {
        let mut held = self.held.borrow_mut();
        if !held.iter().any(|other| ptr::eq(*other, record)) {
            held.push(record);
        }
    }

    /// On the base: those whose cancellation was held, if nobody on this thread unwinds any more.
    #[inline]
    pub(crate) fn held_no_longer(&self) -> Vec<&'static Record> {
        if self.held.borrow().is_empty() || std::thread::panicking() { Vec::new() } else { self.held.take() }
    }

    /// A free record of `home`, which owns this part.
    pub(crate) fn take_record(&self, home: &'static Home) -> &'static Record {
        let mut free = self.free_records.borrow_mut();
        if free.is_empty() {
            let block: &'static [Record] = Box::leak((0..RECORD_BLOCK).map(|_| Record::new(home)).collect());
            self.blocks.borrow_mut().push(block);
            free.extend(block);
        }
        free.pop().expect("a block was just added")
    }

    /// Frees the record of a coroutine that has ended, and its stack.
    pub(crate) fn free_record(&self, record: &'static Record, stack: Stack) {
        record.lane.set(None);
        record.stack.set(None);
        record.retire.set(false);
        record.suspender.set(ptr::null());
        self.free_records.borrow_mut().push(record);
        coroutine::release(stack);
    }
}

/// What `pop_ready_task` found.
pub(crate) enum ReadyTask {
    Empty,
    Coroutine,
    Task(Runnable),
}

impl ReadyTask {
    pub(crate) fn task(self) -> Option<Runnable> {
        match self {
            Self::Task(runnable) => Some(runnable),
            Self::Empty | Self::Coroutine => None,
        }
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home")
            .field("index", &self.index())
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}
