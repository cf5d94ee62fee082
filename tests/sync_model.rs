//! Locks and signals in a random game of futures that wait, are woken, polled and dropped in any order: nobody stays in line who could
//! go on, nobody is inside who must not be, and nothing that was granted is kept.

mod common;

use aqueduct::sync::{Barrier, Condvar, Mutex, Notify, RwLock, Semaphore};
use common::model::Game;
use common::{Rng, watchdog};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::task::Poll;

const ROUNDS: u64 = 1_000;
const MOVES: usize = 70;

/// Waits so many times for nothing but a turn.
fn hold(mut turns: u64) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        if turns == 0 {
            return Poll::Ready(());
        }
        turns -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// How many are inside.
#[derive(Default)]
struct Inside(Cell<usize>);

struct Visit<'a>(&'a Inside, usize);

impl Inside {
    /// So many enter; how many there are now.
    fn enter(&self, count: usize) -> (usize, Visit<'_>) {
        self.0.set(self.0.get() + count);
        (self.0.get(), Visit(self, count))
    }

    fn is_empty(&self) -> bool {
        self.0.get() == 0
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - self.1);
    }
}

/// Plays rounds of `MOVES` moves each: `join` lets another play, `act` does what takes no time, and `check` looks when nobody is woken.
/// At the end `release` lets go whoever is left, one at a time.
struct Rules<'a> {
    join: &'a dyn Fn(&mut Game<'a>),
    act: &'a dyn Fn(&mut Game<'a>),
    check: &'a dyn Fn(&Game<'a>),
    release: &'a dyn Fn(&mut Game<'a>),
}

impl Rules<'_> {
    fn play(&self, rng: Rng) {
        let mut game = Game::new(rng);
        for _ in 0..MOVES {
            match game.rng.below(12) {
                0..=3 => (self.join)(&mut game),
                4 | 5 => game.drop_one(),
                6 | 7 => game.prod_one(),
                _ => (self.act)(&mut game),
            }
            if game.rng.one_in(3) {
                game.settle();
                (self.check)(&game);
            } else {
                game.poll_some();
            }
        }
        game.settle();
        (self.release)(&mut game);
    }
}

/// Whoever holds goes on by itself: when nobody is woken, nobody is left.
fn nobody_is_left(game: &Game<'_>) {
    assert_eq!(game.kinds().count(), 0, "{}", game.log);
}

fn rounds(test: &str) -> impl Iterator<Item = Rng> {
    let mut seeds = Rng::new(test);
    (0..ROUNDS).map(move |_| Rng::from_seed(seeds.next()))
}

#[test]
fn semaphores() {
    let _dog = watchdog!(60);
    for rng in rounds("semaphores") {
        let (semaphore, inside) = (Semaphore::new(3), Inside::default());
        let (semaphore, inside) = (&semaphore, &inside);
        let rules = Rules {
            join: &|game| {
                let (count, turns) = (game.rng.below(4) as usize, game.rng.below(3));
                let play = async move {
                    let _permit = semaphore.acquire_many_async(count).await.unwrap();
                    let (now, _visit) = inside.enter(count);
                    assert!(now <= 3);
                    hold(turns).await;
                };
                game.join(format!("acquire {count}"), Box::pin(play));
            },
            act: &|_| drop(semaphore.try_acquire()),
            check: &|game| {
                nobody_is_left(game);
                assert!(inside.is_empty() && semaphore.available() == 3, "{}", game.log);
            },
            release: &|_| {},
        };
        rules.play(rng);
    }
}

#[test]
fn mutexes() {
    let _dog = watchdog!(60);
    for rng in rounds("mutexes") {
        let (mutex, inside) = (Mutex::new(()), Inside::default());
        let (mutex, inside) = (&mutex, &inside);
        let rules = Rules {
            join: &|game| {
                let turns = game.rng.below(3);
                let play = async move {
                    let _guard = mutex.lock_async().await;
                    let (now, _visit) = inside.enter(1);
                    assert_eq!(now, 1);
                    hold(turns).await;
                };
                game.join("lock".into(), Box::pin(play));
            },
            act: &|_| drop(mutex.try_lock()),
            check: &|game| {
                nobody_is_left(game);
                assert!(inside.is_empty() && mutex.try_lock().is_some(), "{}", game.log);
            },
            release: &|_| {},
        };
        rules.play(rng);
    }
}

#[test]
fn read_write_locks() {
    let _dog = watchdog!(60);
    for rng in rounds("read_write_locks") {
        let (lock, readers, writers) = (RwLock::new(()), Inside::default(), Inside::default());
        let (lock, readers, writers) = (&lock, &readers, &writers);
        let rules = Rules {
            join: &|game| {
                let (writes, turns) = (game.rng.one_in(3), game.rng.below(3));
                if writes {
                    let play = async move {
                        let _guard = lock.write_async().await;
                        let (now, _visit) = writers.enter(1);
                        assert!(now == 1 && readers.is_empty());
                        hold(turns).await;
                    };
                    game.join("write".into(), Box::pin(play));
                } else {
                    let play = async move {
                        let _guard = lock.read_async().await;
                        let (_, _visit) = readers.enter(1);
                        assert!(writers.is_empty());
                        hold(turns).await;
                    };
                    game.join("read".into(), Box::pin(play));
                }
            },
            act: &|_| {
                drop(lock.try_read());
                drop(lock.try_write());
            },
            check: &|game| {
                nobody_is_left(game);
                assert!(
                    readers.is_empty() && writers.is_empty() && lock.try_write().is_some(),
                    "{}",
                    game.log
                );
            },
            release: &|_| {},
        };
        rules.play(rng);
    }
}

#[test]
fn conditions_and_notifications() {
    let _dog = watchdog!(60);
    for rng in rounds("conditions_and_notifications") {
        let (mutex, condvar, notify) = (Mutex::new(()), Condvar::new(), Notify::new());
        let (mutex, condvar, notify) = (&mutex, &condvar, &notify);
        let rules = Rules {
            join: &|game| {
                if game.rng.one_in(2) {
                    let play = async move {
                        let guard = mutex.lock_async().await;
                        drop(condvar.wait_async(guard).await);
                    };
                    game.join("condition".into(), Box::pin(play));
                } else {
                    game.join("notification".into(), Box::pin(notify.wait_async()));
                }
            },
            act: &|game| {
                if game.rng.one_in(6) {
                    game.note("all");
                    condvar.notify_all();
                    notify.notify_all();
                } else if game.rng.one_in(2) {
                    game.note("one");
                    condvar.notify_one();
                    notify.notify_one();
                }
            },
            check: &|game| assert!(mutex.try_lock().is_some(), "{}", game.log),
            release: &|game| {
                for (kind, notify_one) in [
                    ("condition", &(|| condvar.notify_one()) as &dyn Fn()),
                    ("notification", &|| notify.notify_one()),
                ] {
                    while let Some(left) = game.count(kind).checked_sub(1) {
                        notify_one();
                        game.settle();
                        assert_eq!(game.count(kind), left, "{}", game.log);
                    }
                }
            },
        };
        rules.play(rng);
    }
}

#[test]
fn barriers() {
    let _dog = watchdog!(60);
    for rng in rounds("barriers") {
        let barrier = Barrier::new(3);
        let barrier = &barrier;
        let rules = Rules {
            join: &|game| game.join("arrive".into(), Box::pin(async move { _ = barrier.wait_async().await })),
            act: &|_| {},
            check: &|game| {
                let waiting = game.kinds().count();
                assert!(waiting < 3 && barrier.arrived() == waiting, "{}", game.log);
            },
            release: &|_| {},
        };
        rules.play(rng);
    }
}
