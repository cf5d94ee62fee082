//! The futures ecosystem unchanged: what `futures` and `async-trait` make of futures runs on `spawn`, on a local runtime, on both
//! executors, and under `.wait()`.

mod common;

use aqueduct::executor::{Executor, LocalExecutor};
use aqueduct::{Handle, LocalRuntime, Wait, channel, go, time, yield_now_async};
use common::{Drops, Latch, watchdog};
use futures::channel::{mpsc, oneshot};
use futures::future::{
    self, AbortHandle, Abortable, BoxFuture, Either, FutureExt, LocalBoxFuture, TryFutureExt, join_all,
    select_all, try_join_all,
};
use futures::sink::SinkExt;
use futures::stream::{self, FuturesOrdered, FuturesUnordered, StreamExt, TryStreamExt};
use futures::task::{LocalSpawn, LocalSpawnExt, Spawn, SpawnExt};
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(1);

// ---- every place

/// Runs the future that `make` gives in every place where a `Send` future may be run.
fn everywhere<F>(name: &str, make: impl Fn() -> F)
where
    F: Future + Send + 'static,
    F::Output: PartialEq + std::fmt::Debug + Send + 'static,
{
    let expected = futures::executor::block_on(make());
    for workers in [1, 2] {
        let runtime = common::runtime(workers);
        assert_eq!(runtime.spawn(make()).join().unwrap(), expected, "{name}: spawn, {workers} workers");
        let future = make();
        assert_eq!(runtime.go(move || future.wait()).join().unwrap(), expected, "{name}: go and wait");
        let future = make();
        let inside = runtime.spawn(async move { future.wait() });
        assert_eq!(inside.join().unwrap(), expected, "{name}: waited for inside a poll");
        let handle = runtime.spawn_with_handle(make()).expect("it is alive");
        assert_eq!(handle.wait(), expected, "{name}: futures' spawn_with_handle");
        assert_eq!(runtime.block_on(make()), expected, "{name}: block_on of the handle");
    }
    assert_eq!(make().wait(), expected, "{name}: a plain thread");
    let local = LocalRuntime::new().unwrap();
    assert_eq!(local.spawn(make()).join_in(&local), expected, "{name}: local spawn");
    assert_eq!(local.run(|| make().wait()), expected, "{name}: local main coroutine");
    let executor = Executor::new();
    assert_eq!(executor.run(executor.spawn(make())).wait(), expected, "{name}: executor");
    let executor = LocalExecutor::new();
    assert_eq!(executor.run(executor.spawn(make())).wait(), expected, "{name}: local executor");
}

trait JoinIn<T> {
    fn join_in(self, runtime: &LocalRuntime) -> T;
}

impl<T> JoinIn<T> for aqueduct::JoinHandle<T> {
    fn join_in(self, runtime: &LocalRuntime) -> T {
        runtime.block_on(self).unwrap()
    }
}

#[test]
fn boxed_futures() {
    let _dog = watchdog!(60);
    fn fibonacci(n: u32) -> BoxFuture<'static, u32> {
        async move { if n < 2 { n } else { fibonacci(n - 1).await + fibonacci(n - 2).await } }.boxed()
    }
    everywhere("boxed recursion", || fibonacci(10));
    everywhere("FutureExt", || {
        future::ready(2).map(|n| n + 1).then(|n| async move { n * 2 }).inspect(|_| ()).fuse()
    });
    everywhere("TryFutureExt", || {
        async { Err::<usize, &str>("no") }
            .or_else(|text| async move { Ok::<_, ()>(text.len()) })
            .unwrap_or_else(|()| 0)
    });
    everywhere("catch_unwind of futures", || {
        async {
            if true {
                std::panic::resume_unwind(Box::new(7_u32))
            }
        }
        .catch_unwind()
        .map(|result| *result.unwrap_err().downcast::<u32>().unwrap())
    });
}

#[test]
fn joins_and_selects_of_many() {
    let _dog = watchdog!(60);
    async fn after(turns: u64) -> u64 {
        for _ in 0..turns {
            yield_now_async().await;
        }
        turns
    }
    everywhere("join_all, few", || join_all((0..8).map(after)));
    everywhere("join_all, many", || join_all((0..100).map(|n| after(n % 5))));
    everywhere("try_join_all", || {
        try_join_all((0..40).map(|n| async move { if n == 17 { Err(n) } else { Ok(after(n % 3).await) } }))
    });
    everywhere("select_all", || {
        select_all((1..10).rev().map(|n| after(n).boxed()))
            .then(|(first, _, rest)| async move { (first, join_all(rest).await.iter().sum::<u64>()) })
    });
    everywhere("select_ok", || {
        future::select_ok((0..5).map(|n| async move { if n < 4 { Err(n) } else { Ok(n) } }.boxed()))
            .map(|result| result.map(|(value, _)| value))
    });
    everywhere("select and join of two", || async {
        let first = match future::select(after(1).boxed(), after(50).boxed()).await {
            Either::Left((value, _)) => value,
            Either::Right((value, _)) => value + 1_000,
        };
        (
            first,
            futures::join!(after(3), after(2)),
            futures::try_join!(async { Ok::<_, ()>(1) }, async { Ok(2) }),
        )
    });
    everywhere("futures' select! macro", || async {
        let (mut slow, mut fast) = (after(100).boxed().fuse(), after(1).boxed().fuse());
        let mut seen = Vec::new();
        loop {
            futures::select! {
                value = slow => seen.push(value),
                value = fast => seen.push(value),
                complete => break seen,
            }
        }
    });
}

#[test]
fn futures_unordered_and_streams() {
    let _dog = watchdog!(60);
    async fn step(n: u64) -> u64 {
        for _ in 0..n % 4 {
            yield_now_async().await;
        }
        n
    }
    everywhere("FuturesUnordered", || async {
        let mut set: FuturesUnordered<_> = (0..100).map(step).collect();
        let mut sum = 0;
        while let Some(value) = set.next().await {
            sum += value;
            if value % 10 == 0 && value > 0 {
                set.push(step(value - 1));
            }
        }
        sum
    });
    everywhere("FuturesOrdered", || (0..50).map(step).collect::<FuturesOrdered<_>>().collect::<Vec<_>>());
    everywhere("buffer_unordered", || {
        stream::iter(0..200).map(step).buffer_unordered(16).fold(0, |sum, n| async move { sum + n })
    });
    everywhere("buffered keeps the order", || stream::iter(0..50).map(step).buffered(8).collect::<Vec<_>>());
    everywhere("for_each_concurrent", || async {
        let (tx, rx) = channel::unbounded();
        stream::iter(0..50).for_each_concurrent(7, |n| step(n).map(|n| tx.send(n).unwrap())).await;
        drop(tx);
        let mut all: Vec<u64> = rx.stream().collect().await;
        all.sort_unstable();
        all
    });
    everywhere("try_for_each and flatten", || async {
        let parts = stream::iter([Ok(1), Ok(2), Err("three"), Ok(4)]);
        let result = parts.try_for_each(|_| async { Ok(()) }).await;
        let flat: Vec<_> = stream::iter(0..3).map(|n| stream::iter(0..n)).flatten().collect().await;
        (result, flat, stream::select(stream::iter([1]), stream::iter([2])).count().await)
    });
    everywhere("unfold, scan, chunks", || {
        stream::unfold(0, |n| async move { (n < 10).then_some((n, n + 1)) }).chunks(3).collect::<Vec<_>>()
    });
}

#[test]
fn channels_of_futures_and_sinks() {
    let _dog = watchdog!(60);
    everywhere("futures' mpsc between tasks", || async {
        let (mut tx, rx) = mpsc::channel(1);
        let sender = async move {
            for n in 0..20 {
                tx.send(n).await.unwrap();
            }
        };
        futures::join!(sender, rx.collect::<Vec<_>>()).1
    });
    everywhere("forward into a fan-out of sinks", || async {
        let (tx, rx) = mpsc::unbounded::<u32>();
        let (even, odd) = (mpsc::unbounded(), mpsc::unbounded());
        let sink = even.0.fanout(odd.0).with(|n: u32| async move { Ok::<_, mpsc::SendError>(n * 2) });
        (0..5).for_each(|n| tx.unbounded_send(n).unwrap());
        drop(tx);
        rx.map(Ok).forward(sink).await.unwrap();
        (even.1.collect::<Vec<_>>().await, odd.1.collect::<Vec<_>>().await)
    });
    everywhere("our channel as a sink, buffered", || async {
        let (tx, rx) = channel::bounded(2);
        let sender = async move {
            let mut sink = tx.sink().buffer(4);
            sink.send_all(&mut stream::iter(0..10).map(Ok)).await.unwrap();
            sink.close().await.unwrap();
        };
        futures::join!(sender, rx.stream().collect::<Vec<i32>>()).1
    });
    everywhere("oneshots", || async {
        let (tx, rx) = oneshot::channel();
        futures::join!(async move { tx.send(7).unwrap() }, rx).1.unwrap()
    });
}

#[test]
fn a_locked_future_and_async_io() {
    let _dog = watchdog!(60);
    everywhere("futures' Mutex", || async {
        let mutex = futures::lock::Mutex::new(0);
        join_all((0..20).map(|n| {
            let mutex = &mutex;
            async move {
                let mut guard = mutex.lock().await;
                let seen = *guard;
                yield_now_async().await;
                *guard = seen + n;
            }
        }))
        .await;
        mutex.into_inner()
    });
    everywhere("AsyncReadExt over a cursor", || async {
        use futures::io::{AsyncBufReadExt, AsyncReadExt, Cursor};
        let mut text = String::new();
        Cursor::new(b"one\ntwo\n").chain(Cursor::new(b"three")).read_to_string(&mut text).await.unwrap();
        let lines: Vec<_> = Cursor::new(text).lines().try_collect().await.unwrap();
        lines
    });
}

// ---- handles of futures

#[test]
fn abort_handles() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let drops = Drops::new();
    let counted = drops.one();
    let latch = Latch::new();
    let (abort, registration) = AbortHandle::new_pair();
    let inner = latch.clone();
    let task = runtime.spawn(Abortable::new(
        async move {
            let _counted = counted;
            inner.opened().await;
        },
        registration,
    ));
    latch.block_thread_until_waited_for();
    abort.abort();
    assert!(abort.is_aborted());
    assert_eq!(task.join().unwrap(), Err(future::Aborted));
    assert_eq!(drops.dropped(), 1);
    // Under `.wait()`, aborted from another coroutine.
    let (future, abort) = future::abortable(future::pending::<()>());
    let waiting = runtime.go(move || future.wait());
    runtime.go(move || abort.abort()).join().unwrap();
    assert_eq!(waiting.join().unwrap(), Err(future::Aborted));
    let (mut stream, abort) = stream::abortable(stream::repeat(1));
    let ended = runtime.go(move || {
        assert_eq!(stream.next().wait(), Some(1));
        abort.abort();
        stream.next().wait()
    });
    assert_eq!(ended.join().unwrap(), None);
}

#[test]
fn shared_futures_are_polled_once_for_all() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let latch = Latch::new();
    let opened = latch.opened();
    let shared = async move {
        opened.await;
        String::from("for all")
    }
    .boxed()
    .shared();
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let shared = shared.clone();
            if n % 2 == 0 { runtime.spawn(shared) } else { runtime.go(move || shared.wait()) }
        })
        .collect();
    let thread = {
        let shared = shared.clone();
        std::thread::spawn(move || shared.wait())
    };
    latch.open();
    assert!(tasks.into_iter().all(|task| task.join().unwrap() == "for all"));
    assert_eq!(thread.join().unwrap(), "for all");
    assert_eq!(shared.now_or_never().as_deref(), Some("for all"));
}

#[test]
fn remote_handles_cancel_when_they_are_dropped_and_forget() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let drops = Drops::new();
    let counted = drops.one();
    let latch = Latch::new();
    let opened = latch.opened();
    let handle = runtime
        .spawn_with_handle(async move {
            let _counted = counted;
            opened.await;
        })
        .unwrap();
    latch.block_thread_until_waited_for();
    drop(handle);
    common::until(|| drops.dropped() == 1);
    let (tx, rx) = oneshot::channel();
    runtime.spawn_with_handle(async move { tx.send(7).unwrap() }).unwrap().forget();
    assert_eq!(rx.wait(), Ok(7));
}

// ---- the spawning traits

/// Written against `futures` alone.
fn spawn_three(spawner: &dyn Spawn) -> impl Future<Output = Vec<u32>> + use<> {
    let parts: Vec<_> = (0..3)
        .map(|n| {
            let (tx, rx) = oneshot::channel();
            spawner.spawn_obj(Box::new(async move { tx.send(n).unwrap() }).into()).unwrap();
            rx
        })
        .collect();
    join_all(parts).map(|all| all.into_iter().map(Result::unwrap).collect())
}

#[test]
fn generic_code_spawns_on_every_handle() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    assert_eq!(spawn_three(&*runtime).wait(), [0, 1, 2]);
    assert_eq!(spawn_three(runtime.handle()).wait(), [0, 1, 2]);
    assert_eq!(spawn_three(&Handle::current()).wait(), [0, 1, 2]);
    let local = LocalRuntime::new().unwrap();
    assert_eq!(local.block_on(spawn_three(&local)), [0, 1, 2]);
    // From another thread through the local runtime's handle.
    let handle = local.handle();
    let thread = std::thread::spawn(move || spawn_three(&handle).wait());
    local.block_on(async {
        while !thread.is_finished() {
            time::Timer::after(SHORT).await;
        }
    });
    assert_eq!(thread.join().unwrap(), [0, 1, 2]);
}

#[test]
fn generic_code_spawns_locally() {
    let _dog = watchdog!(30);
    fn count<S: LocalSpawn>(spawner: &S) -> impl Future<Output = usize> + use<S> {
        let seen = Rc::new(Cell::new(0));
        let handles: Vec<_> = (1..=4)
            .map(|n| {
                let seen = seen.clone();
                let future: LocalBoxFuture<'static, ()> =
                    async move { seen.set(seen.get() + n) }.boxed_local();
                spawner.spawn_local_with_handle(future).unwrap()
            })
            .collect();
        join_all(handles).map(move |_| seen.get())
    }
    let local = LocalRuntime::new().unwrap();
    assert_eq!(local.block_on(count(&local)), 10);
}

#[test]
fn a_runtime_that_has_shut_down_says_so() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    assert!(handle.status().is_ok());
    assert!(runtime.shutdown(common::soon()).is_complete());
    assert!(handle.status().unwrap_err().is_shutdown());
    let drops = Drops::new();
    let counted = drops.one();
    let refused = SpawnExt::spawn(&handle, async move { drop(counted) });
    assert!(refused.unwrap_err().is_shutdown());
    assert_eq!(drops.dropped(), 1, "the refused future is dropped");
}

// ---- objects

#[async_trait::async_trait]
trait Store: Send + Sync {
    async fn get(&self, key: &str) -> Option<String>;

    async fn get_or(&self, key: &str, default: &str) -> String {
        self.get(key).await.unwrap_or_else(|| default.into())
    }
}

struct Slow;

#[async_trait::async_trait]
impl Store for Slow {
    async fn get(&self, key: &str) -> Option<String> {
        time::Timer::after(SHORT).await;
        (key == "known").then(|| "value".into())
    }
}

/// An implementation in Go style: its method waits synchronously.
struct Waiting(channel::Sender<(String, oneshot::Sender<Option<String>>)>);

#[async_trait::async_trait]
impl Store for Waiting {
    async fn get(&self, key: &str) -> Option<String> {
        let (tx, rx) = oneshot::channel();
        self.0.send((key.into(), tx)).ok()?;
        rx.wait().ok()?
    }
}

#[test]
fn async_trait_objects() {
    let _dog = watchdog!(60);
    everywhere("async-trait object", || {
        let store: Box<dyn Store> = Box::new(Slow);
        async move { (store.get_or("known", "none").await, store.get_or("unknown", "none").await) }
    });
    let runtime = common::runtime(2);
    let (tx, rx) = channel::bounded::<(String, oneshot::Sender<Option<String>>)>(0);
    let server = runtime.go(move || {
        for (key, answer) in rx.iter() {
            answer.send((key == "known").then(|| "served".into())).unwrap();
        }
    });
    let store: Box<dyn Store> = Box::new(Waiting(tx));
    let client =
        runtime.spawn(async move { (store.get("known").await, store.get_or("unknown", "none").await) });
    assert_eq!(client.join().unwrap(), (Some("served".into()), "none".into()));
    server.join().unwrap();
}

#[async_trait::async_trait(?Send)]
trait Local {
    async fn count(&self) -> usize;
}

#[async_trait::async_trait(?Send)]
impl Local for Rc<Cell<usize>> {
    async fn count(&self) -> usize {
        self.set(self.get() + 1);
        yield_now_async().await;
        self.get()
    }
}

#[test]
fn local_async_trait_objects() {
    let _dog = watchdog!(30);
    let runtime = LocalRuntime::new().unwrap();
    let objects: Vec<Box<dyn Local>> =
        (0..3_usize).map(|n| Box::new(Rc::new(Cell::new(n))) as Box<dyn Local>).collect();
    let task = runtime.spawn(async move {
        let mut sum = 0;
        for object in &objects {
            sum += object.count().await;
        }
        sum
    });
    assert_eq!(runtime.block_on(task).unwrap(), 6);
    let counter = Rc::new(Cell::new(0));
    let executor = LocalExecutor::new();
    let task = executor.spawn(counter.count()); // borrows
    assert_eq!(executor.run(task).wait(), 1);
}

// ---- both colours at once

#[test]
fn join_handles_are_futures_like_any_other() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let sum = runtime.spawn(async {
        let mut set: FuturesUnordered<_> = (0..50).map(|n| go!(n)).collect();
        let mut sum = 0;
        while let Some(value) = set.next().await {
            sum += value.unwrap();
        }
        sum
    });
    assert_eq!(sum.join().unwrap(), 49 * 50 / 2);
    let (first, index, rest) =
        runtime.go(|| select_all([go!(std::future::pending::<i32>().wait()), go!(1)]).wait()).join().unwrap();
    assert_eq!((first.unwrap(), index, rest.len()), (1, 1, 1));
    rest.iter().for_each(|task| task.cancel());
}

#[test]
fn a_stream_is_read_in_go_style_and_a_sink_written() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(1);
    let (mut tx, mut rx) = mpsc::channel(0);
    let reader = runtime.go(move || {
        let mut all = Vec::new();
        while let Some(value) = rx.next().wait() {
            all.push(value);
        }
        all
    });
    let writer = runtime.go(move || (0..10).for_each(|n| tx.send(n).wait().unwrap()));
    writer.join().unwrap();
    assert_eq!(reader.join().unwrap(), (0..10).collect::<Vec<_>>());
}
