//! `broadcast` over every kind of party.

mod common;

use aqueduct::channel::broadcast::{self, Lagged, RecvError, RecvTimeoutError, TryRecvError};
use aqueduct::{Handle, go};
use common::Drops;
use common::party::{PARTIES, Party, Running, pairs};
use futures::{FutureExt, StreamExt};
use futures_test::task::{new_count_waker, panic_context};
use futures_test::{assert_stream_done, assert_stream_next, assert_stream_pending};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll};
use std::time::Duration;

/// Receives until the end; returns the messages, and how many were missed before each.
fn recv_all(party: Party, mut rx: broadcast::Receiver<u64>) -> Running<Vec<(u64, u64)>> {
    fn note(received: &mut Vec<(u64, u64)>, missed: &mut u64, result: Result<u64, RecvError>) -> bool {
        match result {
            Ok(message) => received.push((message, std::mem::take(missed))),
            Err(RecvError::Lagged(n)) => *missed += n,
            Err(RecvError::Closed) => return false,
        }
        true
    }
    match party {
        Party::Future => party.drive(async move {
            let (mut received, mut missed) = (Vec::new(), 0);
            while note(&mut received, &mut missed, rx.recv_async().await) {}
            received
        }),
        Party::Coroutine | Party::Thread => party.start(
            move || {
                let (mut received, mut missed) = (Vec::new(), 0);
                while note(&mut received, &mut missed, rx.recv()) {}
                received
            },
            async { unreachable!() },
        ),
    }
}

#[test]
fn every_receiver_gets_every_message_or_knows_how_many_it_missed() {
    for capacity in [1, 3, 64, 1000] {
        for (sender, receiver) in pairs() {
            let (tx, rx) = broadcast::channel(capacity);
            let mut receivers: Vec<_> = (0..3).map(|_| recv_all(receiver, tx.subscribe())).collect();
            receivers.push(recv_all(receiver, rx));
            sender.drive(async move { (0..500).for_each(|i| assert_eq!(tx.send(i), Ok(4))) }).join();
            for receiver in receivers {
                let mut next = 0;
                for (message, missed) in receiver.join() {
                    assert_eq!(message, next + missed);
                    next = message + 1;
                }
                assert_eq!(next, 500, "the last are never overwritten");
            }
        }
    }
}

#[test]
fn messages_before_a_subscription_are_not_for_it() {
    let (tx, mut rx) = broadcast::channel(4);
    tx.send(1).unwrap();
    let mut late = tx.subscribe();
    let mut like = rx.clone();
    tx.send(2).unwrap();
    assert_eq!((late.len(), rx.len(), like.len()), (1, 2, 2));
    assert_eq!(late.recv(), Ok(2));
    assert_eq!((rx.recv(), rx.recv()), (Ok(1), Ok(2)));
    assert_eq!((like.try_recv(), like.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(like.try_recv(), Err(TryRecvError::Empty));
    let mut latest = like.resubscribe();
    drop(tx);
    assert_eq!(latest.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(rx.recv_timeout(Duration::from_secs(9)), Err(RecvTimeoutError::Closed));
}

#[test]
fn what_all_have_received_is_not_kept() {
    let drops = Drops::new();
    let (tx, mut rx) = broadcast::channel(8);
    let mut other = tx.subscribe();
    for _ in 0..3 {
        tx.send(Arc::new(drops.one())).unwrap();
    }
    assert!(rx.recv().is_ok());
    assert_eq!((tx.len(), drops.dropped()), (3, 0));
    assert!(other.recv().is_ok());
    assert_eq!((tx.len(), drops.dropped()), (2, 1));
    drop(other);
    assert!(rx.recv().is_ok());
    assert_eq!((tx.len(), drops.dropped()), (1, 2));
    drop(rx);
    assert!(tx.is_empty());
    assert_eq!(drops.dropped(), 3);
    assert!(tx.send(Arc::new(drops.one())).is_err(), "nobody is there");
    assert_eq!(drops.made(), drops.dropped());
    // A receiver that comes later begins anew.
    let mut rx = tx.subscribe();
    tx.send(Arc::new(drops.one())).unwrap();
    assert!(rx.recv().is_ok());
    assert_eq!(drops.made(), drops.dropped());
}

/// Counts its clones.
struct Cloned(Arc<AtomicUsize>);

impl Clone for Cloned {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, SeqCst);
        Self(self.0.clone())
    }
}

#[test]
fn the_last_to_receive_gets_the_message_itself() {
    let clones = Arc::new(AtomicUsize::new(0));
    let (tx, mut rx) = broadcast::channel(8);
    let (mut second, mut third) = (tx.subscribe(), tx.subscribe());
    tx.send(Cloned(clones.clone())).unwrap();
    drop((rx.recv(), second.recv(), third.recv()));
    assert_eq!(clones.load(SeqCst), 2);
}

#[test]
fn an_overwritten_message_is_missed_once_and_by_the_slow_only() {
    let (tx, mut fast) = broadcast::channel(2);
    let mut slow = tx.subscribe();
    for i in 0..5 {
        tx.send(i).unwrap();
        assert_eq!(fast.try_recv(), Ok(i));
    }
    assert_eq!(slow.len(), 2);
    let mut slow_too = slow.clone();
    assert_eq!(slow.try_recv(), Err(TryRecvError::Lagged(3)));
    assert_eq!((slow.try_recv(), slow.try_recv()), (Ok(3), Ok(4)));
    assert_eq!(slow.try_recv(), Err(TryRecvError::Empty));
    drop(tx);
    assert_eq!(slow_too.recv(), Err(RecvError::Lagged(3)));
    assert_eq!((slow_too.recv(), slow_too.recv()), (Ok(3), Ok(4)));
    assert_eq!(slow_too.recv(), Err(RecvError::Closed));
}

#[test]
fn all_that_wait_are_woken_and_a_dropped_wait_misses_nothing() {
    let (tx, mut rx) = broadcast::channel(2);
    let (mut second, mut third) = (tx.subscribe(), tx.subscribe());
    let (waker, count) = new_count_waker();
    let mut cx = Context::from_waker(&waker);
    let (mut one, mut two) = (Box::pin(rx.recv_async()), Box::pin(second.recv_async()));
    let mut gone = Box::pin(third.recv_async());
    assert!(one.poll_unpin(&mut cx).is_pending());
    assert!(gone.poll_unpin(&mut cx).is_pending());
    assert!(two.poll_unpin(&mut cx).is_pending());
    drop(gone);
    tx.send(1).unwrap();
    assert_eq!(count, 2);
    assert_eq!(one.poll_unpin(&mut panic_context()), Poll::Ready(Ok(1)));
    drop(two);
    assert_eq!(second.try_recv(), Ok(1));
    assert_eq!(third.try_recv(), Ok(1));
}

#[test]
fn the_end_wakes_all() {
    for party in PARTIES {
        let (tx, rx) = broadcast::channel(2);
        let receivers = [recv_all(party, tx.subscribe()), recv_all(party, rx)];
        let other = tx.clone();
        drop(tx);
        drop(other);
        assert!(receivers.into_iter().all(|receiver| receiver.join().is_empty()));
    }
}

#[test]
fn timeouts_and_cancellation_leave_the_position() {
    for party in PARTIES {
        let (tx, mut rx) = broadcast::channel(2);
        let receiving = party.drive(async move { (rx.recv_timeout(Duration::from_millis(1)), rx) });
        let (timed_out, mut rx) = receiving.join();
        assert_eq!(timed_out, Err(RecvTimeoutError::Timeout));
        let mut cancelled = rx.clone();
        let waiting = go(move || cancelled.recv());
        common::until_waiting(&Handle::current(), waiting.id());
        waiting.cancel();
        assert!(waiting.join().unwrap_err().is_cancelled());
        assert_eq!(tx.send(1), Ok(1));
        assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(1));
    }
}

#[test]
fn a_stream_tells_of_what_it_missed_and_ends_for_good() {
    let (tx, rx) = broadcast::channel(1);
    let mut stream = rx.into_stream();
    assert_stream_pending!(stream);
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_stream_next!(stream, Err(Lagged(1)));
    assert_stream_next!(stream, Ok(2));
    assert_stream_pending!(stream);
    drop(tx);
    assert_stream_done!(stream);
    assert_eq!(stream.poll_next_unpin(&mut panic_context()), Poll::Ready(None));
}

#[test]
fn a_message_whose_clone_and_drop_use_the_channel() {
    /// Sends to, and looks at, its own channel.
    struct Meddler(broadcast::Sender<Option<Arc<Meddler>>>);
    impl Drop for Meddler {
        fn drop(&mut self) {
            let _ = self.0.send(None);
            let _ = (self.0.len(), self.0.subscribe());
        }
    }
    let (tx, mut rx) = broadcast::channel(1);
    tx.send(Some(Arc::new(Meddler(tx.clone())))).unwrap();
    // Overwritten: dropped in `send`, where it sends in turn.
    tx.send(None).unwrap();
    assert!(matches!(rx.recv(), Err(RecvError::Lagged(2))));
    tx.send(Some(Arc::new(Meddler(tx.clone())))).unwrap();
    drop(rx);
    assert_eq!(tx.receiver_count(), 0);
}
