//! Stack sizes, and what a task can see of its stack.

mod common;

use aqueduct::runtime::Runtime;
use aqueduct::task::StackUse;
use aqueduct::{LocalRuntime, go, spawn, task, yield_now};
use common::child::{alone, assert_says, lift_address_space_limit, limit_address_space};
use common::{Child, Latch, Reports, soon, until, watchdog};
use std::hint::black_box;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn here() -> StackUse {
    task::current().stack()
}

/// The stack use where at least `bytes` of it are used.
fn at_depth(bytes: usize) -> StackUse {
    let frame = black_box([1_u8; 2 * KIB]);
    let stack = here();
    let stack = if stack.used() < bytes { at_depth(bytes) } else { stack };
    black_box(frame);
    stack
}

#[test]
fn defaults_by_kind() {
    let runtime = common::runtime(1);
    let closure = runtime.go(|| here().size()).join().unwrap();
    let expected = if cfg!(debug_assertions) { 960 * KIB } else { 192 * KIB };
    assert_eq!(closure, expected);
    assert_eq!(runtime.spawn(async { here().size() }).join().unwrap(), 2 * MIB - 64 * KIB);
    assert!(runtime.run(|| here().size()) >= 8 * MIB, "the main coroutine");
}

#[test]
fn sizes_are_rounded_up_and_belong_to_their_task() {
    let _dog = watchdog!(20);
    let sizes = [4 * KIB, 64 * KIB, 65 * KIB, 192 * KIB, 1_000_000, 4 * MIB, 20 * MIB];
    let builder = |bytes| task::Builder::new().stack_size(bytes);
    for bytes in sizes {
        let coroutine = builder(bytes).go(|| here().size()).unwrap().join().unwrap();
        assert!((bytes..=2 * bytes + 128 * KIB).contains(&coroutine), "{bytes}: {coroutine}");
        let future = builder(bytes).spawn(async { here().size() }).unwrap().join().unwrap();
        assert_eq!(coroutine, future);
        let local = go(move || builder(bytes).spawn_local(async { here().size() }).unwrap().join().unwrap());
        assert_eq!(coroutine, local.join().unwrap());
    }
    let runtime = Runtime::builder().workers(1).stack_size(3 * MIB).build().unwrap();
    assert!(runtime.go(|| here().size()).join().unwrap() >= 3 * MIB);
    let local = LocalRuntime::builder().stack_size(3 * MIB).build_local().unwrap();
    let handle = local.go(|| here().size());
    assert!(local.block_on(handle).unwrap() >= 3 * MIB);
}

#[test]
fn all_of_a_stack_can_be_used() {
    let _dog = watchdog!(20);
    for bytes in [128 * KIB, MIB, 8 * MIB] {
        let task =
            task::Builder::new().stack_size(bytes).go(move || at_depth(bytes - 48 * KIB).used()).unwrap();
        assert!(task.join().unwrap() >= bytes - 48 * KIB);
    }
}

#[test]
fn used_and_high_water_follow_the_depth() {
    let _dog = watchdog!(20);
    let task = task::Builder::new().stack_size(16 * MIB).go(|| {
        let before = here();
        let deep = at_depth(MIB);
        let after = here();
        (before, deep, after)
    });
    let (before, deep, after) = task.unwrap().join().unwrap();
    assert!(before.used() < 256 * KIB, "{before}");
    assert!((MIB..MIB + 64 * KIB).contains(&deep.used()), "{before}; {deep}");
    assert_eq!(before.used(), after.used());
    assert!(after.high_water() >= deep.used() && after.high_water() <= after.size(), "{after}");
    assert!(before.used() <= before.high_water());
    assert!(before.to_string().contains("bytes, high water"), "{before}");
}

#[test]
fn a_stack_and_its_numbers_stay_over_waits() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(2);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            runtime.go(|| {
                let before = here();
                for _ in 0..10 {
                    yield_now();
                    assert_eq!((here().size(), here().used()), (before.size(), before.used()));
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| task.join().unwrap());
    assert!(task::try_current().is_none());
    drop(spawn(async {}));
}

/// Returns when both have started: that takes memory too.
fn both_workers_run(runtime: &Runtime) {
    let meet = std::sync::Arc::new(std::sync::Barrier::new(2));
    let block = || {
        let meet = meet.clone();
        runtime.go(move || {
            let _leader = meet.wait();
        })
    };
    [block(), block()].into_iter().for_each(|task| task.join().unwrap());
}

#[test]
fn no_address_space_is_a_named_error_of_the_fallible_spawn() {
    let ended = Child::new(common::test_path!()).run("", || {
        let runtime = common::runtime(1);
        let never = Latch::new();
        runtime.go(|| ()).join().unwrap();
        limit_address_space(96 << 20);
        let error = runtime.block_on(async {
            loop {
                let gate = never.clone();
                match task::Builder::new().go(move || gate.wait()) {
                    Ok(parked) => {
                        common::until_waiting(&runtime, parked.id());
                        drop(parked);
                    }
                    Err(error) => break error,
                }
            }
        });
        lift_address_space_limit();
        println!("THE ERROR: {error}");
        never.open();
        assert!(runtime.shutdown(soon()).is_complete());
    });
    assert_says(&ended.well(), &["THE ERROR: no room for a coroutine stack of", "RLIMIT_AS", "ulimit -v"]);
}

#[test]
fn without_address_space_go_starts_later_and_nothing_is_lost() {
    alone(common::test_path!(), || {
        const TASKS: usize = 1_000;
        let (builder, reports) = Reports::of(Runtime::builder().workers(2));
        let runtime = builder.build().unwrap();
        both_workers_run(&runtime);
        limit_address_space(64 << 20);
        let gate = Latch::new();
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (shut, started) = (gate.clone(), count.clone());
                runtime.go(move || {
                    started.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    shut.wait();
                })
            })
            .collect();
        until(|| reports.count("no stack for a task") > 0);
        let started = || count.load(std::sync::atomic::Ordering::SeqCst);
        assert!((1..TASKS).contains(&started()), "{}", started());
        assert!(reports.count("RLIMIT_AS") > 0, "{:?}", reports.all());
        gate.open();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(started(), TASKS);
        lift_address_space_limit();
        assert!(runtime.shutdown(soon()).is_complete());
    });
}
