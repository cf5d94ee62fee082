//! The synchronous API of the `redis` crate over our sockets, against peers that misbehave; `redis_server.rs` has the real server.

mod support;

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::Arc;
use std::time::Duration;

use aqueduct::net::TcpStream;
use aqueduct::prelude::*;
use aqueduct_compat::redis::Connection;
use redis::{Commands, ConnectionLike, ErrorKind, RedisError, RedisResult};
use support::{checked, listen, reset, until_waiting};

/// A server that gives one answer to each line it reads that begins a command, and then does `end` with the connection.
fn server(answers: &'static [&'static str], end: fn(TcpStream)) -> (String, JoinHandle<()>) {
    let (listener, address) = listen();
    let server = go!({
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&stream).lines();
        for answer in answers {
            // A command is an array of two lines an argument.
            let count: usize = lines.next().unwrap().unwrap()[1..].parse().unwrap();
            lines.by_ref().take(2 * count).for_each(|line| drop(line.unwrap()));
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
        drop(lines);
        end(stream);
    });
    (format!("redis://{address}/"), server)
}

fn io_kind(error: &RedisError) -> io::ErrorKind {
    assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
    // The crate keeps it behind an `Arc` as a source.
    let source =
        Error::source(error).and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    source.and_then(|source| source.downcast_ref::<io::Error>()).expect("an error of the stream").kind()
}

/// The connection cannot be used for anything else.
fn assert_closed(mut redis: Connection<TcpStream>) {
    assert!(!redis.is_open());
    let error = redis.get::<_, String>("other").unwrap_err();
    assert_eq!(io_kind(&error), io::ErrorKind::NotConnected);
    assert!(error.to_string().contains("connect again"), "{error}");
}

#[test]
fn answers_belong_to_their_commands() {
    checked!(|| {
        let answers = &["+OK\r\n", "$2\r\n42\r\n", "-ERR no such thing\r\n", ":7\r\n", "$-1\r\n"];
        let (url, server) = server(answers, drop);
        let mut redis = Connection::connect(url).unwrap();
        let () = redis.set("answer", 42).unwrap();
        assert_eq!(redis.get::<_, u32>("answer").unwrap(), 42);
        let error = redis::cmd("NOSUCH").exec(&mut redis).unwrap_err();
        assert_eq!(error.code(), Some("ERR"));
        assert!(redis.is_open(), "a refusal is an answer");
        assert_eq!(redis.incr::<_, _, u32>("count", 1).unwrap(), 7);
        assert_eq!(redis.get::<_, Option<u32>>("nothing").unwrap(), None);
        server.join().unwrap();
    });
}

#[test]
fn a_refused_command_of_a_pipeline_does_not_shift_the_answers() {
    checked!(|| {
        let (url, server) = server(&["+OK\r\n", "-ERR wrong\r\n", "$3\r\none\r\n", ":3\r\n"], drop);
        let mut redis = Connection::connect(url).unwrap();
        let mut pipe = redis::pipe();
        pipe.set("a", "one").cmd("NOSUCH").get("a");
        pipe.query::<(String, String, String)>(&mut redis).unwrap_err();
        assert_eq!(redis.incr::<_, _, u32>("count", 1).unwrap(), 3);
        server.join().unwrap();
    });
}

#[test]
fn a_connection_that_ends_within_an_answer_is_an_error_and_closed() {
    checked!(|| {
        let ends: [(fn(TcpStream), io::ErrorKind); 2] =
            [(drop, io::ErrorKind::UnexpectedEof), (reset, io::ErrorKind::ConnectionReset)];
        for (end, kind) in ends {
            let (url, server) = server(&["$10\r\nhalf"], end);
            let mut redis = Connection::connect(url).unwrap();
            let error = redis.get::<_, String>("key").unwrap_err();
            assert_eq!(io_kind(&error), kind);
            assert_closed(redis);
            server.join().unwrap();
        }
    });
}

#[test]
fn an_answer_that_is_none_is_an_error_and_closes() {
    checked!(|| {
        let (url, server) = server(&["HTTP/1.1 400 Bad Request\r\n\r\n"], drop);
        let mut redis = Connection::connect(url).unwrap();
        let error = redis.get::<_, String>("key").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parse, "{error:?}");
        assert_closed(redis);
        server.join().unwrap();
    });
}

#[test]
fn a_server_that_stalls_holds_a_command_for_the_streams_time_limit() {
    checked!(|| {
        let (url, server) = server(&["$10\r\nhalf"], |stream| {
            // Until the client gives up.
            assert_eq!(io::copy(&mut &stream, &mut io::sink()).unwrap(), 0);
        });
        let mut redis = Connection::connect(url).unwrap();
        redis.stream().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let error = redis.get::<_, String>("key").unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        // The late answer is nobody's.
        assert_closed(redis);
        server.join().unwrap();
    });
}

#[test]
fn a_command_that_is_cancelled_closes_the_connection() {
    checked!(|| {
        let (url, server) = server(&[], |stream| drop(io::copy(&mut &stream, &mut io::sink())));
        let (give_back, given_back) = channel::bounded(1);
        let command = go!({
            struct GiveBack(Option<Connection<TcpStream>>, channel::Sender<Connection<TcpStream>>);
            impl Drop for GiveBack {
                fn drop(&mut self) {
                    let _ = self.1.try_send(self.0.take().expect("given back once"));
                }
            }
            let mut redis = GiveBack(Some(Connection::connect(url).unwrap()), give_back);
            let value: RedisResult<String> = redis.0.as_mut().expect("not given back").get("key");
            value
        });
        until_waiting(&command);
        command.cancel();
        assert!(command.join().unwrap_err().is_cancelled());
        assert_closed(given_back.recv().unwrap());
        server.join().unwrap();
    });
}

#[test]
fn a_server_that_is_not_there_or_not_for_us_is_an_error() {
    checked!(|| {
        let (nobody, _held) = support::nobody();
        let error = Connection::connect(format!("redis://{nobody}/")).unwrap_err();
        assert_eq!(io_kind(&error), io::ErrorKind::ConnectionRefused);
        let error = Connection::connect("unix:///nowhere").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidClientConfig);
        assert!(error.to_string().contains("Connection::over"), "{error}");
        Connection::connect("http://localhost/").unwrap_err();
    });
}

#[test]
fn signing_in_is_what_the_url_says() {
    checked!(|| {
        let (url, signing_in) = server(&["+OK\r\n", "+OK\r\n", "+PONG\r\n"], drop);
        let url = url.replace("redis://", "redis://user:secret@") + "5";
        let mut redis = Connection::connect(url).unwrap();
        assert_eq!(redis.get_db(), 5);
        assert!(redis.check_connection());
        signing_in.join().unwrap();

        let (url, refusing) = server(&["-WRONGPASS invalid username-password pair\r\n"], drop);
        let error = Connection::connect(url.replace("redis://", "redis://user:wrong@")).unwrap_err();
        assert_eq!(error.code(), Some("WRONGPASS"));
        refusing.join().unwrap();
    });
}
