//! Overflow of a stack prints whose it was, and aborts: each in a process of its own.

mod common;

use aqueduct::generator::{Coroutine, Generator, Suspender};
use aqueduct::net::{self, TcpListener};
use aqueduct::{block_on, go, spawn, task};
use common::Child;
use common::child::assert_says;
use std::hint::black_box;
use std::io::{self, Read, Write};

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
    let remedy = "remedy: spawn it with task::Builder::stack_size;";
    assert_says(
        &ended.aborted(),
        &["the stack of a future", "overflowed", "tests/stack_overflow.rs:", remedy],
    );
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
    let output = ended.aborted();
    assert_says(&output, &["overflowed", "main coroutine (run at tests/stack_overflow.rs:", "task::Builder"]);
    // They do not change the size of this one.
    assert!(!output.contains("AQUEDUCT_STACK_SIZE") && !output.contains("Runtime::builder"), "{output}");
}

#[test]
fn in_a_generator() {
    let remedy = "remedy: with_stack_size of Generator";
    let ended = Child::new(common::test_path!()).run("in main", || {
        aqueduct::run(|| Generator::new(|items| items.suspend(recurse(0))).next());
    });
    let output = ended.aborted();
    assert_says(&output, &["the stack of a generator inside task \"main\"", "overflowed", remedy]);
    let ended = Child::new(common::test_path!()).run("in a future", || {
        let _ =
            block_on(spawn(async { Coroutine::new(|_: &Suspender<'_, (), ()>, ()| recurse(0)).resume(()) }));
    });
    assert_says(
        &ended.aborted(),
        &["the stack of a generator inside a task", "tests/stack_overflow.rs:", remedy],
    );
}

#[test]
fn in_a_future_after_a_generator_has_been_resumed() {
    let ended = Child::new(common::test_path!()).run("", || {
        let _ = block_on(spawn(async {
            assert_eq!(Generator::new(|items| items.suspend(1)).next(), Some(1));
            recurse(0)
        }));
    });
    assert_says(&ended.aborted(), &["the stack of a future", "overflowed"]);
}

#[test]
fn in_a_connection_of_serve() {
    let ended = Child::new(common::test_path!()).run("", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _server = net::serve(listener, |_| Err(io::Error::other(recurse(0).to_string())));
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all(b"input").unwrap();
        let _ = client.read(&mut [0]);
    });
    assert_says(&ended.aborted(), &["remedy: Runtime::builder().stack_size or AQUEDUCT_STACK_SIZE"]);
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
