//! The main thread waits, for everything, itself and in every place. Without the usual harness, which runs no test there.

mod common;
mod matrix;

use common::watchdog;
use matrix::{Env, PLACES, SEVEN, THINGS};

fn main() {
    let dog = watchdog!(30);
    assert_eq!(common::proc::thread_id(), u64::from(std::process::id()), "this is the main thread");
    let (home, other) = (common::runtime(1), common::runtime(1));
    dog.watch(&home);
    dog.watch(&other);
    let env = Env { home: *home.handle(), other: *other.handle() };
    for (thing, wait_for) in THINGS {
        dog.doing(thing);
        assert_eq!(wait_for(env), SEVEN, "{thing}");
    }
    for (place, in_place) in PLACES {
        dog.doing(place);
        let all = move || THINGS.iter().map(|(_, wait_for)| wait_for(env)).sum();
        assert_eq!(in_place(env, Box::new(all)), SEVEN * THINGS.len() as u32, "{place}");
    }
    println!("the main thread has waited for everything: ok");
}
