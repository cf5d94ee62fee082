//! The start of a runtime: what the builder and the environment ask for, and what cannot be had.

mod common;

use aqueduct::runtime::Runtime;
use aqueduct::{Handle, LocalRuntime, task};
use common::child::{assert_says, lift_address_space_limit, limit_address_space};
use common::{Child, Latch, soon};
use std::io::ErrorKind;
use std::thread;

#[test]
fn no_workers_is_an_error() {
    let error = Runtime::builder().workers(0).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("at least one worker"), "{error}");
}

#[test]
fn stack_sizes_out_of_range_are_errors() {
    for bytes in [0, 100, (1 << 32) + 1, usize::MAX] {
        let error = Runtime::builder().workers(1).stack_size(bytes).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("4 KiB"), "{error}");
        let error = LocalRuntime::builder().stack_size(bytes).build_local().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = task::Builder::new().stack_size(bytes).go(|| ()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn the_environment_sets_workers_and_stack_size() {
    let child = Child::new(common::test_path!());
    let child = child.with("AQUEDUCT_WORKERS", "3").with("AQUEDUCT_STACK_SIZE", " 3000000 ");
    let ended = child.run("good", || {
        assert_eq!(Handle::current().workers(), 3);
        let stack = aqueduct::go(|| task::current().stack().size()).join().unwrap();
        assert!((3_000_000..5_000_000).contains(&stack), "{stack}");
        assert_eq!(common::runtime(1).workers(), 1, "the builder overrides");
        let stack = Runtime::builder().workers(1).stack_size(100_000).build().unwrap();
        let stack = stack.go(|| task::current().stack().size()).join().unwrap();
        assert!((100_000..1_000_000).contains(&stack), "{stack}");
    });
    ended.well();
}

#[test]
fn a_bad_environment_is_a_clear_error() {
    for (case, variable, value) in [
        ("workers: a word", "AQUEDUCT_WORKERS", "many"),
        ("workers: none", "AQUEDUCT_WORKERS", "0"),
        ("workers: negative", "AQUEDUCT_WORKERS", "-1"),
        ("workers: empty", "AQUEDUCT_WORKERS", ""),
        ("stack: a unit", "AQUEDUCT_STACK_SIZE", "64K"),
        ("stack: too small", "AQUEDUCT_STACK_SIZE", "64"),
    ] {
        let ended = Child::new(common::test_path!()).with(variable, value).run(case, || {
            let error = Runtime::new().unwrap_err();
            println!("THE ERROR: {error}");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            println!("THE PANIC: {}", common::panic_of(|| aqueduct::go(|| ())));
        });
        let output = ended.well();
        assert_says(&output, &[variable, "THE PANIC: the global runtime cannot be started"]);
    }
}

#[test]
fn threads_that_cannot_be_started_leave_fewer_workers() {
    let ended = Child::new(common::test_path!()).run("", || {
        // Room for a few threads of 2 MiB, and no more.
        limit_address_space(24 << 20);
        let runtime = Runtime::builder().workers(64).build();
        lift_address_space_limit();
        let runtime = runtime.unwrap();
        let workers = runtime.workers();
        assert!((1..64).contains(&workers), "{workers}");
        let tasks: Vec<_> = (0..100).map(|i| runtime.go(move || i)).collect();
        assert_eq!(tasks.into_iter().map(|task| task.join().unwrap()).sum::<i32>(), 4950);
        assert!(runtime.shutdown(soon()).is_complete());
    });
    ended.well();
}

#[test]
fn no_thread_at_all_is_a_clear_error() {
    let ended = Child::new(common::test_path!()).run("", || {
        limit_address_space(1 << 20);
        let error = Runtime::builder().workers(2).build().map(|_| ()).unwrap_err();
        lift_address_space_limit();
        assert!(error.to_string().contains("no worker thread could be started"), "{error}");
        assert_eq!(common::runtime(1).go(|| 7).join().unwrap(), 7, "later it can");
    });
    ended.well();
}

#[test]
fn the_main_functions_end_does_not_wait_for_other_tasks() {
    let ended = Child::new(common::test_path!()).run("", || {
        let parked = Latch::new();
        let waits = parked.clone();
        aqueduct::run(move || {
            drop(aqueduct::go(move || waits.wait()));
            7
        });
        assert_eq!(aqueduct::go(|| 7).join().unwrap(), 7, "the global runtime goes on");
        parked.open();
    });
    ended.well();
}

#[test]
fn threads_have_the_name_asked_for() {
    let runtime = Runtime::builder().workers(2).thread_name("named").build().unwrap();
    let name = runtime.go(|| thread::current().name().map(String::from)).join().unwrap().unwrap();
    assert!(["named-0", "named-1"].contains(&name.as_str()), "{name}");
}

#[test]
fn a_thread_name_with_a_null_byte_is_an_error() {
    let error = Runtime::builder().workers(1).thread_name("null\0byte").build().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("null byte"), "{error}");
}
