//! Operations that do not wait, and futures after their end.

mod common;

use aqueduct::channel;
use aqueduct::select;
use common::{panic_of, until_waiting, watchdog};
use futures::FutureExt;
use futures::future::FusedFuture;
use std::pin::pin;

/// A future that waits first in line cannot be handed anything; a coroutine behind it can.
#[test]
fn who_will_not_wait_finds_the_receiver_behind_a_future() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let tries: [fn(&channel::Sender<i32>) -> bool; 3] = [
        |tx| tx.try_send(1).is_ok(),
        |tx| matches!(tx.force_send(1), Ok(None)),
        |tx| select! { tx <- 1 => true, default => false },
    ];
    for try_to_send in tries {
        let (tx, rx) = channel::bounded(0);
        let mut first = pin!(rx.recv_async());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(!try_to_send(&tx), "a future alone could be dropped");
        let behind = {
            let rx = rx.clone();
            runtime.go(move || rx.recv())
        };
        until_waiting(runtime.handle(), behind.id());
        assert!(try_to_send(&tx));
        assert_eq!(behind.join().unwrap(), Ok(1));
        // The future has kept its place.
        let mut sending = pin!(tx.send_async(2));
        assert!(sending.as_mut().now_or_never().is_none());
        assert_eq!(first.now_or_never(), Some(Ok(2)));
        assert_eq!(sending.now_or_never(), Some(Ok(())));
    }
}

/// Who waits does not overtake: the future comes first.
#[test]
fn who_waits_keeps_the_order_of_the_receivers() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (tx, rx) = channel::bounded(0);
    let mut first = pin!(rx.recv_async());
    assert!(first.as_mut().now_or_never().is_none());
    let behind = {
        let rx = rx.clone();
        runtime.go(move || rx.recv())
    };
    until_waiting(runtime.handle(), behind.id());
    let sending = {
        let tx = tx.clone();
        runtime.go(move || tx.send(1).and_then(|()| tx.send(2)))
    };
    assert_eq!(aqueduct::block_on(first), Ok(1));
    assert_eq!(behind.join().unwrap(), Ok(2));
    assert!(sending.join().unwrap().is_ok());
}

/// As most futures do, they refuse to be polled after their end: it would be another operation.
#[test]
fn futures_do_not_begin_anew() {
    let (tx, rx) = channel::bounded(1);
    let mut send = Box::pin(tx.send_async(1));
    assert!(!send.is_terminated());
    assert_eq!(send.as_mut().now_or_never(), Some(Ok(())));
    assert!(send.is_terminated());
    assert!(panic_of(|| send.as_mut().now_or_never()).contains("polled after"));

    let mut recv = Box::pin(rx.recv_async());
    assert_eq!(recv.as_mut().now_or_never(), Some(Ok(1)));
    assert!(recv.is_terminated());
    assert!(panic_of(|| recv.as_mut().now_or_never()).contains("polled after"));

    let mut reserve = Box::pin(tx.reserve_async());
    let permit = reserve.as_mut().now_or_never().unwrap().unwrap();
    assert!(reserve.is_terminated());
    assert!(panic_of(|| reserve.as_mut().now_or_never().is_some()).contains("polled after"));
    drop(permit);
    assert_eq!(tx.len(), 0);
    assert!(tx.try_send(2).is_ok(), "no place is held by what has ended");

    let mut given_up = Box::pin(tx.send_async(3));
    assert!(given_up.as_mut().now_or_never().is_none());
    assert_eq!(given_up.as_mut().cancel(), Some(3));
    assert!(given_up.is_terminated());

    tx.close();
    let mut refused = Box::pin(tx.send_async(4));
    assert_eq!(refused.as_mut().now_or_never().unwrap().unwrap_err().into_inner(), 4);
    assert!(refused.is_terminated());
}

/// What `is_terminated` is for.
#[test]
fn futures_can_stand_in_a_select_of_futures() {
    let (tx, rx) = channel::unbounded();
    let (mut first, mut second) = (pin!(rx.recv_async()), pin!(rx.recv_async()));
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    let mut sum = 0;
    futures::executor::block_on(async {
        loop {
            futures::select! {
                v = first => sum += v.unwrap(),
                v = second => sum += v.unwrap(),
                complete => break,
            }
        }
    });
    assert_eq!(sum, 3);
}
