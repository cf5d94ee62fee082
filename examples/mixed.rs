//! Async code that calls Go-style code that calls async code, on one scheduler.
//!
//! Watch for: `word_count` is a plain function in the middle, with no `async` in its signature, yet nothing blocks a worker: its
//! `.wait()` suspends the task that it is called in. The reader at the bottom is of another crate (`futures::io`), and does not
//! know any of this.
//!
//! Run it: `cargo run --example mixed`

use aqueduct::prelude::*;
use futures::future::try_join_all;
use futures::io::{AllowStdIo, AsyncBufReadExt, BufReader};
use futures::{StreamExt, TryStreamExt};
use std::io;
use std::time::Duration;

const TEXTS: [&str; 3] = ["one wait\nis enough", "for coroutines\nand futures\nalike", "one scheduler"];

fn main() -> io::Result<()> {
    aqueduct::block_on(top())
}

/// Async: starts a task for each text and awaits them all.
async fn top() -> io::Result<()> {
    let tasks = TEXTS.map(|text| spawn(async move { word_count(text) }));
    let counts = try_join_all(tasks).await.map_err(io::Error::other)?;
    for (text, count) in TEXTS.into_iter().zip(counts) {
        println!("{:>2} words in {text:?}", count?);
    }
    Ok(())
}

/// Go style: plain calls, a channel, a coroutine for each line, and a wait for a future in the middle.
fn word_count(text: &'static str) -> io::Result<usize> {
    let (tx, rx) = channel::unbounded();
    for line in lines(text).wait()? {
        let tx = tx.clone();
        drop(go!(tx.send(line.split_whitespace().count())));
    }
    drop(tx);
    time::sleep(Duration::from_millis(1));
    Ok(rx.iter().sum())
}

/// Async again, with what the ecosystem offers.
async fn lines(text: &'static str) -> io::Result<Vec<String>> {
    let lines = BufReader::new(AllowStdIo::new(text.as_bytes())).lines();
    lines.map(|line| line.map(|line| line.to_lowercase())).try_collect().await
}
