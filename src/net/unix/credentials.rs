//! Who is at the other end.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Who was at the other end of a [`UnixStream`](super::UnixStream) when it was connected, by the system's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The process; `None` where the system does not tell. A number may have passed to another process since.
    pub pid: Option<u32>,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn of(socket: &impl AsFd) -> io::Result<PeerCredentials> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: an open descriptor (`AsFd`), and a buffer of the length given, of the type that SO_PEERCRED fills.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &mut length,
        )
    };
    match done {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(PeerCredentials {
            uid: found.uid,
            gid: found.gid,
            pid: u32::try_from(found.pid).ok().filter(|&pid| pid > 0),
        }),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn of(socket: &impl AsFd) -> io::Result<PeerCredentials> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: an open descriptor (`AsFd`) and two places to write to.
    match unsafe { libc::getpeereid(socket.as_fd().as_raw_fd(), &mut uid, &mut gid) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(PeerCredentials { uid, gid, pid: None }),
    }
}
