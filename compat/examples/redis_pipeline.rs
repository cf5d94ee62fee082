//! Redis in both colours: the blocking commands of the `redis` crate over our sockets, one connection a coroutine, and its
//! asynchronous client in tokio's context, one connection for all.
//!
//! Watch for: the same thousand increments cost a thousand round trips, or one, when a pipeline gathers them.
//!
//! Needs a server: `redis-server --port 6379` (Debian: `apt-get install redis-server`).
//! Run it: `cargo run -p aqueduct-compat --example redis_pipeline -- redis://127.0.0.1:6379/`
//! With `--self-test` it starts a server of its own, ends it, and exits.

#[path = "../tests/support/servers.rs"]
mod servers;

use aqueduct::prelude::*;
use aqueduct_compat::redis::Connection;
use aqueduct_compat::tokio::InTokioExt;
use redis::{AsyncCommands, Commands, RedisResult};
use std::error::Error;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const KEY: &str = "aqueduct:example:count";
const INCREMENTS: u32 = 1_000;

fn main() -> Outcome<()> {
    match std::env::args().nth(1).as_deref() {
        Some("--self-test") => {
            let server = servers::Redis::start()?;
            aqueduct::run(|| show(&server.url()))
        }
        Some(url) => aqueduct::run(|| show(url))
            .map_err(|error| format!("{url}: {error} (is redis-server running?)").into()),
        None => Err("usage: redis_pipeline redis://HOST:PORT/ | --self-test".into()),
    }
}

fn show(url: &str) -> Outcome<()> {
    let mut redis = Connection::connect(url)?;
    let () = redis.del(KEY)?;

    let begin = Instant::now();
    let each: RedisResult<Vec<_>> = (0..4).map(|_| Connection::connect(url)).collect();
    let coroutines: Vec<_> = each?.into_iter().map(|redis| go!(one_by_one(redis))).collect();
    for coroutine in coroutines {
        coroutine.join()??;
    }
    println!("4 coroutines, one by one:    {:?}", begin.elapsed());

    let begin = Instant::now();
    let coroutine = go!(in_a_pipeline(redis));
    let mut redis = coroutine.join()??;
    println!("a coroutine, in a pipeline:  {:?}", begin.elapsed());

    let begin = Instant::now();
    spawn(many_at_once(redis::Client::open(url)?).in_tokio()).join()??;
    println!("a future, many at once:      {:?}", begin.elapsed());

    let count: u32 = redis.get(KEY)?;
    let () = redis.del(KEY)?;
    println!("counted to {count}");
    if count == 6 * INCREMENTS { Ok(()) } else { Err("increments were lost".into()) }
}

/// Each increment waits for its answer; the worker goes on with other coroutines meanwhile.
fn one_by_one(mut redis: impl Commands) -> RedisResult<()> {
    for _ in 0..INCREMENTS {
        let () = redis.incr(KEY, 1)?;
    }
    Ok(())
}

fn in_a_pipeline<C: redis::ConnectionLike>(mut redis: C) -> RedisResult<C> {
    let mut pipeline = redis::pipe();
    for _ in 0..INCREMENTS {
        pipeline.incr(KEY, 1).ignore();
    }
    pipeline.exec(&mut redis)?;
    Ok(redis)
}

/// The client gathers what is under way on its one connection by itself.
async fn many_at_once(client: redis::Client) -> RedisResult<()> {
    let redis = client.get_multiplexed_async_connection().await?;
    let increments = (0..INCREMENTS).map(|_| {
        let mut redis = redis.clone();
        async move { redis.incr::<_, _, ()>(KEY, 1).await }
    });
    futures::future::try_join_all(increments).await.map(drop)
}
