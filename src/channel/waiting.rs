//! The waits of a channel: each written once, for a frame (committed) and for a future (revocable).

use crate::channel::core::{Channel, Offer, Put, Slot};
use crate::channel::errors::RecvError;
use crate::channel::receiver::Receiver;
use crate::channel::sender::Sender;
use crate::wait::committed::Committed;
use crate::wait::queue::{Waiter, WaiterState};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a wait knows its channel by: a reference, or a handle that it owns.
pub(super) trait Handle<T> {
    fn channel(&self) -> &Channel<T>;
}

impl<T> Handle<T> for &Channel<T> {
    fn channel(&self) -> &Channel<T> {
        self
    }
}

impl<T> Handle<T> for Receiver<T> {
    fn channel(&self) -> &Channel<T> {
        &self.channel
    }
}

impl<T> Handle<T> for Sender<T> {
    fn channel(&self) -> &Channel<T> {
        &self.channel
    }
}

/// One receive, and when that has ended, the next. Pinned while enrolled; dropping it withdraws it.
pub(super) struct Receiving<H: Handle<T>, T> {
    handle: H,
    waiter: Waiter<Slot<T>>,
}

impl<H: Handle<T>, T> Receiving<H, T> {
    pub(super) fn new(handle: H, committed: bool) -> Self {
        Self { handle, waiter: Waiter::new(None, committed) }
    }

    pub(super) fn handle(&self) -> &H {
        &self.handle
    }

    pub(super) fn poll(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let this = self.get_ref();
        // One look at the state: a peer may complete the waiter between two.
        match this.waiter.state() {
            WaiterState::Done => return Poll::Ready(this.handed_over().ok_or(RecvError)),
            // Its waker is that of the frame, which does not change.
            WaiterState::In if this.waiter.is_committed() => return Poll::Pending,
            WaiterState::In => {}
            WaiterState::Out | WaiterState::Notified => {
                if let Some(result) = this.look() {
                    return Poll::Ready(result);
                }
            }
        }
        let waker = cx.waker().clone();
        let (result, replaced) = this.handle.channel().change(|state, wakes| {
            if this.waiter.state() == WaiterState::Done {
                return (None, Some(waker));
            }
            if this.waiter.state() == WaiterState::In {
                return (None, this.waiter.set_waker(waker));
            }
            if let Some(message) = state.take(wakes) {
                this.waiter.reset();
                return (Some(Ok(message)), Some(waker));
            }
            if state.is_closed() {
                this.waiter.reset();
                return (Some(Err(RecvError)), Some(waker));
            }
            // SAFETY: the waiter is in no queue, and pinned; `Drop` withdraws it.
            unsafe { state.enrol_receiver(&this.waiter) };
            (None, this.waiter.set_waker(waker))
        });
        drop(replaced);
        match result {
            Some(result) => Poll::Ready(result),
            None if this.waiter.state() == WaiterState::Done => {
                Poll::Ready(this.handed_over().ok_or(RecvError))
            }
            None => Poll::Pending,
        }
    }

    /// Takes a message, or sees the end, without enrolling. The waiter is in no queue, so nobody completes it meanwhile.
    fn look(&self) -> Option<Result<T, RecvError>> {
        self.handle.channel().change(|state, wakes| {
            let result = match state.take(wakes) {
                Some(message) => Ok(message),
                None if state.is_closed() => Err(RecvError),
                None => return None,
            };
            self.waiter.reset();
            Some(result)
        })
    }

    /// What a peer put into the slot of the waiter, which is done.
    fn handed_over(&self) -> Option<T> {
        // SAFETY: the waiter is done: the slot is its owner's.
        unsafe { self.waiter.with_slot(Option::take) }
    }

    /// Takes the waiter out. The message, if a peer was faster.
    fn take_back(&self) -> Option<T> {
        match self.waiter.state() {
            WaiterState::Out => return None,
            WaiterState::Done => return self.handed_over(),
            WaiterState::In | WaiterState::Notified => {}
        }
        drop(self.handle.channel().change(|state, wakes| state.withdraw_receiver(&self.waiter, wakes)));
        if self.waiter.state() == WaiterState::Done { self.handed_over() } else { None }
    }
}

impl<H: Handle<T>, T> Drop for Receiving<H, T> {
    fn drop(&mut self) {
        // Revocable waiters are never handed a message, and committed ones are asked before they are dropped.
        drop(self.take_back());
    }
}

/// A committed receive, in a frame.
pub(super) struct CommittedReceive<'a, T>(pub(super) Pin<&'a Receiving<&'a Channel<T>, T>>);

impl<T> Committed for CommittedReceive<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }

    fn withdraw(&mut self) -> Option<Self::Output> {
        self.0.get_ref().take_back().map(Ok)
    }
}

/// How an offer ended.
pub(super) enum Offered<T> {
    /// The message was taken, or a place is reserved.
    Accepted,
    /// The channel is closed.
    Refused(Option<T>),
}

/// One send, or one reservation of a place. Pinned while enrolled; dropping it withdraws it.
pub(super) struct Offering<H: Handle<T>, T> {
    handle: H,
    waiter: Waiter<Offer<T>>,
}

impl<H: Handle<T>, T> Offering<H, T> {
    pub(super) fn message(handle: H, message: T, committed: bool) -> Self {
        Self { handle, waiter: Waiter::new(Offer::Message(message), committed) }
    }

    pub(super) fn room(handle: H, committed: bool) -> Self {
        Self { handle, waiter: Waiter::new(Offer::Room, committed) }
    }

    pub(super) fn handle(&self) -> &H {
        &self.handle
    }

    /// Begins another offer: a message, or `Room`. The one before has ended.
    pub(super) fn renew(&self, offer: Offer<T>) {
        debug_assert_eq!(self.waiter.state(), WaiterState::Out, "an offer is renewed when it has ended");
        // SAFETY: the waiter is out: the slot is its owner's. What was in it is dropped after.
        drop(unsafe { self.waiter.with_slot(|slot| mem::replace(slot, offer)) });
    }

    pub(super) fn poll(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<Offered<T>> {
        let this = self.get_ref();
        match this.waiter.state() {
            WaiterState::Done => return Poll::Ready(this.outcome()),
            WaiterState::In if this.waiter.is_committed() => return Poll::Pending,
            WaiterState::In => {}
            WaiterState::Out | WaiterState::Notified => {
                if let Some(offered) = this.attempt() {
                    return Poll::Ready(offered);
                }
            }
        }
        let waker = cx.waker().clone();
        let (offered, replaced) = this.handle.channel().change(|state, wakes| match this.waiter.state() {
            WaiterState::Done => (None, Some(waker)),
            WaiterState::In => (None, this.waiter.set_waker(waker)),
            WaiterState::Out | WaiterState::Notified => match this.attempt_locked(state, wakes) {
                Some(offered) => (Some(offered), Some(waker)),
                None => {
                    let replaced = this.waiter.set_waker(waker);
                    // SAFETY: the waiter is in no queue, and pinned; `Drop` withdraws it.
                    unsafe { state.enrol_sender(&this.waiter, wakes) };
                    (None, replaced)
                }
            },
        });
        drop(replaced);
        match offered {
            Some(offered) => Poll::Ready(offered),
            None if this.waiter.state() == WaiterState::Done => Poll::Ready(this.outcome()),
            None => Poll::Pending,
        }
    }

    fn attempt(&self) -> Option<Offered<T>> {
        self.handle.channel().change(|state, wakes| self.attempt_locked(state, wakes))
    }

    /// Puts the message, or reserves a place, under the lock; the waiter is in no queue.
    fn attempt_locked(
        &self,
        state: &mut crate::channel::core::State<T>,
        wakes: &mut crate::wait::queue::WakeList,
    ) -> Option<Offered<T>> {
        // SAFETY: the lock is held.
        unsafe {
            self.waiter.with_slot(|offer| {
                let mut message = offer.take();
                let put = if message.is_some() { state.put(&mut message, wakes) } else { state.reserve() };
                match put {
                    Put::Done => Some(Offered::Accepted),
                    Put::Closed => Some(Offered::Refused(message)),
                    Put::Full => {
                        if let Some(message) = message {
                            *offer = Offer::Message(message);
                        }
                        None
                    }
                }
            })
        }
    }

    /// What the slot of the waiter, which is done, says.
    fn outcome(&self) -> Offered<T> {
        self.waiter.reset();
        // SAFETY: the waiter was done: the slot is its owner's.
        unsafe {
            self.waiter.with_slot(|offer| match offer.take() {
                Some(message) => Offered::Refused(Some(message)),
                None if matches!(offer, Offer::Room) => Offered::Refused(None),
                None => Offered::Accepted,
            })
        }
    }

    /// Takes the waiter out. `Some`: a peer was faster.
    fn take_back(&self) -> Option<Offered<T>> {
        match self.waiter.state() {
            WaiterState::Out => return None,
            WaiterState::Done => return Some(self.outcome()),
            WaiterState::In | WaiterState::Notified => {}
        }
        drop(self.handle.channel().with(|state| state.withdraw_sender(&self.waiter)));
        (self.waiter.state() == WaiterState::Done).then(|| self.outcome())
    }

    /// Withdraws, and gives the message back if it was not taken.
    pub(super) fn reclaim(&self) -> Option<T> {
        match self.take_back() {
            Some(Offered::Accepted) => None,
            Some(Offered::Refused(message)) => message,
            // SAFETY: the waiter is out of every queue: the slot is its owner's.
            None => unsafe { self.waiter.with_slot(Offer::take) },
        }
    }
}

impl<H: Handle<T>, T> Drop for Offering<H, T> {
    fn drop(&mut self) {
        let Some(Offered::Accepted) = self.take_back() else { return };
        // SAFETY: the waiter is out of every queue: the slot is its owner's.
        if unsafe { self.waiter.with_slot(|offer| matches!(offer, Offer::Reserved)) } {
            // The place was reserved for somebody who has gone.
            self.handle.channel().change(|state, wakes| state.release_place(wakes));
        }
    }
}

/// A committed send or reservation, in a frame.
pub(super) struct CommittedOffer<'a, T>(pub(super) Pin<&'a Offering<&'a Channel<T>, T>>);

impl<T> Committed for CommittedOffer<'_, T> {
    type Output = Offered<T>;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }

    fn withdraw(&mut self) -> Option<Self::Output> {
        self.0.get_ref().take_back()
    }
}
