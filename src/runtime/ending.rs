//! The life of a worker thread, and its end: what may still be suspended here goes on nowhere else, so the thread stays for it.

use crate::coroutine;
use crate::runtime::record::Record;
use crate::runtime::worker::Base;
use crate::task::header::Header;
use std::ptr;

/// The main function of a worker thread.
pub(crate) fn run(base: Base) {
    let scheduler = base.scheduler();
    base.start();
    base.run(|| base.may_end(), super::sleep::sleep);
    scheduler.idle.asleep();
    base.evict();
    base.run(|| !base.is_in_use(), Base::doze);
    base.wind_up();
}

impl Base {
    /// The scheduler is over, and no waker of somebody's waits on a coroutine of ours, which could not go on elsewhere.
    #[inline]
    pub(super) fn may_end(self) -> bool {
        self.scheduler().is_over() && self.here.local().busy_loops.get() == 0
    }

    /// Some coroutine of ours is in something, or is to be: wakers are to be called.
    pub(super) fn is_in_use(self) -> bool {
        let local = self.here.local();
        local.has_wakes() || local.busy_loops.get() > 0
    }

    /// Waits for what is left of a worker at its end.
    fn doze(self) {
        let home = self.home();
        home.sleeper.announce();
        if home.inbox.is_empty() {
            self.poll(None);
        }
        home.sleeper.cancel();
        self.receive();
    }

    /// Closes the poller. Wakers of others may run user code, so they are called by a loop; no task is left, so nothing else is.
    pub(crate) fn evict(self) {
        let mut wakes = self.here.local().wakes.borrow_mut();
        self.home().reactor.close(&mut wakes);
    }

    /// No stack can be had for anything that there is to run.
    pub(super) fn is_starved(self) -> bool {
        let local = self.here.local();
        let starved = local.watch.starved_in_row.get();
        starved > 0 && starved >= local.ready.len() + self.home().queue.len()
    }

    /// Of a local runtime, which has nothing to run: another thread has a task's runnable in its hands, and is about to send it.
    pub(super) fn awaits_runnable(self) -> bool {
        let local = self.here.local();
        let mut suspended: Vec<*const Header> = local
            .blocks
            .borrow()
            .iter()
            .flat_map(|block| block.iter())
            .map(Record::task_address)
            .filter(|task| !task.is_null())
            .collect();
        suspended.sort_unstable();
        let mut found = false;
        self.scheduler().registry().for_each(|header| {
            found |= header.word.has_runnable() && suspended.binary_search(&ptr::from_ref(header)).is_err();
        });
        found
    }

    /// Leaves the home, which is not in use, as the next tenant wants it.
    pub(crate) fn wind_up(self) {
        self.retire_all();
        self.here.local().balance.reset();
        self.here.local().haul.reset();
        self.here.local().watch.reset();
        self.here.local().memory.clear();
        coroutine::trim_pool(usize::MAX);
    }
}
