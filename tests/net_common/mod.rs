//! What the network tests share.
#![allow(dead_code, reason = "each test crate uses its own share")]

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use aqueduct::net::{TcpListener, TcpStream};

/// Runs `body` once as the main coroutine and once on a plain thread, each under a watchdog.
pub(crate) fn everywhere(body: fn()) {
    within(Duration::from_secs(30), move || aqueduct::run(body));
    within(Duration::from_secs(30), body);
}

/// Runs `body` on a thread of its own and fails when it takes longer than `limit`.
pub(crate) fn within(limit: Duration, body: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _done = done;
        body();
    });
    match finished.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("not finished after {limit:?}"),
        _ => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A listener on a port of the system's choice, and its address.
pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Two ends of a connection.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen();
    let client = TcpStream::connect(address).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (client, server)
}

/// Echoes until the peer ends.
pub(crate) fn echo(stream: &TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = (stream, stream);
    let mut buffer = aqueduct::io::buffer();
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            n => writer.write_all(&buffer[..n])?,
        }
    }
}

/// `len` bytes that differ from one `seed` to the next.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// How many descriptors this process has open.
#[cfg(target_os = "linux")]
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
