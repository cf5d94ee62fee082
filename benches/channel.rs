//! Channels. Names are group/case/parameter; the parameter is the capacity.

mod support;

use aqueduct::channel::{self, oneshot};
use aqueduct::{go, spawn};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::{coroutine, future};

const CAPACITY: usize = 128;

/// There and back, between two tasks.
fn ping_pong(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ping_pong");
    for capacity in [0, 1] {
        coroutine(&mut group, capacity, move |times| {
            let (ping_tx, ping_rx) = channel::bounded(capacity);
            let (pong_tx, pong_rx) = channel::bounded(capacity);
            let echo = go(move || ping_rx.iter().for_each(|v: u64| pong_tx.send(v + 1).expect("a receiver")));
            let last = (0..times).fold(0, |v, _| {
                ping_tx.send(v).expect("the echo");
                pong_rx.recv().expect("the echo")
            });
            assert_eq!(last, times);
            drop(ping_tx);
            echo.join().expect("the echo");
        });
        future(&mut group, capacity, move |times| async move {
            let (ping_tx, ping_rx) = channel::bounded(capacity);
            let (pong_tx, pong_rx) = channel::bounded(capacity);
            let echo = spawn(async move {
                while let Ok(v) = ping_rx.recv_async().await {
                    pong_tx.send_async(v + 1).await.expect("a receiver");
                }
            });
            let mut last = 0_u64;
            for _ in 0..times {
                ping_tx.send_async(last).await.expect("the echo");
                last = pong_rx.recv_async().await.expect("the echo");
            }
            assert_eq!(last, times);
            drop(ping_tx);
            echo.await.expect("the echo");
        });
    }
    group.finish();
}

/// A message from one sender to one receiver.
fn spsc(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spsc");
    group.throughput(Throughput::Elements(1));
    coroutine(&mut group, CAPACITY, |times| {
        let (tx, rx) = channel::bounded(CAPACITY);
        let sender = go(move || (0..times).for_each(|v| tx.send(v).expect("a receiver")));
        assert_eq!(rx.iter().count() as u64, times);
        sender.join().expect("the sender");
    });
    future(&mut group, CAPACITY, |times| async move {
        let (tx, rx) = channel::bounded(CAPACITY);
        let sender = spawn(async move {
            for v in 0..times {
                tx.send_async(v).await.expect("a receiver");
            }
        });
        let mut received = 0;
        while rx.recv_async().await.is_ok() {
            received += 1;
        }
        assert_eq!(received, times);
        sender.await.expect("the sender");
    });
    group.finish();
}

/// A channel for one message, from its making to the message's arrival, in one task.
fn one_message(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("oneshot");
    coroutine(&mut group, 1, |times| {
        for v in 0..times {
            let (tx, rx) = oneshot::channel();
            tx.send(v).expect("a receiver");
            assert_eq!(rx.recv(), Ok(v));
        }
    });
    future(&mut group, 1, |times| async move {
        for v in 0..times {
            let (tx, rx) = oneshot::channel();
            tx.send(v).expect("a receiver");
            assert_eq!(rx.await, Ok(v));
        }
    });
    group.finish();
}

criterion_group!(benches, ping_pong, spsc, one_message);
criterion_main!(benches);
