//! An echo over loopback, one connection, client and server on one worker. Names are group/case/parameter; the parameter is the
//! size of the message in bytes. Many connections and other servers: `benches/compare`.

mod support;

use aqueduct::net::{TcpListener, TcpStream};
use aqueduct::{go, spawn};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::{coroutine, future};

fn echo(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("echo");
    for bytes in [64, 16 * 1024] {
        group.throughput(Throughput::Bytes(bytes as u64));
        coroutine(&mut group, bytes, move |times| {
            use std::io::{Read, Write};
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            let server = go(move || {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut message = vec![0; bytes];
                while stream.read_exact(&mut message).is_ok() {
                    stream.write_all(&message).expect("the client");
                }
            });
            let mut stream = TcpStream::connect(address).expect("the server");
            let (message, mut reply) = (vec![7; bytes], vec![0; bytes]);
            for _ in 0..times {
                stream.write_all(&message).expect("the server");
                stream.read_exact(&mut reply).expect("the server");
            }
            assert!(times == 0 || reply == message);
            drop(stream);
            server.join().expect("the server");
        });
        future(&mut group, bytes, move |times| async move {
            use futures::io::{AsyncReadExt, AsyncWriteExt};
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            let server = spawn(async move {
                let (mut stream, _) = listener.accept_async().await.expect("a connection");
                let mut message = vec![0; bytes];
                while stream.read_exact(&mut message).await.is_ok() {
                    stream.write_all(&message).await.expect("the client");
                }
            });
            let mut stream = TcpStream::connect_async(address).await.expect("the server");
            let (message, mut reply) = (vec![7; bytes], vec![0; bytes]);
            for _ in 0..times {
                stream.write_all(&message).await.expect("the server");
                stream.read_exact(&mut reply).await.expect("the server");
            }
            assert!(times == 0 || reply == message);
            drop(stream);
            server.await.expect("the server");
        });
    }
    group.finish();
}

criterion_group!(benches, echo);
criterion_main!(benches);
