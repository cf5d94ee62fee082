//! Timers in a reactor: never early, woken from any thread, gone when dropped.

use std::future::poll_fn;
use std::thread;

use futures_test::task::{new_count_waker, noop_context};

use super::*;
use crate::block_on;
use crate::reactor::wheel::TimerKey;

fn arm(reactor: &Reactor, delay: Duration, waker: &Waker) -> TimerKey {
    reactor.arm_timer(Instant::now() + delay, waker.clone()).unwrap()
}

fn usage(reactor: &Reactor) -> (usize, usize) {
    lock(&reactor.timers).wheel.usage()
}

#[test]
fn a_timer_fires_once_and_not_early() {
    let reactor = new_reactor();
    for micros in [1, 10, 65, 66, 100, 1_000, 5_000] {
        let (waker, count) = new_count_waker();
        let deadline = Instant::now() + Duration::from_micros(micros);
        let key = reactor.arm_timer(deadline, waker).unwrap();
        while count.get() == 0 {
            turn(reactor);
        }
        assert!(Instant::now() >= deadline);
        assert_eq!(reactor.timer_standing(key, &Waker::noop().clone()), Some(Standing::Fired));
        reactor.cancel_timer(key);
    }
    assert_eq!(usage(reactor).0, 0);
}

#[test]
fn the_poll_ends_at_the_earlier_of_timer_and_timeout() {
    let reactor = new_reactor();
    let (waker, count) = new_count_waker();
    arm(reactor, PATIENCE * 2, &waker);
    let start = Instant::now();
    reactor.poll(Some(Duration::from_millis(2)), &mut VecDeque::new()).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(2));
    arm(reactor, Duration::from_millis(1), &waker);
    while count.get() == 0 {
        turn(reactor);
    }
}

#[test]
fn an_earlier_timer_from_another_thread_cuts_the_sleep_short() {
    let reactor = new_reactor();
    let (far, near) = (new_count_waker(), new_count_waker());
    for rounds in 1..=20 {
        let far_key = arm(reactor, PATIENCE * 2, &far.0);
        thread::scope(|scope| {
            let owner = scope.spawn(|| {
                while near.1.get() < rounds {
                    turn(reactor);
                }
            });
            while !reactor.notice.is_sleeping() && !owner.is_finished() {
                thread::yield_now();
            }
            arm(reactor, Duration::from_micros(300), &near.0);
        });
        reactor.cancel_timer(far_key);
    }
    assert_eq!(far.1.get(), 0);
}

#[test]
fn only_an_earlier_timer_notifies_and_only_a_sleeper() {
    let reactor = new_reactor();
    let arms_notify = |delay| {
        arm(reactor, delay, Waker::noop());
        reactor.notice.take()
    };
    assert!(!arms_notify(Duration::from_secs(60)), "the owner is awake");
    reactor.until_next_timer(None);
    assert!(!arms_notify(Duration::from_secs(90)), "later than what it sleeps for");
    assert!(arms_notify(Duration::from_secs(30)));
    assert!(!arms_notify(Duration::from_secs(40)), "it was told of an earlier one");
}

#[test]
fn next_deadline_is_that_of_the_nearest_timer() {
    let reactor = new_reactor();
    assert_eq!(reactor.next_deadline(), None);
    let deadline = Instant::now() + Duration::from_secs(100);
    let key = reactor.arm_timer(deadline, Waker::noop().clone()).unwrap();
    let next = reactor.next_deadline().unwrap();
    assert!(next >= deadline && next < deadline + Duration::from_micros(66));
    reactor.cancel_timer(key);
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_million_armed_and_dropped_give_their_memory_back() {
    let reactor = new_reactor();
    let kept = arm(reactor, Duration::from_secs(7), Waker::noop());
    let start = usage(reactor);
    let keys: Vec<_> =
        (0..1_000_000).map(|n| arm(reactor, Duration::from_millis(n), Waker::noop())).collect();
    assert_eq!(usage(reactor).0, 1_000_001);
    keys.into_iter().for_each(|key| reactor.cancel_timer(key));
    let end = usage(reactor);
    assert_eq!(end.0, start.0);
    assert!(end.1 <= 1024, "memory for {} timers is left", end.1);
    reactor.cancel_timer(kept);
}

#[test]
fn absurd_deadlines_are_kept() {
    let reactor = new_reactor();
    let far = clock::deadline_after(Duration::MAX);
    assert!(far > Instant::now() + Duration::from_secs(29 * 365 * 24 * 3600));
    let key = reactor.arm_timer(far, Waker::noop().clone()).unwrap();
    assert!(reactor.next_deadline().unwrap() >= far);
    reactor.cancel_timer(key);
    let past = reactor.start.checked_sub(Duration::from_secs(1)).unwrap_or(reactor.start);
    let (waker, count) = new_count_waker();
    reactor.arm_timer(past, waker).unwrap();
    look(reactor);
    assert_eq!(count.get(), 1);
}

#[test]
fn an_entry_registers_at_its_first_poll_and_leaves_when_dropped() {
    let mut entry = TimerEntry::new(Instant::now() + PATIENCE * 2);
    assert!(!entry.is_registered());
    assert!(entry.poll_expired(&mut noop_context()).is_pending());
    assert!(entry.is_registered());
    entry.reset(Instant::now());
    assert!(!entry.is_registered());
    assert!(entry.poll_expired(&mut noop_context()).is_ready());
    assert!(!entry.is_registered(), "a deadline that has passed costs no registration");
}

#[test]
fn a_poll_with_another_waker_moves_the_wake() {
    let mut entry = TimerEntry::new(Instant::now() + Duration::from_millis(20));
    let (first, first_count) = new_count_waker();
    assert!(entry.poll_expired(&mut Context::from_waker(&first)).is_pending());
    block_on(poll_fn(|cx| entry.poll_expired(cx)));
    assert_eq!(first_count.get(), 0);
}

#[test]
fn an_entry_of_a_closed_reactor_registers_elsewhere() {
    let reactor = new_reactor();
    let (waker, count) = new_count_waker();
    let deadline = Instant::now() + Duration::from_millis(5);
    let mut entry = TimerEntry::registered_with(reactor, deadline, waker);
    let mut wakes = VecDeque::new();
    reactor.close(&mut wakes);
    wakes.into_iter().for_each(Waker::wake);
    assert_eq!(count.get(), 1);
    // Pooled and used by somebody else by now: still not taken for a timer that fired.
    reactor.set_mode(Mode::Shared);
    block_on(poll_fn(|cx| entry.poll_expired(cx)));
    assert!(Instant::now() >= deadline);
    assert_eq!(usage(reactor).0, 0);
}

#[test]
fn an_entry_leaves_a_foreign_local_reactor() {
    let local = new_reactor();
    let deadline = Instant::now() + Duration::from_millis(5);
    let mut entry = TimerEntry::registered_with(local, deadline, Waker::noop().clone());
    local.set_mode(Mode::Local);
    // Nobody polls `local`.
    block_on(poll_fn(|cx| entry.poll_expired(cx)));
    assert!(Instant::now() >= deadline);
    assert_eq!(usage(local).0, 0);
}
