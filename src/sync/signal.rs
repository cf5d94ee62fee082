//! The rule of notifications: wakes for those who wait now, and at most one permit kept for who comes next.

#![forbid(unsafe_code)]

use super::monitor::{Monitor, Rule};

/// Notifications that nobody has taken yet.
#[derive(Debug)]
pub(super) struct Signal {
    /// Single notifications: for waiters that are in the queue, and if `keeps` up to one more.
    pending: usize,
    /// How often all were notified: who came before that is released.
    rounds: u64,
    /// A single notification that finds nobody is kept for the next who comes.
    keeps: bool,
}

/// When a waiter came, and after the grant what released it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    /// None: it counts from its arrival.
    round: Option<u64>,
    /// By a single notification, which must not be lost.
    singled_out: bool,
}

impl Listener {
    pub(super) const NEW: Self = Self { round: None, singled_out: false };
}

impl Signal {
    pub(super) const fn new(keeps: bool) -> Self {
        Self { pending: 0, rounds: 0, keeps }
    }

    /// A listener that counts from now, whenever it arrives.
    pub(super) fn listener(&self) -> Listener {
        Listener { round: Some(self.rounds), singled_out: false }
    }

    /// Whether all were notified since it came.
    fn is_past(&self, listener: &Listener) -> bool {
        listener.round != Some(self.rounds)
    }
}

impl Rule for Signal {
    type Request = Listener;
    type Shared = ();

    fn arrive(&mut self, _: &(), listener: &mut Listener, alone: bool) -> bool {
        listener.round.get_or_insert(self.rounds);
        if alone {
            // What those who have gone away since left behind: one may be kept, or none.
            self.pending = self.pending.min(usize::from(self.keeps));
        }
        let granted = self.is_past(listener) || (alone && self.pending > 0);
        if granted {
            self.grant(&(), listener);
        }
        granted
    }

    fn can_grant(&self, _: &(), listener: &Listener) -> bool {
        self.pending > 0 || self.is_past(listener)
    }

    fn grant(&mut self, _: &(), listener: &mut Listener) {
        // Those who were there when all were notified leave single notifications to others.
        if !self.is_past(listener) {
            self.pending -= 1;
            listener.singled_out = true;
        }
    }

    fn leave(&mut self, listener: &Listener) -> bool {
        self.is_past(listener)
    }

    fn give_back(&mut self, _: &(), listener: &Listener) {
        if listener.singled_out {
            self.pending += 1;
        }
    }
}

impl Monitor<Signal> {
    /// Releases the first in line.
    pub(super) fn notify_one(&self) {
        self.change(|signal, waiting| {
            if waiting {
                signal.pending += 1;
            } else if signal.keeps {
                signal.pending = 1;
            }
        });
    }

    /// Releases all who wait now.
    pub(super) fn notify_all(&self) {
        self.change(|signal, _| signal.rounds += 1);
    }

    /// A party that was released went away before it made use of it.
    pub(super) fn pass_on(&self, listener: Listener) {
        if listener.singled_out {
            self.notify_one();
        }
    }
}
