//! The choice among cases: look, enrol on all, wait, withdraw from all but one.
//!
//! # Protocol
//! ```text
//!          ┌──────────────► look: try the cases one by one, in a random order (or as written)
//!          │                  │ none
//!          │                lock the channels of all cases in the order of their addresses; try them once more
//!          │                  │ none
//!          │                enrol on all; open the claim; unlock ─► Pending
//!          │ a case was notified, or polled cases shall be polled: withdraw the claim
//!          └───────────────── woken ────────────────► the claim was won by a peer: withdraw from the others; done
//! ```
//! - A peer completes a case only after winning the claim (`claimed-once` in `wait/queue.rs`), so at most one case has an effect.
//! - While we hold all locks nobody can claim us, so only the *peer's* word needs a CAS, and a select never pairs with itself: it
//!   tries before it enrols.
//! - Before cases are tried again, and before futures of others are polled, the claim is withdrawn by our own CAS. If that is
//!   lost, a peer has completed a case, and nothing is tried or polled.
//! - Locks are taken in address order, each once, so two selects cannot wait for each other.
//!
//! # Sources
//! Go's `select.go`: two orders, one random for fairness and one by address for locking.

use crate::channel::lock::ChannelLock;
use crate::random;
use crate::select::cases::{Case, CaseKind, Patience};
use crate::wait::committed::Committed;
use crate::wait::queue::{Claim, WakeList};
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, Waker};

/// The cases of one select, by index.
pub trait Cases {
    /// How many there are.
    fn count(&self) -> usize;

    /// One of them.
    fn get(&mut self, index: usize) -> Pin<&mut dyn Case>;

    /// [`Case::prepare`] of all.
    fn prepare_all(&mut self, waker: &Waker) {
        for index in 0..self.count() {
            self.get(index).prepare(waker);
        }
    }

    /// [`Case::withdraw`] of all.
    fn withdraw_all(&mut self, wakes: &mut WakeList) {
        for index in 0..self.count() {
            self.get(index).withdraw(wakes);
        }
    }

    /// [`Case::try_now`] of one of them.
    fn try_now(&mut self, index: usize, cx: &mut Context<'_>, patience: Patience) -> bool {
        self.get(index).try_now(cx, patience)
    }
}

impl Cases for () {
    fn count(&self) -> usize {
        0
    }

    fn get(&mut self, _: usize) -> Pin<&mut dyn Case> {
        unreachable!("there is no such case")
    }
}

/// The macro's cases: a list of pairs, so that no type is erased that need not be.
impl<C: Case, L: Cases> Cases for (Pin<&mut C>, L) {
    fn count(&self) -> usize {
        1 + self.1.count()
    }

    fn get(&mut self, index: usize) -> Pin<&mut dyn Case> {
        match index {
            0 => self.0.as_mut(),
            _ => self.1.get(index - 1),
        }
    }

    #[inline]
    fn prepare_all(&mut self, waker: &Waker) {
        self.0.as_mut().prepare(waker);
        self.1.prepare_all(waker);
    }

    #[inline]
    fn withdraw_all(&mut self, wakes: &mut WakeList) {
        self.0.as_mut().withdraw(wakes);
        self.1.withdraw_all(wakes);
    }

    /// By the case's own type: mostly this is all that a select does.
    #[inline]
    fn try_now(&mut self, index: usize, cx: &mut Context<'_>, patience: Patience) -> bool {
        match index {
            0 => self.0.as_mut().try_now(cx, patience),
            _ => self.1.try_now(index - 1, cx, patience),
        }
    }
}

/// What a select keeps for each case: in arrays for the macros, whose number of cases is known, else in vectors.
pub(crate) trait Order {
    type Locks;

    /// The cases' indices, from 0 on.
    fn rising(count: usize) -> Self;

    fn indices(&mut self) -> &mut [u32];

    /// The cases' locks.
    fn locks(count: usize, of: impl FnMut(usize) -> LockOf) -> Self::Locks;

    fn as_slice(locks: &mut Self::Locks) -> &mut [LockOf];
}

/// The lock of a case; null for one without a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LockOf(*const ChannelLock);

// SAFETY: as a reference to a lock, which is `Sync`: the case borrows the channel, and is borrowed by the engine for longer than this
// is used.
unsafe impl Send for LockOf {}
// SAFETY: as above.
unsafe impl Sync for LockOf {}

impl<const N: usize> Order for [u32; N] {
    type Locks = [LockOf; N];

    #[inline]
    fn rising(_: usize) -> Self {
        std::array::from_fn(|index| index as u32)
    }

    #[inline]
    fn indices(&mut self) -> &mut [u32] {
        self
    }

    #[inline]
    fn locks(_: usize, of: impl FnMut(usize) -> LockOf) -> [LockOf; N] {
        std::array::from_fn(of)
    }

    #[inline]
    fn as_slice(locks: &mut [LockOf; N]) -> &mut [LockOf] {
        locks
    }
}

impl Order for Vec<u32> {
    type Locks = Vec<LockOf>;

    fn rising(count: usize) -> Self {
        (0..u32::try_from(count).expect("that many cases do not fit into memory")).collect()
    }

    fn indices(&mut self) -> &mut [u32] {
        self
    }

    fn locks(count: usize, of: impl FnMut(usize) -> LockOf) -> Vec<LockOf> {
        (0..count).map(of).collect()
    }

    fn as_slice(locks: &mut Vec<LockOf>) -> &mut [LockOf] {
        locks
    }
}

/// A select under way.
#[derive(Debug)]
pub(crate) struct Engine<C: Cases, O: Order> {
    cases: C,
    claim: Claim,
    /// The order of trying; the first `settled` of it. The others are drawn when it is their turn: mostly the first case that is
    /// tried happens.
    order: O,
    settled: usize,
    /// In the order of locking: by address. `None` until the cases are enrolled for the first time.
    locks: Option<O::Locks>,
    enrolled: bool,
    /// A case's index, once it has happened.
    happened: Option<usize>,
}

impl<C: Cases, O: Order> Engine<C, O> {
    pub(crate) fn new(cases: C, biased: bool) -> Self {
        let count = cases.count();
        Self {
            cases,
            claim: Claim::new(),
            order: O::rising(count),
            settled: if biased { count } else { 0 },
            locks: None,
            enrolled: false,
            happened: None,
        }
    }

    /// Tries every case once, without waiting.
    pub(crate) fn look(&mut self, cx: &mut Context<'_>, patience: Patience) -> Option<usize> {
        for at in 0..self.order.indices().len() {
            let index = self.settle(at);
            if self.cases.try_now(index, cx, patience) {
                return Some(index);
            }
        }
        None
    }

    /// The case to be tried after so many others, which are settled. (The steps of a shuffle, each made when it is needed.)
    #[inline]
    fn settle(&mut self, at: usize) -> usize {
        let order = self.order.indices();
        if at >= self.settled {
            self.settled = at + 1;
            let left = order.len() - at;
            if left > 1 {
                order.swap(at, at + random::below(left as u32) as usize);
            }
        }
        order[at] as usize
    }

    /// One step of the select; `Ready` with the index of the case that has happened.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if let Some(index) = self.happened {
            return Poll::Ready(index);
        }
        if self.enrolled {
            if let Some(index) = self.claim.winner() {
                return Poll::Ready(self.finish(index));
            }
            if !self.must_look_again(cx.waker()) {
                return Poll::Pending;
            }
            if let Err(index) = self.claim.withdraw() {
                return Poll::Ready(self.finish(index));
            }
        }
        if let Some(index) = self.look(cx, Patience::Waits) {
            self.withdraw_all();
            return Poll::Ready(self.done(index));
        }
        match self.enrol(cx) {
            Some(index) => Poll::Ready(self.done(index)),
            None => Poll::Pending,
        }
    }

    fn done(&mut self, index: usize) -> usize {
        self.happened = Some(index);
        self.enrolled = false;
        index
    }

    /// After a wake that no peer's claim explains: whether a case was notified, is to be polled, or would call the waker of an
    /// earlier poll.
    fn must_look_again(&mut self, waker: &Waker) -> bool {
        (0..self.cases.count()).any(|index| {
            let case = self.cases.get(index);
            match case.kind() {
                CaseKind::Channel => !case.is_waiting_with(waker),
                CaseKind::Timer | CaseKind::Foreign => true,
                CaseKind::Disabled => false,
            }
        })
    }

    /// With all locks held: tries the channels once more, then enrols on all that it is not enrolled on, and opens the claim.
    fn enrol(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        self.cases.prepare_all(cx.waker());
        let mut wakes = WakeList::new();
        self.lock_all();
        let happened = self.attempt_locked(&mut wakes);
        match happened {
            Some(_) => self.cases.withdraw_all(&mut wakes),
            None => {
                // In the order of trying as well: of two cases on one channel the first to be enrolled is the first to be served.
                for &index in self.order.indices().iter() {
                    let index = index as usize;
                    self.cases.get(index).enrol(&self.claim, index, &mut wakes);
                }
                self.claim.reopen();
                self.enrolled = true;
            }
        }
        self.unlock_all();
        happened
    }

    fn attempt_locked(&mut self, wakes: &mut WakeList) -> Option<usize> {
        for &index in self.order.indices().iter() {
            let index = index as usize;
            if self.cases.get(index).attempt(wakes) {
                return Some(index);
            }
        }
        None
    }

    /// A peer has completed a case.
    fn finish(&mut self, index: usize) -> usize {
        let mut wakes = WakeList::new();
        // The peer's last touch of the waiter is under its lock, which is taken here.
        self.lock_all();
        self.cases.get(index).settle();
        self.cases.withdraw_all(&mut wakes);
        self.unlock_all();
        drop(wakes);
        self.done(index)
    }

    fn withdraw_all(&mut self) {
        if !self.enrolled {
            return;
        }
        let mut wakes = WakeList::new();
        self.lock_all();
        self.cases.withdraw_all(&mut wakes);
        self.unlock_all();
        self.enrolled = false;
    }

    /// Locks the channels of all cases, each once, in the order of their addresses. Nothing that is done under the locks panics.
    fn lock_all(&mut self) {
        let cases = &mut self.cases;
        let locks = self.locks.get_or_insert_with(|| {
            let mut locks = O::locks(cases.count(), |index| LockOf(cases.get(index).lock()));
            O::as_slice(&mut locks).sort_unstable();
            locks
        });
        for_each_lock(O::as_slice(locks), ChannelLock::lock);
    }

    fn unlock_all(&mut self) {
        if let Some(locks) = &mut self.locks {
            // SAFETY: `lock_all` has locked the same ones.
            for_each_lock(O::as_slice(locks), |lock| unsafe { lock.unlock() });
        }
    }

    /// Ends the wait without a case, if none has happened.
    fn give_up(&mut self) -> Option<usize> {
        if let Some(index) = self.happened {
            return Some(index);
        }
        if !self.enrolled {
            return None;
        }
        match self.claim.withdraw() {
            Ok(()) => {
                self.withdraw_all();
                None
            }
            Err(index) => Some(self.finish(index)),
        }
    }
}

/// Calls `f` with each lock once.
#[inline]
fn for_each_lock(locks: &[LockOf], f: impl Fn(&ChannelLock)) {
    let mut before = ptr::null();
    for &LockOf(lock) in locks {
        // Null, which cases without a channel have, comes first.
        if !ptr::eq(lock, before) {
            before = lock;
            // SAFETY: the lock of a channel that its case borrows.
            f(unsafe { &*lock });
        }
    }
}

impl<C: Cases, O: Order> Committed for Engine<C, O> {
    type Output = usize;

    fn may_look_ahead(&mut self) -> bool {
        (0..self.cases.count()).all(|index| self.cases.get(index).may_look_ahead())
    }

    fn look_ahead(&mut self) -> Option<usize> {
        let index = self.look(&mut Context::from_waker(Waker::noop()), Patience::Waits)?;
        Some(self.done(index))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        Engine::poll(self, cx)
    }

    fn withdraw(&mut self) -> Option<usize> {
        self.give_up()
    }
}

impl<C: Cases, O: Order> Drop for Engine<C, O> {
    fn drop(&mut self) {
        // A future that is dropped: what a peer took of it is gone, nothing else has happened. What a peer refused is left, and has
        // no other owner than its case: the result that it would be is not taken.
        if self.happened.is_none()
            && let Some(index) = self.give_up()
        {
            self.cases.get(index).forgo();
        }
    }
}
