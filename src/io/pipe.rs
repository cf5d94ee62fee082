//! Pipes.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};

use super::any::set_nonblocking;
use super::stdio::open_again;
use super::waiting::by_reference;
use super::{Io, Readable, Writable};
use crate::reactor::Direction;

/// Makes a pipe: what is written to one end is read from the other, shaped like [`std::io::pipe`].
///
/// # Errors
/// The system's, when it is out of descriptors.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut reader, mut writer) = aqueduct::io::pipe()?;
/// let sender = aqueduct::go(move || writer.write_all(&[7; 1_000_000])); // more than a pipe holds
/// let mut received = Vec::new();
/// reader.read_to_end(&mut received)?;
/// assert_eq!(received.len(), 1_000_000);
/// sender.join().unwrap()
/// # }
/// ```
/// ```
/// use aqueduct::Wait;
/// use futures::io::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> std::io::Result<()> {
/// async {
///     let (mut reader, mut writer) = aqueduct::io::pipe()?;
///     writer.write_all(b"over").await?;
///     drop(writer);
///     let mut text = String::new();
///     reader.read_to_string(&mut text).await?;
///     assert_eq!(text, "over");
///     std::io::Result::Ok(())
/// }
/// .wait()
/// # }
/// ```
/// To a child, from a child:
/// ```
/// use aqueduct::process::Command;
/// use std::io::{Read, Write};
///
/// # fn main() -> std::io::Result<()> {
/// let (theirs, mut ours) = aqueduct::io::pipe()?;
/// let mut child = Command::new("cat").stdin(theirs).stdout(std::process::Stdio::piped()).spawn()?;
/// ours.write_all(b"over")?;
/// drop(ours);
/// let mut text = String::new();
/// child.stdout.take().unwrap().read_to_string(&mut text)?;
/// assert!(child.wait()?.success());
/// assert_eq!(text, "over");
/// # Ok(())
/// # }
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((PipeReader::from_std(reader)?, PipeWriter::from_std(writer)?))
}

/// The reading end of a [`pipe`], or a child's output.
///
/// [`std::io::Read`] suspends the calling coroutine until there is something (outside the scheduler it blocks
/// the thread), [`AsyncRead`] is the same as a future; both are implemented for `&PipeReader` as well. A read of
/// 0 bytes: the last writer has gone. A read that is dropped or cancelled has taken nothing.
pub struct PipeReader {
    io: Io<io::PipeReader>,
}

/// The writing end of a [`pipe`], or a child's input.
///
/// [`std::io::Write`] suspends the calling coroutine while the pipe is full (outside the scheduler it blocks the
/// thread), [`AsyncWrite`] is the same as a future; both are implemented for `&PipeWriter` as well. Nothing is
/// buffered here. Dropping it is what tells the reader that no more will come; the future `close` only
/// flushes. A write that is dropped or cancelled has written nothing (a `write_all` may have written a part).
///
/// Writing to a pipe that nobody reads is an error, [`BrokenPipe`](io::ErrorKind::BrokenPipe): Rust programs
/// ignore SIGPIPE.
pub struct PipeWriter {
    io: Io<io::PipeWriter>,
}

macro_rules! pipe_end {
    ($type:ident, $std:ty, $access:ident) => {
        impl $type {
            /// Takes over an end of a pipe, which is made non-blocking. (The other end is not: that is a
            /// property of each end.)
            ///
            /// # Errors
            /// When that cannot be done.
            pub fn from_std(end: $std) -> io::Result<Self> {
                Ok(Self { io: Io::new(end)? })
            }

            /// Gives the end up, blocking again. For a child that is to inherit it, `Stdio::from(end)` does that.
            ///
            /// # Errors
            /// When it cannot be made blocking.
            pub fn into_std(self) -> io::Result<$std> {
                set_nonblocking(self.io.get_ref().as_fd(), false)?;
                Ok(self.io.into_inner())
            }

            /// Another handle to the same end, which costs a descriptor.
            ///
            /// On Linux it is an open file of its own: making one of the two blocking ([`into_std`](Self::into_std)) is
            /// nothing to the other. (Elsewhere, or without `/proc`, it is: then the other blocks its thread.)
            ///
            /// # Errors
            /// The system's, when it is out of descriptors.
            pub fn try_clone(&self) -> io::Result<Self> {
                let copy = self.io.get_ref().try_clone()?;
                match opened_again(copy.as_fd(), std::fs::OpenOptions::new().$access(true)) {
                    Some(own) => Ok(Self { io: Io::from_nonblocking(own.into()) }),
                    None => Self::from_std(copy),
                }
            }
        }

        /// As `from_std`.
        impl TryFrom<$std> for $type {
            type Error = io::Error;

            fn try_from(end: $std) -> io::Result<Self> {
                Self::from_std(end)
            }
        }

        /// As `from_std`. That the descriptor is an end of a pipe is not looked at.
        impl TryFrom<OwnedFd> for $type {
            type Error = io::Error;

            fn try_from(end: OwnedFd) -> io::Result<Self> {
                Self::from_std(end.into())
            }
        }

        /// As `into_std`.
        impl TryFrom<$type> for $std {
            type Error = io::Error;

            fn try_from(end: $type) -> io::Result<Self> {
                end.into_std()
            }
        }

        /// For a child that is to have this end. It is made blocking, as programs expect it, and so are the handles that
        /// [`try_clone`]($type::try_clone) made: they are for other children, and would hold up a worker here.
        ///
        /// # Panics
        /// When it cannot be made blocking, which the system refuses for no open descriptor; [`into_std`]($type::into_std)
        /// gives the error.
        impl From<$type> for Stdio {
            fn from(end: $type) -> Self {
                end.into_std().expect("an open descriptor can be made blocking").into()
            }
        }

        impl AsFd for $type {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.io.get_ref().as_fd()
            }
        }

        impl AsRawFd for $type {
            fn as_raw_fd(&self) -> RawFd {
                self.io.get_ref().as_raw_fd()
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).field("fd", &self.as_raw_fd()).finish()
            }
        }
    };
}
pipe_end!(PipeReader, io::PipeReader, read);
pipe_end!(PipeWriter, io::PipeWriter, write);

/// An open file of its own for this end of a pipe. Not for what only looks like one: a second opening of a file would have a position
/// of its own as well.
fn opened_again(end: BorrowedFd<'_>, options: &std::fs::OpenOptions) -> Option<OwnedFd> {
    let copy = std::fs::File::from(end.try_clone_to_owned().ok()?);
    if !copy.metadata().ok()?.file_type().is_fifo() {
        return None;
    }
    open_again(end, options).map(OwnedFd::from)
}

impl PipeReader {
    /// Reads what is there already. Never waits. 0: the last writer has gone.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when nothing is; the system's.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.source().try_io(Direction::Read, || self.io.get_ref().read(buf))
    }

    /// Waits until there is something to read, or the last writer has gone. A future: `.wait()` or `.await`.
    pub fn readable(&self) -> Readable<'_> {
        self.io.readable()
    }
}

impl PipeWriter {
    /// Writes what there is room for. Never waits.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room; the system's.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.source().try_io(Direction::Write, || self.io.get_ref().write(buf))
    }

    /// Waits until there is room, or the last reader has gone. A future: `.wait()` or `.await`.
    pub fn writable(&self) -> Writable<'_> {
        self.io.writable()
    }
}

/// Implements the traits of one direction for a type and for references to it by those of its field `io`.
macro_rules! through_io {
    (read: $type:ident) => {
        impl Read for &$type {
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                (&self.io).read(buf)
            }

            #[track_caller]
            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&self.io).read_vectored(bufs)
            }
        }

        impl AsyncRead for &$type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &self.io).poll_read(cx, buf)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &self.io).poll_read_vectored(cx, bufs)
            }
        }

        by_reference!(read: $type);
    };
    (write: $type:ident) => {
        impl Write for &$type {
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&self.io).write(buf)
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (&self.io).write_vectored(bufs)
            }

            /// Nothing is buffered here: returns at once.
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl AsyncWrite for &$type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &self.io).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &self.io).poll_write_vectored(cx, bufs)
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Nothing is buffered here. Drop it to end the stream.
            fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }

        by_reference!(write: $type);
    };
}
through_io!(read: PipeReader);
through_io!(write: PipeWriter);
