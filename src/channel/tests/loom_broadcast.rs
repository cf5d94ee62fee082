//! Every message to every receiver: each gets all of them in order, or is told how many it missed, and nobody is left asleep.

use super::{Party, cases};
use crate::channel::broadcast::{self, Receiver, RecvError};
use crate::channel::shared::{CommittedWatch, Watching};
use crate::model::{attempt_and_withdraw, explore, explore_bounded, explore_calmly, wait_for};
use loom::thread;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

cases! {
    a_wait_that_is_given_up_misses_nothing {
        frame(Frame);
        future(Future);
    }
}

fn receive(rx: &mut Receiver<u8>) -> Result<u8, RecvError> {
    wait_for(rx.recv_async())
}

/// Enrols, and gives up.
fn receive_for_a_moment(rx: &mut Receiver<u8>, party: Party) -> Option<u8> {
    match party {
        Party::Frame => {
            let mut watching = pin!(Watching::new(rx));
            let received = attempt_and_withdraw(&mut CommittedWatch(watching.as_mut()))?;
            received.ok().map(|message| *message)
        }
        Party::Future => {
            let receiving = pin!(rx.recv_async());
            match receiving.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(received) => received.ok(),
                Poll::Pending => None,
            }
        }
    }
}

// Three threads: bounded for time.
#[test]
fn every_receiver_gets_every_message_in_order() {
    explore_calmly(2, || {
        let (tx, mut rx) = broadcast::channel(2);
        let mut other = rx.clone();
        let other = thread::spawn(move || [(); 2].map(|()| receive(&mut other)));
        let sender = thread::spawn(move || {
            for message in [1, 2] {
                assert_eq!(tx.send(message).ok(), Some(2));
            }
        });
        assert_eq!([(); 2].map(|()| receive(&mut rx)), [Ok(1), Ok(2)]);
        assert_eq!(other.join().unwrap(), [Ok(1), Ok(2)]);
        sender.join().unwrap();
    });
}

#[test]
fn what_was_missed_is_counted_and_then_comes_the_end() {
    explore_bounded(3, || {
        let (tx, mut rx) = broadcast::channel(1);
        let sender = thread::spawn(move || {
            for message in [1, 2] {
                assert_eq!(tx.send(message).ok(), Some(1));
            }
        });
        let (mut accounted, mut last) = (0, 0);
        loop {
            match receive(&mut rx) {
                Ok(message) => {
                    assert!(message > last);
                    last = message;
                    accounted += 1;
                }
                Err(RecvError::Lagged(missed)) => accounted += missed,
                Err(RecvError::Closed) => break,
            }
        }
        assert_eq!((accounted, last), (2, 2));
        sender.join().unwrap();
    });
}

fn a_wait_that_is_given_up_misses_nothing(party: Party) {
    explore(move || {
        let (tx, mut rx) = broadcast::channel(1);
        let sender = thread::spawn(move || assert_eq!(tx.send(1).ok(), Some(1)));
        let early = receive_for_a_moment(&mut rx, party);
        let late = receive(&mut rx);
        let expected = if early.is_some() { Err(RecvError::Closed) } else { Ok(1) };
        assert_eq!((early.unwrap_or(1), late), (1, expected));
        sender.join().unwrap();
    });
}

/// The end of the last of two senders, not that of the first.
#[test]
fn the_last_senders_end_wakes_all() {
    explore_calmly(2, || {
        let (tx, mut rx) = broadcast::channel::<u8>(1);
        let (tx2, mut other) = (tx.clone(), rx.clone());
        let senders = [tx, tx2].map(|tx| thread::spawn(move || drop(tx)));
        assert_eq!((receive(&mut rx), receive(&mut other)), (Err(RecvError::Closed), Err(RecvError::Closed)));
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

/// Receivers come and go while a message is sent: it is dropped when nobody has yet to get it, and not before.
#[test]
fn a_message_lives_until_all_have_got_it_or_gone() {
    explore_bounded(3, || {
        let (tx, rx) = broadcast::channel(1);
        let message = Arc::new(());
        let mut stays = rx.clone();
        let leaver = thread::spawn(move || drop(rx));
        assert!(tx.send(message.clone()).is_ok());
        assert_eq!(Arc::strong_count(&message), 2);
        assert!(wait_for(stays.recv_async()).is_ok());
        leaver.join().unwrap();
        assert!(tx.is_empty());
        assert_eq!(Arc::strong_count(&message), 1);
    });
}
