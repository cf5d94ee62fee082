//! An echo server on bare epoll: one thread, edge mode, one buffer, nothing else. The limit that the others
//! are compared with.
//!
//! ```text
//! cargo run --release --example epoll_echo     # prints `listening on ADDR`, serves until it is killed
//! ```

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

const EVENTS_MAX: usize = 512;
const EDGE: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;

pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("epoll_echo: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // The backlog of std is short for thousands of connections at once.
    // SAFETY: a system call on an open descriptor.
    check(unsafe { libc::listen(listener.as_raw_fd(), 4096) })?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

    // SAFETY: the descriptor is new and nobody else's.
    let poller = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
    add(&poller, listener.as_raw_fd())?;
    let mut streams = HashMap::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
    loop {
        // SAFETY: the array is as long as is said.
        let count =
            unsafe { libc::epoll_wait(poller.as_raw_fd(), events.as_mut_ptr(), EVENTS_MAX as i32, -1) };
        for event in &events[..count.max(0) as usize] {
            let fd = event.u64 as RawFd;
            if fd == listener.as_raw_fd() {
                accept_all(&listener, &poller, &mut streams)?;
            } else if let Some(stream) = streams.get_mut(&fd)
                && !echo(stream, &mut buffer, event.events & libc::EPOLLRDHUP as u32 != 0)
            {
                streams.remove(&fd);
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    poller: &OwnedFd,
    streams: &mut HashMap<RawFd, TcpStream>,
) -> io::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        add(poller, stream.as_raw_fd())?;
        streams.insert(stream.as_raw_fd(), stream);
    }
    Ok(())
}

/// Echoes what there is; false when the connection is over.
fn echo(stream: &mut TcpStream, buffer: &mut [u8], peer_has_ended: bool) -> bool {
    loop {
        match stream.read(buffer) {
            Ok(0) => return false,
            Ok(n) if write_all(stream, &buffer[..n]).is_err() => return false,
            Ok(n) if n < buffer.len() && !peer_has_ended => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Writes everything; when the peer does not keep up the whole server waits for it, which is simple and
/// enough here.
fn write_all(stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut waited = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
                // SAFETY: one entry, as is said.
                check(unsafe { libc::poll(&mut waited, 1, 10_000) })?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn add(poller: &OwnedFd, fd: RawFd) -> io::Result<()> {
    let mut event = libc::epoll_event { events: EDGE, u64: fd as u64 };
    // SAFETY: both descriptors are open, and the event is read during the call only.
    check(unsafe { libc::epoll_ctl(poller.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
}

fn check(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
