//! Waiting for a child to end.
//!
//! # Invariants
//! - `not-reaped-yet`: nobody but [`wait`] reaps a child of ours, through the `&mut` of its owner; so until then
//!   its number names it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};

use crate::channel::Receiver;
use crate::io::Io;
use crate::signal::{self, SIGCHLD, Signal};

/// What tells that a child may have ended.
#[derive(Debug)]
pub(super) enum Exit {
    /// A descriptor that can be read from then on.
    Descriptor(Io<OwnedFd>),
    /// A signal that says that some child has.
    Signal(Receiver<Signal>),
}

/// Waits until the child has ended, and reaps it. What was used to wait stays in `exit`, for the next time.
///
/// Dropped, nothing has happened.
pub(super) async fn wait(child: &mut Child, exit: &mut Option<Exit>) -> io::Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    let exit = match exit {
        Some(exit) => exit,
        none => none.insert(Exit::of(child.id())?),
    };
    match exit {
        Exit::Descriptor(pidfd) => {
            pidfd.read_with_async(|_| child.try_wait()?.ok_or_else(|| io::ErrorKind::WouldBlock.into())).await
        }
        Exit::Signal(signals) => loop {
            // Subscribed before: a child that ends after this look leaves a signal in the channel.
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if signals.recv_async().await.is_err() {
                return Err(io::Error::other("the channel of signals was closed"));
            }
        },
    }
}

impl Exit {
    /// For a child that is `not-reaped-yet`.
    fn of(pid: u32) -> io::Result<Self> {
        match pidfd(pid) {
            Some(pidfd) => Ok(Self::Descriptor(Io::from_nonblocking(pidfd))),
            None => signal::notify(&[SIGCHLD]).map(Self::Signal),
        }
    }
}

/// A descriptor for the process; `None` where the system has none (or no more) to give. With the portable poller
/// the portable way of waiting is used as well, so that it is tested.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(aqueduct_portable_poller)))]
fn pidfd(pid: u32) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    let pid = libc::pid_t::try_from(pid).ok()?;
    // SAFETY: takes two numbers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0)?;
    // SAFETY: just opened (with close-on-exec set), and nobody else knows it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(aqueduct_portable_poller))))]
fn pidfd(_pid: u32) -> Option<OwnedFd> {
    None
}
