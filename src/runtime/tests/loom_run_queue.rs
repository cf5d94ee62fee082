//! The run queue: every item leaves once, with what was written before it was pushed.
//!
//! Each model's bound keeps it under half a minute; without one, `owner_pushes_and_pops_against_a_thief` takes minutes.

use crate::model::{explore, explore_bounded};
use crate::runtime::run_queue::{CALM, CAPACITY, RunQueue};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use std::ptr::NonNull;

type Item = UnsafeCell<u32>;

fn item(value: u32) -> NonNull<()> {
    let item = Box::new(Item::new(0));
    // SAFETY: nobody else knows the item.
    item.with_mut(|place| unsafe { *place = value });
    NonNull::from(Box::leak(item)).cast()
}

/// The value of an item that has left the queue; frees it.
fn open(item: NonNull<()>) -> u32 {
    // SAFETY: made by `item`; a second opening of the same would be what these models are to find.
    let item = unsafe { Box::from_raw(item.cast::<Item>().as_ptr()) };
    // SAFETY: the item is ours.
    item.with(|place| unsafe { *place })
}

fn drain(queue: &RunQueue) -> Vec<u32> {
    std::iter::from_fn(|| queue.pop()).map(open).collect()
}

/// A queue that has turned over `turns` times.
fn turned(turns: usize) -> Arc<RunQueue> {
    let queue = RunQueue::new();
    for _ in 0..turns {
        queue.push(item(0)).expect("it is empty");
        open(queue.pop().expect("it was just pushed"));
    }
    Arc::new(queue)
}

/// A queue whose owner pops with a store.
fn claimed() -> Arc<RunQueue> {
    turned(CALM as usize)
}

fn push(queue: &RunQueue, values: impl IntoIterator<Item = u32>) {
    values.into_iter().for_each(|value| queue.push(item(value)).expect("there is room"));
}

/// Steals once into a queue of its own, and gives what came.
fn thief(victim: &Arc<RunQueue>) -> JoinHandle<Vec<u32>> {
    let victim = victim.clone();
    thread::spawn(move || steal_once(&victim))
}

fn steal_once(victim: &RunQueue) -> Vec<u32> {
    let own = RunQueue::new();
    let moved = victim.steal_into(&own);
    let items = drain(&own);
    assert_eq!(items.len(), moved);
    assert!(items.is_sorted(), "stolen out of order: {items:?}");
    items
}

fn assert_once(mut all: Vec<u32>, expected: impl IntoIterator<Item = u32>) {
    all.sort();
    assert!(all.iter().copied().eq(expected), "{all:?}");
}

#[test]
fn owner_pushes_and_pops_against_a_thief() {
    explore_bounded(5, || {
        let queue = turned(0);
        let thief = thief(&queue);
        push(&queue, [1, 2]);
        let mut all = Vec::from_iter(queue.pop().map(open));
        push(&queue, [3]);
        all.extend(drain(&queue));
        all.extend(thief.join().unwrap());
        assert_once(all, 1..=3);
    });
}

#[test]
fn two_thieves_take_different_items() {
    explore_bounded(4, || {
        let queue = turned(0);
        push(&queue, [1, 2, 3]);
        let thieves = [thief(&queue), thief(&queue)];
        let mut all = Vec::from_iter(queue.pop().map(open));
        for thief in thieves {
            all.extend(thief.join().unwrap());
        }
        all.extend(drain(&queue));
        assert_once(all, 1..=3);
    });
}

/// The window lies across the end of the slots, and is moved on while the thief copies.
#[test]
fn slots_are_reused_against_a_thief() {
    explore_bounded(3, || {
        let queue = turned(CAPACITY - 1);
        push(&queue, 1..=3);
        let thief = thief(&queue);
        let mut all: Vec<u32> = (0..2).filter_map(|_| queue.pop()).map(open).collect();
        push(&queue, [4, 5, 6]);
        all.extend(drain(&queue));
        all.extend(thief.join().unwrap());
        assert_once(all, 1..=6);
    });
}

/// A push onto the full queue is refused, or finds the room that the thief has made.
#[test]
fn full_queue_gives_the_item_back() {
    explore_bounded(4, || {
        let queue = turned(CAPACITY + 1);
        push(&queue, 1..=CAPACITY as u32);
        let thief = thief(&queue);
        let last = CAPACITY as u32 + 1;
        let mut all: Vec<u32> = queue.push(item(last)).err().map(open).into_iter().collect();
        all.extend(drain(&queue));
        all.extend(thief.join().unwrap());
        assert_once(all, 1..=last);
    });
}

/// What was stolen may be stolen on, from the thief.
#[test]
fn stolen_items_can_be_stolen_on() {
    explore_bounded(3, || {
        let (first, second) = (turned(0), turned(0));
        push(&first, [1, 2, 3]);
        let next = thief(&second);
        let middle = {
            let (first, second) = (first.clone(), second.clone());
            thread::spawn(move || {
                first.steal_into(&second);
                drain(&second)
            })
        };
        let mut all = drain(&first);
        all.extend(middle.join().unwrap());
        all.extend(next.join().unwrap());
        assert_once(all, 1..=3);
    });
}

/// A thief with items of its own takes what it has room for, behind them, while another takes from it.
#[test]
fn a_thief_with_items_takes_what_it_has_room_for() {
    explore_bounded(4, || {
        let (victim, own) = (turned(0), turned(1));
        push(&victim, 10..=13);
        push(&own, 1..CAPACITY as u32);
        let next = thief(&own);
        let moved = victim.steal_into(&own);
        assert!((1..=2).contains(&moved), "{moved} moved");
        assert!(own.len() <= CAPACITY);
        let mut all = drain(&own);
        assert!(all.is_sorted(), "out of order: {all:?}");
        all.extend(drain(&victim));
        all.extend(next.join().unwrap());
        assert_once(all, (1..CAPACITY as u32).chain(10..=13));
    });
}

/// The heavy fence is taken away: what the owner takes meanwhile nobody else gets, and once it knows, others steal without one.
#[test]
fn without_a_fence_nothing_is_stolen_until_the_owner_knows() {
    explore(|| {
        let queue = claimed();
        push(&queue, [1, 2, 3]);
        let thief = {
            let queue = queue.clone();
            thread::spawn(move || {
                let own = RunQueue::new();
                let mut fenced = false;
                let moved = queue.steal_behind(
                    || {
                        fenced = true;
                        false
                    },
                    &own,
                );
                assert!(!fenced || moved == 0, "stolen without a fence");
                let refused = fenced;
                // Again, whether or not the owner has found out.
                queue.steal_behind(|| false, &own);
                (refused, drain(&own))
            })
        };
        let mut all: Vec<u32> = (0..2).filter_map(|_| queue.pop()).map(open).collect();
        let (refused, stolen) = thief.join().unwrap();
        all.extend(stolen);
        if refused {
            push(&queue, [4, 5]);
            all.extend(queue.pop().map(open));
            let own = RunQueue::new();
            assert_eq!(queue.steal_behind(|| unreachable!("the owner knows"), &own), 1);
            all.extend(drain(&own));
        }
        all.extend(drain(&queue));
        assert_once(all, 1..=if refused { 5 } else { 3 });
    });
}

/// Two thieves at once, each of which may find the queue claimed, while the owner loses and claims it again.
#[test]
fn two_thieves_and_a_claim() {
    explore_bounded(2, || {
        let queue = claimed();
        push(&queue, [1, 2, 3, 4]);
        let thieves = [thief(&queue), thief(&queue)];
        let mut all: Vec<u32> = (0..CALM + 1).filter_map(|_| queue.pop()).map(open).collect();
        for thief in thieves {
            all.extend(thief.join().unwrap());
        }
        all.extend(drain(&queue));
        assert_once(all, 1..=4);
    });
}

/// A pop that was begun with a store, before the thief came, and others that come while it is there.
#[test]
fn pops_with_and_without_a_store_against_two_thefts() {
    explore_bounded(3, || {
        let queue = claimed();
        push(&queue, [1, 2, 3, 4]);
        let thieves = {
            let queue = queue.clone();
            thread::spawn(move || [steal_once(&queue), steal_once(&queue)].concat())
        };
        let mut all: Vec<u32> = (0..3).filter_map(|_| queue.pop()).map(open).collect();
        all.extend(thieves.join().unwrap());
        all.extend(drain(&queue));
        assert_once(all, 1..=4);
    });
}
