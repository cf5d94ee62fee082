//! A bridge both ways: Go-style code feeds async combinators, and they feed Go-style code.
//!
//! Watch for: neither side knows the other: the producer calls `send`, the combinators see a `Stream` and a `Sink`, the consumer
//! iterates. Both channels are small, so a slow consumer slows the producer down through all of it (look at the gaps). The
//! answers come in the order in which they are ready.
//!
//! Run it: `cargo run --example stream_sink_bridge`

use aqueduct::prelude::*;
use futures::StreamExt;
use std::error::Error;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    aqueduct::run(|| {
        let begun = Instant::now();
        let (questions, asked) = channel::bounded(1);
        let (answers, answered) = channel::bounded(1);

        // Go style: it waits where there is no room.
        let producer = go! {
            for n in 1..=12_u32 {
                questions.send(n)?;
                println!("{:>4} ms  asked    {n}", begun.elapsed().as_millis());
            }
            Ok::<_, channel::SendError<u32>>(())
        };

        // Async: up to three questions at a time.
        let middle = asked.into_stream().map(square).buffer_unordered(3).map(Ok).forward(answers.into_sink());
        let bridge = spawn(middle);

        // Go style again: it ends when the bridge has closed its sink.
        let mut sum = 0;
        for (n, answer) in answered {
            println!("{:>4} ms  answered {n}: {answer}", begun.elapsed().as_millis());
            time::sleep(Duration::from_millis(3));
            sum += answer;
        }
        producer.join()??;
        bridge.join()??;
        println!("the sum of the squares is {sum}");
        Ok(())
    })
}

/// Some questions take longer than others.
async fn square(n: u32) -> (u32, u32) {
    time::Timer::after(Duration::from_millis(u64::from(n * 7 % 5))).await;
    (n, n * n)
}
