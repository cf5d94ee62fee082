//! Cancelling tasks: at every moment of their life, what it does to values and locks, and a storm of it.

mod common;

use aqueduct::runtime::Runtime;
use aqueduct::{JoinHandle, LocalRuntime, block_on, go, task, yield_now};
use common::{
    Counted, Drops, Latch, OnDrop, Reports, Rng, block_thread_on, soon, until, until_waiting, watchdog,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, RwLock, Weak, mpsc};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Occupies the only worker until the latch is opened, without waiting.
fn occupy(runtime: &Runtime) -> Latch {
    let (free, taken) = (Latch::new(), Latch::new());
    let (until_free, open) = (free.clone(), taken.clone());
    drop(runtime.go(move || {
        open.open();
        until_free.block_thread();
    }));
    taken.block_thread();
    free
}

#[track_caller]
fn assert_cancelled<T>(handle: JoinHandle<T>) {
    match handle.join() {
        Ok(_) => panic!("it was not cancelled"),
        Err(error) => assert!(error.is_cancelled(), "{error}"),
    }
}

#[test]
fn before_its_start_a_closure_is_dropped_and_never_called() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let drops = Drops::new();
    let free = occupy(&runtime);
    let value = drops.one();
    let handle = runtime.go(move || {
        let _value = value;
        unreachable!("cancelled before it started");
    });
    handle.cancel();
    assert_eq!(drops.dropped(), 0, "a worker drops it");
    free.open();
    assert_cancelled(handle);
    assert_eq!(drops.dropped(), 1);
}

#[test]
fn before_its_start_a_future_is_dropped_and_never_polled() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let drops = Drops::new();
    let free = occupy(&runtime);
    let value = drops.one();
    let handle = runtime.spawn(async move {
        let _value = value;
        unreachable!("cancelled before it started");
    });
    handle.cancel();
    free.open();
    assert_cancelled(handle);
    assert_eq!(drops.dropped(), 1);
}

#[test]
fn parked_it_unwinds_and_drops_each_value_once() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (drops, never) = (Drops::new(), Latch::new());
    let values = [drops.one(), drops.one()];
    let handle = runtime.go(move || {
        let [captured, _other] = values;
        let _boxed = Box::new(captured);
        never.wait();
    });
    until_waiting(&runtime, handle.id());
    handle.cancel();
    assert_cancelled(handle);
    assert_eq!((drops.made(), drops.dropped()), (2, 2));
}

#[test]
fn running_it_goes_on_until_its_next_wait() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (started, go_on) = (Latch::new(), Latch::new());
    let (has_started, gate) = (started.clone(), go_on.clone());
    let (send, receive) = mpsc::channel();
    let handle = runtime.go(move || {
        started.open();
        gate.block_thread();
        send.send("still running").unwrap();
        yield_now();
        send.send("after the wait").unwrap();
    });
    has_started.block_thread();
    handle.cancel();
    go_on.open();
    assert_cancelled(handle);
    assert_eq!(receive.into_iter().collect::<Vec<_>>(), ["still running"]);
}

#[test]
fn running_without_another_wait_it_keeps_its_result() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (started, go_on) = (Latch::new(), Latch::new());
    let (has_started, gate) = (started.clone(), go_on.clone());
    let handle = runtime.go(move || {
        started.open();
        gate.block_thread();
        7
    });
    has_started.block_thread();
    handle.cancel();
    go_on.open();
    assert_eq!(handle.join().unwrap(), 7);
}

#[test]
fn a_wait_that_is_ready_when_it_looks_again_completes() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (gate, free) = (Latch::new(), Latch::new());
    let opened = gate.clone();
    let handle = runtime.go(move || {
        gate.wait();
        7
    });
    until_waiting(&runtime, handle.id());
    let occupied = occupy(&runtime);
    handle.cancel();
    opened.open();
    occupied.open();
    free.open();
    assert_eq!(handle.join().unwrap(), 7, "completion beats cancellation");
}

#[test]
fn after_completion_the_result_is_kept() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let coroutine = runtime.go(|| 7);
    let future = runtime.spawn(async { 7 });
    until(|| coroutine.is_finished() && future.is_finished());
    coroutine.cancel();
    future.cancel();
    assert_eq!(coroutine.join().unwrap(), 7);
    assert_eq!(future.join().unwrap(), 7);
}

#[test]
fn twice_is_once() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (drops, never) = (Drops::new(), Latch::new());
    let value = drops.one();
    let handle = runtime.go(move || {
        let _value = value;
        never.wait();
    });
    until_waiting(&runtime, handle.id());
    for _ in 0..10 {
        handle.cancel();
    }
    assert_cancelled(handle);
    assert_eq!(drops.dropped(), 1);
}

#[test]
fn of_oneself_it_takes_effect_at_the_next_wait() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (send, receive) = mpsc::channel::<JoinHandle<()>>();
    let (tell, told) = mpsc::channel();
    let given = Latch::new();
    let gate = given.clone();
    let handle = runtime.go(move || {
        gate.wait();
        let me = receive.recv().unwrap();
        me.cancel();
        tell.send("still here").unwrap();
        let tell = OnDrop::new(move || tell.send("unwound").unwrap());
        yield_now();
        drop(tell);
        unreachable!("the wait does not return");
    });
    send.send(handle).unwrap();
    given.open();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), ["still here", "unwound"]);
}

#[test]
fn a_future_between_polls_is_dropped_by_a_worker() {
    let _dog = watchdog!(20);
    let runtime = Runtime::builder().workers(2).thread_name("between").build().unwrap();
    let (never, (send, receive)) = (Latch::new(), mpsc::channel());
    let polled = never.clone();
    let handle = runtime.spawn(async move {
        let _on_drop = OnDrop::new(move || send.send(thread::current().name().map(String::from)).unwrap());
        never.opened().await;
    });
    polled.block_thread_until_waited_for();
    handle.cancel();
    assert_cancelled(handle);
    let name = receive.recv().unwrap().expect("workers have names");
    assert!(name.starts_with("between-"), "{name}");
    assert!(receive.recv().is_err(), "once");
}

#[test]
fn a_future_parked_in_its_poll_unwinds() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (drops, never) = (Drops::new(), Latch::new());
    let (outside, inside) = (drops.one(), drops.one());
    let handle = runtime.spawn(async move {
        let _outside = outside;
        block_on(async {
            let _inside = inside;
            never.wait();
        });
    });
    until_waiting(&runtime, handle.id());
    handle.cancel();
    assert_cancelled(handle);
    assert_eq!(drops.dropped(), 2);
}

#[test]
fn a_future_parked_in_its_poll_swallowed_by_a_combinator_is_cancelled_at_its_next_poll() {
    use futures::FutureExt;
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (drops, never) = (Drops::new(), Latch::new());
    let (value, gate) = (drops.one(), never.clone());
    let handle = runtime.spawn(async move {
        let _value = value;
        let caught = AssertUnwindSafe(async { gate.wait() }).catch_unwind().await;
        assert!(task::is_cancelled(&*caught.unwrap_err()));
        aqueduct::yield_now_async().await;
        unreachable!("the task is dropped between the polls");
    });
    until_waiting(&runtime, handle.id());
    handle.cancel();
    assert_cancelled(handle);
    assert_eq!(drops.dropped(), 1);
}

#[test]
fn from_inside_a_destructor_it_reaches_another_task() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let never = Latch::new();
    let parked = never.clone();
    let victim = runtime.go(move || never.wait());
    parked.block_thread_until_waited_for();
    let canceller = runtime.go(move || {
        let _on_drop = OnDrop::new(move || {
            victim.cancel();
            assert!(victim.join().unwrap_err().is_cancelled());
        });
    });
    canceller.join().unwrap();
}

#[test]
fn a_destructor_that_waits_in_a_cancelled_task_waits_to_the_end() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (never, last) = (Latch::new(), Latch::new());
    let (send, receive) = mpsc::channel();
    let (in_destructor, gate) = (last.clone(), last.clone());
    let handle = runtime.go(move || {
        let _last = OnDrop::new(move || {
            gate.wait();
            yield_now();
            send.send("waited").unwrap();
        });
        never.wait();
    });
    until_waiting(&runtime, handle.id());
    handle.cancel();
    in_destructor.block_thread_until_waited_for();
    handle.cancel();
    assert_eq!(runtime.go(|| 7).join().unwrap(), 7, "the worker goes on meanwhile");
    last.open();
    assert_cancelled(handle);
    assert_eq!(receive.recv(), Ok("waited"));
}

#[test]
fn a_destructor_of_a_cancelled_future_that_waits_waits_to_the_end() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (never, last) = (Latch::new(), Latch::new());
    let (polled, in_destructor, gate) = (never.clone(), last.clone(), last.clone());
    let (send, receive) = mpsc::channel();
    let handle = runtime.spawn(async move {
        let _last = OnDrop::new(move || {
            gate.wait();
            send.send("waited").unwrap();
        });
        never.opened().await;
    });
    polled.block_thread_until_waited_for();
    handle.cancel();
    in_destructor.block_thread_until_waited_for();
    handle.cancel();
    last.open();
    assert_cancelled(handle);
    assert_eq!(receive.recv(), Ok("waited"));
}

#[test]
fn during_the_unwinding_of_a_panic_it_changes_nothing() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let last = Latch::new();
    let (in_destructor, gate) = (last.clone(), last.clone());
    let handle = runtime.go(move || {
        let _last = OnDrop::new(move || gate.wait());
        std::panic::resume_unwind(Box::new("the first panic"));
    });
    in_destructor.block_thread_until_waited_for();
    handle.cancel();
    last.open();
    let error = handle.join().unwrap_err();
    assert!(error.to_string().ends_with("panicked: the first panic"), "{error}");
}

#[test]
fn a_shield_holds_it_off_to_the_first_wait_after() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (gate, (send, receive)) = (Latch::new(), mpsc::channel());
    let shut = gate.clone();
    let handle = runtime.go(move || {
        task::shield(|| {
            task::shield(yield_now);
            gate.wait();
            yield_now();
            send.send("inside").unwrap();
        });
        send.send("outside").unwrap();
        yield_now();
        send.send("after a wait").unwrap();
    });
    until_waiting(&runtime, handle.id());
    handle.cancel();
    runtime.go(yield_now).join().unwrap();
    assert!(!handle.is_finished());
    shut.open();
    assert_cancelled(handle);
    assert_eq!(receive.into_iter().collect::<Vec<_>>(), ["inside", "outside"]);
}

#[test]
fn a_shield_holds_it_off_run_as_well() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (gate, shut) = {
        let latch = Latch::new();
        (latch.clone(), latch)
    };
    let handle = runtime.go(move || {
        task::shield(|| {
            let gate = &gate;
            let first = aqueduct::run(|| {
                gate.wait();
                yield_now();
                3
            });
            first
                + LocalRuntime::new().unwrap().run(|| {
                    yield_now();
                    4
                })
        })
    });
    shut.block_thread_until_waited_for();
    handle.cancel();
    runtime.go(yield_now).join().unwrap();
    shut.open();
    assert_eq!(handle.join().unwrap(), 7);
}

#[test]
fn run_passes_it_on_and_ends_after_its_closure() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let never = Latch::new();
    let (parked, drops) = (never.clone(), Drops::new());
    let counted = drops.clone();
    let handle = runtime.go(move || {
        let borrowed = counted.one();
        aqueduct::run(|| {
            let _see = &borrowed;
            let _inner = counted.one();
            never.wait();
        });
    });
    parked.block_thread_until_waited_for();
    handle.cancel();
    assert_cancelled(handle);
    assert_eq!((drops.made(), drops.dropped()), (2, 2));
}

#[test]
fn a_local_runtime_passes_it_on_and_ends_after_its_task() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let never = Latch::new();
    let (parked, drops) = (never.clone(), Drops::new());
    let counted = drops.clone();
    let handle = runtime.go(move || {
        let local = LocalRuntime::new().unwrap();
        let borrowed = counted.one();
        local.run(|| {
            let _see = &borrowed;
            let _inner = counted.one();
            never.wait();
        });
    });
    parked.block_thread_until_waited_for();
    handle.cancel();
    assert_cancelled(handle);
    assert_eq!((drops.made(), drops.dropped()), (2, 2));
}

#[test]
fn swallowed_it_is_thrown_again_and_rethrown_it_ends_the_task() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (never, (send, receive)) = (Latch::new(), mpsc::channel());
    let handle = runtime.go(move || {
        for _ in 0..5 {
            let caught = catch_unwind(AssertUnwindSafe(|| never.wait()));
            send.send(task::is_cancelled(&*caught.unwrap_err())).unwrap();
        }
        let caught = catch_unwind(AssertUnwindSafe(|| never.wait()));
        task::rethrow(caught.unwrap_err());
    });
    until_waiting(&runtime, handle.id());
    handle.cancel();
    assert_cancelled(handle);
    assert_eq!(receive.into_iter().collect::<Vec<_>>(), [true; 5]);
}

#[test]
fn swallowed_without_another_wait_the_result_counts() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let never = Latch::new();
    let handle = runtime.go(move || {
        let _swallowed = catch_unwind(AssertUnwindSafe(|| never.wait()));
        7
    });
    until_waiting(&runtime, handle.id());
    handle.cancel();
    assert_eq!(handle.join().unwrap(), 7);
}

#[test]
fn swallowed_16_times_it_leaks_the_coroutine_and_says_so() {
    let _dog = watchdog!(20);
    let (builder, reports) = Reports::of(Runtime::builder().workers(1));
    let runtime = builder.build().unwrap();
    let throws = Arc::new(AtomicUsize::new(0));
    let (counted, drops) = (throws.clone(), Drops::new());
    let (value, running) = (drops.one(), Latch::new());
    let has_started = running.clone();
    let handle = runtime.block_on(async {
        let builder = task::Builder::new().name("stubborn");
        builder.go(move || {
            let _value = value;
            running.open();
            loop {
                let caught = catch_unwind(yield_now);
                counted.fetch_add(usize::from(caught.is_err()), SeqCst);
            }
        })
    });
    let handle = handle.unwrap();
    has_started.block_thread();
    handle.cancel();
    until(|| reports.count("\"stubborn\"") > 0);
    assert_eq!(reports.count("16 times"), 1, "{:?}", reports.all());
    assert_eq!(throws.load(SeqCst), 16);
    assert_eq!(runtime.go(|| 7).join().unwrap(), 7, "its worker goes on");
    assert!(!handle.is_finished());
    let name = |report: &aqueduct::runtime::ShutdownReport| {
        report.remaining().iter().map(|task| task.name().map(String::from)).collect::<Vec<_>>()
    };
    let report = runtime.shutdown(std::time::Instant::now());
    assert_eq!(name(&report), [Some("stubborn".to_string())], "{report}");
    assert_eq!(drops.dropped(), 0, "never unwound");
}

#[test]
fn a_payload_of_ours_is_told_from_a_panic() {
    let _dog = watchdog!(20);
    let panic = catch_unwind(|| std::panic::resume_unwind(Box::new("a panic"))).unwrap_err();
    assert!(!task::is_cancelled(&*panic));
}

#[test]
fn a_payload_thrown_in_a_task_that_was_not_cancelled_is_a_panic_of_it() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let never = Latch::new();
    let (send, receive) = mpsc::channel();
    let victim = runtime.go(move || {
        let caught = catch_unwind(AssertUnwindSafe(|| never.wait()));
        send.send(caught.unwrap_err()).unwrap();
    });
    until_waiting(&runtime, victim.id());
    victim.cancel();
    let payload = receive.recv().unwrap();
    let innocent = runtime.go(move || task::rethrow(payload)).join().unwrap_err();
    assert!(innocent.is_panic(), "{innocent}");
}

#[test]
fn a_destructor_that_panics_makes_it_a_panic_and_aborts_nothing() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (never, polled) = {
        let latch = Latch::new();
        (latch.clone(), latch)
    };
    let handle = runtime.spawn(async move {
        let _on_drop = OnDrop::new(|| std::panic::resume_unwind(Box::new("in a destructor")));
        never.opened().await;
    });
    polled.block_thread_until_waited_for();
    handle.cancel();
    let error = handle.join().unwrap_err();
    assert!(error.is_panic() && error.to_string().contains("in a destructor"), "{error}");
    let free = occupy(&runtime);
    let on_drop = OnDrop::new(|| std::panic::resume_unwind(Box::new("in an unstarted closure")));
    let handle = runtime.go(move || drop(on_drop));
    handle.cancel();
    free.open();
    let error = handle.join().unwrap_err();
    assert!(error.is_panic() && error.to_string().contains("in an unstarted closure"), "{error}");
}

#[test]
fn destructors_of_a_started_coroutine_run_on_its_own_thread() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let (send, receive) = mpsc::channel::<(ThreadId, ThreadId)>();
    let never = Latch::new();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (send, never) = (send.clone(), never.clone());
            runtime.go(move || {
                let started_on = thread::current().id();
                let _on_drop = OnDrop::new(move || send.send((started_on, thread::current().id())).unwrap());
                never.wait();
            })
        })
        .collect();
    tasks.iter().for_each(|task| until_waiting(&runtime, task.id()));
    tasks.iter().for_each(JoinHandle::cancel);
    tasks.into_iter().for_each(assert_cancelled);
    drop(send);
    let ends: Vec<_> = receive.into_iter().collect();
    assert_eq!(ends.len(), 100, "once each");
    assert!(ends.iter().all(|(started, ended)| started == ended));
}

#[test]
fn destructors_of_a_local_task_run_on_its_own_thread() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let (never, polled) = {
        let latch = Latch::new();
        (latch.clone(), latch)
    };
    let (send, receive) = mpsc::channel();
    let (give, given) = mpsc::channel();
    runtime
        .go(move || {
            let thread = thread::current().id();
            let handle = aqueduct::spawn_local(async move {
                let _on_drop = OnDrop::new(move || send.send((thread, thread::current().id())).unwrap());
                never.opened().await;
            });
            give.send(handle).unwrap();
        })
        .join()
        .unwrap();
    polled.block_thread_until_waited_for();
    let handle = given.recv().unwrap();
    handle.cancel();
    assert_cancelled(handle);
    let (started, ended) = receive.recv().unwrap();
    assert_eq!(started, ended);
}

#[test]
fn std_locks_held_are_poisoned_and_ours_would_not_be() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let locks = Arc::new((Mutex::new(0), RwLock::new(0)));
    let (theirs, never) = (locks.clone(), Latch::new());
    let handle = runtime.go(move || {
        let _first = theirs.0.lock().unwrap();
        let _second = theirs.1.write().unwrap();
        never.wait();
    });
    until_waiting(&runtime, handle.id());
    handle.cancel();
    assert_cancelled(handle);
    assert!(locks.0.is_poisoned() && locks.1.is_poisoned());
}

#[test]
fn joining_gives_up_when_the_joiner_is_cancelled_and_the_joined_goes_on() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (gate, shut) = {
        let latch = Latch::new();
        (latch.clone(), latch)
    };
    let (send, receive) = mpsc::channel();
    let joined = runtime.go(move || {
        gate.wait();
        send.send(7).unwrap();
    });
    let joiner = runtime.go(move || joined.join());
    until_waiting(&runtime, joiner.id());
    joiner.cancel();
    assert_cancelled(joiner);
    shut.open();
    assert_eq!(receive.recv(), Ok(7));
}

#[test]
fn a_dropped_handle_detaches() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (send, receive) = mpsc::channel();
    let gate = Latch::new();
    let shut = gate.clone();
    drop(runtime.go(move || {
        gate.wait();
        send.send(7).unwrap();
    }));
    shut.open();
    assert_eq!(receive.recv(), Ok(7));
}

/// Counts of a storm.
#[derive(Default)]
struct Tally {
    started: AtomicUsize,
    ended: AtomicUsize,
    live: Mutex<Vec<Weak<()>>>,
    drops: Drops,
}

impl Tally {
    fn task(self: &Arc<Self>) -> Member {
        self.started.fetch_add(1, SeqCst);
        let alive = Arc::new(());
        common::lock(&self.live).push(Arc::downgrade(&alive));
        Member { tally: self.clone(), _alive: alive, _counted: self.drops.one() }
    }
}

/// What each task of a storm owns.
struct Member {
    tally: Arc<Tally>,
    _alive: Arc<()>,
    _counted: Counted,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.tally.ended.fetch_add(1, SeqCst);
    }
}

/// A tree of tasks of both kinds that wait for each other, and whose members cancel each other.
fn grow(member: Member, mut rng: Rng, depth: u64) -> u64 {
    let mut children = Vec::new();
    for _ in 0..rng.below(4) {
        if depth == 0 {
            break;
        }
        let (child, seed) = (member.tally.task(), rng.next());
        children.push(match rng.below(3) {
            0 => aqueduct::go(move || grow(child, Rng::from_seed(seed), depth - 1)),
            1 => aqueduct::spawn(async move { grow(child, Rng::from_seed(seed), depth - 1) }),
            _ => aqueduct::spawn(async move {
                for _ in 0..seed % 3 {
                    aqueduct::yield_now_async().await;
                }
                grow(child, Rng::from_seed(seed), depth - 1)
            }),
        });
    }
    let _last_wait = rng.one_in(8).then(|| OnDrop::new(yield_now));
    let mut sum = 1;
    for child in children {
        match rng.below(6) {
            0 => child.cancel(),
            1 => drop(child),
            2 => {
                yield_now();
                child.cancel();
                sum += child.join().unwrap_or(0);
            }
            3 => sum += task::shield(|| child.join().unwrap_or(0)),
            4 => {
                let caught = catch_unwind(AssertUnwindSafe(|| child.join().unwrap_or(0)));
                match caught {
                    Ok(value) => sum += value,
                    Err(payload) => task::rethrow(payload),
                }
            }
            _ => sum += child.join().unwrap_or(0),
        }
    }
    if rng.one_in(16) {
        aqueduct::time::sleep(std::time::Duration::from_micros(rng.below(300)));
    }
    sum
}

#[test]
fn a_storm_of_cancellations_loses_nothing() {
    let dog = watchdog!(60);
    let mut rng = Rng::new("task_cancel storm");
    for round in 0..60 {
        let runtime = common::runtime(2);
        dog.watch(&runtime);
        dog.doing(format_args!("round {round}"));
        let tally = Arc::new(Tally::default());
        let roots: Vec<_> = (0..8)
            .map(|_| {
                let (member, rng) = (tally.task(), Rng::from_seed(rng.next()));
                runtime.go(move || grow(member, rng, 8))
            })
            .collect();
        let (mut finished, mut cancelled) = (0, 0);
        for root in roots {
            if rng.one_in(3) {
                root.cancel();
            }
            match block_thread_on(root) {
                Ok(_) => finished += 1,
                Err(error) if error.is_cancelled() => cancelled += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(finished + cancelled, 8);
        let report = runtime.shutdown(soon());
        assert!(report.is_complete(), "{report}");
        let ends = (tally.started.load(SeqCst), tally.ended.load(SeqCst), tally.drops.dropped());
        assert_eq!((ends.0, ends.0), (ends.1, ends.2), "each ended once");
        assert!(common::lock(&tally.live).iter().all(|alive| alive.strong_count() == 0), "nothing leaked");
    }
}

#[test]
fn an_abort_handle_cancels_and_outlives_its_task() {
    let dog = watchdog!(30);
    let runtime = common::runtime(2);
    dog.watch(&runtime);
    let drops = Drops::new();
    let dropped = drops.one();
    let task = runtime.go(move || {
        let _dropped = dropped;
        block_on(std::future::pending::<()>());
    });
    until_waiting(&runtime, task.id());
    let abort = task.abort_handle();
    let (other, id) = (abort.clone(), task.id());
    assert!(abort.id() == id && !abort.is_finished());
    thread::spawn(move || other.cancel()).join().unwrap();
    assert!(task.join().unwrap_err().is_cancelled());
    assert_eq!(drops.dropped(), 1);
    assert!(abort.is_finished());
    abort.cancel();
    // Of one that has ended already, and with a value: completion beats cancellation.
    let task = runtime.spawn(async { 7 });
    until(|| task.is_finished());
    let late = task.abort_handle();
    late.cancel();
    assert!(late.is_finished() && late.id() == task.id());
    assert_eq!(task.join().unwrap(), 7);
    // Nobody joins it, and its runtime has gone; neither has the handle.
    let detached = runtime.spawn(std::future::pending::<()>());
    let abort_detached = detached.abort_handle();
    drop(detached);
    assert!(!abort_detached.is_finished());
    abort_detached.cancel();
    until(|| abort_detached.is_finished());
    assert!(runtime.shutdown(Instant::now() + Duration::from_secs(10)).is_complete());
    for handle in [abort, late, abort_detached] {
        handle.cancel();
        assert!(handle.is_finished());
    }
}

#[test]
fn a_timed_join_gives_the_handle_back() {
    let _dog = watchdog!(30);
    let test = || {
        let gate = Latch::new();
        let shut = gate.clone();
        let limit = Duration::from_millis(20);
        let start = Instant::now();
        let task = go(move || shut.wait());
        let task = task.join_timeout(limit).expect_err("the gate is shut");
        let task = task.join_deadline(start + 2 * limit).expect_err("the gate is shut");
        assert!(start.elapsed() >= 2 * limit && !task.is_finished());
        gate.open();
        task.join_timeout(Duration::from_secs(20)).expect("the gate is open").unwrap();
        // What has ended is had without time.
        let task = go(|| panic!("of the task"));
        until(|| task.is_finished());
        let error = task.join_timeout(Duration::ZERO).expect("it has ended").map(|(): ()| ()).unwrap_err();
        assert!(error.is_panic());
    };
    test();
    go(test).join().unwrap();
}
