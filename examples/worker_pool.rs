//! A pool of workers that take their orders from one channel, and are told to stop by another.
//!
//! Watch for: a bounded channel slows the producer down to what the workers can do; closing the stop channel reaches all workers
//! at once, because a closed channel is ready for everybody, for ever.
//!
//! Run it: `cargo run --example worker_pool`

use aqueduct::channel::{Receiver, Sender};
use aqueduct::prelude::*;
use aqueduct::select;
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    aqueduct::run(|| {
        let (orders, queue) = channel::bounded(2);
        let (stop, stopped) = channel::bounded::<()>(0);

        let worker = |number| {
            let (queue, stopped) = (queue.clone(), stopped.clone());
            go!(work(number, &queue, &stopped))
        };
        let workers = [worker(1), worker(2), worker(3)];

        let placed = place_orders(&orders, Duration::from_millis(60));
        stop.close();
        let filled: u32 = workers.into_iter().map(JoinHandle::join).sum::<Result<_, _>>()?;
        println!("{placed} orders placed, {filled} filled, {} left over", queue.len());
        Ok(())
    })
}

/// Places as many orders as the pool takes in the given time.
fn place_orders(orders: &Sender<u32>, time: Duration) -> u32 {
    let closing = time::after(time);
    let mut placed = 0;
    loop {
        select! {
            orders <- placed => placed += 1,
            _ = <-closing => return placed,
        }
    }
}

/// Fills orders until it is told to stop; returns how many.
fn work(number: usize, queue: &Receiver<u32>, stopped: &Receiver<()>) -> u32 {
    let mut filled = 0;
    loop {
        select! {
            _ = <-stopped => return filled,
            order = <-queue => {
                let Ok(order) = order else { return filled };
                time::sleep(Duration::from_millis(5));
                println!("worker {number} has filled order {order}");
                filled += 1;
            }
        }
    }
}
