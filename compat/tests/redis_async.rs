//! The asynchronous client of the `redis` crate in tokio's context, with the real server, from coroutines and from futures.
#![cfg(feature = "live-servers")]

mod support;

use std::time::Duration;

use aqueduct::channel::Receiver;
use aqueduct::prelude::*;
use aqueduct_compat::tokio::InTokioExt;
use futures::{FutureExt, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, RedisResult};
use support::checked;
use support::servers::Redis;

/// Connects without the crate's short default time limits: a machine under load is not a fault here.
async fn connect(url: String) -> RedisResult<MultiplexedConnection> {
    let limit = Some(Duration::from_secs(30));
    let config = AsyncConnectionConfig::new().set_connection_timeout(limit).set_response_timeout(limit);
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

#[test]
fn one_connection_serves_coroutines_and_futures() {
    let server = Redis::start().expect("redis-server");
    let url = server.url();
    checked!(move || {
        let redis = connect(url).in_tokio().wait().unwrap();
        let coroutines = (0..50).map(|i| {
            let mut redis = redis.clone();
            go!({
                let () = redis.set(format!("key-{i}"), i).in_tokio().wait()?;
                redis.get::<_, u32>(format!("key-{i}")).in_tokio().wait()
            })
        });
        let futures = (50..100).map(|i| {
            let mut redis = redis.clone();
            let work = async move {
                let () = redis.set(format!("key-{i}"), i).await?;
                redis.get::<_, u32>(format!("key-{i}")).await
            };
            spawn(work.in_tokio())
        });
        let handles: Vec<_> = coroutines.chain(futures).collect();
        for (i, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap().unwrap(), i as u32);
        }

        let mut redis = redis;
        let mut pipe = redis::pipe();
        for i in 0..1_000 {
            pipe.incr("count", i).ignore();
        }
        let (count,): (u32,) = pipe.get("count").query_async(&mut redis).in_tokio().wait().unwrap();
        assert_eq!(count, 499_500);
        let error = redis.lpush::<_, _, ()>("count", 1).in_tokio().wait().unwrap_err();
        assert_eq!(error.code(), Some("WRONGTYPE"));
    });
}

/// A subscription as a channel, to be received from, iterated over and selected on.
async fn subscribe(url: String, name: &'static str) -> RedisResult<Receiver<String>> {
    let mut subscription = redis::Client::open(url)?.get_async_pubsub().await?;
    subscription.subscribe(name).await?;
    let (tx, rx) = channel::bounded(8);
    let forwarding = subscription
        .into_on_message()
        .map(|message| Ok(message.get_payload::<String>().unwrap_or_default()))
        .forward(tx.into_sink());
    // Ends when the receivers have gone, or the server.
    spawn(forwarding.map(drop).in_tokio());
    Ok(rx)
}

#[test]
fn a_subscription_is_a_channel() {
    let server = Redis::start().expect("redis-server");
    let url = server.url();
    checked!(move || {
        let news = subscribe(url.clone(), "news").in_tokio().wait().unwrap();
        let publisher = go!({
            let mut redis = connect(url).in_tokio().wait()?;
            for i in 0..100 {
                let () = redis.publish("news", format!("item {i}")).in_tokio().wait()?;
            }
            RedisResult::Ok(())
        });
        let late = time::after(Duration::from_secs(30));
        for i in 0..100 {
            aqueduct::select! {
                item = <-news => assert_eq!(item, Ok(format!("item {i}"))),
                _ = <-late => panic!("item {i} has not come"),
            }
        }
        publisher.join().unwrap().unwrap();
        server.crash();
        assert!(news.recv().is_err(), "the channel is closed with the connection");
    });
}

#[test]
fn a_server_that_dies_is_an_error_to_everybody_who_waits() {
    let server = Redis::start().expect("redis-server");
    let url = server.url();
    checked!(move || {
        let waiting: Vec<_> = (0..10)
            .map(|i| {
                let connection = connect(url.clone());
                let work = async move { connection.await?.blpop::<_, (String, u32)>("never", 25.0).await };
                if i % 2 == 0 { go!(work.in_tokio().wait()) } else { spawn(work.in_tokio()) }
            })
            .collect();
        let mut redis = connect(url).in_tokio().wait().unwrap();
        loop {
            let clients: String =
                redis::cmd("INFO").arg("clients").query_async(&mut redis).in_tokio().wait().unwrap();
            if clients.contains("blocked_clients:10\r") {
                break;
            }
            yield_now();
        }
        server.crash();
        for handle in waiting {
            let error = handle.join().unwrap().unwrap_err();
            assert!(error.is_io_error(), "{error:?}");
        }
        redis.get::<_, u32>("key").in_tokio().wait().unwrap_err();
    });
}

#[test]
fn a_coroutine_cancelled_in_a_command_leaves_the_shared_connection_to_the_others() {
    let server = Redis::start().expect("redis-server");
    let url = server.url();
    checked!(move || {
        let redis = connect(url).in_tokio().wait().unwrap();
        let (mut waits, mut others) = (redis.clone(), redis);
        let waiting = go!(waits.get::<_, Option<u32>>("key").in_tokio().wait());
        waiting.cancel();
        // Completion beats cancellation; either way it has ended.
        let _ = waiting.join();
        let () = others.set("key", 7).in_tokio().wait().unwrap();
        assert_eq!(others.get::<_, u32>("key").in_tokio().wait().unwrap(), 7);
    });
}

#[test]
fn nobody_at_the_address_is_an_error() {
    checked!(|| {
        let (nobody, _held) = support::nobody();
        let error = connect(format!("redis://{nobody}/")).in_tokio().wait().map(drop).unwrap_err();
        assert!(error.is_connection_refusal(), "{error:?}");
        assert!(error.to_string().contains("refused"), "{error}");
    });
}
