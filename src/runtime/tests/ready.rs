//! The ready queue keeps the order of its entries, also while it grows around a wrapped ring, and pops only tasks for a loop.

use crate::runtime::global;
use crate::runtime::home::Home;
use crate::runtime::ready::{Front, Item, ReadyQueue};
use crate::runtime::record::Record;
use crate::runtime::scheduler::{Scheduler, schedule};
use crate::task::Kind;
use std::panic::Location;
use std::ptr;

fn records(count: usize) -> Vec<&'static Record> {
    let home = Home::acquire().expect("a home");
    let records: &'static [Record] = Box::leak((0..count).map(|_| Record::new(home)).collect());
    home.release();
    records.iter().collect()
}

fn pop(queue: &ReadyQueue) -> Option<&'static Record> {
    match queue.pop()? {
        Item::Coroutine(record) => Some(record),
        Item::Task(_) => panic!("no task was pushed"),
    }
}

#[test]
fn entries_leave_in_the_order_they_came() {
    let records = records(1_000);
    let queue = ReadyQueue::new();
    let mut left = records.iter();
    let mut expected = records.iter();
    // Two in, one out: the ring wraps and grows with entries on both sides of its end.
    while let (Some(first), Some(second)) = (left.next(), left.next()) {
        queue.push_coroutine(first);
        queue.push_coroutine(second);
        queue.prefetch(expected.len());
        assert!(ptr::eq(pop(&queue).expect("two were pushed"), *expected.next().expect("as many as pushed")));
    }
    assert_eq!(queue.len(), records.len() / 2);
    for expected in expected {
        assert!(ptr::eq(pop(&queue).expect("not all have left"), *expected));
    }
    assert!(queue.is_empty() && pop(&queue).is_none());
}

#[test]
fn a_coroutine_in_front_is_left_to_the_base() {
    let records = records(1);
    let queue = ReadyQueue::new();
    assert!(matches!(queue.pop_task(), Front::Empty));
    queue.push_coroutine(records[0]);
    assert!(matches!(queue.pop_task(), Front::Coroutine));
    assert_eq!(queue.len(), 1);
}

#[test]
fn tasks_go_through_unharmed() {
    let traits = global::current_scheduler().traits(Kind::Future, Location::caller());
    // SAFETY: the future and its output are Send and 'static.
    let (runnable, task) = unsafe { Scheduler::prepare(traits, async { 7 }) };
    let runnable = runnable.expect("the global runtime takes it");
    let records = records(1);
    let queue = ReadyQueue::new();
    queue.push_task(runnable);
    queue.push_coroutine(records[0]);
    let Front::Task(runnable) = queue.pop_task() else { panic!("a task was pushed first") };
    assert!(matches!(queue.pop_task(), Front::Coroutine));
    schedule(runnable);
    assert_eq!(task.join().expect("it returns"), 7);
}
