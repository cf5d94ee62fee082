//! Locks and timers that do not have to wait. Names are group/case/parameter; the parameter is the number of tasks.

mod support;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aqueduct::sync::Mutex;
use aqueduct::time::{self, Timer};
use aqueduct::{Wait, go, spawn};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::{BATCH, coroutine, future};

const FAR: Duration = Duration::from_secs(10);

/// Lock and unlock.
fn mutex(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mutex");
    for tasks in [1, BATCH] {
        group.throughput(Throughput::Elements(tasks));
        coroutine(&mut group, tasks, move |times| {
            let count = Arc::new(Mutex::new(0));
            let add = |count: Arc<Mutex<u64>>| go(move || (0..times).for_each(|_| *count.lock() += 1));
            let adders: Vec<_> = (0..tasks).map(|_| add(Arc::clone(&count))).collect();
            adders.into_iter().for_each(|adder| adder.join().expect("a task"));
            assert_eq!(*count.lock(), times * tasks);
        });
        future(&mut group, tasks, move |times| async move {
            let count = Arc::new(Mutex::new(0));
            let add = |count: Arc<Mutex<u64>>| {
                spawn(async move {
                    for _ in 0..times {
                        *count.lock_async().await += 1;
                    }
                })
            };
            let adders: Vec<_> = (0..tasks).map(|_| add(Arc::clone(&count))).collect();
            for adder in adders {
                adder.await.expect("a task");
            }
            assert_eq!(*count.lock_async().await, times * tasks);
        });
    }
    group.finish();
}

/// A timeout around what is ready.
fn timeout(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timeout_ready");
    coroutine(&mut group, 1, |times| {
        (0..times).for_each(|_| time::timeout(FAR, async {}).wait().expect("it is ready"));
    });
    future(&mut group, 1, |times| async move {
        for _ in 0..times {
            time::timeout(FAR, async {}).await.expect("it is ready");
        }
    });
    group.finish();
}

/// A timer that is armed, and cancelled before it fires.
fn arm_cancel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("arm_cancel");
    let armed = || {
        let mut timer = Timer::after(FAR);
        async move {
            let mut timer = pin!(&mut timer);
            poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx).is_pending())).await
        }
    };
    coroutine(&mut group, 1, move |times| (0..times).for_each(|_| assert!(armed().wait())));
    future(&mut group, 1, move |times| async move {
        for _ in 0..times {
            assert!(armed().await);
        }
    });
    group.finish();
}

criterion_group!(benches, mutex, timeout, arm_cancel);
criterion_main!(benches);
