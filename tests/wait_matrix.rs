//! Waiting from everywhere for everything: every place in every other, and in each every kind of thing that can be waited for.

mod common;
mod matrix;

use common::{Latch, OnDrop, watchdog};
use matrix::{Env, PLACES, SEVEN, THINGS};
use std::cell::RefCell;
use std::thread;

/// The one exception: a coroutine that starts to wait on a worker where a neighbour is suspended in the middle of an unwind may
/// itself be unwinding for all one can tell, so it is cancelled only when that neighbour is done; here the neighbour waits for it.
fn in_vain(outer: &str, inner: &str) -> bool {
    let unwinding = ["a destructor while a panic unwinds", "a destructor while a cancellation unwinds"];
    unwinding.contains(&outer) && inner == "a destructor while a cancellation unwinds"
}

/// Every thing waited for, in one place in another.
fn walk(workers: usize) {
    let dog = watchdog!(50);
    let (home, other) = (common::runtime(workers), common::runtime(workers));
    dog.watch(&home);
    dog.watch(&other);
    let env = Env { home: *home.handle(), other: *other.handle() };
    for (outer, in_outer) in PLACES {
        for (inner, in_inner) in PLACES {
            if in_vain(outer, inner) {
                continue;
            }
            dog.doing(format_args!("in {outer}: in {inner}"));
            let all = move || THINGS.iter().map(|(_, wait_for)| wait_for(env)).sum();
            let sum = in_outer(env, Box::new(move || in_inner(env, Box::new(all))));
            assert_eq!(sum, SEVEN * THINGS.len() as u32, "in {outer}: in {inner}: some wait failed");
        }
    }
}

#[test]
fn everywhere_in_everywhere_with_one_worker() {
    walk(1);
}

#[test]
fn everywhere_in_everywhere_with_two_workers() {
    walk(2);
}

#[test]
fn each_thing_in_each_place_by_itself() {
    let dog = watchdog!(30);
    let (home, other) = (common::runtime(2), common::runtime(1));
    dog.watch(&home);
    dog.watch(&other);
    let env = Env { home: *home.handle(), other: *other.handle() };
    for (place, in_place) in PLACES {
        for &(thing, wait_for) in THINGS {
            dog.doing(format_args!("in {place}: {thing}"));
            assert_eq!(in_place(env, Box::new(move || wait_for(env))), SEVEN, "in {place}: {thing}");
        }
    }
}

#[test]
fn all_places_at_once() {
    let dog = watchdog!(30);
    let (home, other) = (common::runtime(2), common::runtime(2));
    dog.watch(&home);
    dog.watch(&other);
    let env = Env { home: *home.handle(), other: *other.handle() };
    let all = move || {
        let everywhere = PLACES.iter().map(move |(_, in_place)| {
            env.home.go(move || {
                in_place(env, Box::new(move || THINGS.iter().map(|(_, wait_for)| wait_for(env)).sum::<u32>()))
            })
        });
        everywhere.collect::<Vec<_>>().into_iter().map(|handle| handle.join().unwrap_or(0)).sum::<u32>()
    };
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(all)).collect();
    for thread in threads {
        let sum = thread.join().expect("no panic");
        assert_eq!(sum, SEVEN * (THINGS.len() * PLACES.len()) as u32);
    }
}

#[test]
fn a_workers_thread_local_destructor_waits() {
    type Last = OnDrop<Box<dyn FnOnce()>>;

    let _dog = watchdog!(20);
    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }
    let done = Latch::new();
    let runtime = common::runtime(1);
    let (other, open) = (common::runtime(1), done.clone());
    runtime.run(move || {
        LAST.set(Some(OnDrop::new(Box::new(move || {
            assert_eq!(other.go(|| SEVEN).join().unwrap(), SEVEN);
            open.open();
        }))));
    });
    drop(runtime);
    done.block_thread();
}
