//! What went wrong in other channels, each as a test that passes here.

mod common;

use aqueduct::channel::{self, Receiver, Sender};
use aqueduct::{go, select, select_async, spawn, time, yield_now_async};
use common::life::choose;
use common::party::{PARTIES, Running, pairs};
use common::{Drops, watchdog};
use futures::{FutureExt, StreamExt};
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::Context;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// flume #135: several threads select in a loop over a shared queue of work and a signal to stop; a message was assigned to a
/// selector that had just been decided by the other channel, and was lost with it.
#[test]
fn many_selectors_on_one_queue_and_a_stop_signal_lose_nothing() {
    let _dog = watchdog!(60);
    for (sender, selector) in pairs() {
        for capacity in [Some(0), Some(8), None] {
            for _ in 0..10 {
                let drops = Drops::new();
                let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
                let (stop, stopped) = channel::unbounded::<()>();
                let selectors: Vec<_> = (0..4)
                    .map(|_| {
                        let (rx, stopped) = (rx.clone(), stopped.clone());
                        selector.live(|style| async move {
                            let mut received = 0;
                            loop {
                                choose! { style;
                                    v = <-rx => match v { Ok(_) => received += 1, Err(_) => return received },
                                    _ = <-stopped => return received,
                                }
                            }
                        })
                    })
                    .collect();
                let made = drops.clone();
                let sending = sender.live(|style| async move {
                    for i in 0..60 {
                        if i % 20 == 10 {
                            stop.send(()).unwrap();
                        }
                        style.send(&tx, made.one()).await.unwrap();
                    }
                });
                sending.join();
                let received: usize = selectors.into_iter().map(Running::join).sum();
                let left = rx.drain().count();
                assert_eq!(received + left, 60, "{sender:?} to {selector:?}, capacity {capacity:?}");
                assert_eq!((drops.made(), drops.dropped()), (60, 60));
            }
        }
    }
}

/// flume #104: it was not said whether a send that is given up has happened, and a receive that was dropped took its
/// notification along, so that a queued message woke nobody.
#[test]
fn a_future_that_is_given_up_has_not_happened_and_passes_on_what_it_was_told() {
    let (tx, rx) = channel::bounded(1);
    tx.send(0).unwrap();
    for i in 1..10 {
        assert!(tx.send_async(i).now_or_never().is_none(), "the channel is bounded whatever is given up");
    }
    assert_eq!(rx.drain().collect::<Vec<_>>(), [0]);
    let (waker, wakes) = futures_test::task::new_count_waker();
    let mut cx = Context::from_waker(&waker);
    let mut told = Box::pin(rx.recv_async());
    let mut behind = pin!(rx.recv_async());
    assert!(told.as_mut().now_or_never().is_none());
    assert!(behind.as_mut().poll(&mut cx).is_pending());
    tx.send(1).unwrap();
    assert_eq!(wakes, 0);
    drop(told);
    assert_eq!(wakes, 1);
    assert_eq!(behind.now_or_never(), Some(Ok(1)));
}

/// The same through a select, where it was found.
#[test]
fn a_select_that_loses_passes_on_what_it_was_told() {
    let (tx, rx) = channel::bounded(1);
    let (other_tx, other_rx) = channel::bounded(1);
    let (waker, wakes) = futures_test::task::new_count_waker();
    let mut cx = Context::from_waker(&waker);
    let selecting = async {
        select_async! { biased; v = <-other_rx => v, v = <-rx => v }
    };
    let mut selecting = Box::pin(selecting);
    let mut behind = pin!(rx.recv_async());
    assert!(selecting.as_mut().now_or_never().is_none());
    assert!(behind.as_mut().poll(&mut cx).is_pending());
    tx.send(1).unwrap();
    other_tx.send(2).unwrap();
    assert_eq!(selecting.now_or_never(), Some(Ok(2)));
    assert_eq!(wakes, 1);
    assert_eq!(behind.now_or_never(), Some(Ok(1)));
}

/// async-channel #13: each receiver that was woken woke another one, and idle receivers turned for ever. One message is to wake
/// one receiver.
#[test]
fn one_message_wakes_one_of_many_idle_receivers() {
    for capacity in [Some(0), Some(2), None] {
        let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
        let wakers: Vec<_> = (0..5).map(|_| futures_test::task::new_count_waker()).collect();
        let mut receives: Vec<_> = wakers.iter().map(|_| Box::pin(rx.recv_async())).collect();
        let poll = |receives: &mut Vec<std::pin::Pin<Box<channel::RecvFuture<'_, i32>>>>, i: usize| {
            receives[i].as_mut().poll(&mut Context::from_waker(&wakers[i].0))
        };
        (0..5).for_each(|i| assert!(poll(&mut receives, i).is_pending()));
        let mut send = pin!(tx.send_async(7));
        let done = send.as_mut().now_or_never().is_some();
        let woken = || wakers.iter().map(|(_, count)| count.get()).sum::<usize>();
        assert_eq!(woken(), 1, "capacity {capacity:?}");
        assert!(poll(&mut receives, 0).is_ready());
        assert!(done || send.now_or_never() == Some(Ok(())));
        for i in 1..5 {
            assert!(poll(&mut receives, i).is_pending());
        }
        assert_eq!(woken(), 1, "capacity {capacity:?}");
    }
}

/// async-channel #87, and tokio #5947 on the same trap: a send that loses a select, or is given up, lost its message. Here there are
/// four ways to keep it.
#[test]
fn a_send_that_is_given_up_can_keep_its_message() {
    let (tx, rx) = channel::bounded(1);
    tx.send("first".to_string()).unwrap();

    let mut sending = pin!(tx.send_async("by value".to_string()));
    assert!(sending.as_mut().now_or_never().is_none());
    assert_eq!(sending.as_mut().cancel().as_deref(), Some("by value"));

    let mut slot = Some("from a slot".to_string());
    select! {
        tx <- from slot => unreachable!("there is no room"),
        _ = <-time::after(Duration::ZERO) => {}
    }
    assert_eq!(slot.as_deref(), Some("from a slot"));
    let lost = async {
        select_async! { tx <- from slot => {} }
    }
    .now_or_never();
    assert!(lost.is_none());
    assert_eq!(slot.as_deref(), Some("from a slot"));

    let back = tx.send_timeout("timed".to_string(), Duration::ZERO).unwrap_err();
    assert_eq!(back.into_inner(), "timed");

    assert!(tx.reserve_async().now_or_never().is_none(), "nothing is at stake");
    assert_eq!(rx.drain().count(), 1);
    let permit = tx.reserve_async().now_or_never().unwrap().unwrap();
    permit.send("with a permit".to_string()).unwrap();
    assert_eq!(rx.try_recv().unwrap(), "with a permit");
}

/// The other half of tokio's text: a send that is given up loses its place, and those behind it move up.
#[test]
fn those_behind_a_send_that_is_given_up_move_up() {
    let (tx, rx) = channel::bounded(1);
    tx.send(0).unwrap();
    let mut first = Box::pin(tx.send_async(1));
    let mut second = pin!(tx.reserve_async());
    let mut third = pin!(tx.send_async(3));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    assert!(third.as_mut().now_or_never().is_none());
    drop(first);
    assert_eq!(rx.try_recv(), Ok(0));
    let permit = second.now_or_never().unwrap().unwrap();
    assert!(third.as_mut().now_or_never().is_none());
    drop(permit);
    assert_eq!(third.now_or_never(), Some(Ok(())));
    assert_eq!(rx.try_recv(), Ok(3));
}

/// event-listener #138: a notification that came while the very first listener was being set up found nobody and vanished. The
/// first send and the first receive of a new channel, at the same moment.
#[test]
fn the_first_send_and_the_first_receive_find_each_other() {
    let _dog = watchdog!(60);
    for (sender, receiver) in pairs() {
        for capacity in [Some(0), Some(1), None] {
            for _ in 0..60 {
                let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
                let receiving = receiver.live(|style| async move { style.recv(&rx).await });
                let sending = sender.live(|style| async move { style.send(&tx, 1).await });
                assert_eq!((sending.join(), receiving.join()), (Ok(()), Ok(1)), "{sender:?} to {receiver:?}");
            }
        }
    }
}

/// As above, for the close that is the last thing to be told.
#[test]
fn the_first_receive_and_the_close_find_each_other() {
    let _dog = watchdog!(60);
    for (closer, receiver) in pairs() {
        for _ in 0..100 {
            let (tx, rx) = channel::bounded::<u8>(0);
            let receiving = receiver.live(|style| async move { style.recv(&rx).await });
            closer.live(|_| async move { drop(tx) }).join();
            assert!(receiving.join().is_err(), "{closer:?} and {receiver:?}");
        }
    }
}

/// kanal: a receive that was dropped after a sender had handed it a message dropped the message too; a mended one put it back
/// beyond the capacity, and out of order. A future is only told here, so the message is where it was.
#[test]
fn a_receive_that_is_dropped_when_told_leaves_the_message_in_its_place() {
    for capacity in [Some(0), Some(1), Some(3), None] {
        let drops = Drops::new();
        let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
        let mut receiving = Box::pin(rx.recv_async());
        assert!(receiving.as_mut().now_or_never().is_none());
        let mut sends: Vec<_> = (0..3).map(|i| Box::pin(tx.send_async((i, drops.one())))).collect();
        sends.iter_mut().for_each(|send| drop(send.now_or_never()));
        let queued = rx.len();
        drop(receiving);
        assert_eq!((rx.len(), drops.dropped()), (queued, 0));
        assert!(rx.capacity().is_none_or(|capacity| rx.len() <= capacity));
        for i in 0..3 {
            let (got, _message) = rx.try_recv().unwrap();
            assert_eq!(got, i, "capacity {capacity:?}");
        }
    }
}

/// kanal #63: a stream of a rendezvous, driven by `buffer_unordered`, is polled with other wakers and moved between polls, while
/// senders write where its signal lay: payloads were torn and freed twice. Here every payload comes whole, once, and in its order.
#[test]
fn a_stream_under_buffer_unordered_gets_every_message_whole() {
    let _dog = watchdog!(60);
    const MESSAGES: u64 = 400;
    for (sender, receiver) in pairs() {
        for capacity in [Some(0), Some(2), None] {
            let drops = Drops::new();
            let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
            let made = drops.clone();
            let sending = sender.live(|style| async move {
                for id in 0..MESSAGES {
                    style.send(&tx, (id, vec![id; 16], made.one())).await.unwrap();
                }
            });
            let receiving = receiver.live(|style| async move {
                let whole = rx
                    .into_stream()
                    .map(|(id, values, counted)| async move {
                        yield_now_async().await;
                        assert!(values.len() == 16 && values.iter().all(|value| *value == id), "{values:?}");
                        drop(counted);
                        id
                    })
                    .buffer_unordered(3)
                    .collect::<Vec<_>>();
                style.wait(whole).await
            });
            let mut received = receiving.join();
            sending.join();
            received.sort_unstable();
            assert!(received.into_iter().eq(0..MESSAGES), "{sender:?} to {receiver:?}, {capacity:?}");
            assert_eq!((drops.made(), drops.dropped()), (400, 400));
        }
    }
}

/// The class of it: a pending receive that is polled by one and another, and given up or waited for, while messages come.
#[test]
fn receives_that_are_polled_about_and_given_up_tear_nothing() {
    let _dog = watchdog!(60);
    const MESSAGES: u64 = 500;
    for sender in PARTIES {
        for capacity in [Some(0), Some(1), None] {
            let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
            let sending = sender.live(|style| async move {
                for id in 0..MESSAGES {
                    style.send(&tx, vec![id; 16]).await.unwrap();
                }
            });
            let mut received = 0;
            for round in 0.. {
                let mut receive = Box::pin(rx.recv_async());
                let polled = receive.as_mut().now_or_never().or_else(|| receive.as_mut().now_or_never());
                let got = match polled {
                    None if round % 2 == 0 => continue,
                    None => aqueduct::block_on(receive),
                    Some(got) => got,
                };
                match got {
                    Ok(values) => assert_eq!(values, vec![received; 16]),
                    Err(_) => break,
                }
                received += 1;
            }
            assert_eq!(received, MESSAGES);
            sending.join();
        }
    }
}

/// The same for coroutines, at every moment of a race: what a cancelled receive does not return is still there.
#[test]
fn a_receive_that_is_cancelled_leaves_the_message_in_its_place() {
    let _dog = watchdog!(60);
    for kind in PARTIES {
        for capacity in [0, 1] {
            for _ in 0..200 {
                let (tx, rx) = channel::bounded(capacity);
                let there = rx.clone();
                let task = go(move || there.recv());
                let sending = kind.live(|style| async move { style.send(&tx, 1).await });
                task.cancel();
                match task.join() {
                    Ok(got) => assert_eq!(got, Ok(1)),
                    Err(error) => {
                        assert!(error.is_cancelled());
                        assert_eq!(rx.recv(), Ok(1));
                    }
                }
                assert_eq!(sending.join(), Ok(()));
            }
        }
    }
}

/// crossbeam, RUSTSEC-2025-0024: the last receiver's discarding of the queue raced with senders, and the channel's own drop
/// freed a block again. Here: every message is dropped once, whoever goes first.
#[test]
fn ends_that_go_at_the_same_moment_drop_each_message_once() {
    let _dog = watchdog!(60);
    for capacity in [Some(0), Some(1), Some(40), None] {
        for _ in 0..300 {
            let drops = Drops::new();
            let (tx, rx): (Sender<_>, Receiver<_>) =
                capacity.map_or_else(channel::unbounded, channel::bounded);
            let barrier = Arc::new(Barrier::new(2));
            let (made, start) = (drops.clone(), barrier.clone());
            let sending = std::thread::spawn(move || {
                start.wait();
                // As long as anybody may receive.
                (0..35).take_while(|_| tx.send(made.one()).is_ok()).count()
            });
            barrier.wait();
            let received = rx.recv().is_ok();
            drop(rx);
            let sent = sending.join().unwrap();
            assert!(sent >= usize::from(received));
            assert_eq!(drops.made(), drops.dropped(), "capacity {capacity:?}");
        }
    }
}

/// may #102: a select in a loop over two channels that already hold messages; the loser's message had been taken by its own
/// coroutine and was cancelled with it.
#[test]
fn a_select_in_a_loop_takes_what_both_channels_held_before() {
    let _dog = watchdog!(60);
    for kind in PARTIES {
        for _ in 0..100 {
            let (tx, rx) = channel::unbounded();
            let (tx2, rx2) = channel::unbounded();
            tx.send(100).unwrap();
            tx2.send(200).unwrap();
            let selecting = kind.live(|style| async move {
                let mut got = [0, 0];
                while got.contains(&0) {
                    choose! { style;
                        v = <-rx => got[0] = v.unwrap(),
                        v = <-rx2 => got[1] = v.unwrap(),
                        _ = <-time::after(LONG) => unreachable!("both are there"),
                    }
                }
                got
            });
            assert_eq!(selecting.join(), [100, 200]);
        }
    }
}

/// The same where the cases are foreign futures, which may hold what they have taken: they are polled in turn and the first that
/// is ready ends the select, so the other has taken nothing.
#[test]
fn futures_that_receive_lose_without_taking() {
    let (tx, rx) = channel::unbounded();
    let (tx2, rx2) = channel::unbounded();
    for _ in 0..200 {
        tx.send(1).unwrap();
        tx2.send(2).unwrap();
        let before = rx.len() + rx2.len();
        let task = async {
            select_async! {
                v = rx.recv_async() => v,
                v = rx2.recv_async() => v,
            }
        };
        assert!(task.now_or_never().unwrap().is_ok());
        assert_eq!(rx.len() + rx2.len(), before - 1);
    }
    drop((tx, tx2));
    let rest = spawn(async move { rx.into_iter().count() + rx2.into_iter().count() });
    assert_eq!(rest.join().unwrap(), 200);
}
