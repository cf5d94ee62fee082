//! One TCP connection: what it is made of, its options, and its life.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;

use super::connect::{self, Connect};
use super::{ToSocketAddrs, no_timeout};
use crate::io::waiting::{perform, wait_for};
use crate::io::{Readable, Writable};
use crate::reactor::{Direction, Source};
use crate::wait::block_on;

/// A TCP connection, shaped like [`std::net::TcpStream`].
///
/// Reading and writing, through [`std::io::Read`] and [`Write`](std::io::Write), suspend the calling
/// coroutine until they can be done (outside the scheduler they block the thread); [`futures::io::AsyncRead`]
/// and [`AsyncWrite`](futures::io::AsyncWrite) are the same as futures. Both pairs are implemented for
/// `TcpStream` and for `&TcpStream`, so one task may read while another writes;
/// [`try_clone`](TcpStream::try_clone) gives each a handle of its own. Several readers at once are allowed
/// and take the bytes in turn.
///
/// The connection ends when the last handle is dropped; [`close`](TcpStream::close) ends it while others
/// still wait on it.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use aqueduct::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
/// client.write_all(b"over")?;
/// client.shutdown(std::net::Shutdown::Write)?;
/// let mut text = String::new();
/// server.read_to_string(&mut text)?;
/// assert_eq!(text, "over");
/// # Ok(())
/// # }
/// ```
/// ```
/// use aqueduct::{Wait, net::{TcpListener, TcpStream}};
/// use futures::io::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> std::io::Result<()> {
/// async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect_async(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept_async().await?;
///     client.write_all(b"over").await?;
///     AsyncWriteExt::close(&mut client).await?; // ends the sending half
///     let mut text = String::new();
///     server.read_to_string(&mut text).await?;
///     assert_eq!(text, "over");
///     std::io::Result::Ok(())
/// }
/// .wait()
/// # }
/// ```
pub struct TcpStream {
    pub(super) shared: Arc<Shared>,
}

/// What the handles of one connection share.
pub(super) struct Shared {
    // Declared before the socket, so that the poller forgets the descriptor before it is closed.
    pub(super) source: Source,
    pub(super) socket: std::net::TcpStream,
    pub(super) read_timeout: Timeout,
    pub(super) write_timeout: Timeout,
    /// A read returned 0: the peer has ended its half.
    at_end: AtomicBool,
}

impl TcpStream {
    /// Connects to the first of the addresses that answers. A name is looked up by the system's resolver, on
    /// the pool of [`blocking`](crate::blocking()).
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// The last address's, when all fail; the resolver's; [`io::ErrorKind::InvalidInput`] when there is no
    /// address.
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(address: A) -> io::Result<Self> {
        block_on(Self::connect_async(address))
    }

    /// The future form of [`connect`](TcpStream::connect). It starts when first polled, except that the
    /// lookup of a name starts at once.
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*, but that the peer may see a connection open and close.
    pub fn connect_async<A: ToSocketAddrs>(address: A) -> Connect {
        Connect::new(address.addresses())
    }

    /// As [`connect`](TcpStream::connect) to one address, for `timeout` at most. In async code, put
    /// [`connect_async`](TcpStream::connect_async) under a timer instead.
    ///
    /// # Errors
    /// As `connect`; [`io::ErrorKind::TimedOut`]; [`io::ErrorKind::InvalidInput`] for a zero timeout.
    #[track_caller]
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<Self> {
        if timeout.is_zero() {
            return Err(no_timeout());
        }
        let mut connect = Self::connect_async(address);
        wait_for(Some(timeout), |cx| Pin::new(&mut connect).poll(cx))
    }

    /// Takes over a socket, which is made non-blocking.
    pub fn from_std(socket: std::net::TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::from_nonblocking(socket))
    }

    pub(super) fn from_nonblocking(socket: std::net::TcpStream) -> Self {
        // SAFETY: `Shared` owns the socket, lends it only shared (`std::net::TcpStream` cannot be closed or
        // replaced through a shared reference), and drops the source first (`source-before-descriptor`).
        let source = unsafe { Source::new(socket.as_raw_fd()) };
        let (read_timeout, write_timeout) = (Timeout::none(), Timeout::none());
        let at_end = AtomicBool::new(false);
        Self { shared: Arc::new(Shared { source, socket, read_timeout, write_timeout, at_end }) }
    }

    /// Gives the socket up, still non-blocking. When other handles exist it is a duplicate of theirs.
    ///
    /// # Errors
    /// When it has to be duplicated and cannot be.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        match Arc::try_unwrap(self.shared) {
            Ok(Shared { source, socket, .. }) => {
                drop(source);
                Ok(socket)
            }
            Err(shared) => shared.socket.try_clone(),
        }
    }

    /// Another handle to the same connection. It shares everything, timeouts and [`close`](TcpStream::close)
    /// included; unlike its namesake in `std` it costs no descriptor and never fails.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone_handle())
    }

    pub(super) fn clone_handle(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }

    /// The address of this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// The address of the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.peer_addr()
    }

    /// Waits until there is something to read, or the peer has ended. A future: `.wait()` or `.await`.
    ///
    /// Wait first and [borrow a buffer](crate::io::buffer()) afterwards, and a connection costs no buffer
    /// while it idles.
    pub fn readable(&self) -> Readable<'_> {
        Readable::new(&self.shared.source)
    }

    /// Waits until there is room to write. A future: `.wait()` or `.await`.
    pub fn writable(&self) -> Writable<'_> {
        Writable::new(&self.shared.source)
    }

    /// Reads without taking: what is returned will be read again. Waits until there is something, for the
    /// read timeout at most. 0: the peer has ended its half.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let shared = &*self.shared;
        perform(&shared.source, Direction::Read, shared.read_timeout.get(), || shared.socket.peek(buf))
    }

    /// The future form of [`peek`](TcpStream::peek); it knows no timeout.
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    pub fn peek_async<'a>(&'a self, buf: &'a mut [u8]) -> Peek<'a> {
        Peek { stream: self, buf }
    }

    /// Ends one or both halves. `Write` tells the peer that no more will come; `Read` makes present and later
    /// reads here return 0 once what has arrived is read.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shared.socket.shutdown(how)
    }

    /// Closes the connection, as Go's `Close`: the peer sees its end, and every wait on any handle, present
    /// or later, ends with [`io::ErrorKind::NotConnected`]. The descriptor itself is released when the last
    /// handle is dropped. Never waits.
    ///
    /// Not to be confused with the future `AsyncWriteExt::close(&mut stream)`, which ends the sending half
    /// only.
    pub fn close(&self) {
        self.shared.source.close();
        // Fails when the peer has already gone, which is as good.
        let _ = self.shared.socket.shutdown(Shutdown::Both);
    }

    /// Sets how long a Go-style read or peek waits at most; `None`, the default: for ever. Async reads know
    /// no timeout: put them under a timer. Takes effect with the next call, on every handle.
    ///
    /// A read that takes longer fails with [`io::ErrorKind::TimedOut`]; nothing is lost.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a zero timeout.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.read_timeout.set(timeout)
    }

    /// As [`set_read_timeout`](TcpStream::set_read_timeout), for writes.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a zero timeout.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.write_timeout.set(timeout)
    }

    /// How long a Go-style read waits at most.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.shared.read_timeout.get())
    }

    /// How long a Go-style write waits at most.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.shared.write_timeout.get())
    }

    /// Sets `TCP_NODELAY`: whether small writes are sent at once rather than gathered.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.shared.socket.set_nodelay(nodelay)
    }

    /// The value of `TCP_NODELAY`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.shared.socket.nodelay()
    }

    /// Sets `IP_TTL`: how many hops a packet may take.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.shared.socket.set_ttl(ttl)
    }

    /// The value of `IP_TTL`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.shared.socket.ttl()
    }

    /// Sets `SO_LINGER`: what becomes of unsent data when the connection is closed. `None`, the default: sent
    /// in the background. Zero: discarded, and the peer sees a reset. Longer: the last handle's drop blocks
    /// its *thread* that long at most; do that on the pool of [`blocking`](crate::blocking()).
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(&self.shared.socket).set_linger(linger)
    }

    /// The value of `SO_LINGER`.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(&self.shared.socket).linger()
    }

    /// Takes the error the system holds for this socket (`SO_ERROR`), if any.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.shared.socket.take_error()
    }

    /// Whether [`close`](TcpStream::close) has been called.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.source.is_closed()
    }

    /// Whether a read has returned 0: the peer has ended its half.
    pub(super) fn at_end(&self) -> bool {
        self.shared.at_end.load(Ordering::Relaxed)
    }

    /// Waits for input, or the peer's end, without reading.
    pub(super) fn poll_input(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.source.poll_ready(Direction::Read, cx)
    }

    /// As [`poll_input`](Self::poll_input), and makes sure of it: readiness may be left over from an earlier
    /// read.
    pub(super) fn poll_input_surely(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = &*self.shared;
        shared.source.poll_io(Direction::Read, cx, || shared.socket.peek(&mut [0])).map_ok(drop)
    }

    /// Whether an event, or nothing yet, says that there may be input.
    pub(super) fn seems_readable(&self) -> bool {
        self.shared.source.try_io(Direction::Read, || Ok(())).is_ok()
    }

    /// Whether something has arrived that has not been read.
    pub(super) fn has_input(&self) -> bool {
        matches!(self.shared.socket.peek(&mut [0]), Ok(1..))
    }

    pub(super) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.source.poll_io(Direction::Write, cx, || connect::outcome(&self.shared.socket))
    }
}

impl Shared {
    /// Notes the end of the peer's half when a read that wanted something got nothing.
    pub(super) fn note_end(&self, wanted: usize, read: usize) {
        if read == 0 && wanted > 0 {
            // Relaxed: only says that a read happened; nothing is published with it.
            self.at_end.store(true, Ordering::Relaxed);
        }
    }
}

/// The future of [`TcpStream::peek_async`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited, or waited for with `.wait()`"]
pub struct Peek<'a> {
    stream: &'a TcpStream,
    buf: &'a mut [u8],
}

impl Future for Peek<'_> {
    type Output = io::Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let shared = &*this.stream.shared;
        // Peeking takes nothing, so a short peek does not mean that the socket is drained: `poll_io`, not
        // `poll_transfer`.
        shared.source.poll_io(Direction::Read, cx, || shared.socket.peek(this.buf))
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

    fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
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

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.socket.as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.socket.as_raw_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(local) = self.local_addr() {
            debug.field("local", &local);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.as_raw_fd()).field("closed", &self.shared.source.is_closed()).finish()
    }
}
