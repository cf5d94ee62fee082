//! What a worker does when it has nothing to run: look at what others have, tidy up, sleep. The protocol is in `idle.md`.

use crate::reactor::clock;
use crate::runtime::home::Home;
use crate::runtime::trim::Trimmed;
use crate::runtime::worker::Base;
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

/// How long a thief watches a queue before it takes from it: Go's number for `runnext`. A pair of tasks that talk to each other
/// drains its queue within that pause and stays together.
const PAUSE: Duration = Duration::from_micros(3);

/// A queue no longer than this is left to an owner that takes anything from it in a pause.
const SHORT: usize = 16;

/// An owner that takes or adds as many in a pause is left alone: such tasks take less than half a microsecond, and to run one on
/// another core costs that in cache misses alone.
const FINE: usize = 6;

/// Pauses for which a thief waits to see what its owner does with a queue that is being filled. A thousand spawns take about 20.
const LOOKS: usize = 32;

/// What was moved here and run in less than so long for each was not worth the move: `FINE` in a `PAUSE`.
const FINE_TASK: Duration = Duration::from_nanos(500);

/// For so long after that, nothing is taken from an owner that spawns. As often as 512 are taken all the same, to see what they are like, that
/// costs a fiftieth of a worker's time.
const FINE_FOR: Duration = Duration::from_millis(10);

/// What a worker took from others last, and what it was like.
#[derive(Debug, Default)]
pub(crate) struct Haul {
    /// How many, and when they came.
    moved: Cell<Option<(u32, Instant)>>,
    /// When such a haul was found not to have been worth it.
    fine_at: Cell<Option<Instant>>,
}

impl Haul {
    fn begins(&self, count: usize) {
        // Of a few it cannot be told.
        let enough = u32::try_from(count).ok().filter(|_| count > SHORT);
        self.moved.set(enough.map(|count| (count, clock::now())));
    }

    /// The worker has nothing to run any more.
    fn is_done(&self) {
        let Some((count, since)) = self.moved.take() else { return };
        let now = clock::now();
        self.fine_at.set((now - since < FINE_TASK * count).then_some(now));
    }

    fn was_fine(&self) -> bool {
        self.fine_at.get().is_some_and(|at| clock::now() - at < FINE_FOR)
    }

    /// The worker ends.
    pub(super) fn reset(&self) {
        self.moved.set(None);
        self.fine_at.set(None);
    }
}

/// One round of idleness of a worker thread.
pub(crate) fn sleep(base: Base) {
    if base.receive() | base.take_injected() || search(base) || base.glance(clock::now()) {
        return;
    }
    if base.scheduler().short_of_stacks.load(Relaxed) {
        base.retire_all();
    }
    let trim_after = match base.trim() {
        // What has come meanwhile goes first.
        Trimmed::Piece => return base.poll(Some(Duration::ZERO)),
        Trimmed::Until(after) => Some(after),
        Trimmed::Done => None,
    };
    if base.linger() {
        return;
    }
    let home = base.home();
    let scheduler = base.scheduler();
    home.sleeper.announce();
    let watch_after = base.rest();
    if home.inbox.is_empty() && scheduler.injector.is_empty() && !base.may_end() {
        let begun = clock::now();
        base.poll(shorter(trim_after, watch_after));
        base.has_slept(begun);
    }
    home.sleeper.cancel();
    base.after_rest();
}

fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Looks for work in the other workers' queues. True when some was moved here.
fn search(base: Base) -> bool {
    let scheduler = base.scheduler();
    if scheduler.homes().len() == 1 || scheduler.idle.awake_count() < 2 {
        return false;
    }
    base.here.local().haul.is_done();
    let mut stood_still = None;
    loop {
        if !scheduler.idle.try_search() {
            return false;
        }
        let found = steal(base, stood_still);
        scheduler.idle.left_to_owner(found == Found::LeftToOwner);
        scheduler.idle.end_search();
        // What was left to us while we searched.
        let injected = !scheduler.injector.is_empty();
        match found {
            Found::Moved => {
                base.here.local().haul.begins(base.home().queue.len());
                if base.home().queue.len() > 1 || injected {
                    // More than we can run at once: pass the search on.
                    scheduler.wake_one();
                }
                return true;
            }
            _ if injected => return base.take_injected(),
            Found::StandsStill(which) => {
                // The owner may have been running on this very core, where the thief was woken, and stand still because it is
                // watched: half of all pipelines that a process started first were torn apart by that. Not while we search: whoever
                // gets the core may keep it for a time slice.
                thread::yield_now();
                stood_still = Some(which);
            }
            Found::Nothing | Found::LeftToOwner => return false,
        }
    }
}

/// What a search comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// There is work, and it is better run where it is.
    LeftToOwner,
    /// There is work, and its owner seems not to run.
    StandsStill(StoodStill),
    Moved,
}

/// A queue that its owner left alone: the worker's index, and where it began.
#[derive(Clone, Copy, PartialEq, Eq)]
struct StoodStill {
    worker: usize,
    head: usize,
}

/// Looks at each queue. One that stands still is taken from only when somebody else could have run in between: `before` is what
/// stood still then.
fn steal(base: Base, before: Option<StoodStill>) -> Found {
    let homes = base.scheduler().homes();
    let first = base.here.local().rng.below(homes.len() as u32) as usize;
    let mut found = Found::Nothing;
    for i in 0..homes.len() {
        let victim = homes[(first + i) % homes.len()];
        if ptr::eq(victim, base.home()) || victim.stealable() == 0 {
            continue;
        }
        match (watch(victim), before) {
            (Owner::Runs, _) => found = Found::LeftToOwner,
            (Owner::Spawns, _) if base.here.local().haul.was_fine() => found = Found::LeftToOwner,
            (Owner::StandsStill(head), None) => {
                return Found::StandsStill(StoodStill { worker: victim.index(), head });
            }
            (Owner::StandsStill(head), Some(before))
                if before.worker == victim.index() && before.head != head =>
            {
                found = Found::LeftToOwner;
            }
            (Owner::StandsStill(_) | Owner::Spawns, _) => {
                if base.steal_from(victim) {
                    return Found::Moved;
                }
            }
        }
    }
    found
}

/// What the owner of a queue does with it.
enum Owner {
    /// It runs what is there, which is better run by it.
    Runs,
    /// It adds more and more.
    Spawns,
    /// Nothing that would tell; the queue begins there.
    StandsStill(usize),
}

/// Watches what a worker does with its queue.
fn watch(owner: &Home) -> Owner {
    let ends = || {
        let (head, tail) = owner.queue.ends();
        (head, tail.wrapping_add(owner.overflow.len()))
    };
    for _ in 0..LOOKS {
        let (head, end) = ends();
        pause();
        let (head_now, end_now) = ends();
        let length = end_now.wrapping_sub(head_now);
        // What is taken from the overflow comes to the queue: between the two the end may seem to go back.
        let added = (end_now.wrapping_sub(end) as isize).max(0) as usize;
        let taken = head_now.wrapping_sub(head);
        if length == 0 || taken >= FINE || (taken > 0 && length <= SHORT) {
            return Owner::Runs;
        }
        if added < FINE {
            return Owner::StandsStill(head_now);
        }
    }
    Owner::Spawns
}

fn pause() {
    let until = clock::now() + PAUSE;
    while clock::now() < until {
        // Mostly idle, not reading the clock: the owner may be this core's other thread.
        (0..8).for_each(|_| std::hint::spin_loop());
    }
}
