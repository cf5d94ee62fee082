//! The drivers' list: no task is left in the queue while all drivers sleep.

use crate::executor::sleepers::{Asleep, Place, Sleepers};
use crate::model::{explore_bounded, wait_for};
use crate::primitive::{Mutex, lock};
use loom::sync::Arc;
use loom::thread;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

struct Model {
    sleepers: Sleepers,
    queue: Mutex<Vec<u32>>,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self { sleepers: Sleepers::new(), queue: Mutex::new(Vec::new()) })
    }

    fn push(&self, item: u32) {
        lock(&self.queue).push(item);
        self.sleepers.notify();
    }

    fn notify_if_more(&self) {
        let more = !lock(&self.queue).is_empty();
        if more {
            self.sleepers.notify();
        }
    }

    fn poll_next(&self, place: &mut Place, cx: &mut Context<'_>) -> Poll<u32> {
        loop {
            let item = lock(&self.queue).pop();
            if let Some(item) = item {
                if self.sleepers.wake(place) {
                    self.notify_if_more();
                }
                return Poll::Ready(item);
            }
            if self.sleepers.sleep(place, cx.waker()) == Asleep::Still {
                return Poll::Pending;
            }
        }
    }

    /// One driver takes one item.
    fn next(&self) -> u32 {
        let mut place = Place::default();
        let item = wait_for(poll_fn(|cx| self.poll_next(&mut place, cx)));
        self.leave(&mut place);
        item
    }

    fn leave(&self, place: &mut Place) {
        let _ = self.sleepers.wake(place);
        self.notify_if_more();
    }
}

#[test]
fn a_push_ends_the_sleep_of_a_driver() {
    explore_bounded(3, || {
        let model = Model::new();
        let driver = {
            let model = model.clone();
            thread::spawn(move || model.next())
        };
        model.push(7);
        assert_eq!(driver.join().unwrap(), 7);
    });
}

#[test]
fn two_pushes_end_the_sleep_of_two_drivers() {
    explore_bounded(2, || {
        let model = Model::new();
        let drivers: Vec<_> = (0..2)
            .map(|_| {
                let model = model.clone();
                thread::spawn(move || model.next())
            })
            .collect();
        model.push(1);
        model.push(2);
        let sum: u32 = drivers.into_iter().map(|driver| driver.join().unwrap()).sum();
        assert_eq!(sum, 3);
    });
}

/// A driver that enrols and goes away, notified or not, does not take the notification with it.
#[test]
fn one_that_goes_away_passes_it_on() {
    explore_bounded(3, || {
        let model = Model::new();
        let driver = {
            let model = model.clone();
            thread::spawn(move || model.next())
        };
        let deserter = {
            let model = model.clone();
            thread::spawn(move || {
                let mut place = Place::default();
                let _ = model.sleepers.sleep(&mut place, Waker::noop());
                model.leave(&mut place);
            })
        };
        model.push(7);
        deserter.join().unwrap();
        assert_eq!(driver.join().unwrap(), 7);
    });
}
