//! What all socket types are made of: the part that their handles share, and the methods that are the same on
//! each.
//!
//! A public type is `struct Name { shared: Arc<Shared<std's type>> }`. The macros write out what a reader of
//! its documentation should find on it; what they call is here, once.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::no_timeout;
use crate::io::waiting::perform;
use crate::io::{Io, recv};
use crate::reactor::{Direction, Source};

/// What the handles of one socket share.
pub(super) struct Shared<S> {
    pub(super) io: Io<S>,
    pub(super) read_timeout: Timeout,
    pub(super) write_timeout: Timeout,
    /// Streams: a read returned 0, the peer has ended its half.
    at_end: AtomicBool,
}

impl<S: AsFd> Shared<S> {
    pub(super) fn from_nonblocking(socket: S) -> Arc<Self> {
        let io = Io::from_nonblocking(socket);
        let (read_timeout, write_timeout) = (Timeout::none(), Timeout::none());
        Arc::new(Self { io, read_timeout, write_timeout, at_end: AtomicBool::new(false) })
    }
}

impl<S> Shared<S> {
    #[inline]
    pub(super) fn source(&self) -> &Source {
        self.io.source()
    }

    #[inline]
    pub(super) fn socket(&self) -> &S {
        self.io.get_ref()
    }

    /// Notes the end of the peer's half when a read that wanted something got nothing.
    #[inline]
    pub(super) fn note_end(&self, wanted: usize, read: usize) {
        if read == 0 && wanted > 0 {
            // Relaxed: only says that a read happened; nothing is published with it.
            self.at_end.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a read has returned 0: the peer has ended its half.
    pub(super) fn at_end(&self) -> bool {
        self.at_end.load(Ordering::Relaxed)
    }

    /// A Go-style operation that takes input, for the read timeout at most.
    #[track_caller]
    pub(super) fn input<R>(&self, mut op: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        perform(self.source(), Direction::Read, || self.read_timeout.get(), || op(self.socket()))
    }

    /// A Go-style operation that makes output, for the write timeout at most.
    #[track_caller]
    pub(super) fn output<R>(&self, mut op: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        perform(self.source(), Direction::Write, || self.write_timeout.get(), || op(self.socket()))
    }

    /// One attempt, which never waits.
    pub(super) fn attempt<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        self.source().try_io(direction, || op(self.socket()))
    }
}

/// What [`Shared`] needs of a stream socket of `std`.
pub(super) trait StreamSocket: AsFd {
    /// Whether a read that returns less than was wanted has emptied the socket. Not so where the system stops
    /// short for other reasons: a Unix socket at a passed descriptor, and the peer decides when to pass one.
    const SHORT_MEANS_DRAINED: bool;

    fn recv(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
    fn send(&self, buf: &[u8]) -> io::Result<usize>;
    fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
    fn end(&self, how: Shutdown) -> io::Result<()>;
}

macro_rules! stream_socket {
    ($type:ty, $short_means_drained:literal) => {
        impl StreamSocket for $type {
            const SHORT_MEANS_DRAINED: bool = $short_means_drained;

            #[inline]
            fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
                #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
                {
                    super::kernel::recv(self, buf)
                }
                #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
                {
                    (&mut &*self).read(buf)
                }
            }

            #[inline]
            fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&mut &*self).read_vectored(bufs)
            }

            #[inline]
            fn send(&self, buf: &[u8]) -> io::Result<usize> {
                #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
                {
                    super::kernel::send(self, buf)
                }
                #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
                {
                    (&mut &*self).write(buf)
                }
            }

            #[inline]
            fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (&mut &*self).write_vectored(bufs)
            }

            fn end(&self, how: Shutdown) -> io::Result<()> {
                self.shutdown(how)
            }
        }
    };
}
stream_socket!(std::net::TcpStream, true);
stream_socket!(std::os::unix::net::UnixStream, false);

/// Reads without taking, which `std` offers for internet sockets only.
pub(super) fn peek(socket: &impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    recv(socket.as_fd(), buf, libc::MSG_PEEK)
}

/// `WouldBlock` when there is neither input nor an end or an error to be read; takes nothing, not even the error.
pub(super) fn look_for_input(socket: &impl AsFd) -> io::Result<()> {
    let mut wanted = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live entry, of a descriptor that is open (`AsFd`).
    match unsafe { libc::poll(&raw mut wanted, 1, 0) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

/// A timeout that several threads may read and set, in four bytes: 0 for none; microseconds; or, with the top bit
/// set, seconds. Rounded up.
pub(super) struct Timeout(AtomicU32);

const SECONDS: u32 = 1 << 31;

impl Timeout {
    fn none() -> Self {
        Self(AtomicU32::new(0))
    }

    pub(super) fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
        let word = match timeout {
            None => 0,
            Some(Duration::ZERO) => return Err(no_timeout()),
            Some(timeout) => match u32::try_from(timeout.as_nanos().div_ceil(1_000)) {
                Ok(micros) if micros < SECONDS => micros,
                // More than 68 years is as good as 68 years.
                _ => SECONDS | timeout.as_millis().div_ceil(1_000).min(u128::from(SECONDS - 1)) as u32,
            },
        };
        // Relaxed: the number stands for itself.
        self.0.store(word, Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    pub(super) fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            micros if micros < SECONDS => Some(Duration::from_micros(u64::from(micros))),
            seconds => Some(Duration::from_secs(u64::from(seconds & !SECONDS))),
        }
    }
}

/// Making a socket type from `std`'s and giving it up; handles.
macro_rules! socket_handles {
    ($type:ident, $std:ty) => {
        impl $type {
            /// Takes over a socket of `std`, which is made non-blocking.
            ///
            /// # Errors
            /// When that cannot be done.
            pub fn from_std(socket: $std) -> std::io::Result<Self> {
                socket.set_nonblocking(true)?;
                Ok(Self::from_nonblocking(socket))
            }

            pub(super) fn from_nonblocking(socket: $std) -> Self {
                Self { shared: $crate::net::socket::Shared::from_nonblocking(socket) }
            }

            /// Gives the socket up, still non-blocking. When other handles exist it is a duplicate of theirs.
            ///
            /// # Errors
            /// When it has to be duplicated and cannot be.
            pub fn into_std(self) -> std::io::Result<$std> {
                match std::sync::Arc::try_unwrap(self.shared) {
                    Ok(shared) => Ok(shared.io.into_inner()),
                    Err(shared) => shared.socket().try_clone(),
                }
            }

            /// Another handle to the same socket. It shares everything, timeouts and `close` included; unlike
            /// its namesake in `std` it costs no descriptor and never fails.
            pub fn try_clone(&self) -> std::io::Result<Self> {
                Ok(self.clone_handle())
            }

            pub(super) fn clone_handle(&self) -> Self {
                Self { shared: std::sync::Arc::clone(&self.shared) }
            }

            /// Takes the error the system holds for this socket (`SO_ERROR`), if any.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.shared.socket().take_error()
            }

            /// Whether `close` has been called.
            #[allow(dead_code, reason = "not every type's neighbours ask")]
            pub(super) fn is_closed(&self) -> bool {
                self.shared.io.is_closed()
            }
        }

        /// As `from_std`.
        impl TryFrom<$std> for $type {
            type Error = std::io::Error;

            fn try_from(socket: $std) -> std::io::Result<Self> {
                Self::from_std(socket)
            }
        }

        /// As `into_std`.
        impl TryFrom<$type> for $std {
            type Error = std::io::Error;

            fn try_from(socket: $type) -> std::io::Result<Self> {
                socket.into_std()
            }
        }

        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.shared.socket().as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.shared.socket().as_raw_fd()
            }
        }
    };
}
pub(super) use socket_handles;

/// Waiting for readiness, and the timeouts, of what carries data.
macro_rules! socket_waits {
    ($type:ident) => {
        impl $type {
            /// Waits until there is something to read, or the peer has ended. A future: `.wait()` or
            /// `.await`.
            ///
            /// Wait first and [borrow a buffer](crate::io::buffer()) afterwards, and a socket costs no buffer
            /// while it idles.
            pub fn readable(&self) -> $crate::io::Readable<'_> {
                self.shared.io.readable()
            }

            /// Waits until there is room to write. A future: `.wait()` or `.await`.
            pub fn writable(&self) -> $crate::io::Writable<'_> {
                self.shared.io.writable()
            }

            /// Sets how long a Go-style call that waits for input waits at most; `None`, the default: for
            /// ever. Futures know no timeout: put them under a timer. Takes effect with the next call, on
            /// every handle.
            ///
            /// A call that takes longer fails with [`TimedOut`](std::io::ErrorKind::TimedOut); nothing is
            /// lost.
            ///
            /// # Errors
            /// [`InvalidInput`](std::io::ErrorKind::InvalidInput) for a zero timeout.
            pub fn set_read_timeout(&self, timeout: Option<std::time::Duration>) -> std::io::Result<()> {
                self.shared.read_timeout.set(timeout)
            }

            /// As [`set_read_timeout`](Self::set_read_timeout), for calls that wait for room to write.
            ///
            /// # Errors
            /// [`InvalidInput`](std::io::ErrorKind::InvalidInput) for a zero timeout.
            pub fn set_write_timeout(&self, timeout: Option<std::time::Duration>) -> std::io::Result<()> {
                self.shared.write_timeout.set(timeout)
            }

            /// How long a Go-style call waits for input at most.
            pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.shared.read_timeout.get())
            }

            /// How long a Go-style call waits for room to write at most.
            pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.shared.write_timeout.get())
            }
        }
    };
}
pub(super) use socket_waits;

/// Peeking, of what carries data.
macro_rules! socket_peeks {
    ($type:ident) => {
        impl $type {
            /// Reads without taking: what is returned will be read again. Waits until there is something, for
            /// the read timeout at most. 0: the peer has ended its half (or has sent an empty datagram).
            ///
            /// # Blocking
            /// This coroutine; outside the scheduler, this thread.
            ///
            /// # Errors
            /// The system's; [`TimedOut`](std::io::ErrorKind::TimedOut) after the read timeout;
            /// [`NotConnected`](std::io::ErrorKind::NotConnected) once closed.
            #[track_caller]
            pub fn peek(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                // Peeking takes nothing, so a short peek does not mean that the socket is drained.
                self.shared.input(|socket| $crate::net::socket::peek(socket, buf))
            }

            /// The future form of [`peek`](Self::peek); it knows no timeout.
            ///
            /// # Cancel safety
            /// Dropped: *nothing happened*.
            ///
            /// # Errors
            /// Those of [`peek`](Self::peek).
            pub async fn peek_async(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.shared.io.read_with_async(|socket| $crate::net::socket::peek(socket, buf)).await
            }
        }
    };
}
pub(super) use socket_peeks;
