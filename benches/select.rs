//! Select over four channels. Names are group/case/parameter; the parameter is the capacity.

mod support;

use std::time::Duration;

use aqueduct::channel::{self, Receiver};
use aqueduct::{go, select, select_async, spawn, time};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::{coroutine, future};

/// A timer that never fires.
const FAR: Duration = Duration::from_secs(10);

/// Four channels, on each of which somebody sends without end, until nobody receives.
fn producers(capacity: usize, as_coroutines: bool) -> [Receiver<u64>; 4] {
    std::array::from_fn(|_| {
        let (tx, rx) = channel::bounded(capacity);
        if as_coroutines {
            drop(go(move || while tx.send(1).is_ok() {}));
        } else {
            drop(spawn(async move { while tx.send_async(1).await.is_ok() {} }));
        }
        rx
    })
}

fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select");
    group.throughput(Throughput::Elements(1));
    for capacity in [0, 128] {
        coroutine(&mut group, capacity, move |times| {
            let [a, b, c, d] = producers(capacity, true);
            for _ in 0..times {
                let v = select! { v = <-a => v, v = <-b => v, v = <-c => v, v = <-d => v };
                assert_eq!(v, Ok(1));
            }
        });
        future(&mut group, capacity, move |times| async move {
            let [a, b, c, d] = producers(capacity, false);
            for _ in 0..times {
                let v = select_async! { v = <-a => v, v = <-b => v, v = <-c => v, v = <-d => v };
                assert_eq!(v, Ok(1));
            }
        });
    }
    group.finish();
}

/// The same with a timer made anew for each choice.
fn receive_or_time_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select_timer");
    group.throughput(Throughput::Elements(1));
    coroutine(&mut group, 0, |times| {
        let [a, b, c, d] = producers(0, true);
        for _ in 0..times {
            let v = select! {
                v = <-a => v,
                v = <-b => v,
                v = <-c => v,
                v = <-d => v,
                _ = <-time::after(FAR) => panic!("the timer fired"),
            };
            assert_eq!(v, Ok(1));
        }
    });
    future(&mut group, 0, |times| async move {
        let [a, b, c, d] = producers(0, false);
        for _ in 0..times {
            let v = select_async! {
                v = <-a => v,
                v = <-b => v,
                v = <-c => v,
                v = <-d => v,
                _ = <-time::after(FAR) => panic!("the timer fired"),
            };
            assert_eq!(v, Ok(1));
        }
    });
    group.finish();
}

criterion_group!(benches, receive, receive_or_time_out);
criterion_main!(benches);
