//! The drivers of an executor that have nothing to run, and the way one of them is woken.
//!
//! # States of a driver
//! - *awake*: not in the list. It looks at the queue before it does anything else.
//! - *waiting*: in the list with its waker.
//! - *notified*: its waker has been taken out to be called. At most one at a time: whoever is notified and finds something
//!   passes the notification on if there is more, so a burst of pushes costs one wake-up at first and spreads from there.
//!
//! # Protocol
//! ```text
//! pusher                                a driver that falls asleep, or has been notified
//! 1. push to the queue                  1. under the lock: change the list; wanted = somebody waits, nobody is notified
//! 2. fence; read wanted: if set,        2. fence; look at the queue again
//!    lock and notify one
//! ```
//! Store first, load second, a sequentially consistent fence between, on both sides: either the pusher sees `wanted`, or the
//! driver sees the push. (Acquire and release would let both miss.) A pusher that sees `wanted` unset is served by whoever is
//! awake or notified; that one looks at the queue after the change that it makes to the list.
//!
//! # Invariants
//! - `no-user-code-locked`: wakers are cloned before the lock, called and dropped after it.
//! - `passed-on`: a driver that goes away, or finds more than it takes, notifies another one if the queue is not empty.

#![forbid(unsafe_code)]

use crate::primitive::atomic::Ordering::{Relaxed, SeqCst};
use crate::primitive::atomic::{AtomicBool, fence};
use crate::primitive::{Mutex, lock};
use std::fmt;
use std::task::Waker;

pub(super) struct Sleepers {
    list: Mutex<List>,
    /// Somebody waits and nobody is notified. Written under the lock.
    wanted: AtomicBool,
}

struct List {
    waiting: Vec<(u64, Waker)>,
    notified: usize,
    next_ticket: u64,
}

/// A driver's place in the list, if it is in it.
#[derive(Debug, Default)]
pub(super) struct Place(Option<u64>);

/// What came of falling asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Asleep {
    /// It has entered the list just now: look at the queue once more.
    Entered,
    /// It was in the list and has not been notified: nothing has come.
    Still,
}

impl Sleepers {
    pub(super) fn new() -> Self {
        let list = List { waiting: Vec::new(), notified: 0, next_ticket: 0 };
        Self { list: Mutex::new(list), wanted: AtomicBool::new(false) }
    }

    /// The driver found nothing: its waker is left to be called.
    pub(super) fn sleep(&self, place: &mut Place, waker: &Waker) -> Asleep {
        let waker = waker.clone();
        // Bound to a name: a waker that it replaces is dropped after the lock.
        let (asleep, _replaced) = {
            let mut list = lock(&self.list);
            let result = list.enter(place, waker);
            self.wanted.store(list.is_wanted(), Relaxed);
            result
        };
        // Pairs with the fence of `notify`: see the protocol.
        fence(SeqCst);
        asleep
    }

    /// The driver has found something, or goes away. True: it was in the list, and owes the others a look at the queue.
    #[must_use]
    pub(super) fn wake(&self, place: &mut Place) -> bool {
        let Some(ticket) = place.0.take() else { return false };
        // Bound to a name: dropped after the lock.
        let _waker = {
            let mut list = lock(&self.list);
            let waker = list.leave(ticket);
            self.wanted.store(list.is_wanted(), Relaxed);
            waker
        };
        // Pairs with the fence of `notify`: the look at the queue that follows sees what was left to us.
        fence(SeqCst);
        true
    }

    /// After a push: wakes one driver, unless one has been notified already.
    pub(super) fn notify(&self) {
        // Pairs with the fences of `sleep` and `wake`.
        fence(SeqCst);
        if self.wanted.load(Relaxed) {
            self.notify_one();
        }
    }

    #[cold]
    fn notify_one(&self) {
        let waker = {
            let mut list = lock(&self.list);
            let waker = list.notify();
            self.wanted.store(list.is_wanted(), Relaxed);
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nobody is in the list, whatever became of those who were: a driver that was leaked left its place behind.
    pub(super) fn reset(&self) {
        // Bound to a name: dropped after the lock.
        let _wakers = {
            let mut list = lock(&self.list);
            list.notified = 0;
            self.wanted.store(false, Relaxed);
            std::mem::take(&mut list.waiting)
        };
    }
}

impl List {
    fn is_wanted(&self) -> bool {
        self.notified == 0 && !self.waiting.is_empty()
    }

    fn enter(&mut self, place: &mut Place, waker: Waker) -> (Asleep, Option<Waker>) {
        match place.0 {
            None => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                place.0 = Some(ticket);
                self.waiting.push((ticket, waker));
            }
            Some(ticket) => {
                if let Some((_, present)) = self.waiting.iter_mut().find(|(other, _)| *other == ticket) {
                    return (Asleep::Still, Some(std::mem::replace(present, waker)));
                }
                self.notified -= 1;
                self.waiting.push((ticket, waker));
            }
        }
        (Asleep::Entered, None)
    }

    fn leave(&mut self, ticket: u64) -> Option<Waker> {
        match self.waiting.iter().position(|(other, _)| *other == ticket) {
            Some(index) => Some(self.waiting.remove(index).1),
            None => {
                self.notified -= 1;
                None
            }
        }
    }

    /// The one that came last: its thread's caches are the warmest.
    fn notify(&mut self) -> Option<Waker> {
        if self.notified > 0 {
            return None;
        }
        let (_, waker) = self.waiting.pop()?;
        self.notified += 1;
        Some(waker)
    }
}

impl fmt::Debug for Sleepers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.list.try_lock().map(|list| list.waiting.len() + list.notified);
        match list {
            Ok(count) => write!(f, "{count}"),
            Err(_) => f.write_str("<locked>"),
        }
    }
}
