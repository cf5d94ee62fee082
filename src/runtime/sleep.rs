//! What a worker does when it has nothing to run: look at what others have, tidy up, sleep. The protocol is in `idle.md`.

use crate::reactor::clock;
use crate::runtime::run_queue::RunQueue;
use crate::runtime::trim::Trimmed;
use crate::runtime::worker::Base;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

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

/// One round of idleness of a worker thread.
pub(crate) fn sleep(base: Base) {
    if base.receive() | base.take_injected() || search(base) || base.glance(clock::now()) {
        return;
    }
    if base.linger() {
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
    let home = base.home();
    let scheduler = base.scheduler();
    home.sleeper.announce();
    let watch_after = base.rest();
    if home.inbox.is_empty() && scheduler.injector.is_empty() && !scheduler.is_over() {
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
    if scheduler.homes().len() == 1 || scheduler.idle.awake_count() < 2 || !scheduler.idle.try_search() {
        return false;
    }
    let found = steal(base);
    scheduler.idle.left_to_owner(found == Found::LeftToOwner);
    scheduler.idle.end_search();
    if found == Found::Moved && (base.home().queue.len() > 1 || !scheduler.injector.is_empty()) {
        // More than we can run at once, or left to us while we searched: pass the search on.
        scheduler.wake_one();
    }
    found == Found::Moved
}

/// What a search comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// There is work, and it is better run where it is.
    LeftToOwner,
    Moved,
}

fn steal(base: Base) -> Found {
    let homes = base.scheduler().homes();
    let first = base.here.local().rng.below(homes.len() as u32) as usize;
    let mut found = Found::Nothing;
    for i in 0..homes.len() {
        let victim = homes[(first + i) % homes.len()];
        if std::ptr::eq(victim, base.home()) || victim.queue.is_empty() {
            continue;
        }
        if !worth_stealing(&victim.queue) {
            found = Found::LeftToOwner;
        } else if victim.queue.steal_into(&base.home().queue) > 0 {
            return Found::Moved;
        }
    }
    found
}

/// Watches what the owner of a queue does with it.
fn worth_stealing(queue: &RunQueue) -> bool {
    let mut gave_way = false;
    for _ in 0..LOOKS {
        let (head, tail) = queue.ends();
        pause();
        let (head_now, tail_now) = queue.ends();
        let length = tail_now.wrapping_sub(head_now);
        let (taken, added) = (head_now.wrapping_sub(head), tail_now.wrapping_sub(tail));
        if length == 0 || taken >= FINE || (taken > 0 && length <= SHORT) {
            return false;
        }
        if added >= FINE {
            continue;
        }
        if gave_way {
            return true;
        }
        // The owner may have been running on this very core, where the thief was woken, and stand still because it is watched: half of
        // all pipelines that a process started first were torn apart by that. (Only now: whoever gets the core may keep it for a
        // time slice, and meanwhile nobody else searches.)
        thread::yield_now();
        gave_way = true;
    }
    true
}

fn pause() {
    let until = clock::now() + PAUSE;
    while clock::now() < until {
        // Mostly idle, not reading the clock: the owner may be this core's other thread.
        (0..8).for_each(|_| std::hint::spin_loop());
    }
}
