//! A connection as its handler sees it.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;

use super::registry::Registration;
use crate::net::TcpStream;

/// A connection lent to a handler of [`serve()`](super::serve()), for one message.
///
/// [`Read`] and [`Write`] wait like those of [`TcpStream`]; everything else is on [`stream`](Conn::stream).
/// When the server stops while a handler waits for the first byte of a message, that read returns 0, as if
/// the peer had ended.
pub struct Conn {
    stream: TcpStream,
    peer: SocketAddr,
    // Whether this call of the handler has read anything: tells a peer that ended between messages from one
    // that broke off.
    has_read: bool,
    // Dropped after the stream, which makes it known that the descriptor is back (`registered-while-open`).
    registration: Registration,
}

impl Conn {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, registration: Registration) -> Self {
        Self { stream, peer, has_read: false, registration }
    }

    /// The address of the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The connection itself. `&TcpStream` reads and writes too, in both worlds.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Closes the connection at once, in both directions: the handler is not called again.
    pub fn close(&self) {
        self.stream.close();
    }

    pub(super) fn begin_message(&mut self) {
        self.has_read = false;
    }

    pub(super) fn has_read(&self) -> bool {
        self.has_read
    }

    pub(super) fn registration(&self) -> &Registration {
        &self.registration
    }

    pub(super) fn registration_mut(&mut self) -> &mut Registration {
        &mut self.registration
    }

    fn note(&mut self, read: io::Result<usize>) -> io::Result<usize> {
        self.has_read |= matches!(read, Ok(1..));
        read
    }
}

impl Read for Conn {
    #[inline]
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match self.has_read {
            true => self.stream.read(buf),
            false => self.stream.shared.read_unless(buf, |cx| self.registration.poll_stop(cx)),
        };
        self.note(read)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = self.stream.read_vectored(bufs);
        self.note(read)
    }
}

impl Write for Conn {
    #[inline]
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("peer", &self.peer).field("stream", &self.stream).finish_non_exhaustive()
    }
}
