//! What a worker does when it has nothing to run: look at what others have, tidy up, sleep. The protocol is in `idle.md`.

use crate::reactor::clock;
use crate::runtime::worker::Base;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long a thief watches a short queue before it takes from it: Go's number for `runnext`. A pair of tasks that talk to
/// each other drains its queue within that pause and stays together.
const PAUSE: Duration = Duration::from_micros(3);

/// A queue longer than this is stolen from without a pause.
const LONG: usize = 16;

/// One round of idleness of a worker thread.
pub(crate) fn sleep(base: Base) {
    if base.receive() | base.take_injected() || search(base) {
        return;
    }
    if base.scheduler().short_of_stacks.load(Relaxed) {
        base.retire_all();
    }
    let trim_after = base.trim();
    let home = base.home();
    let scheduler = base.scheduler();
    home.sleeper.announce();
    let watch_after = base.rest();
    if home.inbox.is_empty() && scheduler.injector.is_empty() && !scheduler.is_over() {
        base.poll(shorter(trim_after, watch_after));
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
    scheduler.idle.end_search();
    if found && (base.home().queue.len() > 1 || !scheduler.injector.is_empty()) {
        // More than we can run at once, or left to us while we searched: pass the search on.
        scheduler.wake_one();
    }
    found
}

fn steal(base: Base) -> bool {
    let homes = base.scheduler().homes();
    let first = base.here.local().rng.below(homes.len() as u32) as usize;
    (0..homes.len()).any(|i| {
        let victim = homes[(first + i) % homes.len()];
        !std::ptr::eq(victim, base.home())
            && worth_stealing(victim)
            && victim.queue.steal_into(&base.home().queue) > 0
    })
}

fn worth_stealing(victim: &crate::runtime::Home) -> bool {
    let length = victim.queue.len();
    if length == 0 || length > LONG {
        return length > 0;
    }
    let head = victim.queue.head();
    let until = clock::now() + PAUSE;
    while clock::now() < until {
        std::hint::spin_loop();
    }
    victim.queue.head() == head && !victim.queue.is_empty()
}
