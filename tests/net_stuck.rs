//! A worker stuck in a long poll: another one serves its sockets, for futures.

mod common;

use aqueduct::net::{TcpListener, TcpStream};
use aqueduct::{Runtime, spawn_local, yield_now_async};
use futures::io::AsyncReadExt;
use futures::{FutureExt, pin_mut};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The sentinel looks every millisecond while somebody works, and at a stuck worker from its second look on. Far above that,
/// for a machine with other things to do.
const BOUND: Duration = Duration::from_millis(50);

#[test]
fn the_socket_of_a_stuck_worker_is_served_by_another() {
    let _watchdog = common::watchdog!(60);
    let runtime = Runtime::builder().workers(2).on_report(|_| {}).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut times: Vec<Duration> = (0..7).map(|_| time_one(&runtime, &listener)).collect();
    times.sort_unstable();
    println!("from the write to the read: {times:.2?}");
    assert!(times[3] < BOUND, "{times:?}");
}

/// A future waits for input on a worker that is then stuck; the time from the input to its arrival.
fn time_one(runtime: &Runtime, listener: &TcpListener) -> Duration {
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let (is_stuck, stuck) = mpsc::channel();
    let free = Arc::new(AtomicBool::new(false));
    let until = free.clone();
    let reading = runtime.spawn(async move {
        let mut byte = [0; 1];
        let mut stream = &server;
        {
            let read = stream.read(&mut byte).fuse();
            pin_mut!(read);
            // Registers the socket with this worker's poller ...
            assert!(futures::poll!(read.as_mut()).is_pending());
            // ... which is then stuck in a task that only it can run.
            drop(spawn_local(async move {
                is_stuck.send(()).unwrap();
                while !until.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
            }));
            assert_eq!(read.await.unwrap(), 1);
        }
        Instant::now()
    });
    stuck.recv().unwrap();
    let written = Instant::now();
    client.write_all(b"x").unwrap();
    let read = reading.join().unwrap();
    free.store(true, Ordering::Release);
    read - written
}

/// The other worker never runs out of work: then nobody sleeps who could look after the stuck one.
#[test]
fn the_socket_of_a_stuck_worker_is_served_by_a_busy_one() {
    let _watchdog = common::watchdog!(60);
    let runtime = Runtime::builder().workers(2).on_report(|_| {}).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    // One for each worker: whichever gets stuck, the other turns round and round.
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let ended = ended.clone();
            runtime.spawn(async move {
                while !ended.load(Ordering::Acquire) {
                    yield_now_async().await;
                }
            })
        })
        .collect();
    let mut times: Vec<Duration> = (0..7).map(|_| time_one(&runtime, &listener)).collect();
    ended.store(true, Ordering::Release);
    busy.into_iter().for_each(|task| task.join().unwrap());
    times.sort_unstable();
    println!("from the write to the read: {times:.2?}");
    assert!(times[3] < BOUND, "{times:?}");
}
