//! A running child.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitStatus, Output};
use std::time::Duration;

use futures::future::try_join3;
use futures::io::AsyncReadExt;

use super::exit::{self, Exit};
use crate::io::{PipeReader, PipeWriter};
use crate::runtime::{Handle, global};
use crate::signal::{self, Signal};
use crate::time::Timer;
use crate::wait::block_on;

/// A child process, shaped like [`std::process::Child`]; made by [`Command::spawn`](super::Command::spawn).
///
/// Dropping it lets the child run on ([`kill_on_drop`](super::Command::kill_on_drop) changes that), closes our
/// ends of its pipes, and leaves no zombie: see [Who reaps](super#who-reaps).
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use aqueduct::process::{Command, Stdio};
///
/// # fn main() -> std::io::Result<()> {
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// child.stdin.take().unwrap().write_all(b"over")?; // and closed: `cat` sees the end
/// let mut text = String::new();
/// child.stdout.take().unwrap().read_to_string(&mut text)?;
/// assert_eq!(text, "over");
/// assert!(child.wait()?.success());
/// # Ok(())
/// # }
/// ```
pub struct Child {
    /// The end that the child's standard input comes from, if that is [piped](super::Stdio::piped).
    pub stdin: Option<PipeWriter>,
    /// The end that the child's standard output goes to, if that is piped.
    pub stdout: Option<PipeReader>,
    /// The end that the child's standard error goes to, if that is piped.
    pub stderr: Option<PipeReader>,
    /// `None` only once dropped.
    inner: Option<Inner>,
    kill_on_drop: bool,
}

struct Inner {
    child: std::process::Child,
    exit: Option<Exit>,
    /// It has been reaped: its number may be another's now.
    reaped: bool,
}

impl Inner {
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = exit::wait(&mut self.child, &mut self.exit).await?;
        self.reaped = true;
        self.exit = None;
        Ok(status)
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.reaped |= status.is_some();
        Ok(status)
    }
}

impl Child {
    pub(super) fn new(mut child: std::process::Child, kill_on_drop: bool) -> io::Result<Self> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        // Before anything can fail: from here on it is reaped whatever happens.
        let inner = Some(Inner { child, exit: None, reaped: false });
        let mut child = Self { stdin: None, stdout: None, stderr: None, inner, kill_on_drop };
        child.stdin = stdin.map(|pipe| PipeWriter::try_from(std::os::fd::OwnedFd::from(pipe))).transpose()?;
        child.stdout =
            stdout.map(|pipe| PipeReader::try_from(std::os::fd::OwnedFd::from(pipe))).transpose()?;
        child.stderr =
            stderr.map(|pipe| PipeReader::try_from(std::os::fd::OwnedFd::from(pipe))).transpose()?;
        Ok(child)
    }

    fn inner(&mut self) -> &mut Inner {
        self.inner.as_mut().expect("there until dropped")
    }

    /// The number of the process. Once the child has been waited for, it may be another's.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.as_ref().expect("there until dropped").child.id()
    }

    /// Waits until the child has ended, and returns how. Its standard input is closed first, so that a child which
    /// reads to the end gets there. May be called again.
    ///
    /// Output that is piped is not read meanwhile: a child that writes more than a pipe holds (64 KiB on Linux)
    /// waits for a reader, for ever if there is none. [`wait_with_output`](Child::wait_with_output) reads it.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// The system's: `ECHILD` when somebody else has reaped it.
    #[track_caller]
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        block_on(self.wait_async())
    }

    /// The future form of [`wait`](Child::wait).
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*, but that the standard input is closed.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub async fn wait_async(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.inner().wait().await
    }

    /// How the child has ended, if it has. Never waits.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.inner().try_wait()
    }

    /// Waits until the child has ended and its output, as far as it is piped, has been read to the end; both pipes
    /// are read at once. Its standard input is closed first.
    ///
    /// A pipe ends when its last writer does: a grandchild that the child leaves behind with its output is waited
    /// for, too.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// As [`wait`](Child::wait); those of reading.
    #[track_caller]
    pub fn wait_with_output(self) -> io::Result<Output> {
        block_on(self.wait_with_output_async())
    }

    /// The future form of [`wait_with_output`](Child::wait_with_output).
    ///
    /// # Cancel safety
    /// Dropped: *may lose data*, namely the output so far. The child is dropped with it.
    ///
    /// # Errors
    /// As [`wait_with_output`](Child::wait_with_output).
    pub async fn wait_with_output_async(mut self) -> io::Result<Output> {
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let (status, stdout, stderr) =
            try_join3(self.wait_async(), read_all(stdout), read_all(stderr)).await?;
        Ok(Output { status, stdout, stderr })
    }

    /// Kills the child with SIGKILL. [`wait`](Child::wait) tells when it has ended. One that has ended already is
    /// no error. Never waits.
    ///
    /// # Errors
    /// The system's, when the child runs as somebody else.
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = aqueduct::process::Command::new("sleep").arg("60").spawn()?;
    /// child.kill()?;
    /// assert_eq!(child.wait()?.signal(), Some(aqueduct::signal::SIGKILL.as_raw()));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn kill(&mut self) -> io::Result<()> {
        self.inner().child.kill()
    }

    /// Sends a signal to the child: SIGTERM asks it to end. Never waits.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the child has been waited for; the system's.
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use aqueduct::signal::SIGTERM;
    ///
    /// let mut child = aqueduct::process::Command::new("sleep").arg("60").spawn()?;
    /// child.send_signal(SIGTERM)?;
    /// assert_eq!(child.wait()?.signal(), Some(SIGTERM.as_raw()));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn send_signal(&mut self, signal: Signal) -> io::Result<()> {
        let inner = self.inner();
        if inner.reaped {
            let text = format!("cannot send {signal}: the child has ended and been waited for");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // Nobody else reaps it, so its number is still its own.
        signal::send(inner.child.id(), signal)
    }
}

async fn read_all(pipe: Option<PipeReader>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else { return };
        if inner.reaped {
            return;
        }
        if self.kill_on_drop {
            // Fails when it has ended, which is as good.
            let _ = inner.child.kill();
        }
        if let Ok(None) = inner.try_wait() {
            leave(inner);
        }
    }
}

/// Has a child that nobody waits for reaped when it ends.
fn leave(inner: Inner) {
    // The global runtime, for it goes on until the process ends. When it cannot be started (that panics), the
    // child stays unreaped: there is nobody left to do it.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        drop(Handle::from_scheduler(global::scheduler()).spawn(reap(inner)));
    }));
}

/// How long a reaper pauses when it cannot even wait: the system is out of descriptors. A guess.
const PAUSE: Duration = Duration::from_millis(100);

async fn reap(mut inner: Inner) {
    while let Err(error) = inner.wait().await {
        if error.raw_os_error() == Some(libc::ECHILD) {
            return;
        }
        Timer::after(PAUSE).await;
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id())
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("kill_on_drop", &self.kill_on_drop)
            .finish()
    }
}
