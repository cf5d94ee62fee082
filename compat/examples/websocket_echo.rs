//! A WebSocket echo server: the blocking crate `tungstenite`, one coroutine a connection.
//!
//! Watch for: nothing here is async, and nothing blocks a thread. `tungstenite` reads and writes our `TcpStream` as it would one of
//! `std`; ten thousand idle connections are ten thousand suspended coroutines.
//!
//! Run it: `cargo run -p aqueduct-compat --example websocket_echo -- 127.0.0.1:9001`, and connect with any WebSocket client.
//! With `--self-test` it serves a hundred clients of its own and ends.

use aqueduct::net::{TcpListener, TcpStream};
use aqueduct::prelude::*;
use aqueduct_compat::tungstenite::{Handshake, close};
use std::error::Error;
use std::time::Duration;
use tungstenite::{Message, WebSocket};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long a peer may take to answer a close frame.
const FAREWELL: Duration = Duration::from_secs(5);

fn main() -> Outcome<()> {
    match std::env::args().nth(1).as_deref() {
        Some("--self-test") => aqueduct::run(self_test),
        Some(address) => {
            let listener = TcpListener::bind(address)?;
            println!("listening on ws://{}", listener.local_addr()?);
            aqueduct::run(|| serve(&listener))
        }
        None => Err("usage: websocket_echo ADDRESS | --self-test".into()),
    }
}

fn serve(listener: &TcpListener) -> Outcome<()> {
    for stream in listener.incoming() {
        let stream = stream?;
        go!(if let Err(error) = echo(stream) {
            eprintln!("a connection failed: {error}");
        });
    }
    Ok(())
}

/// Echoes texts and binaries until the peer closes.
fn echo(stream: TcpStream) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut socket = Handshake::new().accept(stream)?;
    loop {
        match socket.read()? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message)?,
            // What is left is to end the stream.
            Message::Close(_) => return Ok(close(&mut socket, None, FAREWELL)?),
            _ => {}
        }
    }
}

fn self_test() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("ws://{}", listener.local_addr()?);
    let server = go!(serve(&listener));
    let clients: Vec<_> = (0..100)
        .map(|number| {
            let url = url.clone();
            go!(talk(number, Handshake::new().connect(url)?.0))
        })
        .collect();
    let mut echoed = 0;
    for client in clients {
        echoed += client.join()??;
    }
    server.cancel();
    println!("100 clients, {echoed} messages echoed");
    Ok(())
}

/// Sends some messages and checks that each comes back.
fn talk(number: usize, mut socket: WebSocket<TcpStream>) -> Outcome<usize> {
    for i in 0..10 {
        let message = Message::text(format!("message {i} of client {number}"));
        socket.send(message.clone())?;
        let echo = socket.read()?;
        if echo != message {
            return Err(format!("sent {message}, got {echo}").into());
        }
    }
    close(&mut socket, None, FAREWELL)?;
    Ok(10)
}
