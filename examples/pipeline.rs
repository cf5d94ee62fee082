//! A pipeline: each stage is a coroutine that reads one channel and writes the next.
//!
//! Watch for: the stages work at the same time, and the slowest sets the pace of all, because the channels between them are
//! small; when the reader at the end has enough and goes, the stages end one after the other, back to the source.
//!
//! Run it: `cargo run --example pipeline`

use aqueduct::channel::Receiver;
use aqueduct::prelude::*;
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    aqueduct::run(|| {
        let (numbers, source) = stage("source", 1_u64..);
        let (squares, square) = stage("square", numbers.into_iter().map(|n| n * n));
        let (odd, filter) = stage("filter", squares.into_iter().filter(|n| n % 2 == 1));
        let (slow, brake) =
            stage("brake", odd.into_iter().inspect(|_| time::sleep(Duration::from_millis(2))));

        let sum: u64 = slow.iter().take(10).sum();
        println!("the sum of the first ten odd squares is {sum}");

        drop(slow);
        for stage in [brake, filter, square, source] {
            let (name, sent) = stage.join()?;
            println!("{name} has sent {sent}");
        }
        Ok(())
    })
}

/// A stage: sends what the iterator gives until it ends, or until nobody reads any more.
fn stage<T: Send + 'static>(
    name: &'static str,
    items: impl Iterator<Item = T> + Send + 'static,
) -> (Receiver<T>, JoinHandle<(&'static str, usize)>) {
    let (tx, rx) = channel::bounded(1);
    let stage = go! {
        let mut sent = 0;
        for item in items {
            if tx.send(item).is_err() {
                break;
            }
            sent += 1;
        }
        (name, sent)
    };
    (rx, stage)
}
