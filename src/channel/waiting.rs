//! The waits of a channel: each written once, for a frame (committed) and for a future (revocable).
//!
//! # Invariants
//! - `place-outlives-waiter`: the place that a waiter points to is not moved or freed before the waiter has been withdrawn. In a frame
//!   it is declared first; in a future ([`Sending`]) it is pinned with the waiter, whose withdrawal begins the drop.

use crate::channel::core::{Channel, Offer, Put, State, Target};
use crate::channel::errors::{RecvError, RecvTimeoutError};
use crate::channel::lock::LockGuard;
use crate::channel::receiver::Receiver;
use crate::channel::sender::Sender;
use crate::channel::slot::{Held, Place, Room};
use crate::wait::committed::{self, Committed, DeadlinePassed};
use crate::wait::queue::{Waiter, WaiterState, WakeList};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::task::{Context, Poll, ready};
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

/// One receive, and when that has ended, the next. Pinned while enrolled; dropping it withdraws it.
pub(super) struct Receiving<H: Handle<T>, T> {
    handle: H,
    /// Dropped by hand: mostly it has never waited, and one look at it is enough.
    waiter: ManuallyDrop<Waiter<Target<T>>>,
}

impl<H: Handle<T>, T> Receiving<H, T> {
    /// For a future: it is told of a message, and takes it when it is polled.
    #[inline]
    pub(super) fn revocable(handle: H) -> Self {
        Self { handle, waiter: ManuallyDrop::new(Waiter::new(Target(None), false)) }
    }

    /// For a frame: peers put the message into its place.
    ///
    /// # Safety
    /// `place-outlives-waiter`.
    pub(super) unsafe fn committed(handle: H, place: &Place<T>) -> Self {
        let waiter = Waiter::new(Target(Some(NonNull::from(place))), true);
        Self { handle, waiter: ManuallyDrop::new(waiter) }
    }

    pub(super) fn handle(&self) -> &H {
        &self.handle
    }

    /// A future's poll.
    #[inline(always)]
    pub(super) fn poll_message(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        debug_assert!(!self.waiter.is_committed(), "a frame polls with its place");
        // Mostly the first poll is the only one, and finds a message in the queue.
        if self.waiter.state() != WaiterState::Out || self.handle.channel().receives.is_waiting_expected() {
            return self.poll_later(cx, None);
        }
        let mut room = MaybeUninit::<T>::uninit();
        // SAFETY: the room is the message's.
        match unsafe { self.handle.channel().take_or_lock(room.as_mut_ptr()) } {
            // SAFETY: it is there.
            Ok(()) => Poll::Ready(Ok(unsafe { room.assume_init() })),
            Err(guard) => self.poll_later(cx, Some(guard)),
        }
    }

    /// A poll that takes more than a look into the queue. Who begins has the lock, or expects to wait.
    #[inline(never)]
    fn poll_later(
        self: Pin<&Self>,
        cx: &mut Context<'_>,
        guard: Option<LockGuard<'_>>,
    ) -> Poll<Result<T, RecvError>> {
        let mut room = Room::uninit();
        let mut held = Held::empty(&mut room);
        let looked = guard.and_then(|guard| self.handle.channel().look_locked(held.slot(), guard));
        let result = match looked {
            Some(result) => result,
            // SAFETY: the waiter has no target; the place is this frame's.
            None => ready!(unsafe { self.poll(cx, held.place()) }),
        };
        Poll::Ready(result.map(|()| held.slot().take()))
    }

    /// Ready when the message is in `into`, or when there will be none.
    ///
    /// # Safety
    /// `into` is the waiter's target, if it has one; else nobody else uses it.
    #[inline(never)]
    unsafe fn poll(self: Pin<&Self>, cx: &mut Context<'_>, into: &Place<T>) -> Poll<Result<(), RecvError>> {
        let this = self.get_ref();
        let channel = this.handle.channel();
        // One look at the state: a peer may complete the waiter between two.
        match this.waiter.state() {
            WaiterState::Done => {
                this.waiter.renew();
                return Poll::Ready(Ok(()));
            }
            // Its waker is that of the frame, which does not change.
            WaiterState::In if this.waiter.is_committed() => return Poll::Pending,
            WaiterState::In if refresh_waker(channel, &this.waiter, cx) => return Poll::Pending,
            // Who begins has looked already, or expects to wait.
            WaiterState::Out => {}
            WaiterState::In | WaiterState::Notified => {
                // SAFETY: the waiter is in no queue, so the place is the caller's.
                let looked =
                    channel.change(|state, wakes| unsafe { into.with(|slot| state.look(slot, wakes)) });
                if let Some(result) = looked {
                    this.waiter.renew();
                    return Poll::Ready(result);
                }
            }
        }
        this.waiter.prepare_waker(cx.waker());
        channel.change(|state, wakes| {
            // SAFETY: the waiter is in no queue, so the place is the caller's.
            let looked = unsafe { into.with(|slot| state.look(slot, wakes)) };
            channel.receives.found(looked.is_none());
            if let Some(result) = looked {
                this.waiter.reset();
                return Poll::Ready(result);
            }
            // SAFETY: the waiter is in no queue, and pinned; `Drop` withdraws it.
            unsafe { state.enrol_receiver(&this.waiter) };
            Poll::Pending
        })
    }

    /// Takes the waiter out. True: a peer was faster, and the message is in the waiter's target.
    fn take_back(&self) -> bool {
        match self.waiter.state() {
            WaiterState::Out => return false,
            WaiterState::Done => {}
            WaiterState::In | WaiterState::Notified => {
                self.handle.channel().change(|state, wakes| state.withdraw_receiver(&self.waiter, wakes));
            }
        }
        let done = self.waiter.state() == WaiterState::Done;
        self.waiter.reset();
        done
    }
}

impl<H: Handle<T>, T> Drop for Receiving<H, T> {
    #[inline]
    fn drop(&mut self) {
        if !self.waiter.is_new() {
            self.drop_used();
        }
    }
}

impl<H: Handle<T>, T> Receiving<H, T> {
    #[inline(never)]
    fn drop_used(&mut self) {
        /// Also when a waker that is called panics.
        struct DropWaiter<'a, H: Handle<T>, T>(&'a mut Receiving<H, T>);

        impl<H: Handle<T>, T> Drop for DropWaiter<'_, H, T> {
            fn drop(&mut self) {
                // SAFETY: its owner is being dropped, and does not use it again.
                unsafe { ManuallyDrop::drop(&mut self.0.waiter) };
            }
        }

        // Revocable waiters are never handed a message, and that of a committed one is in its frame's place.
        DropWaiter(self).0.take_back();
    }
}

/// A committed receive, in a frame.
pub(super) struct CommittedReceive<'a, T> {
    receiving: Pin<&'a Receiving<&'a Channel<T>, T>>,
    place: &'a Place<T>,
}

impl<'a, T> CommittedReceive<'a, T> {
    /// # Safety
    /// `place` is the one that `receiving` was made with.
    pub(super) unsafe fn new(receiving: Pin<&'a Receiving<&'a Channel<T>, T>>, place: &'a Place<T>) -> Self {
        Self { receiving, place }
    }
}

impl<T> Committed for CommittedReceive<'_, T> {
    type Output = Result<(), RecvError>;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the promise of `new`.
        unsafe { self.receiving.poll(cx, self.place) }
    }

    fn withdraw(&mut self) -> Option<Self::Output> {
        self.receiving.get_ref().take_back().then_some(Ok(()))
    }
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// The message was taken, or a place is reserved.
    Accepted,
    /// The channel is closed. The message is where it was.
    Refused,
}

/// One offer of a message, or one reservation of a place; and when that has ended, the next. Pinned while enrolled; dropping it withdraws
/// it.
pub(super) struct Offering<H: Handle<T>, T> {
    handle: H,
    /// Dropped by hand, as a receive's.
    waiter: ManuallyDrop<Waiter<Offer<T>>>,
}

impl<H: Handle<T>, T> Offering<H, T> {
    #[inline]
    pub(super) fn new(handle: H, committed: bool) -> Self {
        Self { handle, waiter: ManuallyDrop::new(Waiter::new(Offer::Room, committed)) }
    }

    pub(super) fn handle(&self) -> &H {
        &self.handle
    }

    /// Asks for room.
    pub(super) fn poll_room(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<Offered> {
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
    pub(super) unsafe fn poll(
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
    pub(super) fn take_back(&self) -> Option<Offered> {
        match self.waiter.state() {
            WaiterState::Out => return None,
            WaiterState::Done => return Some(self.outcome()),
            WaiterState::In | WaiterState::Notified => {}
        }
        self.handle.channel().with(|state| state.withdraw_sender(&self.waiter));
        (self.waiter.state() == WaiterState::Done).then(|| self.outcome())
    }

    #[inline(never)]
    fn drop_used(&mut self) {
        /// Also when a waker that is called panics.
        struct DropWaiter<'a, H: Handle<T>, T>(&'a mut Offering<H, T>);

        impl<H: Handle<T>, T> Drop for DropWaiter<'_, H, T> {
            fn drop(&mut self) {
                // SAFETY: its owner is being dropped, and does not use it again.
                unsafe { ManuallyDrop::drop(&mut self.0.waiter) };
            }
        }

        DropWaiter(self).0.withdraw();
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
            self.drop_used();
        }
    }
}

/// A committed send or reservation, in a frame.
pub(super) struct CommittedOffer<'a, T> {
    offering: Pin<&'a Offering<&'a Channel<T>, T>>,
    message: Option<&'a Place<T>>,
}

impl<'a, T> CommittedOffer<'a, T> {
    /// # Safety
    /// `place-outlives-waiter`.
    pub(super) unsafe fn new(
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
pub(super) struct Sending<H: Handle<T>, T> {
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
    pub(super) fn new(handle: H) -> Self {
        Self { offering: Offering::new(handle, false), message: Message(Place::empty()) }
    }

    #[inline]
    pub(super) fn with_message(handle: H, message: T) -> Self {
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

    pub(super) fn handle(&self) -> &H {
        self.offering.handle()
    }

    /// Sets the message of the next offer; the one before has ended.
    pub(super) fn set_message(&self, message: T) {
        debug_assert_eq!(
            self.offering.waiter.state(),
            WaiterState::Out,
            "an offer is renewed when it has ended"
        );
        // SAFETY: the waiter is out: the place is its owner's.
        unsafe { self.message.0.with(|slot| slot.fill(message)) };
    }

    /// The message, when it has not been sent and no peer can come for it.
    pub(super) fn take_message(&self) -> Option<T> {
        if self.offering.waiter.state() != WaiterState::Out {
            return None;
        }
        // SAFETY: the waiter is out: the place is its owner's.
        unsafe { self.message.0.with(|slot| slot.is_full().then(|| slot.take())) }
    }

    /// Whether nothing is offered and there is no message to offer.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.offering.waiter.state() == WaiterState::Out
            // SAFETY: the waiter is out: the place is its owner's.
            && !unsafe { self.message.0.with(|slot| slot.is_full()) }
    }

    /// Offers the message; one that was refused is there to be taken back.
    ///
    /// # Panics
    /// When there is none.
    #[inline]
    pub(super) fn poll_message(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<Offered> {
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
    pub(super) fn poll_room(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<Offered> {
        self.offering().poll_room(cx)
    }

    #[inline]
    fn offering(self: Pin<&Self>) -> Pin<&Offering<H, T>> {
        // SAFETY: a structural projection.
        unsafe { self.map_unchecked(|this| &this.offering) }
    }

    /// Withdraws, and gives the message back if it was not taken.
    pub(super) fn reclaim(&self) -> Option<T> {
        self.offering.take_back();
        self.take_message()
    }
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
