//! The post of the sentinel (`idle.md`): once everybody has settled, working or asleep, and somebody works
//! while another sleeps, then one of the sleepers holds the post, and something will wake it in time.

use crate::model::explore_bounded;
use crate::runtime::idle::{Idle, Sleeper};
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use std::array;

const WORKERS: usize = 3;

struct Scheduler {
    idle: Idle,
    workers: [Worker; WORKERS],
}

struct Worker {
    sleeper: Sleeper,
    /// The poller's timer descriptor.
    armed: AtomicBool,
}

/// How a worker has settled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Settled {
    /// Inside a task that does not end.
    Stuck,
    Asleep {
        timed: bool,
    },
}

use Settled::{Asleep, Stuck};

impl Scheduler {
    /// All awake, and busy.
    fn new() -> Arc<Self> {
        let idle = Idle::new();
        (0..WORKERS).for_each(|_| idle.awake());
        let worker = |_| Worker { sleeper: Sleeper::new(), armed: AtomicBool::new(false) };
        Arc::new(Self { idle, workers: array::from_fn(worker) })
    }

    fn fall_asleep(&self, worker: usize) -> Settled {
        self.workers[worker].sleeper.announce();
        Asleep { timed: self.idle.rest(worker) }
    }

    fn wake(&self, worker: usize) {
        self.workers[worker].sleeper.cancel();
        self.idle.awake();
    }

    fn get_stuck(&self, worker: usize) -> Settled {
        let sleepers = || self.workers.iter().map(|worker| &worker.sleeper);
        if let Some(appointed) = self.idle.back_to_work(worker, sleepers) {
            self.workers[appointed].armed.store(true, Relaxed);
        }
        Stuck
    }

    /// The sentinel's look (`Base::look`), without the rescuing: nobody works, so it resigns.
    fn look(&self, worker: usize) {
        let others = self.workers.iter().enumerate().filter(|(index, _)| *index != worker);
        if self.idle.holds_post(worker) && others.map(|(_, other)| other).all(|o| o.sleeper.is_sleeping()) {
            self.idle.resign(worker);
        }
    }

    fn check(&self, settled: [Settled; WORKERS]) {
        let somebody_sleeps = settled.iter().any(|settled| *settled != Stuck);
        if !settled.contains(&Stuck) || !somebody_sleeps {
            return;
        }
        let timely = |index: usize| match settled[index] {
            Stuck => false,
            Asleep { timed } => timed || self.workers[index].armed.load(Relaxed),
        };
        let watched = (0..WORKERS).any(|index| self.idle.holds_post(index) && timely(index));
        assert!(watched, "nobody watches: {settled:?}, {:?}", self.idle);
    }
}

type Steps = fn(&Scheduler, usize) -> Settled;

/// Runs the workers against each other after `before`, in which worker 2 has its last say if it is given no
/// steps.
fn model(preemptions: usize, before: fn(&Scheduler) -> Settled, steps: &'static [Steps]) {
    explore_bounded(preemptions, move || {
        let scheduler = Scheduler::new();
        let last = before(&scheduler);
        let mut threads = Vec::new();
        for (worker, step) in steps.iter().enumerate().skip(1) {
            let scheduler = scheduler.clone();
            threads.push(thread::spawn(move || step(&scheduler, worker)));
        }
        let mut settled = [last; WORKERS];
        settled[0] = steps[0](&scheduler, 0);
        for (thread, settled) in threads.into_iter().zip(&mut settled[1..]) {
            *settled = thread.join().unwrap();
        }
        scheduler.check(settled);
    });
}

fn all_asleep(scheduler: &Scheduler) -> Settled {
    assert_eq!(scheduler.fall_asleep(0), Asleep { timed: true });
    assert_eq!(scheduler.fall_asleep(1), Asleep { timed: false });
    let last = scheduler.fall_asleep(2);
    assert_eq!(last, Asleep { timed: false });
    last
}

/// Everybody asleep without a limit: the first to sleep has held the post, and resigned.
fn all_asleep_unwatched(scheduler: &Scheduler) -> Settled {
    let last = all_asleep(scheduler);
    scheduler.wake(0);
    scheduler.look(0);
    assert_eq!(scheduler.fall_asleep(0), Asleep { timed: false });
    last
}

fn falls_asleep(scheduler: &Scheduler, worker: usize) -> Settled {
    scheduler.fall_asleep(worker)
}

fn wakes_and_gets_stuck(scheduler: &Scheduler, worker: usize) -> Settled {
    scheduler.wake(worker);
    scheduler.get_stuck(worker)
}

fn wakes_for_nothing(scheduler: &Scheduler, worker: usize) -> Settled {
    scheduler.wake(worker);
    scheduler.look(worker);
    scheduler.fall_asleep(worker)
}

/// It found no work when it woke, so it looked; then something came.
fn looks_and_gets_stuck(scheduler: &Scheduler, worker: usize) -> Settled {
    scheduler.wake(worker);
    scheduler.look(worker);
    scheduler.get_stuck(worker)
}

/// A short burst of work.
fn works_and_falls_asleep(scheduler: &Scheduler, worker: usize) -> Settled {
    scheduler.wake(worker);
    scheduler.get_stuck(worker);
    scheduler.fall_asleep(worker)
}

#[test]
fn two_fall_asleep_beside_one_that_is_stuck() {
    model(5, |_| Stuck, &[falls_asleep, falls_asleep]);
}

#[test]
fn two_wake_to_work_and_one_sleeps_on() {
    model(5, all_asleep_unwatched, &[wakes_and_gets_stuck, wakes_and_gets_stuck]);
}

/// Worker 0 holds the post.
#[test]
fn the_sentinel_and_another_wake_to_work() {
    model(5, all_asleep, &[wakes_and_gets_stuck, wakes_and_gets_stuck]);
}

#[test]
fn the_sentinel_resigns_while_another_wakes_to_work() {
    model(5, all_asleep, &[wakes_for_nothing, wakes_and_gets_stuck]);
}

#[test]
fn the_sentinel_gets_work_after_its_look() {
    model(5, all_asleep, &[looks_and_gets_stuck, works_and_falls_asleep]);
}

#[test]
fn the_sentinel_goes_to_work_while_another_falls_asleep() {
    fn sentinel_asleep(scheduler: &Scheduler) -> Settled {
        assert_eq!(scheduler.fall_asleep(0), Asleep { timed: true });
        Stuck
    }
    model(5, sentinel_asleep, &[wakes_and_gets_stuck, falls_asleep]);
}

/// Who is appointed wakes at that very moment, and goes to work or back to sleep.
#[test]
fn the_appointed_wakes_at_that_moment() {
    model(5, all_asleep_unwatched, &[wakes_and_gets_stuck, works_and_falls_asleep]);
    model(5, all_asleep_unwatched, &[works_and_falls_asleep, wakes_and_gets_stuck]);
    model(5, all_asleep_unwatched, &[wakes_for_nothing, wakes_and_gets_stuck]);
}

#[test]
fn three_at_once() {
    model(4, all_asleep, &[wakes_for_nothing, wakes_and_gets_stuck, works_and_falls_asleep]);
}
