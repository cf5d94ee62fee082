//! UDP sockets.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::vec;

use super::ToSocketAddrs;
use super::address::no_address;
use super::datagram::datagrams;
use super::socket::{Shared, socket_handles, socket_peeks, socket_waits};
use crate::reactor::Direction;
use crate::wait::block_on;

/// A UDP socket, shaped like [`std::net::UdpSocket`].
///
/// What waits has three forms: `recv_from` suspends the calling coroutine (outside the scheduler it blocks the
/// thread), `recv_from_async` is a future, `try_recv_from` never waits. Any number of tasks and threads may
/// send and receive on one socket; each datagram goes to one of them.
///
/// # Examples
/// ```
/// use aqueduct::net::UdpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// let server = UdpSocket::bind("127.0.0.1:0")?;
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"ping", server.local_addr()?)?;
///
/// let mut buffer = [0; 64];
/// let (n, peer) = server.recv_from(&mut buffer)?;
/// assert_eq!((&buffer[..n], peer), (&b"ping"[..], client.local_addr()?));
/// # Ok(())
/// # }
/// ```
/// ```
/// use aqueduct::{Wait, net::UdpSocket};
///
/// # fn main() -> std::io::Result<()> {
/// async {
///     let server = UdpSocket::bind_async("127.0.0.1:0").await?;
///     let client = UdpSocket::bind_async("127.0.0.1:0").await?;
///     client.connect_async(server.local_addr()?).await?;
///     client.send_async(b"ping").await?;
///     let mut buffer = [0; 64];
///     assert_eq!(server.recv_async(&mut buffer).await?, 4);
///     std::io::Result::Ok(())
/// }
/// .wait()
/// # }
/// ```
pub struct UdpSocket {
    shared: Arc<Shared<std::net::UdpSocket>>,
}

socket_handles!(UdpSocket, std::net::UdpSocket);
socket_waits!(UdpSocket);
socket_peeks!(UdpSocket);
datagrams!(UdpSocket, SocketAddr);

impl UdpSocket {
    /// Binds to the first of the addresses that can be had; port 0 lets the system choose. Waits only when a
    /// name has to be looked up.
    ///
    /// # Errors
    /// The last address's, when none can be had; the resolver's; [`io::ErrorKind::InvalidInput`] when there
    /// is no address.
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(address: A) -> io::Result<Self> {
        Self::bind_first(block_on(address.addresses().resolve())?)
    }

    /// The future form of [`bind`](UdpSocket::bind), for names that have to be looked up.
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    ///
    /// # Errors
    /// Those of [`bind`](UdpSocket::bind).
    pub async fn bind_async<A: ToSocketAddrs>(address: A) -> io::Result<Self> {
        let addresses = address.addresses().resolve();
        drop(address);
        Self::bind_first(addresses.await?)
    }

    fn bind_first(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<Self> {
        Self::from_std(first_ok(addresses, std::net::UdpSocket::bind)?)
    }

    /// Makes the first of the addresses that can be had the peer: [`send`](UdpSocket::send) sends there, and
    /// what others send is dropped. Waits only when a name has to be looked up; nothing is sent.
    ///
    /// # Errors
    /// As [`bind`](UdpSocket::bind).
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(&self, address: A) -> io::Result<()> {
        self.connect_first(block_on(address.addresses().resolve())?)
    }

    /// The future form of [`connect`](UdpSocket::connect), for names that have to be looked up.
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    ///
    /// # Errors
    /// As [`bind`](UdpSocket::bind).
    pub async fn connect_async<A: ToSocketAddrs>(&self, address: A) -> io::Result<()> {
        let addresses = address.addresses().resolve();
        drop(address);
        self.connect_first(addresses.await?)
    }

    fn connect_first(&self, addresses: impl Iterator<Item = SocketAddr>) -> io::Result<()> {
        first_ok(addresses, |address| self.shared.socket().connect(address))
    }

    /// Sends a datagram to `target`, waiting for room. Returns its length.
    ///
    /// A name is looked up first; of its addresses the first of the socket's own family is taken. That is done for each
    /// datagram: who sends many looks it up once, with [`lookup_host`](super::lookup_host), or connects.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread; for the write timeout at most, and the time of a look-up.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened*.
    ///
    /// # Errors
    /// The system's, of a datagram that is too large or an address that cannot be reached; the resolver's;
    /// [`io::ErrorKind::InvalidInput`] when there is no address; [`io::ErrorKind::TimedOut`] after the write timeout;
    /// [`io::ErrorKind::NotConnected`] once closed.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = UdpSocket::bind("127.0.0.1:0")?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"ping", ("localhost", server.local_addr()?.port()))?;
    /// assert_eq!(server.recv_from(&mut [0; 4])?, (4, client.local_addr()?));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], target: A) -> io::Result<usize> {
        let target = match target.known() {
            Some(address) => address,
            None => self.target(block_on(target.addresses().resolve())?)?,
        };
        self.shared.output(|socket| socket.send_to(buf, target))
    }

    /// The future form of [`send_to`](UdpSocket::send_to); it knows no timeout.
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    ///
    /// # Errors
    /// Those of [`send_to`](UdpSocket::send_to).
    pub async fn send_to_async<A: ToSocketAddrs>(&self, buf: &[u8], target: A) -> io::Result<usize> {
        let known = target.known().ok_or_else(|| target.addresses().resolve());
        drop(target);
        let target = match known {
            Ok(address) => address,
            Err(looked_up) => self.target(looked_up.await?)?,
        };
        self.shared.io.write_with_async(|socket| socket.send_to(buf, target)).await
    }

    /// Which of a name's addresses a datagram goes to.
    fn target(&self, mut addresses: vec::IntoIter<SocketAddr>) -> io::Result<SocketAddr> {
        let local = self.local_addr()?;
        let reachable = addresses.as_slice().iter().position(|address| address.is_ipv4() == local.is_ipv4());
        addresses.nth(reachable.unwrap_or(0)).ok_or_else(no_address)
    }

    /// Sends a datagram to `target` if there is room. Never waits.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none; else those of [`send_to`](UdpSocket::send_to).
    pub fn try_send_to(&self, buf: &[u8], target: impl Into<SocketAddr>) -> io::Result<usize> {
        let target = target.into();
        self.shared.attempt(Direction::Write, |socket| socket.send_to(buf, target))
    }

    /// As [`recv_from`](UdpSocket::recv_from), but leaves the datagram there.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread; for the read timeout at most.
    ///
    /// # Errors
    /// Those of [`recv_from`](UdpSocket::recv_from).
    #[track_caller]
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.shared.input(|socket| socket.peek_from(buf))
    }

    /// The future form of [`peek_from`](UdpSocket::peek_from); it knows no timeout.
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    ///
    /// # Errors
    /// Those of [`recv_from`](UdpSocket::recv_from).
    pub async fn peek_from_async(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.shared.io.read_with_async(|socket| socket.peek_from(buf)).await
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().local_addr()
    }

    /// The address it is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().peer_addr()
    }

    /// Sets `SO_BROADCAST`: whether datagrams may go to broadcast addresses.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.shared.socket().set_broadcast(broadcast)
    }

    /// The value of `SO_BROADCAST`.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.shared.socket().broadcast()
    }

    /// Sets `IP_TTL`: how many hops a packet may take.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.shared.socket().set_ttl(ttl)
    }

    /// The value of `IP_TTL`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.shared.socket().ttl()
    }

    /// Sets `IP_MULTICAST_LOOP`: whether multicast datagrams sent here are received here, too.
    pub fn set_multicast_loop_v4(&self, looped: bool) -> io::Result<()> {
        self.shared.socket().set_multicast_loop_v4(looped)
    }

    /// Sets `IPV6_MULTICAST_LOOP`: whether multicast datagrams sent here are received here, too.
    pub fn set_multicast_loop_v6(&self, looped: bool) -> io::Result<()> {
        self.shared.socket().set_multicast_loop_v6(looped)
    }

    /// Sets `IP_MULTICAST_TTL`: how many hops a multicast datagram may take.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.shared.socket().set_multicast_ttl_v4(ttl)
    }

    /// Joins a multicast group on the interface of this address (unspecified: the system chooses).
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.shared.socket().join_multicast_v4(&group, &interface)
    }

    /// Leaves a group that was [joined](UdpSocket::join_multicast_v4).
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.shared.socket().leave_multicast_v4(&group, &interface)
    }

    /// Joins a multicast group on the interface of this index (0: the system chooses).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.shared.socket().join_multicast_v6(group, interface)
    }

    /// Leaves a group that was [joined](UdpSocket::join_multicast_v6).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.shared.socket().leave_multicast_v6(group, interface)
    }
}

/// The first success, else the last error.
fn first_ok<R>(
    addresses: impl Iterator<Item = SocketAddr>,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<R>,
) -> io::Result<R> {
    let mut last_error = None;
    for address in addresses {
        match attempt(address) {
            Ok(done) => return Ok(done),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.unwrap_or_else(no_address))
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UdpSocket");
        if let Ok(local) = self.local_addr() {
            debug.field("local", &local);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.as_raw_fd()).field("closed", &self.is_closed()).finish()
    }
}
