//! A receive that waits.

use super::{Handle, drop_used, refresh_waker};
use crate::channel::core::{Channel, Target};
use crate::channel::errors::RecvError;
use crate::channel::lock::LockGuard;
use crate::channel::slot::{Held, Place, Room};
use crate::wait::committed::Committed;
use crate::wait::queue::{Waiter, WaiterState};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, ready};

/// One receive, and when that has ended, the next. Pinned while enrolled; dropping it withdraws it.
pub(in crate::channel) struct Receiving<H: Handle<T>, T> {
    handle: H,
    /// Dropped by hand: mostly it has never waited, and one look at it is enough.
    waiter: ManuallyDrop<Waiter<Target<T>>>,
}

impl<H: Handle<T>, T> Receiving<H, T> {
    /// For a future: it is told of a message, and takes it when it is polled.
    #[inline]
    pub(in crate::channel) fn revocable(handle: H) -> Self {
        Self { handle, waiter: ManuallyDrop::new(Waiter::new(Target(None), false)) }
    }

    /// For a frame: peers put the message into its place.
    ///
    /// # Safety
    /// `place-outlives-waiter`.
    pub(in crate::channel) unsafe fn committed(handle: H, place: &Place<T>) -> Self {
        let waiter = Waiter::new(Target(Some(NonNull::from(place))), true);
        Self { handle, waiter: ManuallyDrop::new(waiter) }
    }

    pub(in crate::channel) fn handle(&self) -> &H {
        &self.handle
    }

    /// A future's poll.
    #[inline(always)]
    pub(in crate::channel) fn poll_message(
        self: Pin<&Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
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
            // Revocable waiters are never handed a message, and that of a committed one is in its frame's place.
            let withdraw = |this: &Self| {
                this.take_back();
            };
            // SAFETY: it is this one's, which is being dropped.
            unsafe { drop_used(self, |this| &mut this.waiter, withdraw) };
        }
    }
}

/// A committed receive, in a frame.
pub(in crate::channel) struct CommittedReceive<'a, T> {
    receiving: Pin<&'a Receiving<&'a Channel<T>, T>>,
    place: &'a Place<T>,
}

impl<'a, T> CommittedReceive<'a, T> {
    /// # Safety
    /// `place` is the one that `receiving` was made with.
    pub(in crate::channel) unsafe fn new(
        receiving: Pin<&'a Receiving<&'a Channel<T>, T>>,
        place: &'a Place<T>,
    ) -> Self {
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
