//! Connecting: the addresses one after the other, each without blocking.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use socket2::{Domain, Protocol, Socket, Type};

use super::TcpStream;
use super::address::{Addresses, Resolve, no_address};

/// The future of [`TcpStream::connect_async`].
#[must_use = "futures do nothing unless awaited, or waited for with `.wait()`"]
pub struct Connect {
    state: State,
    last_error: Option<io::Error>,
}

enum State {
    Resolving(Resolve),
    /// Connecting to one address, `None` between two; the others follow.
    Trying(Option<TcpStream>, vec::IntoIter<SocketAddr>),
}

impl Connect {
    pub(super) fn new(addresses: Addresses) -> Self {
        Self { state: State::Resolving(addresses.resolve()), last_error: None }
    }
}

impl Future for Connect {
    type Output = io::Result<TcpStream>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Resolving(resolve) => {
                    let addresses = ready!(Pin::new(resolve).poll(cx))?;
                    this.state = State::Trying(None, addresses);
                }
                State::Trying(Some(stream), rest) => {
                    let connected = ready!(stream.poll_connected(cx));
                    let rest = std::mem::take(rest);
                    let State::Trying(Some(stream), _) =
                        std::mem::replace(&mut this.state, State::Trying(None, rest))
                    else {
                        unreachable!("the state was matched above");
                    };
                    match connected {
                        Ok(()) => return Poll::Ready(Ok(stream)),
                        Err(error) => this.last_error = Some(error),
                    }
                }
                State::Trying(attempt, rest) => match rest.next().map(start) {
                    Some(Ok(stream)) => *attempt = Some(stream),
                    Some(Err(error)) => this.last_error = Some(error),
                    None => return Poll::Ready(Err(this.last_error.take().unwrap_or_else(no_address))),
                },
            }
        }
    }
}

/// Starts connecting to one address.
fn start(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = nonblocking_socket(address)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        // Interrupted, a connection attempt goes on by itself.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_nonblocking(socket.into()))
}

/// What has become of a connection attempt: `WouldBlock` while it goes on.
pub(super) fn outcome(socket: &std::net::TcpStream) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(peer) if socket.local_addr().is_ok_and(|local| local == peer) => Err(connected_to_itself()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error),
    }
}

/// TCP lets a socket connect to itself when nobody listens at an address and the system happens to give the
/// connecting socket that very port. Nobody was there: that is a refusal.
fn connected_to_itself() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNREFUSED)
}

/// A TCP socket of the address's family, non-blocking and closed on exec.
pub(super) fn nonblocking_socket(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
    return Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP));
    #[cfg(not(any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_os = "netbsd"
    )))]
    {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Resolving(_) => "resolving",
            State::Trying(..) => "connecting",
        };
        f.debug_struct("Connect").field("state", &state).field("last_error", &self.last_error).finish()
    }
}
