//! The standard streams.
//!
//! # How they wait
//! A standard stream is shared: with the shell, with the other processes of a pipeline, with what the program
//! starts. Making it non-blocking would do that to all of them, as that is a property of the open file. So, by
//! what it is:
//!
//! | it is | how |
//! |---|---|
//! | a terminal or a pipe (Linux) | opened once more (`/proc/self/fd`), which gives an open file of our own; that one is non-blocking, and waited for by the reactor |
//! | a socket | used with `MSG_DONTWAIT`, which makes one call non-blocking, not the socket; waited for by the reactor |
//! | a file, a device, or what cannot be opened once more | `std`'s stream, on the pool of [`blocking`](crate::blocking()) |
#![forbid(unsafe_code)]

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};

use super::Io;
use super::any::recv;
use super::pooled::Pooled;
use crate::wait::block_on;

/// A handle to the standard input, which waits without blocking a worker.
///
/// It is not buffered, and does not look into the buffer of `std`'s: use either this or
/// [`std::io::stdin`], not both. For lines, put a buffered reader around it, and keep that.
///
/// Making a handle looks at what the standard input is; it costs a descriptor for a terminal, a pipe or a socket.
///
/// # Examples
/// ```no_run
/// use std::io::{BufRead, BufReader};
///
/// for line in BufReader::new(aqueduct::io::stdin()).lines() {
///     println!("{}", line?.to_uppercase());
/// }
/// # std::io::Result::Ok(())
/// ```
/// ```no_run
/// # use aqueduct::Wait;
/// use futures::io::{AsyncBufReadExt, BufReader};
/// use futures::TryStreamExt;
///
/// # async {
/// let mut lines = BufReader::new(aqueduct::io::stdin()).lines();
/// while let Some(line) = lines.try_next().await? {
///     println!("{}", line.to_uppercase());
/// }
/// # std::io::Result::Ok(()) }.wait()?;
/// # std::io::Result::Ok(())
/// ```
#[must_use]
pub fn stdin() -> Stdin {
    let own = own(io::stdin().as_fd(), std::fs::OpenOptions::new().read(true));
    Stdin { stream: own.unwrap_or_else(|| Stream::Pooled(Pooled::new(io::stdin()))) }
}

/// A handle to the standard output, which waits without blocking a worker; `println!` blocks its thread when
/// whoever reads is slow.
///
/// It is not buffered: put [`std::io::LineWriter`] or [`BufWriter`](std::io::BufWriter) around it. What `print!`
/// has put into `std`'s buffer comes when that is flushed, so in a mixed program flush that one first.
///
/// Making a handle looks at what the standard output is; it costs a descriptor for a terminal, a pipe or a socket.
///
/// # Examples
/// ```
/// use std::io::Write;
///
/// let mut out = aqueduct::io::stdout();
/// writeln!(out, "over")?;
/// # std::io::Result::Ok(())
/// ```
/// ```
/// use aqueduct::Wait;
/// use futures::io::AsyncWriteExt;
///
/// let mut out = aqueduct::io::stdout();
/// async { out.write_all(b"over\n").await }.wait()?;
/// # std::io::Result::Ok(())
/// ```
#[must_use]
pub fn stdout() -> Stdout {
    let own = own(io::stdout().as_fd(), std::fs::OpenOptions::new().write(true));
    Stdout { stream: own.unwrap_or_else(|| Stream::Pooled(Pooled::new(io::stdout()))) }
}

/// A handle to the standard error, as [`stdout`] is one to the standard output.
///
/// # Examples
/// ```
/// use std::io::Write;
///
/// aqueduct::io::stderr().write_all(b"over\n")?;
/// # std::io::Result::Ok(())
/// ```
#[must_use]
pub fn stderr() -> Stderr {
    let own = own(io::stderr().as_fd(), std::fs::OpenOptions::new().write(true));
    Stderr { stream: own.unwrap_or_else(|| Stream::Pooled(Pooled::new(io::stderr()))) }
}

/// The standard input; see [`stdin`].
///
/// # Cancel safety
/// A read that is given up (a dropped future, a cancelled coroutine) has taken nothing from a terminal, a pipe or a
/// socket. From a file, what it has read is the next read's, through the same handle: keep the handle.
pub struct Stdin {
    stream: Stream<io::Stdin>,
}

/// The standard output; see [`stdout`].
///
/// # Cancel safety
/// A write that is given up has written nothing to a terminal, a pipe or a socket (a `write_all` may have written a
/// part). To a file it *completes anyway*, as with [`fs::File`](crate::fs::File#cancel-safety).
pub struct Stdout {
    stream: Stream<io::Stdout>,
}

/// The standard error; see [`stderr`], and [`Stdout`] for what giving up means.
pub struct Stderr {
    stream: Stream<io::Stderr>,
}

/// A standard stream, by how it waits.
enum Stream<T> {
    Own(Io<std::fs::File>),
    Socket(Io<DontWait>),
    Pooled(Pooled<T>),
}

/// A way to wait for the stream by the reactor, if there is one.
fn own<T>(stream: BorrowedFd<'_>, options: &std::fs::OpenOptions) -> Option<Stream<T>> {
    let copy = std::fs::File::from(stream.try_clone_to_owned().ok()?);
    let kind = copy.metadata().ok()?.file_type();
    if kind.is_socket() {
        return Some(Stream::Socket(Io::from_nonblocking(DontWait(std::os::fd::OwnedFd::from(copy).into()))));
    }
    if kind.is_fifo() || stream.is_terminal() {
        return open_again(stream, options).map(|file| Stream::Own(Io::from_nonblocking(file)));
    }
    None
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn open_again(stream: BorrowedFd<'_>, options: &std::fs::OpenOptions) -> Option<std::fs::File> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
    options.clone().custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()
}

/// Elsewhere a second opening of `/dev/fd` shares the open file.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn open_again(_stream: BorrowedFd<'_>, _options: &std::fs::OpenOptions) -> Option<std::fs::File> {
    None
}

/// A socket whose calls do not block, though others may use it in blocking mode.
struct DontWait(socket2::Socket);

impl AsFd for DontWait {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for &DontWait {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        recv(self.as_fd(), buf, libc::MSG_DONTWAIT)
    }
}

impl Write for &DontWait {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.send_with_flags(buf, libc::MSG_DONTWAIT)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stdin {
    /// Waits until there is something. 0: the end; a terminal may go on afterwards.
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Own(io) => io.read(buf),
            Stream::Socket(io) => io.read(buf),
            Stream::Pooled(pooled) => block_on(poll_fn(|cx| pooled.poll_read(cx, buf))),
        }
    }
}

impl AsyncRead for Stdin {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Own(io) => Pin::new(io).poll_read(cx, buf),
            Stream::Socket(io) => Pin::new(io).poll_read(cx, buf),
            Stream::Pooled(pooled) => pooled.poll_read(cx, buf),
        }
    }
}

macro_rules! output {
    ($($type:ident),*) => {$(
        impl Write for $type {
            /// Waits until the system takes some of it.
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                match &mut self.stream {
                    Stream::Own(io) => io.write(buf),
                    Stream::Socket(io) => io.write(buf),
                    Stream::Pooled(pooled) => block_on(poll_fn(|cx| pooled.poll_write(cx, buf))),
                }
            }

            /// Nothing is buffered here; waits for a write that was given up, if there is one.
            #[track_caller]
            fn flush(&mut self) -> io::Result<()> {
                match &mut self.stream {
                    Stream::Own(_) | Stream::Socket(_) => Ok(()),
                    Stream::Pooled(pooled) => block_on(poll_fn(|cx| pooled.poll_settled(cx))),
                }
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                match &mut self.stream {
                    Stream::Own(io) => Pin::new(io).poll_write(cx, buf),
                    Stream::Socket(io) => Pin::new(io).poll_write(cx, buf),
                    Stream::Pooled(pooled) => pooled.poll_write(cx, buf),
                }
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match &mut self.stream {
                    Stream::Own(_) | Stream::Socket(_) => Poll::Ready(Ok(())),
                    Stream::Pooled(pooled) => pooled.poll_settled(cx),
                }
            }

            /// Flushes: the stream itself is not ours to close.
            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flush(cx)
            }
        }
    )*};
}
output!(Stdout, Stderr);

macro_rules! debug {
    ($($type:ident),*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let how: &dyn fmt::Debug = match &self.stream {
                    Stream::Own(_) => &"opened once more",
                    Stream::Socket(_) => &"a socket",
                    Stream::Pooled(pooled) => pooled,
                };
                f.debug_struct(stringify!($type)).field("stream", how).finish()
            }
        }
    )*};
}
debug!(Stdin, Stdout, Stderr);
