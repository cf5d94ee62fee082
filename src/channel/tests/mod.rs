//! Models of the channel.
//!
//! Every wait here ends, or the checker reports a deadlock: so each model also shows that no wake-up is lost. A party is a frame
//! (committed) or a future (revocable). A deadline and a cancellation are the same to a channel: a withdrawal.

mod loom_close;
mod loom_places;
mod loom_transfer;
mod loom_wakers;
mod loom_withdrawal;

use crate::channel::core::Channel;
use crate::channel::waiting::{CommittedOffer, CommittedReceive, Offered, Offering, Receiving};
use crate::model::{attempt_and_withdraw, wait_for};
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

/// Waits until the message is taken or refused; then it comes back.
fn send(channel: &Channel<u8>, party: Party, message: u8) -> Option<u8> {
    let offering = pin!(Offering::message(channel, message, party == Frame));
    let offering = offering.into_ref();
    came_back(wait_for(poll_fn(|cx| offering.poll(cx))))
}

fn came_back(offered: Offered<u8>) -> Option<u8> {
    match offered {
        Offered::Accepted => None,
        Offered::Refused(message) => Some(message.unwrap()),
    }
}

/// Waits for a message; `None`: the end.
fn receive(channel: &Channel<u8>, party: Party) -> Option<u8> {
    let receiving = pin!(Receiving::new(channel, party == Frame));
    let receiving = receiving.into_ref();
    wait_for(poll_fn(|cx| receiving.poll(cx))).ok()
}

/// Enrols, and gives up: the message comes back unless it was taken.
fn send_for_a_moment(channel: &Channel<u8>, party: Party, message: u8) -> Option<u8> {
    let offering = pin!(Offering::message(channel, message, party == Frame));
    let offering = offering.into_ref();
    let ended = match party {
        Frame => attempt_and_withdraw(&mut CommittedOffer(offering)),
        Future => match offering.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(offered) => Some(offered),
            Poll::Pending => None,
        },
    };
    ended.map_or_else(|| offering.reclaim(), came_back)
}

/// Enrols, and gives up.
fn receive_for_a_moment(channel: &Channel<u8>, party: Party) -> Option<u8> {
    let receiving = pin!(Receiving::new(channel, party == Frame));
    let receiving = receiving.into_ref();
    match party {
        Frame => attempt_and_withdraw(&mut CommittedReceive(receiving))?.ok(),
        Future => match receiving.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.ok(),
            Poll::Pending => None,
        },
    }
}

/// Takes what is queued, without waiting.
fn take_now(channel: &Channel<u8>) -> Option<u8> {
    channel.change(|state, wakes| state.take(wakes))
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
