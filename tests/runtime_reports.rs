//! Whoever hears a runtime's reports may fail: nothing else does.

mod common;

use aqueduct::runtime::{Report, Runtime, WaitsInPoll};
use aqueduct::yield_now;
use common::child::alone;
use common::{Latch, until, watchdog};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Barrier};

#[test]
fn a_reporter_that_panics_takes_no_task_with_it() {
    let _dog = watchdog!(20);
    let builder = Runtime::builder().workers(1).waits_in_poll(WaitsInPoll::Report);
    let runtime = builder.on_report(|report: &Report| panic!("{report}")).build().unwrap();
    runtime.spawn(async { yield_now() }).join().unwrap();
    assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
}

#[test]
fn a_reporter_that_panics_takes_no_worker_with_it() {
    alone(common::test_path!(), || {
        let reports = Arc::new(AtomicUsize::new(0));
        let counted = reports.clone();
        let builder = Runtime::builder().workers(2).on_report(move |report: &Report| {
            counted.fetch_add(1, SeqCst);
            panic!("{report}");
        });
        let runtime = builder.build().unwrap();
        let (both, free, go_on) = (Arc::new(Barrier::new(2)), Latch::new(), Latch::new());
        let stuck = runtime.go({
            let (both, free) = (both.clone(), free.clone());
            move || {
                both.wait();
                free.block_thread();
            }
        });
        // On the worker that reports the other one.
        let parked = runtime.go({
            let go_on = go_on.clone();
            move || {
                both.wait();
                go_on.wait();
            }
        });
        until(|| reports.load(SeqCst) > 0);
        free.open();
        stuck.join().unwrap();
        go_on.open();
        parked.join().unwrap();
    });
}

#[test]
fn reports_that_standard_error_refuses_are_lost() {
    alone(common::test_path!(), || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        // SAFETY: standard error is open.
        let before = unsafe { libc::dup(2) };
        // SAFETY: both are open.
        let redirect = |to| assert_eq!(unsafe { libc::dup2(to, 2) }, 2);
        redirect(writer.as_raw_fd());
        let runtime = Runtime::builder().workers(1).waits_in_poll(WaitsInPoll::Report).build().unwrap();
        let result = runtime.spawn(async { yield_now() }).join();
        redirect(before);
        result.unwrap();
    });
}
