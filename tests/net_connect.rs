//! Connecting: refusals, several addresses, names, timeouts.

mod net_common;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aqueduct::Wait;
use aqueduct::net::{TcpListener, TcpStream};
use net_common::{everywhere, listen};

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A listener whose queue is full, so that connecting to it neither succeeds nor fails; and what keeps it so.
fn full() -> (SocketAddr, impl Sized) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let patience = Duration::from_millis(100);
    let filling: Vec<_> =
        (0..16).map_while(|_| std::net::TcpStream::connect_timeout(&address, patience).ok()).collect();
    (address, (socket, filling))
}

#[test]
fn a_refusal_is_an_error_in_both_colours() {
    everywhere(|| {
        let error = TcpStream::connect(nobody()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = TcpStream::connect_async(nobody()).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn the_first_address_that_answers_is_taken() {
    everywhere(|| {
        let (listener, address) = listen();
        let stream = TcpStream::connect(&[nobody(), nobody(), address][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        drop(listener);
        let error = TcpStream::connect([nobody(), nobody()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = TcpStream::connect(&[][..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn names_are_looked_up() {
    everywhere(|| {
        let (_listener, address) = listen();
        let stream = TcpStream::connect(("localhost", address.port())).unwrap();
        assert_eq!(stream.peer_addr().unwrap().port(), address.port());
        let text = format!("localhost:{}", address.port());
        assert_eq!(
            TcpStream::connect_async(&text).wait().unwrap().peer_addr().unwrap().port(),
            address.port()
        );
        let listener = TcpListener::bind_async("localhost:0").wait().unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
    });
}

#[test]
fn nonsense_is_refused_before_anything_is_tried() {
    everywhere(|| {
        for address in ["", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:99999"] {
            assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::InvalidInput, "{address}");
            assert_eq!(TcpListener::bind(address).unwrap_err().kind(), ErrorKind::InvalidInput, "{address}");
        }
    });
}

#[test]
fn a_connection_that_nobody_answers_times_out() {
    everywhere(|| {
        let (address, _full) = full();
        let start = Instant::now();
        let error = TcpStream::connect_timeout(&address, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(50));
        assert_eq!(
            TcpStream::connect_timeout(&address, Duration::ZERO).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn connect_timeout_connects_in_time() {
    everywhere(|| {
        let (listener, address) = listen();
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
        assert_eq!(listener.accept().unwrap().1, stream.local_addr().unwrap());
    });
}

#[test]
fn an_address_in_use_is_an_error() {
    everywhere(|| {
        let (_listener, address) = listen();
        assert_eq!(TcpListener::bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}
