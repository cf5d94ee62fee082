//! Coroutine records: what a waker of a waiting coroutine points to.
//!
//! # Picture
//! ```text
//!   Running ── park ──► Parked ── wake ──► Woken (in the home's ready queue) ── resume ──► Running
//!      │ wake                                ▲
//!      ▼                                     │
//!   Notified ── park ────────────────────────┘   (a wake during the run: give others a turn, then look again)
//!   Running ── give a turn ──────────────────┘   (`yield_now`; with nobody else ready it just goes on)
//! ```
//!
//! # Invariants
//! - `type-stable`: records live in blocks that are never freed, and a record never changes its home. So a waker is a bare
//!   pointer, a clone of it counts nothing, and a late wake is harmless: every wait is a loop that looks again.
//! - `home-only`: the cells are touched only on the thread that drives the home at that time.
//! - `one-push`: a record is in its home's inbox at most once: only the waker whose swap of `flag` returned false pushes,
//!   and `flag` is cleared only after the record has been taken out.
//! - `resumed-on-base`: the ready queue is popped on the base, so a resumption follows the switch that it resumes, even if
//!   the wake came between the two.
//!
//! # Protocol
//! A wake on the home's own thread changes the state directly: no atomic operation. A wake from elsewhere swaps `flag`
//! (AcqRel) and, if it was false, pushes the record to the inbox and wakes the home if it sleeps. The home takes it out,
//! swaps `flag` to false (AcqRel), then performs the local wake. A waker that found `flag` true has ordered its data
//! before the home's later swap, which reads from it: the poll that follows sees the data. Nothing is lost: either the
//! record is in the inbox, which is drained before every sleep, or the home has yet to clear `flag` and look.
//! [`Remote`] is that part of a record.

use crate::coroutine::{Coroutine, Extent, Suspender};
use crate::primitive::atomic::Ordering::AcqRel;
use crate::primitive::prefetch;
use crate::runtime::current;
use crate::runtime::home::Home;
use crate::runtime::inbox::{Inbox, Link, LinkKind};
use crate::task::header::{Header, Lane, State as TaskState};
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::task::{RawWaker, RawWakerVTable, Waker};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Notified,
    Parked,
    Woken,
    /// Suspended for good: it swallowed its cancellation too often.
    Leaked,
}

/// What a coroutine suspended for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspended {
    /// Its loop found nothing more to run: the coroutine is spare.
    Idle,
    /// Work on it waits.
    Waiting,
}

/// What wakers on other threads use of a record. `repr(C)`: `link` must be first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Remote {
    link: Link,
}

impl Remote {
    pub(crate) fn new() -> Self {
        Self { link: Link::new(LinkKind::Record) }
    }

    /// The waker's side: sees to it that the record is in the inbox or will be looked at. True when it was put there by this
    /// call: the home is to be woken if it sleeps.
    ///
    /// # Safety
    /// `self` is the first field of a record that is never freed, with provenance over the whole of it, and every call is
    /// with the inbox of the record's home.
    #[must_use]
    pub(crate) unsafe fn queue(this: NonNull<Self>, inbox: &Inbox) -> bool {
        // SAFETY: never freed.
        // AcqRel pairs with the swap in `taken`.
        if unsafe { this.as_ref() }.link.flag.swap(true, AcqRel) {
            return false;
        }
        // SAFETY: `one-push`: the flag was clear, so the record is in no inbox; `type-stable`.
        unsafe { inbox.push(this.cast()) };
        true
    }

    /// The home's side, after taking the record out of the inbox: what it looks at afterwards is what wakers have seen to.
    pub(crate) fn taken(&self) {
        // AcqRel pairs with the swap in `queue`: what wakers did before they found `true` is seen from here on.
        self.link.flag.swap(false, AcqRel);
    }
}

/// See the module's head. `repr(C)`: `remote` must be first. What a switch touches comes first, in two cache lines.
#[repr(C, align(64))]
pub(crate) struct Record {
    remote: Remote,
    pub(crate) home: &'static Home,

    // home-only
    pub(crate) task: Cell<*const Header>,
    /// The stack pointer at the suspension. When another library's coroutine waited, it is not on this stack, and nothing is
    /// trimmed.
    pub(crate) stack_pointer: Cell<usize>,
    pub(crate) suspender: Cell<*const Suspender>,
    /// The home's trim round in which the coroutine parked.
    pub(crate) parked_round: Cell<u32>,
    /// `block_on` frames on this coroutine.
    pub(crate) depth: Cell<u16>,
    pub(crate) state: Cell<State>,
    pub(crate) suspended: Cell<Suspended>,
    pub(crate) coroutine: UnsafeCell<Option<Coroutine>>,
    /// Where the coroutine's stack lies, while there is one.
    pub(crate) stack: Cell<Option<Extent>>,
    pub(crate) lane: Cell<Option<Lane>>,
    /// Set by the base: the loop shall return when it is resumed.
    pub(crate) retire: Cell<bool>,
    /// The stack has been trimmed since the coroutine parked.
    pub(crate) trimmed: Cell<bool>,
}

// SAFETY: other threads use only `remote` and `home` (through a waker); `home-only` guards the rest.
unsafe impl Sync for Record {}

impl Record {
    pub(crate) fn new(home: &'static Home) -> Self {
        Self {
            remote: Remote::new(),
            home,
            state: Cell::new(State::Running),
            suspended: Cell::new(Suspended::Idle),
            retire: Cell::new(false),
            trimmed: Cell::new(false),
            depth: Cell::new(0),
            parked_round: Cell::new(0),
            lane: Cell::new(None),
            stack: Cell::new(None),
            stack_pointer: Cell::new(0),
            suspender: Cell::new(ptr::null()),
            task: Cell::new(ptr::null()),
            coroutine: UnsafeCell::new(None),
        }
    }

    /// Tells the processor that the coroutine's stack will be needed soon: its record should be at hand by now.
    #[inline]
    pub(crate) fn prefetch_stack(&self) {
        prefetch(self.stack_pointer.get() as *const u8);
    }

    /// Tells the processor that the record will be needed soon.
    #[inline]
    pub(crate) fn prefetch(&'static self) {
        let first: *const u8 = ptr::from_ref(self).cast();
        prefetch(first);
        prefetch(first.wrapping_add(64));
    }

    /// The task that runs on this coroutine.
    #[inline]
    pub(crate) fn task(&self) -> Option<&Header> {
        // SAFETY: set for the time of a run only, during which the `Runnable` and the registry keep the header.
        unsafe { self.task.get().as_ref() }
    }

    /// Makes the coroutine look at what it waits for again. Any thread.
    #[inline]
    pub(crate) fn wake(&'static self) {
        match current::home() {
            Some(home) if ptr::eq(home.shared(), self.home) => self.wake_local(home),
            _ => self.wake_remote(),
        }
    }

    /// `wake`, by one who knows where we are.
    #[inline]
    pub(crate) fn wake_by(&'static self, here: current::CurrentHome) {
        if ptr::eq(here.shared(), self.home) { self.wake_local(here) } else { self.wake_remote() }
    }

    #[inline]
    pub(crate) fn wake_local(&'static self, home: current::CurrentHome) {
        match self.state.get() {
            State::Running => self.state.set(State::Notified),
            State::Parked => {
                self.state.set(State::Woken);
                if let Some(task) = self.task() {
                    task.set_state(TaskState::Ready);
                }
                home.local().ready.push_coroutine(self);
            }
            State::Notified | State::Woken | State::Leaked => {}
        }
    }

    fn wake_remote(&'static self) {
        // SAFETY: `type-stable`; the pointer is to the whole record, whose first field `remote` is.
        if unsafe { Remote::queue(NonNull::from(self).cast(), &self.home.inbox) } {
            self.home.wake_if_sleeping();
        }
    }

    /// The home's side of `wake_remote`, after taking the record out of the inbox.
    pub(crate) fn taken(&'static self, home: current::CurrentHome) {
        self.remote.taken();
        self.wake_local(home);
    }

    /// A waker of this coroutine that is not counted and need not be dropped.
    #[inline]
    pub(crate) fn waker(&'static self) -> ManuallyDrop<Waker> {
        // SAFETY: `type-stable`; the vtable below fulfils the contract with bare pointers.
        ManuallyDrop::new(unsafe { Waker::new(ptr::from_ref(self).cast(), &VTABLE) })
    }

    /// The record behind a waker, if it is a coroutine's: waking that one calls no user code.
    #[inline]
    pub(crate) fn of_waker(waker: &Waker) -> Option<&'static Self> {
        // SAFETY: a waker with our vtable was made by `waker` above.
        ptr::eq(waker.vtable(), &VTABLE).then(|| unsafe { &*waker.data().cast() })
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// Ten thousand idle connections are to cost little more than a page each.
#[cfg(all(target_pointer_width = "64", not(any(loom, shuttle, test, feature = "sanitizer"))))]
const _: () = assert!(size_of::<Record>() <= 128);

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, |_| ());

fn clone(data: *const ()) -> RawWaker {
    RawWaker::new(data, &VTABLE)
}

fn wake(data: *const ()) {
    // SAFETY: `type-stable`: the pointer came from a `&'static Record`.
    let record: &'static Record = unsafe { &*data.cast() };
    record.wake();
}
