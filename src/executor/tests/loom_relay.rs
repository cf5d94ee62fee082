//! The relay: a wake is seen by the turn in progress, or brings about another one.

use crate::executor::relay::Relay;
use crate::model::{Poller, explore_bounded};
use crate::primitive::atomic::AtomicBool;
use crate::primitive::atomic::Ordering::Relaxed;
use loom::thread;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// The executor around: it sleeps until its waker is called.
struct Outer(Poller);

impl Wake for Outer {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Stands for the task of a turn, which looks once more at the end in any case.
struct Inner;

impl Wake for Inner {
    fn wake(self: Arc<Self>) {}
}

struct Main {
    relay: Arc<Relay>,
    outer: Arc<Outer>,
    data: Arc<AtomicBool>,
}

impl Main {
    /// A poll of the future, if it was woken. True: it is ready.
    fn poll(&self) -> bool {
        self.relay.take_woken() && self.data.load(Relaxed)
    }

    /// One turn; true: the future was ready in it.
    fn turn(&self) -> bool {
        self.relay.set_outer(&Waker::from(self.outer.clone()));
        self.relay.set_inner(&Waker::from(Arc::new(Inner)));
        let ready = self.poll();
        self.relay.take_inner();
        ready || self.poll()
    }

    /// Deadlocks, and so fails the model, when a wake is lost.
    fn run(&self) {
        while !self.turn() {
            self.outer.0.wait();
        }
    }
}

#[test]
fn a_wake_is_seen_in_this_turn_or_brings_another() {
    explore_bounded(3, || {
        let main = Main {
            relay: Arc::new(Relay::new()),
            outer: Arc::new(Outer(Poller::new())),
            data: Arc::new(AtomicBool::new(false)),
        };
        let waker = Waker::from(main.relay.clone());
        let data = main.data.clone();
        let other = thread::spawn(move || {
            data.store(true, Relaxed);
            waker.wake();
        });
        main.run();
        other.join().unwrap();
    });
}

/// Two wakers: the second finds the outer waker taken by the first.
#[test]
fn of_two_wakes_none_is_lost() {
    explore_bounded(2, || {
        let main = Main {
            relay: Arc::new(Relay::new()),
            outer: Arc::new(Outer(Poller::new())),
            data: Arc::new(AtomicBool::new(false)),
        };
        let spurious = Waker::from(main.relay.clone());
        let waker = spurious.clone();
        let data = main.data.clone();
        let threads = [
            thread::spawn(move || spurious.wake()),
            thread::spawn(move || {
                data.store(true, Relaxed);
                waker.wake();
            }),
        ];
        main.run();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
