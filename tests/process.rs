//! Child processes: status and output in every world, many at once, how they end, who reaps them.

mod common;
mod net_common;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use aqueduct::process::{Command, ExitStatus, Output, Stdio};
use aqueduct::signal::{self, SIGCHLD, SIGKILL, SIGTERM};
use aqueduct::{Handle, LocalRuntime, Wait, go, spawn, time};
use common::life::Style;
use common::party::PARTIES;
use net_common::everywhere;

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

async fn status(style: Style, mut command: Command) -> ExitStatus {
    match style {
        Style::Go => command.status().unwrap(),
        Style::Async => command.status_async().await.unwrap(),
    }
}

async fn output(style: Style, mut command: Command) -> Output {
    match style {
        Style::Go => command.output().unwrap(),
        Style::Async => command.output_async().await.unwrap(),
    }
}

/// Whether the process is there, if only as a zombie.
fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn status_and_output_in_every_world() {
    let _dog = common::watchdog!(60);
    for party in PARTIES {
        let ended = party.live(|style| async move {
            let code = status(style, sh("exit 7")).await.code();
            let output = output(style, sh("cat; echo out; echo err >&2; exit 3")).await;
            (code, output)
        });
        let (code, output) = ended.join();
        assert_eq!(code, Some(7));
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    }
}

#[test]
fn a_hundred_children_at_once_take_no_threads() {
    common::child::alone(common::test_path!(), || {
        for party in PARTIES {
            aqueduct::run(|| assert!(sh("exit 0").status().unwrap().success()));
            let (hold, held) = (std::sync::Arc::new(common::Latch::new()), 100);
            let before = common::proc::threads().len();
            let started = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let running: Vec<_> = (0..held)
                .map(|i| {
                    let (hold, started) = (hold.clone(), started.clone());
                    party.live(move |style| async move {
                        let mut command = sh(&format!("read line; exit {i}"));
                        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
                        let stdin = child.stdin.take();
                        started.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        let opener = spawn(async move {
                            hold.opened().await;
                            drop(stdin);
                        });
                        let status = match style {
                            Style::Go => child.wait().unwrap(),
                            Style::Async => child.wait_async().await.unwrap(),
                        };
                        style.wait(opener).await.unwrap();
                        status.code()
                    })
                })
                .collect();
            common::until(|| started.load(std::sync::atomic::Ordering::SeqCst) == held);
            if party != common::party::Party::Thread {
                assert_eq!(common::proc::threads().len(), before, "{party:?}");
            }
            hold.open();
            let codes: Vec<_> = running.into_iter().map(|child| child.join()).collect();
            assert_eq!(codes, (0..100).map(Some).collect::<Vec<_>>());
        }
    });
}

#[test]
fn more_output_than_a_pipe_holds_on_both_at_once() {
    let _dog = common::watchdog!(60);
    // Turns between the two, in pieces that fill a pipe several times over.
    let script = "i=0; while [ $i -lt 10 ]; do head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2; \
                  i=$((i+1)); done";
    for party in PARTIES {
        let output = party.live(|style| async move { output(style, sh(script)).await }).join();
        assert!(output.status.success());
        assert_eq!((output.stdout.len(), output.stderr.len()), (1_000_000, 1_000_000), "{party:?}");
    }
}

#[test]
fn a_child_that_closes_its_output_may_live_on() {
    everywhere(|| {
        let mut command = sh("echo last; exec >&-; read line; exit 5");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "last\n");
        assert_eq!(child.try_wait().unwrap(), None, "it waits for its input");
        // Which `wait` closes.
        assert_eq!(child.wait().unwrap().code(), Some(5));
        assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(5));
        assert_eq!(child.wait_async().wait().unwrap().code(), Some(5));
    });
}

#[test]
fn a_conversation() {
    everywhere(|| {
        let mut command = Command::new("cat");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let sender = go(move || {
            for _ in 0..20 {
                stdin.write_all(&[b'x'; 50_000]).unwrap();
            }
        });
        let mut received = Vec::new();
        stdout.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), 1_000_000);
        sender.join().unwrap();
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn signals_end_children_and_are_told() {
    everywhere(|| {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL.as_raw()));
        child.kill().unwrap();
        assert_eq!(child.send_signal(SIGTERM).unwrap_err().kind(), ErrorKind::InvalidInput);

        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        child.send_signal(SIGTERM).unwrap();
        assert_eq!(child.wait_async().wait().unwrap().signal(), Some(SIGTERM.as_raw()));
        assert!(!exists(pid));
    });
}

#[test]
fn what_cannot_be_started_is_named() {
    let error = Command::new("no-such-program").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no-such-program") && error.to_string().contains("PATH"), "{error}");

    let error = Command::new("/dev/null").output().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("/dev/null"), "{error}");

    let error = sh("exit 0").current_dir("/no/such/folder").status_async().wait().unwrap_err();
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
}

#[test]
fn a_wait_given_up_has_done_nothing() {
    let _dog = common::watchdog!(30);
    aqueduct::run(|| {
        use futures::FutureExt;
        let mut child = sh("read line; exit 4").stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        assert!(child.wait_async().now_or_never().is_none());
        let waited = time::timeout(Duration::from_millis(10), child.wait_async()).wait();
        assert!(waited.is_err());
        let (tell, told) = aqueduct::channel::bounded(1);
        let waiting = go(move || {
            let waited = catch_unwind(AssertUnwindSafe(|| child.wait()));
            tell.try_send(child).unwrap();
            match waited {
                Ok(status) => status.unwrap(),
                Err(cancelled) => aqueduct::task::rethrow(cancelled),
            }
        });
        common::until_waiting(&Handle::current(), waiting.id());
        waiting.cancel();
        assert!(waiting.join().unwrap_err().is_cancelled());
        let mut child = told.recv().unwrap();
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(4));
    });
}

#[test]
fn dropped_children_run_on_and_leave_no_zombie() {
    let _dog = common::watchdog!(30);
    everywhere(|| {
        let mut running = Vec::new();
        for _ in 0..20 {
            // Ended, but not waited for.
            let child = sh("exit 0").spawn().unwrap();
            running.push(child.id());
        }
        let mut child = sh("read line; exit 1").stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let late = child.id();
        drop(child);
        assert!(exists(late), "it is not killed");
        drop(stdin);
        running.push(late);
        common::until(|| !running.iter().any(|&pid| exists(pid)));
    });
}

#[test]
fn kill_on_drop_ends_and_reaps_what_is_cancelled() {
    let _dog = common::watchdog!(30);
    aqueduct::run(|| {
        let mut command = Command::new("sleep");
        let child = command.arg("60").kill_on_drop(true).spawn().unwrap();
        let pid = child.id();
        drop(child);
        common::until(|| !exists(pid));

        // The number of a child inside `output` is found by the environment it was given.
        let mark = format!("AQUEDUCT_MARK={}", std::process::id());
        let find = || {
            std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
                std::fs::read(entry.path().join("environ"))
                    .is_ok_and(|environ| environ.split(|&byte| byte == 0).any(|one| one == mark.as_bytes()))
            })
        };
        let waiting = go(|| {
            let mut command = Command::new("sleep");
            command.arg("60").kill_on_drop(true).env("AQUEDUCT_MARK", std::process::id().to_string());
            command.output().map(drop)
        });
        common::until(find);
        waiting.cancel();
        assert!(waiting.join().unwrap_err().is_cancelled());
        common::until(|| !find());
    });
}

#[test]
fn on_a_local_runtime() {
    let _dog = common::watchdog!(30);
    LocalRuntime::new().unwrap().run(|| {
        let output = sh("cat; echo x").output().unwrap();
        assert_eq!(output.stdout, b"x\n");
        let status = async { sh("exit 9").status_async().await.unwrap().code() };
        assert_eq!(status.wait(), Some(9));
    });
}

#[test]
fn pipes_connect_children() {
    everywhere(|| {
        let (reader, writer) = aqueduct::io::pipe().unwrap();
        let mut first = sh("echo one; echo two").stdout(writer.into_std().unwrap()).spawn().unwrap();
        let second = sh("wc -l").stdin(reader.into_std().unwrap()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&second.stdout).trim(), "2");
        assert!(first.wait().unwrap().success());
    });
}

#[test]
fn a_command_of_std_and_back() {
    let mut std = std::process::Command::new("sh");
    std.args(["-c", "echo $A; pwd"]).env("A", "b").current_dir("/");
    let mut command = Command::from(std);
    command.as_std_mut().arg("x");
    assert_eq!(command.as_std().get_args().count(), 3);
    assert_eq!(command.output().unwrap().stdout, b"b\n/\n");
    assert_eq!(command.into_std().get_program(), "sh");
}

#[test]
fn no_descriptor_is_left() {
    common::child::alone(common::test_path!(), || {
        let once = || {
            aqueduct::run(|| {
                sh("echo x").output().unwrap();
                drop(sh("exit 0").stdout(Stdio::piped()).spawn().unwrap());
                let mut child = sh("exit 0").stdin(Stdio::piped()).spawn().unwrap();
                child.wait().unwrap();
            });
        };
        once();
        // What the first wait of a process makes and keeps: where children have no descriptors, those of the signal. In a round the child
        // may have ended before anybody waits.
        let mut child = sh("read line").stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        aqueduct::block_on(async {
            let mut ended = pin!(child.wait_async());
            assert!(futures::poll!(&mut ended).is_pending());
            drop(stdin);
            ended.await.unwrap();
        });
        // As above, for one that nobody waits for: what waits for it is the global runtime, which has descriptors of its own and starts
        // here rather than in a round below.
        let mut child = sh("read line").stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        drop(child);
        drop(stdin);
        let before = common::proc::descriptors();
        (0..20).for_each(|_| once());
        // Those that were dropped are waited for in the background: one may have been counted before, and not be there now.
        common::until(|| common::proc::descriptors() <= before);
    });
}

fn limit_descriptors(limit: u64) -> u64 {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads and writes the structs it is given.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut old), 0);
        let new = libc::rlimit { rlim_cur: limit, rlim_max: old.rlim_max };
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &new), 0);
    }
    old.rlim_cur
}

#[test]
fn out_of_descriptors_waiting_fails_clearly_and_works_again_afterwards() {
    common::child::alone(common::test_path!(), || {
        aqueduct::run(|| {
            let mut child = sh("read line; exit 6").stdin(Stdio::piped()).spawn().unwrap();
            let stdin = child.stdin.take();
            let before = limit_descriptors(3);
            let error = child.wait().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            let error = sh("exit 0").output().unwrap_err();
            assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
            limit_descriptors(before);
            drop(stdin);
            assert_eq!(child.wait().unwrap().code(), Some(6));
        });
    });
}

/// The way of systems without pidfds, which is taken here when there is no descriptor for one.
#[test]
fn without_a_pidfd_sigchld_tells_of_the_end() {
    common::child::alone(common::test_path!(), || {
        aqueduct::run(|| {
            // Installs the handler while there are descriptors.
            let signals = signal::notify(&[SIGCHLD]).unwrap();
            let mut children: Vec<_> = (0..20)
                .map(|i| sh(&format!("read line; exit {i}")).stdin(Stdio::piped()).spawn().unwrap())
                .collect();
            let stdins: Vec<_> = children.iter_mut().map(|child| child.stdin.take()).collect();
            let before = limit_descriptors(3);
            let waiting: Vec<_> = children
                .into_iter()
                .enumerate()
                .map(|(i, mut child)| {
                    if i % 2 == 0 {
                        go(move || child.wait().unwrap().code())
                    } else {
                        spawn(async move { child.wait_async().await.unwrap().code() })
                    }
                })
                .collect();
            drop(stdins);
            let codes: Vec<_> = waiting.into_iter().map(|child| child.join().unwrap()).collect();
            assert_eq!(codes, (0..20).map(Some).collect::<Vec<_>>());
            assert_eq!(signals.recv_timeout(Duration::from_secs(20)), Ok(SIGCHLD));
            limit_descriptors(before);
        });
    });
}
