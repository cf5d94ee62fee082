//! Parties that give up against peers that meet them: a message is taken or it is not, and somebody else gets his turn.

use super::{Party, cases, full_link, link, receive, receive_for_a_moment, send, send_for_a_moment, start};
use crate::model::{explore_bounded, explore_calmly};

cases! {
    a_withdrawn_send_has_happened_or_not {
        rendezvous_frame_to_frame(RENDEZVOUS, Frame, Frame);
        rendezvous_frame_to_future(RENDEZVOUS, Frame, Future);
        rendezvous_future_to_frame(RENDEZVOUS, Future, Frame);
        rendezvous_future_to_future(RENDEZVOUS, Future, Future);
    }
    a_withdrawn_send_is_let_in_or_not {
        frame_to_frame(Frame, Frame);
        future_to_future(Future, Future);
    }
    a_withdrawn_receive_has_happened_or_not {
        rendezvous_frame_from_frame(RENDEZVOUS, Frame, Frame);
        rendezvous_frame_from_future(RENDEZVOUS, Frame, Future);
        rendezvous_future_from_frame(RENDEZVOUS, Future, Frame);
        rendezvous_future_from_future(RENDEZVOUS, Future, Future);
        bounded_frame(1, Frame, Frame);
        bounded_future(1, Future, Future);
        unbounded_frame(UNBOUNDED, Frame, Frame);
        unbounded_future(UNBOUNDED, Future, Frame);
    }
    the_next_receiver_gets_what_one_that_left_was_told_of {
        rendezvous_future_then_future(RENDEZVOUS, Future, Future);
        rendezvous_future_then_frame(RENDEZVOUS, Future, Frame);
        rendezvous_frame_then_future(RENDEZVOUS, Frame, Future);
        bounded_future_then_future(1, Future, Future);
        bounded_future_then_frame(1, Future, Frame);
        bounded_frame_then_future(1, Frame, Future);
        unbounded_future_then_future(UNBOUNDED, Future, Future);
        unbounded_future_then_frame(UNBOUNDED, Future, Frame);
    }
    the_next_sender_is_met_when_one_has_left {
        frame_then_frame(Frame, Frame);
        future_then_frame(Future, Frame);
        frame_then_future(Frame, Future);
    }
    a_receiver_waits_on_when_the_offer_is_withdrawn {
        frame(Frame);
        future(Future);
    }
}

fn a_withdrawn_send_has_happened_or_not(capacity: usize, sender: Party, receiver: Party) {
    explore_bounded(3, move || {
        let channel = link(capacity);
        let sender = start(&channel, move |channel| {
            let back = send_for_a_moment(channel, sender, 1);
            if back.is_some() {
                channel.close();
            }
            back
        });
        let received = receive(&channel, receiver);
        assert_eq!(
            (received, sender.join().unwrap()),
            if received.is_some() { (Some(1), None) } else { (None, Some(1)) }
        );
    });
}

fn a_withdrawn_send_is_let_in_or_not(sender: Party, receiver: Party) {
    explore_bounded(3, move || {
        let channel = full_link();
        let sender = start(&channel, move |channel| {
            let back = send_for_a_moment(channel, sender, 1);
            if back.is_some() {
                channel.close();
            }
            back
        });
        assert_eq!(receive(&channel, receiver), Some(0));
        let received = receive(&channel, receiver);
        let back = sender.join().unwrap();
        assert_eq!([received, back].into_iter().flatten().collect::<Vec<_>>(), [1]);
    });
}

fn a_withdrawn_receive_has_happened_or_not(capacity: usize, receiver: Party, sender: Party) {
    explore_bounded(3, move || {
        let channel = link(capacity);
        let receiver = start(&channel, move |channel| {
            let received = receive_for_a_moment(channel, receiver);
            if received.is_none() {
                channel.close();
            }
            received
        });
        let back = send(&channel, sender, 1);
        let received = receiver.join().unwrap();
        let left = super::take_now(&channel);
        assert_eq!([received, back, left].into_iter().flatten().collect::<Vec<_>>(), [1]);
    });
}

/// The one that leaves sends another message if it got one, so there is one for the other in any case. It is the first to run:
/// one preemption between its enrolment and its leaving lets the two others meet. Three threads: bounded for time.
fn the_next_receiver_gets_what_one_that_left_was_told_of(capacity: usize, leaves: Party, stays: Party) {
    explore_calmly(2, move || {
        let channel = link(capacity);
        let stayer = start(&channel, move |channel| receive(channel, stays).unwrap());
        let sender = start(&channel, |channel| assert_eq!(send(channel, Party::Frame, 1), None));
        match receive_for_a_moment(&channel, leaves) {
            Some(first) => {
                assert_eq!(send(&channel, Party::Frame, 2), None);
                assert_eq!([first, stayer.join().unwrap()], [1, 2]);
            }
            None => assert_eq!(stayer.join().unwrap(), 1),
        }
        sender.join().unwrap();
    });
}

/// Three threads: bounded for time.
fn the_next_sender_is_met_when_one_has_left(leaves: Party, stays: Party) {
    explore_calmly(2, move || {
        let channel = link(super::RENDEZVOUS);
        let leaver = start(&channel, move |channel| send_for_a_moment(channel, leaves, 1));
        let stayer = start(&channel, move |channel| assert_eq!(send(channel, stays, 2), None));
        let mut received = vec![receive(&channel, Party::Frame).unwrap()];
        if leaver.join().unwrap().is_none() {
            received.push(receive(&channel, Party::Frame).unwrap());
            received.sort_unstable();
            assert_eq!(received, [1, 2]);
        } else {
            assert_eq!(received, [2]);
        }
        stayer.join().unwrap();
    });
}

fn a_receiver_waits_on_when_the_offer_is_withdrawn(sender: Party) {
    explore_bounded(3, move || {
        let channel = link(super::RENDEZVOUS);
        let sender = start(&channel, move |channel| match send_for_a_moment(channel, sender, 1) {
            Some(_) => {
                assert_eq!(send(channel, sender, 2), None);
                2
            }
            None => 1,
        });
        let received = receive(&channel, Party::Future);
        assert_eq!(received, Some(sender.join().unwrap()));
    });
}
