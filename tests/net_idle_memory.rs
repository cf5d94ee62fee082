//! What an idle connection costs its server, in each style, also when deep futures have been polled in
//! between. Alone in its file, because it measures the whole process. The exact promise is checked by
//! `echo_server --acceptance`; the bars here are wider, for a crowded test process, and a debug build's
//! larger frames.
#![cfg(target_os = "linux")]

mod net_common;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use aqueduct::net::{TcpListener, TcpStream, serve};
use aqueduct::{Runtime, Wait, go, spawn, time};
use net_common::{listen, within};

const CONNECTIONS: usize = 2_000;

/// The depth of the futures in between, in bytes.
const DEPTH: usize = 48 * 1024;

fn go_style(listener: TcpListener) {
    drop(go(move || {
        for stream in listener.incoming().flatten() {
            drop(go(move || echo(&stream)));
        }
    }));
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    loop {
        stream.readable().wait()?;
        let mut buffer = aqueduct::io::buffer();
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n])?;
    }
}

fn async_style(listener: TcpListener) {
    drop(spawn(async move {
        while let Ok((stream, _)) = listener.accept_async().await {
            drop(spawn(async move { echo_async(&stream).await }));
        }
    }));
}

async fn echo_async(mut stream: &TcpStream) -> io::Result<()> {
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    loop {
        stream.readable().await?;
        let mut buffer = aqueduct::io::buffer();
        let n = AsyncReadExt::read(&mut stream, &mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        AsyncWriteExt::write_all(&mut stream, &buffer[..n]).await?;
    }
}

fn serve_style(listener: TcpListener) {
    drop(serve(listener, |conn| {
        let mut buffer = aqueduct::io::buffer();
        let n = conn.read(&mut buffer)?;
        conn.write_all(&buffer[..n])
    }));
}

#[inline(never)]
fn touch_stack() -> u8 {
    let frame = std::hint::black_box([1_u8; DEPTH]);
    frame[DEPTH / 2]
}

/// Connects and echoes, with a deep future polled for each connection.
fn open(address: SocketAddr, count: usize) -> Vec<std::net::TcpStream> {
    let connect = move || {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0; 1]).map(|()| stream)
    };
    let open_one = |_| {
        assert_eq!(spawn(async { touch_stack() }).join().unwrap(), 1);
        aqueduct::blocking(connect).wait().unwrap()
    };
    (0..count).map(open_one).collect()
}

/// This process's share of memory, in bytes.
fn memory() -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = smaps.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
}

fn bytes_per_connection(start: fn(TcpListener)) -> usize {
    let (listener, address) = listen();
    let closer = listener.try_clone().unwrap();
    start(listener);
    let warm_up = open(address, 100);
    time::sleep(Duration::from_millis(300));
    let before = memory();
    let streams = open(address, CONNECTIONS);
    time::sleep(Duration::from_millis(600));
    let after = memory();
    closer.close();
    drop((streams, warm_up));
    after.saturating_sub(before) / CONNECTIONS
}

/// A name, a server, and the most bytes an idle connection may cost it.
type Style = (&'static str, fn(TcpListener), usize);

#[test]
fn idle_connections_cost_little_in_every_style() {
    within(Duration::from_secs(120), || {
        let (page, rest) = if cfg!(debug_assertions) { (12_288, 2_000) } else { (4_096, 1_000) };
        let styles: [Style; 3] =
            [("serve", serve_style, rest), ("async", async_style, rest), ("go", go_style, page + rest)];
        for (name, start, bar) in styles {
            let runtime = Runtime::builder().workers(1).build().unwrap();
            let bytes = runtime.run(|| bytes_per_connection(start));
            println!("{name}: {bytes} bytes per idle connection");
            assert!(bytes < bar, "{name}: {bytes} bytes per idle connection, expected less than {bar}");
        }
    });
}
