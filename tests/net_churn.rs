//! Connections that come and go: every descriptor is back at the end. Alone in its file, because it counts
//! what the whole process has open.
#![cfg(target_os = "linux")]

mod net_common;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use aqueduct::net::{TcpListener, TcpStream, serve};
use aqueduct::{Wait, go, spawn};
use net_common::{listen, open_descriptors, pattern, within};

const ROUNDS: u64 = 2_000;

/// Connects, echoes and closes, a few at a time.
fn churn(address: std::net::SocketAddr) {
    let lanes: Vec<_> = (0..4)
        .map(|lane| {
            go(move || {
                for round in 0..ROUNDS / 4 {
                    let mut stream = TcpStream::connect(address).unwrap();
                    let message = pattern(64, lane * ROUNDS + round);
                    stream.write_all(&message).unwrap();
                    let mut reply = [0; 64];
                    stream.read_exact(&mut reply).unwrap();
                    assert!(reply[..] == message[..]);
                }
            })
        })
        .collect();
    lanes.into_iter().for_each(|lane| lane.join().unwrap());
}

fn go_style(listener: TcpListener) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        drop(go(move || net_common::echo(&stream)));
    }
}

async fn async_style(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept_async().await {
        drop(spawn(async move { futures::io::copy(&stream, &mut &stream).await }));
    }
}

#[test]
fn descriptors_are_back_after_a_churn_in_every_style() {
    within(Duration::from_secs(120), || {
        // The first use opens what the process keeps: the pollers.
        let (listener, address) = listen();
        let warm_up = serve(listener, |conn| conn.read(&mut [0; 1]).map(drop));
        drop(TcpStream::connect(address).unwrap());
        warm_up.shutdown(Instant::now() + Duration::from_secs(5));
        drop(warm_up);
        let before = open_descriptors();

        let (listener, address) = listen();
        let closer = listener.try_clone().unwrap();
        let server = go(move || go_style(listener));
        churn(address);
        closer.close();
        drop(closer);
        server.join().unwrap();

        let (listener, address) = listen();
        let closer = listener.try_clone().unwrap();
        let server = spawn(async_style(listener));
        churn(address);
        closer.close();
        drop(closer);
        server.wait().unwrap();

        let (listener, address) = listen();
        let server = serve(listener, |conn| {
            let mut buffer = aqueduct::io::buffer();
            let n = conn.read(&mut buffer)?;
            conn.write_all(&buffer[..n])
        });
        churn(address);
        let summary = server.shutdown(Instant::now() + Duration::from_secs(10));
        assert_eq!((summary.stats.accepted, summary.stats.closed), (ROUNDS, ROUNDS));

        // The other two styles leave their last handlers to end by themselves.
        let deadline = Instant::now() + Duration::from_secs(5);
        while open_descriptors() != before && Instant::now() < deadline {
            // The system's own count can only be looked at.
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(open_descriptors(), before);
    });
}
