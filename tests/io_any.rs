//! `io::Io` over descriptors of several kinds.

mod net_common;

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use aqueduct::io::Io;
use aqueduct::{Wait, go, spawn};
use net_common::{everywhere, pattern};

fn pipe() -> (Io<PipeReader>, Io<PipeWriter>) {
    let (reader, writer) = std::io::pipe().unwrap();
    (Io::new(reader).unwrap(), Io::new(writer).unwrap())
}

#[test]
fn a_pipe_carries_more_than_it_holds() {
    everywhere(|| {
        let (reader, writer) = pipe();
        let sent = pattern(1 << 20, 5);
        let sender = go({
            let sent = sent.clone();
            move || (&writer).write_all(&sent).unwrap()
        });
        let mut received = Vec::new();
        (&reader).read_to_end(&mut received).unwrap();
        assert!(received == sent);
        sender.join().unwrap();
    });
}

#[test]
fn a_pipe_in_async_code() {
    everywhere(|| {
        use futures::io::{AsyncReadExt, AsyncWriteExt};
        let (mut reader, mut writer) = pipe();
        let sent = pattern(300_000, 6);
        let sender = spawn({
            let sent = sent.clone();
            async move {
                AsyncWriteExt::write_all(&mut writer, &sent).await.unwrap();
                AsyncWriteExt::close(&mut writer).await.unwrap();
            }
        });
        let mut received = Vec::new();
        AsyncReadExt::read_to_end(&mut reader, &mut received).wait().unwrap();
        assert!(received == sent);
        sender.join().unwrap();
    });
}

#[test]
fn a_unix_stream_both_ways_at_once() {
    everywhere(|| {
        let (left, right) = UnixStream::pair().unwrap();
        let (left, right) = (Io::new(left).unwrap(), Io::new(right).unwrap());
        let echo = go(move || {
            let mut buffer = aqueduct::io::buffer();
            loop {
                match (&right).read(&mut buffer).unwrap() {
                    0 => return,
                    n => (&right).write_all(&buffer[..n]).unwrap(),
                }
            }
        });
        for seed in 0..20 {
            let message = pattern(1_000, seed);
            (&left).write_all(&message).unwrap();
            let mut reply = vec![0; 1_000];
            (&left).read_exact(&mut reply).unwrap();
            assert!(reply == message);
        }
        left.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!((&left).read(&mut [0; 1]).unwrap(), 0);
        echo.join().unwrap();
    });
}

#[test]
fn any_operation_as_a_closure() {
    everywhere(|| {
        let folder = std::env::temp_dir().join(format!(
            "aqueduct-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let listener = Io::new(UnixListener::bind(&path).unwrap()).unwrap();
        let accepted = go(move || listener.read_with(|listener| listener.accept()).map(|_| ()));
        let _client = UnixStream::connect(&path).unwrap();
        accepted.join().unwrap().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn short_datagrams_do_not_hide_later_ones() {
    everywhere(|| {
        let (left, right) = UnixDatagram::pair().unwrap();
        let (left, right) = (Io::new(left).unwrap(), Io::new(right).unwrap());
        let mut buffer = [0; 64];
        let receiver = go(move || {
            let sizes: Vec<_> =
                (0..3).map(|_| right.read_with(|socket| socket.recv(&mut buffer)).unwrap()).collect();
            sizes
        });
        async {
            for size in [3, 5, 1] {
                left.write_with_async(|socket| socket.send(&pattern(size, 1))).await.unwrap();
            }
        }
        .wait();
        assert_eq!(receiver.join().unwrap(), [3, 5, 1]);
    });
}

#[test]
fn the_end_of_a_pipe_wakes_its_reader() {
    everywhere(|| {
        let (reader, writer) = pipe();
        let read = go(move || (&reader).read(&mut [0; 8]));
        drop(writer);
        assert_eq!(read.join().unwrap().unwrap(), 0);
    });
}

#[test]
fn closing_wakes_whoever_waits() {
    everywhere(|| {
        let (reader, _writer) = pipe();
        let reader = std::sync::Arc::new(reader);
        let read = go({
            let reader = std::sync::Arc::clone(&reader);
            move || (&*reader).read(&mut [0; 8]).unwrap_err().kind()
        });
        reader.close();
        assert_eq!(read.join().unwrap(), ErrorKind::NotConnected);
        assert_eq!(reader.readable().wait().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn unwrapping_gives_the_descriptor_back_and_it_can_be_wrapped_again() {
    everywhere(|| {
        let (left, right) = UnixStream::pair().unwrap();
        let number = left.as_raw_fd();
        let mut left = Io::new(left).unwrap();
        futures::FutureExt::now_or_never(left.readable());
        left.write_all(b"1").unwrap();
        let left = left.into_inner();
        assert_eq!(left.as_raw_fd(), number);
        let mut left = Io::new(left).unwrap();
        (&right).write_all(b"2").unwrap();
        assert_eq!(left.read(&mut [0; 1]).unwrap(), 1);
    });
}

#[test]
fn a_regular_file_is_read_but_cannot_be_waited_for() {
    everywhere(|| {
        let mut file = Io::new(std::fs::File::open("Cargo.toml").unwrap()).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(text.contains("aqueduct"));
        assert_eq!(file.readable().wait().unwrap_err().kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn a_second_wrapper_of_one_descriptor_is_told_what_to_do() {
    let runtime = aqueduct::LocalRuntime::new().unwrap();
    let (one, _other) = UnixStream::pair().unwrap();
    let one = std::sync::Arc::new(one);
    let (first, second) = (Io::new(one.clone()).unwrap(), Io::new(one).unwrap());
    runtime.block_on(async {
        first.writable().await.unwrap();
        let error = second.writable().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("by reference"), "{error}");
    });
}
