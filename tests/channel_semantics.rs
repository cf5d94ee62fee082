//! What a channel means, after what Go, crossbeam-channel and flume check of theirs: over every capacity from 0 to 199, and over
//! every pair of kinds of party.

mod common;

use aqueduct::channel::{
    self, Receiver, RecvError, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};
use common::life::Style;
use common::party::{PARTIES, Running, pairs};
use common::{Drops, Latch, watchdog};
use futures::FutureExt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn make<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    capacity.map_or_else(channel::unbounded, channel::bounded)
}

/// Everything that is received until the end.
async fn recv_all<T>(style: Style, rx: Receiver<T>) -> Vec<T> {
    let mut received = Vec::new();
    while let Ok(message) = style.recv(&rx).await {
        received.push(message);
    }
    received
}

#[test]
fn every_capacity_fills_drains_and_closes() {
    for capacity in 0..200 {
        let (tx, rx) = channel::bounded(capacity);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!((tx.capacity(), rx.capacity()), (Some(capacity), Some(capacity)));
        for i in 0..capacity {
            assert_eq!((tx.len(), tx.is_empty(), tx.is_full()), (i, i == 0, false), "capacity {capacity}");
            tx.try_send(i).unwrap();
        }
        assert!(tx.is_full() && rx.is_full(), "capacity {capacity}");
        assert!(matches!(tx.try_send(capacity), Err(TrySendError::Full(back)) if back == capacity));
        assert_eq!(rx.len(), capacity);
        assert!(tx.close());
        assert!(!rx.close(), "it is closed already");
        assert!(matches!(tx.try_send(capacity), Err(TrySendError::Closed(back)) if back == capacity));
        assert_eq!(tx.send(capacity).unwrap_err().into_inner(), capacity);
        assert_eq!(tx.send_async(capacity).now_or_never().unwrap().unwrap_err().into_inner(), capacity);
        for i in 0..capacity {
            let got = if i % 2 == 0 { rx.recv() } else { rx.try_recv().map_err(|_| RecvError) };
            assert_eq!(got, Ok(i), "capacity {capacity}");
        }
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(rx.recv(), Err(RecvError));
        assert_eq!(rx.recv_async().now_or_never(), Some(Err(RecvError)));
    }
}

#[test]
fn every_capacity_keeps_the_order_between_every_two_kinds() {
    let dog = watchdog!(120);
    for (sender, receiver) in pairs() {
        for capacity in (0..200).map(Some).chain([None]) {
            dog.doing(format_args!("{sender:?} to {receiver:?}, capacity {capacity:?}"));
            let count = 2 * capacity.unwrap_or(40) + 10;
            let (tx, rx) = make(capacity);
            let sending = sender.live(|style| async move {
                for i in 0..count {
                    style.send(&tx, i).await.unwrap();
                }
            });
            let received = receiver.live(|style| recv_all(style, rx)).join();
            sending.join();
            assert!(received.into_iter().eq(0..count), "{sender:?} to {receiver:?}, capacity {capacity:?}");
        }
    }
}

#[test]
fn receivers_share_all_messages() {
    let _dog = watchdog!(60);
    for (sender, receiver) in pairs() {
        for capacity in [Some(0), Some(1), Some(10), None] {
            let (tx, rx) = make(capacity);
            let receivers: Vec<_> =
                (0..5).map(|_| receiver.live(|style| recv_all(style, rx.clone()))).collect();
            let sending = sender.live(|style| async move {
                for i in 0..300_u64 {
                    style.send(&tx, i).await.unwrap();
                }
            });
            sending.join();
            let mut all: Vec<u64> = receivers.into_iter().flat_map(Running::join).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..300), "{sender:?} to {receiver:?}, capacity {capacity:?}");
        }
    }
}

#[test]
fn a_rendezvous_send_returns_after_its_receive_began() {
    let _dog = watchdog!(60);
    for (sender, receiver) in pairs() {
        for _ in 0..50 {
            let (tx, rx) = channel::bounded(0);
            let begun = Arc::new(AtomicUsize::new(0));
            let beginning = begun.clone();
            let receiving = receiver.live(|style| async move {
                beginning.store(1, SeqCst);
                style.recv(&rx).await.unwrap()
            });
            let sending = sender.live(|style| async move {
                style.send(&tx, 7).await.unwrap();
                begun.load(SeqCst)
            });
            assert_eq!((sending.join(), receiving.join()), (1, 7), "{sender:?} to {receiver:?}");
        }
    }
}

#[test]
fn closing_wakes_every_blocked_receiver() {
    let _dog = watchdog!(60);
    for (closer, receiver) in pairs() {
        for capacity in [Some(0), Some(3), None] {
            for by_drop in [false, true] {
                let (tx, rx) = make::<u8>(capacity);
                let receivers: Vec<_> =
                    (0..4).map(|_| receiver.live(|style| recv_all(style, rx.clone()))).collect();
                let closing = closer.live(|_| async move {
                    if !by_drop {
                        assert!(tx.close());
                    }
                });
                closing.join();
                assert!(receivers.into_iter().all(|receiver| receiver.join().is_empty()));
                assert!(rx.is_closed());
            }
        }
    }
}

#[test]
fn closing_gives_every_blocked_sender_its_message_back() {
    let _dog = watchdog!(60);
    for (closer, sender) in pairs() {
        for capacity in [0, 1, 5] {
            for by_drop in [false, true] {
                let (tx, rx) = channel::bounded(capacity);
                (0..capacity).for_each(|i| tx.send(i).unwrap());
                let senders: Vec<_> = (100..104)
                    .map(|i| {
                        let tx = tx.clone();
                        sender.live(|style| async move { style.send(&tx, i).await.unwrap_err().into_inner() })
                    })
                    .collect();
                let closing = closer.live(|_| async move {
                    if by_drop {
                        return Vec::new();
                    }
                    rx.close();
                    rx.into_iter().collect()
                });
                let left = closing.join();
                let back: Vec<_> = senders.into_iter().map(Running::join).collect();
                assert_eq!(back, [100, 101, 102, 103], "{closer:?} closes on {sender:?}");
                assert_eq!(left, (0..if by_drop { 0 } else { capacity }).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn blocked_senders_get_in_as_room_comes_and_in_order() {
    let (tx, rx) = channel::bounded(2);
    let mut sends: Vec<_> = (0..6).map(|i| Box::pin(tx.send_async(i))).collect();
    let ready: Vec<_> = sends.iter_mut().map(|send| send.now_or_never().is_some()).collect();
    assert_eq!(ready, [true, true, false, false, false, false]);
    assert_eq!(rx.len(), 2, "those that wait are not counted");
    for i in 0..6 {
        assert_eq!(rx.try_recv(), Ok(i));
    }
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert!(sends[2..].iter_mut().all(|send| send.now_or_never() == Some(Ok(()))));
}

#[test]
fn receivers_are_served_in_the_order_in_which_they_came() {
    for capacity in [Some(0), Some(4), None] {
        let (tx, rx) = make(capacity);
        let mut first = Box::pin(rx.recv_async());
        let mut second = Box::pin(rx.recv_async());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        let sends = [Box::pin(tx.send_async(1)), Box::pin(tx.send_async(2))];
        let mut sends = sends.map(|mut send| (send.as_mut().now_or_never(), send));
        assert_eq!(first.now_or_never(), Some(Ok(1)), "capacity {capacity:?}");
        assert_eq!(second.now_or_never(), Some(Ok(2)), "capacity {capacity:?}");
        for (done, send) in &mut sends {
            assert_eq!(done.take().or_else(|| send.now_or_never()), Some(Ok(())));
        }
    }
}

#[test]
fn iterators_end_where_they_should() {
    let _dog = watchdog!(60);
    for (sender, receiver) in pairs() {
        let (tx, rx) = channel::bounded(2);
        let sending = sender.live(|style| async move {
            for i in 0..10 {
                style.send(&tx, i).await.unwrap();
            }
        });
        let receiving = receiver.live(|_| async move {
            let first: Vec<_> = rx.iter().take(3).collect();
            let borrowed: Vec<_> = (&rx).into_iter().take(3).collect();
            let rest: Vec<_> = rx.into_iter().collect();
            (first, borrowed, rest)
        });
        sending.join();
        let (first, borrowed, rest) = receiving.join();
        assert_eq!((first, borrowed, rest), (vec![0, 1, 2], vec![3, 4, 5], vec![6, 7, 8, 9]));
    }
    let (tx, rx) = channel::unbounded();
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(rx.try_iter().next(), None, "it does not wait for more");
    let mut ended = rx.iter();
    drop(tx);
    assert_eq!((ended.next(), ended.next()), (None, None));
}

#[test]
fn many_are_received_at_once() {
    let (tx, rx) = channel::bounded(4);
    let mut messages = vec![0];
    (1..=4).for_each(|i| tx.send(i).unwrap());
    assert_eq!(rx.recv_many(&mut messages, 0), Ok(0));
    assert_eq!(rx.recv_many(&mut messages, 3), Ok(3));
    assert_eq!(rx.recv_many(&mut messages, 3), Ok(1), "it does not wait to be full");
    assert_eq!(messages, [0, 1, 2, 3, 4]);
    (5..=8).for_each(|i| tx.send(i).unwrap());
    assert_eq!(rx.drain().len(), 4);
    assert_eq!(rx.drain().next(), None);
    tx.close();
    assert_eq!(rx.recv_many(&mut messages, 3), Err(RecvError));
}

#[test]
fn timeouts_pass_and_do_not_pass() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let (tx, rx) = channel::bounded(0);
        let moment = Duration::from_millis(2);
        let idle = rx.clone();
        let waited = one.live(|_| async move {
            let begun = Instant::now();
            (idle.recv_timeout(moment), begun.elapsed() >= moment)
        });
        assert_eq!(waited.join(), (Err(RecvTimeoutError::Timeout), true), "{one:?}");
        let idle = tx.clone();
        let waited = one.live(|_| async move {
            let begun = Instant::now();
            (idle.send_timeout(1, moment), begun.elapsed() >= moment)
        });
        assert_eq!(waited.join(), (Err(SendTimeoutError::Timeout(1)), true), "{one:?}");
        let past = Instant::now();
        assert_eq!(tx.send_deadline(2, past), Err(SendTimeoutError::Timeout(2)));
        assert_eq!(rx.recv_deadline(past), Err(RecvTimeoutError::Timeout));
        let (there, here) = (rx.clone(), tx.clone());
        let receiving = one.live(|_| async move { there.recv_timeout(LONG) });
        let sending = other.live(|_| async move { here.send_timeout(3, LONG) });
        assert_eq!((sending.join(), receiving.join()), (Ok(()), Ok(3)), "{one:?} and {other:?}");
        let (receiving, sending) = (
            one.live(|_| {
                let (_tx, rx) = channel::bounded::<u8>(0);
                rx.close();
                async move { rx.recv_timeout(LONG) }
            }),
            other.live(|_| {
                let (tx, rx) = channel::bounded(0);
                drop(rx);
                async move { tx.send_timeout(4, LONG) }
            }),
        );
        assert_eq!(receiving.join(), Err(RecvTimeoutError::Closed));
        assert_eq!(sending.join(), Err(SendTimeoutError::Closed(4)));
    }
}

#[test]
fn the_last_handle_of_a_side_closes() {
    let (tx, rx) = channel::bounded(3);
    let (tx2, rx2) = (tx.clone(), rx.clone());
    assert_eq!((tx.sender_count(), tx.receiver_count()), (2, 2));
    assert!(tx.same_channel(&tx2) && rx.same_channel(&rx2));
    tx.send(1).unwrap();
    drop(tx);
    assert!(!rx.is_closed());
    tx2.send(2).unwrap();
    drop(rx);
    assert!(!tx2.is_closed());
    drop(tx2);
    assert!(rx2.is_closed());
    assert_eq!(rx2.iter().collect::<Vec<_>>(), [1, 2], "what is queued is drained after the end");
    let (tx, rx) = channel::bounded(3);
    drop((rx.clone(), rx));
    assert!(tx.is_closed());
    assert_eq!(tx.try_send(1), Err(TrySendError::Closed(1)));
}

#[test]
fn what_nobody_receives_is_dropped_with_the_last_receiver() {
    for capacity in [Some(0), Some(1), Some(50), None] {
        let drops = Drops::new();
        let (tx, rx) = make(capacity);
        let mut sends: Vec<_> = (0..60).map(|_| Box::pin(tx.send_async(drops.one()))).collect();
        sends.iter_mut().for_each(|send| drop(send.now_or_never()));
        let queued = rx.len();
        assert_eq!(queued, capacity.unwrap_or(60).min(60));
        drop(rx);
        assert_eq!(drops.dropped(), queued, "the queue goes at once, with the last receiver");
        drop(sends);
        drop(tx);
        assert_eq!((drops.made(), drops.dropped()), (60, 60));
    }
}

#[test]
fn a_message_that_sends_and_closes_as_it_is_dropped_may_do_so() {
    struct Busy(Sender<Option<Busy>>);
    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.try_send(None);
            self.0.close();
            assert!(self.0.is_closed());
        }
    }
    let _dog = watchdog!(20);
    let (tx, rx) = channel::bounded(2);
    tx.send(Some(Busy(tx.clone()))).unwrap();
    drop(rx);
    let (tx, rx) = channel::bounded(1);
    tx.send(Some(Busy(tx.clone()))).unwrap();
    drop(tx.force_send(None).unwrap());
    assert!(rx.recv().unwrap().is_none());
    assert!(rx.recv().is_err());
}

#[test]
fn empty_and_large_messages_go_through() {
    let _dog = watchdog!(60);
    for (sender, receiver) in pairs() {
        for capacity in [Some(0), Some(2), None] {
            let (tx, rx) = make(capacity);
            let sending = sender.live(|style| async move {
                for _ in 0..100 {
                    style.send(&tx, ()).await.unwrap();
                }
            });
            assert_eq!(receiver.live(|style| recv_all(style, rx)).join().len(), 100);
            sending.join();
            let (tx, rx) = make(capacity);
            let sending = sender.live(|style| async move {
                for i in 0..4 {
                    style.send(&tx, [i; 2_000]).await.unwrap();
                }
            });
            let received = receiver.live(|style| recv_all(style, rx)).join();
            sending.join();
            assert!(received.iter().zip(0..4_u8).all(|(message, i)| *message == [i; 2_000]));
        }
    }
}

#[test]
fn a_bounded_channel_costs_what_is_in_it() {
    let (tx, rx) = channel::bounded::<[u8; 4_096]>(usize::MAX);
    assert!(!tx.is_full());
    assert_eq!(tx.capacity(), Some(usize::MAX - 1));
    tx.send([1; 4_096]).unwrap();
    assert_eq!(rx.recv().unwrap()[0], 1);
}

/// Hoare's and Go's sieve: as many channels as primes, each with two parties.
#[test]
fn a_chain_of_filters_finds_primes() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let (tx, mut numbers) = channel::bounded(0);
        let mut running = vec![one.live(|style| async move {
            let mut n = 2_u32;
            while style.send(&tx, n).await.is_ok() {
                n += 1;
            }
        })];
        let mut primes = Vec::new();
        for party in [one, other].into_iter().cycle().take(12) {
            let prime = numbers.recv().unwrap();
            primes.push(prime);
            let (tx, filtered) = channel::bounded(0);
            let unfiltered = std::mem::replace(&mut numbers, filtered);
            running.push(party.live(|style| async move {
                while let Ok(n) = style.recv(&unfiltered).await {
                    if n % prime != 0 && style.send(&tx, n).await.is_err() {
                        return;
                    }
                }
            }));
        }
        drop(numbers);
        running.into_iter().for_each(Running::join);
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37], "{one:?} and {other:?}");
    }
}

/// A channel as a lock and as a semaphore, as Go's documentation suggests.
#[test]
fn a_channel_counts_as_a_semaphore() {
    let _dog = watchdog!(60);
    for kind in PARTIES {
        for limit in 1..4 {
            let (tx, rx) = channel::bounded(limit);
            let inside = Arc::new(AtomicUsize::new(0));
            let running: Vec<_> = (0..6)
                .map(|_| {
                    let (tx, rx, inside) = (tx.clone(), rx.clone(), inside.clone());
                    kind.live(|style| async move {
                        for _ in 0..30 {
                            style.send(&tx, ()).await.unwrap();
                            assert!(inside.fetch_add(1, SeqCst) < limit);
                            inside.fetch_sub(1, SeqCst);
                            style.recv(&rx).await.unwrap();
                        }
                    })
                })
                .collect();
            running.into_iter().for_each(Running::join);
        }
    }
}

/// Messages may be channels.
#[test]
fn an_answer_comes_through_the_channel_in_the_question() {
    let _dog = watchdog!(60);
    for (asker, answerer) in pairs() {
        let (questions, asked) = channel::bounded::<(u32, Sender<u32>)>(1);
        let answering = answerer.live(|style| async move {
            while let Ok((n, answer)) = style.recv(&asked).await {
                style.send(&answer, n * n).await.unwrap();
            }
        });
        let asking = asker.live(|style| async move {
            let mut sum = 0;
            for n in 0..20 {
                let (answer, answered) = channel::bounded(0);
                style.send(&questions, (n, answer)).await.unwrap();
                sum += style.recv(&answered).await.unwrap();
            }
            sum
        });
        assert_eq!(asking.join(), (0..20).map(|n| n * n).sum());
        answering.join();
    }
}

/// A coroutine whose operations never have to wait is cancelled all the same, when its budget is used up: before an operation, so
/// that nothing is lost.
#[test]
fn a_busy_loop_is_cancelled_between_two_operations() {
    const COUNT: usize = 10_000;
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    for kind in [0, 1] {
        let (tx, rx) = channel::unbounded();
        (0..COUNT).for_each(|i| tx.send(i).unwrap());
        let (done, begun, go_on) = (Arc::new(AtomicUsize::new(0)), Latch::new(), Latch::new());
        let coroutine = {
            let (tx, rx, done, begun, go_on) =
                (tx.clone(), rx.clone(), done.clone(), begun.clone(), go_on.clone());
            move || {
                begun.open();
                go_on.block_thread();
                while done.load(SeqCst) < COUNT {
                    match kind {
                        0 => assert_eq!(rx.recv(), Ok(done.load(SeqCst))),
                        _ => tx.send(COUNT + done.load(SeqCst)).unwrap(),
                    }
                    done.fetch_add(1, SeqCst);
                }
                aqueduct::yield_now();
            }
        };
        let task = runtime.handle().go(coroutine);
        begun.block_thread();
        task.cancel();
        go_on.open();
        assert!(task.join().unwrap_err().is_cancelled());
        let (done, left) = (done.load(SeqCst), rx.len());
        assert_eq!(left, if kind == 0 { COUNT - done } else { COUNT + done }, "nothing is lost");
        assert!(done < COUNT, "it went on to the end");
    }
}

#[test]
fn operations_that_need_not_wait_go_through_where_waits_are_forbidden() {
    let _dog = watchdog!(20);
    let (tx, rx) = channel::bounded(1);
    let task = aqueduct::go(move || {
        let _guard = aqueduct::wait::forbid();
        for i in 0..10_000 {
            tx.send(i).unwrap();
            assert_eq!(rx.recv(), Ok(i));
        }
    });
    task.join().unwrap();
}
