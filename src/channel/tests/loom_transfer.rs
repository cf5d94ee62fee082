//! Messages go from senders to receivers: each to one, in order, with nobody left asleep.

use super::{Party, cases, link, receive, send, start, take_now};
use crate::model::{explore_bounded, explore_calmly};

cases! {
    two_messages_arrive_in_order {
        rendezvous_frame_to_frame(RENDEZVOUS, Frame, Frame);
        rendezvous_frame_to_future(RENDEZVOUS, Frame, Future);
        rendezvous_future_to_frame(RENDEZVOUS, Future, Frame);
        rendezvous_future_to_future(RENDEZVOUS, Future, Future);
        bounded_frame_to_frame(1, Frame, Frame);
        bounded_frame_to_future(1, Frame, Future);
        bounded_future_to_frame(1, Future, Frame);
        bounded_future_to_future(1, Future, Future);
        unbounded_to_frame(UNBOUNDED, Frame, Frame);
        unbounded_to_future(UNBOUNDED, Frame, Future);
    }
    two_senders_are_both_heard {
        rendezvous_frames_to_frame(RENDEZVOUS, [Frame, Frame], Frame);
        rendezvous_futures_to_future(RENDEZVOUS, [Future, Future], Future);
        rendezvous_mixed_to_future(RENDEZVOUS, [Frame, Future], Future);
        bounded_frames_to_frame(1, [Frame, Frame], Frame);
        bounded_mixed_to_future(1, [Frame, Future], Future);
        unbounded_to_future(UNBOUNDED, [Frame, Frame], Future);
    }
    two_receivers_get_a_message_each {
        rendezvous_to_frames(RENDEZVOUS, Frame, [Frame, Frame]);
        rendezvous_to_futures(RENDEZVOUS, Future, [Future, Future]);
        rendezvous_to_mixed(RENDEZVOUS, Frame, [Frame, Future]);
        bounded_to_mixed(1, Frame, [Frame, Future]);
        bounded_to_futures(1, Future, [Future, Future]);
        unbounded_to_mixed(UNBOUNDED, Frame, [Frame, Future]);
        unbounded_to_futures(UNBOUNDED, Frame, [Future, Future]);
    }
    a_receiver_that_finds_nothing_waits_on {
        bounded_future(1, Future);
        unbounded_frame(UNBOUNDED, Frame);
        unbounded_future(UNBOUNDED, Future);
    }
}

// Two messages make many steps: three preemptions are more than any order needs in which two parties just miss each other.
fn two_messages_arrive_in_order(capacity: usize, sender: Party, receiver: Party) {
    explore_bounded(3, move || {
        let channel = link(capacity);
        let sender = start(&channel, move |channel| {
            for message in [1, 2] {
                assert_eq!(send(channel, sender, message), None);
            }
        });
        assert_eq!([1, 2].map(|_| receive(&channel, receiver)), [Some(1), Some(2)]);
        sender.join().unwrap();
    });
}

// Three threads: bounded for time.
fn two_senders_are_both_heard(capacity: usize, senders: [Party; 2], receiver: Party) {
    explore_calmly(2, move || {
        let channel = link(capacity);
        let [first, second] = senders;
        let senders = [(first, 1), (second, 2)].map(|(sender, message)| {
            start(&channel, move |channel| assert_eq!(send(channel, sender, message), None))
        });
        let mut messages = [(); 2].map(|()| receive(&channel, receiver));
        messages.sort_unstable();
        assert_eq!(messages, [Some(1), Some(2)]);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

// Three threads: bounded for time.
fn two_receivers_get_a_message_each(capacity: usize, sender: Party, receivers: [Party; 2]) {
    explore_calmly(2, move || {
        let channel = link(capacity);
        let receivers = receivers.map(|receiver| start(&channel, move |channel| receive(channel, receiver)));
        for message in [1, 2] {
            assert_eq!(send(&channel, sender, message), None);
        }
        let mut messages = receivers.map(|receiver| receiver.join().unwrap());
        messages.sort_unstable();
        assert_eq!(messages, [Some(1), Some(2)]);
    });
}

/// A newcomer may take the message that a receiver was told of; the next one is that receiver's.
fn a_receiver_that_finds_nothing_waits_on(capacity: usize, receiver: Party) {
    explore_bounded(3, move || {
        let channel = link(capacity);
        let peer = start(&channel, |channel| {
            assert_eq!(send(channel, Party::Frame, 1), None);
            let taken = take_now(channel);
            if taken.is_some() {
                assert_eq!(send(channel, Party::Frame, 2), None);
            }
            taken
        });
        let received = receive(&channel, receiver).unwrap();
        match peer.join().unwrap() {
            Some(taken) => assert_eq!([taken, received], [1, 2]),
            None => assert_eq!(received, 1),
        }
    });
}
