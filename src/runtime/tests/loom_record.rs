//! A wake from elsewhere against the home that parks, looks and parks again.

use super::wake_if_sleeping;
use crate::model::{Poller, explore_bounded};
use crate::runtime::idle::Sleeper;
use crate::runtime::inbox::Inbox;
use crate::runtime::record::Remote;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use std::array;
use std::ptr::NonNull;

struct Home<const EVENTS: usize> {
    remote: Remote,
    inbox: Inbox,
    sleeper: Sleeper,
    poller: Poller,
    /// What the coroutine waits for; Relaxed, so that only the wake orders it.
    events: [AtomicBool; EVENTS],
}

impl<const EVENTS: usize> Home<EVENTS> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            remote: Remote::new(),
            inbox: Inbox::new(),
            sleeper: Sleeper::new(),
            poller: Poller::new(),
            events: array::from_fn(|_| AtomicBool::new(false)),
        })
    }

    /// Makes an event happen, and wakes the coroutine.
    fn happen(&self, event: usize) {
        self.events[event].store(true, Relaxed);
        // SAFETY: the home outlives the threads of the model; one inbox.
        if unsafe { Remote::queue(NonNull::from(&self.remote), &self.inbox) } {
            wake_if_sleeping(&self.sleeper, &self.poller);
        }
    }

    /// Empties the inbox. True when the coroutine was woken.
    fn receive(&self) -> bool {
        let mut woken = false;
        for link in self.inbox.take() {
            assert_eq!(link, NonNull::from(&self.remote).cast());
            assert!(!woken, "a record is in the inbox at most once");
            self.remote.taken();
            woken = true;
        }
        woken
    }

    /// The worker's side of a park: returns after a wake, and only then.
    fn park(&self) {
        while !self.receive() {
            self.sleeper.announce();
            if self.inbox.is_empty() {
                self.poller.wait();
            }
            self.sleeper.cancel();
        }
    }

    /// The coroutine: looks, and parks until it has seen everything.
    fn wait_for_all(&self) {
        while !self.events.iter().all(|event| event.load(Relaxed)) {
            self.park();
        }
    }
}

/// Also a second wake while the first is being handled, and one by who finds the record queued.
#[test]
fn no_wake_is_lost() {
    explore_bounded(4, || {
        let home = Home::<2>::new();
        let wakers = array::from_fn::<_, 2, _>(|event| {
            let home = home.clone();
            thread::spawn(move || home.happen(event))
        });
        home.wait_for_all();
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    });
}

/// One waker wakes twice, so that its second wake meets the park after the first.
#[test]
fn a_wake_meets_the_next_park() {
    explore_bounded(4, || {
        let home = Home::<2>::new();
        let waker = {
            let home = home.clone();
            thread::spawn(move || (0..2).for_each(|event| home.happen(event)))
        };
        home.wait_for_all();
        waker.join().unwrap();
    });
}
