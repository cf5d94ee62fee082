//! Any pollable descriptor as a source.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};

use super::waiting::{Readable, Writable, perform};
use crate::reactor::{Direction, Source};

/// Makes a descriptor that the system can poll (a pipe, a Unix socket, a terminal, an eventfd, a pidfd) wait
/// as sockets do: the coroutine, task or thread that reads waits, not the worker.
///
/// With `&T: std::io::Read` or `Write` (as `UnixStream`, `PipeReader` and `File` have), `Io<T>` and `&Io<T>`
/// implement [`Read`] and [`Write`] (waiting) and [`AsyncRead`] and [`AsyncWrite`]. Everything else goes
/// through [`read_with`](Io::read_with) and [`write_with`](Io::write_with), which take the system call as a
/// closure.
///
/// The descriptor is made non-blocking. That is a property of the open file, not of the descriptor, so
/// whoever shares it (a duplicate, a parent's terminal) sees it too, and it stays after
/// [`into_inner`](Io::into_inner). Regular files cannot be polled: reading and writing them works, and blocks
/// the thread; [`readable`](Io::readable) is an error.
///
/// The wrapped value is lent only as `&T`, and the descriptor it showed at the start is the one that is
/// polled: nothing reachable from safe code can swap or close it meanwhile.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use aqueduct::io::Io;
///
/// # fn main() -> std::io::Result<()> {
/// let (left, right) = UnixStream::pair()?;
/// let (mut left, mut right) = (Io::new(left)?, Io::new(right)?);
/// left.write_all(b"ping")?;
/// let mut reply = [0; 4];
/// right.read_exact(&mut reply)?;
/// assert_eq!(&reply, b"ping");
/// # Ok(())
/// # }
/// ```
/// ```
/// use std::os::unix::net::UnixStream;
/// use aqueduct::{Wait, io::Io};
/// use futures::io::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> std::io::Result<()> {
/// let (left, right) = UnixStream::pair()?;
/// let (mut left, mut right) = (Io::new(left)?, Io::new(right)?);
/// async {
///     left.write_all(b"ping").await?;
///     let mut reply = [0; 4];
///     right.read_exact(&mut reply).await?;
///     assert_eq!(&reply, b"ping");
///     std::io::Result::Ok(())
/// }
/// .wait()
/// # }
/// ```
pub struct Io<T> {
    // Declared before `io`, so that the poller forgets the descriptor before it is closed.
    source: Source,
    io: T,
}

impl<T: AsFd> Io<T> {
    /// Wraps `io` and makes its descriptor non-blocking. Registers nothing yet: that is done by the first
    /// wait.
    ///
    /// One descriptor is for one `Io`: two tasks that use it share the `Io` by reference. Of two `Io`s of the same descriptor (an
    /// `Arc` in each), one's wait may fail with [`io::ErrorKind::AlreadyExists`].
    ///
    /// # Errors
    /// When the descriptor cannot be made non-blocking.
    pub fn new(io: T) -> io::Result<Self> {
        set_nonblocking(io.as_fd(), true)?;
        Ok(Self::from_nonblocking(io))
    }

    /// As [`new`](Io::new), for what is non-blocking already, or is never asked for an operation that blocks.
    pub(crate) fn from_nonblocking(io: T) -> Self {
        // SAFETY: the descriptor stays open until the source is dropped. `io.as_fd()` lent it for as long as
        // `io` is borrowed shared, and `Io` lends `io` only shared and gives it up only in `into_inner` and
        // on drop, both after the source is gone (`source-before-descriptor`, `no-replacement`). Moving `Io`
        // runs no code of `T`, so what was open stays open. A later `as_fd` may name another descriptor; it
        // is never asked for one here.
        let source = unsafe { Source::new(io.as_fd().as_raw_fd()) };
        Self { source, io }
    }
}

impl<T> Io<T> {
    /// The wrapped value. Its own reads and writes do not wait: they return [`io::ErrorKind::WouldBlock`].
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Unwraps the value, after the poller has forgotten its descriptor, which stays non-blocking.
    pub fn into_inner(self) -> T {
        let Self { source, io } = self;
        drop(source);
        io
    }

    /// Waits until there is something to read, or the other end is closed.
    pub fn readable(&self) -> Readable<'_> {
        Readable::new(&self.source)
    }

    /// Waits until something can be written, or the other end is closed.
    pub fn writable(&self) -> Writable<'_> {
        Writable::new(&self.source)
    }

    /// Runs `op` until it no longer says [`io::ErrorKind::WouldBlock`], waiting for input before each new
    /// attempt.
    ///
    /// `op` is run at once the first time. It must be a non-blocking operation of this very descriptor that
    /// says `WouldBlock` only when there is no input, or the wait may last for ever.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// Those of `op`; [`io::ErrorKind::NotConnected`] once closed.
    #[track_caller]
    pub fn read_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        perform(&self.source, Direction::Read, || None, || op(&self.io))
    }

    /// As [`read_with`](Io::read_with), for output.
    #[track_caller]
    pub fn write_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        perform(&self.source, Direction::Write, || None, || op(&self.io))
    }

    /// The future form of [`read_with`](Io::read_with).
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*, as long as an `op` that says `WouldBlock` has done nothing.
    pub async fn read_with_async<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let mut ready = self.source.ready(Direction::Read);
        std::future::poll_fn(|cx| ready.poll_io(cx, || op(&self.io))).await
    }

    /// The future form of [`write_with`](Io::write_with).
    ///
    /// # Cancel safety
    /// As [`read_with_async`](Io::read_with_async).
    pub async fn write_with_async<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let mut ready = self.source.ready(Direction::Write);
        std::future::poll_fn(|cx| ready.poll_io(cx, || op(&self.io))).await
    }

    /// Stops every present and later wait on this source with [`io::ErrorKind::NotConnected`]. The descriptor
    /// itself is closed when the wrapped value is dropped.
    pub fn close(&self) {
        self.source.close();
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.source.is_closed()
    }

    fn poll_with<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        op: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.source.poll_io(direction, cx, || op(&self.io))
    }
}

impl<T> Read for &Io<T>
where
    for<'a> &'a T: Read,
{
    // Unlike a stream socket's, a short read of any descriptor need not mean that it is drained (a terminal
    // hands out lines, a datagram socket datagrams): only `WouldBlock` does, here and below.
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with(|mut io| io.read(buf))
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_with(|mut io| io.read_vectored(bufs))
    }
}

impl<T> Write for &Io<T>
where
    for<'a> &'a T: Write,
{
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_with(|mut io| io.write(buf))
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_with(|mut io| io.write_vectored(bufs))
    }

    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        // At once first: there may be nothing to flush, for which no room is needed.
        match (&mut &self.io).flush() {
            Err(error) if comes_later(&error) => self.write_with(|mut io| io.flush()),
            done => done,
        }
    }
}

impl<T> AsyncRead for &Io<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Read, cx, &mut |mut io: &T| io.read(buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Read, cx, &mut |mut io: &T| io.read_vectored(bufs))
    }
}

impl<T> AsyncWrite for &Io<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Write, cx, &mut |mut io: &T| io.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Write, cx, &mut |mut io: &T| io.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (&mut &self.io).flush() {
            Err(error) if comes_later(&error) => {
                self.poll_with(Direction::Write, cx, &mut |mut io: &T| io.flush())
            }
            done => Poll::Ready(done),
        }
    }

    /// Flushes. What closes one half of a descriptor differs from kind to kind: drop it, or ask the wrapped
    /// value.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

crate::io::waiting::by_reference!(Io<T>, T);

fn comes_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl<T: fmt::Debug> fmt::Debug for Io<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("fd", &self.source.fd())
            .field("closed", &self.is_closed())
            .field("io", &self.io)
            .finish()
    }
}

/// Receives from a socket with flags, which `std` does not offer.
pub(crate) fn recv(socket: BorrowedFd<'_>, buf: &mut [u8], flags: i32) -> io::Result<usize> {
    // SAFETY: the descriptor is open (`BorrowedFd`), and the buffer is valid for writing as many bytes as are said.
    let n = unsafe { libc::recv(socket.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) };
    // Negative only when it failed.
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Sets whether operations on the open file behind `fd` return instead of blocking.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    // SAFETY: plain system calls on an open descriptor (`BorrowedFd`); they touch no memory of ours.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    if flags == -1 {
        return Err(io::Error::last_os_error());
    }
    let wanted = if nonblocking { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    // SAFETY: as above.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
