//! Selects against selects: two that could meet do meet, once; their locks do not hold each other up; none meets itself.

use super::{
    Endless, Party, Received, Sent, cases, receive, receive_or_receive, receive_or_send, send,
    send_or_receive, send_or_send,
};
use crate::channel::bounded;
use crate::model::explore_bounded;
use loom::thread;

cases! {
    two_that_offer_both_ways_meet_once {
        frames(Frame, Frame);
        frame_and_future(Frame, Future);
        future_and_frame(Future, Frame);
        futures(Future, Future);
    }
    two_senders_offers_meet_two_receivers_wishes_once {
        frames(Frame, Frame);
        frame_and_future(Frame, Future);
        future_and_frame(Future, Frame);
        futures(Future, Future);
    }
    two_that_offer_both_ways_on_one_channel_meet_once {
        frames(Frame, Frame);
        frame_and_future(Frame, Future);
        futures(Future, Future);
    }
    both_ways_on_one_channel_meet_a_receiver {
        frame_and_frame(Frame, Frame);
        frame_and_future(Frame, Future);
        future_and_frame(Future, Frame);
        future_and_future(Future, Future);
    }
    both_ways_on_one_channel_meet_a_sender {
        frame_and_frame(Frame, Frame);
        frame_and_future(Frame, Future);
        future_and_frame(Future, Frame);
        future_and_future(Future, Future);
    }
}

// Selects take many steps; three preemptions suffice for each party to be interrupted between looking and enrolling.
fn two_that_offer_both_ways_meet_once(ours: Party, theirs: Party) {
    explore_bounded(3, move || {
        let ((to_us, inbound), (outbound, from_us)) = (bounded(0), bounded(0));
        let peer = {
            let (to_us, from_us) = (to_us.clone(), from_us.clone());
            thread::spawn(move || send_or_receive((&to_us, &from_us), 2, theirs, Endless))
        };
        let chosen = receive_or_send((&inbound, &outbound), 1, ours, Endless);
        match (chosen, peer.join().unwrap()) {
            (Received(0, Some(2)), Sent(0)) | (Sent(1), Received(1, Some(1))) => {}
            both => panic!("{both:?}"),
        }
    });
}

fn two_senders_offers_meet_two_receivers_wishes_once(ours: Party, theirs: Party) {
    explore_bounded(3, move || {
        let ((to_left, left), (to_right, right)) = (bounded(0), bounded(0));
        let peer = {
            let (to_left, to_right) = (to_left.clone(), to_right.clone());
            // The other way round: locks are taken by address all the same.
            thread::spawn(move || send_or_send((&to_right, &to_left), [2, 1], theirs, Endless))
        };
        let chosen = receive_or_receive((&left, &right), ours, Endless);
        match (chosen, peer.join().unwrap()) {
            (Received(0, Some(1)), Sent(1)) | (Received(1, Some(2)), Sent(0)) => {}
            both => panic!("{both:?}"),
        }
    });
}

fn two_that_offer_both_ways_on_one_channel_meet_once(ours: Party, theirs: Party) {
    explore_bounded(3, move || {
        let (sender, receiver) = bounded(0);
        let peer = {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            thread::spawn(move || receive_or_send((&receiver, &sender), 2, theirs, Endless))
        };
        let chosen = receive_or_send((&receiver, &sender), 1, ours, Endless);
        match (chosen, peer.join().unwrap()) {
            (Received(0, Some(2)), Sent(1)) | (Sent(1), Received(0, Some(1))) => {}
            both => panic!("{both:?}"),
        }
    });
}

/// A select that receives and sends on one rendezvous does not take itself for its peer, and does not keep its wake-ups to
/// itself.
fn both_ways_on_one_channel_meet_a_receiver(ours: Party, theirs: Party) {
    explore_bounded(3, move || {
        let (sender, receiver) = bounded(0);
        let peer = {
            let receiver = receiver.clone();
            thread::spawn(move || receive(&receiver, theirs, Endless))
        };
        assert_eq!(receive_or_send((&receiver, &sender), 1, ours, Endless), Sent(1));
        assert_eq!(peer.join().unwrap(), Some(1));
    });
}

fn both_ways_on_one_channel_meet_a_sender(ours: Party, theirs: Party) {
    explore_bounded(3, move || {
        let (sender, receiver) = bounded(0);
        let peer = {
            let sender = sender.clone();
            thread::spawn(move || send(&sender, 2, theirs, Endless))
        };
        assert_eq!(receive_or_send((&receiver, &sender), 1, ours, Endless), Received(0, Some(2)));
        assert!(peer.join().unwrap());
    });
}
