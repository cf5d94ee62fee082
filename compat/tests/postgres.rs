//! `tokio-postgres` with the real server: in tokio's context, and over our own sockets without it.
#![cfg(feature = "live-servers")]

mod support;

use std::time::Duration;

use aqueduct::channel::Receiver;
use aqueduct::net::TcpStream;
use aqueduct::prelude::*;
use aqueduct_compat::tokio::{FuturesAsyncReadCompatExt, InTokioExt};
use futures::{SinkExt, StreamExt, TryStreamExt};
use support::checked;
use support::servers::Postgres;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls};

/// Connects, with the connection driven by a task of ours.
async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    spawn(connection.in_tokio());
    Ok(client)
}

#[test]
fn queries_in_both_colours() {
    let server = Postgres::shared().expect("PostgreSQL");
    let url = server.url();
    checked!(move || {
        let client = connect(&url).in_tokio().wait().unwrap();
        client.batch_execute("CREATE TABLE numbers (n BIGINT PRIMARY KEY, text TEXT)").wait().unwrap();

        // Go style. The client's calls are messages to the connection's task: they need no context of their own.
        let inserting = go!({
            let insert = client.prepare("INSERT INTO numbers VALUES ($1, $2)").wait()?;
            for n in 0..100i64 {
                assert_eq!(client.execute(&insert, &[&n, &format!("über {n}")]).wait()?, 1);
            }
            Ok::<_, Error>(client)
        });
        let client = inserting.join().unwrap().unwrap();

        // Async, many at once over one connection.
        let querying = spawn(async move {
            let numbers: Vec<i64> = (0..100).collect();
            let queries = numbers.iter().map(|n| async {
                client
                    .query_one("SELECT text FROM numbers WHERE n = $1", &[n])
                    .await
                    .map(|row| row.get::<_, String>(0))
            });
            let texts = futures::future::try_join_all(queries).await?;
            Ok::<_, Error>((client, texts))
        });
        let (client, texts) = querying.join().unwrap().unwrap();
        assert_eq!(texts, (0..100).map(|n| format!("über {n}")).collect::<Vec<_>>());

        let error = client.execute("INSERT INTO numbers VALUES (1, 'again')", &[]).wait().unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
        let error = client.query("SELEKT", &[]).wait().unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::SYNTAX_ERROR));
        assert_eq!(
            client.query_one("SELECT count(*) FROM numbers", &[]).wait().unwrap().get::<_, i64>(0),
            100
        );
    });
}

/// Rows, one at a time, as a channel.
fn rows(client: Client, query: &'static str) -> Receiver<i32> {
    let (tx, rx) = channel::bounded(2);
    spawn(async move {
        let no_parameters: [&str; 0] = [];
        let rows = client.query_raw(query, no_parameters).await?;
        // A receiver that has gone ends the query's rows, not the connection.
        let _ =
            rows.map_ok(|row| row.get(0)).map_err(|_| ()).forward(tx.into_sink().sink_map_err(drop)).await;
        Ok::<_, Error>(())
    });
    rx
}

#[test]
fn rows_are_a_stream_and_a_channel_and_copies_are_a_sink() {
    let server = Postgres::shared().expect("PostgreSQL");
    let url = server.url();
    checked!(move || {
        let client = connect(&url).in_tokio().wait().unwrap();
        client.batch_execute("CREATE TABLE copied (n INT)").wait().unwrap();
        async {
            let sink = client.copy_in("COPY copied FROM STDIN").await?;
            let mut sink = std::pin::pin!(sink);
            for n in 0..1_000 {
                sink.send(bytes(format!("{n}\n"))).await?;
            }
            assert_eq!(sink.finish().await?, 1_000);
            let copied: Vec<_> = client.copy_out("COPY copied TO STDOUT").await?.try_collect().await?;
            assert_eq!(copied.len(), 1_000);
            Ok::<_, Error>(())
        }
        .wait()
        .unwrap();

        let received: Vec<i32> = rows(client, "SELECT n FROM copied ORDER BY n").iter().collect();
        assert_eq!(received, (0..1_000).collect::<Vec<_>>());
        // Leaving off early.
        let client = connect(&url).in_tokio().wait().unwrap();
        let first: Vec<i32> = rows(client, "SELECT n FROM copied ORDER BY n").iter().take(3).collect();
        assert_eq!(first, [0, 1, 2]);
    });
}

fn bytes(text: String) -> bytes::Bytes {
    text.into_bytes().into()
}

#[test]
fn a_transaction_that_unwinds_is_rolled_back() {
    let server = Postgres::shared().expect("PostgreSQL");
    let url = server.url();
    checked!(move || {
        let mut client = connect(&url).in_tokio().wait().unwrap();
        client.batch_execute("CREATE TABLE ledger (n INT)").wait().unwrap();
        let transaction = client.transaction().wait().unwrap();
        transaction.execute("INSERT INTO ledger VALUES (1)", &[]).wait().unwrap();
        transaction.commit().wait().unwrap();

        // Cancelled in the middle of a query of its transaction.
        let mut other = connect(&url).in_tokio().wait().unwrap();
        let transacting = go!({
            let transaction = other.transaction().wait()?;
            transaction.execute("INSERT INTO ledger VALUES (2)", &[]).wait()?;
            transaction.execute("SELECT pg_sleep(60)", &[]).wait()?;
            transaction.commit().wait()
        });
        while asleep(&client, 60) == 0 {}
        transacting.cancel();
        assert!(transacting.join().unwrap_err().is_cancelled());
        let count = client.query_one("SELECT count(*) FROM ledger", &[]).wait().unwrap();
        assert_eq!(count.get::<_, i64>(0), 1);
        // The server sleeps on for the client that has gone.
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'";
        client.batch_execute(end).wait().unwrap();
    });
}

/// How many backends sleep for so long.
fn asleep(client: &Client, seconds: u32) -> i64 {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query = $1";
    client.query_one(query, &[&format!("SELECT pg_sleep({seconds})")]).wait().unwrap().get(0)
}

#[test]
fn notifications_are_a_channel() {
    let server = Postgres::shared().expect("PostgreSQL");
    let url = server.url();
    checked!(move || {
        let (tx, notifications) = channel::bounded(4);
        let (client, mut connection) = tokio_postgres::connect(&url, NoTls).in_tokio().wait().unwrap();
        let messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
        let driver = messages
            .try_filter_map(|message| async {
                Ok(match message {
                    AsyncMessage::Notification(notification) => Some(notification.payload().to_owned()),
                    _ => None,
                })
            })
            .map_err(|_| ())
            .forward(tx.into_sink().sink_map_err(drop));
        spawn(driver.in_tokio());
        client.batch_execute("LISTEN news").wait().unwrap();
        let notifier = connect(&url).in_tokio().wait().unwrap();
        let notifying = go!(for i in 0..20 {
            notifier.execute("SELECT pg_notify('news', $1)", &[&format!("item {i}")]).wait().unwrap();
        });
        for i in 0..20 {
            assert_eq!(notifications.recv_timeout(Duration::from_secs(30)), Ok(format!("item {i}")));
        }
        notifying.join().unwrap();
    });
}

/// No tokio reactor takes part: our socket, given tokio's traits.
#[test]
fn over_our_own_socket_it_needs_no_context() {
    let server = Postgres::shared().expect("PostgreSQL");
    let address = server.address();
    checked!(move || {
        let stream = TcpStream::connect(address).unwrap().compat();
        let mut config = Config::new();
        config.user("postgres").dbname("postgres");
        let (client, connection) = config.connect_raw(stream, NoTls).wait().unwrap();
        let driver = spawn(connection);
        let row = go!(client.query_one("SELECT 6 * 7", &[]).wait()).join().unwrap().unwrap();
        assert_eq!(row.get::<_, i32>(0), 42);
        // With the client, its last user, the connection has ended.
        driver.join().unwrap().unwrap();
    });
}

#[test]
fn a_query_that_is_cancelled_or_a_backend_that_is_ended_is_an_error() {
    let server = Postgres::start().expect("PostgreSQL");
    let url = server.url();
    checked!(move || {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).in_tokio().wait().unwrap();
        let driver = spawn(connection.in_tokio());
        let token = client.cancel_token();
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).wait().unwrap().get(0);
        let sleeping = go!((client.query("SELECT pg_sleep(61)", &[]).wait().map(drop), client));
        let admin = connect(&url).in_tokio().wait().unwrap();
        while asleep(&admin, 61) == 0 {}
        token.cancel_query(NoTls).in_tokio().wait().unwrap();
        let (outcome, client) = sleeping.join().unwrap();
        assert_eq!(outcome.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));

        // The query's statement was closed when it was dropped. An answer to that which is outstanding would take the last word below.
        client.batch_execute("SELECT 1").wait().unwrap();
        admin.execute("SELECT pg_terminate_backend($1)", &[&pid]).wait().unwrap();
        let error = driver.join().unwrap().unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::ADMIN_SHUTDOWN), "{error:?}");
        assert!(client.is_closed());
        client.query("SELECT 1", &[]).wait().unwrap_err();
        drop(server);
        admin.query("SELECT 1", &[]).wait().unwrap_err();
    });
}

#[test]
fn nobody_at_the_address_is_an_error() {
    checked!(|| {
        let (nobody, _held) = support::nobody();
        let error = connect(&format!("postgres://postgres@{nobody}/postgres"))
            .in_tokio()
            .wait()
            .map(drop)
            .unwrap_err();
        assert!(error.to_string().contains("error connecting to server"), "{error}");
    });
}
