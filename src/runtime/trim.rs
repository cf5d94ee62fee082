//! Giving back the memory of stacks that are not in use: below the stack pointer of coroutines that stay parked, and of
//! pooled stacks.
//!
//! A worker does it when it is about to sleep, at most once in 100 ms and for a bounded number of stacks, and only for
//! coroutines that were parked before the previous round: what wakes often is left alone. A round is done in pieces, and between
//! two of them the worker looks whether there is something to run: a piece takes some 30 us, a round of them a millisecond, and where
//! the system has to interrupt other workers for each stack, twenty.

use crate::coroutine;
use crate::reactor::clock;
use crate::runtime::home::RECORD_BLOCK;
use crate::runtime::record::{Record, State, Suspended};
use crate::runtime::worker::Base;
use std::cell::Cell;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Time between two rounds.
const ROUND: Duration = Duration::from_millis(100);
/// Records looked at and pooled stacks given back in one round. At about 0.4 us each a round stays near a millisecond.
const BOUND: usize = 2_048;
/// The same in one piece: as many as one call of the system takes.
const PIECE: usize = 64;

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
    /// What this round may still look at and give back; 0 and 0 between two rounds.
    records_left: Cell<usize>,
    pooled_left: Cell<usize>,
}

/// What a worker that is about to sleep is told of trimming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trimmed {
    /// There is nothing to do.
    Done,
    /// The round goes on as soon as the worker has looked whether there is something to run.
    Piece,
    /// There is more to do after so long.
    Until(Duration),
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
    /// A piece of a round, if one is due or has begun.
    pub(crate) fn trim(self) -> Trimmed {
        let trim = &self.here.local().trim;
        let records = self.here.local().blocks.borrow().len() * RECORD_BLOCK;
        let between_rounds = trim.records_left.get() == 0 && trim.pooled_left.get() == 0;
        if between_rounds {
            if trim.clean_run.get() > 2 * records {
                return Trimmed::Done;
            }
            let now = clock::now();
            if let Some(last) = trim.last.get()
                && now - last < ROUND
            {
                return Trimmed::Until(ROUND - (now - last));
            }
            trim.last.set(Some(now));
            trim.round.set(trim.round.get().wrapping_add(1));
            trim.records_left.set(records.min(BOUND));
            trim.pooled_left.set(BOUND);
            if records == 0 {
                trim.clean_run.set(1);
            }
        }
        self.trim_records(records);
        let piece = trim.pooled_left.get().min(PIECE);
        let pooled = coroutine::trim_pool(piece);
        trim.pooled_left.set(if pooled > 0 { trim.pooled_left.get() - piece } else { 0 });
        if trim.records_left.get() > 0 || trim.pooled_left.get() > 0 {
            Trimmed::Piece
        } else if trim.clean_run.get() <= 2 * records || pooled > 0 {
            Trimmed::Until(ROUND)
        } else {
            Trimmed::Done
        }
    }

    fn trim_records(self, records: usize) {
        let trim = &self.here.local().trim;
        let blocks = self.here.local().blocks.borrow();
        let count = trim.records_left.get().min(PIECE);
        trim.records_left.set(trim.records_left.get() - count);
        let idle = (0..count).filter_map(|_| {
            let index = trim.next.get() % records;
            trim.next.set(index + 1);
            let record: &'static Record = &blocks[index / RECORD_BLOCK][index % RECORD_BLOCK];
            let found = look_at(record, trim.round.get());
            trim.clean_run.set(if found == Found::ForLater { 0 } else { trim.clean_run.get() + 1 });
            match found {
                Found::Idle(range) => Some(range),
                Found::Nothing | Found::ForLater => None,
            }
        });
        // SAFETY: `home-only`: we are on the base of their home; the coroutines are suspended, and noted their stack pointers in the
        // function that suspended them. None runs before we return.
        unsafe { coroutine::trim_below(idle) };
    }
}

/// What a look at a record finds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing to trim until it parks again.
    Nothing,
    /// It has not been parked long enough.
    ForLater,
    /// This can be given back; the record counts as trimmed.
    Idle(Range<usize>),
}

/// Looks whether a coroutine is to be trimmed.
fn look_at(record: &'static Record, round: u32) -> Found {
    if record.state.get() != State::Parked || record.suspended.get() != Suspended::Waiting {
        return Found::Nothing;
    }
    if round.wrapping_sub(record.parked_round.get()) < 2 {
        return Found::ForLater;
    }
    record.state.set(State::Trimmed);
    let idle = record.stack.get().and_then(|stack| stack.idle_below(record.stack_pointer.get()));
    idle.map_or(Found::Nothing, Found::Idle)
}
