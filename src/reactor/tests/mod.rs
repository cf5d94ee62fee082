//! White-box tests. Each has a reactor of its own, which it polls itself, so that nothing depends on the time
//! threads take.

mod notify;
mod source;
mod source_move;
mod storm;
mod timer;
mod wheel;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::*;

/// Longer than anything here takes: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn new_reactor() -> &'static Reactor {
    Box::leak(Box::new(Reactor::new().unwrap()))
}

/// Polls once and wakes. Panics if nothing came for very long.
fn turn(reactor: &Reactor) {
    let start = Instant::now();
    let mut wakes = VecDeque::new();
    reactor.poll(Some(PATIENCE), &mut wakes).unwrap();
    wakes.into_iter().for_each(Waker::wake);
    assert!(start.elapsed() < PATIENCE, "nothing came");
}

/// Wakes what there is to wake now.
fn look(reactor: &Reactor) {
    let mut wakes = VecDeque::new();
    reactor.poll(Some(Duration::ZERO), &mut wakes).unwrap();
    wakes.into_iter().for_each(Waker::wake);
}

/// A stream and its source, in the order in which they are to be dropped.
struct Socket {
    source: Source,
    stream: UnixStream,
}

impl Socket {
    /// A socket that is not registered yet, and its peer.
    fn unregistered() -> (Socket, UnixStream) {
        let (stream, peer) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        // SAFETY: `Socket` drops its source before its stream.
        let source = unsafe { Source::new(stream.as_raw_fd()) };
        (Socket { source, stream }, peer)
    }

    /// A socket registered with `reactor`, all first events delivered.
    fn new(reactor: &'static Reactor) -> (Socket, UnixStream) {
        let (socket, peer) = Socket::unregistered();
        socket.source.register_with(Direction::Read, reactor).unwrap();
        look(reactor);
        (socket, peer)
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let wanted = buffer.len();
        self.source.poll_transfer(Direction::Read, cx, wanted, || (&self.stream).read(buffer))
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.source
            .poll_transfer(Direction::Write, cx, bytes.len(), || io::Write::write(&mut &self.stream, bytes))
    }
}

/// Polls `attempt` and the reactor in turns until it is ready.
fn drive<T>(reactor: &Reactor, mut attempt: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let (waker, count) = futures_test::task::new_count_waker();
    loop {
        let before = count.get();
        if let Poll::Ready(value) = attempt(&mut Context::from_waker(&waker)) {
            return value;
        }
        while count.get() == before {
            turn(reactor);
        }
    }
}
