//! The workloads, once for all that wait on the spot. Each checks what came out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::{Channel, Coroutines, Lock, Oneshot, Selectable, Tasks};
use crate::measure::{Extra, Meter, Sample, resident};
use crate::sample::Job;
use crate::shapes::*;

pub(super) fn yield_one<R: Coroutines>(ops: u64) -> Extra {
    for _ in 0..ops {
        R::yield_now();
    }
    vec![]
}

pub(super) fn yield_thousand<R: Coroutines>(ops: u64) -> Extra {
    yield_side_by_side::<R>(TASKS, ops / TASKS)
}

pub(super) fn yield_many<R: Coroutines>(ops: u64) -> Extra {
    for _ in 0..rounds(ops, YIELD_MANY_TASKS * YIELD_MANY_YIELDS) {
        yield_side_by_side::<R>(YIELD_MANY_TASKS, YIELD_MANY_YIELDS);
    }
    vec![]
}

fn yield_side_by_side<R: Coroutines>(tasks: u64, yields: u64) -> Extra {
    let work = |_| {
        R::go(move || {
            let mut done = 0;
            while done < yields {
                R::yield_now();
                done += 1;
            }
            done
        })
    };
    let handles: Vec<_> = (0..tasks).map(work).collect();
    let done: u64 = handles.into_iter().map(R::join).sum();
    assert_eq!(done, tasks * yields);
    vec![]
}

pub(super) fn spawn_join<R: Tasks>(ops: u64) -> Extra {
    let mut sum = 0;
    for batch in 0..rounds(ops, TASKS) {
        let handles: Vec<_> = (0..TASKS).map(|i| R::go(move || batch * TASKS + i)).collect();
        sum += handles.into_iter().map(R::join).sum::<u64>();
    }
    assert_eq!(sum, sum_below(rounds(ops, TASKS) * TASKS));
    vec![]
}

/// All tasks are parked at a channel on which nothing comes; then it closes.
pub(super) fn alive<R: Tasks, C: Channel, O: Oneshot>(ops: u64) -> Extra {
    let (tx, rx) = C::bounded(1);
    let (rx, parked, (all_parked, seen)) = (Arc::new(rx), Arc::new(AtomicU64::new(0)), O::channel());
    let all_parked = Arc::new(std::sync::Mutex::new(Some(all_parked)));
    let before = resident(ops);
    let handles: Vec<_> = (0..ops)
        .map(|i| {
            let (rx, parked, all_parked) = (Arc::clone(&rx), Arc::clone(&parked), Arc::clone(&all_parked));
            R::go(move || {
                if parked.fetch_add(1, Ordering::Relaxed) + 1 == ops {
                    O::send(all_parked.lock().unwrap().take().expect("there is one last task"), ops);
                }
                drop((parked, all_parked));
                assert_eq!(C::recv(&rx), None);
                i
            })
        })
        .collect();
    assert_eq!(O::recv(seen), ops);
    let after = resident(ops);
    drop(tx);
    let sum: u64 = handles.into_iter().map(R::join).sum();
    assert_eq!(sum, sum_below(ops));
    vec![
        ("bytes_per_task", (after.0 - before.0) / ops as f64),
        ("page_table_bytes_per_task", (after.1 - before.1) / ops as f64),
    ]
}

pub(super) fn ping_pong<R: Tasks, C: Channel>(ops: u64) -> Extra {
    let (ping_tx, ping_rx) = C::bounded(C::SMALLEST);
    let (pong_tx, pong_rx) = C::bounded(C::SMALLEST);
    let echo = R::go(move || {
        while let Some(value) = C::recv(&ping_rx) {
            C::send(&pong_tx, value + 1);
        }
    });
    let mut value = 0;
    for _ in 0..ops {
        C::send(&ping_tx, value);
        value = C::recv(&pong_rx).expect("the echo is there");
    }
    assert_eq!(value, ops);
    drop(ping_tx);
    R::join(echo);
    vec![]
}

pub(super) fn spsc<R: Tasks, C: Channel>(ops: u64) -> Extra {
    let (tx, rx) = C::bounded(CAPACITY);
    let sender = R::go(move || (0..ops).for_each(|value| C::send(&tx, value)));
    let mut sum = 0;
    while let Some(value) = C::recv(&rx) {
        sum += value;
    }
    R::join(sender);
    assert_eq!(sum, sum_below(ops));
    vec![]
}

pub(super) fn mpmc<R: Tasks, C: Channel>(ops: u64) -> Extra {
    let each = rounds(ops, PARTIES);
    let (tx, rx) = C::bounded(CAPACITY);
    let senders: Vec<_> = (0..PARTIES)
        .map(|_| {
            let tx = tx.clone();
            R::go(move || (0..each).for_each(|value| C::send(&tx, value)))
        })
        .collect();
    drop(tx);
    let receivers: Vec<_> = (0..PARTIES)
        .map(|_| {
            let rx = C::share(&rx);
            R::go(move || {
                let mut sum = 0;
                while let Some(value) = C::recv(&rx) {
                    sum += value;
                }
                sum
            })
        })
        .collect();
    senders.into_iter().for_each(R::join);
    let sum: u64 = receivers.into_iter().map(R::join).sum();
    assert_eq!(sum, PARTIES * sum_below(each));
    vec![]
}

pub(super) fn select_rendezvous<R: Tasks, C: Selectable>(ops: u64) -> Extra {
    select::<R, C>(ops, C::SMALLEST, None)
}

pub(super) fn select_buffered<R: Tasks, C: Selectable>(ops: u64) -> Extra {
    select::<R, C>(ops, CAPACITY, None)
}

pub(super) fn select_timer<R: Tasks, C: Selectable>(ops: u64) -> Extra {
    select::<R, C>(ops, C::SMALLEST, Some(FAR))
}

/// A producer for each of four channels, and one task that takes from whichever has something.
fn select<R: Tasks, C: Selectable>(ops: u64, capacity: usize, limit: Option<std::time::Duration>) -> Extra {
    let each = rounds(ops, PARTIES);
    let (mut rxs, mut senders) = (Vec::new(), Vec::new());
    for _ in 0..PARTIES {
        let (tx, rx) = C::bounded(capacity);
        rxs.push(rx);
        senders.push(R::go(move || {
            (0..each).for_each(|value| C::send(&tx, value));
            tx
        }));
    }
    let Ok(rxs) = <[C::Rx; 4]>::try_from(rxs) else { unreachable!("there are four") };
    let sum = C::choose(rxs, PARTIES * each, limit);
    for sender in senders {
        drop(R::join(sender));
    }
    assert_eq!(sum, PARTIES * sum_below(each));
    vec![]
}

pub(super) fn skynet<R: Tasks, C: Channel>(ops: u64) -> Extra {
    let (tx, rx) = C::bounded(CHILDREN as usize);
    R::detach(move || node::<R, C>(&tx, 0, ops));
    assert_eq!(C::recv(&rx), Some(sum_below(ops)));
    vec![]
}

/// A node sends the sum of its leaves' numbers upwards.
fn node<R: Tasks, C: Channel>(parent: &C::Tx, first: u64, leaves: u64) {
    if leaves == 1 {
        return C::send(parent, first);
    }
    let (tx, rx) = C::bounded(CHILDREN as usize);
    let below = leaves / CHILDREN;
    for child in 0..CHILDREN {
        let tx = tx.clone();
        R::detach(move || node::<R, C>(&tx, first + child * below, below));
    }
    let sum = (0..CHILDREN).map(|_| C::recv(&rx).expect("each child sends one number")).sum();
    C::send(parent, sum);
}

pub(super) fn sieve<R: Tasks, C: Channel>(ops: u64) -> Extra {
    let (tx, mut rx) = C::bounded(C::SMALLEST);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let generator = R::go(move || {
        for candidate in 2.. {
            C::send(&tx, candidate);
            if stopped.load(Ordering::Relaxed) {
                return;
            }
        }
    });
    let (mut filters, mut prime) = (Vec::new(), 0);
    for _ in 0..ops {
        prime = C::recv(&rx).expect("primes do not end");
        let (tx, after) = C::bounded(C::SMALLEST);
        let before = std::mem::replace(&mut rx, after);
        filters.push(R::go(move || {
            while let Some(candidate) = C::recv(&before) {
                if candidate % prime != 0 {
                    C::send(&tx, candidate);
                }
            }
        }));
    }
    stop.store(true, Ordering::Relaxed);
    while C::recv(&rx).is_some() {}
    R::join(generator);
    filters.into_iter().for_each(R::join);
    assert_eq!(prime, nth_prime(ops));
    vec![]
}

pub(super) fn chained_spawn<R: Tasks, O: Oneshot>(ops: u64) -> Extra {
    fn link<R: Tasks, O: Oneshot>(left: u64, done: O::Tx) {
        match left {
            0 => O::send(done, CHAIN),
            _ => R::detach(move || link::<R, O>(left - 1, done)),
        }
    }
    for _ in 0..rounds(ops, CHAIN) {
        let (done, seen) = O::channel();
        R::detach(move || link::<R, O>(CHAIN - 1, done));
        assert_eq!(O::recv(seen), CHAIN);
    }
    vec![]
}

pub(super) fn spawn_many<R: Tasks, O: Oneshot>(ops: u64) -> Extra {
    for _ in 0..rounds(ops, SPAWN_MANY) {
        let (left, (done, seen)) = (Arc::new(AtomicU64::new(SPAWN_MANY)), O::channel());
        let done = Arc::new(std::sync::Mutex::new(Some(done)));
        for _ in 0..SPAWN_MANY {
            let (left, done) = (Arc::clone(&left), Arc::clone(&done));
            R::detach(move || {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    O::send(done.lock().unwrap().take().expect("there is one last task"), SPAWN_MANY);
                }
            });
        }
        assert_eq!(O::recv(seen), SPAWN_MANY);
    }
    vec![]
}

pub(super) fn ping_pong_oneshot<R: Tasks, O: Oneshot>(ops: u64) -> Extra {
    for _ in 0..rounds(ops, ONESHOT_PAIRS) {
        let (left, (done, seen)) = (Arc::new(AtomicU64::new(ONESHOT_PAIRS)), O::channel());
        let done = Arc::new(std::sync::Mutex::new(Some(done)));
        for pair in 0..ONESHOT_PAIRS {
            let (left, done) = (Arc::clone(&left), Arc::clone(&done));
            R::detach(move || {
                let (ping_tx, ping_rx) = O::channel();
                let (pong_tx, pong_rx) = O::channel();
                R::detach(move || O::send(pong_tx, O::recv(ping_rx) + 1));
                O::send(ping_tx, pair);
                assert_eq!(O::recv(pong_rx), pair + 1);
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    O::send(done.lock().unwrap().take().expect("there is one last pair"), ONESHOT_PAIRS);
                }
            });
        }
        assert_eq!(O::recv(seen), ONESHOT_PAIRS);
    }
    vec![]
}

pub(super) fn timers<R: Coroutines>(ops: u64) -> Extra {
    let open = Instant::now() + opening(ops, true);
    let handles: Vec<_> = (0..ops)
        .map(|i| {
            let deadline = open + SPREAD.mul_f64(i as f64 / ops as f64);
            R::go(move || {
                R::sleep_until(deadline);
                Instant::now().checked_duration_since(deadline).expect("no timer fires early")
            })
        })
        .collect();
    let spare = open.checked_duration_since(Instant::now()).expect("all are spawned before the first fires");
    let late_ns = handles.into_iter().map(|handle| R::join(handle).as_nanos() as u64).collect();
    let mut extra = lateness(late_ns);
    extra.push(("spare_ms", spare.as_secs_f64() * 1e3));
    extra
}

pub(super) fn mutex<R: Coroutines>(ops: u64) -> Extra {
    let (lock, each) = (Arc::new(R::Lock::new()), rounds(ops, TASKS));
    let handles: Vec<_> = (0..TASKS)
        .map(|_| {
            let lock = Arc::clone(&lock);
            R::go(move || (0..each).for_each(|_| lock.add(1)))
        })
        .collect();
    handles.into_iter().for_each(R::join);
    assert_eq!(lock.get(), TASKS * each);
    vec![]
}

/// Does the workload twice: a little, to warm up, then so that it counts.
pub fn measured(job: &Job, workload: fn(u64) -> Extra) -> Sample {
    if job.warm > 0 {
        workload(job.warm);
    }
    let meter = Meter::start();
    let extra = workload(job.ops);
    meter.stop(job.ops, extra)
}
