//! What a select can wait for.
//!
//! # Invariants
//! - `slot-outlives-case`: the slot that a case's result comes into is declared before the case, and borrowed by it.
//! - `one-owner`: a case touches its place under the channel's lock, or while no peer can win it: its waiter is in no queue, or the
//!   select's claim is withdrawn.

use crate::channel::core::{Channel, Offer, Put, State, Target};
use crate::channel::lock::ChannelLock;
use crate::channel::slot::{Place, Slot};
use crate::channel::{Receiver, RecvError, SendError, Sender};
use crate::wait::queue::{Claim, Waiter, WaiterState, WakeList};
use std::fmt;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Waker};

/// How a case is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseKind {
    /// Never ready: a channel that is not there, a guard that is false.
    Disabled,
    /// Under the channel's lock.
    Channel,
    /// By polling; it runs nothing of the user's.
    Timer,
    /// By polling a future of somebody else's.
    Foreign,
}

/// What follows when no case can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The select waits in line.
    Waits,
    /// It goes away, and may overtake others for that.
    Leaves,
}

/// One case. `attempt`, `enrol` and `withdraw` are called with its [`lock`](Self::lock) held.
pub trait Case {
    /// How it is tried.
    fn kind(&self) -> CaseKind;

    /// The lock of its channel, else null.
    fn lock(&self) -> *const ChannelLock {
        ptr::null()
    }

    /// A case that was made for a frame is to lie in a future. It has not been enrolled yet.
    fn make_revocable(self: Pin<&mut Self>) {}

    /// Whether nothing is lost when a select looks for a while before it waits in line. At a rendezvous it is to be found there, who
    /// waits already comes first (a future that is told of a message comes for it later than one who looks), and what is polled is
    /// not polled for nothing.
    fn may_look_ahead(&self) -> bool {
        self.kind() == CaseKind::Disabled
    }

    /// Tries to let it happen, before the select waits in line; the result is kept.
    fn attempt(self: Pin<&mut Self>, _: &mut WakeList) -> bool {
        false
    }

    /// Gets a waker ready for `enrol`, outside the locks.
    fn prepare(self: Pin<&mut Self>, _: &Waker) {}

    /// Enrols its waiter, unless it is enrolled.
    fn enrol(self: Pin<&mut Self>, _: &Claim, _: usize, _: &mut WakeList) {}

    /// Takes its waiter out, passing on what it was notified of.
    fn withdraw(self: Pin<&mut Self>, _: &mut WakeList) {}

    /// Whether its waiter is enrolled, and will call this waker. Without the lock.
    fn is_waiting_with(&self, _: &Waker) -> bool {
        false
    }

    /// A peer has completed it.
    fn settle(self: Pin<&mut Self>) {}

    /// It has happened, but nobody comes for the result: what is left of it goes back to where it came from.
    fn forgo(self: Pin<&mut Self>) {}

    /// Tries to let it happen, outside all locks; the result is kept. No peer can win it meanwhile.
    fn try_now(self: Pin<&mut Self>, cx: &mut Context<'_>, patience: Patience) -> bool;
}

/// Where the result of a case comes into. It does not drop what is in it: see `channel/slot.rs`.
pub trait Outcome {
    /// What the case gives.
    type Output;

    /// An empty one.
    fn vacant() -> Self;

    /// What the case, which has happened, gave.
    fn take(&mut self) -> Self::Output;
}

/// An empty slot for the result of a case, of the type that the case wants.
#[doc(hidden)]
pub fn vacant<S: Outcome>() -> S {
    S::vacant()
}

/// Something a select can receive from: `v = <-source`. Implemented by [`Receiver`], the timers of [`time`](crate::time),
/// [`CancellationToken`](crate::sync::CancellationToken), and `Option`s of them, where `None` never happens.
#[diagnostic::on_unimplemented(
    message = "a select cannot receive from `{Self}`",
    label = "not a receiver, a timer, a cancellation token, or an `Option` of one",
    note = "a future, as a `oneshot::Receiver`, a `JoinHandle` and what `..async()` methods return are, is a case without the \
            arrow: `v = future => ..`, or `v = &mut future => ..` to keep it when another case happens"
)]
pub trait Receive {
    /// What the case gives.
    type Output;
    #[doc(hidden)]
    type Slot: Outcome<Output = Self::Output>;
    #[doc(hidden)]
    type Case<'a>: Case
    where
        Self: 'a;

    /// The case of a source; of none, one that never happens.
    #[doc(hidden)]
    fn case<'a>(source: Option<&'a Self>, slot: &'a mut Self::Slot, committed: bool) -> Self::Case<'a>;
}

/// Something a select can send into: `sink <- message`. Implemented by [`Sender`] and `Option`s of it.
#[diagnostic::on_unimplemented(
    message = "a select cannot send into `{Self}`",
    label = "not a sender, or an `Option` of one"
)]
pub trait Send {
    /// The message.
    type Message;

    #[doc(hidden)]
    fn channel(&self) -> Option<&Channel<Self::Message>>;
}

impl<R: Receive> Receive for Option<R> {
    type Output = R::Output;
    type Slot = R::Slot;
    type Case<'a>
        = R::Case<'a>
    where
        R: 'a;

    fn case<'a>(source: Option<&'a Self>, slot: &'a mut R::Slot, committed: bool) -> R::Case<'a> {
        R::case(source.and_then(Option::as_ref), slot, committed)
    }
}

/// Through references of both kinds: what one has in a loop is often a `&mut Receiver`.
macro_rules! through_references {
    ($($reference:ty),*) => {$(
        impl<R: Receive + ?Sized> Receive for $reference {
            type Output = R::Output;
            type Slot = R::Slot;
            type Case<'a>
                = R::Case<'a>
            where
                Self: 'a;

            fn case<'a>(source: Option<&'a Self>, slot: &'a mut R::Slot, committed: bool) -> R::Case<'a> {
                R::case(source.map(|source| &**source), slot, committed)
            }
        }

        impl<R: Send + ?Sized> Send for $reference {
            type Message = R::Message;

            fn channel(&self) -> Option<&Channel<R::Message>> {
                (**self).channel()
            }
        }
    )*};
}

through_references!(&R, &mut R);

impl<T> Send for Sender<T> {
    type Message = T;

    fn channel(&self) -> Option<&Channel<T>> {
        Some(&self.channel)
    }
}

impl<S: Send> Send for Option<S> {
    type Message = S::Message;

    fn channel(&self) -> Option<&Channel<S::Message>> {
        self.as_ref()?.channel()
    }
}

/// What a waiter of a channel's case stands in line for.
trait Side<T>: Sized {
    const RECEIVES: bool;

    /// # Safety
    /// As [`WaitQueue::push_back`](crate::wait::queue::WaitQueue::push_back).
    unsafe fn enrol(state: &mut State<T>, waiter: &Waiter<Self>, wakes: &mut WakeList);

    fn withdraw(state: &mut State<T>, waiter: &Waiter<Self>, wakes: &mut WakeList);
}

impl<T> Side<T> for Target<T> {
    const RECEIVES: bool = true;

    // SAFETY: asks what the trait does.
    unsafe fn enrol(state: &mut State<T>, waiter: &Waiter<Self>, _: &mut WakeList) {
        // SAFETY: the caller's promise.
        unsafe { state.enrol_receiver(waiter) };
    }

    fn withdraw(state: &mut State<T>, waiter: &Waiter<Self>, wakes: &mut WakeList) {
        state.withdraw_receiver(waiter, wakes);
    }
}

impl<T> Side<T> for Offer<T> {
    const RECEIVES: bool = false;

    // SAFETY: asks what the trait does.
    unsafe fn enrol(state: &mut State<T>, waiter: &Waiter<Self>, wakes: &mut WakeList) {
        // SAFETY: the caller's promise.
        unsafe { state.enrol_sender(waiter, wakes) };
    }

    fn withdraw(state: &mut State<T>, waiter: &Waiter<Self>, _: &mut WakeList) {
        state.withdraw_sender(waiter);
    }
}

/// A channel's case, whichever side it takes: its waiter, and its place for the message.
struct InLine<'a, T, S> {
    /// None: the case never happens.
    channel: Option<&'a Channel<T>>,
    place: &'a Place<T>,
    waiter: Waiter<S>,
    /// For a waiter that was still enrolled when it was prepared.
    spare: Option<Waker>,
}

impl<'a, T, S: Side<T>> InLine<'a, T, S> {
    fn new(channel: Option<&'a Channel<T>>, place: &'a Place<T>, stands_for: S, committed: bool) -> Self {
        Self { channel, place, waiter: Waiter::new(stands_for, committed), spare: None }
    }

    fn kind(&self) -> CaseKind {
        if self.channel.is_some() { CaseKind::Channel } else { CaseKind::Disabled }
    }

    fn lock(&self) -> *const ChannelLock {
        self.channel.map_or(ptr::null(), |channel| ptr::from_ref(channel.lock()))
    }

    fn may_look_ahead(&self) -> bool {
        let Some(channel) = self.channel else { return true };
        let _guard = channel.lock().guard();
        // SAFETY: the lock is held, and the state not looked at otherwise.
        channel.is_buffered && unsafe { channel.with_locked(|state| state.nobody_waits(S::RECEIVES)) }
    }

    /// Calls `f` with the channel's state and the place. The lock is held, and the waiter not enrolled.
    fn attempt(&self, f: impl FnOnce(&mut State<T>, &mut Slot<T>) -> bool) -> bool {
        let Some(channel) = self.channel else { return false };
        // SAFETY: the select holds the lock and has no other access to the state; `one-owner`.
        unsafe { channel.with_locked(|state| self.place.with(|slot| f(state, slot))) }
    }

    fn prepare(&mut self, waker: &Waker) {
        match self.waiter.state() {
            _ if self.channel.is_none() => {}
            WaiterState::In => self.spare = Some(waker.clone()),
            _ => {
                // What `enrol` has replaced the last time: outside the locks it is dropped, and must not be set again.
                self.spare = None;
                self.waiter.prepare_waker(waker);
            }
        }
    }

    fn enrol(&mut self, claim: &Claim, index: usize, wakes: &mut WakeList) {
        let Some(channel) = self.channel else { return };
        if let Some(waker) = self.spare.take() {
            self.spare = self.waiter.set_waker(waker);
        }
        if self.waiter.state() != WaiterState::In {
            self.waiter.set_claim(claim, index);
            // SAFETY: the lock is held; the waiter is out, and pinned, and the engine withdraws it before it goes.
            unsafe { channel.with_locked(|state| S::enrol(state, &self.waiter, wakes)) };
        }
    }

    fn withdraw(&self, wakes: &mut WakeList) {
        if let Some(channel) = self.channel {
            // SAFETY: the lock is held.
            unsafe { channel.with_locked(|state| S::withdraw(state, &self.waiter, wakes)) };
        }
    }

    fn is_waiting_with(&self, waker: &Waker) -> bool {
        let is_in = || self.waiter.state() == WaiterState::In;
        match self.channel {
            // The waker of a frame does not change. Of a future's, peers move it under the lock.
            Some(channel) if !self.waiter.is_committed() => {
                let _guard = channel.lock().guard();
                is_in() && self.waiter.will_wake(waker)
            }
            _ => is_in(),
        }
    }
}

/// What both channel cases do by their `InLine`. Nothing is moved out of it: it is pinned.
macro_rules! stand_in_line {
    () => {
        fn kind(&self) -> CaseKind {
            self.line.kind()
        }

        fn lock(&self) -> *const ChannelLock {
            self.line.lock()
        }

        fn may_look_ahead(&self) -> bool {
            self.line.may_look_ahead()
        }

        fn prepare(self: Pin<&mut Self>, waker: &Waker) {
            // SAFETY: the waiter, which is pinned, is not moved.
            unsafe { self.get_unchecked_mut() }.line.prepare(waker);
        }

        fn enrol(self: Pin<&mut Self>, claim: &Claim, index: usize, wakes: &mut WakeList) {
            // SAFETY: as above.
            unsafe { self.get_unchecked_mut() }.line.enrol(claim, index, wakes);
        }

        fn withdraw(self: Pin<&mut Self>, wakes: &mut WakeList) {
            self.line.withdraw(wakes);
        }

        fn is_waiting_with(&self, waker: &Waker) -> bool {
            self.line.is_waiting_with(waker)
        }
    };
}

/// What a receive gives: the message, or the end.
#[derive(Debug)]
pub struct Received<T> {
    place: Place<T>,
}

impl<T> Outcome for Received<T> {
    type Output = Result<T, RecvError>;

    fn vacant() -> Self {
        Self { place: Place::empty() }
    }

    #[inline]
    fn take(&mut self) -> Result<T, RecvError> {
        let slot = self.place.get_mut();
        if slot.is_full() { Ok(slot.take()) } else { Err(RecvError) }
    }
}

/// A receive from a channel.
pub struct ReceiveCase<'a, T> {
    line: InLine<'a, T, Target<T>>,
}

impl<T> Receive for Receiver<T> {
    type Output = Result<T, RecvError>;
    type Slot = Received<T>;
    type Case<'a>
        = ReceiveCase<'a, T>
    where
        T: 'a;

    fn case<'a>(source: Option<&'a Self>, slot: &'a mut Received<T>, committed: bool) -> ReceiveCase<'a, T> {
        let place = &slot.place;
        let target = Target(committed.then_some(NonNull::from(place)));
        ReceiveCase { line: InLine::new(source.map(|receiver| &*receiver.channel), place, target, committed) }
    }
}

impl<T> Case for ReceiveCase<'_, T> {
    stand_in_line!();

    fn make_revocable(self: Pin<&mut Self>) {
        // SAFETY: a waiter that has never been enrolled may be replaced.
        unsafe { self.get_unchecked_mut() }.line.waiter = Waiter::new(Target(None), false);
    }

    #[inline]
    fn try_now(self: Pin<&mut Self>, _: &mut Context<'_>, _: Patience) -> bool {
        let Some(channel) = self.line.channel else { return false };
        // SAFETY: `one-owner`: no peer wins the case.
        unsafe { self.line.place.with(|slot| channel.look(slot)) }.is_some()
    }

    fn attempt(self: Pin<&mut Self>, wakes: &mut WakeList) -> bool {
        self.line.attempt(|state, slot| state.look(slot, wakes).is_some())
    }

    fn settle(self: Pin<&mut Self>) {
        // The message is in its place.
        self.line.waiter.reset();
    }
}

/// What a send gives: nothing, or the message that was refused.
#[derive(Debug)]
pub struct Sent<T> {
    place: Place<T>,
}

impl<T> Outcome for Sent<T> {
    type Output = Result<(), SendError<T>>;

    fn vacant() -> Self {
        Self { place: Place::empty() }
    }

    #[inline]
    fn take(&mut self) -> Result<(), SendError<T>> {
        let slot = self.place.get_mut();
        if slot.is_full() { Err(SendError(slot.take())) } else { Ok(()) }
    }
}

/// A send into a channel.
pub struct SendCase<'a, T> {
    line: InLine<'a, T, Offer<T>>,
    happened: bool,
    /// Whose the message is until the case has happened; else it is dropped with the case.
    lender: Option<&'a mut Option<T>>,
}

impl<'a, T> SendCase<'a, T> {
    /// A message that is the case's.
    #[doc(hidden)]
    #[inline]
    pub fn new(
        sink: &'a (impl Send<Message = T> + ?Sized),
        message: T,
        slot: &'a mut Sent<T>,
        enabled: bool,
        committed: bool,
    ) -> Self {
        slot.place.get_mut().fill(message);
        Self::full(if enabled { sink.channel() } else { None }, &slot.place, None, committed)
    }

    /// A message that stays the lender's until it has been sent; without one the case never happens.
    #[doc(hidden)]
    #[inline]
    pub fn borrowed(
        sink: &'a (impl Send<Message = T> + ?Sized),
        lender: &'a mut Option<T>,
        slot: &'a mut Sent<T>,
        enabled: bool,
        committed: bool,
    ) -> Self {
        let channel = if enabled && lender.is_some() { sink.channel() } else { None };
        if let Some(message) = lender.take() {
            slot.place.get_mut().fill(message);
        }
        Self::full(channel, &slot.place, Some(lender), committed)
    }

    fn full(
        channel: Option<&'a Channel<T>>,
        place: &'a Place<T>,
        lender: Option<&'a mut Option<T>>,
        committed: bool,
    ) -> Self {
        let offer = Offer::Message(NonNull::from(place));
        Self { line: InLine::new(channel, place, offer, committed), happened: false, lender }
    }
}

impl<T> Case for SendCase<'_, T> {
    stand_in_line!();

    fn make_revocable(self: Pin<&mut Self>) {
        let offer = Offer::Message(NonNull::from(self.line.place));
        // SAFETY: a waiter that has never been enrolled may be replaced.
        unsafe { self.get_unchecked_mut() }.line.waiter = Waiter::new(offer, false);
    }

    #[inline]
    fn try_now(mut self: Pin<&mut Self>, _: &mut Context<'_>, patience: Patience) -> bool {
        let Some(channel) = self.line.channel else { return false };
        // SAFETY: `one-owner`: no peer wins the case.
        let put = unsafe {
            self.line.place.with(|slot| match patience {
                Patience::Waits => channel.put(slot),
                Patience::Leaves => channel.change(|state, wakes| state.put_now(slot, wakes)),
            })
        };
        // SAFETY: the waiter, which is pinned, is not moved.
        unsafe { self.as_mut().get_unchecked_mut() }.happened = put != Put::Full;
        put != Put::Full
    }

    fn attempt(mut self: Pin<&mut Self>, wakes: &mut WakeList) -> bool {
        let happened = self.line.attempt(|state, slot| state.put(slot, wakes) != Put::Full);
        // SAFETY: the waiter, which is pinned, is not moved.
        unsafe { self.as_mut().get_unchecked_mut() }.happened = happened;
        happened
    }

    fn settle(mut self: Pin<&mut Self>) {
        self.line.waiter.reset();
        // SAFETY: as above.
        unsafe { self.as_mut().get_unchecked_mut() }.happened = true;
    }

    fn forgo(mut self: Pin<&mut Self>) {
        // SAFETY: as above.
        unsafe { self.as_mut().get_unchecked_mut() }.happened = false;
    }
}

impl<T> Drop for SendCase<'_, T> {
    fn drop(&mut self) {
        // What is left of a case that has happened was refused, and is the result.
        if self.happened {
            return;
        }
        // SAFETY: the select is over: the waiter is out, and the place its owner's.
        unsafe {
            self.line.place.with(|slot| match &mut self.lender {
                Some(lender) if slot.is_full() => **lender = Some(slot.take()),
                _ => slot.clear(),
            });
        }
    }
}

/// What can be said of a case without taking a lock.
macro_rules! opaque_debug {
    ($($name:ident [$($generics:tt)*] [$($arguments:tt)*]),* $(,)?) => {$(
        impl<$($generics)*> fmt::Debug for $name<$($arguments)*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

opaque_debug!(
    ReceiveCase [T] ['_, T],
    SendCase [T] ['_, T],
);

pub(super) use opaque_debug;
