//! Giving back the memory of stacks that are not in use: below the stack pointer of coroutines that stay parked, and of
//! pooled stacks.
//!
//! A worker does it when it is about to sleep, at most once in 100 ms and for a bounded number of stacks, and only for
//! coroutines that were parked before the previous round: what wakes often is left alone.

use crate::coroutine;
use crate::reactor::clock;
use crate::runtime::home::RECORD_BLOCK;
use crate::runtime::record::{Record, State, Suspended};
use crate::runtime::worker::Base;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Time between two rounds.
const ROUND: Duration = Duration::from_millis(100);
/// Records looked at and pooled stacks given back in one round. At about 0.5 us each a round stays near a millisecond.
const BOUND: usize = 2_048;

/// A home's trimming state.
#[derive(Debug, Default)]
pub(crate) struct Trim {
    /// The current round; starts at 1 so that a record's 0 is long ago.
    round: Cell<u32>,
    last: Cell<Option<Instant>>,
    /// Index of the next record to look at.
    next: Cell<usize>,
    /// Records looked at since one was found that wants trimming, now or later.
    clean_run: Cell<usize>,
}

impl Trim {
    /// The round in which a coroutine that parks now parks. It makes another pass over the records necessary.
    #[inline]
    pub(crate) fn parked(&self) -> u32 {
        self.clean_run.set(0);
        self.round.get()
    }
}

impl Base {
    /// One round, if it is due. Returns after how long there will be more to do, if so.
    pub(crate) fn trim(self) -> Option<Duration> {
        let trim = &self.here.local().trim;
        let records = self.here.local().blocks.borrow().len() * RECORD_BLOCK;
        if trim.clean_run.get() > 2 * records {
            return None;
        }
        let now = clock::now();
        if let Some(last) = trim.last.get()
            && now - last < ROUND
        {
            return Some(ROUND - (now - last));
        }
        trim.last.set(Some(now));
        trim.round.set(trim.round.get().wrapping_add(1));
        self.trim_records(records);
        let pooled = coroutine::trim_pool(BOUND);
        (trim.clean_run.get() <= 2 * records || pooled > 0).then_some(ROUND)
    }

    fn trim_records(self, records: usize) {
        let trim = &self.here.local().trim;
        let blocks = self.here.local().blocks.borrow();
        for _ in 0..records.min(BOUND) {
            let index = trim.next.get() % records;
            trim.next.set(index + 1);
            let record: &'static Record = &blocks[index / RECORD_BLOCK][index % RECORD_BLOCK];
            let clean = trim_record(record, trim.round.get());
            trim.clean_run.set(if clean { trim.clean_run.get() + 1 } else { 0 });
        }
        if records == 0 {
            trim.clean_run.set(1);
        }
    }
}

/// Trims one coroutine, if it has been parked long enough. True when it needs no further look until it parks again.
fn trim_record(record: &'static Record, round: u32) -> bool {
    if record.state.get() != State::Parked || record.suspended.get() != Suspended::Waiting {
        return true;
    }
    if round.wrapping_sub(record.parked_round.get()) < 2 {
        return false;
    }
    if let Some(stack) = record.stack.get() {
        // SAFETY: `home-only`: we are on the base of its home; the coroutine is suspended, and noted its stack pointer in the
        // function that suspended it.
        unsafe { stack.trim_below(record.stack_pointer.get()) };
    }
    record.state.set(State::Trimmed);
    true
}
