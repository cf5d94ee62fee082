//! What to start, and how.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use super::Child;
use crate::wait::block_on;

/// A program to be started, shaped like [`std::process::Command`].
///
/// What is not here (`pre_exec`, `uid`, `process_group`, ..) is reached through
/// [`as_std_mut`](Command::as_std_mut).
///
/// # Examples
/// ```
/// use aqueduct::process::Command;
///
/// # fn main() -> std::io::Result<()> {
/// let status = Command::new("sh").args(["-c", "exit 7"]).status()?;
/// assert_eq!(status.code(), Some(7));
/// # Ok(())
/// # }
/// ```
/// ```
/// use aqueduct::{Wait, process::Command};
/// use futures::future::try_join;
///
/// # fn main() -> std::io::Result<()> {
/// async {
///     let (mut one, mut two) = (Command::new("echo"), Command::new("echo"));
///     let (one, two) = try_join(one.arg("1").output_async(), two.arg("2").output_async()).await?;
///     assert_eq!((&one.stdout[..], &two.stdout[..]), (&b"1\n"[..], &b"2\n"[..]));
///     std::io::Result::Ok(())
/// }
/// .wait()
/// # }
/// ```
pub struct Command {
    command: std::process::Command,
    kill_on_drop: bool,
    /// Which of the standard streams have been said here.
    stdin_set: bool,
    stdout_set: bool,
    stderr_set: bool,
}

impl Command {
    /// A program, looked up in `PATH` unless its name has a slash. Its arguments, environment, folder and standard
    /// streams are as with [`std::process::Command::new`].
    pub fn new<S: AsRef<OsStr>>(program: S) -> Self {
        std::process::Command::new(program).into()
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// Sets an environment variable for the child.
    pub fn env<K, V>(&mut self, key: K, value: V) -> &mut Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.command.env(key, value);
        self
    }

    /// Sets environment variables for the child.
    pub fn envs<I, K, V>(&mut self, variables: I) -> &mut Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.command.envs(variables);
        self
    }

    /// Keeps an environment variable from the child.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Self {
        self.command.env_remove(key);
        self
    }

    /// Keeps all environment variables from the child but those set afterwards.
    pub fn env_clear(&mut self) -> &mut Self {
        self.command.env_clear();
        self
    }

    /// The folder that the child starts in.
    pub fn current_dir<P: AsRef<Path>>(&mut self, folder: P) -> &mut Self {
        self.command.current_dir(folder);
        self
    }

    /// The child's standard input: ours, unless said otherwise; with [`output`](Command::output) none.
    pub fn stdin<T: Into<Stdio>>(&mut self, stdin: T) -> &mut Self {
        self.command.stdin(stdin);
        self.stdin_set = true;
        self
    }

    /// The child's standard output: ours, unless said otherwise; with [`output`](Command::output) a pipe.
    pub fn stdout<T: Into<Stdio>>(&mut self, stdout: T) -> &mut Self {
        self.command.stdout(stdout);
        self.stdout_set = true;
        self
    }

    /// The child's standard error: ours, unless said otherwise; with [`output`](Command::output) a pipe.
    pub fn stderr<T: Into<Stdio>>(&mut self, stderr: T) -> &mut Self {
        self.command.stderr(stderr);
        self.stderr_set = true;
        self
    }

    /// Whether the child is killed (SIGKILL) when its [`Child`] is dropped before it has ended: so when a
    /// [`status`](Command::status) or [`output`](Command::output) is cancelled, too. Not, unless said here.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// `std`'s command behind this one.
    pub fn as_std(&self) -> &std::process::Command {
        &self.command
    }

    /// `std`'s command behind this one, for what is not here. Standard streams said there are overruled by
    /// [`output`](Command::output); say them here.
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.command
    }

    /// Gives `std`'s command up.
    pub fn into_std(self) -> std::process::Command {
        self.command
    }

    /// Starts the program; see [Starting](super#starting).
    ///
    /// # Errors
    /// The system's, with the program's name: [`NotFound`](io::ErrorKind::NotFound) when there is no such program
    /// or folder, [`PermissionDenied`](io::ErrorKind::PermissionDenied) when it cannot be executed.
    pub fn spawn(&mut self) -> io::Result<Child> {
        match self.command.spawn() {
            Ok(child) => Child::new(child, self.kill_on_drop),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Starts the program and waits until it has ended. Standard streams that are piped are closed at once.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread. A coroutine that is cancelled leaves the child running,
    /// unless [`kill_on_drop`](Command::kill_on_drop) says otherwise.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    #[track_caller]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        block_on(self.status_async())
    }

    /// The future form of [`status`](Command::status). The program is started at once, not when the future is
    /// first polled.
    ///
    /// # Cancel safety
    /// *Completes anyway*: the child runs on, unless [`kill_on_drop`](Command::kill_on_drop) says otherwise.
    ///
    /// # Errors
    /// As [`status`](Command::status), told by the future.
    pub fn status_async(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send + use<> {
        let child = self.spawn();
        async move {
            let mut child = child?;
            drop((child.stdout.take(), child.stderr.take()));
            child.wait_async().await
        }
    }

    /// Starts the program, waits until it has ended, and returns what it has written. Standard output and standard
    /// error are piped and standard input is empty, unless said otherwise here. See
    /// [`Child::wait_with_output`].
    ///
    /// # Blocking
    /// As [`status`](Command::status).
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    #[track_caller]
    pub fn output(&mut self) -> io::Result<Output> {
        block_on(self.output_async())
    }

    /// The future form of [`output`](Command::output). The program is started at once, not when the future is
    /// first polled.
    ///
    /// # Cancel safety
    /// Dropped: *may lose data*, namely the output so far. The child runs on, and sees its pipes broken, unless
    /// [`kill_on_drop`](Command::kill_on_drop) says otherwise.
    ///
    /// # Errors
    /// As [`output`](Command::output), told by the future.
    pub fn output_async(&mut self) -> impl Future<Output = io::Result<Output>> + Send + use<> {
        if !self.stdin_set {
            self.command.stdin(Stdio::null());
        }
        if !self.stdout_set {
            self.command.stdout(Stdio::piped());
        }
        if !self.stderr_set {
            self.command.stderr(Stdio::piped());
        }
        let child = self.spawn();
        async move { child?.wait_with_output_async().await }
    }

    /// The error of starting, with what it was about and what can be done.
    fn explain(&self, error: io::Error) -> io::Error {
        let program = self.command.get_program().display();
        let folder = self.command.get_current_dir();
        let hint = match (error.kind(), folder) {
            (io::ErrorKind::NotFound, None) => " (is it installed, and in PATH?)".into(),
            (io::ErrorKind::NotFound, Some(folder)) => {
                format!(" (is it installed and in PATH, and is there a folder {}?)", folder.display())
            }
            (io::ErrorKind::PermissionDenied, _) => " (is the file executable?)".into(),
            _ => match error.raw_os_error() {
                Some(libc::EMFILE) => " (raise RLIMIT_NOFILE, or have fewer descriptors open)".into(),
                Some(libc::EAGAIN) => " (raise RLIMIT_NPROC, or have fewer processes at once)".into(),
                _ => String::new(),
            },
        };
        io::Error::new(error.kind(), format!("cannot start {program}: {error}{hint}"))
    }
}

impl From<std::process::Command> for Command {
    /// Standard streams said before are overruled by [`output`](Command::output).
    fn from(command: std::process::Command) -> Self {
        Self { command, kill_on_drop: false, stdin_set: false, stdout_set: false, stderr_set: false }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.command, f)
    }
}
