//! Child processes: started, talked to, and waited for without holding up a worker or a thread.
//!
//! [`Command`] has the shape of [`std::process::Command`], and can be made from one. [`Child::wait`],
//! [`Command::status`] and [`Command::output`] suspend the calling coroutine (off the workers, block the
//! thread); `wait_async`, `status_async` and `output_async` are futures. A child's standard streams are
//! [pipes](crate::io::PipeReader), which wait in both worlds.
//!
//! ```
//! use aqueduct::process::Command;
//!
//! # fn main() -> std::io::Result<()> {
//! let output = Command::new("echo").arg("over").output()?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"over\n");
//! # Ok(())
//! # }
//! ```
//!
//! # How a child is waited for
//! ```text
//! wait ── waitpid, without waiting ── ended ─────────────────────────────► its status
//!              │ it is running
//!              └─ Linux 5.3 and later: its pidfd, a source of the reactor ┐
//!                 elsewhere: SIGCHLD, through crate::signal ──────────────┴─ event ─► again
//! ```
//! There is no helper thread, neither for a child nor for all. Where SIGCHLD is used, every end of a child wakes
//! all who wait.
//!
//! # Who reaps
//! Every child is reaped: by whoever waits for it, or, when its [`Child`] is dropped before that, by a small task
//! of the global runtime that waits instead. So nothing of the caller's has to end well for no zombie to be left.
//! Only a program that ends first leaves that to the system. Code that reaps children which are not its own
//! (`waitpid(-1)`), or ignores SIGCHLD, takes away the status: `wait` then fails with `ECHILD`.
//!
//! # Starting
//! Starting a child holds up the worker until the program is loaded, as it does in Go: typically under a
//! millisecond.

mod child;
mod command;
mod exit;

pub use child::Child;
pub use command::Command;
pub use std::process::{ExitStatus, Output, Stdio};
