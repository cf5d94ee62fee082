//! `net::serve`: calls with input only, ends, errors, panics, limits, stopping.

mod net_common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use aqueduct::net::serve::Builder;
use aqueduct::net::{Conn, Serve, TcpListener, TcpStream, serve, serve_with};
use aqueduct::{Wait, go};
use net_common::{everywhere, listen, pattern};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn echo(conn: &mut Conn) -> io::Result<()> {
    let mut buffer = aqueduct::io::buffer();
    let n = conn.read(&mut buffer)?;
    conn.write_all(&buffer[..n])
}

fn ask(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(message).unwrap();
    let mut reply = vec![0; message.len()];
    stream.read_exact(&mut reply).unwrap();
    assert!(reply == message);
}

/// Waits until `condition` holds; the watchdog of the test bounds it.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        // What others' counters say can only be looked at.
        aqueduct::blocking(|| std::thread::sleep(Duration::from_millis(1))).wait();
    }
}

#[test]
fn echoes_many_connections_and_stops_clean() {
    everywhere(|| {
        let (listener, address) = listen();
        let server = serve(listener, echo);
        let clients: Vec<_> = (0..50)
            .map(|seed| {
                go(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for round in 0..20 {
                        ask(&mut stream, &pattern(1 + (seed * round) as usize, seed));
                    }
                    stream
                })
            })
            .collect();
        let mut streams: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert_eq!(server.stats().active, 50);
        streams.truncate(20);
        until(|| server.stats().active == 20);
        let summary = server.shutdown(soon());
        assert_eq!((summary.stats.accepted, summary.stats.closed, summary.stats.active), (50, 50, 0));
        assert_eq!((summary.stats.errors, summary.stats.panics, summary.cancelled), (0, 0, 0));
        for stream in &mut streams {
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "the server has closed it");
        }
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        server.join().unwrap();
    });
}

#[test]
fn the_handler_is_called_only_when_there_is_input() {
    everywhere(|| {
        let (listener, address) = listen();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let server = serve(listener, move |conn| {
            counted.fetch_add(1, Ordering::SeqCst);
            echo(conn)
        });
        let mut stream = TcpStream::connect(address).unwrap();
        until(|| server.stats().accepted == 1);
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        ask(&mut stream, b"one");
        ask(&mut stream, b"two");
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        drop(stream);
        until(|| server.stats().closed == 1);
        assert_eq!(calls.load(Ordering::SeqCst), 3, "once more, to see the end");
        server.shutdown(soon());
    });
}

#[test]
fn messages_sent_at_once_are_handled_one_by_one() {
    everywhere(|| {
        let (listener, address) = listen();
        let server = serve_with(
            listener,
            |conn| conn.write_all(b"hi").map(|()| 0_u8),
            |conn, count| {
                let mut message = [0; 4];
                conn.read_exact(&mut message)?;
                *count += 1;
                conn.write_all(&[*count])
            },
        );
        let mut stream = TcpStream::connect(address).unwrap();
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"hi");
        stream.write_all(&[7; 4 * 100]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut counts = Vec::new();
        stream.read_to_end(&mut counts).unwrap();
        assert_eq!(counts, (1..=100).collect::<Vec<u8>>());
        let summary = server.shutdown(soon());
        assert_eq!(summary.stats.errors, 0, "an end between two messages is none");
    });
}

#[test]
fn large_messages_are_byte_exact() {
    everywhere(|| {
        let (listener, address) = listen();
        let server = serve(listener, echo);
        let stream = TcpStream::connect(address).unwrap();
        let writer = stream.try_clone().unwrap();
        let sender = go(move || {
            for seed in 0..32 {
                (&writer).write_all(&pattern(64 * 1024, seed)).unwrap();
            }
        });
        let mut reply = vec![0; 64 * 1024];
        for seed in 0..32 {
            (&stream).read_exact(&mut reply).unwrap();
            assert!(reply == pattern(64 * 1024, seed), "message {seed} is corrupt");
        }
        sender.join().unwrap();
        server.shutdown(soon());
    });
}

#[test]
fn a_panic_closes_its_own_connection_only() {
    everywhere(|| {
        let (listener, address) = listen();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let server = Builder::new()
            .on_error(move |peer, error| tell.lock().unwrap().push((peer, error.to_string())))
            .serve(listener, |conn| {
                let mut byte = [0];
                conn.read_exact(&mut byte)?;
                if byte[0] == b'!' {
                    std::panic::resume_unwind(Box::new("boom"));
                }
                conn.write_all(&byte)
            });
        let mut bystander = TcpStream::connect(address).unwrap();
        let mut victim = TcpStream::connect(address).unwrap();
        ask(&mut bystander, b"a");
        victim.write_all(b"!").unwrap();
        assert_eq!(victim.read(&mut [0; 1]).unwrap(), 0);
        ask(&mut bystander, b"b");
        let summary = server.shutdown(soon());
        assert_eq!((summary.stats.panics, summary.stats.errors), (1, 0));
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, victim.local_addr().unwrap());
        assert!(told[0].1.contains("boom"), "{}", told[0].1);
    });
}

#[test]
fn an_error_closes_its_connection_and_is_told() {
    everywhere(|| {
        let (listener, address) = listen();
        let (tell, told) = mpsc::channel::<(SocketAddr, ErrorKind)>();
        let tell = Mutex::new(tell);
        let server = Builder::new()
            .on_error(move |peer, error| tell.lock().unwrap().send((peer, error.kind())).unwrap())
            .serve(listener, |conn| {
                let mut message = [0; 4];
                conn.read_exact(&mut message)?;
                Err(io::Error::new(ErrorKind::InvalidData, "never pleased"))
            });
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"four").unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(told.recv().unwrap(), (stream.local_addr().unwrap(), ErrorKind::InvalidData));

        let mut broken_off = TcpStream::connect(address).unwrap();
        broken_off.write_all(b"fo").unwrap();
        let peer = broken_off.local_addr().unwrap();
        drop(broken_off);
        assert_eq!(told.recv().unwrap(), (peer, ErrorKind::UnexpectedEof));
        assert_eq!(server.shutdown(soon()).stats.errors, 2);
    });
}

#[test]
fn a_connection_that_cannot_be_opened_is_rejected() {
    everywhere(|| {
        let (listener, address) = listen();
        let open = |_: &mut Conn| Err::<(), _>(ErrorKind::PermissionDenied.into());
        let server = serve_with(listener, open, |_, ()| unreachable!("it was not opened"));
        let mut stream = TcpStream::connect(address).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        let stats = server.shutdown(soon()).stats;
        assert_eq!((stats.rejected, stats.errors, stats.closed), (1, 1, 1));
    });
}

#[test]
fn a_handler_may_close_and_may_half_close() {
    everywhere(|| {
        let (listener, address) = listen();
        let server = serve(listener, |conn| {
            let mut byte = [0];
            conn.read_exact(&mut byte)?;
            conn.write_all(b"bye")?;
            conn.close();
            Ok(())
        });
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"x").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bye");
        until(|| server.stats().active == 0);
        server.shutdown(soon());
    });
}

#[test]
fn the_limit_on_connections_holds_and_frees() {
    everywhere(|| {
        let (listener, address) = listen();
        let server = Builder::new().max_connections(3).serve(listener, echo);
        let mut streams: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        streams.iter_mut().for_each(|stream| ask(stream, b"in"));
        let mut waiting = TcpStream::connect(address).unwrap();
        waiting.write_all(b"me too").unwrap();
        waiting.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(waiting.read(&mut [0; 6]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(server.stats().accepted, 3);
        waiting.set_read_timeout(None).unwrap();
        drop(streams.pop());
        let mut reply = [0; 6];
        waiting.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"me too");
        let summary = server.shutdown(soon());
        assert_eq!((summary.stats.accepted, summary.stats.active), (4, 0));
    });
}

/// A server whose handler reads a byte, tells that it is at work, and answers when it is let.
fn slow_server(listener: TcpListener) -> (Serve, mpsc::Receiver<()>, TcpStream) {
    let (gate_listener, gate_address) = listen();
    let gate = TcpStream::connect(gate_address).unwrap();
    let (handlers_end, _) = gate_listener.accept().unwrap();
    let (tell, at_work) = mpsc::channel();
    let tell = Mutex::new(tell);
    let server = serve(listener, move |conn| {
        let mut byte = [0];
        conn.read_exact(&mut byte)?;
        tell.lock().unwrap().send(()).unwrap();
        (&handlers_end).read_exact(&mut [0; 1])?;
        conn.write_all(&byte)
    });
    (server, at_work, gate)
}

#[test]
fn shutdown_lets_the_current_message_finish() {
    everywhere(|| {
        let (listener, address) = listen();
        let (server, at_work, gate) = slow_server(listener);
        let mut idle = TcpStream::connect(address).unwrap();
        let mut busy = TcpStream::connect(address).unwrap();
        busy.write_all(b"x").unwrap();
        let at_work = aqueduct::blocking(move || at_work.recv().map(|()| at_work)).wait().unwrap();
        let stopped = go({
            let server = server.clone();
            move || server.shutdown(soon())
        });
        assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0, "idle ones are closed at once");
        // It is closed before it is crossed off.
        until(|| server.stats().active == 1);
        (&gate).write_all(b"g").unwrap();
        let mut reply = String::new();
        busy.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "x");
        let summary = stopped.join().unwrap();
        assert_eq!((summary.stats.closed, summary.cancelled, summary.unfinished), (2, 0, 0));
        drop(at_work);
    });
}

#[test]
fn shutdown_cancels_what_is_busy_at_the_deadline() {
    everywhere(|| {
        let (listener, address) = listen();
        let (server, at_work, _gate) = slow_server(listener);
        let mut busy = TcpStream::connect(address).unwrap();
        busy.write_all(b"x").unwrap();
        let _at_work = aqueduct::blocking(move || at_work.recv().map(|()| at_work)).wait().unwrap();
        let summary = server.shutdown(Instant::now() + Duration::from_millis(50));
        assert_eq!((summary.cancelled, summary.unfinished, summary.stats.active), (1, 0, 0));
        assert_eq!(busy.read(&mut [0; 1]).unwrap(), 0);
    });
}

#[test]
fn what_was_sent_before_the_stop_is_answered() {
    everywhere(|| {
        let (listener, address) = listen();
        let (server, at_work, gate) = slow_server(listener);
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"abc").unwrap();
        let at_work = aqueduct::blocking(move || at_work.recv().map(|()| at_work)).wait().unwrap();
        let stopped = go({
            let server = server.clone();
            move || server.shutdown(soon())
        });
        until(|| TcpStream::connect(address).is_err());
        (&gate).write_all(b"ggg").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "abc");
        assert_eq!(stopped.join().unwrap().cancelled, 0);
        drop(at_work);
    });
}

#[test]
fn dropping_the_handle_lets_the_server_go_on() {
    everywhere(|| {
        let (listener, address) = listen();
        let closer = listener.try_clone().unwrap();
        drop(serve(listener, echo));
        ask(&mut TcpStream::connect(address).unwrap(), b"still here");
        closer.close();
    });
}

#[test]
fn join_returns_when_the_listener_is_closed_and_the_last_connection_has_ended() {
    everywhere(|| {
        let (listener, address) = listen();
        let closer = listener.try_clone().unwrap();
        let server = serve(listener, echo);
        let mut stream = TcpStream::connect(address).unwrap();
        ask(&mut stream, b"x");
        let joined = go({
            let server = server.clone();
            move || server.join()
        });
        closer.close();
        ask(&mut stream, b"still served");
        drop(stream);
        assert_eq!(joined.join().unwrap().unwrap().closed, 1);
        assert_eq!(server.join_async().wait().unwrap().closed, 1);
    });
}

#[test]
fn the_handler_is_never_called_in_vain() {
    everywhere(|| {
        let (listener, address) = listen();
        let server = serve_with(
            listener,
            // A call in vain would wait for the next message, and time out.
            |conn| conn.stream().set_read_timeout(Some(Duration::from_millis(20))),
            |conn, ()| {
                let mut message = [0; 16];
                conn.read_exact(&mut message)?;
                conn.write_all(&message)
            },
        );
        let mut streams: Vec<_> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        for burst in [1, 2, 16, 17, 50, 128, 300, 1_000] {
            for stream in &mut streams {
                ask(stream, &pattern(16 * burst, burst as u64));
            }
            // Idle for longer than the read timeout, which is not to count between two messages.
            aqueduct::blocking(|| std::thread::sleep(Duration::from_millis(40))).wait();
        }
        assert_eq!(server.shutdown(soon()).stats.errors, 0);
    });
}

#[test]
fn a_reset_between_two_messages_is_the_handlers_to_see() {
    let (listener, address) = listen();
    let (tell, told) = mpsc::channel();
    let (answer, answered) = mpsc::channel();
    let answered = Mutex::new(answered);
    let server = serve(listener, move |conn| {
        let mut buffer = [0; 4];
        let read = conn.read(&mut buffer);
        tell.send(read.as_ref().map_err(io::Error::kind).copied()).unwrap();
        // At work until the reset has come.
        let _ = answered.lock().unwrap().recv();
        read.map(drop)
    });
    let mut client = std::net::TcpStream::connect(address).unwrap();
    client.write_all(b"ping").unwrap();
    assert_eq!(told.recv().unwrap(), Ok(4));
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    answer.send(()).unwrap();
    assert_eq!(told.recv().unwrap(), Err(ErrorKind::ConnectionReset));
    drop(answer);
    server.shutdown(soon());
}
