//! PostgreSQL through `tokio-postgres`, in both colours: transactions in Go style, rows as a channel.
//!
//! Watch for: the client's connection is a task like any other, in tokio's context; the client's calls are messages to it, and are
//! waited for or awaited as you like. Rows come through a bounded channel, so a slow reader slows the server down.
//!
//! Needs a server (Debian: `apt-get install postgresql`).
//! Run it: `cargo run -p aqueduct-compat --example postgres -- postgres://postgres@127.0.0.1:5432/postgres`
//! With `--self-test` it starts a server of its own, ends it, and exits.

#[path = "../tests/support/servers.rs"]
mod servers;

use aqueduct::channel::Receiver;
use aqueduct::prelude::*;
use aqueduct_compat::tokio::InTokioExt;
use futures::{SinkExt, TryStreamExt, stream::StreamExt};
use std::error::Error;
use tokio_postgres::{Client, NoTls};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    match std::env::args().nth(1).as_deref() {
        Some("--self-test") => {
            let server = servers::Postgres::start()?;
            aqueduct::run(|| show(&server.url()))
        }
        Some(url) => {
            let shown = aqueduct::run(|| show(url));
            shown.map_err(|error| format!("{url}: {} (is PostgreSQL running?)", with_causes(&*error)).into())
        }
        None => Err("usage: postgres postgres://USER@HOST:PORT/DATABASE | --self-test".into()),
    }
}

/// The crate's errors tell only with their causes what has happened.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(|cause| cause.to_string()).collect::<Vec<_>>().join(": ")
}

fn show(url: &str) -> Outcome<()> {
    let (mut client, connection) = connect(url)?;
    client.batch_execute("CREATE TEMPORARY TABLE orders (number INT PRIMARY KEY, item TEXT)").wait()?;

    place(&mut client, 0..1_000)?;
    // A number that is taken: the whole transaction is rolled back.
    match place(&mut client, 1_000..2_001).and_then(|()| place(&mut client, 2_000..3_000)) {
        Ok(()) => return Err("a number was given twice".into()),
        Err(error) => println!("refused: {error}"),
    }

    let mut count = 0;
    for order in orders(client).iter() {
        let (number, item) = order?;
        if number % 500 == 0 {
            println!("order {number}: {item}");
        }
        count += 1;
    }
    println!("{count} orders");
    // The client has gone with its last query; the connection says goodbye to the server.
    connection.join()??;
    if count == 2_001 { Ok(()) } else { Err("orders were lost".into()) }
}

/// Connects, and has the connection driven by a task, which ends after the client.
fn connect(url: &str) -> Outcome<(Client, JoinHandle<Result<(), tokio_postgres::Error>>)> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).in_tokio().wait()?;
    Ok((client, spawn(connection.in_tokio())))
}

/// Places orders in one transaction, in Go style.
fn place(client: &mut Client, numbers: std::ops::Range<i32>) -> Outcome<()> {
    let transaction = client.transaction().wait()?;
    let insert = transaction.prepare("INSERT INTO orders VALUES ($1, $2)").wait()?;
    for number in numbers {
        transaction.execute(&insert, &[&number, &format!("item {number}")]).wait().map_err(|error| {
            match error.as_db_error() {
                Some(refusal) => refusal.message().to_owned(),
                None => error.to_string(),
            }
        })?;
    }
    Ok(transaction.commit().wait()?)
}

/// All orders, row by row, as a channel.
fn orders(client: Client) -> Receiver<Result<(i32, String), tokio_postgres::Error>> {
    let (tx, rx) = channel::bounded(16);
    spawn(async move {
        let no_parameters: [&str; 0] = [];
        match client.query_raw("SELECT number, item FROM orders ORDER BY number", no_parameters).await {
            Ok(rows) => {
                let orders = rows.map_ok(|row| (row.get(0), row.get(1)));
                // Fails when the receiver has gone: then nobody wants the rest.
                let _ = orders.map(Ok).forward(tx.into_sink().sink_map_err(drop)).await;
            }
            Err(error) => {
                let _ = tx.send_async(Err(error)).await;
            }
        }
    });
    rx
}
