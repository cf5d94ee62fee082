//! Fan out: one list of jobs, several workers, one stream of results.
//!
//! Watch for: the results come in the order in which they are ready, not in that of the jobs; nobody counts them, because the
//! loop ends by itself when the last worker has dropped its sender.
//!
//! Run it: `cargo run --example fan_out`

use aqueduct::prelude::*;
use std::error::Error;
use std::time::{Duration, Instant};

const WORKERS: usize = 4;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    aqueduct::run(|| {
        let begun = Instant::now();
        let (jobs, queue) = channel::bounded(WORKERS);
        let (results, finished) = channel::unbounded();

        for worker in 0..WORKERS {
            let (queue, results) = (queue.clone(), results.clone());
            drop(go!(for job in queue {
                results.send((worker, job, length_of_collatz(job))).expect("somebody collects the results");
            }));
        }
        // The workers have their own handles: with this one the results would never end.
        drop(results);

        let producer = go!((1..=20).try_for_each(|job| jobs.send(job)));

        let mut longest = (0, 0);
        for (worker, job, length) in finished {
            println!(
                "{:>4} ms  worker {worker}: {job:>2} takes {length:>3} steps",
                begun.elapsed().as_millis()
            );
            longest = longest.max((length, job));
        }
        producer.join()??;
        println!("the longest way to 1 is that of {}: {} steps", longest.1, longest.0);
        Ok(())
    })
}

/// Pretends to be slow: its wait suspends the coroutine, and not the thread.
fn length_of_collatz(mut n: u64) -> u64 {
    time::sleep(Duration::from_millis(5 + n % 7));
    let mut steps = 0;
    while n != 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}
