//! Receiving and sending without the C library's wrapper.
//!
//! In a process with several threads glibc's `recv` and `send` make themselves points of cancellation (`pthread_cancel`), which nobody here
//! uses: two atomic operations before the system call and after it, some 60 of the 490 ns that an echo took outside the kernel. The system
//! calls are the same that `std` makes.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// What `read` of a socket of `std` does.
#[inline]
pub(super) fn recv(socket: &impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let nobody = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the descriptor is open (`BorrowedFd`), the buffer is valid for writing as many bytes as are said, and no address is asked for.
    let n = unsafe { libc::syscall(libc::SYS_recvfrom, fd, buf.as_mut_ptr(), buf.len(), 0, nobody, nobody) };
    // Negative only when it failed.
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// What `write` of a socket of `std` does: no signal when the peer has gone.
#[inline]
pub(super) fn send(socket: &impl AsFd, buf: &[u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let (flags, nobody) = (libc::MSG_NOSIGNAL, std::ptr::null::<libc::c_void>());
    // SAFETY: the descriptor is open (`BorrowedFd`), the buffer is valid for reading as many bytes as are said, and no address is given.
    let n = unsafe { libc::syscall(libc::SYS_sendto, fd, buf.as_ptr(), buf.len(), flags, nobody, 0_usize) };
    // As above.
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}
