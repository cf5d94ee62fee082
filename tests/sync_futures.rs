//! The futures of `aqueduct::sync`, polled by hand: the order in which they are served, and what their drop leaves behind at
//! each point: before the first poll, in line, granted but not yet looked at.

mod common;
mod sync_common;

use aqueduct::go;
use aqueduct::sync::{
    Barrier, CancellationToken, Condvar, Mutex, Notify, OnceCell, RwLock, Semaphore, WaitGroup,
};
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;
use sync_common::{assert_pending, enrolled, poll_once, ready};

#[test]
fn the_lock_goes_round_in_order() {
    let mutex = Mutex::new(());
    let held = mutex.lock();
    let (one, mut two, mut three) =
        (enrolled(mutex.lock_async()), enrolled(mutex.lock_async()), enrolled(mutex.lock_async()));
    drop(held); // calls the first
    assert_pending(&mut three);
    assert_pending(&mut two);
    let guard = ready(one);
    assert_pending(&mut two);
    drop(guard);
    assert_pending(&mut three);
    drop(ready(two));
    drop(ready(three));
    assert!(mutex.try_lock().is_some());
}

/// In line for longer than it has patience, a party is handed the lock, past those who come.
#[test]
fn who_has_waited_long_is_handed_the_lock() {
    let _dog = common::watchdog!(60);
    let mutex = Mutex::new(());
    let held = mutex.lock();
    let (mut first, mut second) = (enrolled(mutex.lock_async()), enrolled(mutex.lock_async()));
    std::thread::sleep(Duration::from_millis(2)); // their patience, and more
    drop(held);
    let barged = mutex.try_lock().expect("the first is only called");
    assert_pending(&mut first);
    drop(barged);
    assert!(mutex.try_lock().is_none(), "it is the first one's by now");
    let late = enrolled(mutex.lock_async());
    drop(ready(first)); // calls the second
    let barged = mutex.try_lock().expect("it is strict for one at a time");
    assert_pending(&mut second);
    drop(barged);
    assert!(mutex.try_lock().is_none(), "the second has waited as long");
    drop(ready(second));
    drop(ready(late));
    assert!(mutex.try_lock().is_some());
}

#[test]
fn whoever_comes_may_have_a_mutex_that_is_free() {
    let mutex = Mutex::new(());
    let held = mutex.lock();
    let (mut one, mut two) = (enrolled(mutex.lock_async()), enrolled(mutex.lock_async()));
    drop(held);
    let barged = mutex.try_lock().expect("it is free: the first in line has only been called");
    assert_pending(&mut one);
    drop(barged);
    assert_pending(&mut two);
    drop(ready(one));
    drop(ready(two));
    assert!(mutex.try_lock().is_some());
}

#[test]
fn a_lock_future_may_be_dropped_anywhere() {
    let mutex = Mutex::new(());
    drop(mutex.lock_async());
    let held = mutex.lock();
    let (one, two, three) =
        (enrolled(mutex.lock_async()), enrolled(mutex.lock_async()), enrolled(mutex.lock_async()));
    drop(two); // in line
    drop(held);
    drop(one); // called
    drop(ready(three));
    assert!(mutex.try_lock().is_some());
}

#[test]
fn an_owned_lock_future_may_be_dropped_anywhere() {
    let mutex = Arc::new(Mutex::new(()));
    let held = mutex.lock_owned();
    let (one, two, three) = (
        enrolled(mutex.lock_owned_async()),
        enrolled(mutex.lock_owned_async()),
        enrolled(mutex.lock_owned_async()),
    );
    drop(two);
    drop(held);
    drop(one);
    drop(ready(three));
    assert_eq!(Arc::strong_count(&mutex), 1);
    assert!(!mutex.is_locked());
}

#[test]
fn a_large_request_is_not_passed() {
    let semaphore = Semaphore::new(3);
    let held = semaphore.acquire_many(2).unwrap();
    let large = enrolled(semaphore.acquire_many_async(2));
    assert!(semaphore.try_acquire().is_err(), "one is free, but somebody stands in line");
    let mut small = enrolled(semaphore.acquire_async());
    assert_pending(&mut small);
    drop(large); // what it held up goes on
    let small = ready(small).unwrap();
    assert_eq!(semaphore.available(), 0);
    drop((held, small));
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn permits_survive_dropped_futures() {
    let semaphore = Arc::new(Semaphore::new(2));
    let held = semaphore.acquire_many(2).unwrap();
    let (one, two) = (enrolled(semaphore.acquire_many_async(2)), enrolled(semaphore.acquire_owned_async()));
    drop(held);
    drop(one); // granted
    drop(two); // granted with what the first gave back
    assert_eq!(semaphore.available(), 2);
    let held = semaphore.acquire_many(2).unwrap();
    let waiting = enrolled(semaphore.acquire_async());
    semaphore.close();
    drop(waiting); // refused: gives nothing back
    drop(held);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_reader_does_not_pass_a_writer() {
    let lock = RwLock::new(());
    let reader = lock.read();
    let mut writer = enrolled(lock.write_async());
    assert!(lock.try_read().is_none());
    let (mut second, mut third) = (enrolled(lock.read_async()), enrolled(lock.read_async()));
    let fourth = enrolled(lock.write_async());
    drop(reader);
    assert_pending(&mut second);
    let std::task::Poll::Ready(guard) = poll_once(writer.as_mut()) else { panic!("the writer is next") };
    assert_pending(&mut third);
    drop(guard);
    let readers = (ready(second), ready(third)); // together
    drop(readers);
    drop(fourth); // granted
    assert!(lock.try_write().is_some());
}

#[test]
fn a_writer_that_goes_lets_readers_in() {
    let lock = RwLock::new(());
    let reader = lock.read();
    let writer = enrolled(lock.write_async());
    let waiting = enrolled(lock.read_async());
    drop(writer);
    drop(ready(waiting));
    drop(reader);
}

#[test]
fn a_condition_is_enrolled_for_before_the_mutex_is_unlocked() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let waiting = enrolled(condvar.wait_async(mutex.try_lock().unwrap()));
    assert!(mutex.try_lock().is_some());
    condvar.notify_one();
    drop(ready(waiting));
    // Nothing is kept.
    condvar.notify_one();
    let mut waiting = enrolled(condvar.wait_async(mutex.try_lock().unwrap()));
    assert_pending(&mut waiting);
}

#[test]
fn a_notification_for_a_dropped_waiter_goes_to_the_next() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let wait = || enrolled(condvar.wait_async(mutex.try_lock().unwrap()));
    // Notified, not polled since.
    let (one, two) = (wait(), wait());
    condvar.notify_one();
    drop(one);
    drop(ready(two));
    // Notified, and waiting for the mutex.
    let (mut one, mut two) = (wait(), wait());
    let held = mutex.try_lock().unwrap();
    condvar.notify_one();
    assert_pending(&mut one);
    assert_pending(&mut two);
    drop(one);
    drop(held);
    drop(ready(two));
    // Called to the mutex, but not polled.
    let (mut one, two) = (wait(), wait());
    let held = mutex.try_lock().unwrap();
    condvar.notify_one();
    assert_pending(&mut one);
    drop(held);
    assert!(!mutex.is_locked());
    drop(one);
    drop(ready(two));
    assert!(mutex.try_lock().is_some());
}

#[test]
fn all_who_wait_are_notified_and_no_others() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let wait = || enrolled(condvar.wait_async(mutex.try_lock().unwrap()));
    let (one, two, three) = (wait(), wait(), wait());
    condvar.notify_all();
    let mut later = wait();
    drop(one);
    drop(ready(three));
    assert_pending(&mut later);
    drop(ready(two));
    assert_pending(&mut later);
}

#[test]
fn one_notification_is_kept() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_one();
    ready(Box::pin(notify.wait_async()));
    let (one, mut two) = (enrolled(notify.wait_async()), enrolled(notify.wait_async()));
    notify.notify_one();
    assert_pending(&mut two);
    drop(one); // notified
    ready(two);
    let alone = enrolled(notify.wait_async());
    notify.notify_one();
    drop(alone); // notified, and nobody to pass it on to
    assert!(notify.try_wait());
    assert!(!notify.try_wait());
}

#[test]
fn notify_all_counts_from_the_call() {
    let notify = Notify::new();
    let before = Box::pin(notify.wait_async());
    let enrolled_before = enrolled(notify.wait_async());
    notify.notify_all();
    ready(before);
    drop(enrolled_before);
    assert!(!notify.try_wait());
    let mut after = enrolled(notify.wait_async());
    assert_pending(&mut after);
}

#[test]
fn a_wait_group_releases_by_the_first_zero() {
    let group = WaitGroup::new();
    let working = group.enter();
    let (one, two) = (enrolled(group.wait_async()), enrolled(group.wait_async()));
    drop(working);
    group.add(1);
    let mut later = enrolled(group.wait_async());
    ready(one);
    ready(two);
    assert_pending(&mut later);
    drop(later);
    assert!(group.wait_timeout(Duration::ZERO).is_err());
    group.done();
    assert!(common::panic_of(|| group.done()).contains("more often"));
    assert_eq!(group.count(), 0);
}

#[test]
fn who_leaves_a_barrier_has_not_arrived() {
    let barrier = Barrier::new(2);
    drop(enrolled(barrier.wait_async()));
    assert_eq!(barrier.arrived(), 0);
    let (one, two) = (enrolled(barrier.wait_async()), Box::pin(barrier.wait_async()));
    assert!(ready(two).is_leader());
    drop(one); // it has been let through, and is not missed
    let (one, two) = (enrolled(barrier.wait_async()), Box::pin(barrier.wait_async()));
    assert!(ready(two).is_leader());
    assert!(!ready(one).is_leader());
}

#[test]
fn a_dropped_initialiser_hands_over() {
    let cell = OnceCell::new();
    let running = enrolled(cell.get_or_init_async(pending));
    let mut one = enrolled(cell.get_or_init_async(|| async { 1 }));
    let two = enrolled(cell.get_or_init_async(|| async { 2 }));
    assert_pending(&mut one);
    drop(running);
    drop(one); // it was its turn
    assert_eq!(*ready(two), 2);
    assert_eq!(cell.into_inner(), Some(2));
}

#[test]
fn a_dropped_token_child_is_forgotten() {
    let root = CancellationToken::new();
    let waiting = enrolled(root.child().cancelled_async());
    drop(enrolled(root.child().cancelled_async()));
    let keys: Vec<_> = (0..100).map(|_| root.child()).collect();
    drop(keys);
    root.cancel();
    assert_eq!(ready(waiting).to_string(), "cancelled");
    assert!(root.child().is_cancelled());
    assert!(!CancellationToken::new().guard().disarm().is_cancelled());
}

/// On a coroutine's stack, and deeper than recursion could go there.
#[test]
fn a_long_line_of_tokens_is_dropped() {
    let leaf = || (0..200_000).fold(CancellationToken::new(), |token, _| token.child());
    go(move || drop(leaf())).join().unwrap();
    // Who holds one in the middle keeps those above it.
    let root = CancellationToken::new();
    let middle = (0..1000).fold(root.child(), |token, _| token.child());
    drop((0..1000).fold(middle.child(), |token, _| token.child()));
    root.cancel();
    assert!(middle.is_cancelled());
}

/// What moves between threads, and what does not.
#[test]
fn guards_and_futures_are_send() {
    fn is_send(_: impl Send) {}
    fn is_send_and_sync(_: impl Send + Sync) {}
    let (mutex, lock, semaphore) = (Mutex::new(1), RwLock::new(1), Semaphore::new(9));
    is_send_and_sync(mutex.lock_async());
    is_send_and_sync(mutex.lock());
    is_send_and_sync(lock.read());
    is_send_and_sync(lock.write_async());
    is_send_and_sync(semaphore.acquire_async());
    let cell = std::cell::Cell::new(1);
    let mutex = Mutex::new(cell);
    is_send(mutex.lock());
    is_send_and_sync(&mutex);
    fn is_future<F: Future + Send>(_: F) {}
    is_future(OnceCell::<u8>::new().get_or_init_async(|| async { 1 }));
}
