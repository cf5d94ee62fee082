//! What moves between workers and what does not, balance, help for stuck workers, and quiet when nobody runs.

mod common;

use aqueduct::runtime::Runtime;
use aqueduct::{task, yield_now};
use common::child::alone;
use common::proc::{self, thread_id};
use common::{Latch, Reports, until, watchdog};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Spins on a worker until told to stop, without waiting.
struct Stuck {
    stop: Arc<AtomicBool>,
    task: Option<aqueduct::JoinHandle<()>>,
    thread: u64,
}

impl Stuck {
    fn start(runtime: &Runtime, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (send, receive) = mpsc::channel();
        let flag = stop.clone();
        let task = runtime.block_on(async {
            task::Builder::new().name(name).go(move || {
                send.send(thread_id()).unwrap();
                spin_until(&flag);
            })
        });
        Self { stop, task: Some(task.unwrap()), thread: receive.recv().unwrap() }
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.stop.store(true, Release);
        self.task.take().unwrap().join().unwrap();
    }
}

fn spin_until(flag: &AtomicBool) {
    while !flag.load(Acquire) {
        std::hint::spin_loop();
    }
}

#[test]
fn futures_and_unstarted_closures_move() {
    let dog = watchdog!(30);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    let spawner = runtime.go(|| {
        let here = thread_id();
        let futures: Vec<_> = (0..64).map(|_| aqueduct::spawn(async { thread_id() })).collect();
        let closures: Vec<_> = (0..64).map(|_| aqueduct::go(thread_id)).collect();
        // This worker never comes back before they have run: somebody else must have taken them.
        let all = futures.into_iter().chain(closures).collect::<Vec<_>>();
        while !all.iter().all(aqueduct::JoinHandle::is_finished) {
            std::hint::spin_loop();
        }
        all.into_iter().all(|task| task.join().unwrap() != here)
    });
    assert!(spawner.join().unwrap());
}

#[test]
fn what_a_queue_has_no_room_for_moves_as_well() {
    let dog = watchdog!(30);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    let spawner = runtime.go(|| {
        let here = thread_id();
        let tasks: Vec<_> = (0..3_000).map(|_| aqueduct::spawn(async { thread_id() })).collect();
        while !tasks.iter().all(aqueduct::JoinHandle::is_finished) {
            std::hint::spin_loop();
        }
        tasks.into_iter().all(|task| task.join().unwrap() != here)
    });
    assert!(spawner.join().unwrap());
}

#[test]
fn a_lone_future_that_yields_lets_in_what_comes() {
    let dog = watchdog!(30);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let (injected, timed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let flags = [injected.clone(), timed.clone()];
    let yields = Latch::new();
    let begun = yields.clone();
    let lone = runtime.spawn(async move {
        aqueduct::yield_now_async().await;
        begun.open();
        while !flags.iter().all(|flag| flag.load(Acquire)) {
            aqueduct::yield_now_async().await;
        }
    });
    yields.block_thread();
    runtime.go(move || injected.store(true, Release)).join().unwrap();
    runtime
        .spawn(async move {
            aqueduct::time::Timer::after(Duration::from_millis(1)).await;
            timed.store(true, Release);
        })
        .join()
        .unwrap();
    lone.join().unwrap();
}

#[test]
fn a_future_goes_on_elsewhere_when_its_worker_is_busy() {
    let dog = watchdog!(30);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    until(|| {
        let gate = Latch::new();
        let shut = gate.clone();
        let future = runtime.spawn(async move {
            let before = thread_id();
            shut.opened().await;
            (before, thread_id())
        });
        gate.block_thread_until_waited_for();
        let stuck = Stuck::start(&runtime, "stuck");
        gate.open();
        until(|| future.is_finished());
        let (before, after) = future.join().unwrap();
        assert_ne!(after, stuck.thread);
        // Again, until it was polled first by the very worker that is busy now.
        before == stuck.thread
    });
}

#[test]
fn started_coroutines_and_local_tasks_never_move() {
    let dog = watchdog!(60);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    let stay = || {
        let home = thread_id();
        for i in 0..200 {
            if i % 50 == 0 {
                aqueduct::time::sleep(Duration::from_micros(100));
            }
            yield_now();
            assert_eq!(thread_id(), home);
        }
    };
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            runtime.go(move || {
                let home = thread_id();
                let local = aqueduct::spawn_local(async move {
                    for _ in 0..100 {
                        aqueduct::yield_now_async().await;
                        assert_eq!(thread_id(), home);
                    }
                });
                // A future whose poll has waited stays there until the poll is over.
                let in_poll = aqueduct::spawn(async move { stay() });
                stay();
                local.join().unwrap();
                in_poll.join().unwrap();
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| task.join().unwrap());
}

#[test]
fn a_thousand_handlers_of_one_loop_are_spread() {
    let dog = watchdog!(30);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    let gate = Latch::new();
    let threads = Arc::new(Mutex::new(vec![None; 1_000]));
    let (shut, started) = (gate.clone(), threads.clone());
    let accepting = runtime.go(move || {
        let start = |i: usize| {
            let (shut, started) = (shut.clone(), started.clone());
            let handler = aqueduct::go(move || {
                started.lock().unwrap()[i] = Some(thread_id());
                shut.wait();
            });
            // As `accept` does.
            yield_now();
            handler
        };
        (0..1_000).map(start).collect::<Vec<_>>()
    });
    let handlers = accepting.join().unwrap();
    until(|| threads.lock().unwrap().iter().all(Option::is_some));
    let threads: Vec<u64> = threads.lock().unwrap().iter().copied().flatten().collect();
    let first = threads.iter().filter(|thread| **thread == threads[0]).count();
    assert!((350..=650).contains(&first), "{first} with the first worker");
    // In a pipeline of as many stages, the messages that go from one worker to the other.
    let apart = threads.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(apart <= 125, "{apart} of 999 neighbours are apart");
    gate.open();
    handlers.into_iter().for_each(|handler| handler.join().unwrap());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn a_stuck_workers_queue_is_served_by_the_other() {
    let dog = watchdog!(30);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    let times = (0..15).map(|_| {
        let stop = Arc::new(AtomicBool::new(false));
        let (send, receive) = mpsc::channel();
        let flag = stop.clone();
        let task = runtime.go(move || {
            let since = Instant::now();
            // One item: its spawner wakes nobody for it.
            drop(aqueduct::spawn(async move { send.send(since.elapsed()).unwrap() }));
            spin_until(&flag);
        });
        let served = receive.recv().unwrap();
        stop.store(true, Release);
        task.join().unwrap();
        served
    });
    let times: Vec<_> = times.collect();
    println!("queued work of a stuck worker is served after {times:?}");
    assert!(median(times.clone()) < Duration::from_millis(20), "{times:?}");
}

/// Starts a future that waits for a timer and tells how late it was, if this thread polled it first. Returns which did.
fn arm_a_timer(send: mpsc::Sender<Duration>) -> u64 {
    let polled_on = Arc::new(AtomicU64::new(0));
    let (thread, home) = (polled_on.clone(), thread_id());
    drop(aqueduct::spawn(async move {
        let due = Instant::now() + Duration::from_millis(5);
        let mut timer = std::pin::pin!(aqueduct::time::Timer::at(due));
        std::future::poll_fn(|cx| {
            let polled = timer.as_mut().poll(cx);
            thread.compare_exchange(0, thread_id(), Release, Relaxed).ok();
            polled
        })
        .await;
        if thread.load(Acquire) == home {
            send.send(due.elapsed()).unwrap();
        }
    }));
    while polled_on.load(Acquire) == 0 {
        yield_now();
    }
    polled_on.load(Acquire)
}

#[test]
fn a_stuck_workers_timers_are_served_by_the_other() {
    let dog = watchdog!(30);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    let times = (0..15).map(|_| {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let (send, receive) = mpsc::channel();
        let task = runtime.go(move || {
            // Polled here once, so that the timer is this worker's; then the worker does not come back.
            while arm_a_timer(send.clone()) != thread_id() {}
            spin_until(&flag);
        });
        let late = receive.recv().unwrap();
        stop.store(true, Release);
        task.join().unwrap();
        late
    });
    let times: Vec<_> = times.collect();
    println!("timers of a stuck worker are served late by {times:?}");
    assert!(median(times.clone()) < Duration::from_millis(20), "{times:?}");
}

#[test]
fn a_stuck_worker_is_reported_by_task_name_once() {
    let dog = watchdog!(30);
    let (builder, reports) = Reports::of(Runtime::builder().workers(2));
    let runtime = builder.build().unwrap();
    dog.watch(&runtime);
    let gate = Latch::new();
    let held_up: Vec<_> = (0..6)
        .map(|_| {
            let shut = gate.clone();
            runtime.go(move || shut.wait())
        })
        .collect();
    until(|| {
        held_up.iter().all(|task| {
            runtime.dump().tasks().iter().any(|info| info.id() == task.id() && info.wait_site().is_some())
        })
    });
    let since = Instant::now();
    let stuck = Stuck::start(&runtime, "computes too long");
    until(|| reports.count("\"computes too long\"") > 0);
    assert!(since.elapsed() > Duration::from_millis(900), "{:?}", since.elapsed());
    let text = reports.all().join("\n");
    assert!(
        text.contains("has not come back for 1.") && text.contains("started coroutines wait for it"),
        "{text}"
    );
    assert!(text.contains("tests/sched_steal.rs:"), "{text}");
    // Looks go on every millisecond; that nothing more comes of them can only be waited out.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(reports.all().len(), 1, "once: {:?}", reports.all());
    drop(stuck);
    gate.open();
    held_up.into_iter().for_each(|task| task.join().unwrap());
}

#[test]
fn a_stuck_coroutine_is_not_among_those_that_wait_for_it() {
    let dog = watchdog!(30);
    let (builder, reports) = Reports::of(Runtime::builder().workers(2));
    let runtime = builder.build().unwrap();
    dog.watch(&runtime);
    let stuck = Stuck::start(&runtime, "alone");
    until(|| reports.count("\"alone\"") > 0);
    assert_eq!(reports.count("; 0 started coroutines wait for it;"), 1, "{:?}", reports.all());
    drop(stuck);
}

#[test]
fn nobody_wakes_when_nobody_runs() {
    alone(common::test_path!(), || {
        let runtime = Runtime::builder().workers(4).thread_name("quiet").build().unwrap();
        let parked: Vec<_> =
            (0..20).map(|_| runtime.go(|| aqueduct::time::sleep(Duration::from_secs(3600)))).collect();
        let idle: Vec<_> = (0..20).map(|_| runtime.spawn(std::future::pending::<()>())).collect();
        parked.iter().chain(&idle).for_each(|task| common::until_waiting(&runtime, task.id()));
        // A thread has its name once it runs.
        until(|| proc::threads_named("quiet-").len() == 4);
        let switches = || {
            let threads = proc::threads_named("quiet-");
            assert_eq!(threads.len(), 4);
            threads
                .into_iter()
                .map(|thread| (thread.id, thread.voluntary_switches))
                .collect::<HashMap<_, _>>()
        };
        let total = || switches().values().sum::<u64>();
        // They finish what they have to tidy up, which takes a few rounds of 100 ms.
        let mut last = total();
        until(|| {
            std::thread::sleep(Duration::from_millis(250));
            std::mem::replace(&mut last, total()) == last
        });
        let before = total();
        // The span in which nobody is to wake.
        std::thread::sleep(Duration::from_secs(1));
        let woken = total() - before;
        assert!(woken <= 2, "idle workers woke {woken} times in a second");
    });
}

#[test]
fn all_workers_take_part() {
    let dog = watchdog!(30);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    let seen = Arc::new(Mutex::new(HashSet::new()));
    until(|| {
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let seen = seen.clone();
                runtime.spawn(async move {
                    seen.lock().unwrap().insert(thread_id());
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        seen.lock().unwrap().len() == 2
    });
}
