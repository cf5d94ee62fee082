//! The waiting protocol under every order of steps: grants exclude, are handed over, and survive whoever goes away.

use super::super::exclusive::{Asked, Exclusive};
use super::super::monitor::{Enrolment, Monitor, Rule};
use super::super::permits::{Permits, Wanted};
use super::super::signal::{Listener, Signal};
use crate::model::{explore, explore_bounded};
use crate::primitive::UnsafeCell;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A lock, and what it guards: loom finds two who touch it at once.
struct Guarded<L> {
    lock: L,
    value: UnsafeCell<usize>,
}

// SAFETY: the value is touched by the holder of the lock; it is what the models check.
unsafe impl<L: Sync> Sync for Guarded<L> {}

/// What a mutex may be made of.
trait Lockable: Sync + Send + Sized + 'static {
    type Rule: Rule;
    const ASK: <Self::Rule as Rule>::Request;

    fn monitor(&self) -> &Monitor<Self::Rule>;
    fn unlock(&self);
    fn is_free(&self) -> bool;
}

impl Lockable for Monitor<Permits> {
    type Rule = Permits;
    const ASK: Wanted = Wanted::new(1);

    fn monitor(&self) -> &Self {
        self
    }

    fn unlock(&self) {
        self.release(1);
    }

    fn is_free(&self) -> bool {
        self.free() == 1
    }
}

impl Lockable for Monitor<Exclusive> {
    type Rule = Exclusive;
    const ASK: Asked = Asked::NEW;

    fn monitor(&self) -> &Self {
        self
    }

    fn unlock(&self) {
        Self::unlock(self);
    }

    fn is_free(&self) -> bool {
        !self.is_locked()
    }
}

impl<L: Lockable> Guarded<L> {
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
        let enrolment = pin!(Enrolment::revocable(self.lock.monitor(), L::ASK));
        block_on(poll_fn(|cx| enrolment.as_ref().poll_at_once(cx)));
        self.touch();
        self.lock.unlock();
    }

    fn two_turns(&self) {
        self.take_turn();
        self.take_turn();
    }

    /// Takes it if it is free.
    fn try_turn(&self) {
        if self.lock.monitor().try_now(L::ASK).is_some() {
            self.touch();
            self.lock.unlock();
        }
    }

    /// Stands in line and goes away: before, during or after the grant.
    fn give_up(&self) {
        let enrolment = pin!(Enrolment::revocable(self.lock.monitor(), L::ASK));
        if enrolment.as_ref().poll_at_once(&mut Context::from_waker(Waker::noop())).is_ready() {
            self.touch();
            self.lock.unlock();
        }
    }

    /// Waits, and withdraws as a call does whose deadline has passed.
    fn time_out(&self) {
        let enrolment = pin!(Enrolment::new(self.lock.monitor(), L::ASK, true));
        let enrolment = enrolment.as_ref();
        let granted = match enrolment.poll_at_once(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(_) => true,
            Poll::Pending => enrolment.withdraw().is_some(),
        };
        if granted {
            self.touch();
            self.lock.unlock();
        }
    }
}

type Party<L> = fn(&Guarded<L>);

/// Runs the parties at once; afterwards the lock is free.
fn contend_for<L: Lockable>(new: fn() -> L, parties: &'static [Party<L>], turns: RangeInclusive<usize>) {
    let allowed = turns.clone();
    let model = move || {
        let guarded = Arc::new(Guarded { lock: new(), value: UnsafeCell::new(0) });
        let threads: Vec<_> = parties[1..]
            .iter()
            .map(|party| {
                let guarded = guarded.clone();
                thread::spawn(move || party(&guarded))
            })
            .collect();
        parties[0](&guarded);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(guarded.lock.is_free());
        assert!(allowed.contains(&guarded.value()));
    };
    if *turns.end() > 2 { explore_bounded(2, model) } else { explore(model) }
}

fn permit() -> Monitor<Permits> {
    Monitor::of_permits(1)
}

/// Nobody ever calls for order.
fn patient() -> Monitor<Exclusive> {
    Monitor::with_patience(Duration::MAX)
}

/// Whoever has been called in vain does.
fn impatient() -> Monitor<Exclusive> {
    Monitor::with_patience(Duration::ZERO)
}

/// The same parties contend for a permit, and for a mutex with and without patience.
macro_rules! contend {
    ($turns:expr, $($party:ident),+) => {
        contend_for(permit, &[$(Guarded::$party),+], $turns);
        contend_for(patient, &[$(Guarded::$party),+], $turns);
        contend_for(impatient, &[$(Guarded::$party),+], $turns);
    };
}

#[test]
fn two_take_turns() {
    contend!(2..=2, take_turn, take_turn);
}

#[test]
fn three_take_turns() {
    contend!(3..=3, take_turn, take_turn, take_turn);
}

#[test]
fn one_comes_again_while_another_waits() {
    contend!(3..=3, two_turns, take_turn);
}

#[test]
fn one_who_tries_leaves_nobody_waiting() {
    contend!(2..=3, take_turn, try_turn, take_turn);
}

/// Who unlocks sees to the line afterwards: by then somebody may have barged in, whose lock that is.
#[test]
fn who_sees_to_the_line_takes_the_lock_from_nobody() {
    for new in [patient, impatient] {
        explore(move || {
            let guarded = Arc::new(Guarded { lock: new(), value: UnsafeCell::new(0) });
            assert!(guarded.lock.try_now(Asked::NEW).is_some());
            let next = pin!(Enrolment::revocable(&guarded.lock, Asked::NEW));
            let pending = next.as_ref().poll_at_once(&mut Context::from_waker(Waker::noop())).is_pending();
            assert!(pending);
            let other = {
                let guarded = guarded.clone();
                thread::spawn(move || guarded.try_turn())
            };
            guarded.touch();
            guarded.lock.unlock();
            block_on(poll_fn(|cx| next.as_ref().poll_at_once(cx)));
            guarded.touch();
            guarded.lock.unlock();
            other.join().unwrap();
            assert!(guarded.lock.is_free());
        });
    }
}

#[test]
fn a_dropped_future_passes_the_lock_on() {
    contend!(2..=3, take_turn, give_up, take_turn);
}

#[test]
fn a_withdrawal_and_a_grant_agree() {
    contend!(1..=2, time_out, take_turn);
    contend!(1..=3, time_out, take_turn, give_up);
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
