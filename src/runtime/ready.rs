//! The ready queue: what only its home may run, first in, first out. Only the thread that drives the home touches it.
//!
//! Every wake and every resumption passes through here, so an entry is one word and the ring is indexed with a mask: a push is
//! a store, a pop a load.
//!
//! # Picture
//! ```text
//!   slots (a power of two)  … [ r ] [ r ] [ t|1 ] [ r ] …        r: a record (its alignment leaves the low bit clear)
//!                            head ▲                  ▲ tail       t|1: a task's raw runnable, marked
//! ```
//!
//! # Invariants
//! - `owned-once`: a marked word owns a runnable, from `push` to the one `pop` that returns it.

use crate::runtime::record::Record;
use crate::task::header::Runnable;
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// An entry of the ready queue.
pub(crate) enum Item {
    /// A woken coroutine.
    Coroutine(&'static Record),
    /// A task that only this home may run.
    Task(Runnable),
}

/// What `pop_task` found at the front.
pub(crate) enum Front {
    Empty,
    Coroutine,
    Task(Runnable),
}

type Word = *mut ();

/// The mark of a task.
const TASK: usize = 1;

/// Slots at the beginning: 2 KiB a home.
const SLOTS: usize = 256;

/// With so many coroutines all of one has left the caches before its next turn: a turn of 2,048 touches some 2 MB, a second-level cache. With
/// 1,000 that yield the look ahead at all of it costs more than it saves (10 ns of 58).
const FAR: usize = 2_048;

pub(crate) struct ReadyQueue {
    /// Homes are never freed, nor are the slots; the smaller ones that growth leaves behind are together smaller than these.
    slots: Cell<&'static [Cell<Word>]>,
    head: Cell<usize>,
    tail: Cell<usize>,
}

impl ReadyQueue {
    pub(crate) fn new() -> Self {
        Self { slots: Cell::new(slots(SLOTS)), head: Cell::new(0), tail: Cell::new(0) }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.tail.get().wrapping_sub(self.head.get())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.tail.get() == self.head.get()
    }

    #[inline]
    pub(crate) fn push_coroutine(&self, record: &'static Record) {
        self.push_word(ptr::from_ref(record).cast_mut().cast());
    }

    #[inline]
    pub(crate) fn push_task(&self, runnable: Runnable) {
        self.push_word(runnable.into_raw().as_ptr().map_addr(|address| address | TASK));
    }

    #[inline]
    fn push_word(&self, word: Word) {
        if self.len() == self.slots.get().len() {
            self.grow();
        }
        self.slot(self.tail.get()).set(word);
        self.tail.set(self.tail.get().wrapping_add(1));
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<Item> {
        let word = self.front()?;
        self.head.set(self.head.get().wrapping_add(1));
        // SAFETY: `owned-once`: the head has just moved past it.
        Some(unsafe { item(word) })
    }

    /// Pops the front if it is a task: a woken coroutine is popped by the base alone (`resumed-on-base`).
    pub(crate) fn pop_task(&self) -> Front {
        match self.front() {
            None => Front::Empty,
            Some(word) if word.addr() & TASK == 0 => Front::Coroutine,
            Some(_) => match self.pop() {
                Some(Item::Task(runnable)) => Front::Task(runnable),
                _ => unreachable!("the front was a task"),
            },
        }
    }

    /// Tells the processor what will be needed soon: what comes next has been out of the caches for long, if there are many. `live`: how
    /// many coroutines this home has.
    #[inline]
    pub(crate) fn prefetch(&self, live: usize) {
        if let Some(next) = self.record_at(0) {
            if live < FAR { next.prefetch_stack() } else { next.prefetch_far() }
        }
        if let Some(later) = self.record_at(1) {
            later.prefetch();
        }
    }

    #[inline]
    fn record_at(&self, index: usize) -> Option<&'static Record> {
        if index >= self.len() {
            return None;
        }
        let word = self.slot(self.head.get().wrapping_add(index)).get();
        // SAFETY: unmarked words are `&'static Record`s.
        (word.addr() & TASK == 0).then(|| unsafe { &*word.cast() })
    }

    #[inline]
    fn front(&self) -> Option<Word> {
        (!self.is_empty()).then(|| self.slot(self.head.get()).get())
    }

    #[inline]
    fn slot(&self, index: usize) -> &'static Cell<Word> {
        let slots = self.slots.get();
        &slots[index & (slots.len() - 1)]
    }

    #[cold]
    fn grow(&self) {
        let more = slots(self.slots.get().len() * 2);
        for (i, to) in more.iter().take(self.len()).enumerate() {
            to.set(self.slot(self.head.get().wrapping_add(i)).get());
        }
        self.tail.set(self.len());
        self.head.set(0);
        self.slots.set(more);
    }
}

fn slots(count: usize) -> &'static [Cell<Word>] {
    Box::leak(vec![const { Cell::new(ptr::null_mut()) }; count].into())
}

/// # Safety
/// The word came from `push_coroutine` or `push_task`, and is taken for the first time.
#[inline]
unsafe fn item(word: Word) -> Item {
    if word.addr() & TASK == 0 {
        // SAFETY: the caller's promise: a `&'static Record`.
        return Item::Coroutine(unsafe { &*word.cast() });
    }
    let raw = word.map_addr(|address| address & !TASK);
    // SAFETY: the caller's promise: from `into_raw`, whose pointers are aligned and not null.
    Item::Task(unsafe { Runnable::from_raw(NonNull::new_unchecked(raw)) })
}
