//! Operations on a file that are given up, or wait beside each other: nothing is lost, and nobody is forgotten.

mod common;

use aqueduct::fs::{File, OpenOptions};
use common::watchdog;
use futures::executor::block_on;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::thread;

/// A file of its own; removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("aqueduct-given-up-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file that knows no position, and its other end.
fn without_position() -> (File, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (File::from(std::fs::File::from(OwnedFd::from(ours))), theirs)
}

/// Begins a read and gives it up. False: it was ready at once.
fn give_up_read(file: &mut File, length: usize) -> bool {
    let mut buffer = vec![0; length];
    Pin::new(file).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending()
}

#[test]
fn a_seek_that_fails_loses_nothing_of_a_read_that_was_given_up() {
    let _dog = watchdog!(20);
    let scratch = Scratch::new("seek", b"0123456789");
    let mut file = File::open(&scratch.0).unwrap();
    while !give_up_read(&mut file, 4) {
        file = File::open(&scratch.0).unwrap();
    }
    assert!(Seek::seek(&mut file, SeekFrom::Current(-100)).is_err());
    let mut buffer = [0; 4];
    Read::read_exact(&mut file, &mut buffer).unwrap();
    assert_eq!(&buffer, b"0123");
}

#[test]
fn a_write_after_a_read_that_was_given_up_works_where_there_is_no_position() {
    let _dog = watchdog!(20);
    let (mut file, mut theirs) = without_position();
    assert!(give_up_read(&mut file, 4));
    theirs.write_all(b"ping").unwrap();
    Write::write_all(&mut file, b"pong").unwrap();
    let mut buffer = [0; 4];
    theirs.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"pong");
    Read::read_exact(&mut file, &mut buffer).unwrap();
    assert_eq!(&buffer, b"ping");
}

#[test]
fn halves_that_wait_for_one_operation_are_both_woken() {
    let _dog = watchdog!(60);
    for _ in 0..100 {
        let scratch = Scratch::new("halves", &vec![7; 4 << 20]);
        let file = OpenOptions::new().read(true).write(true).open(&scratch.0).unwrap();
        let (mut reader, mut writer) = file.split();
        let reading = thread::spawn(move || {
            let mut buffer = vec![0; 400_000];
            for _ in 0..3 {
                assert!(block_on(reader.read(&mut buffer)).unwrap() > 0);
            }
        });
        for byte in 0..3 {
            assert!(block_on(writer.write(&vec![byte; 300_000])).unwrap() > 0);
        }
        reading.join().unwrap();
    }
}

#[test]
fn a_half_that_reads_is_woken_though_the_other_one_has_waited_after_it() {
    let _dog = watchdog!(20);
    let (file, mut theirs) = without_position();
    let (mut reader, mut writer) = file.split();
    let mut buffer = [0; 4];
    let mut read = reader.read_exact(&mut buffer);
    let mut write = writer.write_all(b"pong");
    let (read_waker, read_woken) = futures_test::task::new_count_waker();
    assert!(Pin::new(&mut read).poll_with(&read_waker).is_pending());
    assert!(Pin::new(&mut write).poll_with(Waker::noop()).is_pending());
    theirs.write_all(b"ping").unwrap();
    common::until(|| read_woken.get() > 0);
    block_on(write).unwrap();
    block_on(read).unwrap();
    assert_eq!(&buffer, b"ping");
}

trait PollWith: Future {
    fn poll_with(self: Pin<&mut Self>, waker: &Waker) -> std::task::Poll<Self::Output> {
        self.poll(&mut Context::from_waker(waker))
    }
}

impl<F: Future> PollWith for F {}

#[test]
fn a_write_that_a_read_has_waited_for_is_not_made_twice() {
    let _dog = watchdog!(20);
    let scratch = Scratch::new("once", b"0123456789");
    let mut file = OpenOptions::new().read(true).write(true).open(&scratch.0).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    if futures::AsyncWrite::poll_write(Pin::new(&mut file), &mut cx, b"ab").is_pending() {
        let mut buffer = [0; 3];
        Read::read_exact(&mut file, &mut buffer).unwrap();
        assert_eq!(&buffer, b"234");
        assert_eq!(Write::write(&mut file, b"ab").unwrap(), 2);
        Write::flush(&mut file).unwrap();
        assert_eq!(std::fs::read(&scratch.0).unwrap(), b"ab23456789");
        // Flushed: the next one is another.
        Write::write_all(&mut file, b"ab").unwrap();
        Write::flush(&mut file).unwrap();
        assert_eq!(std::fs::read(&scratch.0).unwrap(), b"ab234ab789");
    }
}
