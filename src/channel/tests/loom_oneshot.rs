//! The channel for one message: it arrives, or both ends know why not; and it is dropped once.

use super::{Party, cases};
use crate::channel::oneshot::{self, CommittedReceive};
use crate::channel::slot::Slot;
use crate::model::{attempt_and_withdraw, explore, explore_bounded, wait_for};
use crate::wait::committed::Committed;
use loom::thread;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

cases! {
    the_message_or_the_senders_end_arrives {
        sent_to_a_frame(true, Frame);
        sent_to_a_future(true, Future);
        dropped_to_a_frame(false, Frame);
        dropped_to_a_future(false, Future);
    }
    a_receive_that_is_given_up_leaves_the_message {
        frame(Frame);
        future(Future);
    }
}

/// Waits for the message; `None`: there will be none.
fn receive(rx: &mut oneshot::Receiver<u8>, party: Party) -> Option<u8> {
    match party {
        Party::Frame => {
            let mut slot = Slot::EMPTY;
            {
                let mut receive = CommittedReceive { receiver: rx, into: &mut slot };
                let _: Result<(), _> = wait_for(poll_fn(|cx| receive.poll(cx)));
            }
            super::content(&mut slot)
        }
        Party::Future => wait_for(rx).ok(),
    }
}

fn the_message_or_the_senders_end_arrives(sends: bool, party: Party) {
    explore(move || {
        let (tx, mut rx) = oneshot::channel();
        let sender = thread::spawn(move || {
            if sends {
                assert_eq!(tx.send(1), Ok(()));
            }
        });
        assert_eq!(receive(&mut rx, party), sends.then_some(1));
        sender.join().unwrap();
    });
}

fn a_receive_that_is_given_up_leaves_the_message(party: Party) {
    explore(move || {
        let (tx, mut rx) = oneshot::channel();
        let sender = thread::spawn(move || assert_eq!(tx.send(1), Ok(())));
        let early = match party {
            Party::Frame => {
                let mut slot = Slot::EMPTY;
                attempt_and_withdraw(&mut CommittedReceive { receiver: &mut rx, into: &mut slot });
                super::content(&mut slot)
            }
            Party::Future => match Pin::new(&mut rx).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(received) => received.ok(),
                Poll::Pending => None,
            },
        };
        assert_eq!(early.or_else(|| receive(&mut rx, party)), Some(1));
        sender.join().unwrap();
    });
}

/// The sender gets the message back, or it goes with the receiver.
#[test]
fn a_receiver_that_goes_drops_the_message_or_refuses_it() {
    explore(|| {
        let (tx, rx) = oneshot::channel();
        let message = Arc::new(());
        let ours = message.clone();
        let sender = thread::spawn(move || tx.send(message).err());
        drop(rx);
        let back = sender.join().unwrap();
        assert_eq!(Arc::strong_count(&ours), 1 + usize::from(back.is_some()));
    });
}

#[test]
fn what_was_sent_before_a_close_is_received() {
    explore(|| {
        let (tx, mut rx) = oneshot::channel();
        let sender = thread::spawn(move || tx.send(1));
        rx.close();
        let received = rx.try_recv().ok();
        assert_eq!(sender.join().unwrap().err(), received.is_none().then_some(1));
    });
}

/// All who wait for the receiver's end are told; one of them was given up meanwhile.
#[test]
fn the_receivers_end_is_told() {
    explore_bounded(3, || {
        let (tx, rx) = oneshot::channel::<u8>();
        let receiver = thread::spawn(move || drop(rx));
        {
            let mut given_up = Box::pin(tx.closed_async());
            let _: Poll<()> = given_up.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        wait_for(tx.closed_async());
        assert!(tx.is_closed());
        receiver.join().unwrap();
    });
}
