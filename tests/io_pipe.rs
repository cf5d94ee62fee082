//! Pipes over every pair of parties, their ends, what a dropped wait leaves; copying both ways.

mod common;
mod net_common;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;

use aqueduct::io::{copy_bidirectional, copy_bidirectional_async, pipe};
use aqueduct::net::UnixStream;
use aqueduct::process::Command;
use aqueduct::{Handle, Wait, go, spawn};
use common::life::Style;
use common::party::{PARTIES, pairs};
use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use net_common::{everywhere, pair, pattern};

#[test]
fn every_party_writes_more_than_it_holds_to_every_party() {
    let _dog = common::watchdog!(60);
    for (writing, reading) in pairs() {
        let (mut reader, mut writer) = pipe().unwrap();
        let write = writing.live(move |style| async move {
            let sent = pattern(400_000, 1);
            match style {
                Style::Go => Write::write_all(&mut writer, &sent).unwrap(),
                Style::Async => AsyncWriteExt::write_all(&mut writer, &sent).await.unwrap(),
            }
        });
        let read = reading.live(move |style| async move {
            let mut received = Vec::new();
            match style {
                Style::Go => Read::read_to_end(&mut reader, &mut received).unwrap(),
                Style::Async => AsyncReadExt::read_to_end(&mut reader, &mut received).await.unwrap(),
            };
            received
        });
        write.join();
        assert!(read.join() == pattern(400_000, 1), "{writing:?} {reading:?}");
    }
}

#[test]
fn lines_come_through_the_usual_buffered_readers() {
    let _dog = common::watchdog!(30);
    for party in PARTIES {
        let (reader, mut writer) = pipe().unwrap();
        let lines = party.live(move |style| async move {
            match style {
                Style::Go => BufReader::new(reader).lines().map(Result::unwrap).collect::<Vec<_>>(),
                Style::Async => {
                    let reader = futures::io::BufReader::new(reader);
                    reader.lines().map(Result::unwrap).collect().await
                }
            }
        });
        for part in ["on", "e\ntwo\nthr", "ee"] {
            Write::write_all(&mut writer, part.as_bytes()).unwrap();
        }
        drop(writer);
        assert_eq!(lines.join(), ["one", "two", "three"]);
    }
}

#[test]
fn ends_are_told() {
    everywhere(|| {
        let (mut reader, writer) = pipe().unwrap();
        let waiting = go(move || Read::read(&mut reader, &mut [0; 8]).unwrap());
        drop(writer);
        assert_eq!(waiting.join().unwrap(), 0);

        let (reader, mut writer) = pipe().unwrap();
        let filling = go(move || Write::write_all(&mut writer, &[0; 1 << 20]).unwrap_err().kind());
        reader.readable().wait().unwrap();
        drop(reader);
        assert_eq!(filling.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_dropped_or_cancelled_wait_has_moved_nothing() {
    let _dog = common::watchdog!(30);
    aqueduct::run(|| {
        let (reader, mut writer) = pipe().unwrap();
        assert!(AsyncReadExt::read(&mut &reader, &mut [0; 8]).now_or_never().is_none());
        let waiting = go({
            let reader = reader.try_clone().unwrap();
            move || Read::read(&mut &reader, &mut [0; 8]).map(drop)
        });
        common::until_waiting(&Handle::current(), waiting.id());
        waiting.cancel();
        assert!(waiting.join().unwrap_err().is_cancelled());
        Write::write_all(&mut writer, b"kept").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(Read::read(&mut &reader, &mut buffer).unwrap(), 4);
        assert_eq!(reader.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);

        // Fill it: a write that is given up then has added nothing.
        let mut filled = 0;
        let error = loop {
            match writer.try_write(&[7; 4096]) {
                Ok(n) => filled += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(AsyncWriteExt::write(&mut writer, b"lost").now_or_never().is_none());
        drop(writer);
        let mut rest = Vec::new();
        Read::read_to_end(&mut &reader, &mut rest).unwrap();
        assert_eq!(rest.len(), filled);
        assert!(rest.iter().all(|&byte| byte == 7));
    });
}

#[test]
fn given_up_it_blocks_again() {
    let (reader, writer) = pipe().unwrap();
    let flags = |fd: i32| {
        // SAFETY: reads the flags of an open descriptor.
        unsafe { libc::fcntl(fd, libc::F_GETFL) & libc::O_NONBLOCK }
    };
    assert_ne!(flags(reader.as_raw_fd()), 0);
    let (reader, writer) = (reader.into_std().unwrap(), std::io::PipeWriter::try_from(writer).unwrap());
    assert_eq!((flags(reader.as_raw_fd()), flags(writer.as_raw_fd())), (0, 0));
}

#[test]
fn no_descriptor_is_left() {
    common::child::alone(common::test_path!(), || {
        let once = || {
            aqueduct::run(|| {
                let (mut reader, mut writer) = pipe().unwrap();
                let write = go(move || Write::write_all(&mut writer, &[1; 100_000]));
                assert_eq!(Read::read_to_end(&mut reader, &mut Vec::new()).unwrap(), 100_000);
                write.join().unwrap().unwrap();
            });
        };
        once();
        let before = common::proc::descriptors();
        (0..50).for_each(|_| once());
        assert_eq!(common::proc::descriptors(), before);
    });
}

/// A client, a proxy between TCP and a Unix socket, and a server that answers when its peer has ended.
#[test]
fn a_proxy_passes_both_ways_and_passes_ends_on() {
    everywhere(|| {
        for futures in [false, true] {
            let (mut client, left) = pair();
            let (right, mut server) = UnixStream::pair().unwrap();
            let proxy = if futures {
                spawn(async move { copy_bidirectional_async(&left, &right).await })
            } else {
                go(move || copy_bidirectional(&left, &right))
            };
            let serving = go(move || {
                let mut received = Vec::new();
                Read::read_to_end(&mut server, &mut received).unwrap();
                Write::write_all(&mut server, &received).unwrap();
                Write::write_all(&mut server, b"!").unwrap();
            });
            let sending = client.try_clone().unwrap();
            let sending = go(move || {
                Write::write_all(&mut &sending, &pattern(1_000_000, 4)).unwrap();
                sending.shutdown(Shutdown::Write).unwrap();
            });
            let mut received = Vec::new();
            Read::read_to_end(&mut client, &mut received).unwrap();
            assert_eq!(received.pop(), Some(b'!'));
            assert!(received == pattern(1_000_000, 4));
            assert_eq!(proxy.join().unwrap().unwrap(), (1_000_000, 1_000_001));
            sending.join().unwrap();
            serving.join().unwrap();
        }
    });
}

#[test]
fn a_proxy_passes_on_what_comes_in_pieces() {
    everywhere(|| {
        let (client, left) = UnixStream::pair().unwrap();
        let (right, server) = UnixStream::pair().unwrap();
        let proxy = go(move || copy_bidirectional(&left, &right));
        for seed in 0..100 {
            let message = pattern(1 + seed as usize, seed);
            let (from, to) = if seed % 2 == 0 { (&client, &server) } else { (&server, &client) };
            Write::write_all(&mut &*from, &message).unwrap();
            let mut received = vec![0; message.len()];
            Read::read_exact(&mut &*to, &mut received).unwrap();
            assert_eq!(received, message);
        }
        drop((client, server));
        assert_eq!(proxy.join().unwrap().unwrap(), (2_500, 2_550));
    });
}

#[test]
fn a_reset_ends_a_proxy_with_an_error() {
    everywhere(|| {
        let (client, left) = pair();
        let (right, _server) = UnixStream::pair().unwrap();
        client.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(copy_bidirectional(&left, &right).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn an_end_goes_to_a_child_as_its_standard_stream() {
    let _dog = common::watchdog!(60);
    let (theirs, mut ours) = pipe().unwrap();
    let (mut back, theirs_too) = pipe().unwrap();
    let mut child = Command::new("cat").stdin(theirs).stdout(theirs_too).spawn().unwrap();
    // Blocking, though ours are not: `cat` would fail on an empty pipe.
    let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/0", child.id())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    assert_eq!(i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_NONBLOCK, 0, "{info}");
    Write::write_all(&mut ours, b"over").unwrap();
    drop(ours);
    let mut text = String::new();
    Read::read_to_string(&mut back, &mut text).unwrap();
    assert_eq!(text, "over");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_clone_that_becomes_blocking_leaves_the_other_one_as_it_was() {
    let _dog = common::watchdog!(20);
    let runtime = common::runtime(1);
    let (mut reader, mut writer) = pipe().unwrap();
    // For a child: blocking from here on.
    let childs = writer.try_clone().unwrap().into_std().unwrap();
    let writing = runtime.go(move || Write::write_all(&mut writer, &[7; 1 << 20]));
    common::until_waiting(runtime.handle(), writing.id());
    // The worker is free.
    runtime.go(|| ()).join().unwrap();
    drop(childs);
    let mut all = Vec::new();
    assert_eq!(Read::read_to_end(&mut reader, &mut all).unwrap(), 1 << 20);
    writing.join().unwrap().unwrap();
}
