//! UDP: the three forms over every kind of party, limits, closing, what a dropped wait leaves behind.

mod common;
mod net_common;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use aqueduct::net::{UdpSocket, lookup_host};
use aqueduct::{Wait, go, spawn};
use common::life::Style;
use common::party::{PARTIES, pairs};
use net_common::{everywhere, pattern};

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn recv_from(style: Style, socket: &UdpSocket, buf: &mut [u8]) -> (usize, SocketAddr) {
    match style {
        Style::Go => socket.recv_from(buf).unwrap(),
        Style::Async => socket.recv_from_async(buf).await.unwrap(),
    }
}

async fn send_to(style: Style, socket: &UdpSocket, buf: &[u8], target: SocketAddr) {
    let sent = match style {
        Style::Go => socket.send_to(buf, target).unwrap(),
        Style::Async => socket.send_to_async(buf, target).await.unwrap(),
    };
    assert_eq!(sent, buf.len());
}

#[test]
fn every_party_asks_and_every_party_answers() {
    let _dog = common::watchdog!(60);
    for (asking, answering) in pairs() {
        let ((client, _), (server, server_address)) = (socket(), socket());
        let answer = answering.live(move |style| async move {
            let mut buffer = [0; 2048];
            for _ in 0..50 {
                let (n, peer) = recv_from(style, &server, &mut buffer).await;
                send_to(style, &server, &buffer[..n], peer).await;
            }
        });
        let ask = asking.live(move |style| async move {
            let mut buffer = [0; 2048];
            for seed in 0..50 {
                let message = pattern(1 + seed as usize * 29, seed);
                send_to(style, &client, &message, server_address).await;
                let (n, peer) = recv_from(style, &client, &mut buffer).await;
                assert_eq!((&buffer[..n], peer), (&message[..], server_address), "{asking:?} {answering:?}");
            }
        });
        ask.join();
        answer.join();
    }
}

#[test]
fn a_connected_socket_sends_receives_and_peeks() {
    let _dog = common::watchdog!(30);
    for party in PARTIES {
        let ((one, one_address), (other, other_address)) = (socket(), socket());
        one.connect(other_address).unwrap();
        other.connect_async(one_address).wait().unwrap();
        assert_eq!(one.peer_addr().unwrap(), other_address);
        let receiver = party.start(
            {
                let other = other.try_clone().unwrap();
                move || {
                    let mut buffer = [0; 8];
                    assert_eq!(other.peek(&mut buffer[..2]).unwrap(), 2);
                    assert_eq!(other.peek_from(&mut buffer).unwrap(), (5, one_address));
                    (other.recv(&mut buffer).unwrap(), buffer)
                }
            },
            {
                let other = other.try_clone().unwrap();
                async move {
                    let mut buffer = [0; 8];
                    assert_eq!(other.peek_async(&mut buffer[..2]).await.unwrap(), 2);
                    assert_eq!(other.peek_from_async(&mut buffer).await.unwrap(), (5, one_address));
                    (other.recv_async(&mut buffer).await.unwrap(), buffer)
                }
            },
        );
        one.send(b"hello").unwrap();
        assert_eq!(receiver.join(), (5, *b"hello\0\0\0"));
        assert_eq!(other.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(other.try_send(b"back").unwrap(), 4);
        one.readable().wait().unwrap();
        assert_eq!(one.try_recv_from(&mut [0; 8]).unwrap(), (4, other_address));
    }
}

#[test]
fn each_datagram_goes_to_one_of_several_receivers() {
    everywhere(|| {
        let ((client, _), (server, address)) = (socket(), socket());
        let receivers: Vec<_> = (0..6)
            .map(|i| {
                let server = server.try_clone().unwrap();
                let count = move || {
                    let (mut total, mut byte) = (0_u64, [0; 1]);
                    while server.recv(&mut byte).is_ok() {
                        total += u64::from(byte[0]);
                        if byte[0] == 0 {
                            server.close();
                        }
                    }
                    total
                };
                if i % 2 == 0 { go(count) } else { spawn(async move { count() }) }
            })
            .collect();
        for byte in 1..=100 {
            client.send_to(&[byte], address).unwrap();
        }
        // The last one: on loopback they arrive in order, and whoever gets it ends the others.
        client.send_to(&[0], address).unwrap();
        let received: u64 = receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum();
        assert!(received <= 5050, "a datagram was received twice: {received}");
        assert!(received > 0);
    });
}

#[test]
fn a_dropped_receive_has_taken_nothing() {
    everywhere(|| {
        use futures::FutureExt;
        let ((client, _), (server, address)) = (socket(), socket());
        let mut buffer = [0; 8];
        assert!(server.recv_async(&mut buffer).now_or_never().is_none());
        assert!(server.recv_from_async(&mut buffer).now_or_never().is_none());
        client.send_to(b"kept", address).unwrap();
        assert_eq!(server.recv(&mut buffer).unwrap(), 4);
    });
}

#[test]
fn a_cancelled_receiver_leaves_the_datagram_to_the_next() {
    let _dog = common::watchdog!(20);
    aqueduct::run(|| {
        let ((client, _), (server, address)) = (socket(), socket());
        let waiting = go({
            let server = server.try_clone().unwrap();
            move || server.recv(&mut [0; 8]).map(drop)
        });
        common::until_waiting(&aqueduct::Handle::current(), waiting.id());
        waiting.cancel();
        assert!(waiting.join().unwrap_err().is_cancelled());
        client.send_to(b"kept", address).unwrap();
        assert_eq!(server.recv(&mut [0; 8]).unwrap(), 4);
    });
}

#[test]
fn the_read_timeout_and_closing_end_a_wait() {
    everywhere(|| {
        let (server, _) = socket();
        server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(server.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(server.recv_from(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(server.peek(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        server.set_read_timeout(None).unwrap();
        let waiting = go({
            let server = server.try_clone().unwrap();
            move || server.recv(&mut [0; 8]).unwrap_err().kind()
        });
        server.close();
        assert_eq!(waiting.join().unwrap(), ErrorKind::NotConnected);
        assert_eq!(server.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn a_refusal_is_told_and_the_socket_goes_on() {
    everywhere(|| {
        let ((client, _), (gone, nobody)) = (socket(), socket());
        drop(gone);
        client.connect(nobody).unwrap();
        client.send(b"?").unwrap();
        assert_eq!(client.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let (server, address) = socket();
        client.connect(address).unwrap();
        client.send(b"!").unwrap();
        assert_eq!(server.recv(&mut [0; 8]).unwrap(), 1);
    });
}

#[test]
fn bad_addresses_and_datagrams_are_clear_errors() {
    assert_eq!(UdpSocket::bind("nonsense").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(lookup_host("nonsense").unwrap_err().kind(), ErrorKind::InvalidInput);
    let (one, address) = socket();
    assert!(one.send(b"to whom?").is_err());
    assert_eq!(one.send_to(&[0; 70_000], address).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    assert!(UdpSocket::bind(address).is_err(), "the address is taken");
}

#[test]
fn names_are_looked_up() {
    everywhere(|| {
        let found: Vec<_> = lookup_host(("localhost", 7)).unwrap().collect();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 7));
        let by_name = UdpSocket::bind(("localhost", 0)).unwrap();
        assert!(by_name.local_addr().unwrap().ip().is_loopback());
    });
}

#[test]
fn to_std_and_back_with_options() {
    let (socket, address) = socket();
    socket.set_broadcast(true).unwrap();
    assert!(socket.broadcast().unwrap());
    socket.set_ttl(9).unwrap();
    assert_eq!(socket.ttl().unwrap(), 9);
    let std = std::net::UdpSocket::try_from(socket).unwrap();
    std.set_nonblocking(false).unwrap();
    let socket = UdpSocket::try_from(std).unwrap();
    assert_eq!(socket.local_addr().unwrap(), address);
    assert!(socket.take_error().unwrap().is_none());
    assert!(format!("{socket:?}").contains("UdpSocket"));
}

#[test]
fn no_descriptor_is_left() {
    common::child::alone(common::test_path!(), || {
        let once = || {
            aqueduct::run(|| {
                let ((client, _), (server, address)) = (socket(), socket());
                let receiver = go({
                    let server = server.try_clone().unwrap();
                    move || server.recv(&mut [0; 8]).unwrap()
                });
                client.send_to(b"x", address).unwrap();
                receiver.join().unwrap();
            });
        };
        once();
        let before = common::proc::descriptors();
        (0..50).for_each(|_| once());
        assert_eq!(common::proc::descriptors(), before);
    });
}

#[test]
fn names_are_looked_up_for_the_sockets_own_family() {
    let _dog = common::watchdog!(60);
    everywhere(|| {
        let ((client, _), (server, to)) = (socket(), socket());
        let mut buffer = [0; 8];
        for _ in 0..2 {
            // Also where the resolver gives `::1` first.
            assert_eq!(client.send_to(b"name", ("localhost", to.port())).unwrap(), 4);
            assert_eq!(client.send_to_async(b"name", format!("localhost:{}", to.port())).wait().unwrap(), 4);
            // What a `SocketAddr` is made from, and references.
            assert_eq!(client.send_to(b"name", ([127, 0, 0, 1], to.port())).unwrap(), 4);
            assert_eq!(client.send_to(b"name", to.to_string()).unwrap(), 4);
            assert_eq!(client.send_to_async(b"name", &to).wait().unwrap(), 4);
            for _ in 0..5 {
                assert_eq!(server.recv_from(&mut buffer).unwrap().0, 4);
            }
        }
        for nothing in ["localhost", "no port:", "name.invalid:1"] {
            client.send_to(b"name", nothing).unwrap_err();
            client.send_to_async(b"name", nothing).wait().unwrap_err();
        }
        assert_eq!(client.send_to(b"name", &[][..]).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_look_up_holds_up_no_worker() {
    let dog = common::watchdog!(60);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let sent = runtime.go(|| {
        // The neighbour runs while this one waits for the resolver, which now and then may be too quick for that.
        (0..100).any(|_| {
            let neighbour = go(|| ());
            socket().0.send_to(b"name", "localhost:9").unwrap();
            neighbour.is_finished()
        })
    });
    assert!(sent.join().unwrap());
}
