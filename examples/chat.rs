//! A chat room: each line that somebody sends goes to everybody.
//!
//! Watch for: one connection is served in both styles at once. Who speaks is read by a coroutine, in Go style: a loop over
//! lines. Who hears is written to by a future, in async style. Between them is a broadcast channel, which keeps the speaker
//! from waiting for slow listeners: those miss lines and are told how many.
//!
//! Run it: `cargo run --example chat` lets a few guests of both styles talk, and ends. `cargo run --example chat -- --listen
//! 127.0.0.1:7000` opens the room until Ctrl-C; join it with `nc 127.0.0.1 7000`, your name first.

use aqueduct::channel::broadcast::{self, RecvError};
use aqueduct::net::{TcpListener, TcpStream};
use aqueduct::prelude::*;
use aqueduct::signal;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// How many lines a listener may be behind before it misses some.
const MEMORY: usize = 256;

/// Lets everybody in until the listener is closed.
fn serve(listener: &TcpListener) -> io::Result<()> {
    let (room, _) = broadcast::channel(MEMORY);
    for stream in listener.incoming() {
        let stream = stream?;
        drop(spawn(hear(stream.try_clone()?, room.subscribe())));
        let room = room.clone();
        go!({
            // A guest who breaks off is one who leaves.
            let _ = speak(&stream, &room);
            stream.close();
        });
    }
    Ok(())
}

/// Go style: what a guest says goes to the room.
fn speak(stream: &TcpStream, room: &broadcast::Sender<String>) -> io::Result<()> {
    use std::io::BufRead;
    let mut lines = io::BufReader::new(stream).lines();
    let Some(name) = lines.next().transpose()? else { return Ok(()) };
    let say = |line: String| room.send(line).map_err(io::Error::other);
    say(format!("* {name} is here\n"))?;
    for line in lines.map_while(Result::ok) {
        say(format!("{name}: {line}\n"))?;
    }
    say(format!("* {name} has left\n")).map(drop)
}

/// Async style: what the room says goes to a guest.
async fn hear(stream: TcpStream, mut room: broadcast::Receiver<String>) -> io::Result<()> {
    use futures::AsyncWriteExt;
    loop {
        let line = match room.recv_async().await {
            Ok(line) => line,
            Err(RecvError::Lagged(missed)) => format!("* you are too slow, and have missed {missed} lines\n"),
            Err(_) => return Ok(()),
        };
        (&stream).write_all(line.as_bytes()).await?;
    }
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("--listen"), Some(address)) => aqueduct::run(|| {
            let listener = TcpListener::bind(address)?;
            println!("listening on {}", listener.local_addr()?);
            let closer = listener.try_clone()?;
            let serving = go!(serve(&listener));
            signal::ctrl_c().wait()?;
            closer.close();
            serving.join().map_err(io::Error::other)?
        }),
        (None, None) => aqueduct::run(talk),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: chat [--listen ADDRESS]")),
    }
}

/// Guests of both styles, who each say one line when all are there, and leave when they have heard everybody.
const GUESTS: [&str; 6] = ["ada", "brian", "carl", "dorothy", "edsger", "frances"];

fn talk() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, closer) = (listener.local_addr()?, listener.try_clone()?);
    let serving = go!(serve(&listener));
    let all_here = Arc::new(Barrier::new(GUESTS.len()));
    let guests: Vec<_> = GUESTS
        .into_iter()
        .enumerate()
        .map(|(i, name)| {
            let all_here = Arc::clone(&all_here);
            if i % 2 == 0 {
                go!(go_guest(address, name, &all_here))
            } else {
                spawn(async_guest(address, name, all_here))
            }
        })
        .collect();
    for (name, guest) in GUESTS.into_iter().zip(guests) {
        let mut heard = guest.join().map_err(io::Error::other)??;
        heard.sort();
        assert_eq!(heard, GUESTS.map(|speaker| format!("{speaker}: hello from {speaker}")));
        println!("{name} has heard everybody");
    }
    closer.close();
    serving.join().map_err(io::Error::other)?
}

fn go_guest(address: SocketAddr, name: &str, all_here: &Barrier) -> io::Result<Vec<String>> {
    use std::io::{BufRead, Write};
    let stream = TcpStream::connect(address)?;
    let mut lines = io::BufReader::new(&stream).lines().map_while(Result::ok);
    writeln!(&stream, "{name}")?;
    lines.find(|line| *line == format!("* {name} is here"));
    all_here.wait();
    writeln!(&stream, "hello from {name}")?;
    Ok(lines.filter(|line| !line.starts_with('*')).take(GUESTS.len()).collect())
}

async fn async_guest(address: SocketAddr, name: &str, all_here: Arc<Barrier>) -> io::Result<Vec<String>> {
    use futures::{AsyncBufReadExt, AsyncWriteExt, StreamExt, TryStreamExt, future::ready};
    let stream = TcpStream::connect_async(address).await?;
    let mut lines = futures::io::BufReader::new(&stream).lines();
    (&stream).write_all(format!("{name}\n").as_bytes()).await?;
    while lines.try_next().await?.is_some_and(|line| line != format!("* {name} is here")) {}
    all_here.wait_async().await;
    (&stream).write_all(format!("hello from {name}\n").as_bytes()).await?;
    lines.try_filter(|line| ready(!line.starts_with('*'))).take(GUESTS.len()).try_collect().await
}
