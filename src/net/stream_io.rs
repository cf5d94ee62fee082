//! Reading and writing a connection, in both worlds.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

use super::TcpStream;
use super::stream::Shared;
use crate::io::waiting::{by_reference, transfer, wait_for};
use crate::reactor::Direction;
use crate::wait::yield_if_spent;

impl Shared {
    #[inline]
    #[track_caller]
    fn read(&self, wanted: usize, op: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        let read = transfer(&self.source, Direction::Read, wanted, self.read_timeout.get(), op)?;
        self.note_end(wanted, read);
        Ok(read)
    }

    #[inline]
    #[track_caller]
    fn write(&self, wanted: usize, op: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        transfer(&self.source, Direction::Write, wanted, self.write_timeout.get(), op)
    }

    #[inline]
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let read = ready!(self.source.poll_transfer(Direction::Read, cx, wanted, op))?;
        self.note_end(wanted, read);
        Poll::Ready(Ok(read))
    }

    #[inline]
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.source.poll_transfer(Direction::Write, cx, wanted, op)
    }
}

impl TcpStream {
    /// As `read`, but returns 0 instead of waiting on when `stop` is ready.
    #[inline]
    #[track_caller]
    pub(super) fn read_unless(
        &self,
        buf: &mut [u8],
        mut stop: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> io::Result<usize> {
        let (shared, wanted) = (&*self.shared, buf.len());
        let mut op = || (&shared.socket).read(buf);
        yield_if_spent();
        match shared.source.try_transfer(Direction::Read, wanted, &mut op) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done.inspect(|&read| shared.note_end(wanted, read)),
        }
        wait_for(shared.read_timeout.get(), |cx| {
            match shared.source.poll_transfer(Direction::Read, cx, wanted, &mut op) {
                Poll::Ready(done) => Poll::Ready(done.inspect(|&read| shared.note_end(wanted, read))),
                Poll::Pending => stop(cx).map(|()| Ok(0)),
            }
        })
    }
}

/// Waits until something has arrived, for the read timeout at most. 0: the peer has ended its half.
impl Read for &TcpStream {
    #[inline]
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let shared = &*self.shared;
        shared.read(buf.len(), || (&shared.socket).read(buf))
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let shared = &*self.shared;
        shared.read(total(bufs), || (&shared.socket).read_vectored(bufs))
    }
}

/// Waits until the system takes some of it, for the write timeout at most.
impl Write for &TcpStream {
    #[inline]
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let shared = &*self.shared;
        shared.write(buf.len(), || (&shared.socket).write(buf))
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let shared = &*self.shared;
        shared.write(total(bufs), || (&shared.socket).write_vectored(bufs))
    }

    /// Nothing is buffered here: returns at once.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cancel safe: a read that is dropped has taken nothing.
impl AsyncRead for &TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let shared = &*self.shared;
        shared.poll_read(cx, buf.len(), || (&shared.socket).read(buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let shared = &*self.shared;
        shared.poll_read(cx, total(bufs), || (&shared.socket).read_vectored(bufs))
    }
}

/// Cancel safe: a `write` that is dropped has sent nothing (a `write_all` may have sent a part).
impl AsyncWrite for &TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let shared = &*self.shared;
        shared.poll_write(cx, buf.len(), || (&shared.socket).write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let shared = &*self.shared;
        shared.poll_write(cx, total(bufs), || (&shared.socket).write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the sending half; reading goes on. A peer that has already gone is no error.
    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.shared.socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

by_reference!(TcpStream);

fn total<B: std::ops::Deref<Target = [u8]>>(bufs: &[B]) -> usize {
    bufs.iter().map(|buf| buf.len()).sum()
}
