//! Requests that carry the channel for their answer: one owner of the data, and no locks.
//!
//! Watch for: the accounts belong to one coroutine, so nothing needs a mutex; the clients are a coroutine, a future and a plain
//! thread, and the owner cannot tell them apart; it ends when the last client has gone.
//!
//! Run it: `cargo run --example request_response`

use aqueduct::channel::{Receiver, Sender};
use aqueduct::prelude::*;
use std::collections::BTreeMap;
use std::error::Error;

enum Request {
    Deposit { account: &'static str, amount: u64 },
    Balance { account: &'static str, answer: Sender<u64> },
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    aqueduct::run(|| {
        let (bank, requests) = channel::bounded(0);
        let owner = go!(keep_accounts(&requests));

        let (for_future, for_thread) = (bank.clone(), bank.clone());
        let future = spawn(async move {
            for_future.send_async(Request::Deposit { account: "ada", amount: 40 }).await.map_err(|_| "closed")
        });
        let thread = std::thread::spawn(move || {
            for_thread.send(Request::Deposit { account: "ada", amount: 2 }).map_err(|_| "closed")
        });
        future.join()??;
        thread.join().expect("the thread does not panic")?;

        for account in ["ada", "bob"] {
            let (answer, answered) = channel::bounded(0);
            bank.send(Request::Balance { account, answer })?;
            println!("{account} has {}", answered.recv()?);
        }

        drop(bank);
        println!("the owner closes the books on {} accounts", owner.join()?);
        Ok(())
    })
}

/// Owns the accounts; returns how many there are in the end.
fn keep_accounts(requests: &Receiver<Request>) -> usize {
    let mut accounts = BTreeMap::<_, u64>::new();
    for request in requests {
        match request {
            Request::Deposit { account, amount } => *accounts.entry(account).or_default() += amount,
            Request::Balance { account, answer } => {
                // Who has asked may have gone.
                let _ = answer.send(accounts.get(account).copied().unwrap_or_default());
            }
        }
    }
    accounts.len()
}
