//! `oneshot` over every kind of party.

mod common;

use aqueduct::channel::{RecvError, RecvTimeoutError, TryRecvError, oneshot};
use aqueduct::{Handle, Wait, go};
use common::party::{PARTIES, pairs};
use common::{Counted, Drops};
use futures::future::{FusedFuture, FutureExt, join_all};
use futures_test::task::{new_count_waker, noop_context, panic_context};
use std::task::{Context, Poll};
use std::time::Duration;

#[test]
fn the_message_arrives_whoever_comes_first() {
    for (sender, receiver) in pairs() {
        for _ in 0..50 {
            let (tx, rx) = oneshot::channel();
            let sending = sender.drive(async move { tx.send(7) });
            // A receiver is both: one of the two forms is dropped unused, so only one is made.
            let receiving = match receiver {
                common::party::Party::Future => receiver.drive(rx),
                _ => receiver.start(move || rx.recv(), async { unreachable!() }),
            };
            assert_eq!(receiving.join(), Ok(7), "{sender:?} {receiver:?}");
            assert!(sending.join().is_ok());
        }
    }
}

#[test]
fn a_receiver_that_waits_is_woken_by_the_message_and_by_its_absence() {
    for sends in [true, false] {
        let (tx, rx) = oneshot::channel();
        let waiting = go(move || rx.recv());
        common::until_waiting(&Handle::current(), waiting.id());
        match sends {
            true => tx.send(1).unwrap(),
            false => drop(tx),
        }
        assert_eq!(waiting.join().unwrap(), if sends { Ok(1) } else { Err(RecvError) });
    }
}

#[test]
fn a_message_nobody_wants_comes_back() {
    let (tx, rx) = oneshot::channel();
    drop(rx);
    assert!(tx.is_closed());
    assert_eq!(tx.send(5), Err(5));

    let (tx, mut rx) = oneshot::channel();
    rx.close();
    assert_eq!(tx.send(5), Err(5));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(rx.recv(), Err(RecvError));
}

#[test]
fn close_keeps_what_has_been_sent() {
    let (tx, mut rx) = oneshot::channel();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    tx.send(5).unwrap();
    rx.close();
    assert_eq!(rx.try_recv(), Ok(5));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    assert!(rx.is_terminated());
    assert_eq!(rx.poll_unpin(&mut panic_context()), Poll::Ready(Err(RecvError)));
}

#[test]
fn closed_is_seen_by_every_party() {
    for party in PARTIES {
        for closes in [true, false] {
            let (tx, mut rx) = oneshot::channel::<u8>();
            let tx = std::sync::Arc::new(tx);
            let tx_async = tx.clone();
            let watching = party.start(move || tx.closed(), async move {
                join_all([tx_async.closed_async(), tx_async.closed_async()]).await;
            });
            match closes {
                true => rx.close(),
                false => drop(rx),
            }
            watching.join();
        }
    }
}

#[test]
fn closed_wakes_all_that_watch() {
    let (tx, rx) = oneshot::channel::<u8>();
    let (waker, count) = new_count_waker();
    let mut cx = Context::from_waker(&waker);
    let (mut one, mut other) = (Box::pin(tx.closed_async()), Box::pin(tx.closed_async()));
    let mut gone = Box::pin(tx.closed_async());
    assert!(one.poll_unpin(&mut cx).is_pending());
    assert!(gone.poll_unpin(&mut cx).is_pending());
    assert!(other.poll_unpin(&mut cx).is_pending());
    drop(gone);
    drop(rx);
    assert_eq!(count, 2);
    assert!(one.poll_unpin(&mut panic_context()).is_ready());
    assert!(other.poll_unpin(&mut panic_context()).is_ready());
}

#[test]
fn timeouts_leave_the_receiver_as_it_was() {
    for party in PARTIES {
        let (tx, mut rx) = oneshot::channel();
        let receiving = party.drive(async move {
            // Go style within a future, too: it suspends the task.
            let first = rx.recv_timeout(Duration::from_millis(1));
            (first, rx)
        });
        let (first, mut rx) = receiving.join();
        assert_eq!(first, Err(RecvTimeoutError::Timeout));
        tx.send(1).unwrap();
        assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(1));
        assert_eq!(rx.recv_timeout(Duration::from_secs(9)), Err(RecvTimeoutError::Closed));
    }
}

#[test]
fn a_cancelled_receive_drops_the_receiver() {
    let (tx, rx) = oneshot::channel::<u8>();
    let waiting = go(move || rx.recv());
    common::until_waiting(&Handle::current(), waiting.id());
    waiting.cancel();
    assert!(waiting.join().unwrap_err().is_cancelled());
    assert_eq!(tx.send(1), Err(1));
}

#[test]
fn the_last_waker_is_the_one_that_is_called() {
    let (tx, mut rx) = oneshot::channel();
    let ((old, old_count), (new, new_count)) = (new_count_waker(), new_count_waker());
    assert!(rx.poll_unpin(&mut Context::from_waker(&old)).is_pending());
    assert!(rx.poll_unpin(&mut Context::from_waker(&new)).is_pending());
    tx.send(()).unwrap();
    assert_eq!((old_count.get(), new_count.get()), (0, 1));
    assert_eq!(rx.wait(), Ok(()));
}

/// What may become of a message.
type Way = fn(oneshot::Sender<Counted>, oneshot::Receiver<Counted>, Counted);

#[test]
fn every_message_is_dropped_once() {
    let drops = Drops::new();
    let all_ways: [Way; 6] = [
        |tx, rx, message| drop((tx.send(message), rx)),
        |tx, rx, message| drop((rx, tx.send(message))),
        |tx, rx, message| drop((tx.send(message), rx.recv())),
        |tx, rx, message| {
            drop(rx);
            assert!(tx.send(message).is_err());
        },
        |tx, mut rx, message| {
            assert!(rx.poll_unpin(&mut noop_context()).is_pending());
            drop(tx.send(message));
            drop(rx);
        },
        |tx, mut rx, message| {
            rx.close();
            drop((tx.send(message), rx.try_recv()));
        },
    ];
    for way in all_ways {
        let (tx, rx) = oneshot::channel();
        way(tx, rx, drops.one());
        assert_eq!(drops.made(), drops.dropped());
    }
}
