//! The cancel cell: a request and the wait that it is to end never both miss each other.

use crate::model::{Poller, explore};
use crate::task::cancel::{CancelCell, Requested};
use loom::sync::Arc;
use loom::thread;
use std::ptr;

struct Task {
    cell: CancelCell<Poller>,
    /// Parked coroutines.
    records: [Poller; 2],
}

impl Task {
    /// Runs `wait` on this thread against a canceller on another.
    fn model(wait: fn(&Task)) {
        explore(move || {
            let task = Arc::new(Task { cell: CancelCell::new(), records: [(); 2].map(|()| Poller::new()) });
            let canceller = {
                let task = task.clone();
                thread::spawn(move || {
                    // SAFETY: the records live as long as the task.
                    if let Some(record) = unsafe { task.cell.request().as_ref() } {
                        record.notify();
                    }
                })
            };
            wait(&task);
            canceller.join().unwrap();
            assert!(task.cell.is_requested());
        });
    }

    /// Whether cancelling has been requested.
    fn publish(&self, record: usize) -> bool {
        self.publish_first(record) != Requested::No
    }

    fn publish_first(&self, record: usize) -> Requested {
        self.cell.publish(ptr::from_ref(&self.records[record]))
    }
}

/// A wait that the request does not end, but which is for the request: it hands it on.
#[test]
fn a_wait_for_the_request_itself_sees_it() {
    Task::model(|task| {
        while !task.cell.is_requested() {
            match task.publish_first(0) {
                Requested::Unseen => {}
                Requested::No | Requested::Yes => task.records[0].wait(),
            }
        }
    });
}

#[test]
fn a_wait_sees_the_request_or_is_woken() {
    Task::model(|task| {
        while !task.publish(0) {
            task.records[0].wait();
        }
    });
}

/// The second wait on the same record only reads.
#[test]
fn a_repeated_wait_on_the_same_record_is_ended() {
    Task::model(|task| {
        if task.publish(0) {
            return;
        }
        // That wait was over at once; the next one is not.
        while !task.publish(0) {
            task.records[0].wait();
        }
    });
}

/// A future whose polls wait on one coroutine, then on another. The first may be woken for nothing.
#[test]
fn a_wait_on_another_record_is_ended() {
    Task::model(|task| {
        if task.publish(0) {
            return;
        }
        while !task.publish(1) {
            task.records[1].wait();
        }
    });
}
