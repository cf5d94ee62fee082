//! The echo server, in three styles.

use std::error::Error;
use std::io;

use aqueduct::net::{TcpListener, TcpStream};
use aqueduct::{Wait, go, spawn};

/// Serves until it is killed.
pub(crate) fn main(name: &str, workers: usize) -> Result<(), Box<dyn Error>> {
    let runtime = aqueduct::Runtime::builder().workers(workers).build()?;
    let name = name.to_owned();
    runtime.run(move || -> io::Result<()> {
        if let Some((style, "hyper")) = name.split_once('/') {
            return crate::http::main(style);
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("listening on {}", listener.local_addr()?);
        match name.as_str() {
            "aqueduct-go" => in_go_style(&listener),
            "aqueduct-async" => spawn(in_async_style(listener)).join().map_err(io::Error::other)?,
            "aqueduct-serve" => in_serve_style(listener),
            other => Err(io::Error::other(format!("aqueduct has no style called {other}"))),
        }
    })?;
    Ok(())
}

fn in_go_style(listener: &TcpListener) -> io::Result<()> {
    use std::io::{Read, Write};
    fn echo(mut stream: TcpStream) -> io::Result<()> {
        loop {
            // Waits before it borrows a buffer, so that an idle connection holds none.
            stream.readable().wait()?;
            let mut buffer = aqueduct::io::buffer();
            let n = stream.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..n])?;
        }
    }
    loop {
        let (stream, _) = listener.accept()?;
        drop(go(move || echo(stream)));
    }
}

async fn in_async_style(listener: TcpListener) -> io::Result<()> {
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    async fn echo(mut stream: TcpStream) -> io::Result<()> {
        loop {
            stream.readable().await?;
            let mut buffer = aqueduct::io::buffer();
            let n = stream.read(&mut buffer).await?;
            if n == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..n]).await?;
        }
    }
    loop {
        let (stream, _) = listener.accept_async().await?;
        drop(spawn(echo(stream)));
    }
}

fn in_serve_style(listener: TcpListener) -> io::Result<()> {
    use std::io::{Read, Write};
    let server = aqueduct::net::serve(listener, |conn| {
        let mut buffer = aqueduct::io::buffer();
        let n = conn.read(&mut buffer)?;
        conn.write_all(&buffer[..n])
    });
    server.join().map(drop)
}
