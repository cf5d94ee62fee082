//! One of several: exactly one case has an effect, and what the others would have taken is still there.

use super::{
    Chosen, Endless, Party, Received, Refused, Sent, cases, receive, receive_or_receive, receive_or_send,
    send, send_or_send,
};
use crate::channel::bounded;
use crate::model::{explore_bounded, explore_calmly};
use loom::thread;

cases! {
    one_of_two_messages_is_received {
        rendezvous_frame(0, Frame);
        rendezvous_future(0, Future);
        bounded_frame(1, Frame);
        bounded_future(1, Future);
    }
    one_of_two_receivers_is_sent_to {
        frame_to_frames(Frame, Frame);
        frame_to_futures(Frame, Future);
        future_to_frames(Future, Frame);
        future_to_futures(Future, Future);
    }
    a_receive_or_a_send_happens {
        frame(Frame);
        future(Future);
    }
    one_channel_twice_gives_one_message_a_choice {
        frame(Frame);
        future(Future);
    }
    one_channel_twice_takes_one_message_a_choice {
        frame(Frame);
        future(Future);
    }
    two_choosers_share_two_messages {
        frames(Frame, Frame);
        mixed(Frame, Future);
        futures(Future, Future);
    }
    the_end_is_a_case {
        frame(Frame);
        future(Future);
    }
    the_end_refuses_a_send {
        frame(Frame);
        future(Future);
    }
}

// Three threads here and below: bounded for time.
fn one_of_two_messages_is_received(capacity: usize, party: Party) {
    explore_calmly(2, move || {
        let ((to_first, first), (to_second, second)) = (bounded(capacity), bounded(capacity));
        let senders = [(to_first, 10), (to_second, 11)].map(|(sender, message)| {
            thread::spawn(move || assert!(send(&sender, message, Party::Frame, Endless)))
        });
        let chosen = receive_or_receive((&first, &second), party, Endless);
        match chosen {
            Received(0, message) => {
                assert_eq!([message, receive(&second, Party::Frame, Endless)], [Some(10), Some(11)]);
            }
            Received(1, message) => {
                assert_eq!([message, receive(&first, Party::Frame, Endless)], [Some(11), Some(10)]);
            }
            chosen => panic!("{chosen:?}"),
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

fn one_of_two_receivers_is_sent_to(party: Party, receivers: Party) {
    explore_calmly(2, move || {
        let ((first, from_first), (second, from_second)) = (bounded(0), bounded(0));
        let receivers = [from_first, from_second]
            .map(|receiver| thread::spawn(move || receive(&receiver, receivers, Endless)));
        let index = match send_or_send((&first, &second), [10, 11], party, Endless) {
            Sent(index) => index,
            chosen => panic!("{chosen:?}"),
        };
        let other = if index == 0 { &second } else { &first };
        assert!(send(other, 20, Party::Frame, Endless));
        let got = receivers.map(|receiver| receiver.join().unwrap().unwrap());
        assert_eq!(got, if index == 0 { [10, 20] } else { [20, 11] });
    });
}

fn a_receive_or_a_send_happens(party: Party) {
    explore_calmly(2, move || {
        let ((to_us, inbound), (outbound, from_us)) = (bounded(0), bounded(0));
        let sender = thread::spawn(move || assert!(send(&to_us, 7, Party::Frame, Endless)));
        let receiver = thread::spawn(move || receive(&from_us, Party::Frame, Endless));
        match receive_or_send((&inbound, &outbound), 1, party, Endless) {
            Received(0, Some(7)) => assert!(send(&outbound, 1, Party::Frame, Endless)),
            Sent(1) => assert_eq!(receive(&inbound, Party::Frame, Endless), Some(7)),
            chosen => panic!("{chosen:?}"),
        }
        sender.join().unwrap();
        assert_eq!(receiver.join().unwrap(), Some(1));
    });
}

fn one_channel_twice_gives_one_message_a_choice(party: Party) {
    explore_bounded(3, move || {
        let (sender, receiver) = bounded(0);
        let sender = thread::spawn(move || {
            [1, 2].into_iter().for_each(|message| assert!(send(&sender, message, Party::Frame, Endless)));
        });
        for expected in [1, 2] {
            match receive_or_receive((&receiver, &receiver), party, Endless) {
                Received(_, message) => assert_eq!(message, Some(expected)),
                chosen => panic!("{chosen:?}"),
            }
        }
        sender.join().unwrap();
    });
}

fn one_channel_twice_takes_one_message_a_choice(party: Party) {
    explore_bounded(3, move || {
        let (sender, receiver) = bounded(0);
        let receiver = thread::spawn(move || [(); 2].map(|()| receive(&receiver, Party::Frame, Endless)));
        let sent = match send_or_send((&sender, &sender), [10, 11], party, Endless) {
            Sent(index) => 10 + index as u8,
            chosen => panic!("{chosen:?}"),
        };
        assert!(send(&sender, 20, Party::Frame, Endless));
        assert_eq!(receiver.join().unwrap(), [Some(sent), Some(20)]);
    });
}

fn two_choosers_share_two_messages(first: Party, second: Party) {
    explore_calmly(2, move || {
        let ((to_left, left), (to_right, right)) = (bounded(0), bounded(0));
        let choosers =
            [(first, left.clone(), right.clone()), (second, right, left)].map(|(party, one, other)| {
                thread::spawn(move || match receive_or_receive((&one, &other), party, Endless) {
                    Received(_, message) => message,
                    chosen => panic!("{chosen:?}"),
                })
            });
        assert!(send(&to_left, 1, Party::Frame, Endless));
        assert!(send(&to_right, 2, Party::Frame, Endless));
        let mut messages = choosers.map(|chooser| chooser.join().unwrap());
        messages.sort_unstable();
        assert_eq!(messages, [Some(1), Some(2)]);
    });
}

fn the_end_is_a_case(party: Party) {
    explore_bounded(3, move || {
        let ((_silent, first), (sender, second)) = (bounded(0), bounded(0));
        let dropper = thread::spawn(move || drop(sender));
        assert_eq!(receive_or_receive((&first, &second), party, Endless), Received(1, None));
        dropper.join().unwrap();
    });
}

fn the_end_refuses_a_send(party: Party) {
    explore_bounded(3, move || {
        let ((first, _deaf), (second, receiver)) = (bounded(0), bounded(0));
        let dropper = thread::spawn(move || drop(receiver));
        assert_eq!(send_or_send((&first, &second), [10, 11], party, Endless), Refused(1, 11));
        dropper.join().unwrap();
    });
}

/// Both cases end at once: one of them is the one.
#[test]
fn two_ends_are_one_case() {
    explore_calmly(2, || {
        let ((to_first, first), (to_second, second)) = (bounded(0), bounded(0));
        let closers = [to_first, to_second].map(|sender| thread::spawn(move || drop(sender)));
        let chosen = receive_or_receive((&first, &second), Party::Frame, Endless);
        assert!(matches!(chosen, Chosen::Received(_, None)));
        closers.into_iter().for_each(|closer| closer.join().unwrap());
    });
}
