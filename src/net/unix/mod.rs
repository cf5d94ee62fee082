//! Sockets of one machine, named by paths (on Linux by abstract names, too) or not at all.
//!
//! # What the system does not announce
//! Two things are announced by no event, and are tried again by the clock, every 1 to 32 ms: room in the queue
//! of a listener that is slow to accept, for `connect`; and room in the queue of a receiver that a datagram
//! socket is not connected to, for `send_to`.

mod connect;
mod credentials;
mod datagram;
mod listener;
mod stream;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use socket2::SockAddr;

pub use connect::UnixConnect;
pub use credentials::PeerCredentials;
pub use datagram::UnixDatagram;
pub use listener::UnixListener;
pub use stream::UnixStream;

/// The first pause before trying again what no event announces, and the longest. Guesses.
const PAUSE_FIRST: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(32);

/// An address in the system's form.
fn to_system(address: &SocketAddr) -> io::Result<SockAddr> {
    match (address.as_pathname(), abstract_name(address)) {
        (Some(path), _) => SockAddr::unix(path),
        (None, Some(name)) => SockAddr::unix(OsStr::from_bytes(&[&[0], name].concat())),
        (None, None) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "an unnamed socket cannot be connected to"))
        }
    }
}

/// An address in `std`'s form.
fn from_system(address: &SockAddr) -> io::Result<SocketAddr> {
    match address.as_abstract_namespace() {
        Some(name) => from_abstract_name(name),
        // An empty path makes an unnamed address.
        None => SocketAddr::from_pathname(address.as_pathname().unwrap_or("".as_ref())),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_name(address: &SocketAddr) -> Option<&[u8]> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    address.as_abstract_name()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn from_abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_name(_address: &SocketAddr) -> Option<&[u8]> {
    None
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn from_abstract_name(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The address of a socket without a name: what an empty path makes.
fn unnamed() -> io::Result<SocketAddr> {
    SocketAddr::from_pathname("")
}
