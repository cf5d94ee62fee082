//! Storms over the locks: random operations by all kinds of party, with random timeouts, cancellations and dropped futures.
//! Afterwards every permit is back, nobody was let in who should not, and nobody still waits.

mod common;
mod sync_common;

use aqueduct::sync::{Barrier, Condvar, Mutex, Notify, RwLock, Semaphore};
use aqueduct::{JoinHandle, go, spawn, time};
use common::{Rng, watchdog};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};
use sync_common::poll_once;

const TASKS: usize = 24;
const ROUNDS: usize = 150;

/// What the storms rage over, with what must be true of it.
#[derive(Default)]
struct Sea {
    mutex: Mutex<u64>,
    in_mutex: AtomicIsize,
    lock: RwLock<u64>,
    /// Readers are counted up, a writer far down.
    in_lock: AtomicIsize,
    semaphore: Permits,
    in_semaphore: AtomicIsize,
    locked: AtomicUsize,
}

const PERMITS: usize = 5;

struct Permits(Semaphore);

impl Default for Permits {
    fn default() -> Self {
        Self(Semaphore::new(PERMITS))
    }
}

/// Counts a party in until dropped, also when it is cancelled there.
struct Inside<'a>(&'a AtomicIsize, isize);

fn inside(count: &AtomicIsize, weight: isize, allowed: std::ops::RangeInclusive<isize>) -> Inside<'_> {
    let now = count.fetch_add(weight, SeqCst) + weight;
    assert!(allowed.contains(&now), "{now} are inside");
    Inside(count, weight)
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, SeqCst);
    }
}

const WRITER: isize = -1_000_000;

fn soon(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.below(400))
}

impl Sea {
    fn go_style(&self, rng: &mut Rng) {
        match rng.below(10) {
            0..3 => {
                let guard =
                    if rng.one_in(2) { Some(self.mutex.lock()) } else { self.mutex.lock_timeout(soon(rng)) };
                if let Some(mut guard) = guard {
                    let _inside = inside(&self.in_mutex, 1, 1..=1);
                    *guard += 1;
                    self.locked.fetch_add(1, SeqCst);
                    pause(rng);
                }
            }
            3 | 4 => {
                let guard =
                    if rng.one_in(2) { Some(self.lock.read()) } else { self.lock.read_timeout(soon(rng)) };
                if guard.is_some() {
                    let _inside = inside(&self.in_lock, 1, 1..=isize::MAX);
                    pause(rng);
                }
            }
            5 => {
                let guard =
                    if rng.one_in(2) { Some(self.lock.write()) } else { self.lock.write_timeout(soon(rng)) };
                if guard.is_some() {
                    let _inside = inside(&self.in_lock, WRITER, WRITER..=WRITER);
                    pause(rng);
                }
            }
            6 => {
                if let Ok(_permit) = self.semaphore.0.try_acquire() {
                    let _inside = inside(&self.in_semaphore, 1, 1..=PERMITS as isize);
                    pause(rng);
                }
            }
            _ => {
                let count = 1 + rng.below(PERMITS as u64) as usize;
                let permit = self.semaphore.0.acquire_many_deadline(count, Instant::now() + soon(rng));
                if permit.is_ok() {
                    let _inside = inside(&self.in_semaphore, count as isize, 1..=PERMITS as isize);
                    pause(rng);
                }
            }
        }
    }

    async fn in_async(&self, rng: &mut Rng) {
        match rng.below(10) {
            0..3 => {
                let lock = self.mutex.lock_async();
                let guard =
                    if rng.one_in(2) { Some(lock.await) } else { time::timeout(soon(rng), lock).await.ok() };
                if let Some(mut guard) = guard {
                    let _inside = inside(&self.in_mutex, 1, 1..=1);
                    *guard += 1;
                    self.locked.fetch_add(1, SeqCst);
                    aqueduct::yield_now_async().await;
                }
            }
            3 | 4 => {
                let _guard = self.lock.read_async().await;
                let _inside = inside(&self.in_lock, 1, 1..=isize::MAX);
                aqueduct::yield_now_async().await;
            }
            5 => {
                if let Ok(_guard) = time::timeout(soon(rng), self.lock.write_async()).await {
                    let _inside = inside(&self.in_lock, WRITER, WRITER..=WRITER);
                    aqueduct::yield_now_async().await;
                }
            }
            6 => {
                // Polled once and dropped: in line, granted, or had.
                let mut future = Box::pin(self.semaphore.0.acquire_many_async(2));
                let permit = poll_once(future.as_mut());
                aqueduct::yield_now_async().await;
                drop((future, permit));
            }
            _ => {
                let count = 1 + rng.below(PERMITS as u64) as usize;
                let permit = time::timeout(soon(rng), self.semaphore.0.acquire_many_async(count)).await;
                if let Ok(Ok(_permit)) = permit {
                    let _inside = inside(&self.in_semaphore, count as isize, 1..=PERMITS as isize);
                    aqueduct::yield_now_async().await;
                }
            }
        }
    }
}

fn pause(rng: &mut Rng) {
    if rng.one_in(3) {
        aqueduct::yield_now();
    }
}

#[test]
fn locks_and_permits_survive_a_storm() {
    let _dog = watchdog!(60);
    let mut rng = Rng::new("locks_and_permits_survive_a_storm");
    let runtime = common::runtime(3);
    let sea = Arc::new(Sea::default());
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (sea, mut rng) = (sea.clone(), Rng::from_seed(rng.next()));
            thread::spawn(move || (0..ROUNDS).for_each(|_| sea.go_style(&mut rng)))
        })
        .collect();
    let start = |i: usize, seed: u64| -> JoinHandle<()> {
        let (sea, mut rng) = (sea.clone(), Rng::from_seed(seed));
        if i.is_multiple_of(2) {
            runtime.go(move || (0..ROUNDS).for_each(|_| sea.go_style(&mut rng)))
        } else {
            runtime.spawn(async move {
                for _ in 0..ROUNDS {
                    sea.in_async(&mut rng).await;
                }
            })
        }
    };
    let mut tasks: Vec<_> = (0..TASKS).map(|i| start(i, rng.next())).collect();
    // A fifth of the tasks, at random times, are cancelled, and others take their place.
    for i in 0..TASKS {
        time::sleep(soon(&mut rng));
        let victim = rng.below(tasks.len() as u64) as usize;
        tasks[victim].cancel();
        let seed = rng.next();
        let task = start(i, seed);
        std::mem::replace(&mut tasks[victim], task)
            .join()
            .map_or_else(|error| assert!(error.is_cancelled()), |()| ());
    }
    for task in tasks {
        task.join().unwrap();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(*sea.mutex.try_lock().expect("free") as usize, sea.locked.load(SeqCst));
    assert!(sea.lock.try_write().is_some());
    assert_eq!(sea.semaphore.0.available(), PERMITS);
    assert_eq!([&sea.in_mutex, &sea.in_lock, &sea.in_semaphore].map(|count| count.load(SeqCst)), [0; 3]);
}

/// Tickets are put in one by one with one notification each; waiters that are cancelled or time out must not take one along.
#[test]
fn no_notification_is_lost_in_a_storm() {
    let _dog = watchdog!(60);
    let mut rng = Rng::new("no_notification_is_lost_in_a_storm");
    const TICKETS: usize = 2_000;
    let shared = Arc::new((Mutex::new(0_usize), Condvar::new(), AtomicUsize::new(0)));
    let take = |shared: Arc<(Mutex<usize>, Condvar, AtomicUsize)>, mut rng: Rng| {
        move || {
            let (tickets, put_in, taken) = &*shared;
            loop {
                let mut guard = tickets.lock();
                while *guard == 0 {
                    if taken.load(SeqCst) == TICKETS {
                        return;
                    }
                    guard = match rng.one_in(8) {
                        true => put_in.wait_timeout(guard, soon(&mut rng)).0,
                        false => put_in.wait(guard),
                    };
                }
                *guard -= 1;
                if taken.fetch_add(1, SeqCst) + 1 == TICKETS {
                    put_in.notify_all();
                }
            }
        }
    };
    let takers: Vec<_> = (0..6).map(|_| go(take(shared.clone(), Rng::from_seed(rng.next())))).collect();
    let thread = thread::spawn(take(shared.clone(), Rng::from_seed(rng.next())));
    let taker = |shared: Arc<(Mutex<usize>, Condvar, AtomicUsize)>| async move {
        let (tickets, put_in, taken) = &*shared;
        loop {
            let mut guard = tickets.lock_async().await;
            while *guard == 0 {
                if taken.load(SeqCst) == TICKETS {
                    return;
                }
                guard = put_in.wait_async(guard).await;
            }
            *guard -= 1;
            if taken.fetch_add(1, SeqCst) + 1 == TICKETS {
                put_in.notify_all();
            }
        }
    };
    let futures: Vec<_> = (0..4).map(|_| spawn(taker(shared.clone()))).collect();
    let mut victims = Vec::new();
    for i in 0..TICKETS {
        if rng.one_in(10) {
            victims.push(go(take(shared.clone(), Rng::from_seed(rng.next()))));
            victims.push(spawn(taker(shared.clone())));
        }
        if rng.one_in(10) && !victims.is_empty() {
            let victim = rng.below(victims.len() as u64) as usize;
            victims.swap_remove(victim).cancel();
        }
        *shared.0.lock() += 1;
        shared.1.notify_one();
        if i % 16 == 0 {
            aqueduct::yield_now();
        }
    }
    takers.into_iter().chain(futures).chain(victims).for_each(|task| task.join().unwrap());
    thread.join().unwrap();
    assert_eq!((*shared.0.lock(), shared.2.load(SeqCst)), (0, TICKETS));
}

#[test]
fn a_kept_notification_outlives_cancelled_waiters() {
    let _dog = watchdog!(60);
    let mut rng = Rng::new("a_kept_notification_outlives_cancelled_waiters");
    for _ in 0..300 {
        let notify = Arc::new(Notify::new());
        let waiters = [
            go({
                let notify = notify.clone();
                move || notify.wait()
            }),
            spawn({
                let notify = notify.clone();
                async move { notify.wait_async().await }
            }),
        ];
        if rng.one_in(2) {
            aqueduct::yield_now();
        }
        notify.notify_one();
        waiters.iter().for_each(JoinHandle::cancel);
        let released = waiters.into_iter().filter_map(|waiter| waiter.join().ok()).count();
        // One waiter had it, or it is still there.
        assert_eq!(released + usize::from(notify.try_wait()), 1);
    }
}

/// On one worker, parties that hold the permit until the others stand in line take turns.
#[test]
fn the_permit_goes_round() {
    let _dog = watchdog!(60);
    const PARTIES: usize = 6;
    const TURNS: usize = 100;
    let runtime = common::runtime(1);
    let shared = Arc::new((Semaphore::new(1), Barrier::new(PARTIES), std::sync::Mutex::new(Vec::new())));
    let parties: Vec<_> = (0..PARTIES)
        .map(|party| {
            let shared = shared.clone();
            runtime.go(move || {
                let (permit, all_here, turns) = &*shared;
                all_here.wait();
                for _ in 0..TURNS {
                    let _permit = permit.acquire().unwrap();
                    aqueduct::yield_now(); // the others come to stand in line
                    turns.lock().unwrap().push(party);
                }
            })
        })
        .collect();
    parties.into_iter().for_each(|party| party.join().unwrap());
    let turns = shared.2.lock().unwrap();
    // Once in line, at most all others are served before. One turn may pass before a party is in line: its budget was used up.
    let ends = (0..PARTIES).map(|party| turns.iter().rposition(|turn| *turn == party).unwrap());
    let contended = &turns[..ends.min().unwrap()];
    assert!(contended.len() > PARTIES * TURNS / 2);
    for rounds in contended.windows(2 * PARTIES) {
        assert!((0..PARTIES).all(|party| rounds.contains(&party)), "{rounds:?}");
    }
}

/// Parties that lock again as soon as they have unlocked, and hold the lock across turns, keep nobody out.
#[test]
fn nobody_is_kept_out_of_a_mutex() {
    let _dog = watchdog!(60);
    const TURNS: usize = 20;
    for workers in [1, 2] {
        let runtime = common::runtime(workers);
        let shared = Arc::new((Mutex::new(()), AtomicBool::new(false)));
        let greedy: Vec<_> = (0..3)
            .map(|_| {
                let shared = shared.clone();
                runtime.go(move || {
                    while !shared.1.load(SeqCst) {
                        let _guard = shared.0.lock();
                        aqueduct::yield_now();
                    }
                })
            })
            .collect();
        let modest = shared.clone();
        let future = runtime.spawn(async move {
            for _ in 0..TURNS {
                drop(modest.0.lock_async().await);
            }
        });
        let modest = shared.clone();
        let thread = std::thread::spawn(move || (0..TURNS).for_each(|_| drop(modest.0.lock())));
        future.join().unwrap();
        thread.join().unwrap();
        shared.1.store(true, SeqCst);
        greedy.into_iter().for_each(|party| party.join().unwrap());
    }
}
