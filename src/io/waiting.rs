//! The two roads of every operation on a source: try at once, else wait; and the futures for readiness alone.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::reactor::{Direction, Ready, Source};
use crate::wait::{block_on, block_on_until, yield_if_spent};

/// A Go-style read or write of `wanted` bytes: at once if it can be, else this coroutine or thread waits,
/// `timeout` at most, which is asked for then.
#[inline]
#[track_caller]
pub(crate) fn transfer(
    source: &Source,
    direction: Direction,
    wanted: usize,
    timeout: impl FnOnce() -> Option<Duration>,
    mut op: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    yield_if_spent();
    match source.try_transfer(direction, wanted, &mut op) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            wait_to_transfer(source, direction, wanted, timeout(), &mut op)
        }
        done => done,
    }
}

/// Apart, so that a transfer that need not wait has a small frame: with thousands of coroutines at work each line of a
/// stack is one more that has left the cache meanwhile.
#[inline(never)]
#[track_caller]
fn wait_to_transfer(
    source: &Source,
    direction: Direction,
    wanted: usize,
    timeout: Option<Duration>,
    op: &mut impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    wait_for(timeout, |cx| source.poll_transfer(direction, cx, wanted, &mut *op))
}

/// A Go-style operation that is not a transfer of bytes (accept, peek).
#[inline]
#[track_caller]
pub(crate) fn perform<R>(
    source: &Source,
    direction: Direction,
    timeout: impl FnOnce() -> Option<Duration>,
    mut op: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    yield_if_spent();
    match source.try_io(direction, &mut op) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            wait_for(timeout(), |cx| source.poll_io(direction, cx, &mut op))
        }
        done => done,
    }
}

/// Waits until `poll` is ready, or for `timeout`; then the error is [`io::ErrorKind::TimedOut`].
#[track_caller]
pub(crate) fn wait_for<R>(
    timeout: Option<Duration>,
    poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<R>>,
) -> io::Result<R> {
    // A timeout too far away for the clock is none.
    match timeout.and_then(|timeout| Instant::now().checked_add(timeout)) {
        None => block_on(poll_fn(poll)),
        Some(deadline) => block_on_until(poll_fn(poll), deadline).unwrap_or_else(|| Err(timed_out())),
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the operation timed out")
}

macro_rules! readiness_future {
    ($name:ident, $direction:expr, $what:literal, $by:literal) => {
        #[doc = concat!("Waits until a source can be ", $what, ": the future returned by ", $by, ".")]
        ///
        /// `.await` it in async code, `.wait()` it in Go-style code. It is a hint: another task may come
        /// first, and the first wait on a source may end before there is anything to do; the operation that
        /// follows then waits by itself. The peer's end and errors count as ready: the operation that follows
        /// reports them.
        ///
        /// # Cancel safety
        /// Dropped: *nothing happened*.
        ///
        /// # Errors
        /// [`io::ErrorKind::NotConnected`] once the source is closed; [`io::ErrorKind::Unsupported`] for a
        /// descriptor that the system cannot poll.
        #[must_use = "futures do nothing unless awaited, or waited for with `.wait()`"]
        pub struct $name<'a> {
            ready: Ready<'a>,
        }

        impl<'a> $name<'a> {
            pub(crate) fn new(source: &'a Source) -> Self {
                Self { ready: source.ready($direction) }
            }
        }

        impl Future for $name<'_> {
            type Output = io::Result<()>;

            #[inline]
            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                Pin::new(&mut self.ready).poll(cx)
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

readiness_future!(Readable, Direction::Read, "read", "`readable()`");
readiness_future!(Writable, Direction::Write, "written", "`writable()`");

/// Implements the four traits of a type, or the two of one direction, by those of a shared reference to it.
macro_rules! by_reference {
    (read: $type:ty $(, $param:ident)?) => {
        impl $(<$param>)? std::io::Read for $type
        where
            $(for<'a> &'a $param: std::io::Read)?
        {
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                (&*self).read(buf)
            }

            #[track_caller]
            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }

        impl $(<$param>)? futures::io::AsyncRead for $type
        where
            $(for<'a> &'a $param: std::io::Read, $param: Unpin)?
        {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut &*self).poll_read(cx, buf)
            }

            fn poll_read_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut &*self).poll_read_vectored(cx, bufs)
            }
        }
    };
    (write: $type:ty $(, $param:ident)?) => {
        impl $(<$param>)? std::io::Write for $type
        where
            $(for<'a> &'a $param: std::io::Write)?
        {
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                (&*self).write(buf)
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            #[track_caller]
            fn flush(&mut self) -> std::io::Result<()> {
                (&*self).flush()
            }
        }

        impl $(<$param>)? futures::io::AsyncWrite for $type
        where
            $(for<'a> &'a $param: std::io::Write, $param: Unpin)?
        {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut &*self).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut &*self).poll_write_vectored(cx, bufs)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut &*self).poll_flush(cx)
            }

            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut &*self).poll_close(cx)
            }
        }
    };
    ($type:ty $(, $param:ident)?) => {
        $crate::io::waiting::by_reference!(read: $type $(, $param)?);
        $crate::io::waiting::by_reference!(write: $type $(, $param)?);
    };
}
pub(crate) use by_reference;
