#![doc = include_str!("idle.md")]

use crate::primitive::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use crate::primitive::atomic::{AtomicBool, AtomicUsize, fence};

/// Whether one worker sleeps, and the right to wake it.
#[derive(Debug)]
pub(crate) struct Sleeper {
    sleeping: AtomicBool,
}

impl Sleeper {
    pub(crate) fn new() -> Self {
        Self { sleeping: AtomicBool::new(false) }
    }

    /// Step 1 of falling asleep. Afterwards the worker looks once more at everything others may have given
    /// it, and only then blocks; `cancel` when it found something.
    pub(crate) fn announce(&self) {
        // A swap, where a store would do: loom does not deduce that a claim which comes late, for the sleep
        // before, lies before a plain store.
        self.sleeping.swap(true, Relaxed);
        // Pairs with the fence of `claim_wake` (idle.md, "Why nothing is slept through"). Acquire and release
        // do not do: this is the store-then-load shape on both sides.
        fence(SeqCst);
    }

    /// Takes the announcement back, or ends the sleep. False when a waker has claimed it meanwhile: its
    /// notification is on the way (or has just ended the sleep) and costs one spurious return from the poller
    /// at most.
    pub(crate) fn cancel(&self) -> bool {
        self.sleeping.swap(false, Acquire)
    }

    /// After giving the worker something: true when the caller must notify its poller.
    #[must_use]
    pub(crate) fn claim_wake(&self) -> bool {
        // Pairs with the fence of `announce`.
        fence(SeqCst);
        self.sleeping.load(Relaxed) && self.sleeping.swap(false, AcqRel)
    }

    pub(crate) fn is_sleeping(&self) -> bool {
        self.sleeping.load(Relaxed)
    }
}

/// What the workers of one scheduler know of each other. Of use when there are several.
#[derive(Debug)]
pub(crate) struct Idle {
    /// Workers that are not asleep.
    awake: AtomicUsize,
    /// Workers that look for something to steal.
    searching: AtomicUsize,
    /// 0, or 1 + the index of the worker that holds the post of the sentinel.
    sentinel: AtomicUsize,
    /// The last search left a queue to its owner, which drains it faster than it could be shared out.
    left_to_owner: AtomicBool,
}

impl Idle {
    pub(crate) fn new() -> Self {
        Self {
            awake: AtomicUsize::new(0),
            searching: AtomicUsize::new(0),
            sentinel: AtomicUsize::new(0),
            left_to_owner: AtomicBool::new(false),
        }
    }

    /// A worker starts, or has woken. [`back_to_work`](Self::back_to_work) follows when it has something to
    /// run.
    pub(crate) fn awake(&self) {
        // Relaxed, here and in `asleep`: the fences of `announce` before the one and of `back_to_work` after
        // the other stand in the order in which the count was changed.
        self.awake.fetch_add(1, Relaxed);
    }

    /// A worker ends, or falls asleep. Returns how many others are awake.
    pub(crate) fn asleep(&self) -> usize {
        self.awake.fetch_sub(1, Relaxed) - 1
    }

    /// Worker `index` has announced its sleep. Returns whether it must not sleep without a limit, because it
    /// holds the post of the sentinel now.
    #[must_use]
    pub(crate) fn rest(&self, index: usize) -> bool {
        let others = self.asleep();
        if others == 0 && !self.holds_post(index) {
            return false;
        }
        match self.sentinel.compare_exchange(0, index + 1, AcqRel, Acquire) {
            Ok(_) => true,
            Err(holder) => holder == index + 1,
        }
    }

    /// Worker `index`, which has started or slept, has something to run. If that leaves the post empty, it
    /// gives it to one who sleeps, whose index is returned: the caller arms that one's timer. `sleepers` are
    /// all workers', by index.
    #[must_use]
    pub(crate) fn back_to_work<'a, I>(&self, index: usize, sleepers: impl Fn() -> I) -> Option<usize>
    where
        I: Iterator<Item = &'a Sleeper>,
    {
        // Pairs with the second fence of `appoint`: who gave us the post in our sleep sees us awake, or we
        // see the post.
        fence(SeqCst);
        self.resign(index);
        if self.sentinel.load(Acquire) == 0 { self.appoint(sleepers) } else { None }
    }

    /// Gives the empty post to one who sleeps.
    fn appoint<'a, I>(&self, sleepers: impl Fn() -> I) -> Option<usize>
    where
        I: Iterator<Item = &'a Sleeper>,
    {
        loop {
            // Pairs with the fence of `announce`: who falls asleep finds the post empty, or is found here.
            fence(SeqCst);
            let (index, sleeper) =
                sleepers().enumerate().find(|(_, sleeper)| sleeper.sleeping.load(Relaxed))?;
            if self.sentinel.compare_exchange(0, index + 1, AcqRel, Relaxed).is_err() {
                return None;
            }
            // Pairs with the fence of `back_to_work`.
            fence(SeqCst);
            if sleeper.sleeping.load(Relaxed) {
                return Some(index);
            }
            // It has woken meanwhile, and may have missed the post. Others may have left it to that one, so
            // look again.
            if !self.resign(index) {
                return None;
            }
        }
    }

    pub(crate) fn awake_count(&self) -> usize {
        self.awake.load(Relaxed)
    }

    /// Becomes the one searcher, if there is none.
    #[must_use]
    pub(crate) fn try_search(&self) -> bool {
        self.searching.load(Relaxed) == 0 && self.searching.compare_exchange(0, 1, AcqRel, Relaxed).is_ok()
    }

    /// Ends a search. Afterwards the searcher looks at the injector, whatever it has found: somebody may have
    /// left an item there to it.
    pub(crate) fn end_search(&self) {
        self.searching.fetch_sub(1, AcqRel);
        // Pairs with the fence of `someone_searches`.
        fence(SeqCst);
    }

    /// Whether a pusher may leave finding its item to a searcher. Called after the push.
    pub(crate) fn someone_searches(&self) -> bool {
        // Pairs with the fence of `end_search` (idle.md, "A pusher that leaves it to the searcher").
        fence(SeqCst);
        self.searching.load(Relaxed) != 0
    }

    /// The cheap look of the owner's hot path: no fence, because a miss is made good by the sentinel.
    pub(crate) fn seems_worth_waking(&self, workers: usize) -> bool {
        self.searching.load(Relaxed) == 0
            && self.awake.load(Relaxed) < workers
            && !(self.left_to_owner.load(Relaxed) && self.sentinel.load(Relaxed) != 0)
    }

    /// What a search has come to: pushers wake nobody for queues that it left to their owners while a sentinel is there, which
    /// searches again when its limit is over.
    pub(crate) fn left_to_owner(&self, left: bool) {
        self.left_to_owner.store(left, Relaxed);
    }

    /// Empties the post, if worker `index` holds it. Outside this file: only a worker that falls asleep or
    /// goes back to work next.
    pub(crate) fn resign(&self, index: usize) -> bool {
        self.sentinel.compare_exchange(index + 1, 0, AcqRel, Relaxed).is_ok()
    }

    pub(crate) fn holds_post(&self, index: usize) -> bool {
        self.sentinel.load(Acquire) == index + 1
    }
}
