//! `watch` over every kind of party.

mod common;

use aqueduct::channel::{RecvError, RecvTimeoutError, watch};
use aqueduct::{Handle, Wait, go};
use common::Drops;
use common::party::{PARTIES, Party, Running, pairs};
use futures::{FutureExt, StreamExt};
use futures_test::task::{new_count_waker, noop_context, panic_context};
use futures_test::{assert_stream_done, assert_stream_pending};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Looks until the end; returns what was seen.
fn see_all(party: Party, mut rx: watch::Receiver<u64>) -> Running<Vec<u64>> {
    let mut rx_async = rx.clone();
    party.start(
        move || {
            let mut seen = Vec::new();
            while rx.changed().is_ok() {
                seen.push(*rx.borrow_and_update());
            }
            seen
        },
        async move {
            let mut seen = Vec::new();
            while rx_async.changed_async().await.is_ok() {
                seen.push(*rx_async.borrow_and_update());
            }
            seen
        },
    )
}

#[test]
fn values_only_go_forward_and_the_last_is_never_lost() {
    for (sender, receiver) in pairs() {
        let (tx, rx) = watch::channel(0);
        let receivers: Vec<_> = (0..3).map(|_| see_all(receiver, rx.clone())).collect();
        drop(rx);
        sender.drive(async move { (1..=500).for_each(|i| tx.send(i)) }).join();
        for receiver in receivers {
            let seen = receiver.join();
            assert!(seen.is_sorted(), "{seen:?}");
            assert_eq!(seen.last(), Some(&500));
        }
    }
}

#[test]
fn modify_loses_no_change() {
    for party in PARTIES {
        let (tx, rx) = watch::channel(0_u64);
        let add = |tx: watch::Sender<u64>| {
            party.drive(async move { (0..200).for_each(|_| tx.modify(|n| *n += 1)) })
        };
        let adding = [add(tx.clone()), add(tx.clone()), add(tx)];
        adding.into_iter().for_each(Running::join);
        assert_eq!(*rx.borrow(), 600);
        assert!(rx.is_closed());
    }
}

#[test]
fn modify_may_use_the_channel() {
    let (tx, mut rx) = watch::channel(1);
    let mut first = true;
    tx.modify(|value| {
        if std::mem::take(&mut first) {
            tx.send(10);
        }
        *value += 1;
    });
    assert_eq!(*rx.borrow_and_update(), 11);
}

#[test]
fn looking_and_seeing() {
    let (tx, mut rx) = watch::channel('a');
    assert!(!rx.has_changed());
    let snapshot = rx.borrow();
    tx.send('b');
    assert_eq!((*snapshot, *rx.borrow(), *tx.borrow()), ('a', 'b', 'b'));
    assert!(rx.has_changed());
    let mut unseen = rx.clone();
    assert_eq!(*rx.borrow_and_update(), 'b');
    assert!(!rx.has_changed());
    assert!(unseen.has_changed());
    assert!(unseen.changed().is_ok());
    assert!(!tx.subscribe().has_changed());
    assert_eq!(tx.receiver_count(), 2);
    assert_eq!(*tx.replace('c'), 'b');
    drop(tx);
    assert_eq!(rx.changed(), Ok(()));
    assert_eq!(rx.changed(), Err(RecvError));
    assert_eq!(rx.changed_timeout(Duration::from_secs(9)), Err(RecvTimeoutError::Closed));
}

#[test]
fn a_value_sent_to_nobody_is_there_for_who_comes_later() {
    let (tx, rx) = watch::channel(1);
    drop(rx);
    assert!(tx.is_closed());
    tx.closed();
    tx.send(2);
    let rx = tx.subscribe();
    assert_eq!(*rx.borrow(), 2);
    assert!(!tx.is_closed());
}

#[test]
fn wait_for_looks_first_and_then_at_what_comes() {
    for party in PARTIES {
        let (tx, rx) = watch::channel(5);
        let (mut one, mut other) = (rx.clone(), rx.clone());
        let waiting = party.start(move || one.wait_for(|n| *n % 10 == 0).map(|n| *n), async move {
            other.wait_for_async(|n| *n % 10 == 0).await.map(|n| *n)
        });
        for i in 6..=10 {
            tx.send(i);
        }
        assert_eq!(waiting.join(), Ok(10));
        let mut rx = rx;
        assert_eq!(*rx.wait_for(|n| *n == 10).unwrap(), 10);
        assert_eq!(*rx.wait_for_async(|n| *n == 10).wait().unwrap(), 10);
        let timed_out = rx.wait_for_timeout(Duration::from_millis(1), |n| *n == 11);
        assert_eq!(timed_out, Err(RecvTimeoutError::Timeout));
        drop(tx);
        assert_eq!(rx.wait_for(|n| *n == 11), Err(RecvError));
        assert_eq!(rx.wait_for_async(|n| *n == 11).wait(), Err(RecvError));
    }
}

#[test]
fn closed_is_seen_by_every_party() {
    for party in PARTIES {
        let (tx, rx) = watch::channel(());
        let tx_async = tx.clone();
        let other = rx.clone();
        let watching = party.start(move || tx.closed(), async move { tx_async.closed_async().await });
        drop(rx);
        drop(other);
        watching.join();
    }
}

#[test]
fn a_wait_that_ends_early_has_seen_nothing() {
    let (tx, mut rx) = watch::channel(0);
    assert_eq!(rx.changed_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    let (waker, count) = new_count_waker();
    let mut changing = Box::pin(rx.changed_async());
    assert!(changing.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    tx.send(1);
    assert_eq!(count, 1);
    drop(changing);
    assert!(rx.has_changed());
    let mut waiting = {
        let mut rx = rx.clone();
        rx.changed().unwrap();
        go(move || rx.changed())
    };
    common::until_waiting(&Handle::current(), waiting.id());
    waiting.cancel();
    assert!((&mut waiting).wait().unwrap_err().is_cancelled());
    assert_eq!(tx.receiver_count(), 1);
}

#[test]
fn a_stream_begins_with_the_present_and_skips_to_the_latest() {
    let (tx, mut rx) = watch::channel(0);
    {
        let mut stream = rx.stream();
        assert_eq!(stream.poll_next_unpin(&mut noop_context()), Poll::Ready(Some(Arc::new(0))));
        assert_stream_pending!(stream);
        tx.send(1);
        tx.send(2);
        assert_eq!(stream.poll_next_unpin(&mut panic_context()), Poll::Ready(Some(Arc::new(2))));
    }
    let mut stream = rx.into_stream();
    drop(tx);
    assert_eq!(stream.poll_next_unpin(&mut panic_context()), Poll::Ready(Some(Arc::new(2))));
    assert_stream_done!(stream);
    assert_stream_done!(stream);
}

#[test]
fn every_value_is_dropped_once() {
    let drops = Drops::new();
    let (tx, mut rx) = watch::channel(drops.one());
    let first = rx.borrow();
    for _ in 0..5 {
        tx.send(drops.one());
    }
    assert_eq!(drops.dropped(), 4, "all but the one that is looked at and the last");
    drop(first);
    let last = rx.borrow_and_update();
    drop((tx, rx));
    assert_eq!(drops.dropped(), 5);
    drop(last);
    assert_eq!(drops.made(), drops.dropped());
}
