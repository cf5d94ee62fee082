//! The inbox: everything arrives once, in its pusher's order, with what was written before.

use super::wake_if_sleeping;
use crate::model::{Poller, explore, explore_bounded};
use crate::runtime::idle::Sleeper;
use crate::runtime::inbox::{Inbox, Link, LinkKind};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use std::ptr::NonNull;

/// What a link is embedded in; the cell tells the checker when it is read before it was written.
#[repr(C)]
struct Node {
    link: Link,
    value: UnsafeCell<u32>,
}

impl Node {
    fn new(value: u32) -> NonNull<Self> {
        let node = Box::new(Self { link: Link::new(LinkKind::Task), value: UnsafeCell::new(0) });
        // SAFETY: nobody else knows the node.
        node.value.with_mut(|place| unsafe { *place = value });
        NonNull::from(Box::leak(node))
    }
}

fn push(inbox: &Inbox, value: u32) {
    // SAFETY: a new node, freed by the one who takes it.
    unsafe { inbox.push(Node::new(value).cast()) };
}

/// The value of a node that was taken; frees it.
fn open(link: NonNull<Link>) -> u32 {
    // SAFETY: pushed by `push`, and taken once.
    let node = unsafe { Box::from_raw(link.cast::<Node>().as_ptr()) };
    // SAFETY: the node is ours.
    node.value.with(|place| unsafe { *place })
}

#[test]
fn everything_arrives_once_in_its_pushers_order() {
    explore_bounded(2, || {
        let inbox = Arc::new(Inbox::new());
        // Orders nothing. Loom compares an access with the last one of the same variable only, which for a
        // push is its own load: without these it would not try the takes after pushes.
        let steps: Arc<[AtomicBool; 3]> = Arc::default();
        let pushers = [&[(0, 1), (1, 2)][..], &[(2, 11)][..]].map(|values| {
            let (inbox, steps) = (inbox.clone(), steps.clone());
            thread::spawn(move || {
                for (step, value) in values {
                    push(&inbox, *value);
                    steps[*step].store(true, Relaxed);
                }
            })
        });
        let mut taken = Vec::new();
        for _ in 0..2 {
            steps.iter().for_each(|step| {
                step.load(Relaxed);
            });
            taken.extend(inbox.take().map(open));
        }
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        taken.extend(inbox.take().map(open));
        let of_first: Vec<u32> = taken.iter().copied().filter(|value| *value < 10).collect();
        assert_eq!(of_first, [1, 2]);
        taken.sort();
        assert_eq!(taken, [1, 2, 11]);
    });
}

/// A link may be pushed again, by anybody, as soon as the iterator has handed it out.
#[test]
fn a_link_is_free_once_handed_out() {
    explore(|| {
        let inbox = Arc::new(Inbox::new());
        push(&inbox, 1);
        push(&inbox, 2);
        let other = inbox.clone();
        let pusher = thread::spawn(move || push(&other, 3));
        let mut rounds = 0;
        for link in inbox.take() {
            // SAFETY: it was just taken.
            unsafe { inbox.push(link) };
            rounds += 1;
        }
        pusher.join().unwrap();
        let mut rest: Vec<u32> = inbox.take().map(open).collect();
        rest.sort();
        assert!((2..=3).contains(&rounds));
        assert_eq!(rest, [1, 2, 3]);
    });
}

/// A rescuer has the inbox in its hands while the owner looks at it, finds nothing and falls asleep.
#[test]
fn what_a_rescuer_puts_back_wakes_the_owner() {
    explore_bounded(4, || {
        let shared = Arc::new((Inbox::new(), Sleeper::new(), Poller::new()));
        let rescuer = {
            let shared = shared.clone();
            thread::spawn(move || {
                let (inbox, sleeper, poller) = &*shared;
                if inbox.pick_out(|_| false) {
                    wake_if_sleeping(sleeper, poller);
                }
            })
        };
        let giver = {
            let shared = shared.clone();
            thread::spawn(move || {
                let (inbox, sleeper, poller) = &*shared;
                push(inbox, 7);
                wake_if_sleeping(sleeper, poller);
            })
        };
        let (inbox, sleeper, poller) = &*shared;
        let taken = loop {
            if let Some(link) = inbox.take().next() {
                break open(link);
            }
            sleeper.announce();
            if inbox.is_empty() {
                poller.wait();
            }
            sleeper.cancel();
        };
        assert_eq!(taken, 7);
        rescuer.join().unwrap();
        giver.join().unwrap();
    });
}
