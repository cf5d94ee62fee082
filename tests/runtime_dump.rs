//! What a dump shows of every live task; and `fork`.

mod common;

use aqueduct::runtime::TaskInfo;
use aqueduct::task::{Kind, State};
use aqueduct::{Handle, block_on, task};
use common::child::{alone, assert_says};
use common::{Child, Latch, until, until_waiting, watchdog};
use std::future::pending;
use std::time::Duration;

/// The one task of this name.
#[track_caller]
fn named(handle: &Handle, name: &str) -> TaskInfo {
    let dump = handle.dump();
    let mut found = dump.tasks().iter().filter(|task| task.name() == Some(name));
    let task = found.next().unwrap_or_else(|| panic!("no {name:?} in:\n{dump}"));
    assert!(found.next().is_none(), "{dump}");
    task.clone()
}

#[test]
fn a_waiting_coroutine_with_all_its_particulars() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let spawned = line!() + 2;
    let handle = runtime.block_on(async {
        task::Builder::new().name("the waiter").go(|| {
            block_on(pending::<()>());
        })
    });
    let handle = handle.unwrap();
    until_waiting(&runtime, handle.id());
    let task = named(&runtime, "the waiter");
    assert_eq!((task.id(), task.kind(), task.state()), (handle.id(), Kind::Coroutine, State::Waiting));
    assert_eq!(task.worker(), Some(0));
    assert_eq!((task.spawn_site().file(), task.spawn_site().line()), (file!(), spawned));
    let site = task.wait_site().expect("it waits in a call");
    assert_eq!((site.file(), site.line()), (file!(), spawned + 1));
    until(|| named(&runtime, "the waiter").age() > Duration::from_millis(5));
    let text = runtime.dump().to_string();
    assert!(text.starts_with("1 tasks\ncoroutine #"), "{text}");
    for part in [
        "\"the waiter\"",
        "spawned at tests/runtime_dump.rs:",
        " ago, waiting at tests/runtime_dump.rs:",
        "worker 0",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn futures_between_polls_in_a_poll_and_unstarted() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let between =
        runtime.block_on(async { task::Builder::new().name("between").spawn(pending::<()>()) }).unwrap();
    until_waiting(&runtime, between.id());
    let task = named(&runtime, "between");
    assert_eq!((task.kind(), task.state(), task.wait_site()), (Kind::Future, State::Waiting, None));
    let in_poll = runtime.spawn(async { block_on(pending::<()>()) });
    until(|| {
        runtime.dump().tasks().iter().any(|task| task.id() == in_poll.id() && task.wait_site().is_some())
    });
    let (gate, running) = (Latch::new(), Latch::new());
    let (shut, started) = (gate.clone(), running.clone());
    let busy = runtime.block_on(async {
        task::Builder::new().name("busy").go(move || {
            started.open();
            shut.block_thread();
        })
    });
    running.block_thread();
    let unstarted = runtime.block_on(async { task::Builder::new().name("unstarted").go(|| ()) }).unwrap();
    let task = named(&runtime, "busy");
    assert_eq!((task.state(), task.wait_site()), (State::Running, None));
    let task = named(&runtime, "unstarted");
    assert_eq!((task.state(), task.worker()), (State::Ready, None));
    assert!(task.to_string().ends_with(", ready, not yet run"), "{task}");
    gate.open();
    busy.unwrap().join().unwrap();
    unstarted.join().unwrap();
    until(|| runtime.dump().tasks().len() == 2);
}

#[test]
fn the_wait_site_is_the_users_line() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let parked = runtime.go(|| block_on(pending::<()>()));
    let line = line!() + 3;
    let joiner = runtime.block_on(async {
        task::Builder::new().name("joiner").go(move || {
            let _ = parked.join();
        })
    });
    until_waiting(&runtime, joiner.unwrap().id());
    assert_eq!(
        named(&runtime, "joiner").wait_site().map(|site| (site.file(), site.line())),
        Some((file!(), line))
    );
    let line = line!() + 2;
    let sleeper = runtime.go(|| {
        aqueduct::time::sleep(Duration::from_secs(3600));
    });
    until_waiting(&runtime, sleeper.id());
    let dump = runtime.dump();
    let task = dump.tasks().iter().find(|task| task.id() == sleeper.id()).unwrap();
    assert_eq!(task.wait_site().map(|site| (site.file(), site.line())), Some((file!(), line)), "{dump}");
}

#[test]
fn a_dump_from_inside_shows_the_caller_running() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    let state = runtime.go(|| {
        let me = task::current().id();
        let dump = Handle::current().dump();
        dump.tasks().iter().find(|task| task.id() == me).map(TaskInfo::state)
    });
    assert_eq!(state.join().unwrap(), Some(State::Running));
}

#[test]
fn a_hundred_thousand_tasks_are_listed_in_order() {
    let _dog = watchdog!(60);
    let runtime = common::runtime(2);
    let tasks: Vec<_> = (0..100_000).map(|_| runtime.spawn(pending::<()>())).collect();
    let dump = runtime.dump();
    let ids: Vec<_> = dump.tasks().iter().map(TaskInfo::id).collect();
    let expected: Vec<_> = tasks.iter().map(|task| task.id()).collect();
    assert_eq!(ids, expected);
}

#[test]
fn a_dump_is_taken_while_tasks_come_and_go() {
    let _dog = watchdog!(30);
    let runtime = common::runtime(2);
    let spawning = runtime.go(|| {
        for _ in 0..2_000 {
            drop(aqueduct::go(aqueduct::yield_now));
            drop(aqueduct::spawn(aqueduct::yield_now_async()));
            aqueduct::yield_now();
        }
    });
    while !spawning.is_finished() {
        for task in runtime.dump().tasks() {
            assert!(task.worker().is_none_or(|worker| worker < 2), "{task}");
        }
    }
    spawning.join().unwrap();
}

#[test]
fn fork_without_exec_panics_clearly_in_the_child() {
    let ended = Child::new(common::test_path!()).run("", || {
        let runtime = common::runtime(1);
        assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
        // SAFETY: the child uses only what it says, then exits; std's locks may be held by other threads of the
        // parent, but the one worker sleeps.
        let child = unsafe { libc::fork() };
        if child == 0 {
            std::panic::set_hook(Box::new(|_| ()));
            let spawn = common::panic_of(|| drop(runtime.go(|| 7)));
            let wait = common::panic_of(|| block_on(pending::<()>()));
            println!("THE CHILD: {spawn}");
            println!("THE CHILD: {wait}");
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(3) };
        }
        let mut status = 0;
        // SAFETY: writes to the integer it is given.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 3);
        assert_eq!(runtime.go(|| 7).join().unwrap(), 7, "the parent goes on");
    });
    let output = ended.well();
    assert_says(&output, &["THE CHILD: aqueduct was used in a child made by fork without exec"]);
    if !common::child::is_child() {
        assert_eq!(output.matches("fork without exec").count(), 2, "{output}");
    }
}

#[test]
fn commands_work_from_a_coroutine() {
    alone(common::test_path!(), || {
        use std::os::unix::process::CommandExt;
        let runtime = common::runtime(1);
        let task = runtime.go(|| {
            let output = std::process::Command::new("/bin/echo").arg("from a coroutine").output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        });
        assert_eq!(task.join().unwrap(), "from a coroutine\n");
        // With a closure to run before `exec` it forks, on the coroutine's stack.
        let task = runtime.go(|| {
            let mut command = std::process::Command::new("/bin/echo");
            // SAFETY: getpid is async-signal-safe.
            unsafe {
                command.arg("forked").pre_exec(|| {
                    libc::getpid();
                    Ok(())
                })
            };
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        });
        assert_eq!(task.join().unwrap(), "forked\n");
        assert_eq!(runtime.go(|| 7).join().unwrap(), 7);
    });
}
