//! A program on smol's executor, with the import changed: four threads drive one executor, whose tasks borrow from `main`; then
//! a local executor whose tasks share an `Rc`. Watch that nothing but the import says `aqueduct`.
//!
//! `cargo run --release --example executor`

// use smol::{Executor, LocalExecutor, Timer, block_on, channel}, without the suffixes of the channel's operations
use aqueduct::{
    block_on, channel,
    executor::{Executor, LocalExecutor},
    time::Timer,
};

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

fn main() {
    let texts = ["the quick brown fox", "jumps over", "the lazy dog"].map(String::from);
    let executor = Executor::new();
    let (stop, stopped) = channel::bounded::<()>(1);
    let words = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| block_on(executor.run(stopped.recv_async())));
        }
        block_on(async {
            let mut counts = Vec::new();
            executor.spawn_many(texts.iter().map(|text| count(text)), &mut counts);
            let mut words = 0;
            for count in counts {
                words += count.await;
            }
            drop(stop);
            words
        })
    });
    println!("{words} words");
    assert_eq!(words, 9);

    let log = Rc::new(RefCell::new(Vec::new()));
    let local = LocalExecutor::new();
    for (name, millis) in [("slow", 20), ("quick", 5)] {
        let log = log.clone();
        let note = async move {
            Timer::after(Duration::from_millis(millis)).await;
            log.borrow_mut().push(name);
        };
        local.spawn(note).detach();
    }
    while !local.is_empty() {
        block_on(local.tick());
    }
    println!("in this order: {}", log.borrow().join(", "));
    assert_eq!(*log.borrow(), ["quick", "slow"]);
}

async fn count(text: &str) -> usize {
    Timer::after(Duration::from_millis(1)).await;
    text.split_whitespace().count()
}
