//! Connections: both colours, ends, options, timeouts, sharing.

mod net_common;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use aqueduct::net::TcpStream;
use aqueduct::{Wait, go, spawn};
use net_common::{echo, everywhere, listen, pair, pattern};

#[test]
fn go_style_echo() {
    everywhere(|| {
        let (mut client, server) = pair();
        let handler = go(move || echo(&server));
        for seed in 0..50 {
            let message = pattern(1 + seed as usize * 37, seed);
            client.write_all(&message).unwrap();
            let mut reply = vec![0; message.len()];
            client.read_exact(&mut reply).unwrap();
            assert_eq!(reply, message);
        }
        drop(client);
        handler.join().unwrap().unwrap();
    });
}

#[test]
fn async_echo() {
    everywhere(|| {
        use futures::io::{AsyncReadExt, AsyncWriteExt};
        let (mut client, server) = pair();
        let handler = spawn(async move { futures::io::copy(&server, &mut &server).await });
        async {
            for seed in 0..50 {
                let message = pattern(1 + seed as usize * 37, seed);
                AsyncWriteExt::write_all(&mut client, &message).await.unwrap();
                let mut reply = vec![0; message.len()];
                AsyncReadExt::read_exact(&mut client, &mut reply).await.unwrap();
                assert_eq!(reply, message);
            }
            AsyncWriteExt::close(&mut client).await.unwrap();
        }
        .wait();
        assert!(handler.wait().unwrap().unwrap() > 0);
    });
}

#[test]
fn large_messages_are_byte_exact() {
    everywhere(|| {
        let (client, server) = pair();
        let handler = go(move || echo(&server));
        let writer = client.try_clone().unwrap();
        let sender = go(move || {
            for seed in 0..32 {
                (&writer).write_all(&pattern(64 * 1024, seed)).unwrap();
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut reply = vec![0; 64 * 1024];
        for seed in 0..32 {
            (&client).read_exact(&mut reply).unwrap();
            assert!(reply == pattern(64 * 1024, seed), "message {seed} is corrupt");
        }
        assert_eq!((&client).read(&mut reply).unwrap(), 0);
        sender.join().unwrap();
        handler.join().unwrap().unwrap();
    });
}

#[test]
fn data_and_end_sent_before_the_first_wait_are_both_seen() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        client.write_all(b"last words").unwrap();
        drop(client);
        let mut buffer = [0; 64];
        server.readable().wait().unwrap();
        assert_eq!(server.read(&mut buffer).unwrap(), 10);
        server.readable().wait().unwrap();
        assert_eq!(server.read(&mut buffer).unwrap(), 0);
        assert_eq!(server.read(&mut buffer).unwrap(), 0);
    });
}

#[test]
fn one_half_goes_on_when_the_other_has_ended() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "question");
        server.write_all(b"answer").unwrap();
        drop(server);
        text.clear();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer");
    });
}

#[test]
fn peek_takes_nothing() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let peeker = server.try_clone().unwrap();
        let peeked = go(move || {
            let mut buffer = [0; 3];
            let n = peeker.peek(&mut buffer).unwrap();
            (n, buffer)
        });
        client.write_all(b"abc").unwrap();
        assert_eq!(peeked.join().unwrap(), (3, *b"abc"));
        let mut buffer = [0; 8];
        assert_eq!(server.peek_async(&mut buffer).wait().unwrap(), 3);
        assert_eq!(server.read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"abc");
    });
}

#[test]
fn vectored_reads_and_writes() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let parts = [IoSlice::new(b"one "), IoSlice::new(b"two "), IoSlice::new(b"three")];
        assert_eq!(client.write_vectored(&parts).unwrap(), 13);
        let (mut head, mut tail) = ([0; 4], [0; 16]);
        let mut bufs = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)];
        assert_eq!(server.read_vectored(&mut bufs).unwrap(), 13);
        assert_eq!((&head, &tail[..9]), (b"one ", &b"two three"[..]));
    });
}

#[test]
fn a_read_times_out_and_loses_nothing() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        server.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        assert_eq!(server.read_timeout().unwrap(), Some(Duration::from_millis(30)));
        let start = Instant::now();
        let error = server.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(30));
        client.write_all(b"late").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(server.read(&mut buffer).unwrap(), 4);
        assert_eq!(
            server.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn a_write_that_nobody_reads_times_out() {
    everywhere(|| {
        let (mut client, _server) = pair();
        client.set_write_timeout(Some(Duration::from_millis(30))).unwrap();
        let chunk = vec![7; 1 << 20];
        let error = (0..64).find_map(|_| client.write_all(&chunk).err()).expect("the buffers are finite");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn closing_wakes_readers_of_every_kind_and_ends_the_peer() {
    everywhere(|| {
        let (mut client, server) = pair();
        let (coroutine, task, thread) =
            (server.try_clone().unwrap(), server.try_clone().unwrap(), server.try_clone().unwrap());
        let coroutine = go(move || (&coroutine).read(&mut [0; 1]));
        let task = spawn(async move { futures::AsyncReadExt::read(&mut &task, &mut [0; 1]).await });
        let thread = std::thread::spawn(move || (&thread).read(&mut [0; 1]));
        // Let them wait: not needed for the outcome, only so that it is reached by the road that the name
        // says.
        std::thread::sleep(Duration::from_millis(20));
        server.close();
        assert_eq!(coroutine.join().unwrap().unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(task.join().unwrap().unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(
            aqueduct::blocking(|| thread.join().unwrap()).wait().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
        assert_eq!((&server).write(b"x").unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    });
}

#[test]
fn several_readers_share_a_stream_and_each_byte_arrives_once() {
    everywhere(|| {
        let (mut client, server) = pair();
        let readers: Vec<_> = (0..8)
            .map(|i| {
                let stream = server.try_clone().unwrap();
                let count = move || {
                    let (mut total, mut byte) = (0_u64, [0; 1]);
                    while (&stream).read(&mut byte).unwrap() == 1 {
                        total += u64::from(byte[0]);
                    }
                    total
                };
                if i % 2 == 0 { go(count) } else { spawn(async move { count() }) }
            })
            .collect();
        let sent = pattern(5_000, 3);
        for piece in sent.chunks(100) {
            client.write_all(piece).unwrap();
        }
        drop(client);
        let received: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert_eq!(received, sent.iter().map(|&byte| u64::from(byte)).sum());
    });
}

#[test]
fn reader_and_writer_do_not_disturb_each_other() {
    everywhere(|| {
        let (client, server) = pair();
        let handler = go(move || echo(&server));
        let writer = client.try_clone().unwrap();
        let total = 4 << 20;
        let sender = go(move || {
            (&writer).write_all(&pattern(total, 9)).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::with_capacity(total);
        (&client).read_to_end(&mut received).unwrap();
        assert!(received == pattern(total, 9));
        sender.join().unwrap();
        handler.join().unwrap().unwrap();
    });
}

#[test]
fn a_peer_that_resets_is_an_error() {
    everywhere(|| {
        let (client, mut server) = pair();
        client.set_linger(Some(Duration::ZERO)).unwrap();
        assert_eq!(client.linger().unwrap(), Some(Duration::ZERO));
        drop(client);
        let error = server.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn options_are_set_and_read_back() {
    let (client, server) = pair();
    client.set_nodelay(true).unwrap();
    assert!(client.nodelay().unwrap());
    client.set_ttl(42).unwrap();
    assert_eq!(client.ttl().unwrap(), 42);
    assert!(client.take_error().unwrap().is_none());
    assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
    assert!(format!("{client:?}").contains("TcpStream"));
}

#[test]
fn to_std_and_back() {
    everywhere(|| {
        let (mut client, server) = pair();
        let mut server = server.into_std().unwrap();
        server.set_nonblocking(false).unwrap();
        client.write_all(b"std").unwrap();
        let mut buffer = [0; 3];
        server.read_exact(&mut buffer).unwrap();
        let mut server = TcpStream::from_std(server).unwrap();
        server.write_all(&buffer).unwrap();
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"std");

        let shared = server.try_clone().unwrap();
        let duplicate = server.into_std().unwrap();
        assert_eq!(duplicate.peer_addr().unwrap(), shared.peer_addr().unwrap());
    });
}

#[test]
fn a_dropped_read_has_taken_nothing() {
    everywhere(|| {
        use futures::FutureExt;
        let (mut client, mut server) = pair();
        let mut lost = [0; 8];
        assert!(futures::AsyncReadExt::read(&mut server, &mut lost).now_or_never().is_none());
        client.write_all(b"kept").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(server.read(&mut buffer).unwrap(), 4);
    });
}

#[test]
fn streams_move_between_threads_and_worlds() {
    let (listener, address) = listen();
    let client = std::thread::spawn(move || TcpStream::connect(address).unwrap()).join().unwrap();
    let (server, _) = std::thread::spawn(move || listener.accept().unwrap()).join().unwrap();
    let reader = spawn(async move {
        let mut text = String::new();
        futures::AsyncReadExt::read_to_string(&mut &server, &mut text).await.map(|_| text)
    });
    aqueduct::run(move || (&client).write_all(b"across").unwrap());
    assert_eq!(reader.wait().unwrap().unwrap(), "across");
}
