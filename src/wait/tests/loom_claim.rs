//! The claim: the peers of a select against each other, and against the select.

use crate::model::explore;
use crate::primitive::{Mutex, UnsafeCell, lock};
use crate::wait::queue::{Claim, Completion, WaitQueue, Waiter, WaiterState};
use loom::sync::Arc;
use loom::thread;
use std::task::Waker;

#[test]
fn one_of_two_peers_wins() {
    explore(|| {
        let claim = Arc::new(Claim::new());
        let peer = {
            let claim = claim.clone();
            thread::spawn(move || claim.win(1))
        };
        let won = claim.win(0);
        assert_ne!(won, peer.join().unwrap());
        assert_eq!(claim.winner(), Some(usize::from(!won)));
    });
}

#[test]
fn a_withdrawal_and_a_peer_exclude_each_other() {
    explore(|| {
        let claim = Arc::new(Claim::new());
        let peer = {
            let claim = claim.clone();
            thread::spawn(move || claim.win(3))
        };
        let withdrawn = claim.withdraw();
        match peer.join().unwrap() {
            true => assert_eq!((withdrawn, claim.winner()), (Err(3), Some(3))),
            false => assert_eq!((withdrawn, claim.winner()), (Ok(()), None)),
        }
    });
}

/// Whether the select finds the case by looking or by failing to withdraw, it sees what its peer did before.
#[test]
fn the_select_sees_what_the_winner_did_before() {
    for withdraws in [false, true] {
        explore(move || {
            let shared = Arc::new((Claim::new(), UnsafeCell::new(0)));
            let peer = {
                let shared = shared.clone();
                thread::spawn(move || {
                    // SAFETY: the select reads after the claim was won.
                    shared.1.with_mut(|data| unsafe { *data = 7 });
                    assert!(shared.0.win(0) || withdraws);
                })
            };
            let won = if withdraws { shared.0.withdraw().is_err() } else { shared.0.winner().is_some() };
            if won {
                // SAFETY: the peer wrote before it won.
                assert_eq!(shared.1.with_mut(|data| unsafe { *data }), 7);
            }
            peer.join().unwrap();
        });
    }
}

/// Withdrawn, nobody wins; open again, one peer does.
#[test]
fn a_round_that_was_withdrawn_has_no_winner() {
    explore(|| {
        let claim = Arc::new(Claim::new());
        let peer = {
            let claim = claim.clone();
            thread::spawn(move || [0, 1].map(|case| claim.win(case)))
        };
        let first = claim.withdraw();
        if first.is_ok() {
            claim.reopen();
        }
        let wins = peer.join().unwrap();
        assert!(wins.into_iter().filter(|won| *won).count() <= 1);
        assert_eq!(claim.winner(), wins.into_iter().position(|won| won));
    });
}

type Queue = Mutex<WaitQueue<Option<u8>>>;

/// A select that waits in two queues.
struct Select {
    claim: Claim,
    queues: [Queue; 2],
    waiters: [Waiter<Option<u8>>; 2],
}

impl Select {
    fn enrolled() -> Arc<Self> {
        let select = Arc::new(Self {
            claim: Claim::new(),
            queues: [(); 2].map(|()| Mutex::new(WaitQueue::new())),
            waiters: [(); 2].map(|()| Waiter::new(None, true)),
        });
        (0..2).for_each(|case| select.enrol(case));
        select
    }

    fn enrol(&self, case: usize) {
        let waiter = &self.waiters[case];
        let mut queue = lock(&self.queues[case]);
        waiter.set_claim(&self.claim, case);
        drop(waiter.set_waker(Waker::noop().clone()));
        // SAFETY: it is in no queue, and lives as long as both queues.
        unsafe { queue.push_back(waiter) };
    }

    /// Returns the message unless it was handed over.
    fn offer(&self, case: usize, message: u8) -> Option<u8> {
        let mut message = Some(message);
        let completion = lock(&self.queues[case]).complete_front(|slot| *slot = message.take());
        assert_eq!(matches!(completion, Completion::Done(_)), message.is_none());
        message
    }

    /// Withdraws, as the engine does: the case that has happened, and its message.
    fn end(&self) -> Option<(usize, u8)> {
        let happened = self.claim.withdraw().err();
        for case in [0, 1] {
            lock(&self.queues[case]).remove(&self.waiters[case]);
        }
        happened.map(|case| {
            assert_eq!(self.waiters[case].state(), WaiterState::Done);
            // SAFETY: the waiter is done.
            (case, unsafe { self.waiters[case].with_slot(Option::take) }.unwrap())
        })
    }
}

#[test]
fn peers_under_different_locks_complete_one_case() {
    explore(|| {
        let select = Select::enrolled();
        let peer = {
            let select = select.clone();
            thread::spawn(move || select.offer(0, 10))
        };
        let kept = [select.offer(1, 11), peer.join().unwrap()];
        let (case, message) = select.end().unwrap();
        assert_eq!(usize::from(message), 10 + case);
        assert_eq!(kept.into_iter().flatten().collect::<Vec<_>>(), [21 - message]);
    });
}

#[test]
fn a_select_that_ends_meets_its_peers_or_leaves_them_everything() {
    explore(|| {
        let select = Select::enrolled();
        let peers = [0, 1].map(|case| {
            let select = select.clone();
            thread::spawn(move || select.offer(case, case as u8))
        });
        let happened = select.end();
        let kept = peers.map(|peer| peer.join().unwrap());
        for (case, kept) in kept.into_iter().enumerate() {
            assert_eq!(kept.is_none(), happened == Some((case, case as u8)));
        }
        assert!(select.queues.iter().all(|queue| lock(queue).is_empty()));
    });
}

/// A peer that met the withdrawn claim has unlinked the waiter; the next round enrols it again, and it can be completed.
#[test]
fn a_waiter_that_lost_is_enrolled_again() {
    explore(|| {
        let select = Select::enrolled();
        let peer = {
            let select = select.clone();
            thread::spawn(move || select.offer(0, 5))
        };
        let first = select.claim.withdraw();
        if first.is_ok() {
            let mut queue = lock(&select.queues[0]);
            if select.waiters[0].state() == WaiterState::Out {
                // SAFETY: it is in no queue, and lives as long as both queues.
                unsafe { queue.push_back(&select.waiters[0]) };
            }
            select.claim.reopen();
        }
        let happened = match peer.join().unwrap() {
            None => Some((0, 5)),
            Some(_) => {
                assert_eq!((first, select.offer(0, 6)), (Ok(()), None));
                Some((0, 6))
            }
        };
        assert_eq!(select.end(), happened);
    });
}
