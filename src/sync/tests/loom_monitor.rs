//! The waiting protocol under every order of steps: grants exclude, are handed over, and survive whoever goes away.

use super::super::monitor::{Enrolment, Monitor};
use super::super::permits::{Permits, Wanted};
use super::super::signal::{Listener, Signal};
use crate::model::{explore, explore_bounded};
use crate::primitive::UnsafeCell;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A permit, and what it guards: loom finds two who touch it at once.
struct Guarded {
    permit: Monitor<Permits>,
    value: UnsafeCell<usize>,
}

// SAFETY: the value is touched by the holder of the permit; it is what the models check.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { permit: Monitor::of_permits(1), value: UnsafeCell::new(0) })
    }

    fn touch(&self) {
        // SAFETY: see `Sync`.
        self.value.with_mut(|value| unsafe { *value += 1 });
    }

    fn value(&self) -> usize {
        let mut seen = 0;
        // SAFETY: as `touch`.
        self.value.with_mut(|value| seen = unsafe { *value });
        seen
    }

    /// Waits as a future does.
    fn take_turn(&self) {
        let enrolment = pin!(Enrolment::revocable(&self.permit, Wanted::new(1)));
        block_on(poll_fn(|cx| enrolment.as_ref().poll_at_once(cx)));
        self.touch();
        self.permit.release(1);
    }

    /// Stands in line and goes away: before, during or after the grant.
    fn give_up(&self) {
        let enrolment = pin!(Enrolment::revocable(&self.permit, Wanted::new(1)));
        if enrolment.as_ref().poll_at_once(&mut Context::from_waker(Waker::noop())).is_ready() {
            self.touch();
            self.permit.release(1);
        }
    }

    /// Waits, and withdraws as a call does whose deadline has passed.
    fn time_out(&self) {
        let enrolment = pin!(Enrolment::new(&self.permit, Wanted::new(1), true));
        let enrolment = enrolment.as_ref();
        let granted = match enrolment.poll_at_once(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(_) => true,
            Poll::Pending => enrolment.withdraw().is_some(),
        };
        if granted {
            self.touch();
            self.permit.release(1);
        }
    }
}

/// Runs the parties at once; afterwards the permit is free.
fn contend(parties: &'static [fn(&Guarded)], least: usize) {
    let model = move || {
        let guarded = Guarded::new();
        let threads: Vec<_> = parties[1..]
            .iter()
            .map(|party| {
                let guarded = guarded.clone();
                thread::spawn(move || party(&guarded))
            })
            .collect();
        parties[0](&guarded);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(guarded.permit.free(), 1);
        assert!((least..=parties.len()).contains(&guarded.value()));
    };
    if parties.len() > 2 { explore_bounded(2, model) } else { explore(model) }
}

#[test]
fn two_take_turns() {
    contend(&[Guarded::take_turn, Guarded::take_turn], 2);
}

#[test]
fn three_take_turns() {
    contend(&[Guarded::take_turn, Guarded::take_turn, Guarded::take_turn], 3);
}

#[test]
fn a_dropped_future_passes_the_permit_on() {
    contend(&[Guarded::take_turn, Guarded::give_up, Guarded::take_turn], 2);
}

#[test]
fn a_withdrawal_and_a_grant_agree() {
    contend(&[Guarded::time_out, Guarded::take_turn], 1);
    contend(&[Guarded::time_out, Guarded::take_turn, Guarded::give_up], 1);
}

#[test]
fn a_large_request_that_goes_lets_a_small_one_in() {
    explore_bounded(2, || {
        let permits = Arc::new(Monitor::of_permits(1));
        let large = {
            let permits = permits.clone();
            thread::spawn(move || {
                let enrolment = pin!(Enrolment::revocable(&*permits, Wanted::new(2)));
                let poll = enrolment.as_ref().poll_at_once(&mut Context::from_waker(Waker::noop()));
                assert!(poll.is_pending());
            })
        };
        {
            let enrolment = pin!(Enrolment::revocable(&*permits, Wanted::new(1)));
            block_on(poll_fn(|cx| enrolment.as_ref().poll_at_once(cx)));
        }
        permits.release(1);
        large.join().unwrap();
        assert_eq!(permits.free(), 1);
    });
}

#[test]
fn closing_reaches_whoever_waits() {
    explore(|| {
        let permits = Arc::new(Monitor::of_permits(0));
        let waiting = {
            let permits = permits.clone();
            thread::spawn(move || {
                let enrolment = pin!(Enrolment::revocable(&*permits, Wanted::new(1)));
                block_on(poll_fn(|cx| enrolment.as_ref().poll_at_once(cx))).is_refused()
            })
        };
        permits.close();
        assert!(waiting.join().unwrap());
    });
}

/// One of two waiters goes away; the single notification reaches the other, or is kept for it.
#[test]
fn a_notification_is_passed_on() {
    explore_bounded(2, || {
        let signal = Arc::new(Monitor::new(Signal::new(true)));
        let quitter = {
            let signal = signal.clone();
            thread::spawn(move || {
                let enrolment = pin!(Enrolment::revocable(&*signal, Listener::NEW));
                enrolment.as_ref().poll_at_once(&mut Context::from_waker(Waker::noop())).is_ready()
            })
        };
        let notifier = {
            let signal = signal.clone();
            thread::spawn(move || signal.notify_one())
        };
        let had = quitter.join().unwrap();
        notifier.join().unwrap();
        assert_ne!(had, signal.try_now(Listener::NEW).is_some());
    });
}

/// All are notified one after the other, and what comes in between takes nothing back.
#[test]
fn all_are_notified() {
    explore_bounded(2, || {
        let signal = Arc::new(Monitor::new(Signal::new(false)));
        let [one, two] = [(); 2].map(|()| signal.look(Signal::listener));
        let waiting = {
            let signal = signal.clone();
            thread::spawn(move || {
                let enrolment = pin!(Enrolment::revocable(&*signal, one));
                block_on(poll_fn(|cx| enrolment.as_ref().poll_at_once(cx)));
            })
        };
        let quitter = {
            let signal = signal.clone();
            thread::spawn(move || {
                let enrolment = pin!(Enrolment::revocable(&*signal, two));
                let _poll = enrolment.as_ref().poll_at_once(&mut Context::from_waker(Waker::noop()));
            })
        };
        signal.notify_all();
        waiting.join().unwrap();
        quitter.join().unwrap();
    });
}
