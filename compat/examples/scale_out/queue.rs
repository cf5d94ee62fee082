//! A queue of orders that processes share: a Redis stream, read through a consumer group.
//!
//! To the program it looks like a channel. [`send`] gives a `Sender`, whose messages a task appends to the stream, as many at a time
//! as there are; [`receive`] gives a `Receiver`, which a task fills from the stream. Between the two lies the broker, and with it
//! what a channel does not have: the queue outlives the processes.
//!
//! # At least once
//! An order that has been handed out is *pending* until it is [filled](Order::filled). The orders of a process that dies stay
//! pending, and when they have been so for a while, whoever is idle takes them over. A process that is merely slow may lose an order
//! in the same way, and then two fill it: filling must bear repetition. Here the first one counts.

use aqueduct::channel::{Receiver, Sender};
use aqueduct::prelude::*;
use aqueduct_compat::tokio::InTokioExt;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use redis::aio::MultiplexedConnection;
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamReadOptions, StreamReadReply,
};
use redis::{AsyncCommands, AsyncConnectionConfig, RedisResult};
use std::time::Duration;

const ORDERS: &str = "aqueduct:orders";
const GROUP: &str = "workers";
/// A hash: who has filled which order.
const FILLED: &str = "aqueduct:orders:filled";
/// How many orders have been taken over from somebody else.
const RECLAIMED: &str = "aqueduct:orders:reclaimed";
/// Set when no more orders will come.
const CLOSED: &str = "aqueduct:orders:closed";

/// How long a read waits in the server for orders before we look for pending ones.
const PATIENCE: Duration = Duration::from_millis(100);
/// How many orders a process takes at a time: what it takes, nobody else works on.
const BATCH: usize = 4;

/// Connects. Reading holds a connection up while it waits, so it has one to itself.
pub(crate) async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    let limit = Some(Duration::from_secs(10));
    let config = AsyncConnectionConfig::new().set_connection_timeout(limit).set_response_timeout(limit);
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

/// Empties the queue, for the orders to come.
pub(crate) async fn open(redis: &mut MultiplexedConnection) -> RedisResult<()> {
    let () = redis.del(&[ORDERS, FILLED, RECLAIMED, CLOSED]).await?;
    redis.xgroup_create_mkstream(ORDERS, GROUP, "0").await
}

/// The sending half. The handle gives the number of orders appended, when the senders have gone.
pub(crate) fn send(mut redis: MultiplexedConnection) -> (Sender<u32>, JoinHandle<RedisResult<usize>>) {
    let (tx, rx) = channel::bounded(256);
    let appending = async move {
        let mut count = 0;
        let mut chunks = rx.into_stream().ready_chunks(100);
        while let Some(numbers) = chunks.next().await {
            let mut pipeline = redis::pipe();
            for number in &numbers {
                pipeline.xadd(ORDERS, "*", &[("number", number)]).ignore();
            }
            pipeline.exec_async(&mut redis).await?;
            count += numbers.len();
        }
        let () = redis.set(CLOSED, 1).await?;
        Ok(count)
    };
    (tx, spawn(appending.in_tokio()))
}

/// An order that is ours until it is filled.
#[derive(Debug)]
pub(crate) struct Order {
    id: String,
    pub(crate) number: u32,
}

impl Order {
    /// Notes that the order has been filled. Returns whether we were the first to do so.
    pub(crate) async fn filled(self, redis: &mut MultiplexedConnection, by: &str) -> RedisResult<bool> {
        let mut both = redis::pipe();
        both.atomic().hset_nx(FILLED, self.number, by).xack(ORDERS, GROUP, &[self.id]).ignore();
        let (first,) = both.query_async(redis).await?;
        Ok(first)
    }
}

/// The receiving half for the process called `me`; closed when every order has been filled by somebody.
pub(crate) fn receive(
    reading: MultiplexedConnection,
    me: String,
    reclaim_after: Duration,
) -> Receiver<RedisResult<Order>> {
    let (tx, rx) = channel::bounded(1);
    // Fails when the receivers have gone: what they had not taken is pending, and will be somebody else's.
    spawn(orders(Reader { redis: reading, me, reclaim_after }).map(Ok).forward(tx.into_sink()).in_tokio());
    rx
}

struct Reader {
    redis: MultiplexedConnection,
    me: String,
    reclaim_after: Duration,
}

fn orders(reader: Reader) -> impl Stream<Item = RedisResult<Order>> {
    let batches = stream::try_unfold(reader, async |mut reader| {
        let batch = reader.next_batch().await?;
        RedisResult::Ok(batch.map(|batch| (batch, reader)))
    });
    batches.map_ok(|batch| stream::iter(batch).map(Ok)).try_flatten()
}

impl Reader {
    /// Orders that are new, else orders that somebody has left lying; `None` when all have been filled.
    async fn next_batch(&mut self) -> RedisResult<Option<Vec<Order>>> {
        loop {
            let new = self.read_new().await?;
            let batch = if new.is_empty() { self.take_over().await? } else { new };
            if !batch.is_empty() {
                return Ok(Some(batch.into_iter().filter_map(order).collect()));
            }
            if self.is_finished().await? {
                return Ok(None);
            }
        }
    }

    async fn read_new(&mut self) -> RedisResult<Vec<StreamId>> {
        let options = StreamReadOptions::default()
            .group(GROUP, &self.me)
            .count(BATCH)
            .block(PATIENCE.as_millis() as usize);
        let read: Option<StreamReadReply> = self.redis.xread_options(&[ORDERS], &[">"], &options).await?;
        Ok(read.into_iter().flat_map(|read| read.keys).flat_map(|stream| stream.ids).collect())
    }

    async fn take_over(&mut self) -> RedisResult<Vec<StreamId>> {
        let idle = self.reclaim_after.as_millis() as u64;
        let options = StreamAutoClaimOptions::default().count(BATCH);
        let taken: StreamAutoClaimReply =
            self.redis.xautoclaim_options(ORDERS, GROUP, &self.me, idle, "0-0", options).await?;
        if !taken.claimed.is_empty() {
            let () = self.redis.incr(RECLAIMED, taken.claimed.len()).await?;
        }
        Ok(taken.claimed)
    }

    async fn is_finished(&mut self) -> RedisResult<bool> {
        let Progress { placed, filled, closed, .. } = progress(&mut self.redis).await?;
        Ok(closed && filled == placed)
    }
}

fn order(entry: StreamId) -> Option<Order> {
    let number = entry.get("number")?;
    Some(Order { id: entry.id, number })
}

/// How far the orders have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) placed: usize,
    pub(crate) filled: usize,
    pub(crate) reclaimed: usize,
    pub(crate) closed: bool,
}

pub(crate) async fn progress(redis: &mut MultiplexedConnection) -> RedisResult<Progress> {
    let mut all = redis::pipe();
    all.xlen(ORDERS).hlen(FILLED).get(RECLAIMED).exists(CLOSED);
    let (placed, filled, reclaimed, closed): (_, _, Option<usize>, _) = all.query_async(redis).await?;
    Ok(Progress { placed, filled, reclaimed: reclaimed.unwrap_or(0), closed })
}

/// How many orders are pending with the process called `name`.
pub(crate) async fn pending_with(redis: &mut MultiplexedConnection, name: &str) -> RedisResult<usize> {
    let pending: redis::streams::StreamPendingCountReply =
        redis.xpending_consumer_count(ORDERS, GROUP, "-", "+", 1_000, name).await?;
    Ok(pending.ids.len())
}

/// How many orders the process called `name` has filled.
pub(crate) async fn filled_by(redis: &mut MultiplexedConnection, name: &str) -> RedisResult<usize> {
    let by: Vec<String> = redis.hvals(FILLED).await?;
    Ok(by.iter().filter(|by| *by == name).count())
}
