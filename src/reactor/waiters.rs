//! The wakers of those who wait for one direction of a source: usually one, stored in place; more go to a
//! vector.
//!
//! # Invariants
//! - `no-user-code`: nothing here clones, wakes or drops a waker. What falls out is returned, for the caller
//!   to drop after unlocking.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::task::Waker;

/// Names a waiter that may leave before it is woken. [`Ticket::NONE`] is a waiter without a name: it is told
/// apart by its waker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket(u32);

impl Ticket {
    pub(super) const NONE: Ticket = Ticket(0);

    /// The ticket after this one. Wraps past NONE; the 2^32 - 1 issued in between are gone long since.
    pub(super) fn next(self) -> Ticket {
        Ticket(self.0.checked_add(1).unwrap_or(1))
    }
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    waker: Waker,
}

#[derive(Debug, Default)]
pub(super) struct Waiters {
    first: Option<Waiter>,
    /// Boxed, so that the rare case costs the common one a word only.
    #[expect(clippy::box_collection, reason = "a third of the size of a bare vector")]
    more: Option<Box<Vec<Waiter>>>,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_none()
    }

    /// Adds a waiter, or replaces the waker of the one with the same ticket. A nameless waiter whose waker is
    /// there already is not added again. Returns the waker that is not needed (any more).
    pub(super) fn enrol(&mut self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        let is_same = |waiter: &&mut Waiter| {
            waiter.ticket == ticket && (ticket != Ticket::NONE || waiter.waker.will_wake(&waker))
        };
        if let Some(present) = self.iter_mut().find(is_same) {
            return Some(std::mem::replace(&mut present.waker, waker));
        }
        self.push(Waiter { ticket, waker });
        None
    }

    fn push(&mut self, waiter: Waiter) {
        if self.first.is_none() {
            self.first = Some(waiter);
        } else {
            self.more.get_or_insert_default().push(waiter);
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Waiter> {
        self.first.iter_mut().chain(self.more.iter_mut().flat_map(|more| more.iter_mut()))
    }

    /// Removes the waiter with this ticket, if it was not woken already.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        if let Some(waiter) = self.first.take_if(|waiter| waiter.ticket == ticket) {
            return Some(waiter.waker);
        }
        let more = self.more.as_mut()?;
        let position = more.iter().position(|waiter| waiter.ticket == ticket)?;
        let waiter = more.swap_remove(position);
        if more.is_empty() {
            self.more = None;
        }
        Some(waiter.waker)
    }

    /// Moves all wakers out, for the caller to wake.
    pub(super) fn drain_into(&mut self, wakes: &mut VecDeque<Waker>) {
        let more = self.more.take().into_iter().flat_map(|more| *more);
        wakes.extend(self.first.take().into_iter().chain(more).map(|waiter| waiter.waker));
    }
}
