//! The workloads, once for all that speak in futures. Each checks what came out.

use std::future::Future;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Instant;

use super::{Channel, Gate, Lock, Mpmc, Oneshot, Runtime, Selectable, Timed, Yielding};
use crate::measure::{Extra, resident};
use crate::shapes::*;

pub(super) async fn yield_one<R: Yielding>(ops: u64) -> Extra {
    for _ in 0..ops {
        R::yield_now().await;
    }
    vec![]
}

pub(super) async fn yield_thousand<R: Yielding>(ops: u64) -> Extra {
    yield_side_by_side::<R>(TASKS, ops / TASKS).await
}

pub(super) async fn yield_many<R: Yielding>(ops: u64) -> Extra {
    for _ in 0..rounds(ops, YIELD_MANY_TASKS * YIELD_MANY_YIELDS) {
        yield_side_by_side::<R>(YIELD_MANY_TASKS, YIELD_MANY_YIELDS).await;
    }
    vec![]
}

async fn yield_side_by_side<R: Yielding>(tasks: u64, yields: u64) -> Extra {
    let work = |_| {
        R::spawn(async move {
            let mut done = 0;
            while done < yields {
                R::yield_now().await;
                done += 1;
            }
            done
        })
    };
    let handles: Vec<_> = (0..tasks).map(work).collect();
    let mut done = 0;
    for handle in handles {
        done += handle.await;
    }
    assert_eq!(done, tasks * yields);
    vec![]
}

pub(super) async fn spawn_join<R: Runtime>(ops: u64) -> Extra {
    let mut sum = 0;
    for batch in 0..rounds(ops, TASKS) {
        let handles: Vec<_> = (0..TASKS).map(|i| R::spawn(async move { batch * TASKS + i })).collect();
        for handle in handles {
            sum += handle.await;
        }
    }
    assert_eq!(sum, sum_below(rounds(ops, TASKS) * TASKS));
    vec![]
}

/// All tasks are parked at a gate, made of what the runtime's own library has; then it opens.
pub(super) async fn alive<R: Runtime, G: Gate, O: Oneshot>(ops: u64) -> Extra {
    let (gate, parked) = (Arc::new(G::new()), Arc::new(AtomicU64::new(0)));
    let (all_parked, seen) = O::channel();
    let all_parked = Arc::new(std::sync::Mutex::new(Some(all_parked)));
    let before = resident(ops);
    let handles: Vec<_> = (0..ops)
        .map(|i| {
            let (gate, parked, all_parked) =
                (Arc::clone(&gate), Arc::clone(&parked), Arc::clone(&all_parked));
            R::spawn(async move {
                if parked.fetch_add(1, Ordering::Relaxed) + 1 == ops {
                    O::send(all_parked.lock().unwrap().take().expect("there is one last task"), ops);
                }
                gate.pass().await;
                i
            })
        })
        .collect();
    assert_eq!(O::recv(seen).await, ops);
    let after = resident(ops);
    gate.open();
    let mut sum = 0;
    for handle in handles {
        sum += handle.await;
    }
    assert_eq!(sum, sum_below(ops));
    vec![
        ("bytes_per_task", (after.0 - before.0) / ops as f64),
        ("page_table_bytes_per_task", (after.1 - before.1) / ops as f64),
    ]
}

pub(super) async fn ping_pong<R: Runtime, C: Channel>(ops: u64) -> Extra {
    let (ping_tx, mut ping_rx) = C::bounded(C::SMALLEST);
    let (pong_tx, mut pong_rx) = C::bounded(C::SMALLEST);
    let echo = R::spawn(async move {
        while let Some(value) = C::recv(&mut ping_rx).await {
            C::send(&pong_tx, value + 1).await;
        }
    });
    let mut value = 0;
    for _ in 0..ops {
        C::send(&ping_tx, value).await;
        value = C::recv(&mut pong_rx).await.expect("the echo is there");
    }
    assert_eq!(value, ops);
    drop(ping_tx);
    echo.await;
    vec![]
}

pub(super) async fn spsc<R: Runtime, C: Channel>(ops: u64) -> Extra {
    let (tx, mut rx) = C::bounded(CAPACITY);
    let sender = R::spawn(async move {
        for value in 0..ops {
            C::send(&tx, value).await;
        }
    });
    let mut sum = 0;
    while let Some(value) = C::recv(&mut rx).await {
        sum += value;
    }
    sender.await;
    assert_eq!(sum, sum_below(ops));
    vec![]
}

pub(super) async fn mpmc<R: Runtime, C: Mpmc>(ops: u64) -> Extra {
    let each = rounds(ops, PARTIES);
    let (tx, rx) = C::bounded(CAPACITY);
    let senders: Vec<_> = (0..PARTIES)
        .map(|_| {
            let tx = tx.clone();
            R::spawn(async move {
                for value in 0..each {
                    C::send(&tx, value).await;
                }
            })
        })
        .collect();
    drop(tx);
    let receivers: Vec<_> = (0..PARTIES)
        .map(|_| {
            let mut rx = C::share(&rx);
            R::spawn(async move {
                let mut sum = 0;
                while let Some(value) = C::recv(&mut rx).await {
                    sum += value;
                }
                sum
            })
        })
        .collect();
    for sender in senders {
        sender.await;
    }
    let mut sum = 0;
    for receiver in receivers {
        sum += receiver.await;
    }
    assert_eq!(sum, PARTIES * sum_below(each));
    vec![]
}

pub(super) async fn select_rendezvous<R: Runtime, C: Selectable>(ops: u64) -> Extra {
    select::<R, C, _>(ops, C::SMALLEST, async |rxs| C::select(rxs).await).await
}

pub(super) async fn select_buffered<R: Runtime, C: Selectable>(ops: u64) -> Extra {
    select::<R, C, _>(ops, CAPACITY, async |rxs| C::select(rxs).await).await
}

pub(super) async fn select_timer<R: Timed, C: Selectable>(ops: u64) -> Extra {
    select::<R, C, _>(ops, C::SMALLEST, async |rxs| C::select_or::<R>(rxs, FAR).await).await
}

/// A producer for each of four channels, and one task that takes from whichever has something.
async fn select<R: Runtime, C: Selectable, F>(ops: u64, capacity: usize, mut choose: F) -> Extra
where
    F: AsyncFnMut(&mut [C::Rx; 4]) -> u64,
{
    let each = rounds(ops, PARTIES);
    let mut rxs: Vec<C::Rx> = Vec::new();
    let mut senders = Vec::new();
    for _ in 0..PARTIES {
        let (tx, rx) = C::bounded(capacity);
        rxs.push(rx);
        senders.push(R::spawn(async move {
            for value in 0..each {
                C::send(&tx, value).await;
            }
            tx
        }));
    }
    let Ok(mut rxs) = <[C::Rx; 4]>::try_from(rxs) else { unreachable!("there are four") };
    let mut sum = 0;
    for _ in 0..PARTIES * each {
        sum += choose(&mut rxs).await;
    }
    for sender in senders {
        sender.await;
    }
    assert_eq!(sum, PARTIES * sum_below(each));
    vec![]
}

pub(super) async fn skynet<R: Runtime, C: Channel>(ops: u64) -> Extra {
    let (tx, mut rx) = C::bounded(CHILDREN as usize);
    R::detach(node::<R, C>(tx, 0, ops));
    assert_eq!(C::recv(&mut rx).await, Some(sum_below(ops)));
    vec![]
}

/// A node sends the sum of its leaves' numbers upwards.
fn node<R: Runtime, C: Channel>(
    parent: C::Tx,
    first: u64,
    leaves: u64,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if leaves == 1 {
            return C::send(&parent, first).await;
        }
        let (tx, mut rx) = C::bounded(CHILDREN as usize);
        let below = leaves / CHILDREN;
        for child in 0..CHILDREN {
            let (tx, first) = (tx.clone(), first + child * below);
            match below {
                // A leaf needs no box.
                1 => R::detach(async move { C::send(&tx, first).await }),
                _ => R::detach(node::<R, C>(tx, first, below)),
            }
        }
        let mut sum = 0;
        for _ in 0..CHILDREN {
            sum += C::recv(&mut rx).await.expect("each child sends one number");
        }
        C::send(&parent, sum).await;
    })
}

pub(super) async fn sieve<R: Runtime, C: Channel>(ops: u64) -> Extra {
    let (tx, mut rx) = C::bounded(C::SMALLEST);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let generator = R::spawn(async move {
        for candidate in 2.. {
            C::send(&tx, candidate).await;
            if stopped.load(Ordering::Relaxed) {
                return;
            }
        }
    });
    let mut filters = Vec::new();
    let mut prime = 0;
    for _ in 0..ops {
        prime = C::recv(&mut rx).await.expect("primes do not end");
        let (tx, after) = C::bounded(C::SMALLEST);
        let mut before = std::mem::replace(&mut rx, after);
        filters.push(R::spawn(async move {
            while let Some(candidate) = C::recv(&mut before).await {
                if candidate % prime != 0 {
                    C::send(&tx, candidate).await;
                }
            }
        }));
    }
    stop.store(true, Ordering::Relaxed);
    while C::recv(&mut rx).await.is_some() {}
    generator.await;
    for filter in filters {
        filter.await;
    }
    assert_eq!(prime, nth_prime(ops));
    vec![]
}

pub(super) async fn chained_spawn<R: Runtime, O: Oneshot>(ops: u64) -> Extra {
    fn link<R: Runtime, O: Oneshot>(left: u64, done: O::Tx) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            match left {
                0 => O::send(done, CHAIN),
                _ => R::detach(link::<R, O>(left - 1, done)),
            }
        })
    }
    for _ in 0..rounds(ops, CHAIN) {
        let (done, seen) = O::channel();
        R::detach(link::<R, O>(CHAIN - 1, done));
        assert_eq!(O::recv(seen).await, CHAIN);
    }
    vec![]
}

pub(super) async fn spawn_many<R: Runtime, O: Oneshot>(ops: u64) -> Extra {
    for _ in 0..rounds(ops, SPAWN_MANY) {
        let (left, (done, seen)) = (Arc::new(AtomicU64::new(SPAWN_MANY)), O::channel());
        let done = Arc::new(std::sync::Mutex::new(Some(done)));
        for _ in 0..SPAWN_MANY {
            let (left, done) = (Arc::clone(&left), Arc::clone(&done));
            R::detach(async move {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    O::send(done.lock().unwrap().take().expect("there is one last task"), SPAWN_MANY);
                }
            });
        }
        assert_eq!(O::recv(seen).await, SPAWN_MANY);
    }
    vec![]
}

pub(super) async fn ping_pong_oneshot<R: Runtime, O: Oneshot>(ops: u64) -> Extra {
    for _ in 0..rounds(ops, ONESHOT_PAIRS) {
        let (left, (done, seen)) = (Arc::new(AtomicU64::new(ONESHOT_PAIRS)), O::channel());
        let done = Arc::new(std::sync::Mutex::new(Some(done)));
        for pair in 0..ONESHOT_PAIRS {
            let (left, done) = (Arc::clone(&left), Arc::clone(&done));
            R::detach(async move {
                let (ping_tx, ping_rx) = O::channel();
                let (pong_tx, pong_rx) = O::channel();
                R::detach(async move { O::send(pong_tx, O::recv(ping_rx).await + 1) });
                O::send(ping_tx, pair);
                assert_eq!(O::recv(pong_rx).await, pair + 1);
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    O::send(done.lock().unwrap().take().expect("there is one last pair"), ONESHOT_PAIRS);
                }
            });
        }
        assert_eq!(O::recv(seen).await, ONESHOT_PAIRS);
    }
    vec![]
}

pub(super) async fn timers<R: Timed>(ops: u64) -> Extra {
    let open = Instant::now() + opening(ops, false);
    let handles: Vec<_> = (0..ops)
        .map(|i| {
            let deadline = open + SPREAD.mul_f64(i as f64 / ops as f64);
            R::spawn(async move {
                R::sleep_until(deadline).await;
                Instant::now().checked_duration_since(deadline).expect("no timer fires early")
            })
        })
        .collect();
    // Polled, not only spawned, before the first fires: a task that begins when its deadline has passed is seen by its
    // lateness, which then grows with the number of tasks.
    let spawned_in =
        open.checked_duration_since(Instant::now()).expect("all are spawned before the first fires");
    let mut late_ns = Vec::with_capacity(handles.len());
    for handle in handles {
        late_ns.push(handle.await.as_nanos() as u64);
    }
    let mut extra = lateness(late_ns);
    extra.push(("spare_ms", spawned_in.as_secs_f64() * 1e3));
    extra
}

pub(super) async fn timeout_ready<R: Timed>(ops: u64) -> Extra {
    let mut done = 0;
    for _ in 0..ops {
        done += u64::from(R::timeout(FAR, async {}).await);
    }
    assert_eq!(done, ops);
    vec![]
}

pub(super) async fn arm_cancel<R: Timed>(ops: u64) -> Extra {
    for _ in 0..ops {
        let mut timer = pin!(R::timer(FAR));
        poll_fn(|cx| {
            assert!(timer.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    vec![]
}

pub(super) async fn mutex<R: Runtime, L: Lock>(ops: u64) -> Extra {
    let (lock, each) = (Arc::new(L::new()), rounds(ops, TASKS));
    let handles: Vec<_> = (0..TASKS)
        .map(|_| {
            let lock = Arc::clone(&lock);
            R::spawn(async move {
                for _ in 0..each {
                    lock.add(1).await;
                }
            })
        })
        .collect();
    for handle in handles {
        handle.await;
    }
    assert_eq!(lock.get().await, TASKS * each);
    vec![]
}

/// Does the workload twice: a little, to warm up, then so that it counts.
pub(super) async fn measured<F, Fut>(job: crate::sample::Job, workload: F) -> crate::measure::Sample
where
    F: Fn(u64) -> Fut,
    Fut: Future<Output = Extra>,
{
    if job.warm > 0 {
        workload(job.warm).await;
    }
    let meter = crate::measure::Meter::start();
    let extra = workload(job.ops).await;
    meter.stop(job.ops, extra)
}
