//! The gate of a scheduler: who is let in, who is still there, and who is told when the last has left.
//!
//! # Invariants
//! - `closed-for-good`: a closed gate never opens again. It belongs to one scheduler, not to the homes, which
//!   are reused.
//! - `counted`: an entry is in the list of its shard from `enter` to `leave`, and in its length.
//!
//! # Protocol
//! ```text
//! closing                         entering              leaving                    waiting
//! 1. closed = true                under the lock:       1. under the lock:         1. enrol
//! 2. each shard, under its        refused, if the          unlink                  2. count, shard by
//!    lock: refuse                 shard refuses;        2. read closed: if set,       shard; done, or
//! 3. cancel what is there,        else link                wake who has enrolled,     wait for 1
//!    wake who has enrolled                                 then count
//! ```
//! One who waits and counts an entry that has yet to leave is woken by it: the count took the shard's lock
//! before the leaving took it, so the leaving comes after the enrolment and after the shard was closed, and
//! reads `closed` set. Of several that leave at once at least one counts nobody: were there an entry in each
//! one's count, each would have counted some shard before its entry left it, and the leaving that comes last
//! in the order of the locks counts after all of them.

use crate::primitive::atomic::AtomicBool;
use crate::primitive::atomic::Ordering::Relaxed;
use crate::primitive::{Mutex, lock, wake_all};
use std::fmt;
use std::task::Waker;

/// Generic over the list of entries so that the model check can run it without tasks.
pub(crate) struct Gate<L> {
    shards: Box<[Mutex<Shard<L>>]>,
    closed: AtomicBool,
    /// Who waits for entries to leave, once the gate is closed.
    waiters: Mutex<Vec<Waker>>,
}

struct Shard<L> {
    list: L,
    length: usize,
    refuses: bool,
}

impl<L: Default> Gate<L> {
    pub(crate) fn new(shards: usize) -> Self {
        let shard = |_| Mutex::new(Shard { list: L::default(), length: 0, refuses: false });
        Self {
            shards: (0..shards).map(shard).collect(),
            closed: AtomicBool::new(false),
            waiters: Mutex::new(Vec::new()),
        }
    }
}

impl<L> Gate<L> {
    /// Lets an entry into a shard; `link` is called under the lock. False when the gate is closed.
    #[must_use]
    pub(crate) fn enter(&self, shard: usize, link: impl FnOnce(&mut L)) -> bool {
        let mut shard = lock(&self.shards[shard]);
        if shard.refuses {
            return false;
        }
        link(&mut shard.list);
        shard.length += 1;
        true
    }

    /// Takes an entry out of its shard; `unlink` is called under the lock. [`has_left`](Self::has_left)
    /// follows.
    pub(crate) fn leave<R>(&self, shard: usize, unlink: impl FnOnce(&mut L) -> R) -> R {
        let mut shard = lock(&self.shards[shard]);
        shard.length -= 1;
        unlink(&mut shard.list)
    }

    /// Tells those who wait, if the gate is closed. True when nobody is left.
    #[must_use]
    pub(crate) fn has_left(&self) -> bool {
        // Relaxed: the lock taken in `leave` orders it after the store in `close`, where that matters (the
        // module's head).
        self.closed.load(Relaxed) && self.tell()
    }

    /// Lets nobody in any more. Idempotent. [`tell`](Self::tell) follows, when what is there has been
    /// cancelled.
    pub(crate) fn close(&self) {
        // Relaxed: the locks below order it before whoever leaves after them.
        self.closed.store(true, Relaxed);
        self.shards.iter().for_each(|shard| lock(shard).refuses = true);
    }

    /// Wakes those who wait. True when nobody is left.
    #[must_use]
    pub(crate) fn tell(&self) -> bool {
        let waiters = std::mem::take(&mut *lock(&self.waiters));
        wake_all(waiters);
        self.is_empty()
    }

    /// Enrols for being told; the caller looks at `live` afterwards.
    pub(crate) fn wait(&self, waker: &Waker) {
        let waker = waker.clone();
        lock(&self.waiters).push(waker);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Entries present: a moment's view while the gate is open, afterwards never too few.
    pub(crate) fn live(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).length).sum()
    }

    /// Whether nobody is left; sooner told than `live`.
    pub(crate) fn is_empty(&self) -> bool {
        self.shards.iter().rev().all(|shard| lock(shard).length == 0)
    }

    /// Calls `f` with every shard's list, one after the other, under its lock: it must not run user code or
    /// lock another.
    pub(crate) fn for_each_list(&self, mut f: impl FnMut(&L)) {
        self.shards.iter().for_each(|shard| f(&lock(shard).list));
    }

    /// Calls `f` under the lock of one shard, as above.
    pub(crate) fn with_list<R>(&self, shard: usize, f: impl FnOnce(&L) -> R) -> R {
        f(&lock(&self.shards[shard]).list)
    }
}

impl<L> fmt::Debug for Gate<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}
