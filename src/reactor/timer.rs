//! One timer as seen by its future: where it is registered, and whether it has fired.
//!
//! # Protocol
//! Registered with the reactor of the worker that polls it first, by [`Reactor::arm_timer`]; the wheel wakes
//! the waker, and the entry, still in the slab, says *fired*: no clock is read again. An entry whose reactor
//! was closed says *evicted*, and is registered anew where it is polled next. An entry in another thread's
//! `LocalRuntime` is taken out there, as that thread may never drive it again. Drop removes the entry at
//! once.

#![forbid(unsafe_code)]

use std::task::{Context, Poll};
use std::time::Instant;

use super::wheel::{Standing, TimerKey};
use super::{Mode, Reactor, clock};
use crate::runtime::current;

#[derive(Debug)]
pub(crate) struct TimerEntry {
    deadline: Instant,
    registration: Option<Registration>,
}

#[derive(Debug)]
struct Registration {
    reactor: &'static Reactor,
    key: TimerKey,
}

impl TimerEntry {
    /// A timer for `deadline`. Nothing is registered before the first poll.
    pub(crate) fn new(deadline: Instant) -> TimerEntry {
        TimerEntry { deadline, registration: None }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Sets another deadline, earlier or later, also after the old one has passed. The next poll registers
    /// it.
    pub(crate) fn reset(&mut self, deadline: Instant) {
        self.registration = None;
        self.deadline = deadline;
    }

    /// `Ready` once the deadline has passed, never early, up to 66 us late plus the system's own delay.
    /// `Pending` leaves the waker.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(standing) = self.registration.as_ref().and_then(|registration| registration.poll(cx)) {
            return standing;
        }
        self.registration = None;
        if clock::now() >= self.deadline {
            return Poll::Ready(());
        }
        let mut reactor = current::reactor();
        let mut waker = cx.waker().clone();
        loop {
            match reactor.arm_timer(self.deadline, waker) {
                Ok(key) => {
                    self.registration = Some(Registration { reactor, key });
                    return Poll::Pending;
                }
                // Closed since it was asked for.
                Err(unneeded) => (reactor, waker) = (current::shared_reactor(), unneeded),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    /// An entry in a reactor of the test's own.
    #[cfg(test)]
    pub(super) fn registered_with(
        reactor: &'static Reactor,
        deadline: Instant,
        waker: std::task::Waker,
    ) -> TimerEntry {
        let key = reactor.arm_timer(deadline, waker).expect("not closed");
        TimerEntry { deadline, registration: Some(Registration { reactor, key }) }
    }
}

impl Registration {
    /// `None`: to be registered anew.
    fn poll(&self, cx: &Context<'_>) -> Option<Poll<()>> {
        let waker = cx.waker();
        match self.reactor.timer_standing(self.key, waker)? {
            Standing::Fired => return Some(Poll::Ready(())),
            Standing::Evicted => return None,
            Standing::Armed if self.may_stay() => return Some(Poll::Pending),
            Standing::ArmedForAnother if self.may_stay() => {}
            Standing::Armed | Standing::ArmedForAnother => return None,
        }
        self.reactor.set_timer_waker(self.key, waker.clone());
        // It may have fired, and woken the earlier waker, just before.
        match self.reactor.timer_standing(self.key, waker)? {
            Standing::Fired => Some(Poll::Ready(())),
            Standing::Evicted => None,
            Standing::Armed | Standing::ArmedForAnother => Some(Poll::Pending),
        }
    }

    fn may_stay(&self) -> bool {
        match self.reactor.mode() {
            Mode::Shared => true,
            Mode::Local => std::ptr::eq(self.reactor, current::reactor()),
            Mode::Closed => false,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.reactor.cancel_timer(self.key);
    }
}
