//! The echo servers. Each connection holds a buffer of 4 KiB, as is usual, but where the name says otherwise.

#[path = "../../../peers/epoll_echo.rs"]
mod epoll_echo;

use std::error::Error;
use std::io;

const BUFFER_BYTES: usize = 4096;

/// The buffer for large messages: one message.
const LARGE_BUFFER_BYTES: usize = 64 * 1024;

/// Serves until it is killed.
pub(crate) fn main(name: &str, workers: usize) -> Result<(), Box<dyn Error>> {
    let (runtime, variant) = name.split_once('/').unwrap_or((name, ""));
    if matches!(variant, "hyper" | "minihttp") {
        return Ok(crate::http::main(runtime, workers)?);
    }
    let buffer = if variant == "large" { LARGE_BUFFER_BYTES } else { BUFFER_BYTES };
    match (runtime, variant) {
        ("tokio-ct", variant) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(in_tokio(buffer, variant == "shared-buffer"))?;
        }
        ("tokio-mt", _) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(workers).enable_all().build()?;
            runtime.block_on(async move { tokio::spawn(in_tokio(buffer, false)).await })??;
        }
        ("smol-ex", _) => {
            let executor: &'static _ = Box::leak(Box::new(async_executor::Executor::new()));
            let spawn = |future: Echo| executor.spawn(future).detach();
            smol::block_on(executor.run(in_smol(buffer, spawn)))?;
        }
        ("smol-global", _) => {
            let spawn = |future: Echo| smol::spawn(future).detach();
            smol::block_on(smol::spawn(in_smol(buffer, spawn)))?;
        }
        ("may", _) => {
            may::config().set_workers(workers);
            // A pool of ready stacks would hide in the memory before the first connection.
            may::config().set_pool_capacity(16);
            may::go!(move || in_may(buffer)).join().map_err(|_| "the server panicked")??;
        }
        ("epoll", _) => {
            epoll_echo::main();
        }
        (other, _) => return Err(format!("no server is called {other}").into()),
    }
    Ok(())
}

async fn in_tokio(buffer: usize, shared: bool) -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    async fn echo(mut stream: tokio::net::TcpStream, buffer: usize) -> io::Result<()> {
        let mut buffer = vec![0; buffer];
        loop {
            let n = stream.read(&mut buffer).await?;
            if n == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..n]).await?;
        }
    }
    /// Waits first, then reads into a buffer on the stack of the poll: an idle connection holds none. For messages of 64 bytes.
    async fn echo_shared(mut stream: tokio::net::TcpStream) -> io::Result<()> {
        loop {
            stream.readable().await?;
            let small = {
                let mut buffer = [0; BUFFER_BYTES];
                match stream.try_read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(n) => <[u8; 64]>::try_from(&buffer[..n]).map_err(io::Error::other)?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                }
            };
            stream.write_all(&small).await?;
        }
    }
    let listener = tokio::net::TcpSocket::new_v4()?;
    listener.bind(([127, 0, 0, 1], 0).into())?;
    let listener = listener.listen(4096)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        if shared {
            drop(tokio::spawn(echo_shared(stream)));
        } else {
            drop(tokio::spawn(echo(stream, buffer)));
        }
    }
}

type Echo = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn in_smol(buffer: usize, spawn: impl Fn(Echo) + Send) -> io::Result<()> {
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    async fn echo(mut stream: smol::net::TcpStream, buffer: usize) -> io::Result<()> {
        let mut buffer = vec![0; buffer];
        loop {
            let n = stream.read(&mut buffer).await?;
            if n == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..n]).await?;
        }
    }
    let listener = smol::net::TcpListener::from(smol::Async::new(listener()?)?);
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        spawn(Box::pin(async move { drop(echo(stream, buffer).await) }));
    }
}

fn in_may(buffer: usize) -> io::Result<()> {
    use std::io::{Read, Write};
    fn echo(mut stream: may::net::TcpStream, buffer: usize) -> io::Result<()> {
        let mut buffer = vec![0; buffer];
        loop {
            let n = stream.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..n])?;
        }
    }
    let listener = may::net::TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept()?;
        may::go!(move || drop(echo(stream, buffer)));
    }
}

/// With a backlog for thousands of connections at once; that of std is short.
fn listener() -> io::Result<std::net::TcpListener> {
    use std::os::fd::AsRawFd;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    // SAFETY: a system call on an open descriptor.
    match unsafe { libc::listen(listener.as_raw_fd(), 4096) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(listener),
    }
}
