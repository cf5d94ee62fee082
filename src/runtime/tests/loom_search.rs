//! A pusher that leaves its item to the searcher (`idle.md`, "Searching").

use super::wake_if_sleeping;
use crate::model::{Poller, explore};
use crate::runtime::idle::{Idle, Sleeper};
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;

struct Shared {
    idle: Idle,
    sleeper: Sleeper,
    poller: Poller,
    /// Items in the injector; Relaxed, so that only the protocol orders them.
    injector: AtomicUsize,
}

impl Shared {
    /// Somebody searches.
    fn new() -> Arc<Self> {
        let idle = Idle::new();
        assert!(idle.try_search());
        Arc::new(Self { idle, sleeper: Sleeper::new(), poller: Poller::new(), injector: AtomicUsize::new(0) })
    }

    /// `Scheduler::inject`, with one worker that may sleep.
    fn inject(&self) {
        self.injector.fetch_add(1, Relaxed);
        if !self.idle.someone_searches() {
            self.wake_one();
        }
    }

    fn wake_one(&self) {
        if self.sleeper.is_sleeping() {
            wake_if_sleeping(&self.sleeper, &self.poller);
        }
    }
}

/// The searcher finds nothing and falls asleep.
#[test]
fn a_searcher_that_gives_up_sees_the_item_or_is_woken() {
    explore(|| {
        let shared = Shared::new();
        let pusher = {
            let shared = shared.clone();
            thread::spawn(move || shared.inject())
        };
        shared.idle.end_search();
        while shared.injector.load(Relaxed) == 0 {
            shared.sleeper.announce();
            if shared.injector.load(Relaxed) == 0 {
                shared.poller.wait();
            }
            shared.sleeper.cancel();
        }
        pusher.join().unwrap();
    });
}

/// The searcher finds work in some queue, and is busy from then on; another worker sleeps.
#[test]
fn a_searcher_with_work_passes_the_item_on() {
    explore(|| {
        let shared = Shared::new();
        shared.sleeper.announce();
        let pusher = {
            let shared = shared.clone();
            thread::spawn(move || shared.inject())
        };
        shared.idle.end_search();
        if shared.injector.load(Relaxed) != 0 {
            shared.wake_one();
        }
        pusher.join().unwrap();
        // The other worker's sleep ends: with no notification the model deadlocks.
        shared.poller.wait();
    });
}

#[test]
fn one_searches_at_a_time() {
    explore(|| {
        let shared = Shared::new();
        shared.idle.end_search();
        let searching = Arc::new(AtomicUsize::new(0));
        let search = |shared: Arc<Shared>, searching: Arc<AtomicUsize>| {
            if shared.idle.try_search() {
                assert_eq!(searching.fetch_add(1, Relaxed), 0);
                searching.fetch_sub(1, Relaxed);
                shared.idle.end_search();
            }
        };
        let other = {
            let (shared, searching) = (shared.clone(), searching.clone());
            thread::spawn(move || search(shared, searching))
        };
        search(shared, searching);
        other.join().unwrap();
    });
}
