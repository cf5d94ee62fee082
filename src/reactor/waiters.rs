//! The wakers of those who wait for one direction of a source: usually one, stored in place; more go to a
//! vector.
//!
//! # Invariants
//! - `no-user-code`: nothing here clones, wakes or drops a waker. What falls out is returned, for the caller
//!   to drop after unlocking.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::task::Waker;

use crate::primitive::atomic::Ordering::Relaxed;
use crate::primitive::atomic::{AtomicBool, AtomicU32};
use crate::primitive::prefetch;

/// Names a waiter that may leave before it is woken. [`Ticket::NONE`] is a waiter without a name: it is told
/// apart by its waker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket(u32);

impl Ticket {
    pub(super) const NONE: Ticket = Ticket(0);

    /// The ticket after this one. Wraps past NONE; the 2^32 - 1 issued in between are gone long since.
    fn next(self) -> Ticket {
        Ticket(self.0.checked_add(1).unwrap_or(1))
    }
}

/// The last ticket of a source. Touched under its lock; beside that for the sake of the layout.
#[derive(Debug)]
pub(super) struct Tickets(AtomicU32);

impl Tickets {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Under the lock.
    #[inline]
    pub(super) fn issue(&self) -> Ticket {
        let ticket = Ticket(self.0.load(Relaxed)).next();
        self.0.store(ticket.0, Relaxed);
        ticket
    }
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    ticket: Ticket,
    waker: Waker,
}

/// Those beyond the first. Boxed, so that the rare case costs the common one a word only, a third of a bare vector.
pub(super) type More = Option<Box<Vec<Waiter>>>;

/// Those who wait for one direction. Their places are apart: what every event looks at shares a cache line with
/// the rest of that, see `slot.rs`.
#[derive(Debug)]
pub(super) struct Waiters<'a> {
    pub(super) first: &'a mut Option<Waiter>,
    pub(super) more: &'a mut More,
}

impl Waiters<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_none()
    }

    /// Adds a waiter, or replaces the waker of the one with the same ticket. A nameless waiter whose waker is
    /// there already is not added again. Returns the waker that is not needed (any more).
    #[inline]
    pub(super) fn enrol(&mut self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        if self.is_empty() {
            // Written, not assigned: there is nothing to drop.
            let none = self.first.replace(Waiter { ticket, waker });
            std::mem::forget(none);
            return None;
        }
        self.enrol_beside(ticket, waker)
    }

    #[cold]
    fn enrol_beside(&mut self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        let is_same = |waiter: &&mut Waiter| {
            waiter.ticket == ticket && (ticket != Ticket::NONE || waiter.waker.will_wake(&waker))
        };
        if let Some(present) = self.iter_mut().find(is_same) {
            return Some(std::mem::replace(&mut present.waker, waker));
        }
        let waiter = Waiter { ticket, waker };
        if self.first.is_none() {
            *self.first = Some(waiter);
        } else {
            self.more.get_or_insert_default().push(waiter);
        }
        None
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
            *self.more = None;
        }
        Some(waiter.waker)
    }

    /// Moves all wakers out, for the caller to wake.
    #[inline]
    pub(super) fn drain_into(&mut self, wakes: &mut VecDeque<Waker>) {
        if let Some(waiter) = self.first.take() {
            // What it points to is touched when it is woken, after the other events.
            let waked: *const u8 = waiter.waker.data().cast();
            prefetch(waked);
            prefetch(waked.wrapping_add(64));
            wakes.push_back(waiter.waker);
        }
        if self.more.is_some() {
            self.drain_more_into(wakes);
        }
    }

    #[cold]
    fn drain_more_into(&mut self, wakes: &mut VecDeque<Waker>) {
        let more = self.more.take().into_iter().flat_map(|more| *more);
        wakes.extend(more.map(|waiter| waiter.waker));
    }
}

/// Whether anybody may wait for a direction, for those who do not hold the lock.
///
/// # Protocol
/// Changed under the lock, with the waiters. One who has enrolled and reads "nobody" without the lock has been woken, or
/// has left: his own "somebody" happened before, so what he reads was written after it, by one who took all waiters
/// out, his own among them. Nobody else enrols under his ticket. So Relaxed does, for the flag publishes nothing: his
/// waker is in the hands of whoever took it.
#[derive(Debug)]
pub(super) struct Awaited(AtomicBool);

impl Awaited {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Under the lock.
    #[inline]
    pub(super) fn set(&self, awaited: bool) {
        self.0.store(awaited, Relaxed);
    }

    /// By one who has enrolled: whether he may still be there.
    #[inline]
    pub(super) fn get(&self) -> bool {
        self.0.load(Relaxed)
    }
}
