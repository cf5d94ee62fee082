//! Selects that are given up, by a cancelled frame or a dropped future, against peers; and notifications that are not used.

use super::{
    AMoment, Endless, Nothing, Party, Received, Sent, cases, receive, receive_or_receive, receive_or_send,
    send, send_or_send,
};
use crate::channel::bounded;
use crate::model::explore_calmly;
use loom::thread;

cases! {
    a_choice_that_is_given_up_has_happened_or_not {
        frame_from_frame(Frame, Frame);
        frame_from_future(Frame, Future);
        future_from_frame(Future, Frame);
        future_from_future(Future, Future);
    }
    an_offer_of_two_that_is_given_up_has_happened_or_not {
        frame_to_frame(Frame, Frame);
        frame_to_future(Frame, Future);
        future_to_frame(Future, Frame);
        future_to_future(Future, Future);
    }
    a_select_that_is_given_up_passes_on {
        rendezvous_future_then_future(0, Future, Future);
        rendezvous_future_then_frame(0, Future, Frame);
        rendezvous_frame_then_future(0, Frame, Future);
        bounded_future_then_future(1, Future, Future);
        bounded_future_then_frame(1, Future, Frame);
    }
    a_select_that_chooses_another_case_passes_on {
        future_then_future(Future, Future);
        future_then_frame(Future, Frame);
        frame_then_future(Frame, Future);
    }
    a_send_that_is_taken_excludes_the_other_case {
        frame(Frame);
        future(Future);
    }
}

// A sender for each case, one of which the select meets, or none. Three threads: bounded for time.
fn a_choice_that_is_given_up_has_happened_or_not(party: Party, peers: Party) {
    explore_calmly(2, move || {
        let ((to_first, first), (to_second, second)) = (bounded(0), bounded(0));
        let senders = [(to_first, 10), (to_second, 11)]
            .map(|(sender, message)| thread::spawn(move || send(&sender, message, peers, AMoment)));
        let chosen = receive_or_receive((&first, &second), party, AMoment);
        let sent = senders.map(|sender| sender.join().unwrap());
        match chosen {
            Received(0, Some(10)) => assert_eq!(sent, [true, false]),
            Received(1, Some(11)) => assert_eq!(sent, [false, true]),
            // The senders that gave up have dropped their handles.
            Nothing | Received(_, None) => assert_eq!(sent, [false, false]),
            chosen => panic!("{chosen:?}"),
        }
    });
}

fn an_offer_of_two_that_is_given_up_has_happened_or_not(party: Party, peers: Party) {
    explore_calmly(2, move || {
        let ((first, from_first), (second, from_second)) = (bounded(0), bounded(0));
        let receivers = [&from_first, &from_second].map(|receiver| {
            let receiver = receiver.clone();
            thread::spawn(move || receive(&receiver, peers, AMoment))
        });
        let chosen = send_or_send((&first, &second), [10, 11], party, AMoment);
        let got = receivers.map(|receiver| receiver.join().unwrap());
        match chosen {
            Sent(0) => assert_eq!(got, [Some(10), None]),
            Sent(1) => assert_eq!(got, [None, Some(11)]),
            Nothing => assert_eq!(got, [None, None]),
            chosen => panic!("{chosen:?}"),
        }
    });
}

/// The select that gives up sends another message if it got one, so there is one for the other in any case.
fn a_select_that_is_given_up_passes_on(capacity: usize, leaves: Party, stays: Party) {
    explore_calmly(2, move || {
        let ((sender, shared), (_silent, other)) = (bounded(capacity), bounded(capacity));
        let stayer = {
            let shared = shared.clone();
            thread::spawn(move || receive(&shared, stays, Endless))
        };
        let first = {
            let sender = sender.clone();
            thread::spawn(move || assert!(send(&sender, 1, Party::Frame, Endless)))
        };
        match receive_or_receive((&other, &shared), leaves, AMoment) {
            Nothing => assert_eq!(stayer.join().unwrap(), Some(1)),
            chosen => {
                assert!(send(&sender, 2, Party::Frame, Endless));
                assert_eq!((chosen, stayer.join().unwrap()), (Received(1, Some(1)), Some(2)));
            }
        }
        first.join().unwrap();
    });
}

/// It may have been told of a message on a channel on which somebody else waits, too.
fn a_select_that_chooses_another_case_passes_on(chooses: Party, stays: Party) {
    explore_calmly(2, move || {
        let ((to_shared, shared), (to_other, other)) = (bounded(1), bounded(1));
        let stayer = {
            let shared = shared.clone();
            thread::spawn(move || receive(&shared, stays, Endless))
        };
        let sender = {
            let to_shared = to_shared.clone();
            thread::spawn(move || {
                assert!(send(&to_shared, 1, Party::Frame, Endless));
                assert!(send(&to_other, 2, Party::Frame, Endless));
            })
        };
        let chosen = receive_or_receive((&other, &shared), chooses, Endless);
        if chosen == Received(1, Some(1)) {
            assert!(send(&to_shared, 3, Party::Frame, Endless));
            assert_eq!(stayer.join().unwrap(), Some(3));
        } else {
            assert_eq!((chosen, stayer.join().unwrap()), (Received(0, Some(2)), Some(1)));
        }
        sender.join().unwrap();
    });
}

/// While a receiver takes the message out of the select, its other case becomes ready; in the end by being closed.
fn a_send_that_is_taken_excludes_the_other_case(party: Party) {
    explore_calmly(2, move || {
        let ((to_us, inbound), (outbound, from_us)) = (bounded(0), bounded(0));
        let sender = thread::spawn(move || send(&to_us, 7, Party::Frame, AMoment));
        let taker = {
            let from_us = from_us.clone();
            thread::spawn(move || receive(&from_us, Party::Frame, AMoment))
        };
        let chosen = receive_or_send((&inbound, &outbound), 1, party, Endless);
        match (chosen, sender.join().unwrap(), taker.join().unwrap()) {
            (Received(0, Some(7)), true, None)
            | (Received(0, None), false, None)
            | (Sent(1), false, Some(1)) => {}
            all => panic!("{all:?}"),
        }
    });
}
