//! Channels: what every flavour does, over every kind of party.

mod common;

use aqueduct::channel::{self, Receiver, RecvError, SendError, Sender, TryRecvError};
use aqueduct::{Wait, go};
use common::party::{PARTIES, Party, Running};
use std::time::Duration;

/// Sends the messages in order; returns those that could not be sent.
fn send_all<T: Send + 'static>(party: Party, tx: Sender<T>, messages: Vec<T>) -> Running<Vec<T>> {
    match party {
        Party::Coroutine | Party::Thread => {
            let sending = move || {
                let failed = messages.into_iter().filter_map(|message| tx.send(message).err());
                failed.map(SendError::into_inner).collect()
            };
            party.start(sending, async { unreachable!() })
        }
        Party::Future => party.drive(async move {
            let mut failed = Vec::new();
            for message in messages {
                if let Err(error) = tx.send_async(message).await {
                    failed.push(error.0);
                }
            }
            failed
        }),
    }
}

/// Receives until the channel is closed.
fn recv_all<T: Send + 'static>(party: Party, rx: Receiver<T>) -> Running<Vec<T>> {
    let rx_async = rx.clone();
    party.start(move || rx.iter().collect(), async move {
        let mut received = Vec::new();
        while let Ok(message) = rx_async.recv_async().await {
            received.push(message);
        }
        received
    })
}

/// Every pairing of kinds, for every capacity of interest.
fn everywhere(check: impl Fn(Party, Party, Option<usize>)) {
    for capacity in [Some(0), Some(1), Some(2), Some(7), Some(199), None] {
        for sender in PARTIES {
            for receiver in PARTIES {
                check(sender, receiver, capacity);
            }
        }
    }
}

fn make<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    match capacity {
        Some(capacity) => channel::bounded(capacity),
        None => channel::unbounded(),
    }
}

#[test]
fn messages_arrive_once_and_in_order() {
    everywhere(|sender, receiver, capacity| {
        let (tx, rx) = make(capacity);
        let sending = send_all(sender, tx, (0..500).collect());
        let received = recv_all(receiver, rx).join();
        assert_eq!(sending.join(), [], "{sender:?} to {receiver:?}, capacity {capacity:?}");
        assert_eq!(
            received,
            (0..500).collect::<Vec<_>>(),
            "{sender:?} to {receiver:?}, capacity {capacity:?}"
        );
    });
}

#[test]
fn many_senders_and_receivers_conserve_messages_and_each_senders_order() {
    everywhere(|sender, receiver, capacity| {
        let (tx, rx) = make(capacity);
        let senders: Vec<_> =
            (0..4).map(|s| send_all(sender, tx.clone(), (0..100).map(|i| (s, i)).collect())).collect();
        drop(tx);
        let receivers: Vec<_> = (0..3).map(|_| recv_all(receiver, rx.clone())).collect();
        drop(rx);
        let received: Vec<Vec<(i32, i32)>> = receivers.into_iter().map(Running::join).collect();
        senders.into_iter().for_each(|sender| assert!(sender.join().is_empty()));
        for one in &received {
            for s in 0..4 {
                let of_one: Vec<_> = one.iter().filter(|(from, _)| *from == s).collect();
                assert!(of_one.is_sorted(), "{sender:?} to {receiver:?}, capacity {capacity:?}: {of_one:?}");
            }
        }
        let mut all: Vec<_> = received.into_iter().flatten().collect();
        all.sort_unstable();
        let sent: Vec<_> = (0..4).flat_map(|s| (0..100).map(move |i| (s, i))).collect();
        assert_eq!(all, sent, "{sender:?} to {receiver:?}, capacity {capacity:?}");
    });
}

#[test]
fn closing_wakes_a_blocked_receiver() {
    for receiver in PARTIES {
        let (tx, rx) = channel::bounded::<u32>(0);
        let receiving = recv_all(receiver, rx);
        assert!(tx.close());
        assert_eq!(receiving.join(), []);
    }
}

#[test]
fn closing_gives_a_blocked_sender_its_message_back() {
    for sender in PARTIES {
        for capacity in [0, 1, 3] {
            let (tx, rx) = channel::bounded(capacity);
            for i in 0..capacity {
                tx.send(i).unwrap();
            }
            let sending = send_all(sender, tx, vec![100]);
            rx.close();
            assert_eq!(sending.join(), [100], "{sender:?}, capacity {capacity}");
            assert_eq!(rx.iter().collect::<Vec<_>>(), (0..capacity).collect::<Vec<_>>());
        }
    }
}

#[test]
fn receive_after_close_drains() {
    let (tx, rx) = channel::unbounded();
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    drop(tx);
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!(rx.recv_async().wait(), Ok(2));
    assert_eq!(rx.recv(), Err(RecvError));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
}

#[test]
fn timeouts_give_everything_back() {
    let (tx, rx) = channel::bounded(0);
    let error = tx.send_timeout(5, Duration::from_millis(1)).unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.into_inner(), 5);
    assert!(rx.recv_timeout(Duration::from_millis(1)).is_err());
    let (tx, rx) = (tx, rx);
    aqueduct::run(move || {
        assert!(tx.send_timeout(6, Duration::from_millis(1)).unwrap_err().is_timeout());
        assert!(rx.recv_timeout(Duration::from_millis(1)).is_err());
        let sender = go(move || tx.send_timeout(7, Duration::from_secs(30)));
        assert_eq!(rx.recv(), Ok(7));
        assert!(sender.join().unwrap().is_ok());
    });
}

#[test]
fn a_dropped_notified_receiver_passes_the_notification_on() {
    let (tx, rx) = channel::bounded(1);
    let mut first = Box::pin(rx.recv_async());
    let mut second = Box::pin(rx.recv_async());
    let (waker, count) = futures_test::task::new_count_waker();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert!(second.as_mut().poll(&mut cx).is_pending());
    tx.send(1).unwrap();
    assert_eq!(count, 1);
    drop(first);
    assert_eq!(count, 2);
    assert_eq!(second.wait(), Ok(1));
}

#[test]
fn a_permit_holds_a_place_and_gives_it_back() {
    let (tx, rx) = channel::bounded(1);
    let permit = tx.reserve_async().wait().unwrap();
    assert!(tx.try_send(1).unwrap_err().is_full());
    drop(permit);
    tx.try_send(1).unwrap();
    let waiting = {
        let tx = tx.clone();
        go(move || tx.reserve().map(|permit| permit.send(2)))
    };
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!(rx.recv(), Ok(2));
    assert!(waiting.join().unwrap().unwrap().is_ok());
}

#[test]
fn force_send_overwrites_the_oldest() {
    let (tx, rx) = channel::bounded(2);
    assert_eq!(tx.force_send(1).unwrap(), None);
    assert_eq!(tx.force_send(2).unwrap(), None);
    assert_eq!(tx.force_send(3).unwrap(), Some(1));
    assert_eq!(rx.drain().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn weak_handles_keep_nothing_open() {
    let (tx, rx) = channel::unbounded::<u8>();
    let (weak_tx, weak_rx) = (tx.downgrade(), rx.downgrade());
    assert!(weak_tx.upgrade().unwrap().same_channel(&tx));
    drop(tx);
    assert!(weak_tx.upgrade().is_none());
    assert!(rx.is_closed());
    drop(rx);
    assert!(weak_rx.upgrade().is_none());
}

#[test]
fn a_place_that_a_permit_did_not_need_goes_to_the_next_sender() {
    let (tx, rx) = channel::bounded(1);
    let permit = tx.reserve().unwrap();
    let mut sending = Box::pin(tx.send_async(2));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    let taker = {
        let rx = rx.clone();
        go(move || rx.recv())
    };
    common::until_waiting(&aqueduct::Handle::current(), taker.id());
    permit.send(1).unwrap();
    assert_eq!(taker.join().unwrap(), Ok(1));
    assert_eq!(rx.try_recv(), Ok(2));
    assert!(sending.as_mut().poll(&mut cx).is_ready());
}
