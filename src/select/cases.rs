//! What a select can wait for.

use crate::channel::core::{Channel, Offer, Put, Slot};
use crate::channel::{Receiver, RecvError, SendError, Sender};
use crate::primitive::Mutex;
use crate::wait::queue::{Claim, Waiter, WaiterState, WakeList};
use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

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

/// One case. The methods on channels are called with the lock of [`mutex`](Self::mutex) held.
pub trait Case {
    /// How it is tried.
    fn kind(&self) -> CaseKind;

    /// The lock of its channel, else null.
    fn mutex(&self) -> *const Mutex<()> {
        ptr::null()
    }

    /// Tries to let it happen; the result is kept.
    fn attempt(self: Pin<&mut Self>, _: &mut WakeList) -> bool {
        false
    }

    /// Enrols its waiter, unless it is enrolled. Returns a waker to be dropped.
    fn enrol(
        self: Pin<&mut Self>,
        _: &Claim,
        _: usize,
        waker: Option<Waker>,
        _: &mut WakeList,
    ) -> Option<Waker> {
        waker
    }

    /// Takes its waiter out, passing on what it was notified of. Returns a waker to be dropped.
    fn withdraw(self: Pin<&mut Self>, _: &mut WakeList) -> Option<Waker> {
        None
    }

    /// Whether its waiter is enrolled. Without the lock.
    fn is_waiting(&self) -> bool {
        false
    }

    /// A peer has completed it: keeps the result.
    fn settle(self: Pin<&mut Self>) {}

    /// Polls it, outside all locks; the result is kept.
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> bool {
        false
    }
}

/// Something a select can receive from: `v = <-source`. Implemented by [`Receiver`], the timers of [`time`](crate::time), and
/// `Option`s of them, where `None` never happens.
#[diagnostic::on_unimplemented(
    message = "a select cannot receive from `{Self}`",
    label = "not a receiver, a timer, or an `Option` of one"
)]
pub trait Receive {
    /// What the case gives.
    type Output;
    /// Its case.
    type Case<'a>: Case + TakeResult<Self::Output>
    where
        Self: 'a;

    #[doc(hidden)]
    fn case(&self, enabled: bool, committed: bool) -> Self::Case<'_>;
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

/// The result of a case that has happened.
pub trait TakeResult<R> {
    #[doc(hidden)]
    fn take_result(self: Pin<&mut Self>) -> R;
}

/// A receive from a channel.
pub struct ReceiveCase<'a, T> {
    channel: Option<&'a Channel<T>>,
    waiter: Waiter<Slot<T>>,
    result: Option<Result<T, RecvError>>,
}

impl<T> Receive for Receiver<T> {
    type Output = Result<T, RecvError>;
    type Case<'a>
        = ReceiveCase<'a, T>
    where
        T: 'a;

    fn case(&self, enabled: bool, committed: bool) -> ReceiveCase<'_, T> {
        ReceiveCase {
            channel: enabled.then_some(&*self.channel),
            waiter: Waiter::new(None, committed),
            result: None,
        }
    }
}

impl<R: Receive> Receive for Option<R> {
    type Output = R::Output;
    type Case<'a>
        = OptionCase<R::Case<'a>>
    where
        R: 'a;

    fn case(&self, enabled: bool, committed: bool) -> Self::Case<'_> {
        OptionCase { case: self.as_ref().map(|source| source.case(enabled, committed)) }
    }
}

impl<R: Receive + ?Sized> Receive for &R {
    type Output = R::Output;
    type Case<'a>
        = R::Case<'a>
    where
        Self: 'a;

    fn case(&self, enabled: bool, committed: bool) -> R::Case<'_> {
        (**self).case(enabled, committed)
    }
}

impl<T> Case for ReceiveCase<'_, T> {
    fn kind(&self) -> CaseKind {
        if self.channel.is_some() { CaseKind::Channel } else { CaseKind::Disabled }
    }

    fn mutex(&self) -> *const Mutex<()> {
        self.channel.map_or(ptr::null(), Channel::mutex)
    }

    fn attempt(self: Pin<&mut Self>, wakes: &mut WakeList) -> bool {
        let Some(channel) = self.channel else { return false };
        // SAFETY: the select holds the lock, and has no other access to the state.
        let result = unsafe {
            channel.with_locked(|state| match state.take(wakes) {
                Some(message) => Some(Ok(message)),
                None => state.is_closed().then_some(Err(RecvError)),
            })
        };
        let happened = result.is_some();
        if happened {
            // SAFETY: the waiter, which is pinned, is not moved.
            unsafe { self.get_unchecked_mut() }.result = result;
        }
        happened
    }

    fn enrol(
        self: Pin<&mut Self>,
        claim: &Claim,
        index: usize,
        waker: Option<Waker>,
        _: &mut WakeList,
    ) -> Option<Waker> {
        let (Some(channel), Some(waker)) = (self.channel, waker) else { return None };
        self.waiter.set_claim(claim, index);
        let replaced = self.waiter.set_waker(waker);
        if self.waiter.state() != WaiterState::In {
            // SAFETY: the lock is held; the waiter is out, and pinned, and the engine withdraws it before it goes.
            unsafe { channel.with_locked(|state| state.enrol_receiver(&self.waiter)) };
        }
        replaced
    }

    fn withdraw(self: Pin<&mut Self>, wakes: &mut WakeList) -> Option<Waker> {
        let channel = self.channel?;
        // SAFETY: the lock is held.
        unsafe { channel.with_locked(|state| state.withdraw_receiver(&self.waiter, wakes)) }
    }

    fn is_waiting(&self) -> bool {
        self.waiter.state() == WaiterState::In
    }

    fn settle(self: Pin<&mut Self>) {
        // SAFETY: the peer is done with the waiter, which is not moved.
        unsafe {
            let message = self.waiter.with_slot(Option::take);
            self.waiter.reset();
            self.get_unchecked_mut().result = Some(message.ok_or(RecvError));
        }
    }
}

impl<T> TakeResult<Result<T, RecvError>> for ReceiveCase<'_, T> {
    fn take_result(self: Pin<&mut Self>) -> Result<T, RecvError> {
        // SAFETY: the waiter is not moved.
        unsafe { self.get_unchecked_mut() }.result.take().expect("the case has happened")
    }
}

/// A case that may not be there.
pub struct OptionCase<C> {
    case: Option<C>,
}

impl<C> OptionCase<C> {
    fn case(self: Pin<&mut Self>) -> Option<Pin<&mut C>> {
        // SAFETY: a structural projection; nothing is moved out.
        unsafe { self.map_unchecked_mut(|this| &mut this.case) }.as_pin_mut()
    }
}

impl<C: Case> Case for OptionCase<C> {
    fn kind(&self) -> CaseKind {
        self.case.as_ref().map_or(CaseKind::Disabled, Case::kind)
    }

    fn mutex(&self) -> *const Mutex<()> {
        self.case.as_ref().map_or(ptr::null(), Case::mutex)
    }

    fn attempt(self: Pin<&mut Self>, wakes: &mut WakeList) -> bool {
        self.case().is_some_and(|case| case.attempt(wakes))
    }

    fn enrol(
        self: Pin<&mut Self>,
        claim: &Claim,
        index: usize,
        waker: Option<Waker>,
        wakes: &mut WakeList,
    ) -> Option<Waker> {
        match self.case() {
            Some(case) => case.enrol(claim, index, waker, wakes),
            None => waker,
        }
    }

    fn withdraw(self: Pin<&mut Self>, wakes: &mut WakeList) -> Option<Waker> {
        self.case()?.withdraw(wakes)
    }

    fn is_waiting(&self) -> bool {
        self.case.as_ref().is_some_and(Case::is_waiting)
    }

    fn settle(self: Pin<&mut Self>) {
        if let Some(case) = self.case() {
            case.settle();
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        self.case().is_some_and(|case| case.poll(cx))
    }
}

impl<R, C: TakeResult<R>> TakeResult<R> for OptionCase<C> {
    fn take_result(self: Pin<&mut Self>) -> R {
        self.case().expect("only a case that is there happens").take_result()
    }
}

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

impl<S: Send + ?Sized> Send for &S {
    type Message = S::Message;

    fn channel(&self) -> Option<&Channel<S::Message>> {
        (**self).channel()
    }
}

/// A send into a channel.
pub struct SendCase<'a, T> {
    channel: Option<&'a Channel<T>>,
    waiter: Waiter<Offer<T>>,
    result: Option<Result<(), SendError<T>>>,
}

impl<'a, T> SendCase<'a, T> {
    #[doc(hidden)]
    pub fn new(
        sink: &'a (impl Send<Message = T> + ?Sized),
        message: Option<T>,
        enabled: bool,
        committed: bool,
    ) -> Self {
        // No message, no case: it may come later, in another select.
        let channel = if enabled && message.is_some() { sink.channel() } else { None };
        let offer = message.map_or(Offer::Taken, Offer::Message);
        Self { channel, waiter: Waiter::new(offer, committed), result: None }
    }

    /// The message of a case that has not happened.
    #[doc(hidden)]
    pub fn message(self: Pin<&mut Self>) -> Option<T> {
        // SAFETY: the select is over: the waiter is out, and its slot its owner's.
        unsafe { self.waiter.with_slot(Offer::take) }
    }
}

impl<T> Case for SendCase<'_, T> {
    fn kind(&self) -> CaseKind {
        if self.channel.is_some() { CaseKind::Channel } else { CaseKind::Disabled }
    }

    fn mutex(&self) -> *const Mutex<()> {
        self.channel.map_or(ptr::null(), Channel::mutex)
    }

    fn attempt(self: Pin<&mut Self>, wakes: &mut WakeList) -> bool {
        let Some(channel) = self.channel else { return false };
        // SAFETY: the lock is held: nobody else touches the slot, or the state.
        let result = unsafe {
            self.waiter.with_slot(|offer| {
                let mut message = offer.take();
                let put = channel.with_locked(|state| state.put(&mut message, wakes));
                match (put, message) {
                    (Put::Done, _) => Some(Ok(())),
                    (Put::Closed, Some(message)) => Some(Err(SendError(message))),
                    (_, message) => {
                        *offer = message.map_or(Offer::Taken, Offer::Message);
                        None
                    }
                }
            })
        };
        let happened = result.is_some();
        if happened {
            // SAFETY: the waiter, which is pinned, is not moved.
            unsafe { self.get_unchecked_mut() }.result = result;
        }
        happened
    }

    fn enrol(
        self: Pin<&mut Self>,
        claim: &Claim,
        index: usize,
        waker: Option<Waker>,
        wakes: &mut WakeList,
    ) -> Option<Waker> {
        let (Some(channel), Some(waker)) = (self.channel, waker) else { return None };
        self.waiter.set_claim(claim, index);
        let replaced = self.waiter.set_waker(waker);
        if self.waiter.state() != WaiterState::In {
            // SAFETY: the lock is held; the waiter is out, and pinned, and the engine withdraws it before it goes.
            unsafe { channel.with_locked(|state| state.enrol_sender(&self.waiter, wakes)) };
        }
        replaced
    }

    fn withdraw(self: Pin<&mut Self>, _: &mut WakeList) -> Option<Waker> {
        let channel = self.channel?;
        // SAFETY: the lock is held.
        unsafe { channel.with_locked(|state| state.withdraw_sender(&self.waiter)) }
    }

    fn is_waiting(&self) -> bool {
        self.waiter.state() == WaiterState::In
    }

    fn settle(self: Pin<&mut Self>) {
        // SAFETY: the peer is done with the waiter, which is not moved.
        unsafe {
            let left = self.waiter.with_slot(Offer::take);
            self.waiter.reset();
            self.get_unchecked_mut().result = Some(left.map_or(Ok(()), |message| Err(SendError(message))));
        }
    }
}

impl<T> TakeResult<Result<(), SendError<T>>> for SendCase<'_, T> {
    fn take_result(self: Pin<&mut Self>) -> Result<(), SendError<T>> {
        // SAFETY: the waiter is not moved.
        unsafe { self.get_unchecked_mut() }.result.take().expect("the case has happened")
    }
}

/// A send into a channel of a message that stays the caller's until it has been sent.
pub struct BorrowedSendCase<'a, T> {
    send: SendCase<'a, T>,
    slot: &'a mut Option<T>,
}

impl<'a, T> BorrowedSendCase<'a, T> {
    #[doc(hidden)]
    pub fn new(
        sink: &'a (impl Send<Message = T> + ?Sized),
        slot: &'a mut Option<T>,
        enabled: bool,
        committed: bool,
    ) -> Self {
        Self { send: SendCase::new(sink, slot.take(), enabled, committed), slot }
    }

    fn send(self: Pin<&mut Self>) -> Pin<&mut SendCase<'a, T>> {
        // SAFETY: a structural projection; nothing is moved out.
        unsafe { self.map_unchecked_mut(|this| &mut this.send) }
    }
}

impl<T> Drop for BorrowedSendCase<'_, T> {
    fn drop(&mut self) {
        // SAFETY: it was pinned; it is not moved here.
        let send = unsafe { Pin::new_unchecked(&mut self.send) };
        *self.slot = send.message();
    }
}

impl<T> Case for BorrowedSendCase<'_, T> {
    fn kind(&self) -> CaseKind {
        self.send.kind()
    }

    fn mutex(&self) -> *const Mutex<()> {
        self.send.mutex()
    }

    fn attempt(self: Pin<&mut Self>, wakes: &mut WakeList) -> bool {
        self.send().attempt(wakes)
    }

    fn enrol(
        self: Pin<&mut Self>,
        claim: &Claim,
        index: usize,
        waker: Option<Waker>,
        wakes: &mut WakeList,
    ) -> Option<Waker> {
        self.send().enrol(claim, index, waker, wakes)
    }

    fn withdraw(self: Pin<&mut Self>, wakes: &mut WakeList) -> Option<Waker> {
        self.send().withdraw(wakes)
    }

    fn is_waiting(&self) -> bool {
        self.send.is_waiting()
    }

    fn settle(self: Pin<&mut Self>) {
        self.send().settle();
    }
}

impl<T> TakeResult<Result<(), SendError<T>>> for BorrowedSendCase<'_, T> {
    fn take_result(self: Pin<&mut Self>) -> Result<(), SendError<T>> {
        self.send().take_result()
    }
}

/// Any future.
pub struct FutureCase<F: Future> {
    future: Option<F>,
    output: Option<F::Output>,
    _pinned: PhantomPinned,
}

impl<F: Future> FutureCase<F> {
    #[doc(hidden)]
    pub fn new(future: F, enabled: bool) -> Self {
        Self { future: enabled.then_some(future), output: None, _pinned: PhantomPinned }
    }
}

impl<F: Future> Case for FutureCase<F> {
    fn kind(&self) -> CaseKind {
        if self.future.is_some() { CaseKind::Foreign } else { CaseKind::Disabled }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        // SAFETY: a structural projection: `future` is pinned, `output` is not.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        let Some(future) = future.as_pin_mut() else { return false };
        match future.poll(cx) {
            Poll::Ready(output) => {
                this.output = Some(output);
                true
            }
            Poll::Pending => false,
        }
    }
}

impl<F: Future> TakeResult<F::Output> for FutureCase<F> {
    fn take_result(self: Pin<&mut Self>) -> F::Output {
        // SAFETY: the future, which is pinned, is not moved.
        unsafe { self.get_unchecked_mut() }.output.take().expect("the case has happened")
    }
}

/// A timer of [`time::after`](crate::time::after) and its like.
pub struct TimerCase<'a> {
    alarm: Option<&'a dyn Alarm>,
    fired: Option<Instant>,
}

/// What a timer case polls.
pub trait Alarm: Sync {
    /// Ready with the moment for which it was set.
    fn poll_alarm(&self, cx: &mut Context<'_>) -> Poll<Instant>;
}

impl<'a> TimerCase<'a> {
    pub(crate) fn new(alarm: &'a dyn Alarm, enabled: bool) -> Self {
        Self { alarm: enabled.then_some(alarm), fired: None }
    }
}

impl Case for TimerCase<'_> {
    fn kind(&self) -> CaseKind {
        if self.alarm.is_some() { CaseKind::Timer } else { CaseKind::Disabled }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let Some(alarm) = self.alarm else { return false };
        match alarm.poll_alarm(cx) {
            Poll::Ready(moment) => {
                self.fired = Some(moment);
                true
            }
            Poll::Pending => false,
        }
    }
}

impl TakeResult<Instant> for TimerCase<'_> {
    fn take_result(mut self: Pin<&mut Self>) -> Instant {
        self.fired.take().expect("the case has happened")
    }
}

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
    BorrowedSendCase [T] ['_, T],
    OptionCase [C] [C],
    FutureCase [F: Future] [F],
    TimerCase [] ['_],
);
