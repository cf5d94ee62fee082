//! An offer that waits: a send, or the reservation of a place.

use super::{Handle, drop_used, refresh_waker};
use crate::channel::core::{Channel, Offer, Put, State};
use crate::channel::slot::Place;
use crate::wait::committed::Committed;
use crate::wait::queue::{Waiter, WaiterState, WakeList};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) enum Offered {
    /// The message was taken, or a place is reserved.
    Accepted,
    /// The channel is closed. The message is where it was.
    Refused,
}

/// One offer of a message, or one reservation of a place; and when that has ended, the next. Pinned while enrolled; dropping it withdraws
/// it.
pub(in crate::channel) struct Offering<H: Handle<T>, T> {
    handle: H,
    /// Dropped by hand, as a receive's.
    waiter: ManuallyDrop<Waiter<Offer<T>>>,
}

impl<H: Handle<T>, T> Offering<H, T> {
    #[inline]
    pub(in crate::channel) fn new(handle: H, committed: bool) -> Self {
        Self { handle, waiter: ManuallyDrop::new(Waiter::new(Offer::Room, committed)) }
    }

    pub(in crate::channel) fn handle(&self) -> &H {
        &self.handle
    }

    /// Asks for room.
    pub(in crate::channel) fn poll_room(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<Offered> {
        // Mostly the first poll is the only one.
        if self.waiter.state() == WaiterState::Out
            && let Some(offered) = offered(self.handle.channel().with(State::reserve))
        {
            return Poll::Ready(offered);
        }
        // SAFETY: there is no place.
        unsafe { self.poll(cx, None) }
    }

    /// Ready when the offer has ended. With a place, the message there is offered, else room is asked for. Who begins has looked
    /// already, or expects to wait.
    ///
    /// # Safety
    /// `place-outlives-waiter`, with the same place until the offer has ended; it is full when that begins.
    #[inline(never)]
    pub(in crate::channel) unsafe fn poll(
        self: Pin<&Self>,
        cx: &mut Context<'_>,
        message: Option<&Place<T>>,
    ) -> Poll<Offered> {
        let this = self.get_ref();
        let channel = this.handle.channel();
        match this.waiter.state() {
            WaiterState::Done => return Poll::Ready(this.outcome()),
            WaiterState::In if this.waiter.is_committed() => return Poll::Pending,
            WaiterState::In if refresh_waker(channel, &this.waiter, cx) => return Poll::Pending,
            WaiterState::In => return Poll::Ready(this.outcome()),
            WaiterState::Out | WaiterState::Notified => {}
        }
        this.waiter.prepare_waker(cx.waker());
        // SAFETY: the waiter is in no queue: the offer is its owner's.
        unsafe {
            this.waiter.with_slot(|offer| {
                *offer = message.map_or(Offer::Room, |place| Offer::Message(NonNull::from(place)));
            });
        }
        channel.change(|state, wakes| {
            // SAFETY: the waiter is in no queue, so the place is the caller's.
            let offered = unsafe { attempt(state, message, wakes) };
            channel.sends.found(offered.is_none());
            if let Some(offered) = offered {
                return Poll::Ready(offered);
            }
            // SAFETY: the waiter is in no queue, and pinned; `Drop` withdraws it.
            unsafe { state.enrol_sender(&this.waiter, wakes) };
            Poll::Pending
        })
    }

    /// How the offer of the waiter, which is done, ended.
    fn outcome(&self) -> Offered {
        debug_assert_eq!(self.waiter.state(), WaiterState::Done, "only close and a taker end an offer");
        self.waiter.renew();
        // SAFETY: the waiter was done: the offer, and the place, are its owner's.
        let refused = unsafe {
            self.waiter.with_slot(|offer| match offer {
                Offer::Message(place) => place.as_ref().with(|slot| slot.is_full()),
                Offer::Room => true,
                Offer::Reserved => false,
            })
        };
        if refused { Offered::Refused } else { Offered::Accepted }
    }

    /// Takes the waiter out. `Some`: a peer was faster.
    pub(in crate::channel) fn take_back(&self) -> Option<Offered> {
        match self.waiter.state() {
            WaiterState::Out => return None,
            WaiterState::Done => return Some(self.outcome()),
            WaiterState::In | WaiterState::Notified => {}
        }
        self.handle.channel().with(|state| state.withdraw_sender(&self.waiter));
        (self.waiter.state() == WaiterState::Done).then(|| self.outcome())
    }

    /// Takes the waiter out, and gives back the place that was reserved for somebody who is going.
    fn withdraw(&self) {
        if self.take_back() != Some(Offered::Accepted) {
            return;
        }
        // SAFETY: the waiter is out of every queue: the offer is its owner's.
        if unsafe { self.waiter.with_slot(|offer| matches!(offer, Offer::Reserved)) } {
            self.handle.channel().change(|state, wakes| state.release_place(wakes));
        }
    }
}

/// Puts the message of a place, or reserves a place, under the lock.
///
/// # Safety
/// The place is the caller's.
#[inline]
unsafe fn attempt<T>(
    state: &mut State<T>,
    message: Option<&Place<T>>,
    wakes: &mut WakeList,
) -> Option<Offered> {
    let put = match message {
        // SAFETY: the caller's promise.
        Some(place) => unsafe { place.with(|slot| state.put(slot, wakes)) },
        None => state.reserve(),
    };
    offered(put)
}

/// How an offer ended, if it has.
fn offered(put: Put) -> Option<Offered> {
    match put {
        Put::Done => Some(Offered::Accepted),
        Put::Closed => Some(Offered::Refused),
        Put::Full => None,
    }
}

impl<H: Handle<T>, T> Drop for Offering<H, T> {
    #[inline]
    fn drop(&mut self) {
        if !self.waiter.is_new() {
            // SAFETY: it is this one's, which is being dropped.
            unsafe { drop_used(self, |this| &mut this.waiter, Self::withdraw) };
        }
    }
}

/// A committed send or reservation, in a frame.
pub(in crate::channel) struct CommittedOffer<'a, T> {
    offering: Pin<&'a Offering<&'a Channel<T>, T>>,
    message: Option<&'a Place<T>>,
}

impl<'a, T> CommittedOffer<'a, T> {
    /// # Safety
    /// `place-outlives-waiter`.
    pub(in crate::channel) unsafe fn new(
        offering: Pin<&'a Offering<&'a Channel<T>, T>>,
        message: Option<&'a Place<T>>,
    ) -> Self {
        Self { offering, message }
    }
}

impl<T> Committed for CommittedOffer<'_, T> {
    type Output = Offered;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the promise of `new`.
        unsafe { self.offering.poll(cx, self.message) }
    }

    fn withdraw(&mut self) -> Option<Self::Output> {
        self.offering.get_ref().take_back()
    }
}

/// Bytes of a message that an optimised build moves in registers rather than in place. Measured with a `u64`; the bound is guessed.
const SMALL: usize = 128;

/// An offer together with its message: what futures and sinks are made of. Dropping it withdraws the offer, then drops the message.
pub(in crate::channel) struct Sending<H: Handle<T>, T> {
    offering: Offering<H, T>,
    message: Message<T>,
}

/// A place that drops its message.
#[repr(transparent)]
struct Message<T>(Place<T>);

impl<T> Drop for Message<T> {
    #[inline]
    fn drop(&mut self) {
        self.0.get_mut().clear();
    }
}

impl<H: Handle<T>, T> Sending<H, T> {
    pub(in crate::channel) fn new(handle: H) -> Self {
        Self { offering: Offering::new(handle, false), message: Message(Place::empty()) }
    }

    #[inline]
    pub(in crate::channel) fn with_message(handle: H, message: T) -> Self {
        if size_of::<T>() <= SMALL {
            return Self { offering: Offering::new(handle, false), message: Message(Place::full(message)) };
        }
        let mut sending = MaybeUninit::<Self>::uninit();
        let this = sending.as_mut_ptr();
        // SAFETY: both fields are written, in place: the message may be large. Reading it out is its one move.
        unsafe {
            (&raw mut (*this).offering).write(Offering::new(handle, false));
            Place::empty_at(&raw mut (*this).message.0).get_mut().fill(message);
            this.read()
        }
    }

    pub(in crate::channel) fn handle(&self) -> &H {
        self.offering.handle()
    }

    /// Sets the message of the next offer; the one before has ended.
    pub(in crate::channel) fn set_message(&self, message: T) {
        debug_assert_eq!(
            self.offering.waiter.state(),
            WaiterState::Out,
            "an offer is renewed when it has ended"
        );
        // SAFETY: the waiter is out: the place is its owner's.
        unsafe { self.message.0.with(|slot| slot.fill(message)) };
    }

    /// The message, when it has not been sent and no peer can come for it.
    pub(in crate::channel) fn take_message(&self) -> Option<T> {
        if self.offering.waiter.state() != WaiterState::Out {
            return None;
        }
        // SAFETY: the waiter is out: the place is its owner's.
        unsafe { self.message.0.with(|slot| slot.is_full().then(|| slot.take())) }
    }

    /// Whether nothing is offered and there is no message to offer.
    #[inline]
    pub(in crate::channel) fn is_over(&self) -> bool {
        self.offering.waiter.state() == WaiterState::Out
            // SAFETY: the waiter is out: the place is its owner's.
            && !unsafe { self.message.0.with(|slot| slot.is_full()) }
    }

    /// Offers the message; one that was refused is there to be taken back.
    ///
    /// # Panics
    /// When there is none.
    #[inline]
    pub(in crate::channel) fn poll_message(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<Offered> {
        let message = &self.get_ref().message.0;
        // Mostly the first poll is the only one.
        if self.offering.waiter.state() == WaiterState::Out {
            // SAFETY: the waiter is in no queue, so the place is its owner's.
            let is_there = unsafe { message.with(|slot| slot.is_full()) };
            assert!(is_there, "a `SendFuture` was polled after it was ready, or cancelled");
            let channel = self.handle().channel();
            if !channel.sends.is_waiting_expected() {
                // SAFETY: as above.
                match unsafe { message.with(|slot| channel.put(slot)) } {
                    Put::Done => return Poll::Ready(Offered::Accepted),
                    Put::Closed => return Poll::Ready(Offered::Refused),
                    Put::Full => {}
                }
            }
        }
        // SAFETY: the place is pinned with the waiter, whose withdrawal begins the drop.
        unsafe { self.offering().poll(cx, Some(message)) }
    }

    /// Asks for room.
    pub(in crate::channel) fn poll_room(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<Offered> {
        self.offering().poll_room(cx)
    }

    #[inline]
    fn offering(self: Pin<&Self>) -> Pin<&Offering<H, T>> {
        // SAFETY: a structural projection.
        unsafe { self.map_unchecked(|this| &this.offering) }
    }

    /// Withdraws, and gives the message back if it was not taken.
    pub(in crate::channel) fn reclaim(&self) -> Option<T> {
        self.offering.take_back();
        self.take_message()
    }
}
