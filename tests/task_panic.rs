//! Panics stop at the task and reach the joiner, `run`'s caller, or the runtime's policy.

mod common;

use aqueduct::runtime::{PanicPolicy, Runtime};
use aqueduct::{block_on, go, task, task_local, yield_now};
use common::child::{alone, assert_says};
use common::{Child, Drops, Latch, OnDrop, panic_of, panic_text, until, until_waiting, watchdog};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Wake, Waker};
use std::thread;

fn quietly(text: &'static str) -> ! {
    resume_unwind(Box::new(text))
}

/// A value whose destructor panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        quietly("the bomb");
    }
}

#[test]
fn the_joiner_gets_payload_name_and_spawn_site() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let line = line!() + 1;
    let handle = runtime.block_on(async { task::Builder::new().name("doomed").go(|| panic_any(7_u64)) });
    let handle = handle.unwrap();
    let id = handle.id();
    let error = handle.join().unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled() && !error.is_deadlock());
    assert_eq!((error.id(), error.name()), (id, Some("doomed")));
    assert_eq!((error.spawn_site().file(), error.spawn_site().line()), (file!(), line));
    assert!(error.to_string().starts_with("task \"doomed\" (spawned at tests/task_panic.rs:"), "{error}");
    assert!(error.to_string().ends_with("panicked"), "{error}");
    assert_eq!(*error.into_panic().unwrap().downcast::<u64>().unwrap(), 7);
}

#[test]
fn the_text_of_a_panic_is_in_the_error() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    for handle in [runtime.go(|| panic!("lost {}", 3)), runtime.spawn(async { panic!("lost {}", 3) })] {
        let id = handle.id();
        let error = handle.join().unwrap_err();
        assert!(error.to_string().starts_with(&format!("task {id} (spawned at ")), "{error}");
        assert!(error.to_string().ends_with(" panicked: lost 3"), "{error}");
        assert_eq!(format!("{error:?}"), format!("JoinError({error})"));
        assert_eq!(panic_of(|| error.resume()), "lost 3");
    }
}

#[test]
fn a_cancelled_tasks_error_has_no_payload() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let handle = runtime.go(|| block_on(std::future::pending::<()>()));
    handle.cancel();
    let error = handle.join().unwrap_err();
    assert!(error.to_string().ends_with("was cancelled"), "{error}");
    let error = error.into_panic().map(|_| ()).unwrap_err();
    assert!(panic_of(|| error.resume()).ends_with("was cancelled"));
}

#[test]
fn a_panic_after_a_wait_and_one_in_a_poll_reach_the_joiner() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let late = runtime.go(|| {
        yield_now();
        quietly("late");
    });
    assert!(late.join().unwrap_err().to_string().ends_with("late"));
    let nested = runtime.spawn(async {
        block_on(async {
            yield_now();
            quietly("nested");
        })
    });
    assert!(nested.join().unwrap_err().to_string().ends_with("nested"));
}

#[test]
fn ignored_panics_of_detached_tasks_change_nothing() {
    let _dog = watchdog!(20);
    let runtime = Runtime::builder().workers(1).panic_policy(PanicPolicy::Ignore).build().unwrap();
    drop(runtime.go(|| quietly("nobody sees it")));
    drop(runtime.spawn(async { quietly("nor this") }));
    until(|| runtime.dump().tasks().is_empty());
    assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
}

#[test]
fn a_detached_panic_begins_the_shutdown_if_so_built() {
    let _dog = watchdog!(20);
    let runtime = Runtime::builder().workers(1).panic_policy(PanicPolicy::Shutdown).build().unwrap();
    let other = runtime.go(|| block_on(std::future::pending::<()>()));
    drop(runtime.go(|| quietly("nobody joins it")));
    assert!(other.join().unwrap_err().is_cancelled());
    assert!(runtime.go(|| 7).join().unwrap_err().is_cancelled());
}

#[test]
fn a_joined_panic_does_not_concern_the_policy() {
    let _dog = watchdog!(20);
    let runtime = Runtime::builder().workers(1).panic_policy(PanicPolicy::Shutdown).build().unwrap();
    assert!(runtime.go(|| quietly("joined")).join().is_err());
    assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
}

#[test]
fn a_cancelled_detached_task_does_not_concern_the_policy() {
    let _dog = watchdog!(20);
    let runtime = Runtime::builder().workers(1).panic_policy(PanicPolicy::Shutdown).build().unwrap();
    let task = runtime.go(|| block_on(std::future::pending::<()>()));
    task.cancel();
    drop(task);
    until(|| runtime.dump().tasks().is_empty());
    assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
}

#[test]
fn a_detached_panic_aborts_if_so_built() {
    let ended = Child::new(common::test_path!()).run("", || {
        let runtime = Runtime::builder().workers(1).panic_policy(PanicPolicy::Abort).build().unwrap();
        drop(runtime.go(|| panic!("nobody joins it")));
        block_on(std::future::pending::<()>());
    });
    assert_says(&ended.aborted(), &["nobody joins it"]);
}

#[test]
fn a_detached_tasks_output_may_panic_when_dropped() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let gate = Latch::new();
    let shut = gate.clone();
    drop(runtime.go(move || {
        gate.wait();
        Bomb
    }));
    drop(runtime.spawn(async { Bomb }));
    shut.open();
    until(|| runtime.dump().tasks().is_empty());
    assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
    // Finished first, detached afterwards: dropped here.
    let finished = runtime.go(|| Bomb);
    until(|| finished.is_finished());
    drop(finished);
}

#[test]
fn an_output_panicking_when_dropped_concerns_the_policy() {
    let _dog = watchdog!(20);
    let runtime = Runtime::builder().workers(1).panic_policy(PanicPolicy::Shutdown).build().unwrap();
    let other = runtime.go(|| block_on(std::future::pending::<()>()));
    drop(runtime.go(|| {
        yield_now();
        Bomb
    }));
    assert!(other.join().unwrap_err().is_cancelled());
}

#[test]
fn a_futures_destructor_may_panic() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    struct ReadyBomb(Bomb);
    impl Future for ReadyBomb {
        type Output = u32;
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<u32> {
            Poll::Ready(7)
        }
    }
    let error = runtime.spawn(ReadyBomb(Bomb)).join().unwrap_err();
    assert!(error.to_string().ends_with("panicked: the bomb"), "{error}");
    // A payload whose own destructor panics.
    drop(runtime.go(|| panic_any(Bomb)));
    until(|| runtime.dump().tasks().is_empty());
    assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
}

task_local! {
    static KEPT: common::Counted;
    static BOMB: Bomb;
}

#[test]
fn task_locals_go_with_a_future_whose_destructor_panics() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let drops = Drops::new();
    let kept = drops.one();
    let task = runtime.spawn(async move {
        KEPT.set(kept);
        let _bomb = Bomb;
        std::future::pending::<()>().await;
    });
    until_waiting(&runtime, task.id());
    task.cancel();
    until(|| task.is_finished());
    assert_eq!(drops.dropped(), 1, "not with its handle");
    assert!(task.join().unwrap_err().is_panic());
}

#[test]
fn a_future_and_its_task_local_may_both_panic_when_dropped() {
    alone(common::test_path!(), || {
        let runtime = common::runtime(1);
        let task = runtime.spawn(async {
            BOMB.set(Bomb);
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        });
        until_waiting(&runtime, task.id());
        task.cancel();
        drop(task);
        until(|| runtime.dump().tasks().is_empty());
        assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
    });
}

#[test]
fn hooks_of_a_local_task_whose_destructor_panics_go_on_its_own_thread() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let (send, receive) = mpsc::channel();
    let spawning = runtime.go(move || {
        aqueduct::spawn_local(async move {
            let here = thread::current().id();
            let last = OnDrop::new(move || send.send((here, thread::current().id())).unwrap());
            let hook = aqueduct::wait::hook(move || _ = &last, || ());
            std::mem::forget(hook);
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        })
    });
    let task = spawning.join().unwrap();
    until_waiting(&runtime, task.id());
    task.cancel();
    until(|| task.is_finished());
    // What is left of the task is freed here.
    drop(task);
    let (made, dropped) = receive.recv().unwrap();
    assert_eq!(made, dropped);
}

#[test]
fn a_blocking_closures_value_that_nobody_takes_may_panic_when_dropped() {
    // One thread of the pool: it is asked for more when it has done with what was abandoned.
    let child = Child::new(common::test_path!()).with("BLOCKING_MAX_THREADS", "1");
    let ended = child.run("", || {
        let gate = Latch::new();
        let (first, second) = (gate.clone(), gate.clone());
        drop(aqueduct::blocking(move || {
            first.block_thread();
            Bomb
        }));
        drop(aqueduct::blocking(move || {
            second.block_thread();
            resume_unwind(Box::new(Bomb));
        }));
        gate.open();
        assert_eq!(block_on(aqueduct::blocking(|| 7)), 7);
    });
    ended.well();
}

struct BrokenWaker;

impl Wake for BrokenWaker {
    fn wake(self: Arc<Self>) {
        quietly("a broken waker");
    }
}

/// Polls a future once with a waker that panics.
fn poll_with_broken_waker(future: std::pin::Pin<&mut impl Future>) {
    let waker = Waker::from(Arc::new(BrokenWaker));
    assert!(future.poll(&mut std::task::Context::from_waker(&waker)).is_pending());
}

#[test]
fn a_panicking_waker_takes_no_worker_with_it() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    // The worker calls the waker of its timer itself.
    let waits = runtime.go(|| {
        let mut broken = std::pin::pin!(aqueduct::time::Timer::after(std::time::Duration::from_millis(1)));
        poll_with_broken_waker(broken.as_mut());
        aqueduct::time::sleep(std::time::Duration::from_millis(3));
    });
    waits.join().unwrap();
    assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
}

#[test]
fn a_waker_may_panic_with_a_payload_whose_destructor_panics() {
    struct Doubly(Latch);
    impl Wake for Doubly {
        fn wake(self: Arc<Self>) {
            self.0.open();
            resume_unwind(Box::new(Bomb));
        }
    }
    alone(common::test_path!(), || {
        let runtime = common::runtime(1);
        let called = Latch::new();
        let waker = Waker::from(Arc::new(Doubly(called.clone())));
        let waits = runtime.go(move || {
            let timer = aqueduct::time::Timer::after(std::time::Duration::from_millis(1));
            let mut timer = Box::pin(timer);
            assert!(timer.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
            called.wait();
        });
        waits.join().unwrap();
        assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
    });
}

#[test]
fn a_panicking_waker_of_a_joiner_aborts() {
    let ended = Child::new(common::test_path!()).run("", || {
        let runtime = common::runtime(1);
        let gate = Latch::new();
        let shut = gate.clone();
        let mut joined = runtime.go(move || gate.wait());
        poll_with_broken_waker(std::pin::Pin::new(&mut joined));
        shut.open();
        block_on(std::future::pending::<()>());
    });
    ended.aborted();
}

#[test]
fn run_resumes_a_panic_in_the_caller() {
    let _dog = watchdog!(20);
    let payload = catch_unwind(|| aqueduct::run(|| panic_any(7_u64))).unwrap_err();
    assert_eq!(*payload.downcast::<u64>().unwrap(), 7);
    let runtime = common::runtime(1);
    assert_eq!(panic_of(|| runtime.run(|| quietly("main"))), "main");
    let local = aqueduct::LocalRuntime::new().unwrap();
    assert_eq!(panic_of(|| local.run(|| quietly("local main"))), "local main");
    assert_eq!(panic_of(|| local.block_on(async { quietly("local future") })), "local future");
    assert_eq!(local.run(|| 7), 7, "it goes on");
}

#[test]
fn run_inside_a_coroutine_resumes_a_panic_there() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let text = runtime.go(|| panic_of(|| aqueduct::run(|| quietly("inner main"))));
    assert_eq!(text.join().unwrap(), "inner main");
}

#[test]
fn run_borrows_from_its_caller() {
    let _dog = watchdog!(20);
    let mut words = vec!["one".to_string()];
    let length = aqueduct::run(|| {
        words.push("two".into());
        yield_now();
        words.push(go(|| "three".to_string()).join().unwrap());
        words.len()
    });
    assert_eq!((length, words.len()), (3, 3));
    let runtime = common::runtime(2);
    let drops = Drops::new();
    let counted = &drops;
    let nested = runtime.run(|| {
        let here = counted.one();
        let there = aqueduct::run(|| {
            yield_now();
            let _see = &here;
            counted.one()
        });
        drop(there);
        counted.dropped()
    });
    assert_eq!((nested, drops.dropped()), (1, 2));
}

#[test]
fn run_returns_after_its_closures_end_also_when_it_unwinds() {
    let _dog = watchdog!(20);
    let ended = std::cell::Cell::new(0);
    let counter = std::sync::atomic::AtomicUsize::new(0);
    let text = panic_of(|| {
        aqueduct::run(|| {
            let _late = OnDrop::new(|| {
                yield_now();
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
            quietly("unwinds and waits");
        })
    });
    ended.set(counter.into_inner());
    assert_eq!((text.as_str(), ended.get()), ("unwinds and waits", 1));
}

#[test]
fn a_panic_in_one_coroutine_leaves_a_suspended_neighbour_alone() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let gate = Latch::new();
    let shut = gate.clone();
    let neighbour = runtime.go(move || {
        gate.wait();
        std::thread::panicking()
    });
    until_waiting(&runtime, neighbour.id());
    assert!(runtime.go(|| quietly("a panic")).join().is_err());
    shut.open();
    assert!(!neighbour.join().unwrap());
}

#[test]
fn many_panics_interleaved_with_waits_in_destructors_all_arrive() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let tasks: Vec<_> = (0..200_u32)
        .map(|i| {
            runtime.go(move || {
                let _wait = OnDrop::new(yield_now);
                let inner = catch_unwind(AssertUnwindSafe(|| {
                    let _wait = OnDrop::new(|| (0..i % 5).for_each(|_| yield_now()));
                    resume_unwind(Box::new(i));
                }));
                let payload = inner.unwrap_err();
                resume_unwind(Box::new(*payload.downcast::<u32>().unwrap() + 1));
            })
        })
        .collect();
    for (i, task) in (0..).zip(tasks) {
        let payload = task.join().unwrap_err().into_panic().unwrap();
        assert_eq!(*payload.downcast::<u32>().unwrap(), i + 1);
    }
    let calm = runtime.go(std::thread::panicking);
    assert!(!calm.join().unwrap());
}

#[test]
fn the_panic_hook_runs_on_a_coroutines_stack() {
    alone(common::test_path!(), || {
        let (send, receive) = std::sync::mpsc::channel();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let task = task::try_current().and_then(|task| task.name().map(String::from));
            let backtrace = std::backtrace::Backtrace::force_capture().to_string().len();
            send.send((panic_text(info.payload()), task, backtrace)).unwrap();
            before(info);
        }));
        let runtime = common::runtime(1);
        let handle =
            runtime.block_on(async { task::Builder::new().name("doomed").go(|| panic!("to the hook")) });
        assert!(handle.unwrap().join().is_err());
        let (text, task, backtrace) = receive.recv().unwrap();
        assert_eq!((text.as_str(), task.as_deref()), ("to the hook", Some("doomed")));
        assert!(backtrace > 0);
    });
}

/// The child package is built once, with this cargo, into a folder of its own in the target folder.
fn panic_abort_program() -> std::path::PathBuf {
    use std::path::Path;
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/panic_abort");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panic_abort");
    // The lock file of this workspace, so that the versions at hand are used.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let source = target.join("source");
    std::fs::create_dir_all(source.join("src")).unwrap();
    let manifest = std::fs::read_to_string(package.join("Cargo.toml")).unwrap();
    let manifest = manifest.replace("../..", env!("CARGO_MANIFEST_DIR"));
    write_if_new(&source.join("Cargo.toml"), manifest.as_bytes());
    write_if_new(&source.join("src/main.rs"), &std::fs::read(package.join("src/main.rs")).unwrap());
    if let Ok(lock) = std::fs::read(lock) {
        std::fs::write(source.join("Cargo.lock"), lock).unwrap();
    }
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--manifest-path"])
        .arg(source.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    target.join("debug/panic_abort")
}

fn write_if_new(path: &std::path::Path, text: &[u8]) {
    if std::fs::read(path).is_ok_and(|there| there == text) {
        return;
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn where_panics_abort_cancelling_is_cooperative() {
    let _dog = watchdog!(180);
    let program = panic_abort_program();
    let output = std::process::Command::new(&program).output().expect("the program");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("cooperative: ok"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = std::process::Command::new(&program).arg("--panic").output().expect("the program");
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(libc::SIGABRT));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a task's panic"));
}

#[test]
fn a_neighbours_panic_about_its_context_comes_with_the_remedy() {
    let lost = || {
        let text = "there is no reactor running, must be called from the context of a Tokio 1.x runtime";
        std::panic::panic_any(text)
    };
    let error = aqueduct::go(lost).join().map(|(): ()| ()).unwrap_err().to_string();
    assert!(error.contains("`.in_tokio()`") && error.contains("aqueduct-compat"), "{error}");
}
