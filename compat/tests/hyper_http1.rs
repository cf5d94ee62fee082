//! HTTP/1.1: services of both colours under the pooling client of hyper-util and under plain sockets.

mod common;

use aqueduct::net::TcpStream;
use aqueduct::{Wait, go};
use aqueduct_compat::hyper::{Builder, Executor, Io, Timer, body, client, service_go};
use bytes::Bytes;
use common::{BIG, COLOURS, Errors, listener, serve, stop, watchdog};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

fn uri(address: SocketAddr, path: &str) -> http::Uri {
    format!("http://{address}{path}").parse().unwrap()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i / 7) as u8).collect()
}

#[test]
fn requests_are_answered_in_both_colours_from_both_colours() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let address = server.local_addr().unwrap();
        let client = client::<Empty<Bytes>>();
        let coroutines: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                go!({
                    let response = client.get(uri(address, "/")).wait().unwrap();
                    assert_eq!(response.version(), http::Version::HTTP_11);
                    response.into_body().collect().wait().unwrap().to_bytes()
                })
            })
            .collect();
        let futures: Vec<_> = (0..20)
            .map(|_| {
                let response = client.get(uri(address, "/slow"));
                aqueduct::spawn(async move {
                    response.await.unwrap().into_body().collect().await.unwrap().to_bytes()
                })
            })
            .collect();
        coroutines.into_iter().for_each(|task| assert_eq!(task.join().unwrap(), "word"));
        futures.into_iter().for_each(|task| assert_eq!(task.join().unwrap(), "slow word"));
        let missing = client.get(uri(address, "/nowhere")).wait().unwrap();
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        assert!(server.stats().accepted <= 41);
        drop(client);
        stop(server);
    }
}

#[test]
fn bodies_stream_both_ways_with_back_pressure() {
    let _dog = watchdog!(120);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let address = server.local_addr().unwrap();
        let response = client::<Empty<Bytes>>().get(uri(address, "/big")).wait().unwrap();
        let mut length = 0;
        let mut reader = body::reader(response.into_body());
        let mut buffer = vec![0; 100_000];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                n => length += n,
            }
        }
        assert_eq!(length, BIG);

        // A body that our coroutine writes, echoed while it is written, read by another.
        let sent = body::stream(|writer| writer.write_all(&pattern(4 << 20)));
        let request = Request::post(uri(address, "/echo")).body(sent).unwrap();
        let response = client().request(request).wait().unwrap();
        let mut back = Vec::new();
        body::reader(response.into_body()).read_to_end(&mut back).unwrap();
        assert!(back == pattern(4 << 20));
        stop(server);
    }
}

#[test]
fn a_body_that_breaks_off_is_an_error_at_the_other_end() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let (builder, errors) = Errors::builder();
        let server = serve(colour, builder);
        // hyper may drop what it has not sent yet, the head included.
        match client::<Empty<Bytes>>().get(uri(server.local_addr().unwrap(), "/broken")).wait() {
            Ok(response) => {
                let mut text = Vec::new();
                body::reader(response.into_body()).read_to_end(&mut text).unwrap_err();
                assert!(b"the beginning".starts_with(&text[..]));
            }
            Err(error) => assert!(common::chain(&error).contains("before message completed"), "{error:?}"),
        }
        assert!(errors.until(1)[0].contains("and no end"), "{:?}", errors.all());
        stop(server);
    }
}

/// Reads an answer of which the end is the connection's.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn requests_in_a_pipeline_are_answered_in_order() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let one = |path: &str, last: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n{last}\r\n");
        let pipeline = one("/slow", "") + &one("/nowhere", "") + &one("/", "connection: close\r\n");
        let text = ask(server.local_addr().unwrap(), &pipeline);
        let statuses: Vec<_> = text.matches("HTTP/1.1 ").collect();
        assert_eq!(statuses.len(), 3, "{text}");
        let slow = text.find("slow word").unwrap();
        let missing = text.find("404").unwrap();
        let word = text.rfind("word").unwrap();
        assert!(slow < missing && missing < word, "{text}");
        stop(server);
    }
}

#[test]
fn a_client_of_http_1_0_is_served() {
    let _dog = watchdog!(60);
    let server = serve(COLOURS[0], Builder::new());
    let text = ask(server.local_addr().unwrap(), "GET / HTTP/1.0\r\n\r\n");
    assert!(text.starts_with("HTTP/1.0 200") && text.ends_with("\r\n\r\nword"), "{text}");
    stop(server);
}

#[test]
fn a_shutdown_answers_what_is_at_work_and_closes_what_idles() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let address = server.local_addr().unwrap();
        let mut idle = TcpStream::connect(address).unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let mut head = [0; 12];
        idle.read_exact(&mut head).unwrap();
        let mut silent = TcpStream::connect(address).unwrap();
        let at_work = go!(ask(address, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n"));
        common::until(|| server.stats().open == 3);
        // Its request has been read when its answer is on the way; a server that stops before closes it unanswered.
        let stopping = server.clone();
        let summary = stopping.shutdown(Instant::now() + Duration::from_secs(20));
        assert_eq!((summary.cancelled, summary.stats.open), (0, 0));
        let answer = at_work.join().unwrap();
        assert!(answer.is_empty() || answer.ends_with("slow word"), "{answer}");
        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).unwrap();
        assert_eq!(silent.read(&mut [0]).unwrap(), 0);
        assert!(TcpStream::connect(address).is_err(), "the listener is closed");
        server.join().unwrap();
    }
}

#[test]
fn what_is_stuck_at_the_deadline_is_cancelled() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let address = server.local_addr().unwrap();
        let mut stuck = TcpStream::connect(address).unwrap();
        stuck.write_all(b"GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        common::until(|| server.stats().open == 1);
        let summary = server.shutdown(Instant::now());
        assert!(summary.cancelled <= 1);
        assert_eq!((summary.unfinished, summary.stats.open), (0, 0));
        // Ended, or reset where the request had not been read.
        assert!(matches!(stuck.read(&mut [0]), Ok(0) | Err(_)));
    }
}

#[test]
fn a_handler_is_cancelled_when_its_client_goes_away() {
    struct Ends(aqueduct::channel::Sender<&'static str>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.try_send("ended").unwrap();
        }
    }
    let _dog = watchdog!(60);
    let (tx, rx) = aqueduct::channel::unbounded();
    let server = Builder::new().serve_go(listener(), move |_: Request<Incoming>| {
        let _ends = Ends(tx.clone());
        tx.send("begun").unwrap();
        std::future::pending::<Response<Empty<Bytes>>>().wait()
    });
    let mut stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(rx.recv().unwrap(), "begun");
    drop(stream);
    assert_eq!(rx.recv().unwrap(), "ended");
    stop(server);
}

#[test]
fn half_a_close_is_served_where_it_is_allowed() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let server = serve(colour, Builder::new().http1(|http1| http1.half_close(true)));
        let mut stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("slow word"), "{text}");
        stop(server);
    }
}

#[test]
fn a_limit_on_connections_makes_further_ones_wait() {
    let _dog = watchdog!(60);
    let server = serve(COLOURS[0], Builder::new().max_connections(1));
    let address = server.local_addr().unwrap();
    let first = TcpStream::connect(address).unwrap();
    common::until(|| server.stats().open == 1);
    let second = go!(ask(address, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
    for _ in 0..100 {
        assert_eq!(server.stats().accepted, 1);
        aqueduct::yield_now();
    }
    drop(first);
    assert!(second.join().unwrap().ends_with("word"));
    stop(server);
}

#[test]
fn an_upgraded_connection_carries_our_traits() {
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    let _dog = watchdog!(60);
    let server = Builder::new().serve_each(listener(), |peer| {
        service_go(move |mut request: Request<Incoming>| {
            let upgrade = hyper::upgrade::on(&mut request);
            go!({
                let mut io = Io::new(upgrade.wait().unwrap());
                let mut word = [0; 4];
                io.read_exact(&mut word).wait().unwrap();
                io.write_all(&word).wait().unwrap();
                io.write_all(peer.to_string().as_bytes()).wait().unwrap();
                io.close().wait().unwrap();
            });
            let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            response.header(header::UPGRADE, "words").body(Empty::<Bytes>::new())
        })
    });
    // hyper's low-level client over our socket.
    let stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let local = stream.local_addr().unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(Io::vectored(stream)).wait().unwrap();
    let connection = aqueduct::spawn(connection.with_upgrades());
    let request = Request::get("/").header(header::UPGRADE, "words").header(header::CONNECTION, "upgrade");
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).wait().unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut io = Io::new(hyper::upgrade::on(response).wait().unwrap());
    io.write_all(b"over").wait().unwrap();
    let mut text = String::new();
    io.read_to_string(&mut text).wait().unwrap();
    assert_eq!(text, format!("over{local}"));
    connection.join().unwrap().unwrap();
    stop(server);
}

#[test]
fn the_pool_keeps_connections_and_drops_them_by_our_timer() {
    let _dog = watchdog!(60);
    let server = serve(COLOURS[1], Builder::new());
    let address = server.local_addr().unwrap();
    let ask_ten_times = |idle| {
        let client = hyper_util::client::legacy::Client::builder(Executor::new())
            .pool_timer(Timer)
            .pool_idle_timeout(idle)
            .build::<_, Full<Bytes>>(aqueduct_compat::hyper::Connector::new());
        for _ in 0..10 {
            let response = client.get(uri(address, "/")).wait().unwrap();
            response.into_body().collect().wait().unwrap();
        }
        client
    };
    let keeps = ask_ten_times(Duration::from_secs(600));
    // A connection comes back to the pool a moment after its answer: one more may be opened meanwhile.
    assert!(server.stats().accepted < 10);
    drop(keeps);
    let drops = ask_ten_times(Duration::from_millis(20));
    common::until(|| server.stats().open == 0);
    drop(drops);
    stop(server);
}

#[test]
fn a_shutdown_answers_first_requests_that_have_arrived() {
    const CLIENTS: usize = 200;
    let _dog = watchdog!(120);
    for colour in COLOURS {
        for _ in 0..3 {
            let server = serve(colour, Builder::new());
            let address = server.local_addr().unwrap();
            let mut clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let mut client = std::net::TcpStream::connect(address).unwrap();
                    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
                    client
                })
                .collect();
            // On a loaded machine many of them have not been polled for the first time then.
            common::until(|| server.stats().accepted == CLIENTS as u64);
            let summary = server.shutdown(Instant::now() + Duration::from_secs(20));
            assert_eq!((summary.cancelled, summary.unfinished, summary.stats.failed), (0, 0, 0));
            for (n, client) in clients.iter_mut().enumerate() {
                let mut answer = String::new();
                client.read_to_string(&mut answer).unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{n}: {answer:?}");
                assert!(answer.ends_with("word"), "{n}: {answer:?}");
            }
        }
    }
}

#[test]
fn a_shutdown_gives_a_new_connection_a_moment_for_its_request() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let address = server.local_addr().unwrap();
        let mut late = std::net::TcpStream::connect(address).unwrap();
        let mut silent = std::net::TcpStream::connect(address).unwrap();
        common::until(|| server.stats().accepted == 2);
        let start = Instant::now();
        let stopping = server.clone();
        let stop = std::thread::spawn(move || stopping.shutdown(start + Duration::from_secs(20)));
        // The listener is closed by the time that the connections are told.
        common::until(|| std::net::TcpStream::connect(address).is_err());
        late.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        let ended = late.read_to_string(&mut answer);
        // Unless this thread was held up for all of the moment.
        let in_time = start.elapsed() < Duration::from_millis(100);
        assert!(ended.is_ok() && answer.ends_with("word") || !in_time, "{ended:?} {answer:?}");
        assert_eq!(silent.read(&mut [0]).unwrap(), 0);
        let summary = stop.join().unwrap();
        assert_eq!((summary.cancelled, summary.stats.failed), (0, 0));
        assert!(start.elapsed() < Duration::from_secs(10), "it waits for no more than that");
    }
}
