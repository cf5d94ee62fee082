//! The one tokio runtime behind the context, on a thread of its own.

use std::future::pending;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use tokio::runtime::{Builder, Handle};

static HANDLE: OnceLock<Handle> = OnceLock::new();

/// The handle of the background runtime, which is started if this is the first need of it.
///
/// For `Handle::spawn`, or for crates that take a handle. Its `block_on` blocks the thread: `.in_tokio().wait()` does not.
///
/// # Panics
/// When the runtime cannot be started; see [`try_handle`].
///
/// # Examples
/// ```
/// use aqueduct::Wait;
///
/// let answer = aqueduct_compat::tokio::handle().spawn(async { 42 });
/// assert_eq!(answer.wait().unwrap(), 42);
/// ```
#[must_use]
pub fn handle() -> &'static Handle {
    match try_handle() {
        Ok(handle) => handle,
        Err(error) => panic!("tokio's background runtime cannot be started: {error}"),
    }
}

/// As [`handle`], without the panic.
///
/// # Errors
/// When the system refuses a descriptor or the thread. The next call tries again.
pub fn try_handle() -> io::Result<&'static Handle> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    // Not waited under: `start` only makes system calls.
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    match HANDLE.get() {
        Some(handle) => Ok(handle),
        None => start().map(|handle| HANDLE.get_or_init(|| handle)),
    }
}

fn start() -> io::Result<Handle> {
    let runtime =
        Builder::new_current_thread().enable_all().thread_name("aqueduct-tokio-blocking").build()?;
    let handle = runtime.handle().clone();
    // Never joined: it serves until the process ends.
    thread::Builder::new().name("aqueduct-tokio".into()).spawn(move || runtime.block_on(pending::<()>()))?;
    Ok(handle)
}
