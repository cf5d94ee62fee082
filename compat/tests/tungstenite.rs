//! WebSockets over our sockets: blocking through tungstenite, async through async-tungstenite, plain and over TLS.

mod support;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use aqueduct::net::TcpStream;
use aqueduct::prelude::*;
use aqueduct_compat::rustls::{Acceptor, Connector};
use aqueduct_compat::tungstenite::{Handshake, OverTcp, close, close_async};
use async_tungstenite::WebSocketStream;
use futures::StreamExt;
use futures::io::{AsyncRead, AsyncWrite};
use support::tls::Authority;
use support::{COLOURS, Colour, checked, listen, pair, pairs_of_colours, pattern, reset, until_waiting};
use tungstenite::error::{CapacityError, ProtocolError, UrlError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const LIMIT: Duration = Duration::from_secs(20);

/// Echoes until the peer closes.
fn echo<S: OverTcp>(mut socket: WebSocket<S>) -> Result<u32, Error> {
    let mut count = 0;
    loop {
        match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message)?,
            Ok(_) => continue,
            Err(Error::ConnectionClosed) => return close(&mut socket, None, LIMIT).map(|()| count),
            Err(error) => return Err(error),
        }
        count += 1;
    }
}

async fn echo_async<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) -> Result<u32, Error> {
    let mut count = 0;
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            _ => continue,
        }
        count += 1;
    }
    close_async(&mut socket, None, LIMIT).await?;
    Ok(count)
}

/// An echo server for one connection.
fn server(colour: Colour, handshake: Handshake, tcp: TcpStream) -> JoinHandle<Result<u32, Error>> {
    match colour {
        Colour::Go => go!(echo(handshake.accept(tcp)?)),
        Colour::Async => spawn(async move { echo_async(handshake.accept_async(tcp).await?).await }),
    }
}

/// What is sent: empty, short, longer than any buffer on the way, not a text.
fn messages() -> Vec<Message> {
    vec![
        Message::text(""),
        Message::text("über"),
        Message::binary(pattern(0)),
        Message::binary(pattern(1_000_000)),
        Message::text("x".repeat(70_000)),
    ]
}

fn converse<S: OverTcp>(mut socket: WebSocket<S>) -> Result<(), Error> {
    for message in messages() {
        socket.send(message.clone())?;
        assert_eq!(socket.read()?, message);
    }
    socket.send(Message::Ping("are you there".into()))?;
    assert_eq!(socket.read()?, Message::Pong("are you there".into()));
    close(&mut socket, None, LIMIT)
}

async fn converse_async<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
) -> Result<(), Error> {
    for message in messages() {
        socket.send(message.clone()).await?;
        assert_eq!(socket.next().await.expect("a message")?, message);
    }
    socket.send(Message::Ping("are you there".into())).await?;
    assert_eq!(socket.next().await.expect("a message")?, Message::Pong("are you there".into()));
    close_async(&mut socket, None, LIMIT).await
}

#[test]
fn messages_come_back_in_every_colour() {
    checked!(|| {
        for (client, server_colour) in pairs_of_colours() {
            let (listener, address) = listen();
            let server = go!(server(server_colour, Handshake::new(), listener.accept().unwrap().0).join());
            let url = format!("ws://{address}/path?query");
            match client {
                Colour::Go => converse(Handshake::new().connect(url).unwrap().0).unwrap(),
                Colour::Async => async {
                    converse_async(Handshake::new().connect_async(url).await.unwrap().0).await.unwrap()
                }
                .wait(),
            }
            assert_eq!(server.join().unwrap().unwrap().unwrap(), 5);
        }
    });
}

#[test]
fn messages_come_back_over_tls_in_every_colour() {
    checked!(|| {
        let authority = Authority::shared();
        let acceptor = Acceptor::new(Arc::new(authority.server()));
        let connector = Connector::new(Arc::new(authority.client()));
        for (client, server) in pairs_of_colours() {
            let (theirs, ours) = pair();
            let acceptor = acceptor.clone();
            let server = match server {
                Colour::Go => go!(echo(Handshake::new().accept(acceptor.accept(ours)?)?)),
                Colour::Async => spawn(async move {
                    let tls = acceptor.accept_async(ours).await?;
                    echo_async(Handshake::new().accept_async(tls).await?).await
                }),
            };
            let url = "wss://localhost/";
            match client {
                Colour::Go => {
                    let tls = connector.connect("localhost", theirs).unwrap();
                    converse(Handshake::new().client(url, tls).unwrap().0).unwrap();
                }
                Colour::Async => async {
                    let tls = connector.connect_async("localhost", theirs).await.unwrap();
                    let (socket, _) = Handshake::new().client_async(url, tls).await.unwrap();
                    converse_async(socket).await.unwrap();
                }
                .wait(),
            }
            assert_eq!(server.join().unwrap().unwrap(), 5);
        }
    });
}

/// The crate's own functions, with no help of ours.
#[test]
fn the_crates_own_functions_take_our_stream() {
    checked!(|| {
        let (theirs, ours) = pair();
        let server = go!(tungstenite::accept(ours).map(echo).expect("a handshake"));
        let (mut socket, response) = tungstenite::client("ws://localhost/", theirs).expect("a handshake");
        assert_eq!(response.status(), 101);
        socket.send("over".into()).unwrap();
        assert_eq!(socket.read().unwrap().to_text().unwrap(), "over");
        socket.close(None).unwrap();
        assert!(socket.read().unwrap().is_close());
        assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
        assert_eq!(server.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn many_connections_share_few_workers() {
    checked!(|| {
        let (listener, address) = listen();
        let servers = go!((0..100)
            .map(|i| server(COLOURS[i % 2], Handshake::new(), listener.accept().unwrap().0))
            .collect::<Vec<_>>());
        let clients: Vec<_> = (0..100)
            .map(|i| {
                go!({
                    let (mut socket, _) = Handshake::new().connect(format!("ws://{address}")).unwrap();
                    for j in 0..5 {
                        let message = Message::text(format!("{i} {j}"));
                        socket.send(message.clone()).unwrap();
                        assert_eq!(socket.read().unwrap(), message);
                    }
                    close(&mut socket, None, LIMIT).unwrap();
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        for server in servers.join().unwrap() {
            assert_eq!(server.join().unwrap().unwrap(), 5);
        }
    });
}

#[test]
fn the_reason_of_a_close_arrives() {
    checked!(|| {
        for colour in COLOURS {
            let (theirs, ours) = pair();
            let reason = CloseFrame { code: CloseCode::Policy, reason: "that is enough".into() };
            // What the client sent before it heard of it is passed over.
            let server = match colour {
                Colour::Go => go!(close(&mut Handshake::new().accept(ours)?, Some(reason), LIMIT)),
                Colour::Async => spawn(async move {
                    let mut socket = Handshake::new().accept_async(ours).await?;
                    close_async(&mut socket, Some(reason), LIMIT).await
                }),
            };
            let (mut socket, _) = Handshake::new().client("ws://localhost/", theirs).unwrap();
            socket.send("on its way".into()).unwrap();
            let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("no close frame") };
            assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Policy, "that is enough"));
            assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
            server.join().unwrap().unwrap();
        }
    });
}

/// A blocking server that has shaken hands with a raw peer, reading until an error.
fn raw_peer(colour: Colour, handshake: Handshake) -> (TcpStream, JoinHandle<Result<u32, Error>>) {
    let (theirs, ours) = pair();
    let server = server(colour, handshake, ours);
    let raw = theirs.try_clone().unwrap();
    let (socket, _) = Handshake::new().client("ws://localhost/", theirs).unwrap();
    drop(socket);
    (raw, server)
}

/// A frame as a client sends it: masked, by zero.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first_byte, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[test]
fn malformed_frames_are_errors_that_say_what_is_wrong() {
    type Expected = fn(&Error) -> bool;
    let cases: [(&str, Vec<u8>, Expected); 8] = [
        ("reserved opcode", frame(0x83, b""), |error| {
            matches!(error, Error::Protocol(ProtocolError::InvalidOpcode(3)))
        }),
        ("reserved bits", frame(0xf1, b""), |error| {
            matches!(error, Error::Protocol(ProtocolError::NonZeroReservedBits))
        }),
        ("not masked", vec![0x81, 1, b'x'], |error| {
            matches!(error, Error::Protocol(ProtocolError::UnmaskedFrameFromClient))
        }),
        ("a ping in fragments", frame(0x09, b""), |error| {
            matches!(error, Error::Protocol(ProtocolError::FragmentedControlFrame))
        }),
        ("a fragment of nothing", frame(0x80, b""), |error| {
            matches!(error, Error::Protocol(ProtocolError::UnexpectedContinueFrame))
        }),
        ("not UTF-8", frame(0x81, &[0xff, 0xfe]), |error| matches!(error, Error::Utf8(_))),
        ("half a close code", frame(0x88, &[3]), |error| {
            matches!(error, Error::Protocol(ProtocolError::InvalidCloseSequence))
        }),
        // 2^62 bytes are announced: nothing of the kind is allocated.
        ("too large", [&[0x82, 0xff, 0x40][..], &[0; 7], &[0; 4]].concat(), |error| {
            matches!(error, Error::Capacity(CapacityError::MessageTooLong { .. }))
        }),
    ];
    checked!(move || {
        for (what, bytes, expected) in cases {
            for colour in COLOURS {
                let (mut raw, server) = raw_peer(colour, Handshake::new());
                raw.write_all(&bytes).unwrap();
                let error = server.join().unwrap().unwrap_err();
                assert!(expected(&error), "{what}, {colour:?}: {error:?}");
                assert!(!error.to_string().is_empty());
            }
        }
    });
}

#[test]
fn the_configured_size_is_kept() {
    checked!(|| {
        let handshake = Handshake::new().config(WebSocketConfig::default().max_message_size(Some(100)));
        for colour in COLOURS {
            let (mut raw, server) = raw_peer(colour, handshake);
            // In two fragments, each of which is small enough.
            raw.write_all(&frame(0x02, &[0; 60])).unwrap();
            raw.write_all(&frame(0x80, &[0; 60])).unwrap();
            let error = server.join().unwrap().unwrap_err();
            let Error::Capacity(CapacityError::MessageTooLong { size, max_size }) = error else {
                panic!("{error:?}")
            };
            assert_eq!((size, max_size), (120, 100));
        }
    });
}

#[test]
fn a_peer_that_leaves_without_closing_is_an_error() {
    checked!(|| {
        for colour in COLOURS {
            let (raw, server) = raw_peer(colour, Handshake::new());
            raw.shutdown(std::net::Shutdown::Write).unwrap();
            let error = server.join().unwrap().unwrap_err();
            assert!(
                matches!(error, Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)),
                "{error:?}"
            );

            let (mut raw, server) = raw_peer(colour, Handshake::new());
            raw.write_all(&frame(0x81, b"cut short")[..4]).unwrap();
            reset(raw);
            let error = server.join().unwrap().unwrap_err();
            let is_reset = match &error {
                Error::Io(error) => error.kind() == io::ErrorKind::ConnectionReset,
                error => matches!(error, Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)),
            };
            assert!(is_reset, "{error:?}");
        }
    });
}

#[track_caller]
fn assert_timed_out(error: Error, what: &str) {
    match error {
        Error::Io(error) => {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
            assert!(error.to_string().contains(&format!("no {what} within")), "{error}");
        }
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_peer_that_stalls_or_trickles_does_not_hold_a_handshake() {
    checked!(|| {
        let handshake = Handshake::new().limit(Duration::from_millis(60));
        for colour in COLOURS {
            let (mut theirs, ours) = pair();
            let server = server(colour, handshake, ours);
            let trickle = go!({
                theirs.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
                while theirs.write_all(b"x").is_ok() {
                    time::sleep(Duration::from_millis(4));
                }
            });
            assert_timed_out(server.join().unwrap().unwrap_err(), "WebSocket handshake");
            trickle.join().unwrap();

            // A listener that nobody serves: the system accepts for it.
            let (_listener, address) = listen();
            let url = format!("ws://{address}/");
            let error = match colour {
                Colour::Go => handshake.connect(url).map(drop),
                Colour::Async => handshake.connect_async(url).wait().map(drop),
            };
            assert_timed_out(error.unwrap_err(), "WebSocket handshake");
        }
    });
}

#[test]
fn a_peer_that_does_not_answer_a_close_does_not_hold_it() {
    checked!(|| {
        let limit = Duration::from_millis(30);
        for colour in COLOURS {
            let (theirs, ours) = pair();
            let client = go!(Handshake::new().client("ws://localhost/", theirs).unwrap().0);
            let closing = match colour {
                Colour::Go => go!(close(&mut Handshake::new().accept(ours)?, None, limit)),
                Colour::Async => spawn(async move {
                    close_async(&mut Handshake::new().accept_async(ours).await?, None, limit).await
                }),
            };
            let mut silent = client.join().unwrap();
            assert_timed_out(closing.join().unwrap().unwrap_err(), "closing handshake");
            // It sees the close frame, and the end.
            assert!(silent.read().unwrap().is_close());
            assert!(matches!(silent.read(), Err(Error::ConnectionClosed)));
        }
    });
}

#[test]
fn what_is_not_a_websocket_is_refused() {
    checked!(|| {
        for colour in COLOURS {
            let (mut theirs, ours) = pair();
            let refusing = server(colour, Handshake::new(), ours);
            theirs.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let error = refusing.join().unwrap().unwrap_err();
            assert!(
                matches!(error, Error::Protocol(ProtocolError::MissingConnectionUpgradeHeader)),
                "{error:?}"
            );

            let (mut theirs, ours) = pair();
            let refusing = server(colour, Handshake::new(), ours);
            theirs.write_all(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").unwrap();
            let error = refusing.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::Protocol(ProtocolError::HttparseError(_))), "{error:?}");

            let (theirs, ours) = pair();
            let refusing = server(colour, Handshake::new(), ours);
            drop(theirs);
            let error = refusing.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::Protocol(ProtocolError::HandshakeIncomplete)), "{error:?}");
        }
    });
}

/// Connects in the given colour.
fn connect(colour: Colour, url: &str) -> Result<(), Error> {
    match colour {
        Colour::Go => Handshake::new().connect(url).map(drop),
        Colour::Async => Handshake::new().connect_async(url).wait().map(drop),
    }
}

#[test]
fn a_url_that_does_not_lead_to_a_websocket_is_an_error() {
    checked!(|| {
        let (listener, address) = listen();
        let web_server = go!(for _ in COLOURS {
            let (mut stream, _) = listener.accept().unwrap();
            assert_ne!(stream.read(&mut [0; 1024]).unwrap(), 0);
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        for colour in COLOURS {
            let error = connect(colour, &format!("ws://{address}/")).unwrap_err();
            let Error::Http(response) = error else { panic!("{error:?}") };
            assert_eq!(response.status(), 404);
        }
        web_server.join().unwrap();

        let (nobody, _held) = support::nobody();
        for colour in COLOURS {
            let error = connect(colour, &format!("ws://{nobody}/")).unwrap_err();
            let Error::Io(error) = error else { panic!("{error:?}") };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let error = connect(colour, "wss://localhost/").unwrap_err();
            assert!(matches!(error, Error::Url(UrlError::TlsFeatureNotEnabled)), "{error:?}");
            let error = connect(colour, "http://localhost/").unwrap_err();
            assert!(matches!(error, Error::Url(UrlError::UnsupportedUrlScheme)), "{error:?}");
        }
    });
}

#[test]
fn a_read_that_times_out_leaves_the_socket_intact() {
    checked!(|| {
        let (theirs, ours) = pair();
        let client = go!(Handshake::new().client("ws://localhost/", theirs).unwrap().0);
        let mut socket = Handshake::new().accept(ours).unwrap();
        let mut client = client.join().unwrap();
        socket.get_ref().set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let Err(Error::Io(error)) = socket.read() else { panic!("it was to time out") };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        socket.get_ref().set_read_timeout(None).unwrap();
        client.send("late".into()).unwrap();
        assert_eq!(socket.read().unwrap().to_text().unwrap(), "late");
    });
}

#[test]
fn a_cancelled_read_or_handshake_gives_the_connection_back() {
    checked!(|| {
        for colour in COLOURS {
            let (mut raw, server) = raw_peer(colour, Handshake::new());
            until_waiting(&server);
            server.cancel();
            assert!(server.join().unwrap_err().is_cancelled());
            assert_eq!(raw.read(&mut [0]).unwrap(), 0, "the socket is closed");

            let (mut theirs, ours) = pair();
            let shaking = self::server(colour, Handshake::new(), ours);
            until_waiting(&shaking);
            shaking.cancel();
            assert!(shaking.join().unwrap_err().is_cancelled());
            assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "the socket is closed, and no watcher holds it");
        }
    });
}

/// Whoever is cancelled wherever it is, nobody hangs, and `checked` finds nothing left.
#[test]
fn conversations_cancelled_at_random_leave_nothing_behind() {
    checked!(|| {
        let mut random = support::common::Rng::new("conversations_cancelled_at_random");
        let authority = Authority::shared();
        let acceptor = Acceptor::new(Arc::new(authority.server()));
        let connector = Connector::new(Arc::new(authority.client()));
        let mut ended = [0; 3];
        for round in 0..60 {
            let (theirs, ours) = pair();
            let (acceptor, connector) = (acceptor.clone(), connector.clone());
            let server = match COLOURS[round % 2] {
                Colour::Go => go!(echo(Handshake::new().accept(acceptor.accept(ours)?)?)),
                Colour::Async => spawn(async move {
                    echo_async(Handshake::new().accept_async(acceptor.accept_async(ours).await?).await?).await
                }),
            };
            let client = match COLOURS[round / 2 % 2] {
                Colour::Go => go!(converse(
                    Handshake::new().client("wss://localhost/", connector.connect("localhost", theirs)?)?.0
                )),
                Colour::Async => spawn(async move {
                    let tls = connector.connect_async("localhost", theirs).await?;
                    converse_async(Handshake::new().client_async("wss://localhost/", tls).await?.0).await
                }),
            };
            time::sleep(Duration::from_micros(random.below(15_000)));
            let cancel_client = random.one_in(2);
            if cancel_client {
                client.cancel()
            } else {
                server.cancel()
            }
            // The other one's error is that the peer has gone; completion beats cancellation.
            for outcome in [client.join().map(|client| client.map(|()| 0)), server.join()] {
                match outcome {
                    Ok(Ok(_)) => ended[0] += 1,
                    Ok(Err(_)) => ended[1] += 1,
                    Err(error) => {
                        assert!(error.is_cancelled(), "{error}");
                        ended[2] += 1;
                    }
                }
            }
        }
        assert_eq!(ended.iter().sum::<i32>(), 120);
        assert!(ended[2] > 0, "some were cancelled on their way: {ended:?}");
    });
}
