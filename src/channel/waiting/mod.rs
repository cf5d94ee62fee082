//! The waits of a channel: each written once, for a frame (committed) and for a future (revocable).
//!
//! # Invariants
//! - `place-outlives-waiter`: the place that a waiter points to is not moved or freed before the waiter has been withdrawn. In a frame
//!   it is declared first; in a future (`Sending`) it is pinned with the waiter, whose withdrawal begins the drop.

mod offering;
mod receiving;

pub(super) use offering::{CommittedOffer, Offered, Offering, Sending};
pub(super) use receiving::{CommittedReceive, Receiving};

use crate::channel::core::{Channel, Put};
use crate::channel::errors::RecvTimeoutError;
use crate::channel::receiver::Receiver;
use crate::channel::sender::Sender;
use crate::channel::slot::{Held, Place};
use crate::wait::committed::{self, DeadlinePassed};
use crate::wait::queue::{Waiter, WaiterState};
use std::mem::ManuallyDrop;
use std::pin::pin;
use std::task::Context;
use std::time::Instant;

/// What a wait knows its channel by: a reference, or a handle that it owns.
pub(super) trait Handle<T> {
    fn channel(&self) -> &Channel<T>;
}

impl<T> Handle<T> for &Channel<T> {
    #[inline]
    fn channel(&self) -> &Channel<T> {
        self
    }
}

impl<T> Handle<T> for Receiver<T> {
    #[inline]
    fn channel(&self) -> &Channel<T> {
        &self.channel
    }
}

impl<T> Handle<T> for Sender<T> {
    #[inline]
    fn channel(&self) -> &Channel<T> {
        &self.channel
    }
}

/// The waker of an enrolled revocable waiter is made that of the present poll. False: the waiter is not enrolled any more.
fn refresh_waker<T, S>(channel: &Channel<T>, waiter: &Waiter<S>, cx: &Context<'_>) -> bool {
    let known = channel.with(|_| (waiter.state() == WaiterState::In).then(|| waiter.will_wake(cx.waker())));
    match known {
        None => false,
        Some(true) => true,
        Some(false) => {
            let waker = cx.waker().clone();
            let (enrolled, _replaced) = channel.with(|_| match waiter.state() {
                WaiterState::In => (true, waiter.set_waker(waker)),
                _ => (false, Some(waker)),
            });
            enrolled
        }
    }
}

/// Withdraws the waiter of an owner that is being dropped, and drops it, also when a waker that is called panics.
///
/// # Safety
/// `waiter` finds the owner's, which nobody uses afterwards.
#[inline(never)]
unsafe fn drop_used<O, S>(
    owner: &mut O,
    waiter: fn(&mut O) -> &mut ManuallyDrop<Waiter<S>>,
    withdraw: impl FnOnce(&O),
) {
    struct DropWaiter<'a, O, S> {
        owner: &'a mut O,
        waiter: fn(&mut O) -> &mut ManuallyDrop<Waiter<S>>,
    }

    impl<O, S> Drop for DropWaiter<'_, O, S> {
        fn drop(&mut self) {
            // SAFETY: the promise of `drop_used`.
            unsafe { ManuallyDrop::drop((self.waiter)(self.owner)) };
        }
    }

    withdraw(DropWaiter { owner, waiter }.owner);
}

/// Why a frame's message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    Timeout,
    Closed,
}

impl<T> Channel<T> {
    /// Sends the message that is held; waits. It is left there when it was not sent.
    #[inline]
    #[track_caller]
    pub(super) fn send(&self, message: &mut Held<'_, T>, deadline: Option<Instant>) -> Result<(), Unsent> {
        if !self.sends.is_waiting_expected() {
            match self.put(message.slot()) {
                Put::Done => return Ok(()),
                Put::Closed => return Err(Unsent::Closed),
                Put::Full => {}
            }
        }
        self.send_waiting(Some(message.place()), deadline)
    }

    /// Offers the message of a frame's place, or asks for room.
    #[inline(never)]
    #[track_caller]
    pub(super) fn send_waiting(
        &self,
        message: Option<&Place<T>>,
        deadline: Option<Instant>,
    ) -> Result<(), Unsent> {
        let offering = pin!(Offering::new(self, true));
        // SAFETY: the place is borrowed for longer than this frame lives.
        let mut operation = unsafe { CommittedOffer::new(offering.into_ref(), message) };
        match committed::complete(&mut operation, deadline) {
            Ok(Offered::Accepted) => Ok(()),
            Ok(Offered::Refused) => Err(Unsent::Closed),
            Err(DeadlinePassed) => Err(Unsent::Timeout),
        }
    }

    /// Receives into what is held; waits.
    #[inline]
    #[track_caller]
    pub(super) fn receive(
        &self,
        into: &mut Held<'_, T>,
        deadline: Option<Instant>,
    ) -> Result<(), RecvTimeoutError> {
        if !self.receives.is_waiting_expected()
            && let Some(result) = self.look(into.slot())
        {
            return result.map_err(RecvTimeoutError::from);
        }
        self.receive_waiting(into.place(), deadline)
    }

    #[inline(never)]
    #[track_caller]
    fn receive_waiting(&self, into: &Place<T>, deadline: Option<Instant>) -> Result<(), RecvTimeoutError> {
        // SAFETY: the place is borrowed for longer than this frame lives.
        let receiving = pin!(unsafe { Receiving::committed(self, into) });
        // SAFETY: it is that place.
        let mut operation = unsafe { CommittedReceive::new(receiving.into_ref(), into) };
        match committed::complete(&mut operation, deadline) {
            Ok(result) => result.map_err(RecvTimeoutError::from),
            Err(DeadlinePassed) => Err(RecvTimeoutError::Timeout),
        }
    }
}
