//! Models of the channel.
//!
//! Every wait here ends, or the checker reports a deadlock: so each model also shows that no wake-up is lost. A party is a frame
//! (committed) or a future (revocable). A deadline and a cancellation are the same to a channel: a withdrawal.

mod loom_broadcast;
mod loom_close;
mod loom_lock;
mod loom_oneshot;
mod loom_places;
mod loom_transfer;
mod loom_wakers;
mod loom_watch;
mod loom_withdrawal;

use crate::channel::core::Channel;
use crate::channel::slot::{Held, Room, Slot};
use crate::channel::waiting::{CommittedOffer, CommittedReceive, Offered, Offering, Receiving, Sending};
use crate::model::{attempt_and_withdraw, wait_for};
use crate::wait::committed::Committed;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

const RENDEZVOUS: usize = 0;
const UNBOUNDED: usize = usize::MAX;

/// How a party waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Party {
    Frame,
    Future,
}

use Party::{Frame, Future};

type Link = Arc<Channel<u8>>;

fn link(capacity: usize) -> Link {
    Arc::new(Channel::new(capacity))
}

/// A channel of one place, which is taken by the message 0.
fn full_link() -> Link {
    let channel = link(1);
    assert_eq!(send(&channel, Frame, 0), None);
    channel
}

fn start<R: 'static>(channel: &Link, party: impl FnOnce(&Channel<u8>) -> R + 'static) -> JoinHandle<R> {
    let channel = channel.clone();
    thread::spawn(move || party(&channel))
}

/// A slot that holds a message.
fn slot(message: u8) -> Slot<u8> {
    let mut slot = Slot::EMPTY;
    slot.fill(message);
    slot
}

fn content(slot: &mut Slot<u8>) -> Option<u8> {
    slot.is_full().then(|| slot.take())
}

/// One poll of an operation.
type Polls<'a, R> = &'a mut dyn FnMut(&mut Context<'_>) -> Poll<R>;

/// A send, to be polled: it gives the message back if that was refused.
fn with_send<R>(
    channel: &Channel<u8>,
    party: Party,
    message: u8,
    f: impl FnOnce(Polls<'_, Option<u8>>) -> R,
) -> R {
    let mut room = Room::uninit();
    let held = Held::full(&mut room, message);
    match party {
        Frame => {
            let offering = pin!(Offering::new(channel, true));
            // SAFETY: the place is declared before the waiter.
            let mut offer = unsafe { CommittedOffer::new(offering.into_ref(), Some(held.place())) };
            f(&mut |cx| offer.poll(cx).map(|offered| (offered == Offered::Refused).then_some(message)))
        }
        Future => {
            let sending = pin!(Sending::with_message(channel, message));
            let sending = sending.into_ref();
            f(&mut |cx| sending.poll_message(cx).map(|_| sending.take_message()))
        }
    }
}

/// A receive, to be polled; `None`: the end.
fn with_receive<R>(channel: &Channel<u8>, party: Party, f: impl FnOnce(Polls<'_, Option<u8>>) -> R) -> R {
    match party {
        Frame => {
            let mut room = Room::uninit();
            let held = Held::empty(&mut room);
            // SAFETY: the place is declared before the waiter.
            let receiving = pin!(unsafe { Receiving::committed(channel, held.place()) });
            // SAFETY: it is that place.
            let mut receive = unsafe { CommittedReceive::new(receiving.into_ref(), held.place()) };
            // SAFETY: the receive is over: the place is this frame's.
            f(&mut |cx| receive.poll(cx).map(|_| unsafe { held.place().with(content) }))
        }
        Future => {
            let receiving = pin!(Receiving::revocable(channel));
            let receiving = receiving.into_ref();
            f(&mut |cx| receiving.poll_message(cx).map(Result::ok))
        }
    }
}

/// Waits until the message is taken or refused; then it comes back.
fn send(channel: &Channel<u8>, party: Party, message: u8) -> Option<u8> {
    with_send(channel, party, message, |poll| wait_for(poll_fn(poll)))
}

/// Waits for a message; `None`: the end.
fn receive(channel: &Channel<u8>, party: Party) -> Option<u8> {
    with_receive(channel, party, |poll| wait_for(poll_fn(poll)))
}

/// Enrols, and gives up: the message comes back unless it was taken.
fn send_for_a_moment(channel: &Channel<u8>, party: Party, message: u8) -> Option<u8> {
    if party == Future {
        let sending = pin!(Sending::with_message(channel, message));
        let sending = sending.into_ref();
        let _: Poll<_> = sending.poll_message(&mut Context::from_waker(Waker::noop()));
        return sending.reclaim();
    }
    let mut room = Room::uninit();
    let mut held = Held::full(&mut room, message);
    {
        let offering = pin!(Offering::new(channel, true));
        // SAFETY: the place is declared before the waiter.
        let mut offer = unsafe { CommittedOffer::new(offering.into_ref(), Some(held.place())) };
        attempt_and_withdraw(&mut offer);
    }
    content(held.slot())
}

/// Enrols, and gives up.
fn receive_for_a_moment(channel: &Channel<u8>, party: Party) -> Option<u8> {
    if party == Future {
        let receiving = pin!(Receiving::revocable(channel));
        return match receiving.as_ref().poll_message(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.ok(),
            Poll::Pending => None,
        };
    }
    let mut room = Room::uninit();
    let mut held = Held::empty(&mut room);
    {
        // SAFETY: the place is declared before the waiter.
        let receiving = pin!(unsafe { Receiving::committed(channel, held.place()) });
        // SAFETY: it is that place.
        let mut receive = unsafe { CommittedReceive::new(receiving.into_ref(), held.place()) };
        attempt_and_withdraw(&mut receive);
    }
    content(held.slot())
}

/// Takes what is queued, without waiting.
fn take_now(channel: &Channel<u8>) -> Option<u8> {
    let mut slot = Slot::EMPTY;
    channel.change(|state, wakes| state.take(&mut slot, wakes));
    content(&mut slot)
}

/// Names tests of one model with different arguments.
macro_rules! cases {
    ($($model:ident { $($name:ident($($argument:expr),*);)* })*) => {$(
        mod $model {
            #[allow(unused_imports, reason = "not every family of models needs all of them")]
            use super::super::{Frame, Future, RENDEZVOUS, UNBOUNDED};
            $(#[test] fn $name() { super::$model($($argument),*) })*
        }
    )*};
}
use cases;
