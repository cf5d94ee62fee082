//! Balance at start. A coroutine stays with the worker that starts it, so one that has started more than its share sends the next
//! ones elsewhere, before they start.
//!
//! Those go to one worker in a row: what starts one after the other tends to talk to each other, as the stages of a pipeline do, and
//! each message between workers costs a wake-up. The primes to the 2,000th by a chain of as many coroutines, 2 workers: 72 us a
//! prime, and 126 where each went to whoever had the fewest at that moment.

use crate::runtime::current::CurrentHome;
use crate::runtime::home::Home;
use crate::runtime::scheduler::Scheduler;
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;

/// Sent to one worker in a row, at most.
const ROW_MAX: usize = 32;

/// Starts between two looks at what the others have started (guessed).
const LOOK_AFTER: usize = 8;

/// What a worker keeps for it.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// Closures started here before the others are looked at again.
    limit: Cell<usize>,
    /// Where the next ones go, and how many.
    row: Cell<Option<(&'static Home, usize)>>,
}

impl Balance {
    /// The worker ends: the next tenant of its home has other workers beside it.
    pub(super) fn reset(&self) {
        self.limit.set(0);
        self.row.set(None);
    }
}

impl CurrentHome {
    /// The worker that a closure should start on, if this one has started so many that it should be another.
    #[inline]
    pub(super) fn start_elsewhere(self) -> Option<&'static Home> {
        let balance = &self.local().balance;
        let started = self.shared().started.load(Relaxed);
        if started < balance.limit.get() {
            return None;
        }
        self.look_at_others(started)
    }

    #[cold]
    fn look_at_others(self, started: usize) -> Option<&'static Home> {
        let balance = &self.local().balance;
        let scheduler = self.shared().scheduler();
        if let Some((there, left)) = balance.row.take()
            // What has ended since may have settled it.
            && started > scheduler.mean_load() + LOOK_AFTER
            && there.load() < started
        {
            debug_assert!(ptr::eq(there.scheduler(), scheduler), "`reset` comes between tenants");
            balance.row.set((left > 1).then_some((there, left - 1)));
            return Some(there);
        }
        let limit = scheduler.start_limit();
        if started < limit {
            balance.limit.set(limit.min(started + LOOK_AFTER));
            return None;
        }
        balance.limit.set(0);
        let there = scheduler.least_loaded();
        let more = scheduler.mean_load().saturating_sub(there.load() + 1).min(ROW_MAX - 1);
        balance.row.set((more > 0).then_some((there, more)));
        Some(there)
    }
}

impl Scheduler {
    /// 5/4 of the mean number of closures started, or sent somewhere to start, plus 16. The numbers are the design's; 1,000
    /// handlers of one accept loop on 2 workers end with at most 641 on one.
    fn start_limit(&self) -> usize {
        if self.homes().len() == 1 {
            return usize::MAX;
        }
        self.loads() * 5 / (4 * self.homes().len()) + 16
    }

    fn mean_load(&self) -> usize {
        self.loads() / self.homes().len()
    }

    fn loads(&self) -> usize {
        self.homes().iter().map(|home| home.load()).sum()
    }

    fn least_loaded(&self) -> &'static Home {
        let least = self.homes().iter().min_by_key(|home| home.load());
        least.expect("a scheduler has a home")
    }
}
