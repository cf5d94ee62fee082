//! Tests that run in a process of their own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

const VARIABLE: &str = "AQUEDUCT_TEST_CHILD";

/// Tells a child that went through its body from one that found no such test.
const AT_THE_END: &str = "the child came to the end of its body";

/// What became of a child.
pub(super) struct Ended {
    status: ExitStatus,
    output: String,
}

/// Runs `body` in a child process, and returns how that ended. `test` is the full path of the calling test,
/// which must do nothing before this call: the child runs it again up to here.
pub(super) fn in_child(test: &str, body: impl FnOnce()) -> Ended {
    if std::env::var(VARIABLE).is_ok_and(|name| name == test) {
        body();
        println!("{AT_THE_END}");
        std::process::exit(0);
    }
    let test_path = test.split_once("::").map_or(test, |(_crate, path)| path);
    let output = Command::new(std::env::current_exe().expect("the test binary"))
        .args(["--exact", test_path, "--nocapture", "--test-threads=1"])
        .env(VARIABLE, test)
        .stdin(Stdio::null())
        .output()
        .expect("a child process");
    let text = [output.stdout, output.stderr].concat();
    Ended { status: output.status, output: String::from_utf8_lossy(&text).into_owned() }
}

/// The full path of the function it is used in.
macro_rules! test_path {
    () => {{
        fn here() {}
        std::any::type_name_of_val(&here).trim_end_matches("::here")
    }};
}
pub(super) use test_path;

impl Ended {
    /// It came to the end of its body. Returns what it wrote.
    #[track_caller]
    pub(super) fn well(self) -> String {
        let finished = self.status.success() && self.output.contains(AT_THE_END);
        assert!(finished, "{}\n{}", self.status, self.output);
        self.output
    }

    /// It exited by itself with `code`.
    #[track_caller]
    pub(super) fn with_code(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{}\n{}", self.status, self.output);
        self.output
    }

    /// A signal ended it, one of `signals`. The address sanitizer turns some of them into an exit with an
    /// error of its own.
    #[track_caller]
    pub(super) fn by_signal(self, signals: &[i32]) -> String {
        let by_signal = self.status.signal().is_some_and(|signal| signals.contains(&signal));
        let by_sanitizer = cfg!(feature = "sanitizer") && self.output.contains("ERROR: AddressSanitizer");
        assert!(by_signal || by_sanitizer, "{}\n{}", self.status, self.output);
        self.output
    }
}
