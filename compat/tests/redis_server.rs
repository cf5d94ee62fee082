//! The synchronous API of the `redis` crate over our sockets, with the real server.
#![cfg(feature = "live-servers")]

mod support;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aqueduct::net::TcpStream;
use aqueduct::prelude::*;
use aqueduct_compat::redis::Connection;
use aqueduct_compat::rustls::{Acceptor, Connector};
use futures::io::AsyncReadExt;
use redis::{Commands, ConnectionLike, IntoConnectionInfo, RedisResult};
use support::servers::Redis;
use support::tls::Authority;
use support::{checked, listen};

#[test]
fn commands_pipelines_and_transactions_work_unchanged() {
    let server = Redis::start().expect("redis-server");
    let url = server.url();
    checked!(move || {
        for protocol in ["", "?protocol=resp3"] {
            let mut redis = Connection::connect(format!("{url}3{protocol}")).unwrap();
            let () = redis::cmd("FLUSHDB").query(&mut redis).unwrap();
            let () = redis.set("text", "über").unwrap();
            assert_eq!(redis.get::<_, String>("text").unwrap(), "über");
            assert_eq!(redis.get::<_, Option<String>>("nothing").unwrap(), None);

            let large = vec![7u8; 5_000_000];
            let () = redis.set("large", &large).unwrap();
            assert!(redis.get::<_, Vec<u8>>("large").unwrap() == large);

            let mut pipe = redis::pipe();
            for i in 0..10_000 {
                pipe.incr("count", i).ignore();
            }
            let (count,): (u64,) = pipe.get("count").query(&mut redis).unwrap();
            assert_eq!(count, 10_000 * 9_999 / 2);

            let (old, new): (u64, u64) = redis::pipe()
                .atomic()
                .get("count")
                .set("count", 1)
                .ignore()
                .get("count")
                .query(&mut redis)
                .unwrap();
            assert_eq!((old, new), (count, 1));
            let error =
                redis::pipe().atomic().get("count").lpush("count", 1).query::<()>(&mut redis).unwrap_err();
            assert!(error.to_string().contains("WRONGTYPE"), "{error:?}");
            let optimistic: u64 = redis::transaction(&mut redis, &["count"], |redis, pipe| {
                let value: u64 = redis.get("count")?;
                pipe.set("count", value + 1)
                    .ignore()
                    .get("count")
                    .query(redis)
                    .map(|one: Option<Vec<u64>>| one.map(|one| one[0]))
            })
            .unwrap();
            assert_eq!(optimistic, 2);

            for i in 0..100 {
                let () = redis.sadd("set", i).unwrap();
            }
            let mut members: Vec<u32> = redis.sscan("set").unwrap().collect::<RedisResult<_>>().unwrap();
            members.sort_unstable();
            assert_eq!(members, (0..100).collect::<Vec<_>>());
            assert_eq!(redis.get_db(), 3);
            assert!(redis.check_connection() && redis.is_open());
        }
    });
}

/// A blocking command holds its coroutine, not its worker: a hundred wait on two workers while others go on.
#[test]
fn commands_that_block_hold_no_worker() {
    let server = Redis::start().expect("redis-server");
    let url = server.url();
    checked!(move || {
        let waiting: Vec<_> = (0..100)
            .map(|i| {
                let url = url.clone();
                go!({
                    let mut redis = Connection::connect(url)?;
                    redis.blpop::<_, (String, u32)>(format!("list-{i}"), 30.0)
                })
            })
            .collect();
        let mut redis = Connection::connect(url).unwrap();
        // All of them wait in the server.
        loop {
            let clients: String = redis::cmd("INFO").arg("clients").query(&mut redis).unwrap();
            if clients.contains("blocked_clients:100\r") {
                break;
            }
            yield_now();
        }
        for i in 0..100 {
            let () = redis.rpush(format!("list-{i}"), i).unwrap();
        }
        for (i, handle) in waiting.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap().unwrap(), (format!("list-{i}"), i as u32));
        }
    });
}

#[test]
fn a_password_is_wanted_and_given() {
    let server = Redis::with(&["--requirepass", "secret"]).expect("redis-server");
    let (address, url) = (server.address(), server.url());
    checked!(move || {
        let mut stranger = Connection::connect(url).unwrap();
        assert_eq!(stranger.get::<_, String>("key").unwrap_err().code(), Some("NOAUTH"));
        let mut redis = Connection::connect(format!("redis://:secret@{address}/")).unwrap();
        let () = redis.set("key", 1).unwrap();
        let mut redis = Connection::connect(format!("redis://:secret@{address}/?protocol=resp3")).unwrap();
        assert_eq!(redis.get::<_, u32>("key").unwrap(), 1);
        let error = Connection::connect(format!("redis://:wrong@{address}/")).unwrap_err();
        assert_eq!(error.code(), Some("WRONGPASS"), "{error:?}");
    });
}

#[test]
fn any_stream_that_waits_will_do() {
    let server = Redis::start().expect("redis-server");
    let address = server.address();
    checked!(move || {
        let authority = Authority::shared();
        let (listener, tls_address) = listen();
        let acceptor = Acceptor::new(Arc::new(authority.server()));
        // TLS in front of the server, as a proxy would do it.
        let proxy = spawn(async move {
            let (tcp, _) = listener.accept_async().await?;
            let (from_client, mut to_client) = acceptor.accept_async(tcp).await?.split();
            let (from_server, mut to_server) = TcpStream::connect_async(address).await?.split();
            let upwards = async {
                futures::io::copy(from_client, &mut to_server).await?;
                futures::AsyncWriteExt::close(&mut to_server).await
            };
            futures::try_join!(upwards, futures::io::copy(from_server, &mut to_client))?;
            io::Result::Ok(())
        });
        let tcp = TcpStream::connect(tls_address).unwrap();
        let mut tls = Connector::new(Arc::new(authority.client())).connect("localhost", tcp).unwrap();
        let settings = server_settings();
        let mut redis = Connection::over(&mut tls, settings.redis_settings()).unwrap();
        let () = redis.set("key", "through TLS").unwrap();
        assert_eq!(redis.get::<_, String>("key").unwrap(), "through TLS");
        drop(redis);
        aqueduct_compat::rustls::close_write(&mut tls).unwrap();
        proxy.join().unwrap().unwrap();
    });
}

fn server_settings() -> redis::ConnectionInfo {
    "redis://localhost/".into_connection_info().expect("a URL")
}

#[test]
fn a_server_that_dies_is_an_error() {
    let server = Redis::start().expect("redis-server");
    let url = server.url();
    checked!(move || {
        let mut redis = Connection::connect(url.clone()).unwrap();
        let () = redis.set("key", 1).unwrap();
        let waiting = go!({
            let mut redis = Connection::connect(url)?;
            redis.stream().set_read_timeout(Some(Duration::from_secs(30)))?;
            redis.blpop::<_, (String, u32)>("never", 30.0)
        });
        support::until_waiting(&waiting);
        server.crash();
        assert!(waiting.join().unwrap().unwrap_err().is_io_error());
        assert!(redis.get::<_, u32>("key").unwrap_err().is_io_error());
        assert!(!redis.is_open());
    });
}
