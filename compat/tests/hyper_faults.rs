//! Bad input and faults: each ends in a clear error of the crate concerned, the server goes on, and no descriptor is left.

mod common;

use aqueduct::net::TcpStream;
use aqueduct::{Wait, go};
use aqueduct_compat::hyper::{Builder, Executor, client};
use bytes::Bytes;
use common::{COLOURS, Errors, chain, leaks_no_descriptor, serve, stop, test_path, watchdog};
use http_body_util::{BodyExt, Empty};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

fn uri(address: SocketAddr, path: &str) -> http::Uri {
    format!("http://{address}{path}").parse().unwrap()
}

/// It still serves.
#[track_caller]
fn assert_serves(address: SocketAddr) {
    let response = client::<Empty<Bytes>>().get(uri(address, "/")).wait().unwrap();
    assert_eq!(response.into_body().collect().wait().unwrap().to_bytes(), "word");
}

/// Sends it and reads until the end, or the reset.
fn send(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // The server may have hung up already.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn malformed_http_1_is_refused_with_a_clear_error() {
    let _dog = watchdog!(120);
    leaks_no_descriptor(test_path!(), || {
        for colour in COLOURS {
            let (builder, errors) = Errors::builder();
            let server = serve(colour, builder);
            let address = server.local_addr().unwrap();
            let long_header = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
            let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1_000));
            let cases: [(&[u8], &str); 9] = [
                (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "400"), // TLS to a plain port
                (b"GET\r\n\r\n", "400"),
                (b"GET / HTTP/9.9\r\n\r\n", "400"),
                (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"),
                (b"G\0T / HTTP/1.1\r\n\r\n", "400"),
                (b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: what\r\n\r\n", "400"),
                (b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "400"),
                (long_header.as_bytes(), "431"),
                (many_headers.as_bytes(), "431"),
            ];
            for (n, (bytes, status)) in cases.into_iter().enumerate() {
                let answer = send(address, bytes);
                assert!(answer.contains(status) || answer.is_empty(), "{n}: {answer}");
                let told = errors.until(n + 1);
                let expected = ["invalid", "message head is too large", "parsed", "not supported"];
                assert!(expected.iter().any(|part| told[n].contains(part)), "{n}: {}", told[n]);
            }
            // A body that is not chunked as it says: the head has been answered for by then.
            send(address, b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n");
            assert_serves(address);
            assert!(server.stats().failed >= 9);
            stop(server);
        }
    });
}

#[test]
fn malformed_http_2_is_refused_with_a_clear_error() {
    let _dog = watchdog!(120);
    leaks_no_descriptor(test_path!(), || {
        for colour in COLOURS {
            let (builder, errors) = Errors::builder();
            let server = serve(colour, builder);
            let address = server.local_addr().unwrap();
            let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
                let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
                frame.extend_from_slice(payload);
                frame
            };
            let settings = frame(4, 0, 0, &[]);
            let cases = [
                b"this is no frame at all, and long enough to be read as one".to_vec(),
                frame(4, 0, 0, b"odd"), // settings of 3 bytes
                frame(4, 0, 1, &[]),    // settings on a stream
                [settings.clone(), frame(0, 0, 1, b"data")].concat(), // data on an idle stream
                [settings.clone(), frame(1, 4, 1, b"\xff\xff\xff\xff\xff")].concat(), // no header block
                [settings.clone(), frame(8, 0, 0, &[0, 0, 0, 0])].concat(), // a window update of 0
                [settings.clone(), frame(9, 4, 1, b"")].concat(), // a continuation of nothing
            ];
            for (n, bytes) in cases.into_iter().enumerate() {
                send(address, &[PREFACE.as_bytes(), &bytes].concat());
                let told = errors.until(n + 1);
                assert!(
                    told[n].contains("connection error") || told[n].contains("protocol"),
                    "{n}: {}",
                    told[n]
                );
            }
            assert_serves(address);
            stop(server);
        }
    });
}

#[test]
fn a_peer_that_stalls_is_given_up_by_our_timer() {
    let _dog = watchdog!(120);
    let limit = Duration::from_millis(30);
    leaks_no_descriptor(test_path!(), || {
        for colour in COLOURS {
            let (builder, errors) = Errors::builder();
            let server = serve(colour, builder.header_read_timeout(limit));
            let address = server.local_addr().unwrap();
            let stalls = ["", "PRI * HTT", "GET / HTTP/1.1\r\nho", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"];
            for (n, stall) in stalls.into_iter().enumerate() {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(stall.as_bytes()).unwrap();
                // It says no more; the server ends it.
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                // The last has had its answer and idles: that is not an error everywhere.
                if n < 3 {
                    let told = errors.until(n + 1);
                    assert!(
                        told[n].contains("header_read_timeout") || told[n].contains("timeout"),
                        "{}",
                        told[n]
                    );
                } else {
                    assert!(answer.ends_with(b"word"));
                }
            }
            assert_serves(address);
            stop(server);
        }
    });
}

#[test]
fn a_peer_that_resets_or_ends_half_way_leaves_nothing() {
    let _dog = watchdog!(120);
    let requests = [
        "GET /big HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf",
        "GET / HTT",
        "",
        PREFACE,
    ];
    leaks_no_descriptor(test_path!(), || {
        for colour in COLOURS {
            let server = serve(colour, Builder::new());
            let address = server.local_addr().unwrap();
            for request in requests {
                for reset in [true, false] {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(request.as_bytes()).unwrap();
                    if reset {
                        stream.set_linger(Some(Duration::ZERO)).unwrap();
                    } else {
                        stream.shutdown(Shutdown::Both).unwrap();
                    }
                    drop(stream);
                }
            }
            assert_serves(address);
            common::until(|| server.stats().open == 0);
            stop(server);
        }
    });
}

#[test]
fn a_client_is_told_when_its_server_is_not_there_or_goes_away() {
    let _dog = watchdog!(120);
    leaks_no_descriptor(test_path!(), || {
        for http2 in [false, true] {
            let client = hyper_util::client::legacy::Client::builder(Executor::new())
                .http2_only(http2)
                .build::<_, Empty<Bytes>>(aqueduct_compat::hyper::Connector::new());
            let nobody = common::listener().local_addr().unwrap();
            let error = client.get(uri(nobody, "/")).wait().unwrap_err();
            assert!(error.is_connect());
            assert!(chain(&error).contains("refused"), "{}", chain(&error));

            for answer in
                ["", "HTTP/1.1 2", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"]
            {
                let listener = common::listener();
                let address = listener.local_addr().unwrap();
                let server = go!({
                    let (mut stream, _) = listener.accept()?;
                    assert!(stream.read(&mut [0; 1024])? > 0);
                    stream.write_all(answer.as_bytes())?;
                    stream.shutdown(Shutdown::Write)?;
                    // Until the client has gone too.
                    io::copy(&mut stream, &mut io::sink())
                });
                let got = async {
                    let response = client.get(uri(address, "/")).await.map_err(|error| chain(&error))?;
                    response.into_body().collect().await.map_err(|error| chain(&error))
                };
                let error = got.wait().map(drop).unwrap_err();
                assert!(!error.is_empty());
                let _ = server.join().unwrap();
            }
        }
        let https = client::<Empty<Bytes>>().get("https://localhost/".parse().unwrap()).wait().unwrap_err();
        assert!(chain(&https).contains("reqwest"), "{}", chain(&https));
    });
}

#[test]
fn a_failing_service_fails_its_request_only() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let (builder, errors) = Errors::builder();
        let server = serve(colour, builder);
        let address = server.local_addr().unwrap();
        for (n, path) in ["/panic", "/error"].into_iter().enumerate() {
            let answer = send(
                address,
                format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes(),
            );
            match colour {
                common::Colour::Async => assert_eq!(answer, ""),
                common::Colour::Go => assert!(answer.starts_with("HTTP/1.1 500"), "{answer}"),
            }
            assert!(errors.until(n + 1)[n].contains("the service's"), "{:?}", errors.all());
        }
        assert_serves(address);
        stop(server);
    }
}

#[test]
fn a_failing_service_is_told_with_its_cause_and_the_remedy() {
    let _dog = watchdog!(60);
    let (told, tell) = std::sync::mpsc::channel();
    // As one prints errors: without a walk along their sources.
    let builder = Builder::new().on_error(move |_, error| told.send(error.to_string()).unwrap());
    let service = tower::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
        if request.uri().path() == "/tokio" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err::<http::Response<Empty<Bytes>>, _>(io::Error::other("the database is gone"))
    });
    let server = builder.serve_tower(common::listener(), service);
    let address = server.local_addr().unwrap();
    send(address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(tell.recv().unwrap(), "error from user's Service: the database is gone");
    send(address, b"GET /tokio HTTP/1.1\r\nhost: a\r\n\r\n");
    let panic = tell.recv().unwrap();
    assert!(panic.starts_with("the service panicked: there is no reactor running"), "{panic}");
    assert!(panic.contains("Builder::in_tokio") && panic.contains("`.in_tokio()`"), "{panic}");
    stop(server);
}
