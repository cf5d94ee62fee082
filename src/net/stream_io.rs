//! Reading and writing a connection, in both worlds; what TCP and Unix connections have in common.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use super::socket::{Shared, StreamSocket, look_for_input, peek};
use crate::io::waiting::{perform, transfer, wait_for};
use crate::reactor::Direction;
use crate::wait::yield_if_spent;

impl<S: StreamSocket> Shared<S> {
    #[inline]
    #[track_caller]
    pub(super) fn read(
        &self,
        wanted: usize,
        mut op: impl FnMut(&S) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let (source, timeout) = (self.source(), || self.read_timeout.get());
        let mut op = || op(self.socket());
        let read = match S::SHORT_MEANS_DRAINED {
            true => transfer(source, Direction::Read, wanted, timeout, op)?,
            false => perform(source, Direction::Read, timeout, &mut op)?,
        };
        self.note_end(wanted, read);
        Ok(read)
    }

    #[inline]
    #[track_caller]
    pub(super) fn write(
        &self,
        wanted: usize,
        mut op: impl FnMut(&S) -> io::Result<usize>,
    ) -> io::Result<usize> {
        transfer(self.source(), Direction::Write, wanted, || self.write_timeout.get(), || op(self.socket()))
    }

    #[inline]
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        mut op: impl FnMut(&S) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let mut op = || op(self.socket());
        let read = match S::SHORT_MEANS_DRAINED {
            true => self.source().poll_transfer(Direction::Read, cx, wanted, op),
            false => self.source().poll_io(Direction::Read, cx, &mut op),
        };
        let read = ready!(read)?;
        self.note_end(wanted, read);
        Poll::Ready(Ok(read))
    }

    #[inline]
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        mut op: impl FnMut(&S) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.source().poll_transfer(Direction::Write, cx, wanted, || op(self.socket()))
    }

    /// Ends the sending half. A peer that has already gone is no error.
    pub(super) fn end_sending(&self) -> io::Result<()> {
        match self.socket().end(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
            _ => Ok(()),
        }
    }

    /// Closes the connection under all its handles.
    pub(super) fn close(&self) {
        self.source().close();
        // Fails when the peer has already gone, which is as good.
        let _ = self.socket().end(Shutdown::Both);
    }
}

/// What [`serve()`](super::serve()) asks of a connection.
impl<S: StreamSocket> Shared<S> {
    /// As `read`, but returns 0 instead of waiting on when `stop` is ready.
    #[inline]
    #[track_caller]
    pub(super) fn read_unless(
        &self,
        buf: &mut [u8],
        mut stop: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> io::Result<usize> {
        yield_if_spent();
        let wanted = buf.len();
        let op = |socket: &S, buf: &mut [u8]| socket.recv(buf);
        let first = match S::SHORT_MEANS_DRAINED {
            true => self.source().try_transfer(Direction::Read, wanted, || op(self.socket(), buf)),
            false => self.attempt(Direction::Read, |socket| op(socket, buf)),
        };
        match first {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done.inspect(|&read| self.note_end(wanted, read)),
        }
        wait_for(self.read_timeout.get(), |cx| match self.poll_read(cx, wanted, |socket| op(socket, buf)) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => stop(cx).map(|()| Ok(0)),
        })
    }

    /// Waits for input, or the peer's end, without reading.
    pub(super) fn poll_input(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source().poll_ready(Direction::Read, cx)
    }

    /// As [`poll_input`](Self::poll_input), and makes sure of it: readiness may be left over from an earlier
    /// read.
    pub(super) fn poll_input_surely(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Not by a peek: that would take an error (a reset) away from the read that is to tell it.
        self.source().poll_io(Direction::Read, cx, || look_for_input(self.socket()))
    }

    /// Whether there was no input, so that the next readiness means that there is.
    pub(super) fn is_drained(&self) -> bool {
        self.source().is_drained(Direction::Read)
    }

    /// Whether something has arrived that has not been read.
    pub(super) fn has_input(&self) -> bool {
        matches!(peek(self.socket(), &mut [0]), Ok(1..))
    }
}

/// The four traits of a stream type, by its shared part.
macro_rules! stream_io {
    ($type:ident) => {
        /// Waits until something has arrived, for the read timeout at most. 0: the peer has ended its half.
        impl std::io::Read for &$type {
            #[inline]
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.shared.read(buf.len(), |socket| socket.recv(buf))
            }

            #[track_caller]
            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                let wanted = $crate::net::stream_io::input_len(bufs);
                self.shared.read(wanted, |socket| socket.recv_vectored(bufs))
            }
        }

        /// Waits until the system takes some of it, for the write timeout at most.
        impl std::io::Write for &$type {
            #[inline]
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.shared.write(buf.len(), |socket| socket.send(buf))
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                let wanted = $crate::net::stream_io::output_len(bufs);
                self.shared.write(wanted, |socket| socket.send_vectored(bufs))
            }

            /// Nothing is buffered here: returns at once.
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        /// Cancel safe: a read that is dropped has taken nothing.
        impl futures::io::AsyncRead for &$type {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.shared.poll_read(cx, buf.len(), |socket| socket.recv(buf))
            }

            fn poll_read_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let wanted = $crate::net::stream_io::input_len(bufs);
                self.shared.poll_read(cx, wanted, |socket| socket.recv_vectored(bufs))
            }
        }

        /// Cancel safe: a `write` that is dropped has sent nothing (a `write_all` may have sent a part).
        impl futures::io::AsyncWrite for &$type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.shared.poll_write(cx, buf.len(), |socket| socket.send(buf))
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let wanted = $crate::net::stream_io::output_len(bufs);
                self.shared.poll_write(cx, wanted, |socket| socket.send_vectored(bufs))
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }

            /// Ends the sending half; reading goes on. A peer that has already gone is no error.
            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                _cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(self.shared.end_sending())
            }
        }

        $crate::io::waiting::by_reference!($type);

        impl $type {
            /// Ends one or both halves. `Write` tells the peer that no more will come; `Read` makes present
            /// and later reads here return 0 once what has arrived is read.
            ///
            /// # Errors
            /// The system's: [`NotConnected`](std::io::ErrorKind::NotConnected) when the peer has gone.
            pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
                self.shared.socket().shutdown(how)
            }

            /// Reads what has come already. Never waits. 0: the peer has ended its half.
            ///
            /// # Errors
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when nothing has; the system's;
            /// [`NotConnected`](std::io::ErrorKind::NotConnected) once closed.
            pub fn try_read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                let wanted = buf.len();
                let read =
                    self.shared.attempt($crate::reactor::Direction::Read, |socket| socket.recv(buf))?;
                self.shared.note_end(wanted, read);
                Ok(read)
            }

            /// Writes what there is room for. Never waits.
            ///
            /// # Errors
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when there is no room; the system's;
            /// [`NotConnected`](std::io::ErrorKind::NotConnected) once closed.
            pub fn try_write(&self, buf: &[u8]) -> std::io::Result<usize> {
                self.shared.attempt($crate::reactor::Direction::Write, |socket| socket.send(buf))
            }

            /// Closes the connection, as Go's `Close`: the peer sees its end, and every wait on any handle,
            /// present or later, ends with [`NotConnected`](std::io::ErrorKind::NotConnected). The descriptor
            /// itself is released when the last handle is dropped. Never waits.
            ///
            /// Not to be confused with the future `AsyncWriteExt::close(&mut stream)`, which ends the sending
            /// half only.
            pub fn close(&self) {
                self.shared.close();
            }
        }
    };
}
pub(super) use stream_io;

pub(super) fn input_len(bufs: &[IoSliceMut<'_>]) -> usize {
    bufs.iter().map(|buf| buf.len()).sum()
}

pub(super) fn output_len(bufs: &[IoSlice<'_>]) -> usize {
    bufs.iter().map(|buf| buf.len()).sum()
}
