//! Overflow of a coroutine's stack: say whose it was, then abort.
//!
//! # Protocol
//!
//! A fault in a guard raises SIGSEGV (or SIGBUS, on some systems) on the thread that ran into it. The stack
//! it happened on is used up, so the handler runs on the thread's [alternate stack](super::alternate). It
//! asks the runtime, by `lookup`, whether the address lies in the guard of the coroutine that runs on this
//! very thread:
//!
//! - it does: the handler writes one line to standard error and aborts;
//! - it does not, or the signal was sent by somebody: the fault belongs to the handler that was there before,
//!   which is called as if it were installed itself. std's own, which names plain threads that overflow, is
//!   such a handler.
//!
//! # Invariants
//!
//! - `signal-safe`: nothing on the way allocates, locks or formats; the only calls into the system are
//!   `write`, `sigaction`, `raise` and `abort`.
//! - `stored-first`: what the handler reads is in place before the handler is.
//!
//! # Sources
//!
//! std's `sys/pal/unix/stack_overflow.rs` for what the previous handler expects; sigaction(2) for flags and
//! masks.

use std::ffi::c_int;
use std::io;
use std::mem::{self, MaybeUninit};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::{Once, OnceLock};

pub(crate) use super::alternate::alternate_stack;

/// Whose stack overflowed.
pub(crate) struct Overflow {
    /// What runs on it.
    pub(crate) owner: Owner,
    /// The task's name, if it has one. Raw, since it is no longer than the task: whoever answers the lookup
    /// vouches that the bytes live until the coroutine that faulted goes on, which it never does.
    pub(crate) name: Option<NonNull<str>>,
    /// Where the task was spawned.
    pub(crate) site: &'static Location<'static>,
    /// Usable bytes of the stack.
    pub(crate) size: usize,
}

/// What runs on a stack: each has a remedy of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A closure started by `go`.
    Coroutine,
    /// The body of a `run`, whose stack has the one size.
    Main,
    /// A future on the stacks kept for futures, whose size no option of the runtime changes.
    Future,
    /// A future on the stacks kept for closures, which no task builder makes.
    Connection,
    /// A coroutine resumed by hand, inside the task.
    Generator,
}

/// Answers whether an address lies in the guard of the coroutine that runs on the calling thread. Called in a
/// signal handler: it may read atomics and const-initialised thread-locals without destructors, and nothing
/// else.
pub(crate) type Lookup = fn(fault: usize) -> Option<Overflow>;

struct State {
    lookup: Lookup,
    segv: Previous,
    bus: Previous,
}

/// The handler that was there before ours.
struct Previous {
    action: Action,
    /// It wants to be called once, and the default afterwards.
    once: bool,
}

enum Action {
    Default,
    Ignore,
    Plain(extern "C" fn(c_int)),
    Info(Handler),
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void);

static STATE: OnceLock<State> = OnceLock::new();

/// Installs the handler for SIGSEGV and SIGBUS, once in a process; later calls do nothing. Threads that run
/// coroutines need an [`AlternateStack`](super::alternate::AlternateStack) besides.
pub(crate) fn install(lookup: Lookup) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (segv, bus) = (current(libc::SIGSEGV), current(libc::SIGBUS));
        let state = State { lookup, segv: Previous::of(&segv), bus: Previous::of(&bus) };
        if STATE.set(state).is_ok() {
            replace(libc::SIGSEGV, &segv);
            replace(libc::SIGBUS, &bus);
        }
    });
}

/// Writes to standard error with write(2) alone, as much as it takes.
pub(crate) fn write_error(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: reads the bytes of the slice.
        let written = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written.min(bytes.len())..],
            Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            Err(_) => return,
        }
    }
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // Always there: `stored-first`.
    let Some(state) = STATE.get() else { return };
    let sent = is_sent(info);
    if !sent {
        // SAFETY: `info` is what the system gave the handler, for a signal that carries an address.
        let fault = unsafe { (*info).si_addr() }.addr();
        if let Some(overflow) = (state.lookup)(fault) {
            overflow.report();
            std::process::abort();
        }
    }
    let previous = if signal == libc::SIGBUS { &state.bus } else { &state.segv };
    previous.call(signal, sent, info, context);
}

/// Whether the signal came from kill or its like and not from a fault: those have codes below 1 on Linux,
/// from 0x10001 elsewhere.
fn is_sent(info: *mut libc::siginfo_t) -> bool {
    // SAFETY: what the system gave the handler.
    let code = unsafe { (*info).si_code };
    code <= 0 || code > 0x1_0000
}

impl Previous {
    fn of(old: &libc::sigaction) -> Self {
        Self { action: Action::of(old), once: old.sa_flags & libc::SA_RESETHAND != 0 }
    }

    /// Does what the system would have done had our handler never been installed.
    fn call(&self, signal: c_int, sent: bool, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        if self.once {
            set_default(signal);
        }
        match self.action {
            Action::Plain(handler) => handler(signal),
            Action::Info(handler) => handler(signal, info, context),
            Action::Ignore if sent => {}
            // A fault cannot be ignored. On return the instruction faults again, and the default takes it.
            Action::Ignore | Action::Default => {
                set_default(signal);
                if sent {
                    // SAFETY: the signal is blocked while its handler runs, and meets the default afterwards.
                    unsafe { libc::raise(signal) };
                }
            }
        }
    }
}

impl Action {
    fn of(old: &libc::sigaction) -> Self {
        match old.sa_sigaction {
            libc::SIG_DFL => Self::Default,
            libc::SIG_IGN => Self::Ignore,
            // SAFETY: neither of the two special values, so a handler, of the type that SA_SIGINFO tells.
            handler if old.sa_flags & libc::SA_SIGINFO != 0 => unsafe {
                Self::Info(mem::transmute::<libc::sighandler_t, Handler>(handler))
            },
            // SAFETY: as above.
            handler => unsafe {
                Self::Plain(mem::transmute::<libc::sighandler_t, extern "C" fn(c_int)>(handler))
            },
        }
    }
}

impl Overflow {
    fn report(&self) {
        let mut line = Line::new();
        line.text("aqueduct: the stack of ");
        match self.owner {
            Owner::Coroutine => self.task("coroutine", &mut line),
            Owner::Main => {
                line.text("the main coroutine (run at ");
                self.site(&mut line);
            }
            Owner::Future | Owner::Connection => self.task("future", &mut line),
            Owner::Generator => {
                line.text("a generator inside ");
                self.task("task", &mut line);
            }
        }
        line.text(") overflowed: ");
        line.number(self.size);
        line.text(" bytes; remedy: ");
        line.text(self.owner.remedy());
        line.text("\n");
        line.flush();
    }

    /// Name, if there is one, and site, up to the closing bracket.
    fn task(&self, kind: &str, line: &mut Line) {
        if let Some(name) = self.name {
            // SAFETY: alive, as the field's documentation demands.
            let name = unsafe { name.as_ref() };
            line.text(kind);
            line.text(" \"");
            line.text(name);
            line.text("\"");
        } else {
            line.text("a ");
            line.text(kind);
        }
        line.text(" (spawned at ");
        self.site(line);
    }

    fn site(&self, line: &mut Line) {
        line.text(self.site.file());
        line.text(":");
        line.number(self.site.line() as usize);
        line.text(":");
        line.number(self.site.column() as usize);
    }
}

impl Owner {
    fn remedy(self) -> &'static str {
        match self {
            Self::Coroutine => {
                "task::Builder::stack_size, Runtime::builder().stack_size or AQUEDUCT_STACK_SIZE"
            }
            Self::Main => {
                "this size is fixed; move the deep work into a task made with task::Builder::stack_size, and join it"
            }
            Self::Future => {
                "spawn it with task::Builder::stack_size; the runtime's stack_size is for closures, not for futures"
            }
            Self::Connection => "Runtime::builder().stack_size or AQUEDUCT_STACK_SIZE",
            Self::Generator => {
                "with_stack_size of Generator or of generator::Coroutine, Runtime::builder().stack_size or \
                 AQUEDUCT_STACK_SIZE"
            }
        }
    }
}

/// A line on its way to standard error: in one piece unless it is very long, so that other threads do not
/// write into it.
struct Line {
    bytes: [u8; 1024],
    length: usize,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; 1024], length: 0 }
    }

    fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.length == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.length] = byte;
            self.length += 1;
        }
    }

    fn number(&mut self, number: usize) {
        if number >= 10 {
            self.number(number / 10);
        }
        let digit = number % 10;
        self.text(&"0123456789"[digit..=digit]);
    }

    fn flush(&mut self) {
        write_error(&self.bytes[..self.length]);
        self.length = 0;
    }
}

/// What is installed for a signal now.
fn current(signal: c_int) -> libc::sigaction {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action it only writes the old one. All zero, which it stays if the system refuses,
    // is the default action.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr());
        old.assume_init()
    }
}

/// Puts our handler in the place of `old`. It blocks what that one blocked, since it may call it.
fn replace(signal: c_int, old: &libc::sigaction) {
    let mut new = *old;
    new.sa_sigaction = handle as Handler as libc::sighandler_t;
    new.sa_flags =
        libc::SA_SIGINFO | libc::SA_ONSTACK | (old.sa_flags & (libc::SA_NODEFER | libc::SA_RESTART));
    // SAFETY: `handle` has the type SA_SIGINFO asks for, and is safe to run in a signal handler
    // (`signal-safe`).
    unsafe { libc::sigaction(signal, &raw const new, std::ptr::null_mut()) };
}

fn set_default(signal: c_int) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zero but for the action itself: no flags, nothing blocked.
    unsafe {
        (*action.as_mut_ptr()).sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, action.as_ptr(), std::ptr::null_mut());
    }
}
