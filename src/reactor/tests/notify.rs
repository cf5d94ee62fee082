//! Notifications: before, during and between polls, with rescuers about.

use std::sync::mpsc;
use std::thread;

use super::*;

#[test]
fn notify_before_a_poll() {
    let reactor = new_reactor();
    for _ in 0..3 {
        reactor.notify();
        turn(reactor);
    }
}

#[test]
fn several_notifies_between_polls() {
    let reactor = new_reactor();
    for _ in 0..3 {
        (0..5).for_each(|_| reactor.notify());
        turn(reactor);
        reactor.notify();
        turn(reactor);
    }
}

#[test]
fn notify_during_a_poll() {
    let reactor = new_reactor();
    for _ in 0..50 {
        thread::scope(|scope| {
            scope.spawn(|| turn(reactor));
            while !reactor.notice.is_sleeping() {
                thread::yield_now();
            }
            reactor.notify();
        });
    }
}

#[test]
fn a_notified_poll_of_zero_returns() {
    let reactor = new_reactor();
    reactor.notify();
    look(reactor);
}

#[test]
fn a_notification_met_by_a_rescuer_is_still_the_owners() {
    let reactor = new_reactor();
    for _ in 0..3 {
        reactor.notify();
        look(reactor);
        turn(reactor);
    }
}

#[test]
fn rescuers_do_not_swallow_notifications() {
    const ROUNDS: u32 = 2_000;
    let reactor = new_reactor();
    let (done, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
                look(reactor);
                thread::yield_now();
            }
        });
        let (acknowledge, acknowledged) = mpsc::channel();
        let (post, inbox) = mpsc::channel();
        scope.spawn(move || {
            for expected in 0..ROUNDS {
                // A notified owner looks at its inbox, and sleeps again if nothing is there.
                while inbox.try_recv() != Ok(expected) {
                    turn(reactor);
                }
                acknowledge.send(()).unwrap();
            }
        });
        for round in 0..ROUNDS {
            post.send(round).unwrap();
            reactor.notify();
            acknowledged.recv().unwrap();
        }
        drop(done);
    });
}

#[test]
fn notify_after_ends_a_poll_and_not_early() {
    let reactor = new_reactor();
    for _ in 0..3 {
        let start = Instant::now();
        let delay = Duration::from_millis(3);
        reactor.notify_after(delay);
        while start.elapsed() < delay {
            turn(reactor);
        }
    }
    reactor.notify_after(Duration::ZERO);
    turn(reactor);
}

#[test]
fn a_later_notify_after_replaces_the_earlier() {
    let reactor = new_reactor();
    let start = Instant::now();
    reactor.notify_after(PATIENCE * 2);
    let delay = Duration::from_millis(1);
    reactor.notify_after(delay);
    while start.elapsed() < delay {
        turn(reactor);
    }
}

#[test]
fn a_rescuer_passes_on_the_end_of_a_delay() {
    let reactor = new_reactor();
    let start = Instant::now();
    reactor.notify_after(Duration::from_millis(1));
    while !reactor.notice.is_posted() {
        look(reactor);
        assert!(start.elapsed() < PATIENCE);
    }
    turn(reactor);
}

#[cfg(not(aqueduct_portable_poller))]
#[test]
fn the_descriptor_is_readable_when_there_is_something_to_poll_for() {
    let outer = new_reactor();
    let inner = new_reactor();
    look(inner);
    // SAFETY: reactors live for ever, and their descriptors with them.
    let source = unsafe { Source::new(inner.as_fd().as_raw_fd()) };
    source.register_with(Direction::Read, outer).unwrap();
    let (waker, count) = futures_test::task::new_count_waker();
    for round in 1..=3 {
        let waited = source.poll_io(Direction::Read, &mut Context::from_waker(&waker), || {
            look(inner);
            io::Result::<()>::Err(io::ErrorKind::WouldBlock.into())
        });
        assert!(waited.is_pending());
        inner.notify();
        while count.get() < round {
            turn(outer);
        }
    }
}
