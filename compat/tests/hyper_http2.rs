//! HTTP/2 with prior knowledge: many streams on one connection, in both colours.

mod common;

use aqueduct::net::TcpStream;
use aqueduct::{Wait, go};
use aqueduct_compat::hyper::{Builder, Connector, Executor, Io, LocalExecutor, Timer, body};
use bytes::Bytes;
use common::{BIG, COLOURS, Errors, listener, serve, stop, watchdog};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

fn client<B>() -> Client<Connector, B>
where
    B: http_body::Body + Send + Unpin + 'static,
    B::Data: Send,
{
    Client::builder(Executor::new()).timer(Timer).http2_only(true).build(Connector::new())
}

fn uri(address: SocketAddr, path: &str) -> http::Uri {
    format!("http://{address}{path}").parse().unwrap()
}

#[test]
fn many_streams_share_a_connection_and_none_holds_up_another() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let address = server.local_addr().unwrap();
        let client = client::<Empty<Bytes>>();
        let first = client.get(uri(address, "/")).wait().unwrap();
        assert_eq!(first.version(), Version::HTTP_2);
        // One that never ends, on the same connection.
        let stuck = aqueduct::spawn(client.get(uri(address, "/stuck")));
        let tasks: Vec<_> = (0..50)
            .map(|n| {
                let client = client.clone();
                let path = if n % 2 == 0 { "/" } else { "/slow" };
                go!({
                    let response = client.get(uri(address, path)).wait().unwrap();
                    response.into_body().collect().wait().unwrap().to_bytes()
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap(), if n % 2 == 0 { "word" } else { "slow word" });
        }
        assert_eq!(server.stats().accepted, 1);
        stuck.cancel();
        assert!(stuck.join().unwrap_err().is_cancelled());
        drop((first, client));
        stop(server);
    }
}

#[test]
fn bodies_stream_under_flow_control() {
    let _dog = watchdog!(120);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let address = server.local_addr().unwrap();
        let response = client::<Empty<Bytes>>().get(uri(address, "/big")).wait().unwrap();
        let mut length = 0;
        let mut reader = body::reader(response.into_body());
        let mut buffer = vec![0; 50_000];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                n => length += n,
            }
        }
        assert_eq!(length, BIG);
        let sent = body::stream(|writer| (0..40_000).try_for_each(|n| writeln!(writer, "{n}")));
        let request = Request::post(uri(address, "/echo")).body(sent).unwrap();
        let response = client().request(request).wait().unwrap();
        let mut text = String::new();
        body::reader(response.into_body()).read_to_string(&mut text).unwrap();
        assert!(text.lines().enumerate().all(|(n, line)| line == n.to_string()));
        assert_eq!(text.lines().count(), 40_000);
        stop(server);
    }
}

#[test]
fn trailers_arrive() {
    let _dog = watchdog!(60);
    let server = Builder::new().serve_go(listener(), |_: Request<Incoming>| {
        let mut trailers = HeaderMap::new();
        trailers.insert("sum", "42".parse().unwrap());
        let frames =
            [Ok::<_, std::io::Error>(Frame::data(Bytes::from("data"))), Ok(Frame::trailers(trailers))];
        Response::new(StreamBody::new(futures::stream::iter(frames)))
    });
    let response = client::<Empty<Bytes>>().get(uri(server.local_addr().unwrap(), "/")).wait().unwrap();
    let mut reader = body::reader(response.into_body());
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "data");
    assert_eq!(reader.trailers().unwrap()["sum"], "42");
    stop(server);
}

#[test]
fn a_failing_service_fails_its_stream_only() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let (builder, errors) = Errors::builder();
        let server = serve(colour, builder);
        let address = server.local_addr().unwrap();
        let client = client::<Empty<Bytes>>();
        let answer = client.get(uri(address, "/error")).wait();
        match colour {
            common::Colour::Async => assert!(answer.unwrap_err().to_string().contains("error")),
            common::Colour::Go => {
                assert_eq!(answer.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
                assert!(errors.until(1)[0].contains("the service's error"));
            }
        }
        let panics = client.get(uri(address, "/panic")).wait();
        match colour {
            common::Colour::Async => assert!(panics.is_err()),
            common::Colour::Go => {
                assert_eq!(panics.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
                assert!(errors.until(2)[1].contains("the service's own"));
            }
        }
        // The connection goes on.
        assert_eq!(client.get(uri(address, "/")).wait().unwrap().status(), StatusCode::OK);
        assert_eq!(server.stats().accepted, 1);
        drop(client);
        stop(server);
    }
}

#[test]
fn a_shutdown_answers_the_streams_at_work_and_says_goodbye() {
    let _dog = watchdog!(60);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let address = server.local_addr().unwrap();
        let client = client::<Empty<Bytes>>();
        client.get(uri(address, "/")).wait().unwrap();
        let at_work: Vec<_> = (0..5).map(|_| aqueduct::spawn(client.get(uri(address, "/slow")))).collect();
        let summary = server.shutdown(Instant::now() + Duration::from_secs(20));
        assert_eq!((summary.cancelled, summary.stats.open), (0, 0));
        for task in at_work {
            // Answered; or not yet begun when the server said goodbye.
            if let Ok(response) = task.join().unwrap() {
                assert_eq!(response.into_body().collect().wait().unwrap().to_bytes(), "slow word");
            }
        }
        assert!(client.get(uri(address, "/")).wait().is_err());
        server.join().unwrap();
    }
}

#[test]
fn services_of_one_worker_need_not_be_send() {
    let _dog = watchdog!(60);
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let runtime = common::runtime(2);
    let served = runtime.go(move || {
        let (stream, _) = listener.accept().unwrap();
        let count = Rc::new(std::cell::Cell::new(0));
        let service = hyper::service::service_fn({
            let count = count.clone();
            move |_| {
                let count = count.clone();
                async move {
                    count.set(count.get() + 1);
                    aqueduct::yield_now_async().await;
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("local"))))
                }
            }
        });
        let connection = hyper::server::conn::http2::Builder::new(LocalExecutor)
            .timer(Timer)
            .serve_connection(Io::vectored(stream), service);
        let ended = aqueduct::spawn_local(connection).join().unwrap();
        (ended.is_ok(), count.get())
    });
    let stream = TcpStream::connect(address).unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(Executor::new(), Io::vectored(stream)).wait().unwrap();
    let connection = aqueduct::spawn(connection);
    let answers: Vec<_> = (0..10)
        .map(|_| {
            let mut sender = sender.clone();
            let request = Request::get(uri(address, "/")).body(Empty::<Bytes>::new()).unwrap();
            aqueduct::spawn(async move { sender.send_request(request).await.unwrap().status() })
        })
        .collect();
    answers.into_iter().for_each(|answer| assert_eq!(answer.join().unwrap(), StatusCode::OK));
    drop(sender);
    connection.join().unwrap().unwrap();
    assert_eq!(served.join().unwrap(), (true, 10));
}

#[test]
fn each_version_may_be_refused() {
    let _dog = watchdog!(60);
    let http1 = serve(COLOURS[0], Builder::new().http1_only());
    assert!(client::<Empty<Bytes>>().get(uri(http1.local_addr().unwrap(), "/")).wait().is_err());
    stop(http1);
    let http2 = serve(COLOURS[0], Builder::new().http2_only());
    let address = http2.local_addr().unwrap();
    let old = aqueduct_compat::hyper::client::<Empty<Bytes>>();
    assert!(old.get(uri(address, "/")).wait().is_err());
    assert_eq!(client::<Empty<Bytes>>().get(uri(address, "/")).wait().unwrap().status(), StatusCode::OK);
    stop(http2);
}

#[test]
fn keep_alive_by_our_timer_ends_a_peer_that_is_gone() {
    let _dog = watchdog!(60);
    let (builder, errors) = Errors::builder();
    let moment = Duration::from_millis(20);
    let builder = builder.http2(move |http2| http2.keep_alive_interval(moment).keep_alive_timeout(moment));
    let server = serve(COLOURS[0], builder);
    let mut stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    // A preface and empty settings; no ping is ever answered.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    assert!(errors.until(1)[0].contains("keep-alive timed out"), "{:?}", errors.all());
    stop(server);
}
