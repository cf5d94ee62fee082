//! Where panics abort nothing can unwind: cancelling is cooperative, and shutdown tells what does not end.

use aqueduct::{LocalRuntime, Runtime, block_on, task, wait, yield_now};
use std::future::pending;
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn main() {
    assert!(cfg!(panic = "abort"), "built as it should be");
    if std::env::args().any(|arg| arg == "--panic") {
        let _ = aqueduct::go(|| panic!("a task's panic")).join();
        unreachable!("the panic aborts");
    }
    futures_are_dropped_between_polls();
    unstarted_closures_are_dropped();
    a_wait_returns_only_when_it_is_complete();
    what_run_waits_for_is_not_cancelled();
    a_local_runtime_leaks_what_does_not_end();
    shutdown_lists_what_does_not_end();
    println!("cooperative: ok");
}

fn futures_are_dropped_between_polls() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (send, receive) = mpsc::channel();
    let handle = runtime.spawn(async move {
        send.send(()).unwrap();
        pending::<()>().await;
        drop(send);
    });
    receive.recv().unwrap();
    handle.cancel();
    assert!(handle.join().unwrap_err().is_cancelled());
    assert!(receive.recv().is_err(), "its values are gone");
}

fn unstarted_closures_are_dropped() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (free, is_free) = mpsc::channel::<()>();
    let occupying = runtime.go(move || is_free.recv());
    let handle = runtime.go(|| unreachable!("cancelled before it started"));
    handle.cancel();
    free.send(()).unwrap();
    assert!(handle.join().map(|()| ()).unwrap_err().is_cancelled());
    occupying.join().unwrap().unwrap();
}

fn a_wait_returns_only_when_it_is_complete() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (send, receive) = mpsc::channel();
    let handle = runtime.go(move || {
        send.send(()).unwrap();
        for _ in 0..100 {
            yield_now();
        }
        aqueduct::time::sleep(Duration::from_millis(5));
        7
    });
    receive.recv().unwrap();
    handle.cancel();
    assert_eq!(handle.join().unwrap(), 7);
}

fn what_run_waits_for_is_not_cancelled() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (send, receive) = mpsc::channel();
    let handle = runtime.go(move || {
        let local = LocalRuntime::new().unwrap();
        send.send(()).unwrap();
        let here = local.block_on(async {
            aqueduct::time::Timer::after(Duration::from_millis(5)).await;
            3
        });
        here + aqueduct::run(|| {
            aqueduct::time::sleep(Duration::from_millis(5));
            4
        })
    });
    receive.recv().unwrap();
    handle.cancel();
    assert_eq!(handle.join().unwrap(), 7);
}

fn a_local_runtime_leaks_what_does_not_end() {
    let runtime = LocalRuntime::new().unwrap();
    let parked = runtime.go(|| block_on(pending::<()>()));
    runtime.run(yield_now);
    drop(runtime);
    assert!(!parked.is_finished());
}

fn shutdown_lists_what_does_not_end() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (send, receive) = mpsc::channel();
    let tell = send.clone();
    let parked = runtime.block_on(async {
        task::Builder::new().name("parked for good").go(move || {
            tell.send(()).unwrap();
            block_on(pending::<()>());
        })
    });
    let shielded = runtime.go(move || {
        send.send(()).unwrap();
        let _guard = wait::hook(|| (), || ());
        yield_now();
    });
    receive.recv().unwrap();
    receive.recv().unwrap();
    let report = runtime.shutdown(Instant::now() + Duration::from_millis(300));
    shielded.join().unwrap();
    assert_eq!(report.remaining().len(), 1, "{report}");
    assert_eq!(report.remaining()[0].name(), Some("parked for good"));
    drop(parked);
}
