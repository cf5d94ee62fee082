//! Places: permits, reservations that are given up, and senders that wait for room.

use super::{Link, Party, cases, content, full_link, link, receive, send, slot, start};
use crate::channel::core::{Channel, Put};
use crate::channel::slot::Slot;
use crate::channel::waiting::{CommittedOffer, Offered, Offering};
use crate::model::{attempt_and_withdraw, explore_bounded, explore_calmly, wait_for};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

cases! {
    a_permit_that_is_dropped_lets_a_sender_in {
        frame(Frame);
        future(Future);
    }
    a_permit_that_is_used_leaves_room_behind {
        frame_to_frame(Frame, Frame);
        future_to_frame(Future, Frame);
        frame_to_future(Frame, Future);
    }
    a_reservation_waits_for_room {
        frame(Frame);
        future(Future);
    }
    a_reservation_that_is_given_up_leaves_the_place {
        frame(Frame);
        future(Future);
    }
    a_reservation_that_is_given_up_lets_the_next_sender_in {
        frame_before_frame(Frame, Frame);
        future_before_frame(Future, Frame);
        future_before_future(Future, Future);
    }
    a_reservation_sees_the_end {
        frame(Frame);
        future(Future);
    }
}

/// A channel of one place, which a permit holds.
fn reserved_link() -> Link {
    let channel = link(1);
    assert_eq!(channel.with(|state| state.reserve()), Put::Done);
    channel
}

fn release(channel: &Channel<u8>) {
    channel.change(|state, wakes| state.release_place(wakes));
}

/// Waits for a place; false: the end.
fn reserve(channel: &Channel<u8>, party: Party) -> bool {
    let offering = pin!(Offering::new(channel, party == Party::Frame));
    let offering = offering.into_ref();
    matches!(wait_for(poll_fn(|cx| offering.poll_room(cx))), Offered::Accepted)
}

/// Enrols for a place, and gives up, as a future that is dropped or a coroutine that is cancelled: a place got by then is
/// given back.
fn reserve_for_a_moment(channel: &Channel<u8>, party: Party) {
    let offering = pin!(Offering::new(channel, party == Party::Frame));
    let offering = offering.into_ref();
    let reserved = match party {
        Party::Frame => {
            // SAFETY: there is no place.
            attempt_and_withdraw(&mut unsafe { CommittedOffer::new(offering, None) })
        }
        Party::Future => match offering.poll_room(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(offered) => Some(offered),
            Poll::Pending => None,
        },
    };
    if matches!(reserved, Some(Offered::Accepted)) {
        release(channel);
    }
}

fn a_permit_that_is_dropped_lets_a_sender_in(sender: Party) {
    explore_bounded(3, move || {
        let channel = reserved_link();
        let sender = start(&channel, move |channel| assert_eq!(send(channel, sender, 1), None));
        release(&channel);
        assert_eq!(receive(&channel, Party::Frame), Some(1));
        sender.join().unwrap();
    });
}

/// A receiver is handed the permit's message past the queue: the place is free then, and a sender may be waiting for it. Three
/// threads: bounded for time.
fn a_permit_that_is_used_leaves_room_behind(sender: Party, receiver: Party) {
    explore_calmly(2, move || {
        let channel = reserved_link();
        let sender = start(&channel, move |channel| assert_eq!(send(channel, sender, 2), None));
        let permit = start(&channel, |channel| {
            let put = channel.change(|state, wakes| state.put_reserved(&mut slot(1), wakes));
            assert_eq!(put, Put::Done);
        });
        let mut received = [(); 2].map(|()| receive(&channel, receiver));
        received.sort_unstable();
        assert_eq!(received, [Some(1), Some(2)]);
        sender.join().unwrap();
        permit.join().unwrap();
    });
}

fn a_reservation_waits_for_room(party: Party) {
    explore_bounded(3, move || {
        let channel = full_link();
        let sender = start(&channel, move |channel| {
            assert!(reserve(channel, party));
            channel.change(|state, wakes| state.put_reserved(&mut slot(1), wakes))
        });
        assert_eq!([(); 2].map(|()| receive(&channel, Party::Frame)), [Some(0), Some(1)]);
        assert_eq!(sender.join().unwrap(), Put::Done);
    });
}

fn a_reservation_that_is_given_up_leaves_the_place(party: Party) {
    explore_bounded(3, move || {
        let channel = full_link();
        let leaver = start(&channel, move |channel| reserve_for_a_moment(channel, party));
        assert_eq!(receive(&channel, Party::Frame), Some(0));
        leaver.join().unwrap();
        assert_eq!(channel.with(|state| state.reserve()), Put::Done);
    });
}

/// Three threads: bounded for time.
fn a_reservation_that_is_given_up_lets_the_next_sender_in(leaves: Party, stays: Party) {
    explore_calmly(2, move || {
        let channel = full_link();
        let leaver = start(&channel, move |channel| reserve_for_a_moment(channel, leaves));
        let sender = start(&channel, move |channel| assert_eq!(send(channel, stays, 1), None));
        assert_eq!([(); 2].map(|()| receive(&channel, Party::Frame)), [Some(0), Some(1)]);
        leaver.join().unwrap();
        sender.join().unwrap();
    });
}

fn a_reservation_sees_the_end(party: Party) {
    explore_bounded(3, move || {
        let channel = full_link();
        let closer = start(&channel, |channel| channel.close());
        assert!(!reserve(&channel, party));
        assert!(closer.join().unwrap());
    });
}

/// A message forced into a full channel pushes the oldest out, unless a receiver has made room: none is lost.
#[test]
fn a_forced_message_and_the_one_it_pushes_out_are_both_somewhere() {
    explore_bounded(3, || {
        let channel = full_link();
        let forcer = start(&channel, |channel| {
            let mut oldest = Slot::EMPTY;
            let put = channel.change(|state, wakes| state.force(&mut slot(1), &mut oldest, wakes));
            assert_eq!(put, Put::Done);
            content(&mut oldest)
        });
        let mut messages = vec![receive(&channel, Party::Frame).unwrap()];
        messages.extend(forcer.join().unwrap());
        messages.extend(super::take_now(&channel));
        messages.sort_unstable();
        assert_eq!(messages, [0, 1]);
    });
}
