//! Hoare's prime sieve, as every Go programmer has seen it: a chain of filters, one coroutine and one channel for each prime.
//!
//! Watch for: 500 primes are 500 coroutines, each of which believes to run a plain loop; nobody tells them to end: when the
//! last channel is dropped, the chain comes down by itself, send by send.
//!
//! Run it: `cargo run --release --example prime_sieve -- 500`

use aqueduct::channel::{Receiver, Sender};
use aqueduct::prelude::*;
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(100), |text| text.parse())?;
    aqueduct::run(|| {
        let begun = Instant::now();
        let (tx, mut numbers) = channel::bounded(0);
        drop(go!(generate(&tx)));
        let mut prime = 0;
        for _ in 0..count {
            prime = numbers.recv()?;
            let (tx, filtered) = channel::bounded(0);
            let unfiltered = std::mem::replace(&mut numbers, filtered);
            drop(go!(filter(&unfiltered, &tx, prime)));
            print!("{prime} ");
        }
        println!("\nprime {count} is {prime}, found in {:?}", begun.elapsed());
        Ok(())
    })
}

/// Sends 2, 3, 4 and so on, for as long as somebody listens.
fn generate(numbers: &Sender<u64>) {
    for n in 2.. {
        if numbers.send(n).is_err() {
            return;
        }
    }
}

/// Lets through what `prime` does not divide.
fn filter(numbers: &Receiver<u64>, rest: &Sender<u64>, prime: u64) {
    for n in numbers {
        if n % prime != 0 && rest.send(n).is_err() {
            return;
        }
    }
}
