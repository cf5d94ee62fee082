//! Waiting for several things at once, with a limit for each step and one for the whole.
//!
//! Watch for: `time::after` in the select is a new limit each round, while `deadline` is one timer for all rounds; a server that
//! answers too late loses its race and nothing else: its answer goes nowhere, and its coroutine ends.
//!
//! Run it: `cargo run --example select_timeout`

use aqueduct::channel::Sender;
use aqueduct::prelude::*;
use aqueduct::select;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(20);
const WHOLE: Duration = Duration::from_millis(100);

fn main() {
    aqueduct::run(|| {
        let begun = Instant::now();
        let deadline = time::after(WHOLE);
        let progress = time::tick(Duration::from_millis(15));
        let mut question = 0;
        loop {
            question += 1;
            let (answer, answered) = channel::bounded(0);
            drop(go!(serve(question, &answer)));
            let limit = time::after(STEP);
            let outcome = loop {
                select! {
                    text = <-answered => match text {
                        Ok(text) => break text,
                        Err(_) => break "the server gave up".to_string(),
                    },
                    _ = <-limit => break "no answer in time".to_string(),
                    _ = <-progress => println!("          ... {} ms", begun.elapsed().as_millis()),
                    _ = <-deadline => {
                        println!("the whole has taken its {} ms", WHOLE.as_millis());
                        return;
                    }
                }
            };
            println!("question {question}: {outcome}");
        }
    });
}

/// Each answer takes longer than the one before.
fn serve(question: u32, answer: &Sender<String>) {
    time::sleep(Duration::from_millis(6) * question);
    let _ = answer.send(format!("answered after {} ms", 6 * question));
}
