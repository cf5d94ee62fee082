//! Overflow of a stack prints whose it was, and aborts: each in a process of its own.

mod common;

use aqueduct::{block_on, go, spawn, task};
use common::Child;
use common::child::assert_says;
use std::hint::black_box;

/// Uses stack until there is none.
#[expect(unconditional_recursion, reason = "on purpose")]
fn recurse(depth: u64) -> u64 {
    let local = black_box([depth; 64]);
    recurse(local[63] + 1) + local[0]
}

#[test]
fn in_a_coroutine() {
    let ended = Child::new(common::test_path!()).run("", || {
        let _ = go(|| recurse(0)).join();
    });
    assert_says(&ended.aborted(), &["overflowed", "tests/stack_overflow.rs:", "stack_size"]);
}

#[test]
fn in_a_named_coroutine() {
    let ended = Child::new(common::test_path!()).run("", || {
        let _ = task::Builder::new().name("the deep one").go(|| recurse(0)).unwrap().join();
    });
    assert_says(&ended.aborted(), &["overflowed", "the deep one", "tests/stack_overflow.rs:"]);
}

#[test]
fn in_the_deep_recursion_of_a_future() {
    let ended = Child::new(common::test_path!()).run("", || {
        let _ = block_on(spawn(async { recurse(0) }));
    });
    assert_says(&ended.aborted(), &["overflowed", "tests/stack_overflow.rs:"]);
}

#[test]
fn in_a_named_future() {
    let ended = Child::new(common::test_path!()).run("", || {
        let _ = block_on(task::Builder::new().name("a deep future").spawn(async { recurse(0) }).unwrap());
    });
    assert_says(&ended.aborted(), &["overflowed", "a deep future", "tests/stack_overflow.rs:"]);
}

#[test]
fn after_waits_on_the_stack_and_in_the_main_coroutine() {
    let ended = Child::new(common::test_path!()).run("after a wait", || {
        let _ = go(|| {
            (0..3).for_each(|_| aqueduct::yield_now());
            recurse(0)
        })
        .join();
    });
    assert_says(&ended.aborted(), &["overflowed", "tests/stack_overflow.rs:"]);
    let ended = Child::new(common::test_path!()).run("main", || {
        aqueduct::run(|| recurse(0));
    });
    assert_says(&ended.aborted(), &["overflowed", "main", "tests/stack_overflow.rs:"]);
}

#[test]
fn in_a_local_runtime() {
    let ended = Child::new(common::test_path!()).run("its own thread", || {
        aqueduct::LocalRuntime::new().unwrap().run(|| recurse(0));
    });
    assert_says(&ended.aborted(), &["overflowed", "main", "tests/stack_overflow.rs:"]);
    let ended = Child::new(common::test_path!()).run("in a coroutine", || {
        let _ = go(|| aqueduct::LocalRuntime::new().unwrap().run(|| recurse(0))).join();
    });
    assert_says(&ended.aborted(), &["overflowed", "main", "tests/stack_overflow.rs:"]);
}

#[test]
fn of_a_plain_thread_is_still_told_by_std() {
    let ended = Child::new(common::test_path!()).run("", || {
        let _runtime = common::runtime(1);
        let _ = std::thread::Builder::new().name("plain".into()).spawn(|| recurse(0)).unwrap().join();
    });
    assert_says(&ended.aborted(), &["thread 'plain'", "overflowed its stack"]);
}
