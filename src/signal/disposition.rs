//! What the system does with a signal.
//!
//! # Unsafe
//! `sigaction` to read, and to set a flag in what it has read; `kill`.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;

use super::Signal;

/// What a signal did before anybody subscribed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    Default,
    Ignored,
    /// A handler of somebody else's, which goes on being called.
    Handled,
}

pub(super) fn current(signal: Signal) -> io::Result<Disposition> {
    Ok(match action(signal)?.sa_sigaction {
        libc::SIG_DFL => Disposition::Default,
        libc::SIG_IGN => Disposition::Ignored,
        _ => Disposition::Handled,
    })
}

/// Has the signal's handler run on the thread's alternate stack, where it has one, as the workers have: the
/// coroutine that it interrupts may be near the end of its own.
pub(super) fn use_alternate_stack(signal: Signal) -> io::Result<()> {
    let mut action = action(signal)?;
    action.sa_flags |= libc::SA_ONSTACK;
    // SAFETY: what the system has just told us, and a flag that every handler can live with: the stack is as large
    // as the system wants it to be (`SIGSTKSZ` or more; the workers', see `coroutine::alternate_stack`, 64 KiB).
    check(unsafe { libc::sigaction(signal.as_raw(), &raw const action, std::ptr::null_mut()) })
}

fn action(signal: Signal) -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: changes nothing (null), and writes to the place that it is given.
    check(unsafe { libc::sigaction(signal.as_raw(), std::ptr::null(), action.as_mut_ptr()) })?;
    // SAFETY: written by the call that succeeded.
    Ok(unsafe { action.assume_init() })
}

/// Sends a signal. That the number still is the process that is meant is the caller's to know.
pub(crate) fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: touches no memory of ours.
    check(unsafe { libc::kill(pid, signal.as_raw()) })
}

fn check(result: c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
