//! The two kinds of process: one that places orders, and any number of those that fill them. And the run that tries them out.

use crate::queue;
use aqueduct::prelude::*;
use aqueduct_compat::tokio::InTokioExt;
use std::error::Error;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What a process that fills orders is told.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) redis: String,
    pub(crate) name: String,
    /// How many coroutines fill orders.
    pub(crate) coroutines: usize,
    /// How long an order takes.
    pub(crate) effort: Duration,
    /// How long an order may be pending before somebody else takes it over. More than `effort`.
    pub(crate) reclaim_after: Duration,
}

impl Worker {
    /// Fills orders until all are filled. It is the pool of the example `worker_pool`: only the channel is a longer one.
    pub(crate) fn work(&self) -> Outcome<u32> {
        let reading = queue::connect(&self.redis).in_tokio().wait()?;
        let noting = queue::connect(&self.redis).in_tokio().wait()?;
        let orders = queue::receive(reading, self.name.clone(), self.reclaim_after);
        let fill = |_| {
            let (orders, mut redis) = (orders.clone(), noting.clone());
            let Self { name, effort, .. } = self.clone();
            go!({
                let mut filled = 0;
                for order in orders.iter() {
                    let order = order?;
                    time::sleep(effort);
                    filled += u32::from(order.filled(&mut redis, &name).in_tokio().wait()?);
                }
                Ok::<_, redis::RedisError>(filled)
            })
        };
        let coroutines: Vec<_> = (0..self.coroutines).map(fill).collect();
        let mut filled = 0;
        for coroutine in coroutines {
            filled += coroutine.join()??;
        }
        Ok(filled)
    }
}

/// Places `count` orders.
pub(crate) fn produce(url: &str, count: u32) -> Outcome<usize> {
    let mut redis = queue::connect(url).in_tokio().wait()?;
    queue::open(&mut redis).in_tokio().wait()?;
    let (orders, appended) = queue::send(redis);
    for number in 0..count {
        orders.send(number)?;
    }
    drop(orders);
    Ok(appended.join()??)
}

/// What the run has come to.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) progress: queue::Progress,
    /// By the process that was killed.
    pub(crate) filled_by_the_dead: usize,
}

/// Places orders, has three processes fill them, and kills one of these while orders are pending with it: it is given orders that
/// would take it an hour. `start` starts a process that does what a [`Worker`] says.
pub(crate) fn trial(url: &str, count: u32, mut start: impl FnMut(&Worker) -> Command) -> Outcome<Trial> {
    let placed = produce(url, count)?;
    let mut redis = queue::connect(url).in_tokio().wait()?;
    let worker = |name: &str, effort| Worker {
        redis: url.to_owned(),
        name: name.to_owned(),
        coroutines: 4,
        effort,
        reclaim_after: Duration::from_millis(500),
    };

    let mut slow = Process(start(&worker("slow", Duration::from_secs(3_600))).spawn()?);
    until(|| Ok(queue::pending_with(&mut redis, "slow").in_tokio().wait()? > 0))?;
    let mut quick = Vec::new();
    for name in ["quick-1", "quick-2"] {
        quick.push(Process(start(&worker(name, Duration::from_millis(1))).spawn()?));
    }
    slow.0.kill()?;
    slow.0.wait()?;
    until(|| Ok(queue::progress(&mut redis).in_tokio().wait()?.filled == placed))?;
    for mut process in quick {
        // They end by themselves.
        let status = aqueduct::blocking(move || process.0.wait()).wait()?;
        if !status.success() {
            return Err(format!("a worker process failed: {status}").into());
        }
    }
    let progress = queue::progress(&mut redis).in_tokio().wait()?;
    let filled_by_the_dead = queue::filled_by(&mut redis, "slow").in_tokio().wait()?;
    Ok(Trial { progress, filled_by_the_dead })
}

impl Trial {
    /// Every order has been filled, those of the dead process by others.
    pub(crate) fn check(&self, count: u32) -> Outcome<()> {
        let queue::Progress { placed, filled, reclaimed, .. } = self.progress;
        let all = placed == count as usize && filled == placed;
        if all && reclaimed > 0 && self.filled_by_the_dead == 0 {
            Ok(())
        } else {
            Err(format!("{self:?}").into())
        }
    }
}

/// Looks again and again until it is so, for a minute at most: other processes can only be watched.
fn until(mut so: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so()? {
        if Instant::now() > deadline {
            return Err("no progress for a minute".into());
        }
        time::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A process that is ended when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both do nothing when it has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
