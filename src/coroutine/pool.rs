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
//! fresh      the rest of the newest slab        ───► third; a new slab when it is empty
//! ```
//!
//! # Invariants
//!
//! - `one-owner`: a spacing is in one list of one pool, or in one [`Stack`].
//! - `room`: both lists have room for every stack of the class, made when a slab is mapped: giving a stack
//!   back never allocates.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::slab::Slab;
use super::stack::{Class, Stack};

static POOLS: [Pool; Class::COUNT] = [const { Pool::new() }; Class::COUNT];

struct Pool {
    // std's own lock, whatever the rest of the crate is being checked with: no protocol depends on it.
    shelves: Mutex<Shelves>,
}

struct Shelves {
    touched: VecDeque<NonZeroUsize>,
    clean: Vec<NonZeroUsize>,
    fresh: Slab,
    /// Stacks ever cut, wherever they are now.
    total: usize,
}

/// A stack of the class: the one most recently given back if there is one, otherwise a new one.
///
/// # Errors
///
/// `OutOfMemory` when a limit of the system is met. The message names the limit and its remedy.
pub(crate) fn acquire(class: Class) -> io::Result<Stack> {
    let mut shelves = Pool::of(class).lock();
    if let Some(top) = shelves.touched.pop_back() {
        return Ok(Stack::new(top, class, true));
    }
    if let Some(top) = shelves.clean.pop() {
        return Ok(Stack::new(top, class, false));
    }
    if shelves.fresh.len() == 0 {
        shelves.grow(class)?;
    }
    match shelves.fresh.take() {
        Some(top) => Ok(Stack::new(top, class, false)),
        None => Err(io::ErrorKind::OutOfMemory.into()),
    }
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
        let shelves = Shelves { touched: VecDeque::new(), clean: Vec::new(), fresh: Slab::EMPTY, total: 0 };
        Self { shelves: Mutex::new(shelves) }
    }

    fn of(class: Class) -> &'static Self {
        &POOLS[class.index()]
    }

    /// No user code runs under this lock, and each change is one push or pop, so there is no half-done state
    /// to be poisoned by.
    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Trims up to `left` stacks, outside the lock but for taking and putting back. Returns how many still
    /// hold pages.
    fn trim(&self, class: Class, left: &mut usize) -> usize {
        let held = self.lock().touched.len();
        // No more than there are: one whose pages the system keeps goes back where it was taken from.
        let count = held.min(*left);
        if count == 0 {
            return held;
        }
        *left -= count;
        for _ in 0..count {
            let Some(top) = self.lock().touched.pop_front() else {
                break;
            };
            Stack::new(top, class, true).give_back();
        }
        self.lock().touched.len()
    }
}

impl Shelves {
    /// Maps a slab, having first made room for its stacks on both shelves.
    fn grow(&mut self, class: Class) -> io::Result<()> {
        let fresh = Slab::map(class)?;
        self.total += fresh.len();
        self.fresh = fresh;
        self.touched.reserve(self.total - self.touched.len());
        self.clean.reserve(self.total - self.clean.len());
        Ok(())
    }
}
