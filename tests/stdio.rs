//! The standard streams of a process of its own: pipes, files, sockets, terminals.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use aqueduct::{Handle, Wait, go};
use common::child::Child;
use common::life::Style;
use common::party::PARTIES;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, TryStreamExt};

const SENT: &str = "one\ntwo\nthree\n";

/// In the child: reads all lines in every world's turn, and says what they were.
fn tell_lines() {
    for party in PARTIES {
        let lines = party.live(|style| async move {
            match style {
                Style::Go => {
                    let lines = BufReader::with_capacity(1, aqueduct::io::stdin()).lines();
                    lines.take(1).map(Result::unwrap).collect::<Vec<_>>()
                }
                Style::Async => {
                    use futures::{AsyncBufReadExt, StreamExt};
                    let stdin = futures::io::BufReader::with_capacity(1, aqueduct::io::stdin());
                    stdin.lines().take(1).try_collect().await.unwrap()
                }
            }
        });
        println!("{party:?} read {:?}", lines.join());
    }
    // The flag is everybody's who shares the open file: it must not have been touched.
    // SAFETY: reads the flags of an open descriptor.
    let flags = unsafe { libc::fcntl(0, libc::F_GETFL) };
    println!("non-blocking: {}", flags & libc::O_NONBLOCK != 0);
}

fn assert_told(mut command: Command, input: Stdio, feed: impl FnOnce()) {
    let child = command.stdin(input).stdout(Stdio::piped()).spawn().unwrap();
    feed();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for told in [
        "Coroutine read [\"one\"]",
        "Future read [\"two\"]",
        "Thread read [\"three\"]",
        "non-blocking: false",
    ] {
        assert!(text.contains(told), "no {told:?} in: {text}");
    }
}

#[test]
fn a_pipe_is_read() {
    let Some(command) = Child::new(common::test_path!()).command("", tell_lines) else { return };
    let (reader, mut writer) = std::io::pipe().unwrap();
    assert_told(command, reader.into(), move || writer.write_all(SENT.as_bytes()).unwrap());
}

#[test]
fn a_file_is_read() {
    let Some(command) = Child::new(common::test_path!()).command("", tell_lines) else { return };
    let path = std::env::temp_dir().join(format!("aqueduct-stdin-{}", std::process::id()));
    std::fs::write(&path, SENT).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_told(command, file.into(), || {});
}

#[test]
fn a_socket_is_read() {
    let Some(command) = Child::new(common::test_path!()).command("", tell_lines) else { return };
    let (ours, theirs) = UnixStream::pair().unwrap();
    assert_told(command, OwnedFd::from(theirs).into(), || (&ours).write_all(SENT.as_bytes()).unwrap());
}

#[test]
fn a_terminal_is_read() {
    let Some(command) = Child::new(common::test_path!()).command("", tell_lines) else { return };
    let (mut ours, theirs) = terminal();
    assert_told(command, theirs.into(), || ours.write_all(SENT.as_bytes()).unwrap());
}

/// Both ends of a new terminal.
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: writes two descriptors to the places that it is given; everything else may be null.
    assert_eq!(unsafe { libc::openpty(&mut ours, &mut theirs, null, null.cast(), null.cast()) }, 0);
    // SAFETY: just opened, and nobody else knows them.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

/// Runs a child that says "ready" when it has given a wait up, is then sent a line, and says what it got.
fn assert_nothing_lost(mut command: Command, input: Stdio, feed: impl FnOnce()) {
    let mut child = command.stdin(input).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with("ready")), "it ended before");
    feed();
    let rest: Vec<_> = lines.collect();
    assert!(rest.iter().any(|line| line == "got \"kept\\n\""), "{rest:?}");
    assert!(child.wait().unwrap().success());
}

fn give_up_and_tell() {
    aqueduct::run(|| {
        let mut future = aqueduct::io::stdin();
        assert!(AsyncReadExt::read(&mut future, &mut [0; 16]).now_or_never().is_none());
        let waiting = go(|| Read::read(&mut aqueduct::io::stdin(), &mut [0; 16]).map(drop));
        common::until_waiting(&Handle::current(), waiting.id());
        waiting.cancel();
        assert!(waiting.join().unwrap_err().is_cancelled());
        drop(future);
        println!("ready");
        let mut buffer = [0; 16];
        let n = Read::read(&mut aqueduct::io::stdin(), &mut buffer).unwrap();
        println!("got {:?}", std::str::from_utf8(&buffer[..n]).unwrap());
    });
}

#[test]
fn a_wait_for_a_pipe_given_up_has_taken_nothing() {
    let Some(command) = Child::new(common::test_path!()).command("", give_up_and_tell) else { return };
    let (reader, mut writer) = std::io::pipe().unwrap();
    assert_nothing_lost(command, reader.into(), || writer.write_all(b"kept\n").unwrap());
}

#[test]
fn a_wait_for_a_socket_given_up_has_taken_nothing() {
    let Some(command) = Child::new(common::test_path!()).command("", give_up_and_tell) else { return };
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    assert_nothing_lost(command, OwnedFd::from(theirs).into(), || ours.write_all(b"kept\n").unwrap());
}

#[test]
fn a_wait_for_a_terminal_given_up_has_taken_nothing() {
    let Some(command) = Child::new(common::test_path!()).command("", give_up_and_tell) else { return };
    let (mut ours, theirs) = terminal();
    assert_nothing_lost(command, theirs.into(), || ours.write_all(b"kept\n").unwrap());
}

#[test]
fn a_read_of_a_file_given_up_is_the_next_reads() {
    let command = Child::new(common::test_path!()).with("BLOCKING_MAX_THREADS", "1").command("", || {
        let mut stdin = aqueduct::io::stdin();
        // The pool has one thread, and it is held.
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let held = aqueduct::blocking(move || gate.recv());
        assert!(AsyncReadExt::read(&mut stdin, &mut [0; 4]).now_or_never().is_none());
        drop(open);
        held.wait().unwrap_err();
        let mut text = String::new();
        Read::read_to_string(&mut stdin, &mut text).unwrap();
        println!("got {text:?}");
    });
    let Some(mut command) = command else { return };
    let path = std::env::temp_dir().join(format!("aqueduct-given-up-{}", std::process::id()));
    std::fs::write(&path, SENT).unwrap();
    let output = command.stdin(File::open(&path).unwrap()).output().unwrap();
    std::fs::remove_file(&path).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("got {SENT:?}")), "{text}");
}

/// In the child: writes more than anything holds, in every world, and meanwhile lets another coroutine of the only
/// worker tell that it runs.
fn write_much() {
    let runtime = common::runtime(1);
    for party in PARTIES {
        let writing = party.live_on(runtime.handle(), |style| async move {
            match style {
                Style::Go => Write::write_all(&mut aqueduct::io::stdout(), &[b'x'; 300_000]).unwrap(),
                Style::Async => {
                    AsyncWriteExt::write_all(&mut aqueduct::io::stdout(), &[b'x'; 300_000]).await.unwrap()
                }
            }
        });
        let running =
            runtime.handle().go(|| Write::write_all(&mut aqueduct::io::stderr(), b"runs\n").unwrap());
        running.join().unwrap();
        writing.join();
    }
}

/// Reads nothing before the worker has shown, for each world, that it does not wait for that.
fn assert_much_written(mut command: Command, output: Stdio, mut ours: impl Read) {
    let mut child = command.stdout(output).stderr(Stdio::piped()).spawn().unwrap();
    // It holds the other end of the output.
    drop(command);
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let (mut xs, mut buffer) = (0, vec![0; 1 << 16]);
    for (i, party) in PARTIES.into_iter().enumerate() {
        assert_eq!(errors.next().as_deref(), Some("runs"), "{party:?}");
        while xs < 300_000 * (i + 1) {
            let n = ours.read(&mut buffer).unwrap();
            assert!(n > 0, "{party:?}: {xs} bytes only");
            xs += buffer[..n].iter().filter(|&&byte| byte == b'x').count();
        }
    }
    drop(ours);
    child.wait().unwrap();
}

#[test]
fn a_slow_reader_of_a_pipe_holds_up_no_worker() {
    let Some(command) = Child::new(common::test_path!()).command("", write_much) else { return };
    let (reader, writer) = std::io::pipe().unwrap();
    assert_much_written(command, writer.into(), reader);
}

#[test]
fn a_slow_reader_of_a_socket_holds_up_no_worker() {
    let Some(command) = Child::new(common::test_path!()).command("", write_much) else { return };
    let (ours, theirs) = UnixStream::pair().unwrap();
    assert_much_written(command, OwnedFd::from(theirs).into(), ours);
}

#[test]
fn a_slow_reader_of_a_terminal_holds_up_no_worker() {
    let Some(command) = Child::new(common::test_path!()).command("", write_much) else { return };
    let (ours, theirs) = terminal();
    assert_much_written(command, theirs.into(), ours);
}

#[test]
fn output_to_a_file_is_complete() {
    let command = Child::new(common::test_path!()).command("", || {
        for party in PARTIES {
            let writing = party.live(|style| async move {
                match style {
                    Style::Go => Write::write_all(&mut aqueduct::io::stdout(), &[b'x'; 700_000]).unwrap(),
                    Style::Async => {
                        AsyncWriteExt::write_all(&mut aqueduct::io::stdout(), &[b'x'; 700_000]).await.unwrap()
                    }
                }
            });
            writing.join();
        }
    });
    let Some(mut command) = command else { return };
    let path = std::env::temp_dir().join(format!("aqueduct-stdout-{}", std::process::id()));
    assert!(command.stdout(File::create(&path).unwrap()).status().unwrap().success());
    let written = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(written.iter().filter(|&&byte| byte == b'x').count(), 2_100_000);
}

#[test]
fn the_end_and_nothing_at_all_are_read_as_the_end() {
    let body = || {
        let mut text = String::new();
        Read::read_to_string(&mut aqueduct::io::stdin(), &mut text).unwrap();
        async { AsyncReadExt::read_to_string(&mut aqueduct::io::stdin(), &mut text).await.unwrap() }.wait();
        println!("got {text:?}");
        drop(aqueduct::io::stdin());
        let before = common::proc::descriptors();
        (0..20).for_each(|_| drop((aqueduct::io::stdin(), aqueduct::io::stdout(), aqueduct::io::stderr())));
        assert_eq!(common::proc::descriptors(), before);
    };
    let ended: [fn() -> Stdio; 2] = [Stdio::null, || std::io::pipe().unwrap().0.into()];
    for input in ended {
        let Some(mut command) = Child::new(common::test_path!()).command("", body) else { return };
        let output = command.stdin(input()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("got \"\""), "{text}");
    }
}
