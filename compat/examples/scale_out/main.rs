//! Work that outgrows a machine: the worker pool spread over processes, with an existing broker, Redis streams, between them.
//!
//! Watch for: the pool is that of the example `worker_pool`, coroutines that receive from a channel; what fills the channel is a
//! stream of the broker (`queue.rs`). Kill a worker process, and its orders are taken over by the others.
//!
//! Needs a server: `redis-server --port 6379` (Debian: `apt-get install redis-server`). Run it, each line in a terminal of its own:
//! ```text
//! cargo run -p aqueduct-compat --example scale_out -- produce 10000
//! cargo run -p aqueduct-compat --example scale_out -- work one
//! cargo run -p aqueduct-compat --example scale_out -- work two
//! ```
//! The server's URL is taken from the variable `REDIS_URL`, else it is `redis://127.0.0.1:6379/`. With `--self-test` it starts a
//! server and three worker processes of its own, kills one of them, checks that no order is lost, and ends.

#[path = "../../tests/support/servers.rs"]
mod servers;

mod pool;
mod queue;

use pool::{Outcome, Worker};
use std::process::Command;
use std::time::Duration;

const USAGE: &str = "usage: scale_out produce COUNT | work NAME [EFFORT_MS [RECLAIM_AFTER_MS]] | --self-test";

fn main() -> Outcome<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--self-test"] => self_test(),
        ["produce", count] => {
            let count = count.parse()?;
            let placed = at_the_server(|url| pool::produce(url, count))?;
            println!("{placed} orders placed");
            Ok(())
        }
        ["work", name, ref rest @ ..] if rest.len() <= 2 => {
            let millis = |index: usize, default| rest.get(index).map_or(Ok(default), |text| text.parse());
            let (effort, reclaim_after) = (millis(0, 5)?, millis(1, 2_000)?);
            let filled = at_the_server(|url| {
                let worker = Worker {
                    redis: url.to_owned(),
                    name: name.to_owned(),
                    coroutines: 4,
                    effort: Duration::from_millis(effort),
                    reclaim_after: Duration::from_millis(reclaim_after),
                };
                worker.work()
            })?;
            println!("{name}: {filled} orders filled");
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

fn at_the_server<T: Send>(body: impl FnOnce(&str) -> Outcome<T> + Send) -> Outcome<T> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379/".to_owned());
    aqueduct::run(|| body(&url)).map_err(|error| format!("{url}: {error} (is redis-server running?)").into())
}

fn self_test() -> Outcome<()> {
    const COUNT: u32 = 2_000;
    let program = std::env::current_exe()?;
    let server = servers::Redis::start()?;
    let start = |worker: &Worker| {
        let mut command = Command::new(&program);
        let millis = |duration: Duration| duration.as_millis().to_string();
        command.args(["work", &worker.name, &millis(worker.effort), &millis(worker.reclaim_after)]);
        command.env("REDIS_URL", &worker.redis);
        command
    };
    let trial = aqueduct::run(|| pool::trial(&server.url(), COUNT, start))?;
    println!("{trial:?}");
    trial.check(COUNT)
}
