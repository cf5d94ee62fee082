//! Every operation of `aqueduct::sync`, over {coroutine, future, thread} x {coroutine, future, thread}, on the same objects.

mod common;

use aqueduct::sync::{
    AcquireTimeoutError, Barrier, CancellationToken, Condvar, Lazy, Mutex, Notify, OnceCell, RwLock,
    Semaphore, TryAcquireError, WaitGroup, Woken,
};
use aqueduct::time;
use common::party::{PARTIES, pairs};
use common::{panic_of, watchdog};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_mutex_is_handed_over() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let mutex = Arc::new(Mutex::new(0));
        let held = mutex.lock();
        let parties = [one, other].map(|party| {
            let (go_style, future) = (mutex.clone(), mutex.clone());
            party.start(move || *go_style.lock() += 1, async move { *future.lock_async().await += 1 })
        });
        drop(held);
        parties.into_iter().for_each(|party| party.join());
        assert_eq!(*mutex.lock(), 2);
    }
}

#[test]
fn a_mutex_excludes() {
    let _dog = watchdog!(60);
    const ROUNDS: usize = 200;
    for (one, other) in pairs() {
        let mutex = Arc::new(Mutex::new(0));
        let parties = [one, other, one, other].map(|party| {
            let (go_style, future) = (mutex.clone(), mutex.clone());
            party.start(
                move || {
                    for _ in 0..ROUNDS {
                        let mut guard = go_style.lock();
                        let before = *guard;
                        aqueduct::yield_now();
                        *guard = before + 1;
                    }
                },
                async move {
                    for _ in 0..ROUNDS {
                        let mut guard = future.lock_async().await;
                        let before = *guard;
                        aqueduct::yield_now_async().await;
                        *guard = before + 1;
                    }
                },
            )
        });
        parties.into_iter().for_each(|party| party.join());
        assert_eq!(*mutex.lock(), 4 * ROUNDS);
    }
}

#[test]
fn timed_locks_give_up_or_succeed() {
    let _dog = watchdog!(60);
    for party in PARTIES {
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.lock();
        let (go_style, future) = (mutex.clone(), mutex.clone());
        let late = party.start(
            move || {
                go_style.lock_timeout(SHORT).is_none() && go_style.lock_deadline(Instant::now()).is_none()
            },
            async move { time::timeout(SHORT, future.lock_async()).await.is_err() },
        );
        assert!(late.join());
        let (go_style, future) = (mutex.clone(), mutex.clone());
        let in_time = party.start(move || go_style.lock_timeout(LONG).is_some(), async move {
            time::timeout(LONG, future.lock_async()).await.is_ok()
        });
        drop(held);
        assert!(in_time.join());
        assert!(mutex.try_lock().is_some());
    }
}

#[test]
fn an_owned_guard_travels() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let mutex = Arc::new(Mutex::new(1));
        let (go_style, future) = (mutex.clone(), mutex.clone());
        let guard =
            one.start(move || go_style.lock_owned(), async move { future.lock_owned_async().await }).join();
        assert!(mutex.is_locked() && mutex.try_lock_owned().is_none());
        let guard = Arc::new(std::sync::Mutex::new(Some(guard)));
        let (go_style, future) = (guard.clone(), guard);
        let add = |guard: Arc<std::sync::Mutex<Option<aqueduct::sync::OwnedMutexGuard<i32>>>>| {
            let mut guard = common::lock(&guard).take().unwrap();
            *guard += 1;
        };
        other.start(move || add(go_style), async move { add(future) }).join();
        assert_eq!(*mutex.try_lock().unwrap(), 2);
    }
}

#[test]
fn a_semaphore_bounds_and_conserves() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let semaphore = Arc::new(Semaphore::new(2));
        let inside = Arc::new(AtomicUsize::new(0));
        let parties = [one, other, one, other, one].map(|party| {
            let (go_style, future) = (semaphore.clone(), semaphore.clone());
            let (inside, inside_async) = (inside.clone(), inside.clone());
            party.start(
                move || {
                    for _ in 0..50 {
                        let _permit = go_style.acquire().unwrap();
                        assert!(inside.fetch_add(1, SeqCst) < 2);
                        aqueduct::yield_now();
                        inside.fetch_sub(1, SeqCst);
                    }
                },
                async move {
                    for _ in 0..50 {
                        let _permit = future.acquire_async().await.unwrap();
                        assert!(inside_async.fetch_add(1, SeqCst) < 2);
                        aqueduct::yield_now_async().await;
                        inside_async.fetch_sub(1, SeqCst);
                    }
                },
            )
        });
        parties.into_iter().for_each(|party| party.join());
        assert_eq!(semaphore.available(), 2);
    }
}

#[test]
fn a_closed_semaphore_refuses_all() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let semaphore = Arc::new(Semaphore::new(0));
        let (go_style, future) = (semaphore.clone(), semaphore.clone());
        let waiting = one.start(move || go_style.acquire_many(3).is_err(), async move {
            future.acquire_many_async(3).await.is_err()
        });
        let (go_style, future) = (semaphore.clone(), semaphore.clone());
        other.start(move || go_style.close(), async move { future.close() }).join();
        assert!(waiting.join());
        assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Closed);
        assert_eq!(semaphore.acquire_timeout(LONG).unwrap_err(), AcquireTimeoutError::Closed);
    }
}

#[test]
fn permits_can_be_added_removed_and_forgotten() {
    let semaphore = Arc::new(Semaphore::new(1));
    semaphore.add(2);
    assert_eq!(semaphore.remove(5), 3);
    assert_eq!(semaphore.try_acquire_many(1).unwrap_err(), TryAcquireError::NoPermits);
    semaphore.add(3);
    semaphore.acquire_many(2).unwrap().forget();
    let owned = semaphore.acquire_owned().unwrap();
    assert_eq!((owned.count(), semaphore.available()), (1, 0));
    owned.forget();
    assert_eq!(semaphore.available(), 0);
    assert!(semaphore.try_acquire_owned().is_err());
}

/// Those that are out count: so what is given back always fits.
#[test]
fn permits_are_never_more_than_there_can_be() {
    let semaphore = Arc::new(Semaphore::new(0));
    semaphore.add(Semaphore::MAX_PERMITS);
    let all = semaphore.acquire_many(Semaphore::MAX_PERMITS).unwrap();
    for count in [1, Semaphore::MAX_PERMITS, usize::MAX] {
        assert!(panic_of(|| semaphore.add(count)).contains("so many permits"));
    }
    assert_eq!(semaphore.available(), 0);
    drop(all);
    assert_eq!(semaphore.available(), Semaphore::MAX_PERMITS);
    assert!(panic_of(|| semaphore.add(1)).contains("so many permits"));
    // What is taken away or forgotten makes room.
    semaphore.acquire_many(3).unwrap().forget();
    semaphore.acquire_owned().unwrap().forget();
    assert_eq!(semaphore.remove(2), 2);
    semaphore.add(6);
    assert!(panic_of(|| semaphore.add(1)).contains("so many permits"));
    assert_eq!(semaphore.available(), Semaphore::MAX_PERMITS);
}

#[test]
fn a_writer_is_alone_and_readers_are_not() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let lock = Arc::new(RwLock::new((0, 0)));
        // Both readers are inside at once, or the barrier would hold them up.
        let barrier = Arc::new(Barrier::new(2));
        let readers = [one, other].map(|party| {
            let (go_style, future) = ((lock.clone(), barrier.clone()), (lock.clone(), barrier.clone()));
            party.start(
                move || {
                    let _guard = go_style.0.read();
                    go_style.1.wait();
                },
                async move {
                    let _guard = future.0.read_async().await;
                    future.1.wait_async().await;
                },
            )
        });
        readers.into_iter().for_each(|party| party.join());
        let writers = [one, other].map(|party| {
            let (go_style, future) = (lock.clone(), lock.clone());
            party.start(
                move || {
                    for _ in 0..50 {
                        let mut guard = go_style.write();
                        guard.0 += 1;
                        aqueduct::yield_now();
                        guard.1 += 1;
                        drop(guard);
                        let guard = go_style.read();
                        assert_eq!(guard.0, guard.1);
                    }
                },
                async move {
                    for _ in 0..50 {
                        let mut guard = future.write_async().await;
                        guard.0 += 1;
                        aqueduct::yield_now_async().await;
                        guard.1 += 1;
                        drop(guard);
                        let guard = future.read_async().await;
                        assert_eq!(guard.0, guard.1);
                    }
                },
            )
        });
        writers.into_iter().for_each(|party| party.join());
        assert_eq!(*lock.try_read().unwrap(), (100, 100));
        assert!(lock.try_write().is_some());
    }
}

#[test]
fn a_condition_is_seen() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let (go_style, future) = (shared.clone(), shared.clone());
        let waiting =
            one.start(move || *go_style.1.wait_while(go_style.0.lock(), |count| *count < 10), async move {
                let mut guard = future.0.lock_async().await;
                while *guard < 10 {
                    guard = future.1.wait_async(guard).await;
                }
                *guard
            });
        let (go_style, future) = (shared.clone(), shared);
        let counting = other.start(
            move || {
                for _ in 0..10 {
                    *go_style.0.lock() += 1;
                    go_style.1.notify_one();
                }
            },
            async move {
                for _ in 0..10 {
                    *future.0.lock_async().await += 1;
                    future.1.notify_all();
                }
            },
        );
        counting.join();
        assert_eq!(waiting.join(), 10);
    }
}

#[test]
fn a_timed_wait_for_a_condition_has_the_lock_again() {
    for party in PARTIES {
        let shared = Arc::new((Mutex::new(()), Condvar::new()));
        let (go_style, future) = (shared.clone(), shared.clone());
        party
            .start(
                move || {
                    let (_guard, woken) = go_style.1.wait_timeout(go_style.0.lock(), SHORT);
                    assert_eq!(woken, Woken::TimedOut);
                    assert!(go_style.0.is_locked());
                },
                async move {
                    let guard = future.0.lock_async().await;
                    assert!(time::timeout(SHORT, future.1.wait_async(guard)).await.is_err());
                    assert!(!future.0.is_locked());
                },
            )
            .join();
        assert!(shared.0.try_lock().is_some());
    }
}

#[test]
fn a_notification_arrives_before_or_after() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let notify = Arc::new(Notify::new());
        let (go_style, future) = (notify.clone(), notify.clone());
        let waiting = one.start(move || go_style.wait(), async move { future.wait_async().await });
        let (go_style, future) = (notify.clone(), notify.clone());
        other.start(move || go_style.notify_one(), async move { future.notify_one() }).join();
        waiting.join();
        assert!(!notify.try_wait());
        assert!(notify.wait_timeout(SHORT).is_err());
    }
}

#[test]
fn a_wait_group_waits_for_all() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let (group, done) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
        group.add(3);
        let (go_style, future) = (group.clone(), group.clone());
        let (seen, seen_async) = (done.clone(), done.clone());
        let waiting = one.start(
            move || {
                go_style.wait();
                seen.load(SeqCst)
            },
            async move {
                future.wait_async().await;
                seen_async.load(SeqCst)
            },
        );
        for _ in 0..3 {
            let (go_style, future) = ((group.clone(), done.clone()), (group.clone(), done.clone()));
            let work = |(group, done): (WaitGroup, Arc<AtomicUsize>)| {
                done.fetch_add(1, SeqCst);
                group.done();
            };
            other.start(move || work(go_style), async move { work(future) });
        }
        assert_eq!(waiting.join(), 3);
    }
}

#[test]
fn a_barrier_holds_up_until_all_are_there() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let (barrier, arrived) = (Arc::new(Barrier::new(4)), Arc::new(AtomicUsize::new(0)));
        let parties = [one, other, one, other].map(|party| {
            let (go_style, future) = ((barrier.clone(), arrived.clone()), (barrier.clone(), arrived.clone()));
            party.start(
                move || {
                    let mut leads = 0;
                    for round in 1..=20 {
                        go_style.1.fetch_add(1, SeqCst);
                        leads += usize::from(go_style.0.wait().is_leader());
                        assert!(go_style.1.load(SeqCst) >= 4 * round);
                    }
                    leads
                },
                async move {
                    let mut leads = 0;
                    for round in 1..=20 {
                        future.1.fetch_add(1, SeqCst);
                        leads += usize::from(future.0.wait_async().await.is_leader());
                        assert!(future.1.load(SeqCst) >= 4 * round);
                    }
                    leads
                },
            )
        });
        assert_eq!(parties.into_iter().map(|party| party.join()).sum::<usize>(), 20);
    }
}

#[test]
fn a_cell_is_initialised_once() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let (cell, calls) = (Arc::new(OnceCell::new()), Arc::new(AtomicUsize::new(0)));
        let parties = [one, other, one, other].map(|party| {
            let (go_style, future) = ((cell.clone(), calls.clone()), (cell.clone(), calls.clone()));
            party.start(
                move || {
                    *go_style.0.get_or_init(|| {
                        aqueduct::yield_now();
                        go_style.1.fetch_add(1, SeqCst)
                    })
                },
                async move {
                    *future
                        .0
                        .get_or_init_async(|| async {
                            aqueduct::yield_now_async().await;
                            future.1.fetch_add(1, SeqCst)
                        })
                        .await
                },
            )
        });
        assert!(parties.into_iter().all(|party| party.join() == 0));
        assert_eq!(calls.load(SeqCst), 1);
        assert_eq!(cell.set(5), Err(5));
    }
}

#[test]
fn a_failed_initialiser_lets_the_next_try() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let cell = Arc::new(OnceCell::new());
        let latch = common::Latch::new();
        let (go_style, future) = (cell.clone(), cell.clone());
        let (inside, inside_async) = (latch.clone(), latch.clone());
        let failing = one.start(
            move || {
                go_style
                    .get_or_try_init(|| {
                        inside.wait();
                        Err("no")
                    })
                    .copied()
            },
            async move {
                let init = || async {
                    inside_async.opened().await;
                    Err("no")
                };
                future.get_or_try_init_async(init).await.copied()
            },
        );
        latch.block_thread_until_waited_for();
        assert_eq!(cell.set(1), Err(1));
        let (go_style, future) = (cell.clone(), cell.clone());
        let next = other.start(move || *go_style.get_or_init(|| 7), async move {
            *future.get_or_init_async(|| async { 7 }).await
        });
        latch.open();
        assert_eq!(failing.join(), Err("no"));
        assert_eq!(next.join(), 7);
    }
}

#[test]
fn a_panicking_lazy_is_tried_again() {
    let tries = AtomicUsize::new(0);
    let lazy = Lazy::new(|| {
        assert!(tries.fetch_add(1, SeqCst) > 0, "the first time");
        7
    });
    assert_eq!(common::panic_of(|| *lazy), "the first time");
    assert!(Lazy::get(&lazy).is_none());
    assert_eq!(*lazy, 7);
    assert_eq!(tries.load(SeqCst), 2);
}

#[test]
fn cancelling_a_token_reaches_the_descendants() {
    let _dog = watchdog!(60);
    for (one, other) in pairs() {
        let root = CancellationToken::new();
        let (child, sibling) = (root.child(), root.child());
        let grandchild = child.child().child_with_timeout(LONG);
        let (go_style, future) = (grandchild.clone(), grandchild.clone());
        let waiting = one.start(move || go_style.cancelled().to_string(), async move {
            future.cancelled_async().await.to_string()
        });
        let (go_style, future) = (child.clone(), child.clone());
        other
            .start(move || go_style.cancel_with("enough"), async move { future.cancel_with("enough") })
            .join();
        assert_eq!(waiting.join(), "enough");
        assert!(!root.is_cancelled() && !sibling.is_cancelled());
        assert!(sibling.cancelled_timeout(SHORT).is_err());
        assert_eq!(child.child().cause().unwrap().to_string(), "enough");
        child.cancel_with("later");
        assert_eq!(child.cause().unwrap().to_string(), "enough");
    }
}

#[test]
fn a_tokens_deadline_is_its_cause() {
    for party in PARTIES {
        let token = CancellationToken::with_timeout(SHORT);
        let child = token.child_with_timeout(LONG);
        let (go_style, future) = (child.clone(), child);
        let waiting =
            party.start(move || go_style.cancelled(), async move { future.cancelled_async().await });
        assert!(waiting.join().is_deadline());
        assert!(token.is_cancelled());
    }
}
