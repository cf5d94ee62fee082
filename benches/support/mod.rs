//! What the benchmarks share: a runtime with one worker, and times taken inside its tasks.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::future::Future;
use std::time::{Duration, Instant};

use aqueduct::Runtime;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId};

/// Messages, yields, tasks of one iteration where the start of the tasks must not count.
pub(crate) const BATCH: u64 = 1_000;

pub(crate) fn runtime() -> Runtime {
    Runtime::builder().workers(1).build().expect("a runtime with one worker")
}

/// Measures `f`, which does something so many times in a coroutine.
pub(crate) fn coroutine<F>(group: &mut BenchmarkGroup<WallTime>, parameter: impl ToString, f: F)
where
    F: Fn(u64) + Copy + Send + 'static,
{
    let runtime = runtime();
    group.bench_function(BenchmarkId::new("coroutine", parameter.to_string()), |bencher| {
        bencher.iter_custom(|times| runtime.go(move || timed(|| f(times))).join().expect("the coroutine"));
    });
}

/// Measures `f`, whose future does something so many times.
pub(crate) fn future<F, Fut>(group: &mut BenchmarkGroup<WallTime>, parameter: impl ToString, f: F)
where
    F: Fn(u64) -> Fut + Copy + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let runtime = runtime();
    group.bench_function(BenchmarkId::new("future", parameter.to_string()), |bencher| {
        bencher.iter_custom(|times| {
            let task = runtime.spawn(async move {
                let start = Instant::now();
                f(times).await;
                start.elapsed()
            });
            runtime.block_on(task).expect("the task")
        });
    });
}

fn timed(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}
