//! Addresses, and the names that have to be looked up first.
#![forbid(unsafe_code)]

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use crate::blocking::{Blocking, blocking};

/// What [`TcpListener::bind`](super::TcpListener::bind), [`TcpStream::connect`](super::TcpStream::connect) and
/// [`UdpSocket::send_to`](super::UdpSocket::send_to) take: the types for which [`std::net::ToSocketAddrs`] is implemented, and what a [`SocketAddr`] is made
/// from, `([127, 0, 0, 1], 80)`.
///
/// A name that is not a numeric address is looked up by the system's resolver on the pool of
/// [`blocking`](crate::blocking()), so that no worker waits for it. The trait is sealed: a foreign
/// implementation would have to be called on the worker.
pub trait ToSocketAddrs: sealed::Target {}

impl<T: sealed::Target + ?Sized> ToSocketAddrs for T {}

/// Looks a name up: the addresses of `host:port`, in the resolver's order. What is numeric already is returned
/// as it is, without waiting.
///
/// # Blocking
/// This coroutine; outside the scheduler, this thread. The resolver itself runs on the pool of
/// [`blocking`](crate::blocking()).
///
/// # Errors
/// The resolver's; [`io::ErrorKind::InvalidInput`] for what is no address.
///
/// # Examples
/// ```
/// let addresses: Vec<_> = aqueduct::net::lookup_host("127.0.0.1:80")?.collect();
/// assert_eq!(addresses, ["127.0.0.1:80".parse().unwrap()]);
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn lookup_host<A: ToSocketAddrs>(name: A) -> io::Result<vec::IntoIter<SocketAddr>> {
    crate::block_on(name.addresses().resolve())
}

/// The future form of [`lookup_host`].
///
/// # Cancel safety
/// Dropped: *nothing happened*.
///
/// # Errors
/// As [`lookup_host`].
pub async fn lookup_host_async<A: ToSocketAddrs>(name: A) -> io::Result<vec::IntoIter<SocketAddr>> {
    let addresses = name.addresses().resolve();
    drop(name);
    addresses.await
}

/// Where to connect or bind to.
#[derive(Debug)]
pub enum Addresses {
    /// At hand.
    Known(Vec<SocketAddr>),
    /// To be looked up.
    Name(String, u16),
    /// Not an address at all.
    Invalid(io::Error),
}

impl Addresses {
    /// The future of the addresses themselves.
    pub(super) fn resolve(self) -> Resolve {
        match self {
            Self::Known(addresses) => Resolve::Done(Some(Ok(addresses.into_iter()))),
            Self::Invalid(error) => Resolve::Done(Some(Err(error))),
            Self::Name(host, port) => Resolve::Looking(blocking(move || {
                (host.as_str(), port).to_socket_addrs().map(Iterator::collect)
            })),
        }
    }

    fn of_host(host: &str, port: u16) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => Self::Known(vec![SocketAddr::new(ip, port)]),
            Err(_) => Self::Name(host.to_owned(), port),
        }
    }
}

/// Addresses on their way.
#[derive(Debug)]
pub(super) enum Resolve {
    Done(Option<io::Result<vec::IntoIter<SocketAddr>>>),
    Looking(Blocking<io::Result<Vec<SocketAddr>>>),
}

impl Future for Resolve {
    type Output = io::Result<vec::IntoIter<SocketAddr>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Done(result) => Poll::Ready(result.take().expect("polled after it was ready")),
            Self::Looking(lookup) => Pin::new(lookup).poll(cx).map_ok(Vec::into_iter),
        }
    }
}

mod sealed {
    use super::*;

    pub trait Target {
        #[doc(hidden)]
        fn addresses(&self) -> Addresses;

        /// The one address that it is, without an allocation. `None`: see `addresses`.
        #[doc(hidden)]
        fn known(&self) -> Option<SocketAddr> {
            None
        }
    }

    impl<T: Target + ?Sized> Target for &T {
        fn addresses(&self) -> Addresses {
            (**self).addresses()
        }

        fn known(&self) -> Option<SocketAddr> {
            (**self).known()
        }
    }

    impl Target for str {
        fn known(&self) -> Option<SocketAddr> {
            self.parse().ok()
        }

        fn addresses(&self) -> Addresses {
            if let Ok(address) = self.parse() {
                return Addresses::Known(vec![address]);
            }
            let host_and_port =
                self.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
            match host_and_port {
                Some((host, port)) => Addresses::of_host(host, port),
                None => Addresses::Invalid(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "invalid address: host:port expected",
                )),
            }
        }
    }

    impl Target for String {
        fn addresses(&self) -> Addresses {
            self.as_str().addresses()
        }

        fn known(&self) -> Option<SocketAddr> {
            self.as_str().known()
        }
    }

    impl Target for (&str, u16) {
        fn addresses(&self) -> Addresses {
            Addresses::of_host(self.0, self.1)
        }
    }

    impl Target for (String, u16) {
        fn addresses(&self) -> Addresses {
            Addresses::of_host(&self.0, self.1)
        }
    }

    impl Target for [SocketAddr] {
        fn addresses(&self) -> Addresses {
            Addresses::Known(self.to_vec())
        }
    }

    impl<const N: usize> Target for [SocketAddr; N] {
        fn addresses(&self) -> Addresses {
            Addresses::Known(self.to_vec())
        }
    }

    macro_rules! numeric {
        ($($type:ty),*) => {$(
            impl Target for $type {
                fn addresses(&self) -> Addresses {
                    Addresses::Known(vec![(*self).into()])
                }

                fn known(&self) -> Option<SocketAddr> {
                    Some((*self).into())
                }
            }
        )*};
    }
    numeric!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));
    numeric!(([u8; 4], u16), ([u8; 16], u16), ([u16; 8], u16));
}

/// The error of an operation that had no address to try.
pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any address")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealed::Target;

    #[test]
    fn numeric_addresses_need_no_lookup() {
        assert!(matches!("127.0.0.1:80".addresses(), Addresses::Known(a) if a[0].port() == 80));
        assert!(matches!("[::1]:80".addresses(), Addresses::Known(a) if a[0].is_ipv6()));
        assert!(matches!(("::1", 80).addresses(), Addresses::Known(a) if a[0].is_ipv6()));
    }

    #[test]
    fn names_are_looked_up_and_nonsense_is_refused() {
        assert!(matches!("localhost:80".addresses(), Addresses::Name(host, 80) if host == "localhost"));
        assert!(matches!("localhost".addresses(), Addresses::Invalid(_)));
        assert!(matches!("localhost:http".addresses(), Addresses::Invalid(_)));
    }
}
