//! The signals by name.
#![forbid(unsafe_code)]

use std::ffi::c_int;
use std::fmt;
use std::io;

/// A signal of the system, such as [`SIGINT`].
///
/// # Examples
/// ```
/// use aqueduct::signal::{SIGTERM, Signal};
///
/// assert_eq!(SIGTERM.to_string(), "SIGTERM");
/// assert_eq!(Signal::from_raw(15), SIGTERM);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(c_int);

impl Signal {
    /// The signal of this number, which the system may or may not have.
    #[must_use]
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// Its name, if it is one of the usual ones.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        signal_hook::low_level::signal_name(self.0)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $($(#[$doc])* pub const $name: Signal = Signal(libc::$name);)*
    };
}

signals! {
    /// The terminal has gone; by custom also: read the configuration again.
    SIGHUP
    /// Ctrl-C.
    SIGINT
    /// Ctrl-\.
    SIGQUIT
    /// `abort`.
    SIGABRT
    /// Ends a process, and cannot be caught.
    SIGKILL
    /// For the program's own use.
    SIGUSR1
    /// For the program's own use.
    SIGUSR2
    /// A write to a pipe that nobody reads. Rust programs ignore it from the start.
    SIGPIPE
    /// `alarm`.
    SIGALRM
    /// The polite request to end.
    SIGTERM
    /// A child has ended or stopped.
    SIGCHLD
    /// Continues a stopped process.
    SIGCONT
    /// Stops a process, and cannot be caught.
    SIGSTOP
    /// Ctrl-Z.
    SIGTSTP
    /// A process in the background has read from the terminal.
    SIGTTIN
    /// A process in the background has written to the terminal.
    SIGTTOU
    /// Urgent data on a socket.
    SIGURG
    /// The terminal has another size.
    SIGWINCH
}

/// Sends a signal to this process. Never waits.
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for a number that is no signal.
///
/// # Examples
/// ```
/// use aqueduct::signal::{self, SIGWINCH};
///
/// signal::raise(SIGWINCH)?; // ignored by default
/// # std::io::Result::Ok(())
/// ```
pub fn raise(signal: Signal) -> io::Result<()> {
    super::disposition::send(std::process::id(), signal)
}
