//! `task::TaskGroup`: results in the order of completion, the first error, and what becomes of the rest.

mod common;

use aqueduct::task::{TaskError, TaskGroup};
use aqueduct::{block_on, go, spawn};
use common::{Drops, Latch, watchdog};
use futures::StreamExt;
use std::future::pending;

#[test]
fn results_come_in_the_order_of_completion() {
    let _dog = watchdog!(60);
    let latches: Vec<_> = (0..4).map(|_| Latch::new()).collect();
    let mut group = TaskGroup::<usize, ()>::new();
    for (i, latch) in latches.iter().cloned().enumerate() {
        if i % 2 == 0 {
            group.go(move || {
                latch.wait();
                Ok(i)
            });
        } else {
            group.spawn(async move {
                latch.opened().await;
                Ok(i)
            });
        }
    }
    for i in [2, 3, 0, 1] {
        latches[i].open();
        let next = if i < 2 { group.next() } else { block_on(group.next_async()) };
        assert_eq!(next.unwrap().unwrap(), i);
    }
    assert!(group.next().is_none());
    assert!(group.is_empty());
    group.go(|| Ok(9));
    assert_eq!(group.join_all().unwrap(), [9]);
}

#[test]
fn the_first_error_cancels_the_rest() {
    let _dog = watchdog!(60);
    let drops = Drops::new();
    let (one, two) = (drops.one(), drops.one());
    let mut group = TaskGroup::<(), &str>::new();
    group.go(move || {
        let _one = one;
        block_on(pending())
    });
    group.spawn(async move {
        let _two = two;
        pending().await
    });
    group.go(|| Err("first"));
    assert!(matches!(group.next(), Some(Err(TaskError::Failed("first")))));
    assert!(group.next().is_none());
    assert_eq!(drops.dropped(), 2);
    group.spawn(async { Ok(()) });
    assert!(group.next().is_none(), "nothing more is started");
}

#[test]
fn a_panic_is_an_error() {
    let _dog = watchdog!(60);
    let mut group = TaskGroup::<(), ()>::new();
    group.spawn(pending());
    group.go(|| panic!("inside"));
    let Err(TaskError::Panicked(error)) = group.join_all() else { panic!("no error") };
    assert!(error.to_string().ends_with("panicked: inside"), "{error}");
}

#[test]
fn all_are_waited_for_before_the_error_is_told() {
    let _dog = watchdog!(60);
    let (latch, drops) = (Latch::new(), Drops::new());
    let (inside, one) = (latch.clone(), drops.one());
    let mut group = TaskGroup::<u8, &str>::new();
    group.go(move || {
        let _one = one;
        aqueduct::task::shield(|| inside.wait());
        Ok(1)
    });
    group.spawn(async { Err("first") });
    let all = go(move || group.join_all());
    latch.block_thread_until_waited_for();
    assert!(!all.is_finished());
    latch.open();
    assert!(matches!(all.join().unwrap(), Err(TaskError::Failed("first"))));
    assert_eq!(drops.dropped(), 1);
}

#[test]
fn a_dropped_group_cancels() {
    let _dog = watchdog!(60);
    let drops = Drops::new();
    let mut group = TaskGroup::<(), ()>::new();
    for _ in 0..10 {
        let (one, two) = (drops.one(), drops.one());
        group.go(move || {
            let _one = one;
            block_on(pending())
        });
        group.spawn(async move {
            let _two = two;
            pending().await
        });
    }
    assert_eq!(group.len(), 20);
    drop(group);
    common::until(|| drops.dropped() == 20);
}

#[test]
fn a_wait_that_is_given_up_loses_no_result() {
    let _dog = watchdog!(60);
    let latch = Latch::new();
    let mut group = TaskGroup::<u8, ()>::new();
    group.go({
        let latch = latch.clone();
        move || {
            latch.wait();
            Ok(7)
        }
    });
    let short = std::time::Duration::from_millis(1);
    assert!(block_on(aqueduct::time::timeout(short, group.next_async())).is_err());
    latch.open();
    assert_eq!(group.next().unwrap().unwrap(), 7);
}

#[test]
fn a_group_is_a_stream() {
    let _dog = watchdog!(60);
    let sum = spawn(async {
        let mut group = TaskGroup::<u32, ()>::new();
        for i in 0..500 {
            if i % 2 == 0 { group.go(move || Ok(i)) } else { group.spawn(async move { Ok(i) }) }
        }
        group.map(|result| result.unwrap()).fold(0, |sum, i| async move { sum + i }).await
    });
    assert_eq!(sum.join().unwrap(), (0..500).sum());
}
