//! `sync::SpinLock`: it excludes, and nobody waits while it is held.

mod common;

use aqueduct::prelude::*;
use aqueduct::time;
use common::party::PARTIES;
use common::watchdog;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn it_excludes_everywhere() {
    let _dog = watchdog!(60);
    let lock = Arc::new(SpinLock::new((0_u64, 0_u64)));
    let add = |lock: &SpinLock<(u64, u64)>| {
        for _ in 0..10_000 {
            let mut guard = lock.lock();
            assert_eq!(guard.0, guard.1);
            guard.0 += 1;
            guard.1 += 1;
        }
    };
    let parties: Vec<_> = PARTIES
        .map(|party| {
            let (go_style, future) = (lock.clone(), lock.clone());
            party.start(move || add(&go_style), async move { add(&future) })
        })
        .into_iter()
        .collect();
    parties.into_iter().for_each(|party| party.join());
    assert_eq!(*lock.lock(), (30_000, 30_000));
}

#[test]
fn a_wait_is_refused_while_it_is_held() {
    let _dog = watchdog!(60);
    let refused = || {
        let (lock, mutex) = (SpinLock::new(()), Mutex::new(()));
        let held = mutex.lock();
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        assert!(common::panic_of(|| mutex.lock()).contains("forbidden"));
        assert!(polled_once_is_pending(mutex.lock_async()));
        drop((guard, held));
        drop(mutex.lock()); // nothing was left behind
        yield_now();
        assert!(lock.try_lock().is_some());
    };
    refused();
    go(refused).join().unwrap();
}

#[test]
fn guards_that_go_in_another_order_leave_nothing_behind() {
    let _dog = watchdog!(60);
    let check = || {
        let (one, other) = (SpinLock::new(()), SpinLock::new(()));
        let wait = || time::sleep(Duration::from_millis(1));
        let (first, second) = (one.lock(), other.lock());
        drop(first);
        assert!(common::panic_of(wait).contains("forbidden"), "one is held");
        drop(second);
        wait();
    };
    check();
    go(check).join().unwrap();
}

fn polled_once_is_pending(future: impl Future) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::pin!(future).poll(&mut context).is_pending()
}
