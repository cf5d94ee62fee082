//! Tasks: yielding, starting, joining. Names are group/case/parameter; the parameter is the number of tasks.

mod support;

use aqueduct::{go, spawn, yield_now, yield_now_async};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::{BATCH, coroutine, future};

/// A yield, alone and among others.
fn yields(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("yield");
    group.throughput(Throughput::Elements(1));
    coroutine(&mut group, 1, |times| (0..times).for_each(|_| yield_now()));
    future(&mut group, 1, |times| async move {
        for _ in 0..times {
            yield_now_async().await;
        }
    });
    group.throughput(Throughput::Elements(BATCH));
    coroutine(&mut group, BATCH, |times| {
        let tasks: Vec<_> = (0..BATCH).map(|_| go(move || (0..times).for_each(|_| yield_now()))).collect();
        tasks.into_iter().for_each(|task| task.join().expect("a task"));
    });
    future(&mut group, BATCH, |times| async move {
        let yields = move || async move {
            for _ in 0..times {
                yield_now_async().await;
            }
        };
        let tasks: Vec<_> = (0..BATCH).map(|_| spawn(yields())).collect();
        for task in tasks {
            task.await.expect("a task");
        }
    });
    group.finish();
}

/// A task from its start to its end, alone and in batches.
fn spawn_join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spawn_join");
    for tasks in [1, BATCH] {
        group.throughput(Throughput::Elements(tasks));
        coroutine(&mut group, tasks, move |times| {
            for _ in 0..times {
                let batch: Vec<_> = (0..tasks).map(|i| go(move || i)).collect();
                let sum: u64 = batch.into_iter().map(|task| task.join().expect("a task")).sum();
                assert_eq!(sum, tasks * (tasks - 1) / 2);
            }
        });
        future(&mut group, tasks, move |times| async move {
            for _ in 0..times {
                let batch: Vec<_> = (0..tasks).map(|i| spawn(async move { i })).collect();
                let mut sum = 0;
                for task in batch {
                    sum += task.await.expect("a task");
                }
                assert_eq!(sum, tasks * (tasks - 1) / 2);
            }
        });
    }
    group.finish();
}

criterion_group!(benches, yields, spawn_join);
criterion_main!(benches);
