//! Receiving and sending without the C library.
//!
//! In a process with several threads glibc's `recv` and `send` make themselves points of cancellation (`pthread_cancel`), which nobody here
//! uses: two atomic operations before the system call and after it, some 60 of the 490 ns that an echo took outside the kernel. Its `syscall`
//! shuffles the arguments of any call in memory and registers; here each is put where it belongs. The system calls are the same that `std`
//! makes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// What `read` of a socket of `std` does.
#[inline]
pub(super) fn recv(socket: &impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open (`BorrowedFd`), the buffer is valid for writing as many bytes as are said, and no address is asked for.
    unsafe { transfer(libc::SYS_recvfrom, fd, buf.as_mut_ptr(), buf.len(), 0) }
}

/// What `write` of a socket of `std` does: no signal when the peer has gone.
#[inline]
pub(super) fn send(socket: &impl AsFd, buf: &[u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open (`BorrowedFd`), the buffer is valid for reading as many bytes as are said, and no address is given.
    unsafe { transfer(libc::SYS_sendto, fd, buf.as_ptr(), buf.len(), libc::MSG_NOSIGNAL) }
}

/// `recvfrom` or `sendto` without an address.
///
/// # Safety
/// The descriptor is open, and the buffer is valid for what the call does with it.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn transfer(call: i64, fd: RawFd, bytes: *const u8, len: usize, flags: i32) -> io::Result<usize> {
    let result: isize;
    // SAFETY: the caller's promise. The kernel changes the buffer, the result, `rcx`, `r11` and the flags.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") call => result,
            in("rdi") i64::from(fd),
            in("rsi") bytes,
            in("rdx") len,
            in("r10") i64::from(flags),
            in("r8") 0_usize,
            in("r9") 0_usize,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // Negative only when it failed: the number of the error.
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result as i32))
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
unsafe fn transfer(call: i64, fd: RawFd, bytes: *const u8, len: usize, flags: i32) -> io::Result<usize> {
    let nobody = std::ptr::null::<u8>();
    // SAFETY: the caller's promise.
    let n = unsafe { libc::syscall(call, fd, bytes, len, flags, nobody, nobody) };
    // Negative only when it failed.
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}
