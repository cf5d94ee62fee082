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
//! `Trimmed` is `Parked`, with the idle part of the stack given back.
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
use std::mem::{self, ManuallyDrop};
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{RawWaker, RawWakerVTable, Waker};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Notified,
    Parked,
    /// Parked, and what lies below the stack pointer has been given back since.
    Trimmed,
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

/// What wakers on other threads use of a record. `repr(C)`: `link` must be first, a pointer to it is a pointer to this.
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
    /// `this` is part of a record that is never freed, with provenance over the whole of it, and every call is
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

/// See the module's head. `repr(C)`: what a switch touches comes first, in one cache line. Among 1,000 coroutines in turn each line
/// less is 3 to 5 ns a switch.
#[repr(C, align(64))]
pub(crate) struct Record {
    // written by the home only
    /// The task whose run this coroutine is in. Others compare it with tasks that they know, and do not follow it.
    task: AtomicPtr<Header>,

    // home-only
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

    // any thread
    remote: Remote,
    pub(crate) home: &'static Home,

    // home-only
    /// Where the coroutine's stack lies, while there is one.
    pub(crate) stack: Cell<Option<Extent>>,
    pub(crate) lane: Cell<Option<Lane>>,
    /// The task's waker has been called in its own run.
    pub(crate) woke_itself: Cell<bool>,
    /// Set by the base: the loop shall return when it is resumed.
    pub(crate) retire: Cell<bool>,
}

// SAFETY: other threads use only `remote` and `home` (through a waker), and the address in `task`; `home-only` guards the rest.
unsafe impl Sync for Record {}

impl Record {
    pub(crate) fn new(home: &'static Home) -> Self {
        Self {
            remote: Remote::new(),
            home,
            state: Cell::new(State::Running),
            suspended: Cell::new(Suspended::Idle),
            retire: Cell::new(false),
            woke_itself: Cell::new(false),
            depth: Cell::new(0),
            parked_round: Cell::new(0),
            lane: Cell::new(None),
            stack: Cell::new(None),
            stack_pointer: Cell::new(0),
            suspender: Cell::new(ptr::null()),
            task: AtomicPtr::new(ptr::null_mut()),
            coroutine: UnsafeCell::new(None),
        }
    }

    /// The record that a link in an inbox stands for.
    ///
    /// # Safety
    /// The link was taken from an inbox, and is a record's.
    pub(crate) unsafe fn of_link(link: NonNull<Link>) -> &'static Self {
        // SAFETY: the caller's promise: the pointer is the one that `wake_remote` made; `type-stable`.
        unsafe { link.cast::<Self>().byte_sub(mem::offset_of!(Self, remote)).as_ref() }
    }

    /// Tells the processor that what a resumption touches will be needed soon: the record should be at hand by now.
    #[inline]
    pub(crate) fn prefetch_stack(&self) {
        // The frames of the switch and of what called it, the other end of the stack, and the task.
        let frames = self.stack_pointer.get() as *const u8;
        prefetch(frames.wrapping_sub(SAVED));
        prefetch(frames.wrapping_sub(SAVED).wrapping_add(64));
        prefetch(self.suspender.get().cast());
        prefetch(Header::switched(self.task_address()));
    }

    /// As `prefetch_stack`, for one among so many that all of it has left the caches: the frames that a wait leaves through, those
    /// of what is called next, which reach a little further down, and the task. At hand one after the other, they are most of
    /// what such a resumption takes. Among 200,000 coroutines that sleep, as many a second as one worker could just resume, the
    /// median was 15 ms late with it and 30 ms without.
    #[inline]
    pub(crate) fn prefetch_far(&self) {
        const FRAMES: Range<isize> = -2..6;
        const TASK: usize = 3;
        let frames = self.stack_pointer.get() as *const u8;
        let task = self.task_address().cast::<u8>();
        FRAMES.for_each(|line| prefetch(frames.wrapping_offset(line * LINE_BYTES as isize)));
        (0..TASK).for_each(|line| prefetch(task.wrapping_add(line * LINE_BYTES)));
    }

    /// Tells the processor that the record will be needed soon.
    #[inline]
    pub(crate) fn prefetch(&'static self) {
        prefetch(ptr::from_ref(self).cast());
    }

    /// The task that runs on this coroutine.
    #[inline]
    pub(crate) fn task(&self) -> Option<&Header> {
        // SAFETY: set for the time of a run only, during which the `Runnable` and the registry keep the header.
        unsafe { self.task_address().as_ref() }
    }

    /// For comparing. Any thread.
    #[inline]
    pub(crate) fn task_address(&self) -> *const Header {
        self.task.load(Relaxed)
    }

    /// The home's side, before a run and, with null, after it.
    #[inline]
    pub(crate) fn set_task(&self, task: *const Header) {
        self.task.store(task.cast_mut(), Relaxed);
    }

    /// For a waker of `task` that is called: true if the caller is in that task's run, and has left word for its end.
    #[inline]
    pub(crate) fn wake_running_task(task: *const Header) -> bool {
        match current::record() {
            Some((_, record)) if ptr::eq(record.task_address(), task) => {
                record.woke_itself.set(true);
                true
            }
            _ => false,
        }
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
            State::Parked | State::Trimmed => {
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
        // SAFETY: `type-stable`; the pointer keeps the provenance of the one to the whole record.
        if unsafe {
            Remote::queue(
                NonNull::from(self).byte_add(mem::offset_of!(Self, remote)).cast(),
                &self.home.inbox,
            )
        } {
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
const _: () = assert!(size_of::<Record>() <= 128 && mem::offset_of!(Record, remote) <= 64);

/// What the switch saves below the stack pointer that is noted.
const SAVED: usize = 24;

/// A cache line.
const LINE_BYTES: usize = 64;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, |_| ());

fn clone(data: *const ()) -> RawWaker {
    RawWaker::new(data, &VTABLE)
}

fn wake(data: *const ()) {
    // SAFETY: `type-stable`: the pointer came from a `&'static Record`.
    let record: &'static Record = unsafe { &*data.cast() };
    record.wake();
}
