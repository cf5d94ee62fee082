//! Generators: an iterator written as code that yields, recursion and all.
//!
//! Watch for: `moves` is plain recursion, and suspends from any depth; no list of moves is ever made. The same kind of generator
//! is a `Stream` for async code. One that is dropped half-way unwinds: its destructors run.
//!
//! Run it: `cargo run --example generator -- 3`

use aqueduct::generator::{Generator, Suspender};
use futures::StreamExt;
use std::error::Error;

/// From one peg to another.
type Move = (char, char);

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let discs: u32 = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;

    for (number, (from, to)) in hanoi(discs).enumerate() {
        println!("move {:>2}: {from} to {to}", number + 1);
    }

    let from_a = hanoi(10).filter(|(from, _)| *from == 'A').count();
    println!("of the {} moves of 10 discs {from_a} are from A", hanoi(10).count());

    // 64 discs would take longer than the monks have; the first moves do not.
    let first: String =
        aqueduct::block_on(hanoi(64).stream().take(8).map(|(from, to)| format!(" {from}{to}")).collect());
    println!("64 discs begin with{first}");

    let mut noisy = Generator::new(|items| {
        let _guard = Goodbye;
        (0..1_000).for_each(|n| items.suspend(n));
    });
    println!("taken: {:?}", (noisy.next(), noisy.next()));
    drop(noisy);
    Ok(())
}

/// The moves of the towers of Hanoi.
fn hanoi(discs: u32) -> Generator<Move> {
    Generator::new(move |items| moves(discs, ['A', 'B', 'C'], items))
}

fn moves(discs: u32, [from, by, to]: [char; 3], items: &Suspender<'_, (), Move>) {
    if discs > 0 {
        moves(discs - 1, [from, to, by], items);
        items.suspend((from, to));
        moves(discs - 1, [by, from, to], items);
    }
}

struct Goodbye;

impl Drop for Goodbye {
    fn drop(&mut self) {
        println!("the generator is unwound");
    }
}
