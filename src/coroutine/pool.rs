//! The process-wide pool of stacks.
//!
//! # Picture
//!
//! One pool for each class, each behind its own lock:
//!
//! ```text
//!            coldest                     hottest
//! touched    [ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ]  ◄──► first: acquire, release
//!               │ trim_pool
//! clean      [ ▼ ─ ─ ─ ─ ]                      ───► second
//! fresh      the rest of the newest slabs       ───► third; a new slab when they are empty
//! ```
//!
//! # Invariants
//!
//! - `one-owner`: a spacing is in one list of one pool, in one [`Stack`], or in the hands of one caller of `make_ready` or `trim`.
//! - `room`: both lists have room for every stack of the class, made when a slab is mapped: giving a stack
//!   back never allocates.
//!
//! # Ahead
//! When many stacks are in use and another is asked for that holds no pages, the first pages of some more are fetched with its own, in
//! one call (`advice`). They go to the hot end of the touched, as if they had been used, so they are given out next or trimmed
//! with the rest. A program with few coroutines has none of them, and neither has one with several threads that run
//! coroutines: the call holds the lock of the address space while pages are cleared, exceptions do not, and who maps memory meanwhile, as
//! glibc does for every 4 KiB that a thread's heap grows, sleeps (with 2 workers a spawn beside it took 2.2 us instead of 0.4).

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::slab::Slab;
use super::stack::{Class, Extent, Stack};
use super::{advice, memory};

/// The most stacks made ready beside the one asked for: 60 KiB. With 16 a page takes 1.10 us, with 4 1.17, with 64 1.09 (alone 1.40).
const AHEAD_MAX: usize = 15;

/// Stacks in use for each that is made ready (guessed): no more than an eighth is added to what they hold.
const IN_USE_FOR_EACH_AHEAD: usize = 8;

/// Whether stacks are made ready that nobody has asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ahead {
    Nothing,
    /// In proportion to those in use.
    AsUsed,
}

/// Stacks trimmed with one call, and one look at the pool.
const TRIM_BATCH: usize = advice::BATCH;

static POOLS: [Pool; Class::COUNT] = [const { Pool::new() }; Class::COUNT];

struct Pool {
    // std's own lock, whatever the rest of the crate is being checked with: no protocol depends on it.
    shelves: Mutex<Shelves>,
}

struct Shelves {
    touched: VecDeque<NonZeroUsize>,
    clean: Vec<NonZeroUsize>,
    fresh: Slab,
    /// Slabs that were made at the same time. None is empty.
    fresh_besides: Vec<Slab>,
    /// Stacks ever cut, wherever they are now.
    total: usize,
    /// Slabs being mapped, and stacks being trimmed or made ready: who meets a limit meanwhile waits for them.
    away: usize,
}

/// A stack of the class: the one most recently given back if there is one, otherwise a new one.
///
/// # Errors
///
/// `OutOfMemory` when a limit of the system is met. The message names the limit and its remedy.
pub(crate) fn acquire(class: Class) -> io::Result<Stack> {
    Pool::of(class).acquire(class, Ahead::Nothing)
}

/// As [`acquire`], when no other thread runs coroutines; see the module's head.
///
/// # Errors
///
/// As [`acquire`].
pub(crate) fn acquire_alone(class: Class) -> io::Result<Stack> {
    Pool::of(class).acquire(class, Ahead::AsUsed)
}

/// Puts a stack back, pages and all. The next to ask for its class gets it. Dropping it does the same.
pub(crate) fn release(stack: Stack) {
    drop(stack);
}

/// Returns the pages of at most `max_stacks` pooled stacks to the system, those unused longest first within
/// each class. Returns how many pooled stacks still hold pages.
///
/// Address space and page tables stay (for stacks of 256 KiB about 513 bytes of page table each).
pub(crate) fn trim_pool(max_stacks: usize) -> usize {
    let mut left = max_stacks;
    let mut held = 0;
    for class in Class::all() {
        held += Pool::of(class).trim(class, &mut left);
    }
    held
}

/// The end of every [`Stack`].
pub(super) fn put_back(stack: &mut Stack) {
    let mut shelves = Pool::of(stack.class()).lock();
    if stack.is_touched() {
        shelves.touched.push_back(stack.top());
    } else {
        shelves.clean.push(stack.top());
    }
}

impl Pool {
    const fn new() -> Self {
        let shelves = Shelves {
            touched: VecDeque::new(),
            clean: Vec::new(),
            fresh: Slab::EMPTY,
            fresh_besides: Vec::new(),
            total: 0,
            away: 0,
        };
        Self { shelves: Mutex::new(shelves) }
    }

    fn of(class: Class) -> &'static Self {
        &POOLS[class.index()]
    }

    /// No user code runs under this lock, and nothing panics half way through a change: room is made before.
    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acquire(&self, class: Class, ahead: Ahead) -> io::Result<Stack> {
        let mut shelves = self.lock();
        if let Some(stack) = shelves.take_touched(class) {
            return Ok(stack);
        }
        let ahead = match ahead {
            Ahead::AsUsed => shelves.ahead(),
            Ahead::Nothing => 0,
        };
        match shelves.take_untouched() {
            Some(top) if ahead == 0 => Ok(Stack::new(top, class, false)),
            Some(top) => Ok(self.make_ready(shelves, top, ahead, class)),
            None => {
                shelves.away += 1;
                drop(shelves);
                self.acquire_from_new_slab(class)
            }
        }
    }

    /// Maps a slab outside the lock: its guards take a while, and others who need a stack meanwhile make a slab of their own.
    #[cold]
    fn acquire_from_new_slab(&self, class: Class) -> io::Result<Stack> {
        let grown = Slab::map(class);
        let mut shelves = self.lock();
        shelves.away -= 1;
        let error = match grown {
            Ok(slab) => return Ok(Stack::new(shelves.add(slab), class, false)),
            Err(error) => error,
        };
        // What others got, or gave back, before the limit was met.
        loop {
            if let Some(stack) = shelves.take_touched(class) {
                return Ok(stack);
            }
            if let Some(top) = shelves.take_untouched() {
                return Ok(Stack::new(top, class, false));
            }
            if shelves.away == 0 {
                return Err(error.into());
            }
            drop(shelves);
            // A system call or two of another's.
            std::thread::yield_now();
            shelves = self.lock();
        }
    }

    /// Gets the first page of a stack that was just taken and of up to `ahead` more, outside the lock. Those are touched then, and are
    /// what is asked for next, or trimmed.
    fn make_ready(
        &self,
        mut shelves: MutexGuard<'_, Shelves>,
        first: NonZeroUsize,
        ahead: usize,
        class: Class,
    ) -> Stack {
        let mut tops = [first; AHEAD_MAX + 1];
        let mut count = 1;
        while count <= ahead
            && let Some(top) = shelves.take_untouched()
        {
            tops[count] = top;
            count += 1;
        }
        shelves.away += count - 1;
        drop(shelves);
        let tops = &tops[..count];
        memory::populate_below(tops.iter().map(|top| top.get()));
        let mut shelves = self.lock();
        shelves.away -= count - 1;
        shelves.touched.extend(tops[1..].iter().rev());
        Stack::new(first, class, true)
    }

    /// Takes those unused longest, as many as there is room for.
    fn take_coldest<'a>(&self, room: &'a mut [NonZeroUsize]) -> &'a [NonZeroUsize] {
        let mut shelves = self.lock();
        let count = room.len().min(shelves.touched.len());
        room.iter_mut().zip(shelves.touched.drain(..count)).for_each(|(to, top)| *to = top);
        shelves.away += count;
        &room[..count]
    }

    /// Trims up to `left` stacks, outside the lock but for taking and putting back. Returns how many still
    /// hold pages.
    fn trim(&self, class: Class, left: &mut usize) -> usize {
        let held = self.lock().touched.len();
        // No more than there are: one whose pages the system keeps goes back, as if it had been used last.
        let mut count = held.min(*left);
        if count == 0 {
            return held;
        }
        *left -= count;
        let mut tops = [NonZeroUsize::MIN; TRIM_BATCH];
        while count > 0 {
            let batch = self.take_coldest(&mut tops[..count.min(TRIM_BATCH)]);
            count -= batch.len();
            if batch.is_empty() {
                break;
            }
            let ranges = batch.iter().map(|&top| Extent::new(top, class).range());
            // SAFETY: `one-owner`: they were taken from the pool, so they are in no `Stack`; by `quiet` nothing is on them.
            let given = unsafe { memory::give_back_each(ranges) };
            let mut shelves = self.lock();
            shelves.away -= batch.len();
            if given == batch.len() {
                shelves.clean.extend(batch);
            } else {
                // Locked ones are among them.
                shelves.touched.extend(batch);
            }
        }
        self.lock().touched.len()
    }
}

impl Shelves {
    /// How many stacks are made ready beside one that is asked for: when many are in use, many will be asked for, most likely.
    fn ahead(&self) -> usize {
        if !advice::takes_many() || !memory::may_populate() {
            return 0;
        }
        let besides: usize = self.fresh_besides.iter().map(Slab::len).sum();
        let idle = self.touched.len() + self.clean.len() + self.fresh.len() + besides;
        ((self.total - idle) / IN_USE_FOR_EACH_AHEAD).min(AHEAD_MAX)
    }

    /// The stack most recently given back.
    fn take_touched(&mut self, class: Class) -> Option<Stack> {
        self.touched.pop_back().map(|top| Stack::new(top, class, true))
    }

    /// A stack that holds no pages.
    fn take_untouched(&mut self) -> Option<NonZeroUsize> {
        if let Some(top) = self.clean.pop() {
            return Some(top);
        }
        if self.fresh.len() == 0 {
            self.fresh = self.fresh_besides.pop()?;
        }
        self.fresh.take()
    }

    /// Adds a slab, having made room for its stacks on both shelves, and takes its first stack.
    fn add(&mut self, mut slab: Slab) -> NonZeroUsize {
        self.total += slab.len();
        self.touched.reserve(self.total - self.touched.len());
        self.clean.reserve(self.total - self.clean.len());
        let first = slab.take().expect("a slab has a stack");
        if self.fresh.len() == 0 {
            self.fresh = slab;
        } else if slab.len() > 0 {
            self.fresh_besides.push(slab);
        }
        first
    }
}
