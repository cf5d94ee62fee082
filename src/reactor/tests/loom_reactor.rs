//! Models of the reactor's own protocols: notifying a sleeping owner beside a rescuer, and readiness.

use super::Direction;
use super::notice::Notice;
use super::readiness::Readiness;
use super::waiters::Awaited;
use crate::model::{Poller, explore, explore_bounded};
use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::Relaxed;
use loom::sync::{Arc, Mutex};
use loom::thread;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

struct Reactor {
    notice: Notice,
    poller: Poller,
    /// What the owner is notified of; Relaxed, so that only the protocol orders it.
    items: AtomicUsize,
}

impl Reactor {
    fn new() -> Arc<Self> {
        Arc::new(Self { notice: Notice::new(), poller: Poller::new(), items: AtomicUsize::new(0) })
    }

    fn give(&self) {
        self.items.fetch_add(1, Relaxed);
        self.notice.post();
        self.poller.notify();
    }

    fn look_in(&self) {
        if self.poller.fetch() && self.notice.was_fetched() {
            self.poller.notify();
        }
    }

    fn sleep_until(&self, items: usize) {
        while self.items.load(Relaxed) < items {
            if self.notice.begin_sleep() {
                self.poller.wait();
            }
            self.notice.end_sleep();
        }
    }
}

#[test]
fn a_notification_fetched_by_a_rescuer_is_not_lost() {
    explore(|| {
        let reactor = Reactor::new();
        let giver = {
            let reactor = reactor.clone();
            thread::spawn(move || reactor.give())
        };
        let rescuer = {
            let reactor = reactor.clone();
            thread::spawn(move || reactor.look_in())
        };
        reactor.sleep_until(1);
        giver.join().unwrap();
        rescuer.join().unwrap();
    });
}

#[test]
fn a_notification_meets_the_next_sleep() {
    explore_bounded(3, || {
        let reactor = Reactor::new();
        let giver = {
            let reactor = reactor.clone();
            thread::spawn(move || (0..2).for_each(|_| reactor.give()))
        };
        let rescuer = {
            let reactor = reactor.clone();
            thread::spawn(move || reactor.look_in())
        };
        reactor.sleep_until(2);
        giver.join().unwrap();
        rescuer.join().unwrap();
    });
}

/// A source in edge mode, read from, and the descriptor behind it.
struct Source {
    readiness: Readiness,
    awaited: Awaited,
    waiter: Mutex<Option<Waker>>,
    /// Bytes that have come. Relaxed: an operation that starts after a report has been seen must see what it
    /// reports, and nothing else need be seen in time.
    arrived: AtomicUsize,
    /// 1: they are all.
    ended: AtomicUsize,
}

enum Read {
    Bytes(usize),
    End,
    WouldBlock,
}

impl Source {
    /// Just registered.
    fn new() -> Arc<Self> {
        let readiness = Readiness::new();
        readiness.watch(Direction::Read);
        let (arrived, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { readiness, awaited: Awaited::new(), waiter: Mutex::new(None), arrived, ended })
    }

    /// A thread that does something to it.
    fn beside(source: &Arc<Self>, f: impl FnOnce(&Self) + 'static) -> thread::JoinHandle<()> {
        let source = source.clone();
        thread::spawn(move || f(&source))
    }

    /// `Slot::deliver`, and the waking after it.
    fn deliver(&self, tail: bool) {
        let waiter = {
            let mut waiter = self.waiter.lock().unwrap();
            self.readiness.report(true, true, tail);
            if self.awaited.get() {
                self.awaited.set(false);
                waiter.take()
            } else {
                None
            }
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    fn read(&self, taken: usize) -> Read {
        match (self.arrived.load(Relaxed) - taken, self.ended.load(Relaxed)) {
            (0, 0) => Read::WouldBlock,
            (0, _) => Read::End,
            (bytes, _) => Read::Bytes(bytes),
        }
    }

    /// `Source::poll_transfer` into a buffer that is never filled: a short read means drained. Ready with
    /// true at the end.
    fn poll_read(&self, taken: &mut usize, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            let seen = self.readiness.load(Direction::Read);
            if seen.is_ready() {
                match self.read(*taken) {
                    Read::WouldBlock => self.readiness.clear(Direction::Read, seen),
                    Read::End => return Poll::Ready(true),
                    Read::Bytes(bytes) => {
                        *taken += bytes;
                        self.readiness.clear_after_short_transfer(Direction::Read, seen);
                        return Poll::Ready(false);
                    }
                }
            }
            let mut waiter = self.waiter.lock().unwrap();
            if !self.readiness.load(Direction::Read).is_ready() {
                self.awaited.set(true);
                *waiter = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
    }

    /// Reads so many bytes, waiting as often as needed.
    fn read_all(&self, bytes: usize) {
        let mut taken = 0;
        while taken < bytes {
            loom::future::block_on(poll_fn(|cx| self.poll_read(&mut taken, cx)));
        }
    }
}

#[test]
fn readiness_reported_during_an_operation_is_not_cleared() {
    explore_bounded(3, || {
        let source = Source::new();
        let peer = Source::beside(&source, |source| {
            for _ in 0..2 {
                source.arrived.fetch_add(1, Relaxed);
                source.deliver(false);
            }
        });
        source.read_all(2);
        peer.join().unwrap();
    });
}

/// The last bytes and the end come in two events, or in one; the short read in between must not hide the end.
#[test]
fn the_end_is_found_after_a_short_read() {
    explore_bounded(3, || {
        let source = Source::new();
        let peer = Source::beside(&source, |source| {
            source.arrived.fetch_add(1, Relaxed);
            source.ended.store(1, Relaxed);
            source.deliver(true);
        });
        let mut taken = 0;
        while !loom::future::block_on(poll_fn(|cx| source.poll_read(&mut taken, cx))) {}
        assert_eq!(taken, 1);
        peer.join().unwrap();
    });
}

/// A writer that meets WouldBlock, and a reader that drains, beside the events of both: neither takes back what was reported of the
/// other, nor what was reported to it meanwhile.
#[test]
fn the_directions_do_not_disturb_each_other() {
    explore_bounded(3, || {
        let source = Source::new();
        let peer = Source::beside(&source, |source| {
            source.arrived.fetch_add(1, Relaxed);
            source.deliver(false);
        });
        let writer = Source::beside(&source, |source| {
            let seen = source.readiness.load(Direction::Write);
            // The room comes with the event, which may be the one that the attempt missed.
            if source.arrived.load(Relaxed) == 0 {
                source.readiness.clear(Direction::Write, seen);
            }
        });
        source.read_all(1);
        peer.join().unwrap();
        writer.join().unwrap();
        assert!(source.readiness.load(Direction::Write).is_ready(), "the report of the room was lost");
    });
}

impl Source {
    /// `Ready`, polled once and dropped: `Slot::enrol`, then `Slot::leave`.
    fn wait_and_leave(&self, waker: &Waker) {
        {
            let mut waiter = self.waiter.lock().unwrap();
            if self.readiness.load(Direction::Read).is_ready() {
                return;
            }
            self.awaited.set(true);
            *waiter = Some(waker.clone());
        }
        if self.awaited.get() {
            let mut waiter = self.waiter.lock().unwrap();
            let _left = waiter.take();
            self.awaited.set(false);
        }
    }
}

/// One who leaves without the lock because nobody seems to wait leaves no waker behind.
#[test]
fn whoever_has_left_has_no_waker_there() {
    explore(|| {
        let source = Source::new();
        let peer = Source::beside(&source, |source| source.deliver(false));
        source.wait_and_leave(Waker::noop());
        assert!(source.waiter.lock().unwrap().is_none(), "the waker was left behind");
        peer.join().unwrap();
    });
}
