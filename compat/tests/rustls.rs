//! TLS over our sockets: async through futures-rustls, blocking through rustls' own streams.

mod support;

use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use aqueduct::net::TcpStream;
use aqueduct::prelude::*;
use aqueduct_compat::rustls::{Acceptor, Connector, HandshakeError, close_write};
use rustls::{ClientConfig, ServerConfig};
use support::tls::Authority;
use support::{COLOURS, Colour, checked, pair, pairs_of_colours, pattern, reset, until_waiting};

fn connector(config: ClientConfig) -> Connector {
    Connector::new(Arc::new(config))
}

fn acceptor(config: ServerConfig) -> Acceptor {
    Acceptor::new(Arc::new(config))
}

/// Sends `message`, ends its half, and returns what comes back.
fn client(
    colour: Colour,
    connector: Connector,
    tcp: TcpStream,
    message: Vec<u8>,
) -> JoinHandle<io::Result<Vec<u8>>> {
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    let mut answer = Vec::new();
    match colour {
        Colour::Go => go!({
            let mut stream = connector.connect("localhost", tcp)?;
            stream.write_all(&message)?;
            close_write(&mut stream)?;
            stream.read_to_end(&mut answer)?;
            Ok(answer)
        }),
        Colour::Async => spawn(async move {
            let mut stream = connector.connect_async("localhost", tcp).await?;
            stream.write_all(&message).await?;
            stream.close().await?;
            stream.read_to_end(&mut answer).await?;
            Ok(answer)
        }),
    }
}

/// Reads until the peer has ended its half, answers with the same, and ends its own.
fn server(colour: Colour, acceptor: Acceptor, tcp: TcpStream) -> JoinHandle<io::Result<Vec<u8>>> {
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    let mut message = Vec::new();
    match colour {
        Colour::Go => go!({
            let mut stream = acceptor.accept(tcp)?;
            stream.read_to_end(&mut message)?;
            stream.write_all(&message)?;
            close_write(&mut stream)?;
            Ok(message)
        }),
        Colour::Async => spawn(async move {
            let mut stream = acceptor.accept_async(tcp).await?;
            stream.read_to_end(&mut message).await?;
            stream.write_all(&message).await?;
            stream.close().await?;
            Ok(message)
        }),
    }
}

/// The outcome of both sides.
fn exchange(
    colours: (Colour, Colour),
    connector: Connector,
    acceptor: Acceptor,
    message: &[u8],
) -> (io::Result<Vec<u8>>, io::Result<Vec<u8>>) {
    let (theirs, ours) = pair();
    let server = server(colours.1, acceptor, ours);
    let client = client(colours.0, connector, theirs, message.to_vec());
    (client.join().expect("no panic"), server.join().expect("no panic"))
}

/// The `rustls` error behind an error of a handshake or of a stream.
fn cause(error: &io::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = error.get_ref().map(|error| error as _);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[track_caller]
fn assert_says(error: &io::Error, kind: io::ErrorKind, part: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn each_half_ends_by_itself_in_every_colour() {
    checked!(|| {
        let authority = Authority::shared();
        for colours in pairs_of_colours() {
            for message in [Vec::new(), pattern(5), pattern(300_000)] {
                let (answer, seen) =
                    exchange(colours, connector(authority.client()), acceptor(authority.server()), &message);
                assert_eq!(seen.unwrap(), message, "{colours:?}");
                assert_eq!(answer.unwrap(), message, "{colours:?}");
            }
        }
    });
}

#[test]
fn many_connections_at_once_on_few_workers() {
    checked!(|| {
        let authority = Authority::shared();
        let (connector, acceptor) = (connector(authority.client()), acceptor(authority.server()));
        let ends: Vec<_> = (0..40)
            .map(|i| {
                let (theirs, ours) = pair();
                let colour = COLOURS[i % 2];
                server(colour, acceptor.clone(), ours);
                (i, client(colour, connector.clone(), theirs, pattern(i * 1_000)))
            })
            .collect();
        for (i, client) in ends {
            assert_eq!(client.join().unwrap().unwrap(), pattern(i * 1_000));
        }
    });
}

/// `rustls::Stream`, with no help of ours, is what it is over a socket of `std`.
#[test]
fn the_crates_own_blocking_stream_does_its_handshake_when_it_is_used() {
    checked!(|| {
        let (theirs, mut ours) = pair();
        let client = client(Colour::Async, connector(Authority::shared().client()), theirs, b"ping".to_vec());
        let mut connection = rustls::ServerConnection::new(Arc::new(Authority::shared().server())).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut ours);
        let mut message = String::new();
        stream.read_to_string(&mut message).unwrap();
        stream.write_all(b"pong").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        drop(ours);
        assert_eq!((message.as_str(), client.join().unwrap().unwrap().as_slice()), ("ping", &b"pong"[..]));
    });
}

#[test]
fn the_protocol_agreed_on_is_passed() {
    checked!(|| {
        for colours in pairs_of_colours() {
            let (theirs, ours) = pair();
            let mut server_config = Authority::shared().server();
            server_config.alpn_protocols = vec![b"two".to_vec(), b"one".to_vec()];
            let mut client_config = Authority::shared().client();
            client_config.alpn_protocols = vec![b"one".to_vec(), b"three".to_vec()];
            let (acceptor, connector) = (acceptor(server_config), connector(client_config));
            let server = go!(match colours.1 {
                Colour::Go => acceptor.accept(ours)?.conn.alpn_protocol().map(<[u8]>::to_vec),
                Colour::Async =>
                    acceptor.accept_async(ours).wait()?.get_ref().1.alpn_protocol().map(<[u8]>::to_vec),
            }
            .ok_or(io::Error::other("none")));
            let client = match colours.0 {
                Colour::Go => {
                    connector.connect("localhost", theirs).unwrap().conn.alpn_protocol().map(<[u8]>::to_vec)
                }
                Colour::Async => {
                    let stream = connector.connect_async("localhost", theirs).wait().unwrap();
                    stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
                }
            };
            assert_eq!(client.as_deref(), Some(&b"one"[..]), "{colours:?}");
            assert_eq!(server.join().unwrap().unwrap(), b"one", "{colours:?}");
        }
    });
}

#[test]
fn no_protocol_in_common_is_an_error_on_both_sides() {
    checked!(|| {
        let mut server_config = Authority::shared().server();
        server_config.alpn_protocols = vec![b"two".to_vec()];
        let mut client_config = Authority::shared().client();
        client_config.alpn_protocols = vec![b"one".to_vec()];
        let (client, server) =
            exchange((Colour::Go, Colour::Async), connector(client_config), acceptor(server_config), b"x");
        assert!(matches!(cause(&server.unwrap_err()), Some(rustls::Error::NoApplicationProtocol)));
        assert!(matches!(cause(&client.unwrap_err()), Some(rustls::Error::AlertReceived(_))));
    });
}

#[test]
fn a_client_is_known_by_its_certificate() {
    checked!(|| {
        let (servers, clients) = (Authority::shared(), Authority::new());
        for colours in pairs_of_colours() {
            let (answer, seen) = exchange(
                colours,
                connector(servers.client_signed_by(&clients)),
                acceptor(servers.strict_server(&clients)),
                b"signed",
            );
            assert_eq!(
                (answer.unwrap(), seen.unwrap()),
                (b"signed".to_vec(), b"signed".to_vec()),
                "{colours:?}"
            );
        }
    });
}

#[test]
fn a_client_without_a_certificate_or_with_a_strangers_is_refused() {
    checked!(|| {
        let (servers, clients) = (Authority::shared(), Authority::new());
        for colours in pairs_of_colours() {
            for config in [servers.client(), servers.client_signed_by(&Authority::new())] {
                let (client, server) = exchange(
                    colours,
                    connector(config),
                    acceptor(servers.strict_server(&clients)),
                    b"unsigned",
                );
                let server = server.unwrap_err();
                assert_says(&server, io::ErrorKind::InvalidData, "TLS handshake");
                assert!(server.get_ref().unwrap().is::<HandshakeError>());
                // It learns of it with its first read, or finds the connection gone while it writes.
                client.unwrap_err();
            }
        }
    });
}

#[test]
fn a_server_of_a_strangers_authority_or_another_name_is_refused() {
    checked!(|| {
        let authority = Authority::shared();
        for colours in pairs_of_colours() {
            let (client, server) = exchange(
                colours,
                connector(Authority::new().client()),
                acceptor(authority.server()),
                b"to a stranger",
            );
            let client = client.unwrap_err();
            assert_says(&client, io::ErrorKind::InvalidData, "TLS handshake: invalid peer certificate");
            assert!(matches!(cause(&client), Some(rustls::Error::InvalidCertificate(_))), "{client:?}");
            assert!(matches!(cause(&server.unwrap_err()), Some(rustls::Error::AlertReceived(_))));
        }
        let (theirs, ours) = pair();
        let server = server(Colour::Go, acceptor(authority.server()), ours);
        let error = connector(authority.client()).connect("elsewhere.test", theirs).unwrap_err();
        assert!(matches!(cause(&error), Some(rustls::Error::InvalidCertificate(_))), "{error:?}");
        server.join().unwrap().unwrap_err();
    });
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_sent() {
    checked!(|| {
        let (theirs, mut ours) = pair();
        let error = connector(Authority::shared().client()).connect("not a name", theirs).unwrap_err();
        assert_says(&error, io::ErrorKind::InvalidInput, "neither a DNS name nor an address");
        assert_eq!(ours.read(&mut [0]).unwrap(), 0, "closed, and nothing sent");
    });
}

#[test]
fn text_sent_to_a_tls_port_is_called_that() {
    checked!(|| {
        for colour in COLOURS {
            let (mut theirs, ours) = pair();
            let server = server(colour, acceptor(Authority::shared().server()), ours);
            theirs.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let error = server.join().unwrap().unwrap_err();
            assert_says(&error, io::ErrorKind::InvalidData, "does not speak TLS");
            assert!(matches!(cause(&error), Some(rustls::Error::InvalidMessage(_))), "{error:?}");
            // An alert, and the end; or a reset.
            let mut answer = Vec::new();
            let _ = theirs.read_to_end(&mut answer);
        }
    });
}

#[test]
fn tls_spoken_to_a_port_of_text_is_called_that() {
    checked!(|| {
        for colour in COLOURS {
            let (theirs, mut ours) = pair();
            let client = client(colour, connector(Authority::shared().client()), theirs, b"x".to_vec());
            ours.read_exact(&mut [0; 16]).unwrap();
            ours.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
            let error = client.join().unwrap().unwrap_err();
            assert_says(&error, io::ErrorKind::InvalidData, "does not speak TLS");
        }
    });
}

#[test]
fn a_peer_that_stalls_or_trickles_does_not_hold_a_handshake() {
    checked!(|| {
        let limit = Duration::from_millis(60);
        for colour in COLOURS {
            let (mut theirs, ours) = pair();
            let server = server(colour, acceptor(Authority::shared().server()).limit(limit), ours);
            // A record that never ends: each byte on its own would satisfy a limit per read.
            let trickle = go!({
                theirs.write_all(&[0x16, 3, 1, 0x40, 0]).unwrap();
                while theirs.write_all(&[0]).is_ok() {
                    time::sleep(Duration::from_millis(2));
                }
            });
            let error = server.join().unwrap().unwrap_err();
            assert_says(&error, io::ErrorKind::TimedOut, "no TLS handshake within 60ms");
            trickle.join().unwrap();

            let (theirs, silent) = pair();
            let connector = connector(Authority::shared().client()).limit(limit);
            let error = client(colour, connector, theirs, b"x".to_vec()).join().unwrap().unwrap_err();
            assert_says(&error, io::ErrorKind::TimedOut, "no TLS handshake within 60ms");
            drop(silent);
        }
    });
}

#[test]
fn a_peer_that_leaves_during_the_handshake_is_an_error() {
    checked!(|| {
        for colour in COLOURS {
            let (theirs, ours) = pair();
            let leaving = server(colour, acceptor(Authority::shared().server()), ours);
            drop(theirs);
            let error = leaving.join().unwrap().unwrap_err();
            assert_says(&error, io::ErrorKind::UnexpectedEof, "during the TLS handshake");

            let (mut theirs, ours) = pair();
            let resetting = server(colour, acceptor(Authority::shared().server()), ours);
            theirs.write_all(&[0x16, 3, 1]).unwrap();
            reset(theirs);
            let error = resetting.join().unwrap().unwrap_err();
            assert_says(&error, io::ErrorKind::ConnectionReset, "TLS handshake");
        }
    });
}

/// How reading to the end went, and what was read.
type Reading = (io::Result<()>, Vec<u8>);

/// The two ends of a TLS connection: the client's blocking, the server's of the given colour reading to the end.
fn reader(colour: Colour) -> (rustls::StreamOwned<rustls::ClientConnection, TcpStream>, JoinHandle<Reading>) {
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    let (theirs, ours) = pair();
    let acceptor = acceptor(Authority::shared().server());
    let server = match colour {
        Colour::Go => go!({
            let mut seen = Vec::new();
            let mut stream = acceptor.accept(ours).expect("a handshake");
            stream.write_all(b"!").expect("the client is there");
            (stream.read_to_end(&mut seen).map(drop), seen)
        }),
        Colour::Async => spawn(async move {
            let mut seen = Vec::new();
            let mut stream = acceptor.accept_async(ours).await.expect("a handshake");
            stream.write_all(b"!").await.expect("the client is there");
            (stream.read_to_end(&mut seen).await.map(drop), seen)
        }),
    };
    let mut client =
        connector(Authority::shared().client()).connect("localhost", theirs).expect("a handshake");
    // The server has ended its handshake as well.
    client.read_exact(&mut [0]).expect("the server is there");
    (client, server)
}

#[test]
fn a_connection_that_is_cut_does_not_read_as_ended() {
    checked!(|| {
        for colour in COLOURS {
            let (mut stream, server) = reader(colour);
            stream.write_all(b"all of it").unwrap();
            drop(stream); // no `close_notify`
            let (outcome, seen) = server.join().unwrap();
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{colour:?}");
            assert_eq!(seen, b"all of it");

            let (mut stream, server) = reader(colour);
            stream.write_all(b"all of it").unwrap();
            close_write(&mut stream).unwrap();
            let (outcome, seen) = server.join().unwrap();
            assert_eq!((outcome.is_ok(), seen.as_slice()), (true, &b"all of it"[..]), "{colour:?}");

            let (stream, server) = reader(colour);
            reset(stream.sock);
            assert_eq!(
                server.join().unwrap().0.unwrap_err().kind(),
                io::ErrorKind::ConnectionReset,
                "{colour:?}"
            );
        }
    });
}

#[test]
fn a_record_that_was_tampered_with_is_an_error() {
    checked!(|| {
        for colour in COLOURS {
            let (mut stream, server) = reader(colour);
            stream.write_all(b"true").unwrap();
            stream.flush().unwrap();
            let forged = [&[0x17, 3, 3, 0, 32][..], &[0xaa; 32]].concat();
            stream.sock.write_all(&forged).unwrap();
            let (outcome, seen) = server.join().unwrap();
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(matches!(cause(&error), Some(rustls::Error::DecryptError)), "{error:?}");
            // What came in one read with the forged record goes with it.
            assert!(b"true".starts_with(&seen), "{seen:?}");
        }
    });
}

#[test]
fn a_read_that_times_out_leaves_a_blocking_stream_intact() {
    checked!(|| {
        let (theirs, ours) = pair();
        let connector = connector(Authority::shared().client());
        let client = go!(connector.connect("localhost", theirs));
        let mut stream = acceptor(Authority::shared().server()).accept(ours).unwrap();
        let mut client = client.join().unwrap().unwrap();
        stream.sock.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap_err().kind(), io::ErrorKind::TimedOut);
        client.write_all(b"7").unwrap();
        stream.sock.set_read_timeout(None).unwrap();
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"7");
    });
}

#[test]
fn ending_the_half_twice_or_after_the_peer_has_gone_is_no_error() {
    checked!(|| {
        let (mut stream, server) = reader(Colour::Go);
        close_write(&mut stream).unwrap();
        close_write(&mut stream).unwrap();
        server.join().unwrap().0.unwrap();
        close_write(&mut stream).unwrap();
    });
}

#[test]
fn a_cancelled_handshake_gives_the_connection_back() {
    checked!(|| {
        for colour in COLOURS {
            let (mut theirs, ours) = pair();
            let server = server(colour, acceptor(Authority::shared().server()), ours);
            until_waiting(&server);
            server.cancel();
            assert!(server.join().unwrap_err().is_cancelled());
            assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "the socket is closed");
        }
    });
}
