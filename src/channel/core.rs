//! One channel: a queue, two queues of waiters, one lock. All flavours are this: capacity 0 is a rendezvous, `usize::MAX`
//! unbounded.
//!
//! # Picture
//! ```text
//!                    ┌────────────── lock ──────────────┐
//!  sender ─ Offer ─► │ senders ──► queue ──► receivers  │ ◄─ Waiter ─ receiver
//!                    └──────────────────────────────────┘
//!     the messages of `senders` move into `queue` as it has room; capacity 0: a receiver takes them from the offers
//! ```
//!
//! # Invariants
//! - `room-is-used`: a sender waits only while there is no room (`queue + reserved >= capacity`).
//! - `messages-are-announced`: for every message in the queue, and every offer of a rendezvous, a receiver has been notified
//!   that has not looked since; or no receiver waits.
//! - `order`: messages leave in the order in which they entered, and offers enter in the order in which they came.
//! - `no-user-code`: under the lock messages are only moved, wakers only moved. What is woken or dropped is collected, and
//!   woken or dropped after.
//!
//! # Protocol
//! - *put*: a committed receiver first in line gets the message itself, if the queue is empty. Otherwise it goes into the queue, if
//!   there is room, and the first receiver is told (a committed one by being given the queue's front).
//! - *take*: from the front of the queue, which lets the first waiting offers in; on a rendezvous from the first offer.
//! - A notified receiver may find nothing, because a newcomer was faster: it enrols again, at the front. One that goes away while
//!   notified passes the notification on.
//! - *quickly*: most messages go into a queue that has room and leave one that nobody waits to enter. Both are done in the frame of the
//!   caller, and wake nobody; whatever else there is to do is the other steps', under the same lock.
//! - *close*: offers are refused (completed with their value still in them), receivers notified: they drain, then see the end.
//!
//! # Sources
//! Go's `chan.go` for one lock and direct hand-over, from frame to frame; async-channel and event-listener for notifications that are passed on.

use crate::channel::errors::RecvError;
use crate::channel::lock::{ChannelLock, LockGuard};
use crate::channel::ring::Ring;
use crate::channel::slot::{Place, Slot};
use crate::primitive::UnsafeCell;
use crate::primitive::atomic::AtomicUsize;
use crate::wait::queue::{Completion, Notification, WaitQueue, Waiter, WaiterState, WakeList, waking};
use std::fmt;
use std::mem;
use std::ptr::NonNull;

/// What a waiting sender holds out.
pub(crate) enum Offer<T> {
    /// The message there. When the sender is done, an empty place says that it was taken, a full one that it was refused: the
    /// channel has been closed.
    Message(NonNull<Place<T>>),
    /// Room for a message is wanted; still wanted when done: refused.
    Room,
    /// A place is reserved.
    Reserved,
}

/// Where a waiting receiver wants its message: nowhere, if it cannot be handed one. Nothing there when done cannot happen: the end
/// is found by looking.
pub(crate) struct Target<T>(pub(crate) Option<NonNull<Place<T>>>);

// SAFETY: the place is `Sync` for such `T`, and stays where it is as long as the waiter is enrolled (`linked-is-alive` covers it).
unsafe impl<T: Send> Send for Offer<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Target<T> {}

/// See the module's head.
pub(crate) struct State<T> {
    queue: Ring<T>,
    capacity: usize,
    /// Places held by permits.
    reserved: usize,
    senders: WaitQueue<Offer<T>>,
    receivers: WaitQueue<Target<T>>,
    closed: bool,
}

/// What became of a message that was to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Done,
    Full,
    Closed,
}

impl<T> State<T> {
    #[inline]
    fn has_room(&self) -> bool {
        self.queue.len() + self.reserved < self.capacity
    }

    pub(crate) fn is_rendezvous(&self) -> bool {
        self.capacity == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// None: unbounded.
    pub(crate) fn capacity(&self) -> Option<usize> {
        (self.capacity < usize::MAX).then_some(self.capacity)
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.has_room()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn nobody_waits(&self, for_a_message: bool) -> bool {
        if for_a_message { self.receivers.is_empty() } else { self.senders.is_empty() }
    }

    /// Puts a message into the queue if that is all there is to do: nobody waits for one, and there is room. False: the message is
    /// where it was, and `put` is to be asked.
    ///
    /// # Safety
    /// `message` points to a message, which is the channel's when the result is true.
    #[inline]
    unsafe fn put_quickly(&mut self, message: *const T) -> bool {
        // SAFETY: the caller's promise; the ring is no place for others' messages.
        !self.closed
            && self.receivers.is_empty()
            && self.has_room()
            && unsafe { self.queue.push_from(message) }
    }

    /// Takes the next message out of the queue to `to` if that is all there is to do: nobody waits for room. False: nothing
    /// was moved, and `take` is to be asked.
    ///
    /// # Safety
    /// `to` is valid for writing a message.
    #[inline]
    unsafe fn take_quickly(&mut self, to: *mut T) -> bool {
        // SAFETY: the caller's promise; the ring is no place for others' messages.
        self.senders.is_empty() && unsafe { self.queue.pop_to(to) }
    }

    /// Puts the message of a full slot; it is left there when it cannot be put.
    #[inline]
    pub(crate) fn put(&mut self, message: &mut Slot<T>, wakes: &mut WakeList) -> Put {
        if self.closed {
            return Put::Closed;
        }
        if !self.receivers.is_empty() {
            return self.put_for_receivers(message, wakes);
        }
        if !self.has_room() {
            return Put::Full;
        }
        self.queue.push(message);
        Put::Done
    }

    /// `put`, while receivers wait.
    #[inline(never)]
    fn put_for_receivers(&mut self, message: &mut Slot<T>, wakes: &mut WakeList) -> Put {
        while self.queue.is_empty() && self.receivers.front().is_some_and(Waiter::is_committed) {
            match self.receivers.complete_front(|target| hand_over(message, target)) {
                Completion::Done(waker) => {
                    wakes.push(waker);
                    return Put::Done;
                }
                Completion::Lost | Completion::Nobody => {}
            }
        }
        if !self.has_room() {
            return Put::Full;
        }
        self.queue.push(message);
        self.announce(wakes);
        Put::Done
    }

    /// As `put`, for who will not wait: on a rendezvous it finds the receiver that can be handed a message also behind others, which
    /// could only come and look.
    pub(crate) fn put_now(&mut self, message: &mut Slot<T>, wakes: &mut WakeList) -> Put {
        let put = self.put(message, wakes);
        if put != Put::Full || !self.is_rendezvous() {
            return put;
        }
        loop {
            match self.receivers.complete_first_committed(|target| hand_over(message, target)) {
                Completion::Done(waker) => {
                    wakes.push(waker);
                    return Put::Done;
                }
                Completion::Lost => {}
                Completion::Nobody => return Put::Full,
            }
        }
    }

    /// Puts a message into a place that a permit holds.
    pub(crate) fn put_reserved(&mut self, message: &mut Slot<T>, wakes: &mut WakeList) -> Put {
        self.reserved -= 1;
        let put = self.put(message, wakes);
        // A receiver may have been handed the message: then the place is free.
        self.let_in(wakes);
        put
    }

    /// Gives a reserved place back.
    pub(crate) fn release_place(&mut self, wakes: &mut WakeList) {
        self.reserved -= 1;
        self.let_in(wakes);
    }

    /// Reserves a place.
    pub(crate) fn reserve(&mut self) -> Put {
        match (self.closed, self.has_room()) {
            (true, _) => Put::Closed,
            (false, true) => {
                self.reserved += 1;
                Put::Done
            }
            (false, false) => Put::Full,
        }
    }

    /// Puts a message even if there is no room, in the place of the oldest, which moves to `oldest`, an empty slot.
    pub(crate) fn force(&mut self, message: &mut Slot<T>, oldest: &mut Slot<T>, wakes: &mut WakeList) -> Put {
        let put = self.put_now(message, wakes);
        if put != Put::Full || !self.queue.pop(oldest) {
            return put;
        }
        self.queue.push(message);
        Put::Done
    }

    /// Takes a message, or sees the end.
    #[inline]
    pub(crate) fn look(&mut self, into: &mut Slot<T>, wakes: &mut WakeList) -> Option<Result<(), RecvError>> {
        if self.take(into, wakes) {
            return Some(Ok(()));
        }
        self.closed.then_some(Err(RecvError))
    }

    /// Takes the next message into an empty slot. False: there is none.
    #[inline]
    pub(crate) fn take(&mut self, into: &mut Slot<T>, wakes: &mut WakeList) -> bool {
        if self.queue.pop(into) {
            self.let_in(wakes);
            return true;
        }
        self.is_rendezvous() && !self.senders.is_empty() && self.take_offer(into, wakes)
    }

    /// Takes the message of the first offer.
    #[inline(never)]
    fn take_offer(&mut self, into: &mut Slot<T>, wakes: &mut WakeList) -> bool {
        loop {
            let completion = self.senders.complete_front(|offer| match offer {
                // SAFETY: the lock is held, and the place is that of an enrolled waiter.
                Offer::Message(place) => unsafe { place.as_ref().with(|slot| into.move_from(slot)) },
                Offer::Room | Offer::Reserved => unreachable!("a rendezvous has no places"),
            });
            match completion {
                Completion::Done(waker) => {
                    wakes.push(waker);
                    return true;
                }
                Completion::Lost => {}
                Completion::Nobody => return false,
            }
        }
    }

    /// Takes what there is; `limit` messages at most.
    pub(crate) fn take_many(&mut self, limit: usize, into: &mut Vec<T>, wakes: &mut WakeList) -> usize {
        let mut slot = Slot::EMPTY;
        let mut taken = 0;
        while taken < limit && self.take(&mut slot, wakes) {
            into.reserve(1);
            let room = into.spare_capacity_mut()[0].as_mut_ptr();
            // SAFETY: `room` is the place behind the vector's last, which is the vector's from then on.
            unsafe {
                slot.read_to(room);
                into.set_len(into.len() + 1);
            }
            taken += 1;
        }
        taken
    }

    /// Moves waiting offers into the queue while there is room (`room-is-used`).
    #[inline]
    fn let_in(&mut self, wakes: &mut WakeList) {
        while !self.senders.is_empty() && self.has_room() {
            self.let_one_in(wakes);
        }
    }

    #[inline(never)]
    fn let_one_in(&mut self, wakes: &mut WakeList) {
        let (queue, reserved) = (&mut self.queue, &mut self.reserved);
        let before = queue.len();
        let completion = self.senders.complete_front(|offer| match offer {
            // SAFETY: the lock is held, and the place is that of an enrolled waiter.
            Offer::Message(place) => unsafe { place.as_ref().with(|slot| queue.push(slot)) },
            Offer::Room | Offer::Reserved => {
                *reserved += 1;
                *offer = Offer::Reserved;
            }
        });
        if let Completion::Done(waker) = completion {
            wakes.push(waker);
        }
        if self.queue.len() > before {
            self.announce(wakes);
        }
    }

    /// A message has entered the queue: tells a receiver (`messages-are-announced`).
    #[inline]
    fn announce(&mut self, wakes: &mut WakeList) {
        while let Some(receiver) = self.receivers.front() {
            if !receiver.is_committed() {
                self.notify_receiver(wakes);
                return;
            }
            let queue = &mut self.queue;
            let completion = self.receivers.complete_front(|target| {
                let taken = with_target(target, |slot| queue.pop(slot));
                debug_assert!(taken, "what is announced is there");
            });
            if let Completion::Done(waker) = completion {
                wakes.push(waker);
                return;
            }
        }
    }

    fn notify_receiver(&mut self, wakes: &mut WakeList) {
        if let Notification::Sent(waker) = self.receivers.notify_front() {
            wakes.push(waker);
        }
    }

    /// Enrols a sender that found no room.
    ///
    /// # Safety
    /// As [`WaitQueue::push_back`].
    pub(crate) unsafe fn enrol_sender(&mut self, waiter: &Waiter<Offer<T>>, wakes: &mut WakeList) {
        // SAFETY: the caller's promise.
        unsafe { self.senders.push_back(waiter) };
        if self.is_rendezvous() {
            // Only receivers that cannot be handed a message wait now: the first of them comes to take it.
            if let Notification::Sent(waker) = self.receivers.notify_front_for(waiter) {
                wakes.push(waker);
            }
        }
    }

    /// Enrols a receiver that found nothing: at the front, if it had been notified.
    ///
    /// # Safety
    /// As [`WaitQueue::push_back`].
    pub(crate) unsafe fn enrol_receiver(&mut self, waiter: &Waiter<Target<T>>) {
        // SAFETY: the caller's promise.
        unsafe {
            match waiter.state() {
                WaiterState::Notified => self.receivers.push_front(waiter),
                _ => self.receivers.push_back(waiter),
            }
        }
    }

    /// A receiver goes away: unlinks it, or passes its notification on. The message, if it had been handed one already, is in its
    /// place.
    pub(crate) fn withdraw_receiver(&mut self, waiter: &Waiter<Target<T>>, wakes: &mut WakeList) {
        if waiter.state() == WaiterState::Notified {
            waiter.reset();
            if !self.queue.is_empty() || !self.senders.is_empty() || self.closed {
                self.notify_receiver(wakes);
            }
        }
        self.receivers.remove(waiter);
    }

    /// A sender goes away: unlinks it. If its offer was taken, or refused, its owner finds that in the slot.
    pub(crate) fn withdraw_sender(&mut self, waiter: &Waiter<Offer<T>>) {
        self.senders.remove(waiter);
    }

    /// Closes: no message enters any more. False when it was closed already.
    pub(crate) fn close(&mut self, wakes: &mut WakeList) -> bool {
        if mem::replace(&mut self.closed, true) {
            return false;
        }
        while !self.senders.is_empty() {
            if let Completion::Done(waker) = self.senders.complete_front(|_| ()) {
                wakes.push(waker);
            }
        }
        while !self.receivers.is_empty() {
            self.notify_receiver(wakes);
        }
        true
    }

    /// The queue's content, to be dropped after the lock: no receiver is left.
    pub(crate) fn discard(&mut self) -> Ring<T> {
        mem::replace(&mut self.queue, Ring::new())
    }
}

/// Under the lock, with the target of an enrolled waiter that is committed.
#[inline]
fn with_target<T, R>(target: &Target<T>, f: impl FnOnce(&mut Slot<T>) -> R) -> R {
    let place = target.0.expect("a committed receiver has a place for its message");
    // SAFETY: the lock is held, and the place is that of an enrolled waiter.
    unsafe { place.as_ref().with(f) }
}

#[inline]
fn hand_over<T>(message: &mut Slot<T>, target: &mut Target<T>) {
    with_target(target, |slot| slot.move_from(message));
}

/// Whether those of one side had to wait lately. Who expects to wait gets its waker ready before it takes the lock, and takes it once;
/// else it looks first, which is all that most do, and takes it a second time to enrol. A guess that is wrong costs what a wait
/// prepares (a waker's clone), or the second lock.
#[derive(Debug)]
pub(crate) struct Expectation {
    /// Of std also in the models, for it orders nothing: under it either way is right.
    waiting: std::sync::atomic::AtomicBool,
}

impl Expectation {
    const fn new() -> Self {
        Self { waiting: std::sync::atomic::AtomicBool::new(false) }
    }

    #[inline]
    pub(crate) fn is_waiting_expected(&self) -> bool {
        self.waiting.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// One had to wait, or not, though it was ready to.
    #[inline]
    pub(crate) fn found(&self, waiting: bool) {
        self.waiting.store(waiting, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A channel, shared by its handles.
pub struct Channel<T> {
    lock: ChannelLock,
    pub(crate) sends: Expectation,
    pub(crate) receives: Expectation,
    /// Whether messages may be stored: none of those who send them and those who take them need find another in line.
    pub(crate) is_buffered: bool,
    state: UnsafeCell<State<T>>,
    pub(crate) senders: AtomicUsize,
    pub(crate) receivers: AtomicUsize,
}

// SAFETY: `state` is touched only with `lock` held; messages go from thread to thread, hence `T: Send`.
unsafe impl<T: Send> Send for Channel<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Channel<T> {}

impl<T> Channel<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            lock: ChannelLock::new(),
            sends: Expectation::new(),
            receives: Expectation::new(),
            is_buffered: capacity > 0,
            state: UnsafeCell::new(State {
                queue: Ring::new(),
                capacity,
                reserved: 0,
                senders: WaitQueue::new(),
                receivers: WaitQueue::new(),
                closed: false,
            }),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    /// Calls `f` under the lock.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State<T>) -> R) -> R {
        let _guard: LockGuard<'_> = self.lock.guard();
        // SAFETY: the lock is held.
        self.state.with_mut(|state| f(unsafe { &mut *state }))
    }

    /// `with`, for changes: who is to be woken is woken after the lock.
    #[inline]
    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut State<T>, &mut WakeList) -> R) -> R {
        waking(|wakes| self.with(|state| f(state, wakes)))
    }

    /// Puts the message of a full slot; it is left there when it cannot be put.
    ///
    /// # Panics
    /// When there is none.
    #[inline]
    pub(crate) fn put(&self, message: &mut Slot<T>) -> Put {
        assert!(message.is_full(), "a message is put");
        let guard = self.lock.guard();
        // SAFETY: the lock is held; the slot is full, and empty when its message has been put.
        if self.state.with_mut(|state| unsafe { (*state).put_quickly(message.as_mut_ptr()) }) {
            message.set_empty();
            return Put::Done;
        }
        self.put_locked(message, guard)
    }

    #[inline(never)]
    fn put_locked(&self, message: &mut Slot<T>, guard: LockGuard<'_>) -> Put {
        self.change_locked(guard, |state, wakes| state.put(message, wakes))
    }

    /// Takes the next message to `to`, if that is all there is to do; else the lock is given, for `look_locked`.
    ///
    /// # Safety
    /// `to` is valid for writing a message.
    #[inline]
    pub(crate) unsafe fn take_or_lock(&self, to: *mut T) -> Result<(), LockGuard<'_>> {
        let guard = self.lock.guard();
        // SAFETY: the lock is held; the caller's promise.
        if self.state.with_mut(|state| unsafe { (*state).take_quickly(to) }) { Ok(()) } else { Err(guard) }
    }

    /// Takes the next message into an empty slot, or sees the end.
    #[inline]
    pub(crate) fn look(&self, into: &mut Slot<T>) -> Option<Result<(), RecvError>> {
        // SAFETY: a slot has room for a message, and is full when there is one.
        unsafe {
            match self.take_or_lock(into.as_mut_ptr()) {
                Ok(()) => {
                    into.set_full();
                    Some(Ok(()))
                }
                Err(guard) => self.look_locked(into, guard),
            }
        }
    }

    /// `look`, by who has the lock already.
    #[inline(never)]
    pub(crate) fn look_locked(
        &self,
        into: &mut Slot<T>,
        guard: LockGuard<'_>,
    ) -> Option<Result<(), RecvError>> {
        self.change_locked(guard, |state, wakes| state.look(into, wakes))
    }

    /// `change`, by who has the lock already.
    #[inline]
    fn change_locked<R>(&self, guard: LockGuard<'_>, f: impl FnOnce(&mut State<T>, &mut WakeList) -> R) -> R {
        waking(|wakes| {
            let _guard = guard;
            // SAFETY: the lock is held.
            self.state.with_mut(|state| f(unsafe { &mut *state }, wakes))
        })
    }

    /// The lock alone, for a select, which holds several.
    pub(crate) fn lock(&self) -> &ChannelLock {
        &self.lock
    }

    /// The state, for a select that holds the lock.
    ///
    /// # Safety
    /// The caller holds the lock, and no other access to the state is alive.
    pub(crate) unsafe fn with_locked<R>(&self, f: impl FnOnce(&mut State<T>) -> R) -> R {
        // SAFETY: the caller's promise.
        self.state.with_mut(|state| f(unsafe { &mut *state }))
    }

    pub(crate) fn close(&self) -> bool {
        self.change(|state, wakes| state.close(wakes))
    }

    /// The last receiver has gone: closes, and drops what is queued.
    pub(crate) fn abandon(&self) {
        let discarded = self.change(|state, wakes| {
            state.close(wakes);
            state.discard()
        });
        drop(discarded);
    }
}

impl<T> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}
