//! The header of a task: the part of its one allocation that does not depend on its type; see `cell.rs`.
//!
//! # Who may touch what
//! - *fixed*: written before the task is published, never again.
//! - *any thread*: atomics.
//! - *handle*: whoever holds the task's handle, one.
//! - *runner*: whoever holds the task's `Runnable`, or runs it. One party at a time, and one runner is ordered after the other: the
//!   state word releases at the end of a run and acquires in the wake that makes the next runnable, and the queue that
//!   the runnable goes through hands that on; that queue alone, where a task woke itself. So plain cells do.
//! - *shard*: under the lock of the registry shard that the task was entered in.
//!
//! # Invariants
//! - `kept-by-registry`: from its entry in the registry until its removal the allocation is alive, for the task's own reference is
//!   dropped after the removal (`Ended`). Removal follows the last run.

use crate::coroutine::Class;
use crate::runtime::{Home, Link, LinkKind, Scheduler};
use crate::task::cancel::CancelCell;
use crate::task::cell::VTable;
use crate::task::word::Word;
use crate::wait::Extras;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU16, AtomicU64};
use std::time::Duration;

pub(crate) use crate::task::cell::Runnable;

/// What kind of thing a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A closure started by `go`: it runs on a coroutine of its own once it waits.
    Coroutine,
    /// A future started by `spawn` or `spawn_local`.
    Future,
}

/// What a task is doing, as far as one can tell from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// A worker is executing it.
    Running,
    /// It could go on and stands in a queue.
    Ready,
    /// It waits: suspended in a waiting call, or a future that returned `Pending`.
    Waiting,
}

/// The state byte of a task whose result is there, and which is about to leave the registry.
const ENDED: u8 = 3;

/// Which loop coroutine runs a task: the stack class, and whether that stack is kept for futures or for closures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) class: Class,
    pub(crate) futures: bool,
}

/// See the module's head. `repr(C)`: `link` must be first, a pointer to it is a pointer to the header. What every wait and every
/// run touches stands together, in the first 64 bytes; the groups are in the order of their alignment, because `repr(C)` pads.
#[repr(C)]
pub(crate) struct Header {
    link: Link<Room>,

    // any thread
    pub(crate) cancel: CancelCell,
    state: AtomicU8,
    // runner
    pub(crate) throws: Cell<u8>,
    /// A hook or a guard that forbids waiting may be among the extras: every wait looks there.
    pub(crate) guarded: Cell<bool>,
    // fixed
    pub(crate) kind: Kind,
    pub(crate) lane: Lane,
    // runner
    pub(crate) shields: Cell<u16>,
    // any thread
    wait_site: AtomicPtr<Location<'static>>,
    // fixed
    pub(crate) vtable: &'static VTable,
    pub(crate) scheduler: &'static Scheduler,
    // any thread
    pub(crate) word: Word,

    // runner
    /// Waits that somebody borrows from: neither cancelled nor refused.
    pub(crate) borrowing: Cell<u16>,
    // fixed
    /// Index of its registry shard.
    pub(crate) shard: u16,
    /// Coarse milliseconds at spawn, since the clock's zero, wrapping.
    born: u32,
    pub(crate) id: u64,
    /// What few tasks have: made with the header, or later by the runner; then it stays until the header goes.
    rare: AtomicPtr<Rare>,

    // shard
    pub(crate) previous: Cell<*const Header>,
    pub(crate) next: Cell<*const Header>,

    // fixed
    pub(crate) spawn_site: &'static Location<'static>,
}

// SAFETY: the cells are touched only by the party named in the module's head; the rest is atomic or fixed.
unsafe impl Send for Header {}
// SAFETY: as above; `&Header` gives other parties nothing but the fixed and the atomic fields to use.
unsafe impl Sync for Header {}

/// What there is room for in the link.
struct Room {
    // any thread
    worker: AtomicU16,
    // runner
    /// The index of the worker that it was sent to for balance, to start there, or `ANY`: it is not sent on a second time.
    placed: Cell<u16>,
    // fixed
    /// The index of the only worker that may run it, or `ANY`.
    pinned: u16,
}

/// What a header is made from.
pub(crate) struct Traits {
    pub(crate) scheduler: &'static Scheduler,
    pub(crate) kind: Kind,
    pub(crate) lane: Lane,
    pub(crate) spawn_site: &'static Location<'static>,
    pub(crate) name: Option<Box<str>>,
    pub(crate) pinned: Option<&'static Home>,
}

/// Not pinned, or not placed.
const ANY: u16 = u16::MAX;

fn millis(nanos: u64) -> u32 {
    (nanos / 1_000_000) as u32
}

/// Takes `count` numbers, which are the caller's from the one returned.
pub(crate) fn take_ids(count: u64) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(count, Relaxed)
}

impl Header {
    pub(crate) fn new(id: u64, traits: Traits, shard: u16, born: u64, vtable: &'static VTable) -> Self {
        Self {
            link: Link::with_room(
                LinkKind::Task,
                Room {
                    worker: AtomicU16::new(0),
                    placed: Cell::new(ANY),
                    pinned: traits.pinned.map_or(ANY, |home| home.index() as u16),
                },
            ),
            word: Word::new(),
            vtable,
            scheduler: traits.scheduler,
            id,
            kind: traits.kind,
            lane: traits.lane,
            spawn_site: traits.spawn_site,
            born: millis(born),
            shard,
            cancel: CancelCell::new(),
            state: AtomicU8::new(State::Ready as u8),
            wait_site: AtomicPtr::new(ptr::null_mut()),
            throws: Cell::new(0),
            guarded: Cell::new(false),
            shields: Cell::new(0),
            borrowing: Cell::new(0),
            rare: AtomicPtr::new(traits.name.map_or(ptr::null_mut(), |name| Rare::new(Some(name)))),
            previous: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
        }
    }

    #[inline]
    fn rare(&self) -> Option<&Rare> {
        // Acquire pairs with the Release of `make_rare`.
        // SAFETY: made by `Rare::new`, and freed with the header.
        unsafe { self.rare.load(Acquire).as_ref() }
    }

    /// Runner only: nobody else makes it.
    fn make_rare(&self) -> &Rare {
        if self.rare().is_none() {
            // Release pairs with the Acquire of `rare`.
            self.rare.store(Rare::new(None), Release);
        }
        self.rare().expect("it was just made")
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.rare()?.name.as_deref()
    }

    /// Time since the spawn; `now` in coarse nanoseconds.
    pub(crate) fn age(&self, now: u64) -> Duration {
        Duration::from_millis(u64::from(millis(now).wrapping_sub(self.born)))
    }

    /// The only home that may run it, if any.
    #[inline]
    pub(crate) fn pinned(&self) -> Option<&'static Home> {
        let pinned = self.link.room.pinned;
        (pinned != ANY).then(|| self.scheduler.homes()[usize::from(pinned)])
    }

    /// The home that it was sent to for balance, to start there.
    #[inline]
    pub(crate) fn placed(&self) -> Option<&'static Home> {
        let placed = self.link.room.placed.get();
        (placed != ANY).then(|| self.scheduler.homes()[usize::from(placed)])
    }

    pub(crate) fn set_placed(&self, home: &Home) {
        self.link.room.placed.set(home.index() as u16);
    }

    /// Calls `f` with the rarely used part, if there is one; it must not come here again. Runner only, like the next two.
    pub(crate) fn extras<R>(&self, f: impl FnOnce(&mut Extras) -> R) -> Option<R> {
        Some(f(&mut self.rare()?.extras.borrow_mut()))
    }

    /// As `extras`, making it if there is none.
    pub(crate) fn make_extras<R>(&self, f: impl FnOnce(&mut Extras) -> R) -> R {
        f(&mut self.make_rare().extras.borrow_mut())
    }

    /// Also what their destructors make anew. Runner only.
    #[inline]
    pub(crate) fn drop_extras(&self) {
        if let Some(rare) = self.rare() {
            while !rare.extras.borrow().is_empty() {
                drop(rare.extras.take());
            }
        }
    }

    /// What a switch touches of the header at this address, which is not followed.
    #[inline]
    pub(crate) fn switched(task: *const Self) -> *const u8 {
        task.cast::<u8>().wrapping_add(mem::offset_of!(Self, cancel))
    }

    #[inline]
    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Relaxed);
    }

    pub(crate) fn set_ended(&self) {
        self.state.store(ENDED, Relaxed);
    }

    /// None: it has ended.
    pub(crate) fn state(&self) -> Option<State> {
        match self.state.load(Relaxed) {
            0 => Some(State::Running),
            1 => Some(State::Ready),
            2 => Some(State::Waiting),
            _ => None,
        }
    }

    pub(crate) fn set_worker(&self, index: usize) {
        self.link.room.worker.store(index as u16 + 1, Relaxed);
    }

    /// Handle only: the result is taken. False: it has been already.
    #[inline]
    pub(crate) fn take_result(&self) -> bool {
        let before = self.link.flag.load(Relaxed);
        self.link.flag.store(true, Relaxed);
        !before
    }

    /// Handle only.
    #[inline]
    pub(crate) fn is_result_taken(&self) -> bool {
        self.link.flag.load(Relaxed)
    }

    /// Index of the worker that ran it last, if it has run.
    pub(crate) fn worker(&self) -> Option<usize> {
        self.link.room.worker.load(Relaxed).checked_sub(1).map(|index| index as usize)
    }

    /// Of a task that has ended as cancelled: whether its runtime did not take it. Then no worker has run it; one that is
    /// cancelled before its start is dropped by a worker.
    pub(crate) fn was_refused(&self) -> bool {
        self.worker().is_none()
    }

    #[inline]
    pub(crate) fn set_wait_site(&self, site: &'static Location<'static>) {
        self.wait_site.store(ptr::from_ref(site).cast_mut(), Relaxed);
    }

    /// The wait is over. For a closure the next wait overwrites the site; a future returns `Pending` from no site at all.
    #[inline]
    pub(crate) fn leave_wait_site(&self) {
        if self.kind == Kind::Future {
            self.wait_site.store(ptr::null_mut(), Relaxed);
        }
    }

    /// Where it began to wait last, if it has: of use while it does not run.
    pub(crate) fn wait_site(&self) -> Option<&'static Location<'static>> {
        // SAFETY: only addresses of 'static locations, which are constants, are ever stored.
        unsafe { self.wait_site.load(Relaxed).as_ref() }
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        let rare = self.rare.load(Relaxed);
        if !rare.is_null() {
            // SAFETY: made by `Rare::new`, freed once, with the header.
            let rare = unsafe { Box::from_raw(rare) };
            // Empty, unless destructors have thrown. This may be any thread.
            rare.extras.take().abandon();
        }
    }
}

/// The part of a header that few tasks have.
struct Rare {
    // fixed
    name: Option<Box<str>>,
    // runner
    extras: RefCell<Extras>,
}

impl Rare {
    fn new(name: Option<Box<str>>) -> *mut Self {
        Box::into_raw(Box::new(Self { name, extras: RefCell::default() }))
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A million idle futures are to cost little.
#[cfg(all(target_pointer_width = "64", not(any(loom, shuttle))))]
const _: () = assert!(size_of::<Header>() <= 128);
