//! What a select means, after what Go, crossbeam-channel and flume check of theirs, in both styles.

mod common;

use aqueduct::channel::{self, Receiver, RecvError, Sender};
use aqueduct::select::Select;
use aqueduct::{Wait, select, select_async, time};
use common::life::choose;
use common::party::{PARTIES, Running, pairs};
use common::{Drops, Rng, watchdog};
use futures::FutureExt;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// Six standard deviations either side of a share of `trials`.
fn share(trials: usize, of: usize) -> std::ops::RangeInclusive<usize> {
    let (n, p) = (trials as f64, 1.0 / of as f64);
    let deviation = 6.0 * (n * p * (1.0 - p)).sqrt();
    (n * p - deviation) as usize..=(n * p + deviation) as usize
}

#[test]
fn closed_channels_happen_and_nil_channels_do_not() {
    for kind in PARTIES {
        let life = kind.live(|style| async move {
            let nil_rx: Option<Receiver<u8>> = None;
            let nil_tx: Option<Sender<u8>> = None;
            let (closed_tx, closed_rx) = channel::bounded::<u8>(0);
            closed_tx.close();
            for _ in 0..100 {
                choose! { style;
                    _ = <-nil_rx => unreachable!("nil"),
                    nil_tx <- 1 => unreachable!("nil"),
                    v = <-closed_rx => assert_eq!(v, Err(RecvError)),
                }
                choose! { style;
                    r = closed_tx <- 2 => assert_eq!(r.unwrap_err().into_inner(), 2),
                    _ = <-nil_rx => unreachable!("nil"),
                    default => unreachable!("a closed channel is ready"),
                }
                choose! { style;
                    _ = <-nil_rx => unreachable!("nil"),
                    nil_tx <- 1 => unreachable!("nil"),
                    default => {}
                }
            }
        });
        life.join();
    }
}

#[test]
fn what_is_queued_in_a_closed_channel_comes_first() {
    let (tx, rx) = channel::unbounded();
    (0..3).for_each(|i| tx.send(i).unwrap());
    drop(tx);
    let mut got = Vec::new();
    loop {
        select! {
            v = <-rx => match v {
                Ok(v) => got.push(v),
                Err(RecvError) => break,
            },
            default => unreachable!("it is closed"),
        }
    }
    assert_eq!(got, [0, 1, 2]);
}

/// A select that offers and receives on one rendezvous channel neither meets itself nor wakes itself, and those behind it in
/// the queue are told.
#[test]
fn a_select_does_not_meet_or_wake_itself() {
    let _dog = watchdog!(20);
    for biased in [false, true] {
        let (tx, rx) = channel::bounded(0);
        let both = async {
            if biased {
                select_async! { biased; v = <-rx => v.map(Some), tx <- 1 => Ok(None) }
            } else {
                select_async! { v = <-rx => v.map(Some), tx <- 1 => Ok(None) }
            }
        };
        let mut both = pin!(both);
        let (waker, wakes) = futures_test::task::new_count_waker();
        let mut cx = Context::from_waker(&waker);
        assert!(both.as_mut().poll(&mut cx).is_pending());
        assert!(both.as_mut().poll(&mut cx).is_pending());
        assert_eq!(wakes, 0);
        let mut behind = pin!(rx.recv_async());
        assert_eq!(behind.as_mut().now_or_never(), Some(Ok(1)), "it takes what the select offers");
        assert_eq!(wakes, 1);
        assert!(both.poll(&mut cx).is_ready());
    }
}

#[test]
fn a_receiver_behind_a_select_of_both_directions_is_served() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        for _ in 0..30 {
            let (tx, rx) = channel::bounded(0);
            let behind = rx.clone();
            let both = one.live(|style| async move {
                choose! { style;
                    v = <-rx => v.unwrap(),
                    r = tx <- 1 => { r.unwrap(); 0 }
                }
            });
            let receiving = other.live(|style| async move { style.recv(&behind).await });
            assert_eq!((both.join(), receiving.join()), (0, Ok(1)), "{one:?} and {other:?}");
        }
    }
}

/// Go's self-select: two parties, one channel, and each select may send or receive.
#[test]
fn parties_that_select_both_directions_trade_everything() {
    const EACH: u64 = 200;
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        for capacity in [0, 1, 10] {
            let (tx, rx) = channel::bounded(capacity);
            let traders: Vec<_> = [one, other]
                .into_iter()
                .zip(1..)
                .map(|(kind, number)| {
                    let (tx, rx) = (tx.clone(), rx.clone());
                    kind.live(|style| async move {
                        let (mut sent, mut received) = (0, 0);
                        for _ in 0..EACH {
                            choose! { style;
                                v = <-rx => {
                                    let v = v.unwrap();
                                    assert!(capacity > 0 || v != number, "it met itself");
                                    received += v;
                                }
                                r = tx <- number => {
                                    r.unwrap();
                                    sent += number;
                                }
                            }
                        }
                        (sent, received)
                    })
                })
                .collect();
            let traded: Vec<(u64, u64)> = traders.into_iter().map(Running::join).collect();
            let sent: u64 = traded.iter().map(|(sent, _)| sent).sum();
            let received: u64 = traded.iter().map(|(_, received)| received).sum();
            assert_eq!(received + rx.drain().sum::<u64>(), sent, "{one:?} and {other:?}, {capacity}");
        }
    }
}

#[test]
fn two_selects_that_face_each_other_meet_once() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        for round in 0..60 {
            let (tx, rx) = channel::bounded(0);
            let (tx2, rx2) = channel::bounded(0);
            let left = one.live(|style| async move {
                choose! { style;
                    r = tx <- 1 => { r.unwrap(); 0 }
                    v = <-rx2 => v.unwrap(),
                }
            });
            let right = other.live(|style| async move {
                choose! { style;
                    v = <-rx => v.unwrap(),
                    r = tx2 <- 2 => { r.unwrap(); 0 }
                }
            });
            let met = (left.join(), right.join());
            assert!(met == (0, 1) || met == (2, 0), "{one:?}, {other:?}, {round}: {met:?}");
        }
    }
}

/// A ring of selects over neighbouring channels, taken in opposite orders: they may not wait for each other's locks.
#[test]
fn selects_over_the_same_channels_in_other_orders_do_not_lock_each_other_out() {
    const EACH: usize = 300;
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let channels: Vec<_> = (0..3).map(|_| channel::bounded(0)).collect();
        let senders: Vec<_> = (0..3)
            .map(|turn| {
                let tx = |i: usize| -> Sender<usize> { channels[(i + turn) % 3].0.clone() };
                let (a, b, c) = (tx(0), tx(1), tx(2));
                one.live(|style| async move {
                    for i in 0..EACH {
                        let sent = choose! { style; r = a <- i => r, r = b <- i => r, r = c <- i => r };
                        sent.unwrap();
                    }
                })
            })
            .collect();
        let receivers: Vec<_> = (0..3)
            .map(|turn| {
                let rx = |i: usize| -> Receiver<usize> { channels[(3 + turn - i) % 3].1.clone() };
                let (a, b, c) = (rx(0), rx(1), rx(2));
                other.live(|style| async move {
                    let mut sum = 0;
                    for _ in 0..EACH {
                        sum += choose! { style; v = <-a => v, v = <-b => v, v = <-c => v }.unwrap();
                    }
                    sum
                })
            })
            .collect();
        senders.into_iter().for_each(Running::join);
        let sum: usize = receivers.into_iter().map(Running::join).sum();
        assert_eq!(sum, 3 * (0..EACH).sum::<usize>(), "{one:?} to {other:?}");
    }
}

#[test]
fn closed_inputs_become_nil_until_none_is_left() {
    let _dog = watchdog!(60);
    for (sender, receiver) in pairs() {
        let (tx, rx) = channel::bounded(1);
        let (tx2, rx2) = channel::bounded(0);
        let sending: Vec<_> = [tx, tx2]
            .into_iter()
            .zip([0, 100])
            .map(|(tx, base)| {
                sender.live(|style| async move {
                    for i in 0..50 {
                        style.send(&tx, base + i).await.unwrap();
                    }
                })
            })
            .collect();
        let merging = receiver.live(|style| async move {
            let (mut one, mut other, mut merged) = (Some(rx), Some(rx2), Vec::new());
            while one.is_some() || other.is_some() {
                choose! { style;
                    v = <-one => match v { Ok(v) => merged.push(v), Err(_) => one = None },
                    v = <-other => match v { Ok(v) => merged.push(v), Err(_) => other = None },
                }
            }
            merged
        });
        sending.into_iter().for_each(Running::join);
        let merged = merging.join();
        let (low, high): (Vec<_>, Vec<_>) = merged.into_iter().partition(|v| *v < 100);
        assert!(low.into_iter().eq(0..50) && high.into_iter().eq(100..150), "each in its order");
    }
}

#[test]
fn selects_nest_in_bodies_sources_and_values() {
    for kind in PARTIES {
        let life = kind.live(|style| async move {
            let (tx, rx) = channel::unbounded();
            let (tx2, rx2) = channel::unbounded();
            tx.send(1).unwrap();
            tx2.send(10).unwrap();
            let sum = choose! { style;
                v = <-rx => {
                    let inner = choose! { style; w = <-rx2 => w.unwrap(), default => 0 };
                    v.unwrap() + inner
                }
                default => unreachable!(),
            };
            assert_eq!(sum, 11);
            tx.send(2).unwrap();
            let source = |which: bool| if which { &rx } else { &rx2 };
            choose! { style; v = <-source(true) => assert_eq!(v, Ok(2)), default => unreachable!() }
            tx.send(3).unwrap();
            choose! { style;
                tx2 <- choose! { style; v = <-rx => v.unwrap() + 1, default => 0 } => {}
                default => unreachable!(),
            }
            assert_eq!(rx2.recv(), Ok(4));
        });
        life.join();
    }
}

/// A select that is started in the body of another, again and again: each stage hands on to the next.
#[test]
fn chained_selects_hand_everything_on() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let (tx, mut rx) = channel::bounded(0);
        let (stop, stopped) = channel::bounded::<()>(0);
        let mut stages = Vec::new();
        for kind in [one, other, one, other] {
            let (next, received) = channel::bounded(0);
            let (before, stopped) = (std::mem::replace(&mut rx, received), stopped.clone());
            stages.push(kind.live(|style| async move {
                loop {
                    choose! { style;
                        _ = <-stopped => return,
                        v = <-before => {
                            let Ok(v) = v else { return };
                            choose! { style;
                                _ = <-stopped => return,
                                r = next <- v + 1 => r.unwrap(),
                            }
                        }
                    }
                }
            }));
        }
        let feeding = other.live(|style| async move {
            for i in 0..100 {
                style.send(&tx, i).await.unwrap();
            }
            tx
        });
        assert!(rx.iter().take(100).eq(4..104));
        let tx = feeding.join();
        drop(stop);
        stages.into_iter().for_each(Running::join);
        assert!(tx.send(0).is_err(), "the stages are gone though nobody closed their input");
    }
}

#[test]
fn ready_receives_are_chosen_fairly() {
    const TRIALS: usize = 10_000;
    for style in PARTIES {
        let life = style.live(|style| async move {
            let channels: Vec<_> = (0..4).map(|_| channel::unbounded()).collect();
            channels.iter().for_each(|(tx, _)| (0..TRIALS).for_each(|_| tx.send(()).unwrap()));
            let rx = |i: usize| &channels[i].1;
            let mut counts = [0; 4];
            for _ in 0..TRIALS {
                let chosen = choose! { style;
                    _ = <-rx(0) => 0,
                    _ = <-rx(1) => 1,
                    _ = <-rx(2) => 2,
                    _ = <-rx(3) => 3,
                };
                counts[chosen] += 1;
            }
            counts
        });
        let counts = life.join();
        assert!(counts.iter().all(|count| share(TRIALS, 4).contains(count)), "{style:?}: {counts:?}");
    }
}

/// Go's pseudo-random send: one channel, two values.
#[test]
fn ready_sends_are_chosen_fairly() {
    const TRIALS: usize = 10_000;
    for (sender, capacity) in
        PARTIES.into_iter().flat_map(|kind| [(kind, Some(0)), (kind, Some(9)), (kind, None)])
    {
        let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
        let sending = sender.live(|style| async move {
            for _ in 0..TRIALS {
                choose! { style; r = tx <- 0 => r.unwrap(), r = tx <- 1 => r.unwrap() }
            }
        });
        let ones = rx.iter().filter(|v| *v == 1).count();
        sending.join();
        assert!(share(TRIALS, 2).contains(&ones), "{sender:?}, {capacity:?}: {ones}");
    }
}

#[test]
fn timers_futures_and_channels_are_chosen_fairly() {
    const TRIALS: usize = 10_000;
    let (tx, rx) = channel::unbounded();
    let mut counts = [0; 3];
    for _ in 0..TRIALS {
        tx.send(()).unwrap();
        let past = time::after(Duration::ZERO);
        let chosen = select! {
            _ = <-rx => 0,
            () = std::future::ready(()) => 1,
            _ = <-past => 2,
        };
        counts[chosen] += 1;
    }
    assert!(counts.iter().all(|count| share(TRIALS, 3).contains(count)), "{counts:?}");
}

#[test]
fn biased_selects_take_the_first_that_is_ready() {
    let (tx, rx) = channel::unbounded();
    (0..200).for_each(|i| tx.send(i).unwrap());
    for i in 0..100 {
        select! { biased; v = <-rx => assert_eq!(v, Ok(2 * i)), tx <- 0 => unreachable!() }
        let got = async {
            select_async! { biased; v = <-rx => v, _ = <-rx => unreachable!() }
        };
        assert_eq!(got.now_or_never(), Some(Ok(2 * i + 1)));
    }
}

#[test]
fn timeouts_end_a_select_and_tickers_go_on() {
    let _dog = watchdog!(30);
    for kind in PARTIES {
        let life = kind.live(|style| async move {
            let (_tx, rx) = channel::bounded::<u8>(0);
            let (moment, begun) = (Duration::from_millis(3), Instant::now());
            choose! { style;
                _ = <-rx => unreachable!(),
                _ = <-time::never() => unreachable!(),
                _ = <-time::after(LONG) => unreachable!(),
                _ = <-time::after(moment) => {}
            }
            assert!(begun.elapsed() >= moment);
            let ticker = time::tick(Duration::from_millis(1));
            let end = time::after(LONG);
            let mut ticks = 0;
            while ticks < 3 {
                choose! { style;
                    _ = <-ticker => ticks += 1,
                    _ = <-end => unreachable!(),
                    _ = <-rx => unreachable!(),
                }
            }
        });
        life.join();
    }
}

#[test]
fn a_select_with_a_far_timer_is_completed_by_a_peer() {
    let _dog = watchdog!(60);
    for (sender, receiver) in pairs() {
        let (tx, rx) = channel::bounded(0);
        let receiving = receiver.live(|style| async move {
            let mut sum = 0;
            loop {
                choose! { style;
                    v = <-rx => match v { Ok(v) => sum += v, Err(_) => return sum },
                    _ = <-time::after(LONG) => unreachable!(),
                }
            }
        });
        let sending = sender.live(|style| async move {
            for i in 0..100 {
                choose! { style;
                    r = tx <- i => r.unwrap(),
                    _ = <-time::after(LONG) => unreachable!(),
                }
            }
        });
        sending.join();
        assert_eq!(receiving.join(), 4_950, "{sender:?} to {receiver:?}");
    }
}

#[test]
fn one_channel_in_two_cases_gives_each_message_once() {
    let _dog = watchdog!(60);
    for (sender, receiver) in pairs() {
        for capacity in [Some(0), Some(1), None] {
            let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
            let receiving = receiver.live(|style| async move {
                let mut got = Vec::new();
                while let Ok(v) = choose! { style; v = <-rx => v, v = <-rx => v } {
                    got.push(v);
                }
                got
            });
            let sending = sender.live(|style| async move {
                for i in 0..100 {
                    choose! { style; r = tx <- i => r.unwrap(), r = tx <- i => r.unwrap() }
                }
            });
            sending.join();
            assert!(receiving.join().into_iter().eq(0..100), "{sender:?} to {receiver:?}, {capacity:?}");
        }
    }
}

/// Go's select stress: sends, receives and selects of all shapes over four channels.
#[test]
fn selects_and_plain_operations_share_four_channels() {
    const EACH: usize = 500;
    let _dog = watchdog!(60);
    let mut rng = Rng::new("selects_and_plain_operations_share_four_channels");
    let (txs, rxs): (Vec<Sender<usize>>, Vec<Receiver<usize>>) =
        [0, 0, 2, 3].map(channel::bounded).into_iter().unzip();
    let mut running = Vec::new();
    for i in 0..4 {
        let kind = |rng: &mut Rng| PARTIES[rng.below(3) as usize];
        let (tx, rx) = (txs[i].clone(), rxs[i].clone());
        running.push(kind(&mut rng).live(|style| async move {
            for j in 0..EACH {
                style.send(&tx, j).await.unwrap();
            }
            0
        }));
        running.push(kind(&mut rng).live(|style| async move {
            let mut sum = 0;
            for _ in 0..EACH {
                sum += style.recv(&rx).await.unwrap();
            }
            sum
        }));
    }
    for kind in PARTIES {
        let txs = txs.clone();
        running.push(kind.live(|style| async move {
            let mut txs: Vec<_> = txs.into_iter().map(Some).collect();
            let mut counts = [0; 4];
            while counts != [EACH; 4] {
                let i = counts.iter().position(|count| *count < EACH).expect("one is left");
                let chosen = choose! { style;
                    r = txs[0] <- counts[0] => { r.unwrap(); 0 }
                    r = txs[1] <- counts[1] => { r.unwrap(); 1 }
                    r = txs[2] <- counts[2] => { r.unwrap(); 2 }
                    r = txs[3] <- counts[3], if i <= 3 => { r.unwrap(); 3 }
                };
                counts[chosen] += 1;
                if counts[chosen] == EACH {
                    txs[chosen] = None;
                }
            }
            0
        }));
        let rxs = rxs.clone();
        running.push(kind.live(|style| async move {
            let mut rxs: Vec<_> = rxs.into_iter().map(Some).collect();
            let (mut counts, mut sum) = ([0; 4], 0);
            while counts != [EACH; 4] {
                let (chosen, v) = choose! { style;
                    v = <-rxs[0] => (0, v),
                    v = <-rxs[1] => (1, v),
                    v = <-rxs[2] => (2, v),
                    v = <-rxs[3] => (3, v),
                };
                sum += v.unwrap();
                counts[chosen] += 1;
                if counts[chosen] == EACH {
                    rxs[chosen] = None;
                }
            }
            sum
        }));
    }
    let sum: usize = running.into_iter().map(Running::join).sum();
    assert_eq!(sum, 4 * 4 * (0..EACH).sum::<usize>());
}

#[test]
fn expressions_are_evaluated_once_each_and_guards_only_switch() {
    let (tx, rx) = channel::unbounded();
    tx.send(1).unwrap();
    let mut calls = HashMap::new();
    let mut call = |name| *calls.entry(name).or_insert(0) += 1;
    select! {
        v = <-{ call("source"); &rx } => assert_eq!(v, Ok(1)),
        { call("sink"); &tx } <- { call("value"); 2 }, if false => unreachable!(),
        _ = <-{ call("off"); &rx }, if { call("guard"); false } => unreachable!(),
    }
    assert_eq!(calls.len(), 5);
    assert!(calls.values().all(|count| *count == 1), "{calls:?}");
}

#[test]
fn a_dynamic_select_without_cases_ends_at_its_limit() {
    let _dog = watchdog!(60);
    let limit = Duration::from_millis(20);
    let test = move || {
        let start = Instant::now();
        assert_eq!(Select::<()>::new().wait_timeout(limit), None);
        assert_eq!(Select::<()>::new().wait_deadline(start + 2 * limit), None);
        assert!(time::timeout(limit, Select::<()>::new().wait_async()).wait().is_err());
        assert!(start.elapsed() >= 3 * limit);
        assert_eq!(Select::<()>::new().try_wait(), None);
        assert!(common::panic_of(|| Select::<()>::new().wait()).contains("would wait for ever"));
    };
    test();
    aqueduct::go(test).join().unwrap();
}

#[test]
fn a_dynamic_select_follows_the_same_rules() {
    let _dog = watchdog!(60);
    let channels: Vec<_> = (0..64).map(|_| channel::bounded(1)).collect();
    let of_all = |from: usize| {
        channels[from..]
            .iter()
            .enumerate()
            .fold(Select::new(), |select, (i, (_, rx))| select.recv(rx, move |v| (from + i, v)))
    };
    assert!(of_all(0).try_wait().is_none());
    assert!(of_all(0).wait_timeout(Duration::from_millis(1)).is_none());
    channels[63].0.send('x').unwrap();
    assert_eq!(of_all(0).wait(), (63, Ok('x')));
    channels[5].0.send('a').unwrap();
    channels[6].0.send('b').unwrap();
    assert_eq!(of_all(0).biased().wait(), (5, Ok('a')));
    assert_eq!(of_all(6).wait(), (6, Ok('b')));
    let (tx, rx) = channel::bounded(0);
    let sent = Select::new()
        .send(&tx, 1, |_| false)
        .recv(&rx, |_: Result<i32, _>| false)
        .wait_timeout(Duration::from_millis(1));
    assert_eq!(sent, None, "it does not meet itself");
    for kind in PARTIES {
        let (there, nothing) = (tx.clone(), None::<Receiver<i32>>);
        let selecting = kind.live(|_| async move {
            Select::new()
                .recv(&nothing, |_| false)
                .send(&there, 7, |r| r.is_ok())
                .future(std::future::pending::<()>(), |()| false)
                .recv(&time::after(LONG), |_| false)
                .wait()
        });
        assert_eq!(rx.recv(), Ok(7));
        assert!(selecting.join(), "{kind:?}");
    }
}

#[test]
#[should_panic(expected = "without cases")]
fn a_dynamic_select_without_cases_panics() {
    Select::<()>::new().wait();
}

/// Closed channels refuse what is offered; a select that is dropped before it has looked keeps nothing of it.
#[test]
fn a_refused_message_is_dropped_or_goes_back_to_its_lender() {
    fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
        future.poll_unpin(&mut Context::from_waker(Waker::noop())).is_ready()
    }
    let drops = Drops::new();
    let mut lent = Some(drops.one());
    {
        let (tx, rx) = channel::bounded(0);
        let mut select = Box::pin(async {
            select_async! { tx <- from lent => unreachable!("dropped") }
        });
        assert!(!poll_once(&mut select));
        rx.close();
    }
    assert!(lent.is_some());
    {
        let (tx, rx) = channel::bounded(0);
        let mut select = Box::pin(async {
            select_async! { tx <- drops.one() => unreachable!("dropped") }
        });
        assert!(!poll_once(&mut select));
        rx.close();
    }
    assert_eq!((drops.made(), drops.dropped()), (2, 1));
    {
        let (tx, rx) = channel::bounded(0);
        let mut select = Box::pin(async {
            Select::new().send(&tx, drops.one(), |_| unreachable!("dropped")).wait_async().await
        });
        assert!(!poll_once(&mut select));
        rx.close();
    }
    assert_eq!((drops.made(), drops.dropped()), (3, 2));
    // Who looks has it.
    let (tx, rx) = channel::bounded(0);
    let mut select = Box::pin(async {
        select_async! { r = tx <- from lent => r.unwrap_err().into_inner() }
    });
    assert!(!poll_once(&mut select));
    rx.close();
    drop(select.now_or_never().unwrap());
    assert_eq!((lent.is_none(), drops.dropped()), (true, 3));
}
