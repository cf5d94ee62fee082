//! The sentinel, a sleeping worker that looks after the others, and the glances of those that work (`idle.md`, "The sentinel").

use crate::reactor::clock;
use crate::runtime::Home;
use crate::runtime::inbox::LinkKind;
use crate::runtime::report::Report;
use crate::runtime::scheduler;
use crate::runtime::worker::{Base, POLL_PERIOD};
use std::cell::{Cell, RefCell};
use std::mem;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

/// The period while somebody works.
const SHORT: Duration = Duration::from_millis(1);
/// The longest period while nobody does.
const LONG: Duration = Duration::from_millis(10);
/// How often a worker has a glance at another: as often as at its own poller.
const GLANCE: Duration = POLL_PERIOD;
/// How often it asks the poller of one that sleeps, with a system call, whether that one should have woken.
const ASK: Duration = Duration::from_micros(100);
/// After so long without a tick others serve a worker's sockets. Most likely the system runs something else in its place, and will
/// for the milliseconds of a time slice. The 99th percentile of an echo with 100 connections, 2 workers and a client on 2 cores,
/// futures / `net::serve`: 3.5 / 2.5 ms without glances while busy, 1.25 / 1.4 ms with 100 us here, 1.2 / 1.2 ms with 50, the
/// same with 30. Glances every 50 us: 1.6 / 2.2 ms.
const STANDSTILL: Duration = Duration::from_micros(50);
/// A queue that has been left alone for so long is shared out. A coroutine stays where it starts, and those that talk to each other are
/// started together: with 50 us here they were spread over the workers more often than not. A worker that maps a slab of
/// stacks takes 100 to 400 us, mostly before there is anything in its queue.
const UNTOUCHED: Duration = Duration::from_micros(200);
/// So that its core is idle for a moment: then the system looks for a thread that waits for another. The shortest that it knows, some 55 us. A
/// server of coroutines with 100 connections, 2 workers and a client on 2 cores: 3.1 to 1.3 ms (99th percentile) and
/// 157,000 to 189,000 requests a second. 100 us: no difference.
const NAP: Duration = Duration::from_micros(1);
/// Of one worker for another that stands still: 1.2 ms. The system leaves a thread where it ran in the last 0.5 ms. With 4
/// there was no gain, with any number the same as with 16.
const NAPS: u32 = 16;
/// After so long without a tick a worker is reported.
const STUCK: Duration = Duration::from_secs(1);

/// What a worker remembers between two looks.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    period: Cell<Option<Duration>>,
    seen: RefCell<Vec<Seen>>,
    starved: Cell<bool>,
    /// Tasks that got no stack since anything was run last.
    pub(crate) starved_in_row: Cell<usize>,
    /// The worker has started or slept, and run nothing since.
    rested: Cell<bool>,
    last_glance: Cell<Option<Instant>>,
    /// Its index.
    glanced_at: Cell<usize>,
    /// When a sleeper's poller was asked.
    last_asked: Cell<Option<Instant>>,
}

impl Watch {
    /// The worker ends.
    pub(crate) fn reset(&self) {
        self.starved.set(false);
        self.starved_in_row.set(0);
    }

    /// True the first time.
    pub(crate) fn first_starvation(&self) -> bool {
        !self.starved.replace(true)
    }
}

/// Another worker, as last seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    tick: u32,
    /// Since when it has been seen awake with this tick.
    since: Option<Instant>,
    reported: bool,
    /// At the last glance.
    asleep: bool,
    /// For how long its thread had been on a core, at the last glance that found it standing still.
    ran: Option<u64>,
    /// Since it stands still.
    naps: u32,
    /// When its thread was last found not to be runnable.
    blocked: Option<Instant>,
    /// Where its queue began, and since when it has begun there; none when it was empty.
    queue: Option<(usize, Instant)>,
}

impl Base {
    /// The worker starts.
    pub(crate) fn start(self) {
        self.home().thread.set_to_current();
        self.scheduler().idle.awake();
        self.here.local().watch.rested.set(true);
    }

    /// The worker has announced its sleep. Returns for how long it may sleep as far as the others are concerned.
    pub(crate) fn rest(self) -> Option<Duration> {
        let scheduler = self.scheduler();
        if scheduler.homes().len() == 1 {
            return None;
        }
        let watch = &self.here.local().watch;
        watch.rested.set(true);
        if !scheduler.idle.rest(self.home().index()) {
            return None;
        }
        let period = watch.period.get().unwrap_or(SHORT);
        watch.period.set(Some(period));
        Some(period)
    }

    /// The worker has woken: the sentinel looks at the others, unless there is work.
    pub(crate) fn after_rest(self) {
        let scheduler = self.scheduler();
        if scheduler.homes().len() == 1 {
            return;
        }
        scheduler.idle.awake();
        let has_work =
            self.here.local().has_wakes() || !self.home().inbox.is_empty() || !scheduler.injector.is_empty();
        if !has_work && scheduler.idle.holds_post(self.home().index()) {
            self.look();
        }
    }

    /// Before the worker runs something, wherever it came from: the first time since it slept, it sees to the post.
    #[inline]
    pub(crate) fn back_to_work(self) {
        let rested = &self.here.local().watch.rested;
        if rested.get() {
            rested.set(false);
            self.hand_on();
        }
    }

    #[cold]
    fn hand_on(self) {
        let scheduler = self.scheduler();
        self.here.local().watch.period.set(None);
        let sleepers = || scheduler.homes().iter().map(|home| &home.sleeper);
        if let Some(appointed) = scheduler.idle.back_to_work(self.home().index(), sleepers) {
            scheduler.homes()[appointed].reactor.notify_after(SHORT);
        }
    }

    /// Compares every other worker with what it was at the last look, and helps those that stand still.
    fn look(self) {
        let scheduler = self.scheduler();
        let watch = &self.here.local().watch;
        let now = clock::now();
        let (mut working, mut moved) = (false, false);
        for home in scheduler.homes() {
            if ptr::eq(*home, self.home()) {
                continue;
            }
            let awake = !home.sleeper.is_sleeping();
            let (has_moved, stuck_for) = watch.compare(home, awake, now);
            working |= awake;
            moved |= has_moved;
            if let Some(stuck_for) = stuck_for {
                self.help(home, stuck_for, now);
                if stuck_for >= STUCK && watch.report_once(home.index()) {
                    scheduler.report(&Report::stuck(scheduler, home, stuck_for));
                }
            }
        }
        let period = watch.period.get().unwrap_or(SHORT);
        watch.period.set(Some(if working { SHORT } else { (period * 2).min(LONG) }));
        if !working && !moved {
            scheduler.idle.resign(self.home().index());
            watch.period.set(None);
        }
    }

    /// The worker looks at another, the next one at each glance, and helps it if it stands still. True: there is something to run, or to receive.
    pub(crate) fn glance(self, now: Instant) -> bool {
        let homes = self.scheduler().homes();
        if homes.len() == 1 {
            return false;
        }
        let watch = &self.here.local().watch;
        if watch.last_glance.get().is_some_and(|last| now - last < GLANCE) {
            return false;
        }
        watch.last_glance.set(Some(now));
        let next = |at: usize| (at + 1) % homes.len();
        let mut at = next(watch.glanced_at.get());
        if at == self.home().index() {
            at = next(at);
        }
        watch.glanced_at.set(at);
        let home = homes[at];
        let asleep = home.sleeper.is_sleeping();
        let ask = asleep && watch.last_asked.get().is_none_or(|last| now - last >= ASK);
        if ask {
            // Whether it should run is told by a system call: asked less often.
            watch.last_asked.set(Some(now));
        } else if asleep && watch.saw_asleep(home) {
            return false;
        }
        let should_run = !asleep || ask && home.reactor.has_events();
        let (_, stands_still_for) = watch.compare(home, should_run, now);
        watch.see_asleep(home, asleep);
        let Some(time) = stands_still_for.filter(|time| *time >= STANDSTILL) else { return false };
        self.help(home, time, now);
        if time < LONG {
            // What keeps it may be that this one uses its core. (For longer than a time slice it cannot be that.)
            self.give_way(home, now);
        }
        self.has_work()
    }

    /// Lets a worker that stands still, as `compare` has just found, have this core, if it may be waiting for one.
    fn give_way(self, home: &'static Home, now: Instant) {
        match self.here.local().watch.lacks_core(home, now) {
            // It computes, or is blocked, or another naps.
            Some(false) => {}
            Some(true) => self.nap(home),
            None => thread::yield_now(),
        }
    }

    /// One at a time does so for a worker: one core is enough for it.
    fn nap(self, home: &'static Home) {
        if home.napped_for.swap(true, Relaxed) {
            return;
        }
        let begun = clock::now();
        thread::sleep(NAP);
        home.napped_for.store(false, Relaxed);
        if clock::now() - begun > SHORT {
            // This system's shortest sleep is too long for that.
            self.here.local().watch.no_more_naps(home);
        }
    }

    /// Does for a worker that stands still what does not need it.
    fn help(self, home: &'static Home, stands_still_for: Duration, now: Instant) {
        self.rescue(home);
        self.take_from_queue(home, now);
        if stands_still_for >= LONG {
            self.take_over_inbox(home);
        }
    }

    /// Its sockets and timers.
    fn rescue(self, home: &'static Home) {
        let mut wakes = self.here.local().wakes.borrow_mut();
        // An error is its owner's to report.
        let _ = home.reactor.poll(Some(Duration::ZERO), &mut wakes);
    }

    /// Takes half of its queue, if that has been left alone and is the longer one: whoever helps may be busy itself.
    fn take_from_queue(self, home: &'static Home, now: Instant) {
        let left_alone = self.here.local().watch.queue_left_alone_for(home, now) >= UNTOUCHED;
        if left_alone && home.stealable() > self.home().stealable() {
            self.steal_from(home);
        }
    }

    /// Takes the closures that were sent to a stuck worker to start. Most were sent for balance, and a coroutine stays where it starts: not
    /// from one that just waits for its time slice.
    fn take_over_inbox(self, home: &'static Home) {
        let some_left = home.inbox.pick_out(|link| {
            // SAFETY: the link was taken from an inbox.
            if unsafe { link.as_ref() }.kind() == LinkKind::Record {
                return false;
            }
            // SAFETY: a task's link, taken from an inbox.
            let runnable = unsafe { scheduler::received(link) };
            if runnable.metadata().pinned().is_some() {
                // Put back as it was: the link stands for it.
                let _link = runnable.into_raw();
                return false;
            }
            self.here.local().ready.push_task(runnable);
            true
        });
        if some_left {
            // Its owner may have found it empty meanwhile, and fallen asleep.
            home.wake_if_sleeping();
        }
    }
}

impl Watch {
    /// Whether the worker has moved since the last look, and for how long it has stood still while awake.
    fn compare(&self, home: &Home, awake: bool, now: Instant) -> (bool, Option<Duration>) {
        let mut seen = self.seen.borrow_mut();
        if seen.len() <= home.index() {
            seen.resize(home.index() + 1, Seen::default());
        }
        let seen = &mut seen[home.index()];
        let (head, _) = home.queue.ends();
        seen.queue = match seen.queue {
            _ if home.stealable() == 0 => None,
            Some(same) if same.0 == head => Some(same),
            _ => Some((head, now)),
        };
        let tick = home.tick.load(Relaxed);
        let moved = seen.tick != tick;
        if moved || !awake {
            *seen = Seen {
                tick,
                since: awake.then_some(now),
                asleep: seen.asleep,
                queue: seen.queue,
                ..Seen::default()
            };
            return (moved, None);
        }
        let since = *seen.since.get_or_insert(now);
        (false, (since < now).then(|| now - since))
    }

    /// For how long its queue has begun with the same item. After `compare`.
    fn queue_left_alone_for(&self, home: &Home, now: Instant) -> Duration {
        self.seen.borrow()[home.index()].queue.map_or(Duration::ZERO, |(_, since)| now - since)
    }

    /// Whether it stands still for want of a core, and a nap may help; none if that cannot be told, or naps have not helped, or it has no
    /// coroutine that needs it. After `compare`.
    fn lacks_core(&self, home: &Home, now: Instant) -> Option<bool> {
        let seen = &mut self.seen.borrow_mut()[home.index()];
        let ran = home.thread.ran_for()?;
        if seen.ran.replace(ran)? != ran {
            return Some(false);
        }
        if seen.naps >= NAPS || home.started.load(Relaxed) == 0 {
            return None;
        }
        let is_blocked = seen.blocked.is_some_and(|blocked| now - blocked < SHORT);
        if is_blocked || home.napped_for.load(Relaxed) {
            return Some(false);
        }
        let lacks = home.thread.is_runnable()?;
        if lacks {
            seen.naps += 1;
        } else {
            seen.blocked = Some(now);
        }
        Some(lacks)
    }

    fn no_more_naps(&self, home: &Home) {
        self.seen.borrow_mut()[home.index()].naps = NAPS;
    }

    /// Whether it was asleep at the last glance.
    fn saw_asleep(&self, home: &Home) -> bool {
        self.seen.borrow().get(home.index()).is_some_and(|seen| seen.asleep)
    }

    /// After `compare`.
    fn see_asleep(&self, home: &Home, asleep: bool) {
        self.seen.borrow_mut()[home.index()].asleep = asleep;
    }

    fn report_once(&self, index: usize) -> bool {
        !mem::replace(&mut self.seen.borrow_mut()[index].reported, true)
    }
}
