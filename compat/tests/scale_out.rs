//! The example `scale_out` with the real broker: a worker process is killed, and its orders are filled by others.
#![cfg(feature = "live-servers")]

#[path = "../examples/scale_out/pool.rs"]
mod pool;
#[path = "../examples/scale_out/queue.rs"]
mod queue;
mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use pool::Worker;
use support::servers::Redis;

const URL: &str = "AQUEDUCT_SCALE_OUT_URL";
const NAME: &str = "AQUEDUCT_SCALE_OUT_NAME";
const EFFORT: &str = "AQUEDUCT_SCALE_OUT_EFFORT_MS";
const RECLAIM: &str = "AQUEDUCT_SCALE_OUT_RECLAIM_MS";

/// This program again, up to the beginning of the test below.
fn start(worker: &Worker) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test binary"));
    command
        .args(["--exact", "no_order_is_lost_when_a_worker_process_is_killed", "--test-threads=1"])
        .env(URL, &worker.redis)
        .env(NAME, &worker.name)
        .env(EFFORT, worker.effort.as_millis().to_string())
        .env(RECLAIM, worker.reclaim_after.as_millis().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// What this process is told to do if it is one that the test has started.
fn as_worker() -> Option<Worker> {
    let variable = |name| std::env::var(name).ok();
    let millis = |name| Some(Duration::from_millis(variable(name)?.parse().ok()?));
    Some(Worker {
        redis: variable(URL)?,
        name: variable(NAME)?,
        coroutines: 4,
        effort: millis(EFFORT)?,
        reclaim_after: millis(RECLAIM)?,
    })
}

#[test]
fn no_order_is_lost_when_a_worker_process_is_killed() {
    if let Some(worker) = as_worker() {
        aqueduct::run(|| worker.work()).expect("orders to fill");
        std::process::exit(0);
    }
    let server = Redis::start().expect("redis-server");
    let url = server.url();
    support::checked!(move || {
        let trial = pool::trial(&url, 2_000, start).expect("a run");
        trial.check(2_000).expect("every order filled");
    });
}

#[test]
fn a_worker_without_a_broker_says_so() {
    support::checked!(|| {
        let (nobody, _held) = support::nobody();
        let error = pool::produce(&format!("redis://{nobody}/"), 1).expect_err("nobody is there");
        assert!(error.to_string().contains("refused"), "{error}");
    });
}
