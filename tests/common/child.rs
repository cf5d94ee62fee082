//! Tests that run in a process of their own: the test binary runs itself again, up to the test's body.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

const VARIABLE: &str = "AQUEDUCT_TEST_CHILD";

/// Tells a child that went through its body from one that found no such test.
const AT_THE_END: &str = "the child came to the end of its body";

/// A child to be run.
pub(crate) struct Child {
    test: &'static str,
    variables: Vec<(&'static str, &'static str)>,
}

/// What became of a child.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
}

impl Child {
    /// `test` is the full path of the calling test, which must do nothing before `run`.
    pub(crate) fn new(test: &'static str) -> Self {
        Self { test, variables: Vec::new() }
    }

    /// Sets an environment variable for the child.
    pub(crate) fn with(mut self, variable: &'static str, value: &'static str) -> Self {
        self.variables.push((variable, value));
        self
    }

    /// Runs `body` in the child and returns how that ended. Several children of one test are told apart by `case`.
    pub(crate) fn run(self, case: &str, body: impl FnOnce()) -> Ended {
        let mut command = match self.command(case, body) {
            Some(command) => command,
            // In the child, on the way to another case.
            None => return Ended { status: ExitStatus::default(), output: AT_THE_END.into() },
        };
        let output = command.output().expect("a child process");
        let text = [output.stdout, output.stderr].concat();
        Ended { status: output.status, output: String::from_utf8_lossy(&text).into_owned() }
    }

    /// Runs `body` if this is the child; else gives the command that starts it, for a test that talks to it. `None`
    /// in the child, on the way to another case.
    pub(crate) fn command(self, case: &str, body: impl FnOnce()) -> Option<Command> {
        let key = format!("{} {case}", self.test);
        match std::env::var(VARIABLE) {
            Ok(name) if name == key => {
                let _dog = super::Watchdog::start(self.test, 60);
                body();
                println!("{AT_THE_END}");
                std::process::exit(0);
            }
            Ok(_) => return None,
            Err(_) => {}
        }
        let test_path = self.test.split_once("::").map_or(self.test, |(_crate, path)| path);
        let mut command = Command::new(std::env::current_exe().expect("the test binary"));
        command
            .args(["--exact", test_path, "--nocapture", "--include-ignored", "--test-threads=1"])
            .env(VARIABLE, key)
            .env("RUST_BACKTRACE", "0")
            .envs(self.variables)
            .stdin(Stdio::null());
        Some(command)
    }
}

/// Runs `body`, all of a test, in a process of its own, where it succeeds or fails.
#[track_caller]
pub(crate) fn alone(test: &'static str, body: impl FnOnce()) {
    Child::new(test).run("", body).well();
}

/// We are such a child: checks of what the parent saw are not for us.
pub(crate) fn is_child() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

impl Ended {
    /// It came to the end of its body. Returns what it wrote.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        let finished = self.status.success() && self.output.contains(AT_THE_END);
        assert!(finished, "{}\n{}", self.status, self.output);
        self.output
    }

    /// The signal `SIGABRT` ended it. Returns what it wrote.
    #[track_caller]
    pub(crate) fn aborted(self) -> String {
        if is_child() {
            return self.output;
        }
        assert_eq!(self.status.signal(), Some(libc::SIGABRT), "{}\n{}", self.status, self.output);
        self.output
    }
}

/// Asserts that a child's output contains each of the parts.
#[track_caller]
pub(crate) fn assert_says(output: &str, parts: &[&str]) {
    if is_child() {
        return;
    }
    for part in parts {
        assert!(output.contains(part), "no {part:?} in:\n{output}");
    }
}

/// Limits the address space of this process to what it has now and `more` bytes.
pub(crate) fn limit_address_space(more: usize) {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: usize = statm.split(' ').next().expect("a field").parse().expect("a number");
    let bytes = (pages * 4096 + more) as libc::rlim_t;
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: reads the struct it is given.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

/// Lifts the limit again.
pub(crate) fn lift_address_space_limit() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: reads the struct it is given.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}
