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

use crate::primitive::{Mutex, MutexGuard, lock_guard};
use crate::random;
use crate::select::cases::{Case, CaseKind};
use crate::wait::committed::Committed;
use crate::wait::queue::{Claim, WakeList};
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};

/// The cases of one select, by index.
pub trait Cases {
    /// How many there are.
    fn count(&self) -> usize;

    /// One of them.
    fn get(&mut self, index: usize) -> Pin<&mut dyn Case>;
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
}

/// A select under way. `N` is room for its cases; fewer may be there.
#[derive(Debug)]
pub(crate) struct Engine<C: Cases, const N: usize> {
    cases: C,
    claim: Claim,
    /// The order of trying.
    order: [u16; N],
    enrolled: bool,
    /// A case's index, once it has happened.
    happened: Option<usize>,
}

impl<C: Cases, const N: usize> Engine<C, N> {
    pub(crate) fn new(cases: C, biased: bool) -> Self {
        let mut order = [0; N];
        for (index, place) in order.iter_mut().enumerate() {
            *place = index as u16;
        }
        if !biased {
            shuffle(&mut order[..cases.count()]);
        }
        Self { cases, claim: Claim::new(), order, enrolled: false, happened: None }
    }

    /// Tries every case once, without waiting.
    pub(crate) fn look(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        for place in 0..self.cases.count() {
            let index = usize::from(self.order[place]);
            if self.try_one(index, cx) {
                return Some(index);
            }
        }
        None
    }

    fn try_one(&mut self, index: usize, cx: &mut Context<'_>) -> bool {
        let mut case = self.cases.get(index);
        match case.kind() {
            CaseKind::Disabled => false,
            CaseKind::Timer | CaseKind::Foreign => case.poll(cx),
            CaseKind::Channel => {
                let mut wakes = WakeList::new();
                let _guard = lock_case(case.mutex());
                case.as_mut().attempt(&mut wakes)
                // The guard goes before the wakes: declared later.
            }
        }
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
            if !self.must_look_again() {
                return Poll::Pending;
            }
            if let Err(index) = self.claim.withdraw() {
                return Poll::Ready(self.finish(index));
            }
        }
        if let Some(index) = self.look(cx) {
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

    /// After a wake that no peer's claim explains: whether a case was notified, or is to be polled.
    fn must_look_again(&mut self) -> bool {
        (0..self.cases.count()).any(|index| {
            let case = self.cases.get(index);
            match case.kind() {
                CaseKind::Channel => !case.is_waiting(),
                CaseKind::Timer | CaseKind::Foreign => true,
                CaseKind::Disabled => false,
            }
        })
    }

    /// With all locks held: tries the channels once more, then enrols on all that it is not enrolled on, and opens the claim.
    fn enrol(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        let mut wakers: [_; N] = std::array::from_fn(|_| Some(cx.waker().clone()));
        let mut wakes = WakeList::new();
        let guards = self.lock_all();
        for place in 0..self.cases.count() {
            let index = usize::from(self.order[place]);
            let mut case = self.cases.get(index);
            if case.kind() == CaseKind::Channel && case.as_mut().attempt(&mut wakes) {
                let leavings = self.withdraw_locked(&mut wakes);
                drop(guards);
                drop(leavings);
                return Some(index);
            }
        }
        // In the order of trying as well: of two cases on one channel the first to be enrolled is the first to be served.
        for place in 0..self.cases.count() {
            let index = usize::from(self.order[place]);
            let case = self.cases.get(index);
            if case.kind() == CaseKind::Channel {
                wakers[index] = case.enrol(&self.claim, index, wakers[index].take(), &mut wakes);
            }
        }
        self.claim.reopen();
        self.enrolled = true;
        drop(guards);
        // Here go the wakers that were replaced, and those that were not needed.
        drop(wakers);
        None
    }

    /// A peer has completed a case.
    fn finish(&mut self, index: usize) -> usize {
        {
            // The peer's last touch of the waiter is under its lock, which is taken here.
            let mut wakes = WakeList::new();
            let guards = self.lock_all();
            self.cases.get(index).settle();
            let leavings = self.withdraw_locked(&mut wakes);
            drop(guards);
            drop(leavings);
        }
        self.done(index)
    }

    fn withdraw_all(&mut self) {
        if !self.enrolled {
            return;
        }
        let mut wakes = WakeList::new();
        let guards = self.lock_all();
        let leavings = self.withdraw_locked(&mut wakes);
        drop(guards);
        drop(leavings);
        self.enrolled = false;
    }

    /// Takes the waiters out; their wakers are to be dropped after the locks.
    fn withdraw_locked(&mut self, wakes: &mut WakeList) -> [Option<std::task::Waker>; N] {
        let mut leavings = [const { None }; N];
        for (index, leaving) in leavings.iter_mut().enumerate().take(self.cases.count()) {
            let case = self.cases.get(index);
            if case.kind() == CaseKind::Channel {
                *leaving = case.withdraw(wakes);
            }
        }
        leavings
    }

    /// Locks the channels of all cases, each once, in the order of their addresses.
    fn lock_all<'a>(&mut self) -> [Option<MutexGuard<'a, ()>>; N] {
        let mut addresses: [*const Mutex<()>; N] = [ptr::null(); N];
        for (index, address) in addresses.iter_mut().enumerate().take(self.cases.count()) {
            *address = self.cases.get(index).mutex();
        }
        addresses.sort_unstable_by_key(|address| address.addr());
        let mut before: *const Mutex<()> = ptr::null();
        addresses.map(|address| {
            let again = ptr::addr_eq(address, before);
            before = address;
            if again { None } else { lock_case(address) }
        })
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

fn lock_case<'a>(mutex: *const Mutex<()>) -> Option<MutexGuard<'a, ()>> {
    // SAFETY: null, or the mutex of a channel that its case borrows; the guard does not leave the engine's methods, during which
    // the cases are alive.
    unsafe { mutex.as_ref() }.map(lock_guard)
}

fn shuffle(order: &mut [u16]) {
    for last in (1..order.len()).rev() {
        order.swap(last, random::below(last as u32 + 1) as usize);
    }
}

impl<C: Cases, const N: usize> Committed for Engine<C, N> {
    type Output = usize;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        Engine::poll(self, cx)
    }

    fn withdraw(&mut self) -> Option<usize> {
        self.give_up()
    }
}

impl<C: Cases, const N: usize> Drop for Engine<C, N> {
    fn drop(&mut self) {
        // A future that is dropped: what a peer took of it is gone, nothing else has happened.
        let _ = self.give_up();
    }
}
