//! Waiters and the queues they stand in.
//!
//! # Picture
//! ```text
//!   WaitQueue (under the lock of what is waited for)      a frame, or a pinned future
//!   ┌───────┐      ┌──────────┐      ┌──────────┐
//!   │ first ├────► │ Waiter   ├────► │ Waiter   │          state · waker · slot · claim
//!   │ last  ├──┐   └──────────┘ ◄────┴────▲─────┘
//!   └───────┘  └─────────────────────────┘
//! ```
//!
//! # States of a waiter
//! - `NEW`: in no queue, and without a waker: there is nothing to take out or to drop. Left when it is given one.
//! - `OUT`: in no queue. Set by the owner, or by the owner's withdrawal.
//! - `IN`: linked. Set by the owner under the lock.
//! - `NOTIFIED`: unlinked by a peer, which has called (or is about to call) its waker: look again.
//! - `DONE`: unlinked by a peer, which has completed the operation: the slot is the owner's. It is stored last: the peer touches
//!   the waiter no more.
//!
//! # Invariants
//! - `under-the-lock`: links, waker and slot are touched only under the lock that guards the queue; after `DONE` the owner
//!   touches the slot without it.
//! - `linked-is-alive`: a waiter in a queue is not moved or freed: its owner unlinks it first (a frame before it returns, a future
//!   in its `Drop`; both are pinned).
//! - `claimed-once`: a waiter of a select is completed only by a peer that has won the select's claim word.
//! - `wake-after-unlock`: wakers are moved out under the lock and called, or dropped, after it. They are cloned before it.
//! - `all-are-woken`: whoever is told to look has its waker called, also when that of another panics.
//!
//! # Committed and revocable
//! A *committed* waiter lies in a frame of our own `recv`, `send` or `select!` and cannot be dropped by anybody else: a peer may
//! complete it. A *revocable* one lies in a future, which may be dropped at any time: it is only notified, and takes what it came
//! for when it is polled, under the lock. One that is dropped while notified passes the notification on; one that finds nothing
//! enrols again at the front.

use crate::primitive::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU16, AtomicUsize};
use crate::primitive::{Cell, UnsafeCell, wake_all};
use std::fmt;
use std::iter;
use std::marker::PhantomPinned;
use std::mem::{self, ManuallyDrop, MaybeUninit};
use std::ptr;
use std::task::Waker;

const NEW: u16 = 0;
const OUT: u16 = 1;
const IN: u16 = 2;
const NOTIFIED: u16 = 3;
const DONE: u16 = 4;

/// See the module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaiterState {
    Out,
    In,
    Notified,
    Done,
}

/// The word that the peers of a select compete for.
#[derive(Debug)]
pub struct Claim {
    word: AtomicUsize,
}

const OPEN: usize = usize::MAX;
const WITHDRAWN: usize = usize::MAX - 1;

impl Claim {
    pub(crate) fn new() -> Self {
        Self { word: AtomicUsize::new(OPEN) }
    }

    /// A peer's attempt to make `case` the one that happens.
    #[must_use]
    pub(crate) fn win(&self, case: usize) -> bool {
        // AcqRel: the select that sees the case sees what its peer did before; the peer needs nothing of the select's beyond what
        // the channel's lock gives it.
        self.word.compare_exchange(OPEN, case, AcqRel, Relaxed).is_ok()
    }

    /// The select's own attempt to end the wait with no case. `Err`: that case has happened.
    pub(crate) fn withdraw(&self) -> Result<(), usize> {
        match self.word.compare_exchange(OPEN, WITHDRAWN, AcqRel, Acquire) {
            Ok(_) | Err(WITHDRAWN) => Ok(()),
            Err(case) => Err(case),
        }
    }

    /// The case that has happened, if one has.
    pub(crate) fn winner(&self) -> Option<usize> {
        match self.word.load(Acquire) {
            OPEN | WITHDRAWN => None,
            case => Some(case),
        }
    }

    /// Opens it for another round; the waiters have all been withdrawn.
    pub(crate) fn reopen(&self) {
        self.word.store(OPEN, Release);
    }
}

/// One party waiting for one thing. `S` is what is handed over.
///
/// A future makes one for each message, and mostly never waits: so what only a waiter in a queue needs is left as it is until then,
/// and what is set at once comes first and has no gaps, so that the compiler puts it where it is to be instead of copying it there.
#[repr(C)]
pub(crate) struct Waiter<S> {
    state: AtomicU16,
    kind: Kind,
    /// Its case, if it is a select's. Not a whole word: a million tasks may wait.
    case: Cell<u32>,
    /// Its select's claim word; null for a waiter that stands alone.
    claim: Cell<*const Claim>,
    slot: UnsafeCell<S>,
    waker: Cell<Option<Waker>>,
    /// Set when it is linked, and so is the next.
    next: Cell<MaybeUninit<*const Waiter<S>>>,
    previous: Cell<MaybeUninit<*const Waiter<S>>>,
    _pinned: PhantomPinned,
}

/// See the module's head. As wide as the state: see [`Waiter`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
enum Kind {
    Revocable,
    Committed,
}

// SAFETY: `under-the-lock` orders every access to the cells; the slot's content goes to another thread, hence `S: Send`, and the
// waker is Send.
unsafe impl<S: Send> Send for Waiter<S> {}
// SAFETY: as above.
unsafe impl<S: Send> Sync for Waiter<S> {}

impl<S> Waiter<S> {
    #[inline]
    pub(crate) fn new(slot: S, committed: bool) -> Self {
        Self {
            state: AtomicU16::new(NEW),
            kind: if committed { Kind::Committed } else { Kind::Revocable },
            case: Cell::new(0),
            waker: Cell::new(None),
            claim: Cell::new(ptr::null()),
            slot: UnsafeCell::new(slot),
            next: Cell::new(MaybeUninit::uninit()),
            previous: Cell::new(MaybeUninit::uninit()),
            _pinned: PhantomPinned,
        }
    }

    /// Makes it case `case` of a select. The claim outlives the waiter's stay in a queue.
    #[inline]
    pub(crate) fn set_claim(&self, claim: &Claim, case: usize) {
        self.claim.set(claim);
        self.case.set(u32::try_from(case).expect("a select has few cases"));
    }

    #[inline]
    pub(crate) fn is_committed(&self) -> bool {
        self.kind == Kind::Committed
    }

    /// Whether it is in no queue and has no waker: dropping it does nothing.
    #[inline]
    pub(crate) fn is_new(&self) -> bool {
        // Relaxed: only the owner takes it from `NEW` to another state.
        self.state.load(Relaxed) == NEW
    }

    /// The one behind it.
    ///
    /// # Safety
    /// It is linked, and the lock is held.
    #[inline]
    unsafe fn next(&self) -> *const Waiter<S> {
        // SAFETY: set when it was linked.
        unsafe { self.next.get().assume_init() }
    }

    /// The one before it.
    ///
    /// # Safety
    /// As `next`.
    #[inline]
    unsafe fn previous(&self) -> *const Waiter<S> {
        // SAFETY: set when it was linked.
        unsafe { self.previous.get().assume_init() }
    }

    /// The owner's look, with or without the lock.
    #[inline]
    pub(crate) fn state(&self) -> WaiterState {
        // Acquire pairs with the Release of `finish`: the owner sees the slot as the peer left it.
        match self.state.load(Acquire) {
            NEW | OUT => WaiterState::Out,
            IN => WaiterState::In,
            NOTIFIED => WaiterState::Notified,
            _ => WaiterState::Done,
        }
    }

    /// Sets a waker, under the lock; the one before is returned, to be dropped after it.
    #[must_use = "drop it after the lock"]
    pub(crate) fn set_waker(&self, waker: Waker) -> Option<Waker> {
        self.leave_new();
        self.waker.replace(Some(waker))
    }

    /// The owner, or under the lock: it is given a waker.
    #[inline]
    fn leave_new(&self) {
        if self.is_new() {
            self.state.store(OUT, Relaxed);
        }
    }

    /// The owner sees to its waiter's waker before the lock, so that nothing of the user's runs under it. The waiter is in no
    /// queue: no peer knows of it.
    pub(crate) fn prepare_waker(&self, waker: &Waker) {
        debug_assert_ne!(self.state(), WaiterState::In, "the waker of a linked waiter belongs to the lock");
        if !self.will_wake(waker) {
            let waker = waker.clone();
            self.leave_new();
            drop(self.waker.replace(Some(waker)));
        }
    }

    /// Whether the waker need not be replaced by `waker`. Under the lock.
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        let present = self.waker.take();
        let same = present.as_ref().is_some_and(|present| present.will_wake(waker));
        self.waker.set(present);
        same
    }

    /// The slot.
    ///
    /// # Safety
    /// The caller holds the lock, or is the owner and the waiter is `Out` or `Done`; no other access to the slot is alive.
    #[inline]
    pub(crate) unsafe fn with_slot<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        // SAFETY: the caller's promise.
        self.slot.with_mut(|slot| f(unsafe { &mut *slot }))
    }

    /// The owner takes its finished or notified waiter for another use.
    #[inline]
    pub(crate) fn reset(&self) {
        debug_assert_ne!(self.state(), WaiterState::In, "a linked waiter is not reset");
        self.state.store(OUT, Relaxed);
    }

    /// As `reset`, by an owner that finds it finished or notified and has not given it a waker since: the peer took the one that it had.
    #[inline]
    pub(crate) fn renew(&self) {
        debug_assert!(matches!(self.state(), WaiterState::Done | WaiterState::Notified), "it has been woken");
        debug_assert!(!self.has_waker(), "the peer has taken it");
        self.state.store(NEW, Relaxed);
    }

    fn has_waker(&self) -> bool {
        let waker = self.waker.take();
        let has_waker = waker.is_some();
        self.waker.set(waker);
        has_waker
    }

    /// Wins the right to complete it. Under the lock of its queue.
    #[must_use]
    fn try_claim(&self) -> bool {
        // SAFETY: `linked-is-alive` holds for the select's claim as for its waiters.
        unsafe { self.claim.get().as_ref() }.is_none_or(|claim| claim.win(self.case.get() as usize))
    }

    /// The peer's last touch.
    fn finish(&self) {
        // Release pairs with the Acquire of `state`.
        self.state.store(DONE, Release);
    }
}

impl<S> fmt::Debug for Waiter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Waiters in the order in which they came. It lies under a lock, and so do all its methods' calls.
pub(crate) struct WaitQueue<S> {
    first: *const Waiter<S>,
    last: *const Waiter<S>,
}

// SAFETY: the pointers are followed under the lock only, and the waiters are Sync if `S` is Send.
unsafe impl<S: Send> Send for WaitQueue<S> {}

impl<S> WaitQueue<S> {
    pub(crate) const fn new() -> Self {
        Self { first: ptr::null(), last: ptr::null() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// The next in line.
    #[inline]
    pub(crate) fn front(&self) -> Option<&Waiter<S>> {
        // SAFETY: `linked-is-alive`.
        unsafe { self.first.as_ref() }
    }

    /// Enrols a waiter behind all others.
    ///
    /// # Safety
    /// The waiter is in no queue, and its owner keeps `linked-is-alive` from here on.
    pub(crate) unsafe fn push_back(&mut self, waiter: &Waiter<S>) {
        waiter.previous.set(MaybeUninit::new(self.last));
        waiter.next.set(MaybeUninit::new(ptr::null()));
        // SAFETY: `linked-is-alive`.
        match unsafe { self.last.as_ref() } {
            Some(last) => last.next.set(MaybeUninit::new(waiter)),
            None => self.first = waiter,
        }
        self.last = waiter;
        waiter.state.store(IN, Relaxed);
    }

    /// Enrols a waiter before all others: it has been notified and found nothing.
    ///
    /// # Safety
    /// As `push_back`.
    pub(crate) unsafe fn push_front(&mut self, waiter: &Waiter<S>) {
        waiter.next.set(MaybeUninit::new(self.first));
        waiter.previous.set(MaybeUninit::new(ptr::null()));
        // SAFETY: `linked-is-alive`.
        match unsafe { self.first.as_ref() } {
            Some(first) => first.previous.set(MaybeUninit::new(waiter)),
            None => self.last = waiter,
        }
        self.first = waiter;
        waiter.state.store(IN, Relaxed);
    }

    /// Takes a waiter of this queue out of it.
    fn unlink(&mut self, waiter: &Waiter<S>) {
        // SAFETY: the waiter is linked.
        let (previous, next) = unsafe { (waiter.previous(), waiter.next()) };
        // SAFETY: `linked-is-alive` for both neighbours.
        match unsafe { previous.as_ref() } {
            Some(previous) => previous.next.set(MaybeUninit::new(next)),
            None => self.first = next,
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(next) => next.previous.set(MaybeUninit::new(previous)),
            None => self.last = previous,
        }
    }

    /// The owner takes its waiter out. False: it was not in. The waker stays with the waiter, and is the owner's again.
    pub(crate) fn remove(&mut self, waiter: &Waiter<S>) -> bool {
        if waiter.state() != WaiterState::In {
            return false;
        }
        self.unlink(waiter);
        waiter.state.store(OUT, Relaxed);
        true
    }

    /// Completes the first waiter: `hand_over` moves the message, then the waiter is done. `Lost`: it was a select's that has been
    /// decided elsewhere; it is out now, and the next in line is to be looked at.
    #[inline]
    pub(crate) fn complete_front(&mut self, hand_over: impl FnOnce(&mut S)) -> Completion {
        self.complete(self.first, hand_over)
    }

    /// As `complete_front`, but passes over those who cannot be handed anything.
    pub(crate) fn complete_first_committed(&mut self, hand_over: impl FnOnce(&mut S)) -> Completion {
        let mut next = self.first;
        // SAFETY: `linked-is-alive`.
        while let Some(waiter) = unsafe { next.as_ref() } {
            if waiter.is_committed() {
                break;
            }
            // SAFETY: the waiter is linked.
            next = unsafe { waiter.next() };
        }
        self.complete(next, hand_over)
    }

    /// Completes a waiter of this queue; null: nobody.
    #[inline]
    fn complete(&mut self, waiter: *const Waiter<S>, hand_over: impl FnOnce(&mut S)) -> Completion {
        // SAFETY: `linked-is-alive`. Once it is unlinked no other peer finds it, and its owner waits for `DONE` or for the lock.
        let Some(waiter) = (unsafe { waiter.as_ref() }) else { return Completion::Nobody };
        self.unlink(waiter);
        if !waiter.try_claim() {
            // Its owner finds it out when it withdraws the losers.
            waiter.state.store(OUT, Release);
            return Completion::Lost;
        }
        // SAFETY: the lock is held, and the waiter is unlinked.
        unsafe { waiter.with_slot(hand_over) };
        let waker = waiter.waker.take();
        waiter.finish();
        Completion::Done(waker)
    }

    /// Notifies the first waiter: it looks again. Its waker is to be called after the lock.
    pub(crate) fn notify_front(&mut self) -> Notification {
        self.notify(self.first)
    }

    /// As `notify_front`, but passes over the waiters of the select that `partner` belongs to: it never pairs with itself, so
    /// they would find nothing, while those behind them wait.
    pub(crate) fn notify_front_for<P>(&mut self, partner: &Waiter<P>) -> Notification {
        let claim = partner.claim.get();
        let mut next = self.first;
        // SAFETY: `linked-is-alive`.
        while let Some(waiter) = unsafe { next.as_ref() } {
            if claim.is_null() || waiter.claim.get() != claim {
                break;
            }
            // SAFETY: the waiter is linked.
            next = unsafe { waiter.next() };
        }
        self.notify(next)
    }

    /// Notifies a waiter of this queue; null: nobody.
    fn notify(&mut self, waiter: *const Waiter<S>) -> Notification {
        // SAFETY: `linked-is-alive`.
        let Some(waiter) = (unsafe { waiter.as_ref() }) else { return Notification::Nobody };
        self.unlink(waiter);
        let waker = waiter.waker.take();
        // Release pairs with the Acquire of `state`. The peer's last touch.
        waiter.state.store(NOTIFIED, Release);
        Notification::Sent(waker)
    }
}

impl<S> fmt::Debug for WaitQueue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitQueue").field("empty", &self.is_empty()).finish()
    }
}

/// What `complete_front` did. The waker is to be called after the lock.
#[derive(Debug)]
pub(crate) enum Completion {
    Done(Option<Waker>),
    Lost,
    Nobody,
}

/// What `notify_front` did. The waker is to be called after the lock.
#[derive(Debug)]
pub(crate) enum Notification {
    Sent(Option<Waker>),
    Nobody,
}

/// Wakers to be called after the lock: dropping the list calls them. Mostly there is one, and nothing is allocated.
#[derive(Debug, Default)]
pub struct WakeList {
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl WakeList {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    #[inline]
    pub(crate) fn push(&mut self, waker: Option<Waker>) {
        match waker {
            Some(waker) if self.first.is_some() => self.rest.push(waker),
            Some(waker) => self.first = Some(waker),
            None => {}
        }
    }
}

/// Calls `f` with a list, and then those in it. Mostly there is none, and one look at `first` is all that is paid: the rest is empty
/// as long as there is no first, so a list without a first owns nothing that would have to be dropped.
#[inline]
pub(crate) fn waking<R>(f: impl FnOnce(&mut WakeList) -> R) -> R {
    let mut wakes = ManuallyDrop::new(WakeList::new());
    let result = f(&mut wakes);
    if let Some(first) = wakes.first.take() {
        if wakes.rest.capacity() > 0 {
            wake_several(first, mem::take(&mut wakes.rest));
        } else {
            first.wake();
        }
    }
    result
}

#[cold]
#[inline(never)]
fn wake_several(first: Waker, rest: Vec<Waker>) {
    wake_all(iter::once(first).chain(rest));
}

impl Drop for WakeList {
    #[inline]
    fn drop(&mut self) {
        match self.first.take() {
            Some(first) if self.rest.is_empty() => first.wake(),
            Some(first) => wake_several(first, mem::take(&mut self.rest)),
            None => {}
        }
    }
}
