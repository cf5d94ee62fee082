//! Conservation under a storm: parties of all three kinds do random things to two channels, a fifth of which is cancelled at a
//! random point. Every message must have exactly one fate.
//!
//! `AQUEDUCT_TEST_SEED` repeats a storm's choices, `AQUEDUCT_STORM_OPERATIONS` sets its length.

mod common;
mod storm;

use common::{Rng, watchdog};
use storm::round::Round;

/// What a run of all tests can afford.
const OPERATIONS: u64 = 60_000;

fn operations() -> u64 {
    match std::env::var("AQUEDUCT_STORM_OPERATIONS") {
        Ok(text) => text.replace('_', "").parse().expect("AQUEDUCT_STORM_OPERATIONS is a number"),
        Err(_) => OPERATIONS,
    }
}

#[test]
fn every_message_has_exactly_one_fate() {
    let mut rng = Rng::new("channel_storm");
    let runtime = common::runtime(2);
    let (goal, mut done, mut rounds) = (operations(), 0, 0);
    let mut fates = storm::ledger::Totals::default();
    while done < goal {
        let round = Round::new(rng.next());
        let dog = watchdog!(60);
        dog.doing(&round);
        dog.watch(runtime.handle());
        let (operations, totals) = round.run(runtime.handle());
        done += operations;
        fates += totals;
        rounds += 1;
    }
    println!("{done} operations in {rounds} rounds: {fates:?}");
}
