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
use crate::runtime::current;
use crate::runtime::idle::Sleeper;
use crate::runtime::inbox::Inbox;
use crate::runtime::locked_queue::LockedQueue;
use crate::runtime::memory::Blocks;
use crate::runtime::ready::ReadyQueue;
use crate::runtime::record::Record;
use crate::runtime::run_queue::RunQueue;
use crate::runtime::scheduler::Scheduler;
use crate::runtime::thread::Thread;
use crate::task::header::{self, Header, Lane, Runnable};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize};
use std::task::Waker;
use std::time::Instant;

/// Operations that a slice may do before it gives others a turn. 128 is tokio's number; not measured here.
pub(crate) const BUDGET: u32 = 128;

/// Numbers for tasks taken at a time: one atomic operation less for each task. Guessed.
const IDS: u64 = 256;

/// Records made at a time.
pub(crate) const RECORD_BLOCK: usize = 64;

/// What any thread may touch.
pub(crate) struct Home {
    pub(crate) inbox: Inbox,
    pub(crate) sleeper: Sleeper,
    pub(crate) reactor: Reactor,
    /// Futures and unstarted closures.
    pub(crate) queue: RunQueue,
    /// What the queue had no room for. The owner alone adds; it looks here when it looks at the injector, so the queue has something as
    /// long as there is something here, unless others have taken it.
    pub(crate) overflow: LockedQueue,
    /// Moves with everything that the worker runs.
    pub(crate) tick: AtomicU32,
    /// The thread that drives the home, or did.
    pub(crate) thread: Thread,
    /// Somebody naps, so that it gets a core.
    pub(crate) napped_for: AtomicBool,
    /// The coroutine that runs; null on the base. Written by the owner alone.
    running: AtomicPtr<Record>,
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

/// What only the thread that drives the home touches.
pub(crate) struct Local {
    /// Woken coroutines and pinned tasks.
    pub(crate) ready: ReadyQueue,
    /// A runnable popped by a loop of another lane.
    pub(crate) stash: Cell<Option<Runnable>>,
    /// Wakers to call: of ready sources and expired timers.
    pub(crate) wakes: RefCell<VecDeque<Waker>>,
    /// Coroutines whose loop is idle, hot last.
    pub(crate) spares: RefCell<Vec<(Lane, Vec<&'static Record>)>>,
    /// Loop coroutines that are in something: a task, or a waker of somebody's that waits. The thread does not end before
    /// them, nor does the home go to another one.
    pub(crate) busy_loops: Cell<usize>,
    free_records: RefCell<Vec<&'static Record>>,
    pub(crate) blocks: RefCell<Vec<&'static [Record]>>,
    /// Memory for tasks.
    pub(crate) memory: Blocks,
    pub(crate) rng: Rng,
    /// Picks left until the worker looks at its inbox, the injector and the poller.
    pub(crate) slice: Cell<u32>,
    turn: Cell<Turn>,
    /// What is left of the running slice's budget, while this thread drives another home; see `current::spend_budget`.
    pub(crate) saved_budget: Cell<u32>,
    /// Cancelled coroutines that wait on, because they may be unwinding: while a neighbour is suspended in a destructor that
    /// runs during an unwind, the thread reads as panicking and nobody can tell. They look again when it no longer does.
    held: RefCell<Vec<&'static Record>>,
    /// Whether there are any: asked after each switch, where a borrow more would be felt.
    holds: Cell<bool>,
    pub(crate) trim: crate::runtime::trim::Trim,
    pub(crate) watch: crate::runtime::sentinel::Watch,
    pub(crate) balance: crate::runtime::balance::Balance,
    pub(crate) linger: crate::runtime::linger::Linger,
    pub(crate) haul: crate::runtime::sleep::Haul,
    /// Numbers for tasks: the next, and the end of what has been taken.
    ids: Cell<(u64, u64)>,
    /// When the poller was last asked.
    pub(crate) polled: Cell<Option<Instant>>,
    /// Tasks that borrow from the owner of this thread, and frames of such tasks that may be suspended. See
    /// `executor/local.rs`.
    pub(crate) borrowers: crate::executor::Borrowers,
}

/// One of the two queues that a worker runs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Woken coroutines and pinned tasks.
    Ready,
    /// Futures and unstarted closures.
    Stealable,
}

/// Whose turn it is. A line keeps its turn for as many items as it had when the turn began: together the two run like one queue,
/// and a coroutine that is woken by each of many tasks in turn is resumed once for all of them.
#[derive(Clone, Copy, Debug)]
struct Turn {
    line: Line,
    left: usize,
}

impl Home {
    fn new() -> io::Result<&'static Self> {
        Ok(Box::leak(Box::new(Self {
            inbox: Inbox::new(),
            sleeper: Sleeper::new(),
            reactor: Reactor::new()?,
            queue: RunQueue::new(),
            overflow: LockedQueue::new(),
            tick: AtomicU32::new(0),
            thread: Thread::default(),
            napped_for: AtomicBool::new(false),
            running: AtomicPtr::new(ptr::null_mut()),
            started: AtomicUsize::new(0),
            placed: AtomicUsize::new(0),
            index: AtomicUsize::new(0),
            scheduler: AtomicPtr::new(ptr::null_mut()),
            local: Local {
                ready: ReadyQueue::new(),
                stash: Cell::new(None),
                wakes: RefCell::default(),
                spares: RefCell::default(),
                busy_loops: Cell::new(0),
                free_records: RefCell::default(),
                blocks: RefCell::default(),
                memory: Blocks::new(),
                rng: Rng::new(),
                slice: Cell::new(0),
                turn: Cell::new(Turn { line: Line::Ready, left: 0 }),
                saved_budget: Cell::new(BUDGET),
                held: RefCell::default(),
                holds: Cell::new(false),
                trim: crate::runtime::trim::Trim::default(),
                watch: crate::runtime::sentinel::Watch::default(),
                balance: crate::runtime::balance::Balance::default(),
                linger: crate::runtime::linger::Linger::default(),
                haul: crate::runtime::sleep::Haul::default(),
                ids: Cell::new((0, 0)),
                polled: Cell::new(None),
                borrowers: crate::executor::Borrowers::default(),
            },
        })))
    }

    /// A home from the pool, or a new one.
    pub(crate) fn acquire() -> io::Result<&'static Self> {
        let pooled = lock(&POOL).pop();
        let home = match pooled {
            Some(home) => home,
            None => Self::new()?,
        };
        DRIVEN.fetch_add(1, Relaxed);
        Ok(home)
    }

    /// Returns a home that nobody drives any more.
    pub(crate) fn release(&'static self) {
        DRIVEN.fetch_sub(1, Relaxed);
        lock(&POOL).push(self);
    }

    /// Whether no other thread runs coroutines, as far as is known: a guess that is wrong costs time.
    pub(crate) fn only_one_driven() -> bool {
        DRIVEN.load(Relaxed) == 1
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

    /// The coroutine that runs; none on the base. Owner only.
    #[inline]
    pub(crate) fn running(&self) -> Option<&'static Record> {
        // SAFETY: records are never freed.
        unsafe { self.running.load(Relaxed).as_ref() }
    }

    /// Owner only.
    #[inline]
    pub(crate) fn set_running(&self, record: Option<&'static Record>) {
        // Release pairs with the Acquire of `running_task`: the record was made before.
        self.running
            .store(record.map_or(ptr::null_mut(), |record| ptr::from_ref(record).cast_mut()), Release);
    }

    /// The task that runs, or null: for comparing. Any thread.
    pub(crate) fn running_task(&self) -> *const Header {
        // SAFETY: records are never freed.
        let record = unsafe { self.running.load(Acquire).as_ref() };
        record.map_or(ptr::null(), Record::task_address)
    }

    /// The worker has gone on to something else. Owner only.
    #[inline]
    pub(crate) fn moved(&self) {
        self.tick.store(self.tick.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Futures and unstarted closures in its queue and beyond it.
    pub(crate) fn stealable(&self) -> usize {
        self.queue.len() + self.overflow.len()
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

/// Homes that are not in the pool.
static DRIVEN: AtomicUsize = AtomicUsize::new(0);

static POOL: Mutex<Vec<&'static Home>> = Mutex::new(Vec::new());

impl Local {
    /// The line to take the next item from; none when both are empty. [`turn_taken`](Self::turn_taken) follows when it was taken.
    #[inline]
    pub(crate) fn whose_turn(&self, stealable: &RunQueue) -> Option<Line> {
        let turn = self.turn.get();
        if turn.left > 0 { Some(turn.line) } else { self.next_turn(stealable) }
    }

    fn next_turn(&self, stealable: &RunQueue) -> Option<Line> {
        let lines = match self.turn.get().line {
            Line::Ready => [Line::Stealable, Line::Ready],
            Line::Stealable => [Line::Ready, Line::Stealable],
        };
        lines.into_iter().find(|&line| {
            let left = match line {
                Line::Ready => self.ready.len(),
                Line::Stealable => stealable.len(),
            };
            self.turn.set(Turn { line, left });
            left > 0
        })
    }

    #[inline]
    pub(crate) fn turn_taken(&self) {
        let turn = self.turn.get();
        self.turn.set(Turn { left: turn.left.saturating_sub(1), ..turn });
    }

    /// The line whose turn it is has nothing: others have stolen it.
    pub(crate) fn end_turn(&self) {
        self.turn.set(Turn { left: 0, ..self.turn.get() });
    }

    pub(crate) fn has_stash(&self) -> bool {
        let stash = self.stash.take();
        let present = stash.is_some();
        self.stash.set(stash);
        present
    }

    pub(crate) fn has_wakes(&self) -> bool {
        !self.wakes.borrow().is_empty()
    }

    /// For a coroutine that gives others a turn: true when there are none, and it goes on as if it had been popped next. It is
    /// not true when the worker has to look around, so a task that yields in a loop keeps nobody from the worker.
    #[inline]
    pub(crate) fn take_own_turn(&self, home: &Home) -> bool {
        let alone = self.is_alone(home);
        if alone {
            self.slice.set(self.slice.get() - 1);
            home.moved();
            current::renew_budget();
        }
        alone
    }

    /// Whether there is nothing to run but the task that runs, and the worker need not look around.
    #[inline]
    pub(crate) fn is_alone(&self, home: &Home) -> bool {
        self.slice.get() > 0
            && home.queue.is_empty()
            && self.ready.is_empty()
            && !self.has_wakes()
            && !self.has_stash()
    }

    /// `record` has been cancelled, but may be unwinding.
    #[cold]
    pub(crate) fn hold_cancellation(&self, record: &'static Record) {
        let mut held = self.held.borrow_mut();
        if !held.iter().any(|other| ptr::eq(*other, record)) {
            held.push(record);
            self.holds.set(true);
        }
    }

    /// A number for a task that is spawned here.
    #[inline]
    pub(crate) fn next_id(&self) -> u64 {
        let (next, end) = self.ids.get();
        if next == end {
            return self.take_ids();
        }
        self.ids.set((next + 1, end));
        next
    }

    #[cold]
    fn take_ids(&self) -> u64 {
        let first = header::take_ids(IDS);
        self.ids.set((first + 1, first + IDS));
        first
    }

    #[inline]
    pub(crate) fn holds_cancellations(&self) -> bool {
        self.holds.get()
    }

    /// On the base: those whose cancellation was held, if nobody on this thread unwinds any more.
    #[cold]
    pub(crate) fn held_no_longer(&self) -> Vec<&'static Record> {
        if std::thread::panicking() {
            return Vec::new();
        }
        self.holds.set(false);
        self.held.take()
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
