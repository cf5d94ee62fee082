//! The waiter: its owner against peers that complete or notify it.

use crate::model::explore;
use crate::primitive::{Mutex, lock};
use crate::wait::queue::{Completion, Notification, WaitQueue, Waiter, WaiterState, WakeList};
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use std::future::poll_fn;
use std::task::{Poll, Waker};

type Slot = Option<u8>;

/// Something to be waited for, and the waiters of this test.
struct Place {
    queue: Mutex<WaitQueue<Slot>>,
    waiters: Vec<Waiter<Slot>>,
}

impl Place {
    fn new(waiters: usize) -> Arc<Self> {
        let waiters = (0..waiters).map(|_| Waiter::new(None, true)).collect();
        Arc::new(Self { queue: Mutex::new(WaitQueue::new()), waiters })
    }

    fn enrol(&self, waiter: usize, waker: &Waker) {
        let mut queue = lock(&self.queue);
        let replaced = self.waiters[waiter].set_waker(waker.clone());
        // SAFETY: the waiter is in no queue, and lives as long as the queue.
        unsafe { queue.push_back(&self.waiters[waiter]) };
        drop(queue);
        drop(replaced);
    }

    fn complete(&self, message: u8) -> bool {
        let completion = lock(&self.queue).complete_front(|slot| *slot = Some(message));
        match completion {
            Completion::Done(waker) => {
                WakeList::new().push(waker);
                true
            }
            Completion::Lost => unreachable!("there is no claim"),
            Completion::Nobody => false,
        }
    }

    fn notify(&self) -> bool {
        let notification = lock(&self.queue).notify_front();
        match notification {
            Notification::Sent(waker) => {
                WakeList::new().push(waker);
                true
            }
            Notification::Nobody => false,
        }
    }

    /// Takes a waiter out; false: a peer was faster.
    fn remove(&self, waiter: usize) -> bool {
        lock(&self.queue).remove(&self.waiters[waiter])
    }

    /// The slot of a waiter that is done or out.
    fn content(&self, waiter: usize) -> Slot {
        // SAFETY: the waiter is its owner's, who asks.
        unsafe { self.waiters[waiter].with_slot(Option::take) }
    }

    fn state(&self, waiter: usize) -> WaiterState {
        self.waiters[waiter].state()
    }

    /// Enrols a waiter, and waits until it is no longer in the queue.
    fn wait(&self, waiter: usize) -> WaiterState {
        let mut enrolled = false;
        block_on(poll_fn(|cx| {
            if !std::mem::replace(&mut enrolled, true) {
                self.enrol(waiter, cx.waker());
            }
            match self.state(waiter) {
                WaiterState::In => Poll::Pending,
                state => Poll::Ready(state),
            }
        }))
    }
}

/// Calls `peer` on another thread until it has met somebody.
fn start(place: &Arc<Place>, peer: impl Fn(&Place) -> bool + 'static) -> JoinHandle<()> {
    let place = place.clone();
    thread::spawn(move || {
        while !peer(&place) {
            thread::yield_now();
        }
    })
}

#[test]
fn a_completed_waiter_is_woken_and_has_the_message() {
    explore(|| {
        let place = Place::new(1);
        let peer = start(&place, |place| place.complete(7));
        assert_eq!(place.wait(0), WaiterState::Done);
        assert_eq!(place.content(0), Some(7));
        peer.join().unwrap();
    });
}

/// An owner that sees `Done` may free its waiter at once, without the lock: here it writes to all of it instead.
#[test]
fn done_is_the_last_touch_of_the_peer() {
    explore(|| {
        let place = Place::new(1);
        let peer = start(&place, |place| place.complete(7));
        assert_eq!(place.wait(0), WaiterState::Done);
        place.waiters[0].reset();
        assert!(place.waiters[0].set_waker(Waker::noop().clone()).is_none(), "the peer has taken the waker");
        assert_eq!(place.content(0), Some(7));
        peer.join().unwrap();
    });
}

#[test]
fn a_removed_waiter_is_not_completed() {
    explore(|| {
        let place = Place::new(1);
        place.enrol(0, Waker::noop());
        let peer = {
            let place = place.clone();
            thread::spawn(move || place.complete(7))
        };
        if place.remove(0) {
            assert_eq!((place.state(0), place.content(0)), (WaiterState::Out, None));
            assert!(!peer.join().unwrap());
        } else {
            assert_eq!((place.state(0), place.content(0)), (WaiterState::Done, Some(7)));
            assert!(peer.join().unwrap());
        }
        assert!(lock(&place.queue).is_empty());
    });
}

#[test]
fn a_removed_waiter_is_not_notified() {
    explore(|| {
        let place = Place::new(1);
        place.enrol(0, Waker::noop());
        let peer = {
            let place = place.clone();
            thread::spawn(move || place.notify())
        };
        let removed = place.remove(0);
        assert_eq!(removed, place.state(0) == WaiterState::Out);
        assert_eq!(peer.join().unwrap(), !removed);
    });
}

/// A notification tells of something that was there before it, even to an owner that does not take the lock.
#[test]
fn a_notified_waiter_sees_what_it_was_notified_of() {
    explore(|| {
        let place = Place::new(1);
        let news = Arc::new(crate::primitive::UnsafeCell::new(0));
        let peer = {
            let (place, news) = (place.clone(), news.clone());
            thread::spawn(move || {
                // SAFETY: the owner looks after the notification.
                news.with_mut(|news| unsafe { *news = 7 });
                while !place.notify() {
                    thread::yield_now();
                }
            })
        };
        assert_eq!(place.wait(0), WaiterState::Notified);
        // SAFETY: the peer wrote before the notification.
        assert_eq!(news.with_mut(|news| unsafe { *news }), 7);
        peer.join().unwrap();
    });
}

#[test]
fn two_peers_complete_two_waiters_in_their_order() {
    explore(|| {
        let place = Place::new(2);
        (0..2).for_each(|waiter| place.enrol(waiter, Waker::noop()));
        let peer = start(&place, |place| place.complete(1));
        assert!(place.complete(2));
        peer.join().unwrap();
        let mut messages = [0, 1].map(|waiter| place.content(waiter).unwrap());
        messages.sort_unstable();
        assert_eq!(messages, [1, 2]);
        assert!(!place.complete(3));
    });
}

/// The middle one of three leaves while a peer completes from the front: the links stay whole.
#[test]
fn a_waiter_leaves_the_middle_of_a_queue() {
    explore(|| {
        let place = Place::new(3);
        (0..3).for_each(|waiter| place.enrol(waiter, Waker::noop()));
        let peer = {
            let place = place.clone();
            thread::spawn(move || (0..2).for_each(|message| assert!(place.complete(message))))
        };
        let left = place.remove(1);
        peer.join().unwrap();
        if left {
            assert_eq!([0, 1, 2].map(|waiter| place.content(waiter)), [Some(0), None, Some(1)]);
        } else {
            assert_eq!([0, 1, 2].map(|waiter| place.content(waiter)), [Some(0), Some(1), None]);
            assert!(place.remove(2));
        }
        assert!(lock(&place.queue).is_empty());
    });
}

/// A notified waiter that found nothing stands before those that came after it.
#[test]
fn a_notified_waiter_keeps_its_place() {
    explore(|| {
        let place = Place::new(2);
        place.enrol(0, Waker::noop());
        assert!(place.notify());
        let newcomer = {
            let place = place.clone();
            thread::spawn(move || place.enrol(1, Waker::noop()))
        };
        // SAFETY: the waiter is out of the queue, and lives as long as the queue.
        unsafe { lock(&place.queue).push_front(&place.waiters[0]) };
        newcomer.join().unwrap();
        assert!(place.complete(1) && place.complete(2));
        assert_eq!([0, 1].map(|waiter| place.content(waiter)), [Some(1), Some(2)]);
    });
}

/// A future that has moved to another task: the waker that was set last is called.
#[test]
fn the_waker_that_was_set_last_is_called() {
    explore(|| {
        let place = Place::new(1);
        place.enrol(0, Waker::noop());
        let peer = start(&place, Place::notify);
        block_on(poll_fn(|cx| {
            let queue = lock(&place.queue);
            if place.state(0) != WaiterState::In {
                return Poll::Ready(());
            }
            let replaced = place.waiters[0].set_waker(cx.waker().clone());
            drop(queue);
            drop(replaced);
            Poll::Pending
        }));
        peer.join().unwrap();
    });
}
