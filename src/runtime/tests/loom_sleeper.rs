//! Falling asleep against being given something (`idle.md`, "The sleeper and its waker").

use super::wake_if_sleeping;
use crate::model::{Poller, explore, explore_bounded};
use crate::runtime::idle::Sleeper;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;

struct Worker {
    sleeper: Sleeper,
    poller: Poller,
    /// Items to be found; Relaxed, so that only the protocol orders them.
    items: AtomicUsize,
    notifications: AtomicUsize,
}

impl Worker {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sleeper: Sleeper::new(),
            poller: Poller::new(),
            items: AtomicUsize::new(0),
            notifications: AtomicUsize::new(0),
        })
    }

    fn give(&self) {
        self.items.fetch_add(1, Relaxed);
        if self.sleeper.claim_wake() {
            self.notifications.fetch_add(1, Relaxed);
            self.poller.notify();
        }
    }

    /// Sleeps until there are so many items. Returns how many sleeps were announced.
    fn sleep_until(&self, items: usize) -> usize {
        let (mut seen, mut sleeps) = (0, 0);
        while seen < items {
            sleeps += 1;
            self.sleeper.announce();
            if self.items.load(Relaxed) == seen {
                self.poller.wait();
            }
            self.sleeper.cancel();
            seen = self.items.load(Relaxed);
        }
        sleeps
    }
}

#[test]
fn nothing_is_slept_through() {
    explore(|| {
        let worker = Worker::new();
        let giver = {
            let worker = worker.clone();
            thread::spawn(move || worker.give())
        };
        worker.sleep_until(1);
        giver.join().unwrap();
    });
}

#[test]
fn two_givers_notify_once_a_sleep() {
    explore_bounded(4, || {
        let worker = Worker::new();
        let givers = [(); 2].map(|()| {
            let worker = worker.clone();
            thread::spawn(move || worker.give())
        });
        let sleeps = worker.sleep_until(2);
        givers.into_iter().for_each(|giver| giver.join().unwrap());
        assert!(worker.notifications.load(Relaxed) <= sleeps);
    });
}

/// Either the sleeper takes its announcement back, or a giver has it and notifies: then the next sleep ends
/// at once.
#[test]
fn an_announcement_ends_once() {
    explore(|| {
        let worker = Worker::new();
        worker.sleeper.announce();
        let claims = [(); 2].map(|()| {
            let worker = worker.clone();
            thread::spawn(move || worker.sleeper.claim_wake())
        });
        let cancelled = worker.sleeper.cancel();
        let claims = claims.map(|claim| claim.join().unwrap());
        assert_eq!(claims.into_iter().chain([cancelled]).filter(|got_it| *got_it).count(), 1);
        assert!(!worker.sleeper.is_sleeping());
    });
}

/// A notification for a sleep that was taken back ends the next one early, and does no harm.
#[test]
fn a_late_notification_is_harmless() {
    explore_bounded(4, || {
        let worker = Worker::new();
        let giver = {
            let worker = worker.clone();
            thread::spawn(move || {
                wake_if_sleeping(&worker.sleeper, &worker.poller);
                worker.give();
            })
        };
        worker.sleeper.announce();
        worker.sleeper.cancel();
        worker.sleep_until(1);
        giver.join().unwrap();
    });
}
