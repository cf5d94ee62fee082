//! Very many coroutines. Optimised builds go to the full numbers; debug builds to a tenth of them, and say so.

mod common;

use aqueduct::runtime::Runtime;
use aqueduct::{go, yield_now};
use common::child::alone;
use common::{Latch, proc, until};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Instant;

/// A tenth in debug builds.
fn scaled(full: usize) -> usize {
    if cfg!(debug_assertions) {
        println!("a debug build: {} instead of {full}", full / 10);
        full / 10
    } else {
        full
    }
}

/// Whether guards cost no mappings here.
fn kernel_has_light_guards() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel release");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(13))
}

#[test]
fn two_hundred_thousand_suspended_at_once() {
    alone(common::test_path!(), || {
        if !kernel_has_light_guards() {
            println!(
                "SKIPPED: before Linux 6.13 each guard costs two mappings; 200,000 do not fit vm.max_map_count"
            );
            return;
        }
        let tasks = scaled(200_000);
        let runtime = Runtime::builder().workers(2).stack_size(192 << 10).build().unwrap();
        runtime.go(|| ()).join().unwrap();
        let before = proc::resident();
        let (gate, parked) = (Latch::new(), Arc::new(AtomicUsize::new(0)));
        let handles: Vec<_> = (0..tasks)
            .map(|_| {
                let (shut, parked) = (gate.clone(), parked.clone());
                runtime.go(move || {
                    parked.fetch_add(1, SeqCst);
                    shut.wait();
                })
            })
            .collect();
        until(|| parked.load(SeqCst) == tasks);
        let full = proc::resident() - before;
        println!("{tasks} suspended: {} bytes each, {} mappings", full / tasks, proc::mappings());
        assert!(proc::mappings() < 10_000, "{} mappings", proc::mappings());
        // One page of stack and the task; unoptimised code needs a page more.
        let pages = if cfg!(debug_assertions) { 3 } else { 2 };
        assert!(full / tasks < pages * 4096, "{} bytes each", full / tasks);
        gate.open();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        drop((gate, parked));
        let since = Instant::now();
        until(|| {
            // The allocator keeps what it had for the tasks' headers until it is asked.
            // SAFETY: no requirements.
            unsafe { libc::malloc_trim(0) };
            proc::resident().saturating_sub(before) < full / 5
        });
        println!(
            "resident memory is back within {} of {full} bytes after {:?}",
            proc::resident().saturating_sub(before),
            since.elapsed()
        );
        assert!(since.elapsed().as_secs() < 10, "{:?}", since.elapsed());
        assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
    });
}

#[test]
fn a_million_spawned_and_finished() {
    alone(common::test_path!(), || {
        let tasks = scaled(1_000_000);
        let runtime = common::runtime(2);
        let finished = Arc::new(AtomicUsize::new(0));
        let count = finished.clone();
        runtime.run(|| {
            for i in 0..tasks {
                let count = count.clone();
                drop(go(move || {
                    if i % 4 == 0 {
                        yield_now();
                    }
                    count.fetch_add(1, Relaxed);
                }));
                if i % 1_000 == 0 {
                    yield_now();
                }
            }
        });
        until(|| finished.load(Relaxed) == tasks);
        until(|| runtime.dump().tasks().is_empty());
        assert!(runtime.shutdown(common::soon()).is_complete());
        assert!(proc::resident() < 512 << 20, "{} bytes resident", proc::resident());
    });
}

#[test]
fn joins_of_many_give_each_its_own_result() {
    alone(common::test_path!(), || {
        let tasks = scaled(200_000);
        let runtime = common::runtime(2);
        let handles: Vec<_> = (0..tasks).map(|i| runtime.go(move || i)).collect();
        handles.into_iter().enumerate().for_each(|(i, handle)| assert_eq!(handle.join().unwrap(), i));
    });
}
