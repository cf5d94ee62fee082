//! The latest value: some may be skipped, the last is never, and nobody is left asleep.

use super::{Party, cases};
use crate::channel::RecvError;
use crate::channel::shared::{CommittedWatch, Watching};
use crate::channel::watch::{self, Receiver};
use crate::model::{attempt_and_withdraw, explore, explore_bounded, explore_calmly, wait_for};
use loom::thread;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

cases! {
    a_wait_that_is_given_up_has_seen_nothing {
        frame(Frame);
        future(Future);
    }
}

fn changed(rx: &mut Receiver<u8>) -> Result<u8, RecvError> {
    wait_for(rx.changed_async())?;
    Ok(*rx.borrow())
}

#[test]
fn values_go_forward_to_the_last_and_then_comes_the_end() {
    explore_bounded(3, || {
        let (tx, mut rx) = watch::channel(0);
        let sender = thread::spawn(move || [1, 2].into_iter().for_each(|value| tx.send(value)));
        let mut seen = vec![0];
        while let Ok(value) = changed(&mut rx) {
            seen.push(value);
        }
        // `borrow` after `changed` may already give the value after, which is then seen twice.
        assert!(seen.is_sorted(), "{seen:?}");
        assert_eq!(seen.last(), Some(&2));
        sender.join().unwrap();
    });
}

// Three threads: bounded for time.
#[test]
fn every_receiver_sees_the_last_value() {
    explore_calmly(2, || {
        let (tx, mut rx) = watch::channel(0);
        let mut other = rx.clone();
        let other =
            thread::spawn(move || wait_for(other.wait_for_async(|value| *value == 1)).map(|value| *value));
        let sender = thread::spawn(move || tx.send(1));
        assert_eq!(changed(&mut rx), Ok(1));
        assert_eq!(other.join().unwrap(), Ok(1));
        sender.join().unwrap();
    });
}

fn a_wait_that_is_given_up_has_seen_nothing(party: Party) {
    explore(move || {
        let (tx, mut rx) = watch::channel(0);
        let sender = thread::spawn(move || tx.send(1));
        let early = match party {
            Party::Frame => {
                let mut watching = pin!(Watching::new(&mut rx));
                attempt_and_withdraw(&mut CommittedWatch(watching.as_mut())).is_some()
            }
            Party::Future => {
                let changed = pin!(rx.changed_async());
                changed.poll(&mut Context::from_waker(Waker::noop())).is_ready()
            }
        };
        let late = changed(&mut rx);
        assert_eq!(late, if early { Err(RecvError) } else { Ok(1) });
        assert_eq!(*rx.borrow(), 1);
        sender.join().unwrap();
    });
}

#[test]
fn changes_of_two_are_both_made() {
    explore_bounded(3, || {
        let (tx, rx) = watch::channel(0);
        let tx2 = tx.clone();
        let other = thread::spawn(move || tx2.modify(|value| *value += 1));
        tx.modify(|value| *value += 1);
        other.join().unwrap();
        assert_eq!(*rx.borrow(), 2);
    });
}

/// The end of the last of two receivers, not that of the first.
#[test]
fn the_last_receivers_end_is_told() {
    explore_calmly(2, || {
        let (tx, rx) = watch::channel(0);
        let receivers = [rx.clone(), rx].map(|rx| thread::spawn(move || drop(rx)));
        {
            let given_up = pin!(tx.closed_async());
            let _: Poll<()> = given_up.poll(&mut Context::from_waker(Waker::noop()));
        }
        wait_for(tx.closed_async());
        assert!(tx.is_closed());
        receivers.into_iter().for_each(|receiver| receiver.join().unwrap());
    });
}
