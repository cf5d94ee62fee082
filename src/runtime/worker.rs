//! The worker's loop. It runs *inside coroutines*: the base, on the thread's own stack, only chooses the coroutine to resume.
//!
//! # Picture
//! ```text
//!  base (thread's stack)         loop coroutine, lane "futures"       loop coroutine, lane "closures"
//!  ┌──────────────────┐  resume  ┌───────────────────────────┐        ┌───────────────────────────┐
//!  │ pick             │ ───────► │ call wakers; run tasks of │        │ run closures; one waits:  │
//!  │ inbox, injector, │ ◄─────── │ this lane; else suspend   │        │ suspend, closure and all  │
//!  │ poller, sleep    │  idle    └───────────────────────────┘        └───────────────────────────┘
//!  │                  │ ─────────────────────────────────────────────►  (the base takes a spare one next time)
//!  └──────────────────┘ ◄─────────────────────────────────────────────  waiting
//! ```
//!
//! # Invariants
//! - `no-user-code-on-base`: polls, wakers of others and destructors run on loop coroutines only, so they may wait. Wakers of
//!   our own coroutines are called on the base: they run nothing of the user's.
//! - `nothing-in-locals`: pending wakers, popped runnables and stolen items lie in the home's `Local`, popped one by one: when
//!   user code suspends, the next loop finds the rest.
//! - `resumed-on-base`: see `record.rs`.

use crate::coroutine::{self, Coroutine, Resumed};
use crate::primitive::contain_panic;
use crate::reactor::clock;
use crate::runtime::current::{self, CurrentHome};
use crate::runtime::home::{Home, Line};
use crate::runtime::inbox::LinkKind;
use crate::runtime::locked_queue::LockedQueue;
use crate::runtime::ready::{Front, Item};
use crate::runtime::record::{Record, State, Suspended};
use crate::runtime::report::Report;
use crate::runtime::scheduler::{self, Scheduler};
use crate::task::cell::{Ran, Runnable};
use crate::task::header::{Header, Kind, Lane, State as TaskState};
use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Picks between two looks at the inbox, the injector and the poller. 61 is the number of Go and tokio (prime, so that it
/// does not beat with a program's own periods); not measured here.
const SLICE: u32 = 61;

/// A busy worker asks its poller and its timers no more often. A system call is 140 ns here and 61 yields are 1.5 us: asked each
/// slice, a tenth of a busy worker's time would go there. Far below what a socket or a timer could notice.
pub(super) const POLL_PERIOD: Duration = Duration::from_micros(20);

/// Runnables taken from the injector, or from an overflow, at a time: no fewer than a slice, so that the queue does not run dry.
const BATCH: usize = 64;

/// Idle loops kept per lane; more are ended and their stacks pooled. Guessed: 256 pages are 1 MiB.
const MAX_SPARES: usize = 256;

/// How long a worker that could not get a stack waits before it tries again, when nothing else wakes it.
const STACK_RETRY: Duration = Duration::from_millis(10);

/// A worker's base: what drives a home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    pub(crate) here: CurrentHome,
}

/// What the base does next.
enum Pick {
    Resume(&'static Record),
    /// A loop of this lane has something to do (in the stash, or wakers to call).
    Loop(Lane),
}

impl Base {
    pub(crate) fn home(self) -> &'static Home {
        self.here.shared()
    }

    pub(crate) fn scheduler(self) -> &'static Scheduler {
        self.home().scheduler()
    }

    /// Runs what there is until `done`; `sleep` is called when there is nothing.
    pub(crate) fn run(self, mut done: impl FnMut() -> bool, mut sleep: impl FnMut(Self)) {
        loop {
            if !self.step() {
                if done() {
                    return;
                }
                sleep(self);
            }
            if done() {
                return;
            }
        }
    }

    /// Runs one pick, and what the loop finds besides. False: there was nothing. In one function with its caller and what it calls on
    /// the way to a switch: the processor predicts where a function returns to by what was called last, and after a switch
    /// that is another coroutine's affair. Each function between loop and switch, on either side, costs a wrong guess.
    #[inline(always)]
    pub(super) fn step(self) -> bool {
        let Some(work) = self.pick() else { return false };
        self.back_to_work();
        self.carry_out(work);
        true
    }

    /// Runs one task, or one woken coroutine, once. False: none was ready.
    pub(super) fn step_once(self) -> bool {
        let local = self.here.local();
        loop {
            // The loop does not go on to another task when the slice is used up.
            local.slice.set(1);
            let Some(work) = self.pick() else { return false };
            let runs = match work {
                Pick::Resume(_) => true,
                // Else it only calls wakers.
                Pick::Loop(_) => local.has_stash(),
            };
            self.back_to_work();
            self.carry_out(work);
            if runs {
                return true;
            }
        }
    }

    /// Something could be run, or received, at once.
    pub(super) fn has_work(self) -> bool {
        let local = self.here.local();
        !local.ready.is_empty()
            || local.has_wakes()
            || local.has_stash()
            || !self.home().queue.is_empty()
            || !self.home().overflow.is_empty()
            || !self.home().inbox.is_empty()
    }

    #[inline(always)]
    fn carry_out(self, work: Pick) {
        let record = match work {
            Pick::Resume(record) => record,
            Pick::Loop(lane) => match self.spare(lane) {
                Ok(record) => record,
                Err(error) => return self.starved(&error),
            },
        };
        self.here.local().watch.starved_in_row.set(0);
        self.resume(record);
    }

    #[inline(always)]
    fn pick(self) -> Option<Pick> {
        let local = self.here.local();
        if local.slice.get() == 0 {
            self.look_around();
        }
        local.slice.set(local.slice.get() - 1);
        self.home().moved();
        if local.has_wakes() && self.call_own_wakers() {
            return Some(Pick::Loop(self.scheduler().config().futures));
        }
        if let Some(runnable) = local.stash.take() {
            return Some(self.stash(runnable));
        }
        loop {
            let picked = match local.whose_turn(&self.home().queue)? {
                Line::Ready => self.pick_ready(),
                Line::Stealable => self.pick_stealable(),
            };
            match picked {
                Some(pick) => {
                    local.turn_taken();
                    return Some(pick);
                }
                None => local.end_turn(),
            }
        }
    }

    #[inline(always)]
    fn pick_ready(self) -> Option<Pick> {
        let ready = &self.here.local().ready;
        Some(match ready.pop()? {
            Item::Coroutine(record) => {
                ready.prefetch(self.home().started.load(Relaxed));
                Pick::Resume(record)
            }
            Item::Task(runnable) => self.stash(runnable),
        })
    }

    fn pick_stealable(self) -> Option<Pick> {
        pop_stealable(self.home()).map(|runnable| self.stash(runnable))
    }

    fn stash(self, runnable: Runnable) -> Pick {
        let lane = runnable.metadata().lane;
        self.here.local().stash.set(Some(runnable));
        Pick::Loop(lane)
    }

    /// Calls the wakers of our own coroutines that stand first among the pending ones. True when another's is left.
    #[inline(never)]
    fn call_own_wakers(self) -> bool {
        // Kept meanwhile: a coroutine's waker calls nothing that comes here.
        let mut wakes = self.here.local().wakes.borrow_mut();
        while let Some(record) = wakes.front().and_then(Record::of_waker) {
            // Its destructor does nothing.
            mem::forget(wakes.pop_front());
            record.wake_by(self.here);
        }
        !wakes.is_empty()
    }

    /// Takes in what others have given this worker and, when it has not asked for a `POLL_PERIOD`, what the poller and the
    /// timers have, and has a glance at another worker.
    #[inline(never)]
    pub(crate) fn look_around(self) {
        let local = self.here.local();
        local.slice.set(SLICE);
        self.receive();
        self.take_injected();
        let now = clock::now();
        if local.polled.get().is_none_or(|polled| now.duration_since(polled) >= POLL_PERIOD) {
            local.polled.set(Some(now));
            self.poll(Some(Duration::ZERO));
            self.glance(now);
        }
    }

    /// Empties the inbox. True when there was something.
    pub(crate) fn receive(self) -> bool {
        let mut any = false;
        for link in self.home().inbox.take() {
            any = true;
            // SAFETY: the kind says what the link is embedded in; the links come from the inbox.
            match unsafe { link.as_ref() }.kind() {
                LinkKind::Record => {
                    // SAFETY: it is a record's, from the inbox.
                    unsafe { Record::of_link(link) }.taken(self.here);
                }
                LinkKind::Task => {
                    // SAFETY: as `received` asks.
                    let runnable = unsafe { scheduler::received(link) };
                    self.here.local().ready.push_task(runnable);
                }
            }
        }
        any
    }

    /// Moves what did not fit this worker's queue, and a fair share of the injector, there. True when there was something.
    pub(crate) fn take_injected(self) -> bool {
        let scheduler = self.scheduler();
        let share = scheduler.injector.len().div_ceil(scheduler.homes().len());
        self.take_from(&self.home().overflow, BATCH) | self.take_from(&scheduler.injector, share)
    }

    /// Moves half of the queue of another worker to this one's; when it is empty, half of what it had no room for, a batch at most: others have
    /// emptied it, while what its owner runs takes long. True when there was something.
    pub(super) fn steal_from(self, victim: &Home) -> bool {
        victim.queue.steal_into(&self.home().queue) > 0
            || victim.queue.is_empty() && self.take_from(&victim.overflow, victim.overflow.len().div_ceil(2))
    }

    /// Moves so many, a batch at most.
    fn take_from(self, list: &LockedQueue, count: usize) -> bool {
        if list.is_empty() {
            return false;
        }
        let mut any = false;
        for runnable in list.take(count.min(BATCH)) {
            any = true;
            if let Err(raw) = self.home().queue.push(runnable.into_raw()) {
                // SAFETY: the pointer came from `into_raw` just now.
                self.here.local().ready.push_task(unsafe { Runnable::from_raw(raw) });
            }
        }
        any
    }

    /// Polls the reactor; wakers due are put among the pending ones.
    pub(crate) fn poll(self, timeout: Option<Duration>) {
        let mut wakes = self.here.local().wakes.borrow_mut();
        if let Err(error) = self.home().reactor.poll(timeout, &mut wakes) {
            drop(wakes);
            self.scheduler().report(&Report::poller_failed(&error));
            // Not a busy loop, whatever the reason.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Switches to a coroutine; returns when it has suspended or ended.
    #[inline(always)]
    fn resume(self, record: &'static Record) {
        let local = self.here.local();
        record.state.set(State::Running);
        self.home().set_running(Some(record));
        if let Some(task) = record.task() {
            task.set_state(TaskState::Running);
            current::renew_budget();
        }
        // SAFETY: `home-only`; the loop inside never touches this cell, and only the base resumes.
        let coroutine = unsafe { &mut *record.coroutine.get() };
        let resumed = coroutine.as_mut().expect("a record that is resumed has a coroutine").resume();
        self.home().set_running(None);
        match resumed {
            Resumed::Finished => self.reclaim(record),
            Resumed::Suspended if record.suspended.get() == Suspended::Idle => self.put_spare(record),
            Resumed::Suspended => {}
        }
        if local.holds_cancellations() {
            local.held_no_longer().into_iter().for_each(|record| record.wake_local(self.here));
        }
    }

    #[cold]
    fn reclaim(self, record: &'static Record) {
        // SAFETY: `home-only`; the coroutine has ended.
        let coroutine = unsafe { &mut *record.coroutine.get() }.take().expect("it has just ended");
        self.here.local().free_record(record, coroutine.into_stack());
    }

    /// A loop coroutine of this lane that is not in use.
    fn spare(self, lane: Lane) -> io::Result<&'static Record> {
        let local = self.here.local();
        let found = spares_of(&mut local.spares.borrow_mut(), lane).pop();
        match found {
            Some(record) => Ok(record),
            None => self.new_loop(lane),
        }
    }

    #[cold]
    fn new_loop(self, lane: Lane) -> io::Result<&'static Record> {
        let acquire = if Home::only_one_driven() { coroutine::acquire_alone } else { coroutine::acquire };
        let stack = acquire(lane.class)?;
        if self.here.local().watch.starved_in_row.get() > 0 {
            // Whoever is still short says so again.
            self.scheduler().short_of_stacks.store(false, Relaxed);
        }
        let record = self.here.local().take_record(self.home());
        record.lane.set(Some(lane));
        record.stack.set(Some(stack.extent()));
        let here = self.here;
        let coroutine = Coroutine::new(stack, move |suspender| {
            record.suspender.set(suspender);
            Loop { here, record, lane }.run();
        });
        // SAFETY: `home-only`; the record was free.
        unsafe { *record.coroutine.get() = Some(coroutine) };
        Ok(record)
    }

    fn put_spare(self, record: &'static Record) {
        let lane = record.lane.get().expect("a loop has a lane");
        let local = self.here.local();
        spares_of(&mut local.spares.borrow_mut(), lane).push(record);
    }

    /// Ends an idle loop of a lane.
    fn retire_one(self, lane: Lane) {
        let Some(record) = spares_of(&mut self.here.local().spares.borrow_mut(), lane).pop() else { return };
        record.retire.set(true);
        self.resume_to_end(record);
    }

    #[cold]
    fn resume_to_end(self, record: &'static Record) {
        self.resume(record);
    }

    /// Ends all idle loops: the worker ends.
    pub(crate) fn retire_all(self) {
        let lanes: Vec<Lane> = self.here.local().spares.borrow().iter().map(|(lane, _)| *lane).collect();
        for lane in lanes {
            while !spares_of(&mut self.here.local().spares.borrow_mut(), lane).is_empty() {
                self.retire_one(lane);
            }
        }
    }

    /// No stack could be had. What was to run goes to the back of the queue; what runs on stacks that exist goes on, and may
    /// free one. The other workers are asked for the idle stacks they keep.
    #[cold]
    fn starved(self, error: &io::Error) {
        let local = self.here.local();
        if !self.scheduler().short_of_stacks.swap(true, Relaxed) {
            self.scheduler().notify_all();
        }
        let in_row = local.watch.starved_in_row.get() + 1;
        local.watch.starved_in_row.set(in_row);
        if local.watch.first_starvation() {
            self.scheduler().report(&Report::no_stack(error));
        }
        if let Some(runnable) = local.stash.take() {
            local.ready.push_task(runnable);
        }
        self.receive();
        // Everything there is has been tried since something ran: wait.
        let waiting = local.ready.len() + self.home().queue.len();
        self.poll(Some(if in_row < waiting { Duration::ZERO } else { STACK_RETRY }));
    }
}

type Spares = Vec<&'static Record>;

fn spares_of(spares: &mut Vec<(Lane, Spares)>, lane: Lane) -> &mut Spares {
    let index = match spares.iter().position(|(of, _)| *of == lane) {
        Some(index) => index,
        None => {
            spares.push((lane, Vec::new()));
            spares.len() - 1
        }
    };
    &mut spares[index].1
}

#[inline]
fn pop_stealable(home: &'static Home) -> Option<Runnable> {
    // Nobody steals from the only worker.
    let alone = home.scheduler().homes().len() == 1;
    let popped = if alone { home.queue.pop_alone() } else { home.queue.pop() };
    // SAFETY: the queue holds what `into_raw` gave, each once (`once` in `run_queue.rs`).
    popped.map(|raw| unsafe { Runnable::from_raw(raw) })
}

/// What runs inside a loop coroutine.
struct Loop {
    here: CurrentHome,
    record: &'static Record,
    lane: Lane,
}

impl Loop {
    fn run(self) {
        let busy = &self.here.local().busy_loops;
        while !self.record.retire.get() {
            busy.set(busy.get() + 1);
            self.call_wakers();
            while let Some(runnable) = self.next() {
                self.run_task(runnable);
                self.call_wakers();
            }
            busy.set(busy.get() - 1);
            if self.is_surplus() {
                // Hot as it is: to end one that has been idle for longer would take two more switches, and fetch its stack.
                return;
            }
            self.record.suspended.set(Suspended::Idle);
            self.record.suspend();
        }
    }

    /// Whether enough loops of this lane are idle without this one.
    fn is_surplus(&self) -> bool {
        let mut spares = self.here.local().spares.borrow_mut();
        spares_of(&mut spares, self.lane).len() >= MAX_SPARES
            || self.here.shared().scheduler().short_of_stacks.load(Relaxed)
    }

    /// Calls the pending wakers, on the stack kept for futures.
    fn call_wakers(&self) {
        if !self.lane.futures {
            return;
        }
        loop {
            let Some(waker) = self.here.local().wakes.borrow_mut().pop_front() else { return };
            // A waker of somebody else's that panics must not take the loop with it.
            contain_panic(|| waker.wake());
        }
    }

    /// The next task of this lane, if the base need not be asked.
    fn next(&self) -> Option<Runnable> {
        let local = self.here.local();
        if let Some(runnable) = local.stash.take() {
            return self.mine(runnable);
        }
        if local.slice.get() == 0 || (local.has_wakes() && !self.lane.futures) {
            return None;
        }
        let runnable = loop {
            match local.whose_turn(&self.here.shared().queue)? {
                Line::Ready => match local.ready.pop_task() {
                    Front::Coroutine => return None,
                    Front::Task(runnable) => break runnable,
                    Front::Empty => local.end_turn(),
                },
                Line::Stealable => match pop_stealable(self.here.shared()) {
                    Some(runnable) => break runnable,
                    None => local.end_turn(),
                },
            }
        };
        local.turn_taken();
        local.slice.set(local.slice.get() - 1);
        self.mine(runnable)
    }

    /// Passes a runnable of another lane to the base.
    fn mine(&self, runnable: Runnable) -> Option<Runnable> {
        if runnable.metadata().lane == self.lane {
            return Some(runnable);
        }
        self.here.local().stash.set(Some(runnable));
        None
    }

    fn run_task(&self, runnable: Runnable) {
        let home = self.here.shared();
        let header: *const Header = runnable.metadata();
        // SAFETY: the runnable keeps the header up to `run`; it is not used afterwards.
        let header = unsafe { &*header };
        let starts = header.kind == Kind::Coroutine;
        if starts {
            if let Some(sent_to) = header.placed() {
                sent_to.placed.fetch_sub(1, Relaxed);
            } else if let Some(there) = self.here.start_elsewhere() {
                there.placed.fetch_add(1, Relaxed);
                header.set_placed(there);
                scheduler::send(there, runnable);
                return;
            }
            home.started.store(home.started.load(Relaxed) + 1, Relaxed);
        }
        header.set_state(TaskState::Running);
        header.set_worker(home.index());
        current::renew_budget();
        self.record.set_task(header);
        self.record.woke_itself.set(false);
        let ran = runnable.run(&self.record.woke_itself);
        self.record.set_task(ptr::null());
        home.moved();
        match ran {
            Ran::Paused => {}
            Ran::Woken(runnable) => self.run_again(runnable),
            Ran::Ended(ended) => home.scheduler().finish(ended),
        }
        if starts {
            home.started.store(home.started.load(Relaxed) - 1, Relaxed);
        }
    }

    /// The task was woken while it ran. When there is nothing else to run it need not go through a queue.
    #[inline]
    fn run_again(&self, runnable: Runnable) {
        let local = self.here.local();
        if !local.is_alone(self.here.shared()) {
            return scheduler::schedule(runnable);
        }
        local.slice.set(local.slice.get() - 1);
        runnable.metadata().set_state(TaskState::Ready);
        local.stash.set(Some(runnable));
    }
}

impl Record {
    /// Leaves this coroutine for the base.
    #[inline]
    pub(crate) fn suspend(&self) {
        // SAFETY: set when the loop started; it lies on this very stack, and we are on it.
        let suspender = unsafe { &*self.suspender.get() };
        self.stack_pointer.set(crate::coroutine::stack_pointer());
        suspender.suspend();
    }
}
