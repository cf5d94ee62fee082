//! A scheduler of a few workers, without stacks, tasks and pollers, from the real queues, idle protocol, post
//! of the sentinel and gate: whatever the order, every task runs once, and the worker of a task that blocks
//! holds nobody up.
//!
//! Too large for loom. Shuttle picks orders at random, and takes every access for sequentially consistent: it
//! checks the logic, loom the orderings.

use super::wake_if_sleeping;
use crate::model::Poller;
use crate::runtime::gate::Gate;
use crate::runtime::idle::{Idle, Sleeper};
use crate::runtime::inbox::{Inbox, Link, LinkKind};
use crate::runtime::run_queue::RunQueue;
use shuttle::sync::atomic::AtomicUsize;
use shuttle::sync::atomic::Ordering::Relaxed;
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr::NonNull;

/// Picks between two looks at the inbox and the injector.
const SLICE: u32 = 3;

#[repr(C)]
struct Task {
    link: Link,
    /// The only worker that may run it.
    pinned: Option<usize>,
    kind: Kind,
}

enum Kind {
    /// Ends at once.
    Leaf,
    /// Spawns so many leaves where it runs, and blocks its worker until they have ended.
    Parent(usize),
    /// A leaf of such a parent.
    Child(Arc<Latch>),
}

type Raw = NonNull<Task>;

/// Counts down to zero.
struct Latch {
    left: Mutex<usize>,
    changed: Condvar,
}

impl Latch {
    fn count_down(&self) {
        *self.left.lock().unwrap() -= 1;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let mut left = self.left.lock().unwrap();
        while *left > 0 {
            left = self.changed.wait(left).unwrap();
        }
    }
}

struct Home {
    inbox: Inbox,
    queue: RunQueue,
    /// What the queue had no room for.
    overflow: List,
    sleeper: Sleeper,
    poller: Poller,
}

/// As `LockedQueue`.
#[derive(Default)]
struct List(Mutex<VecDeque<SendRaw>>);

impl List {
    fn push(&self, task: Raw) {
        self.0.lock().unwrap().push_back(SendRaw(task));
    }

    fn pop(&self) -> Option<Raw> {
        self.0.lock().unwrap().pop_front().map(|SendRaw(task)| task)
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

struct Scheduler {
    homes: Vec<Home>,
    idle: Idle,
    injector: List,
    gate: Gate<()>,
    ran: AtomicUsize,
}

struct SendRaw(Raw);
// SAFETY: a task is touched by the one who holds the pointer.
unsafe impl Send for SendRaw {}

impl Scheduler {
    fn new(workers: usize) -> Arc<Self> {
        let home = |_| Home {
            inbox: Inbox::new(),
            queue: RunQueue::new(),
            overflow: List::default(),
            sleeper: Sleeper::new(),
            poller: Poller::new(),
        };
        Arc::new(Self {
            homes: (0..workers).map(home).collect(),
            idle: Idle::new(),
            injector: List::default(),
            gate: Gate::new(workers + 1),
            ran: AtomicUsize::new(0),
        })
    }

    /// None: refused.
    fn make(&self, pinned: Option<usize>, kind: Kind) -> Option<Raw> {
        self.gate.enter(0, |()| ()).then(|| {
            let task = Box::new(Task { link: Link::new(LinkKind::Task), pinned, kind });
            NonNull::from(Box::leak(task))
        })
    }

    /// From off the workers.
    fn spawn(&self, kind: Kind) -> bool {
        let Some(task) = self.make(None, kind) else { return false };
        self.injector.push(task);
        if !self.idle.someone_searches() {
            self.wake_one();
        }
        true
    }

    fn spawn_pinned(&self, home: usize) -> bool {
        let Some(task) = self.make(Some(home), Kind::Leaf) else { return false };
        let home = &self.homes[home];
        // SAFETY: a new task, freed by who runs it.
        unsafe { home.inbox.push(task.cast()) };
        wake_if_sleeping(&home.sleeper, &home.poller);
        true
    }

    fn wake_one(&self) {
        for home in &self.homes {
            if home.sleeper.is_sleeping() && home.sleeper.claim_wake() {
                home.poller.notify();
                return;
            }
        }
    }

    fn tell_workers(&self) {
        self.homes.iter().for_each(|home| home.poller.notify());
    }

    fn begin_shutdown(&self) {
        self.gate.close();
        if self.gate.tell() {
            self.tell_workers();
        }
    }

    fn is_over(&self) -> bool {
        self.gate.is_closed() && self.gate.live() == 0
    }
}

/// `worker.rs`, `sleep.rs` and `sentinel.rs` in brief.
struct Worker<'a> {
    scheduler: &'a Scheduler,
    home: &'a Home,
    index: usize,
    ready: RefCell<VecDeque<Raw>>,
    slice: Cell<u32>,
    rested: Cell<bool>,
}

impl<'a> Worker<'a> {
    fn run(scheduler: &'a Scheduler, index: usize) {
        scheduler.idle.awake();
        let worker = Self {
            scheduler,
            home: &scheduler.homes[index],
            index,
            ready: RefCell::default(),
            slice: Cell::new(SLICE),
            rested: Cell::new(true),
        };
        while !scheduler.is_over() {
            match worker.pick() {
                Some(task) => {
                    if worker.rested.replace(false) {
                        worker.hand_on();
                    }
                    worker.carry_out(task);
                }
                None => worker.sleep(),
            }
        }
        scheduler.idle.asleep();
    }

    fn pick(&self) -> Option<Raw> {
        if self.slice.get() == 0 {
            self.slice.set(SLICE);
            self.receive();
            self.take_injected();
        }
        self.slice.set(self.slice.get() - 1);
        let ready = self.ready.borrow_mut().pop_front();
        ready.or_else(|| self.home.queue.pop().map(NonNull::cast))
    }

    fn hand_on(&self) {
        let sleepers = || self.scheduler.homes.iter().map(|home| &home.sleeper);
        if let Some(appointed) = self.scheduler.idle.back_to_work(self.index, sleepers) {
            // A timer may go off at once.
            self.scheduler.homes[appointed].poller.notify();
        }
    }

    fn carry_out(&self, task: Raw) {
        // SAFETY: made by `make`; every queue gives it out once.
        let task = unsafe { Box::from_raw(task.as_ptr()) };
        assert!(task.pinned.is_none_or(|home| home == self.index));
        match task.kind {
            Kind::Leaf => {}
            Kind::Child(latch) => latch.count_down(),
            Kind::Parent(children) => {
                let latch = Arc::new(Latch { left: Mutex::new(children), changed: Condvar::new() });
                let spawned = (0..children).map_while(|_| self.spawn_child(&latch)).count();
                (spawned..children).for_each(|_| latch.count_down());
                latch.wait();
            }
        }
        self.scheduler.ran.fetch_add(1, Relaxed);
        self.scheduler.gate.leave(0, |()| ());
        if self.scheduler.gate.has_left() {
            self.scheduler.tell_workers();
        }
    }

    /// The owner's push.
    fn spawn_child(&self, latch: &Arc<Latch>) -> Option<()> {
        let scheduler = self.scheduler;
        let task = scheduler.make(None, Kind::Child(latch.clone()))?;
        if self.home.queue.push(task.cast()).is_err() {
            self.home.overflow.push(task);
        }
        if self.home.queue.len() > 1 && scheduler.idle.seems_worth_waking(scheduler.homes.len()) {
            scheduler.wake_one();
        }
        Some(())
    }

    fn receive(&self) -> bool {
        let before = self.ready.borrow().len();
        self.ready.borrow_mut().extend(self.home.inbox.take().map(NonNull::cast::<Task>));
        self.ready.borrow().len() > before
    }

    fn take_injected(&self) -> bool {
        self.take_from(&self.home.overflow) | self.take_from(&self.scheduler.injector)
    }

    fn steal_from(&self, victim: &Home) -> bool {
        victim.queue.steal_into(&self.home.queue) > 0 || self.take_from(&victim.overflow)
    }

    fn take_from(&self, list: &List) -> bool {
        let Some(task) = list.pop() else { return false };
        if self.home.queue.push(task.cast()).is_err() {
            self.ready.borrow_mut().push_back(task);
        }
        true
    }

    /// Takes at the second look what stood still at the first, with others between.
    fn search(&self) -> bool {
        let scheduler = self.scheduler;
        if scheduler.idle.awake_count() < 2 {
            return false;
        }
        for looked in [false, true] {
            if !scheduler.idle.try_search() {
                return false;
            }
            let mut others = scheduler.homes.iter().filter(|home| !std::ptr::eq(*home, self.home));
            let found = others.any(|victim| match looked {
                true => self.steal_from(victim),
                false => victim.queue.len() > 0 || !victim.overflow.is_empty(),
            });
            scheduler.idle.end_search();
            let injected = !scheduler.injector.is_empty();
            if found && looked {
                if self.home.queue.len() > 1 || injected {
                    scheduler.wake_one();
                }
                return true;
            }
            if injected {
                return self.take_injected();
            }
            if !found {
                return false;
            }
            thread::yield_now();
        }
        false
    }

    fn sleep(&self) {
        if self.receive() | self.take_injected() || self.search() {
            return;
        }
        let (scheduler, home) = (self.scheduler, self.home);
        home.sleeper.announce();
        self.rested.set(true);
        let timed = scheduler.idle.rest(self.index);
        if home.inbox.is_empty() && scheduler.injector.is_empty() && !scheduler.is_over() {
            if timed {
                // The timeout may pass at once, or while others do anything.
                thread::yield_now();
            } else {
                home.poller.wait();
            }
        }
        home.sleeper.cancel();
        scheduler.idle.awake();
        let has_work = !home.inbox.is_empty() || !scheduler.injector.is_empty();
        if !has_work && scheduler.idle.holds_post(self.index) {
            self.look();
        }
    }

    fn look(&self) {
        let mut working = false;
        for home in self.scheduler.homes.iter().filter(|home| !std::ptr::eq(*home, self.home)) {
            if home.sleeper.is_sleeping() {
                continue;
            }
            working = true;
            if self.home.queue.len() == 0 {
                self.steal_from(home);
            }
            let some_left = home.inbox.pick_out(|link| {
                let task = link.cast::<Task>();
                // SAFETY: it was just taken out.
                let wanted = unsafe { task.as_ref() }.pinned.is_none();
                if wanted {
                    self.ready.borrow_mut().push_back(task);
                }
                wanted
            });
            if some_left {
                wake_if_sleeping(&home.sleeper, &home.poller);
            }
        }
        if !working {
            self.scheduler.idle.resign(self.index);
        }
    }
}

/// Orders tried by each test.
const ORDERS: usize = 5_000;

/// Runs `spawn` on a thread beside so many workers, then shuts down; all that was let in must run, or shuttle
/// finds a deadlock. `spawn` returns how many tasks there will have been, if that is known.
fn model(workers: usize, spawn: fn(&Scheduler) -> Option<usize>) {
    let check = move || {
        let scheduler = Scheduler::new(workers);
        let threads: Vec<_> = (0..workers)
            .map(|index| {
                let scheduler = scheduler.clone();
                thread::spawn(move || Worker::run(&scheduler, index))
            })
            .collect();
        let expected = spawn(&scheduler);
        scheduler.begin_shutdown();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let ran = scheduler.ran.load(Relaxed);
        assert!(expected.is_none_or(|expected| ran == expected), "{ran} ran of {expected:?}");
        assert_eq!(scheduler.gate.live(), 0);
    };
    shuttle::check_random(check, ORDERS);
    shuttle::check_pct(check, ORDERS, 3);
}

#[test]
fn shuttle_everything_runs_once() {
    model(2, |scheduler| {
        let spawned = (0..3).filter(|_| scheduler.spawn(Kind::Leaf)).count();
        Some(spawned + (0..2).filter(|home| scheduler.spawn_pinned(*home)).count())
    });
}

#[test]
fn shuttle_a_blocked_worker_is_helped() {
    model(2, |scheduler| {
        scheduler.spawn(Kind::Parent(2));
        scheduler.spawn_pinned(0);
        None
    });
}

/// With so many children the queue overflows.
#[test]
fn shuttle_what_a_blocked_worker_had_no_room_for_is_found() {
    model(2, |scheduler| {
        scheduler.spawn(Kind::Parent(6));
        None
    });
}

/// Two of three workers block.
#[test]
fn shuttle_two_blocked_workers_are_helped() {
    model(3, |scheduler| {
        scheduler.spawn(Kind::Parent(1));
        scheduler.spawn(Kind::Parent(2));
        scheduler.spawn(Kind::Leaf);
        None
    });
}
