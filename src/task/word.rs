//! A task's state word, and the waker of whoever joins it.
//!
//! # Bits
//! | bit | meaning | set by | cleared by |
//! |---|---|---|---|
//! | `ACTIVE` | a `Runnable` exists, or a run is under way | the spawn, a wake, `start` | `pause`, `complete` |
//! | `WOKEN` | woken since that began, or since the last `start` | a wake | `start` |
//! | `COMPLETED` | the result is there, or has been taken | `complete` | nobody |
//! | `HANDLE` | the handle exists: it owns the result | the spawn | `drop_handle` |
//! | `AWAITER` | `awaiter` holds a waker | the handle | the handle, until `COMPLETED` |
//! | the rest | references, in units of `REFERENCE` | | |
//!
//! # Invariants
//! - `live`: one reference is the task's own, from the spawn until its last run and its removal from the registry are over. A
//!   runnable needs none: where one exists the task has not completed. A waker has one each. Whoever takes the last one of a task
//!   whose handle is gone, or the handle when no reference is left, frees the task.
//! - `one-runnable`: whoever sets `ACTIVE` while neither it nor `WOKEN` is set owns the runnable; so does `pause` that finds `WOKEN`
//!   set, and leaves it so. A wake that finds either sets `WOKEN`. After `COMPLETED` nobody sets any.
//! - `awaiter-is-written-by-the-handle`: and only while `AWAITER` and `COMPLETED` are clear. So while it is set the place may be read
//!   by both sides; who clears the bit, or sets `COMPLETED` where it is set, owns the waker, and the bytes left behind are nobody's.
//!
//! # Orders
//! Every change is a read-modify-write of one word, so the changes have one order, and each reads what was released by those before
//! it. A wake is AcqRel even if it changes nothing: a waker that becomes the owner of the runnable sees the run before, and hands it
//! on with the runnable, through a queue. What another waker did before is seen by the run whose `start` clears `WOKEN`: such a wake
//! comes before that `start`, or is found by the `pause` of the run, and there is another. So a `start` that finds `WOKEN` clear need
//! change nothing: most runs begin without a locked instruction.
//!
//! A task that wakes itself during a run, as one that gives others a turn does, is not woken by the word at all: its runner knows, and
//! queues it again in place of `pause`. It stays active meanwhile.

use crate::primitive::UnsafeCell;
use crate::primitive::atomic::AtomicUsize;
use crate::primitive::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::fmt;
use std::mem::MaybeUninit;
use std::task::Waker;

const ACTIVE: usize = 1;
const WOKEN: usize = 2;
const COMPLETED: usize = 4;
const HANDLE: usize = 8;
const AWAITER: usize = 16;
const REFERENCE: usize = 32;

fn references(bits: usize) -> usize {
    bits / REFERENCE
}

fn is_idle(bits: usize) -> bool {
    bits & (ACTIVE | WOKEN) == 0
}

fn woken(bits: usize) -> usize {
    bits | if is_idle(bits) { ACTIVE } else { WOKEN }
}

/// See the module's head. `repr(C)`: what every run touches comes first.
#[repr(C)]
pub(crate) struct Word {
    bits: AtomicUsize,
    awaiter: UnsafeCell<MaybeUninit<Waker>>,
}

/// What a waker that has been called, or dropped, leaves to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    Nothing,
    /// The caller owns the runnable: it is to be queued.
    Schedule,
    /// The caller is the last who knows the task: it is to be freed.
    Free,
}

/// What `complete` found.
#[must_use]
pub(crate) struct Completion {
    /// Nobody will take the result: the caller owns it.
    pub(crate) is_detached: bool,
    /// To be woken.
    pub(crate) awaiter: Option<Waker>,
}

/// What `detach` found.
#[must_use]
pub(crate) enum Detached {
    /// The task goes on; the waker that waited for it is dropped by the caller.
    GoesOn(Option<Waker>),
    /// It has completed: the result is the caller's, who then calls `drop_handle`.
    Completed,
}

impl Word {
    /// Of a task that has a runnable, and its handle.
    pub(crate) fn new() -> Self {
        Self {
            bits: AtomicUsize::new(ACTIVE | HANDLE | REFERENCE),
            awaiter: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Changes the bits as `f` says, unless it gives `None`. Returns what they were.
    #[inline]
    fn update(&self, f: impl Fn(usize) -> Option<usize>) -> Result<usize, usize> {
        self.bits.fetch_update(AcqRel, Acquire, f)
    }

    /// Acquire: pairs with `complete`, so the result is seen.
    #[inline]
    pub(crate) fn is_completed(&self) -> bool {
        self.bits.load(Acquire) & COMPLETED != 0
    }

    /// A runnable exists, or a run is under way.
    pub(crate) fn has_runnable(&self) -> bool {
        self.bits.load(Acquire) & (ACTIVE | COMPLETED) == ACTIVE
    }

    // ---- references

    #[inline]
    pub(crate) fn add_reference(&self) {
        // Relaxed: the caller has one, or holds the lock that keeps one.
        let before = self.bits.fetch_add(REFERENCE, Relaxed);
        if before > usize::MAX / 2 {
            // So many wakers have been forgotten: a count that wraps would free the task under the rest.
            std::process::abort();
        }
    }

    /// `Free`: it was the last one.
    #[inline]
    pub(crate) fn drop_reference(&self) -> Next {
        // AcqRel: what each did with the task comes before it is freed.
        let before = self.bits.fetch_sub(REFERENCE, AcqRel);
        if references(before) == 1 && before & HANDLE == 0 { Next::Free } else { Next::Nothing }
    }

    // ---- wakers

    /// A wake by a waker that stays.
    #[inline]
    pub(crate) fn wake(&self) -> Next {
        match self.update(|bits| (bits & COMPLETED == 0).then_some(woken(bits))) {
            Ok(before) if is_idle(before) => Next::Schedule,
            _ => Next::Nothing,
        }
    }

    /// A wake by a waker that goes.
    #[inline]
    pub(crate) fn wake_and_drop(&self) -> Next {
        // It is not the last reference: one that has not completed has its own (`live`).
        match self.update(|bits| (bits & COMPLETED == 0).then(|| woken(bits) - REFERENCE)) {
            Ok(before) if is_idle(before) => Next::Schedule,
            Ok(_) => Next::Nothing,
            Err(_) => self.drop_reference(),
        }
    }

    // ---- the runner

    /// A run begins; the caller had the runnable.
    #[inline]
    pub(crate) fn start(&self) {
        // Relaxed: what the word does not say here it says at the end of the run, and the rest came with the runnable.
        let bits = self.bits.load(Relaxed);
        debug_assert!(!is_idle(bits) && bits & COMPLETED == 0, "`one-runnable`");
        if bits & WOKEN != 0 {
            // AcqRel: what was done before the wakes is seen by this run.
            let _ = self.update(|bits| Some((bits | ACTIVE) & !WOKEN));
        }
    }

    /// The run is over and the task has not completed. `Schedule`: it was woken meanwhile, and the caller has the runnable again;
    /// else the task may be gone.
    #[inline]
    pub(crate) fn pause(&self) -> Next {
        // A subtraction, for its result comes in one instruction; the bit is set.
        let before = self.bits.fetch_sub(ACTIVE, AcqRel);
        if before & WOKEN != 0 { Next::Schedule } else { Next::Nothing }
    }

    /// The run is over and the result is there. The task's own reference stays.
    #[inline]
    pub(crate) fn complete(&self) -> Completion {
        // `ACTIVE` is set and `COMPLETED` clear: an addition changes both.
        const { assert!(ACTIVE + (COMPLETED - ACTIVE) == COMPLETED) };
        let before = self.bits.fetch_add(COMPLETED - ACTIVE, AcqRel);
        // SAFETY: `awaiter-is-written-by-the-handle`: it was set, and is ours from now on.
        let awaiter = (before & AWAITER != 0).then(|| unsafe { self.read_awaiter() });
        Completion { is_detached: before & HANDLE == 0, awaiter }
    }

    // ---- the handle

    /// Leaves the waker for the task's end. True: it has completed, and no waker is left.
    ///
    /// # Panics
    /// When the waker's `clone`, or the `drop` of the one before it, does.
    ///
    /// # Safety
    /// The caller holds the handle, and nobody else uses it meanwhile.
    pub(crate) unsafe fn wait(&self, waker: &Waker) -> bool {
        let bits = self.bits.load(Acquire);
        if bits & COMPLETED != 0 {
            return true;
        }
        let mut before = None;
        if bits & AWAITER != 0 {
            // SAFETY: the place is full, and written to by us alone; the other side at most reads.
            if self.awaiter.with(|awaiter| unsafe { (*awaiter).assume_init_ref().will_wake(waker) }) {
                return false;
            }
            before = match self.take_awaiter() {
                Some(awaiter) => Some(awaiter),
                None => return true,
            };
        }
        let waker = waker.clone();
        // SAFETY: `AWAITER` is clear, and so was `COMPLETED` when that was seen: who sets it now finds no waker to read.
        self.awaiter.with_mut(|awaiter| unsafe { (*awaiter).write(waker) });
        let placed = self.update(|bits| (bits & COMPLETED == 0).then_some(bits | AWAITER));
        if placed.is_err() {
            // SAFETY: it has not been published, so it is ours.
            drop(unsafe { self.read_awaiter() });
        }
        drop(before);
        placed.is_err()
    }

    /// Takes the waker back. None: the task has completed, and has taken it.
    fn take_awaiter(&self) -> Option<Waker> {
        self.update(|bits| (bits & COMPLETED == 0).then_some(bits & !AWAITER)).ok()?;
        // SAFETY: it was set, for only we clear it, and is ours again.
        Some(unsafe { self.read_awaiter() })
    }

    /// # Safety
    /// The place is full, and its content the caller's.
    unsafe fn read_awaiter(&self) -> Waker {
        // SAFETY: the caller's promise.
        self.awaiter.with(|awaiter| unsafe { (*awaiter).assume_init_read() })
    }

    /// The handle is to go. When the task goes on, it is gone, and so may the task be.
    ///
    /// # Safety
    /// As `wait`.
    #[inline]
    pub(crate) unsafe fn detach(&self) -> Detached {
        let mut bits = self.bits.load(Acquire);
        loop {
            if bits & COMPLETED != 0 {
                return Detached::Completed;
            }
            // A copy of the bytes before the handle goes: afterwards there may be no task to read from.
            let copy = (bits & AWAITER != 0)
                // SAFETY: the place is full, and written to by us alone; the other side at most reads.
                .then(|| self.awaiter.with(|awaiter| unsafe { awaiter.read() }));
            match self.bits.compare_exchange_weak(bits, bits & !(HANDLE | AWAITER), AcqRel, Acquire) {
                // SAFETY: it was set and we have cleared it, so the waker is ours.
                Ok(_) => return Detached::GoesOn(copy.map(|waker| unsafe { waker.assume_init() })),
                Err(now) => bits = now,
            }
        }
    }

    /// The handle of a task that has completed goes. `Free`: no reference is left either.
    #[inline]
    pub(crate) fn drop_handle(&self) -> Next {
        // Acquire, as in `drop_reference`. Without references nobody else knows the task any more.
        if references(self.bits.load(Acquire)) == 0 {
            return Next::Free;
        }
        let before = self.bits.fetch_sub(HANDLE, AcqRel);
        if references(before) == 0 { Next::Free } else { Next::Nothing }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits.load(Relaxed);
        f.debug_struct("Word")
            .field("active", &(bits & ACTIVE != 0))
            .field("woken", &(bits & WOKEN != 0))
            .field("completed", &(bits & COMPLETED != 0))
            .field("handle", &(bits & HANDLE != 0))
            .field("references", &references(bits))
            .finish()
    }
}
