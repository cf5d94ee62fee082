//! A time limit for blocking code over a socket: when it passes, the socket is closed, which ends every wait on it.
//!
//! # Protocol
//! The watcher is a task that sleeps and then closes. Whoever runs the code cancels it at the end, and joins it: so it closes
//! nothing later, and whether it has closed is known, for a completed task cannot be cancelled.

use std::io;
use std::time::Duration;

use aqueduct::net::TcpStream;
use aqueduct::{JoinHandle, time};
use tungstenite::Error;

/// Runs `f`, which uses `tcp`, for `limit` at most.
#[track_caller]
pub(super) fn run<T>(
    tcp: TcpStream,
    limit: Duration,
    what: &str,
    f: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let watcher = Watcher::start(tcp, limit);
    let done = f();
    if watcher.has_closed() {
        return Err(passed(what, limit).into());
    }
    done
}

/// The error of a limit that has passed.
pub(super) fn passed(what: &str, limit: Duration) -> io::Error {
    let text = format!("no {what} within {limit:?}: the peer stalls, or does not speak WebSocket");
    io::Error::new(io::ErrorKind::TimedOut, text)
}

struct Watcher(Option<JoinHandle<()>>);

impl Watcher {
    fn start(tcp: TcpStream, limit: Duration) -> Self {
        Self(Some(aqueduct::spawn(async move {
            time::Timer::after(limit).await;
            tcp.close();
        })))
    }

    /// Ends the watch.
    fn has_closed(mut self) -> bool {
        self.0.take().is_some_and(|handle| {
            handle.cancel();
            handle.join().is_ok()
        })
    }
}

impl Drop for Watcher {
    /// Unwinding: the watch must not outlive the code, but need not be waited for.
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.cancel();
        }
    }
}
