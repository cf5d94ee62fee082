use std::cell::Cell;
use std::ffi::c_int;
use std::ops::Range;
use std::panic::Location;
use std::ptr::NonNull;

use super::child::{in_child, test_path};
use super::{SMALL, coroutine, stack};
use crate::coroutine::overflow::{Overflow, Owner, alternate_stack, install, write_error};

const FAULTS: &[c_int] = &[libc::SIGSEGV, libc::SIGBUS];

thread_local! {
    /// The guard of the coroutine that runs on this thread, and its name.
    static RUNNING: Cell<(usize, usize, Option<&'static str>)> = const { Cell::new((0, 0, None)) };
}

/// As the runtime would answer.
fn lookup(fault: usize) -> Option<Overflow> {
    let (start, end, name) = RUNNING.get();
    Range { start, end }.contains(&fault).then(|| Overflow {
        owner: Owner::Coroutine,
        name: name.map(NonNull::from),
        site: Location::caller(),
        size: SMALL.usable(),
    })
}

#[allow(unconditional_recursion, reason = "that is the point")]
#[inline(never)]
fn recurse(depth: usize) -> usize {
    let frame = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + std::hint::black_box(frame)[depth % 64]
}

/// Runs out of stack in a coroutine of the given name.
fn overflow(name: Option<&'static str>) {
    let _alternate = alternate_stack();
    let mut coroutine = coroutine(|_| {
        recurse(0);
    });
    let guard = coroutine.extent().guard();
    RUNNING.set((guard.start, guard.end, name));
    coroutine.resume();
}

/// Faults outside every stack.
fn fault() {
    // SAFETY: none. It is there to end this process.
    unsafe { std::ptr::without_provenance_mut::<u8>(64).write_volatile(1) };
}

#[test]
fn lowest_byte_of_the_guard_faults() {
    in_child(test_path!(), || write_into_guard(0)).by_signal(FAULTS);
}

#[test]
fn highest_byte_of_the_guard_faults() {
    in_child(test_path!(), || write_into_guard(64 * 1024 - 1)).by_signal(FAULTS);
}

fn write_into_guard(offset: usize) {
    let guard = stack(SMALL).guard();
    // SAFETY: none. It is there to end this process.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(guard.start + offset).write_volatile(1) };
}

#[test]
fn overflow_is_reported_with_name_site_size_and_remedy() {
    let output = in_child(test_path!(), || {
        install(lookup);
        overflow(Some("deep thought"));
    })
    .by_signal(&[libc::SIGABRT]);
    assert!(output.contains("aqueduct: the stack of coroutine \"deep thought\" (spawned at "), "{output}");
    assert!(output.contains(&format!(") overflowed: {} bytes; remedy: ", SMALL.usable())), "{output}");
    for remedy in ["task::Builder::stack_size", "Runtime::builder().stack_size", "AQUEDUCT_STACK_SIZE\n"] {
        assert!(output.contains(remedy), "{output}");
    }
}

#[test]
fn overflow_without_a_name_is_reported() {
    let output = in_child(test_path!(), || {
        install(lookup);
        install(|_| None);
        overflow(None);
    })
    .by_signal(&[libc::SIGABRT]);
    assert!(output.contains("aqueduct: the stack of a coroutine (spawned at "), "{output}");
    assert!(output.contains("overflow.rs:"), "{output}");
}

#[test]
fn overflow_on_protected_guards_is_reported() {
    let output = in_child(test_path!(), || {
        crate::coroutine::guard::refuse_marks();
        install(lookup);
        overflow(Some("old"));
    })
    .by_signal(&[libc::SIGABRT]);
    assert!(output.contains("coroutine \"old\""), "{output}");
}

#[test]
fn very_long_name_is_reported_whole() {
    let output = in_child(test_path!(), || {
        install(lookup);
        overflow(Some(String::leak("abc".repeat(1000))));
    })
    .by_signal(&[libc::SIGABRT]);
    assert!(output.contains(&format!("\"{}\"", "abc".repeat(1000))), "{output}");
}

#[test]
fn plain_thread_that_overflows_is_named_by_std() {
    let output = in_child(test_path!(), || {
        install(lookup);
        let thread = std::thread::Builder::new().name("plain".into());
        thread.spawn(|| recurse(0)).expect("a thread").join().expect("never");
    })
    .by_signal(&[libc::SIGABRT]);
    let told = output.contains("thread 'plain'") && output.contains("overflowed its stack");
    assert!(told || output.contains("stack-overflow"), "{output}");
    assert!(!output.contains("aqueduct: "), "{output}");
}

#[test]
fn other_faults_end_the_process_as_before() {
    let output = in_child(test_path!(), || {
        install(lookup);
        fault();
    })
    .by_signal(FAULTS);
    assert!(!output.contains("aqueduct: "), "{output}");
}

/// Puts a disposition in place as a program would before the runtime starts.
fn before_us(handler: libc::sighandler_t, flags: c_int) {
    for signal in FAULTS {
        // SAFETY: all zero is a valid struct; the handlers given here only write and exit.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            action.sa_flags = flags;
            assert_eq!(libc::sigaction(*signal, &raw const action, std::ptr::null_mut()), 0);
        }
    }
}

extern "C" fn plain_handler(_signal: c_int) {
    write_error(b"plain handler\n");
    // SAFETY: ends the process.
    unsafe { libc::_exit(3) };
}

extern "C" fn once_handler(_signal: c_int) {
    write_error(b"once handler\n");
}

extern "C" fn info_handler(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the system's, for a fault.
    let address = unsafe { (*info).si_addr() }.addr();
    write_error(b"info handler\n");
    // SAFETY: ends the process.
    unsafe { libc::_exit(i32::try_from(address).unwrap_or(1)) };
}

#[test]
fn default_disposition_is_kept() {
    let faulted = in_child(test_path!(), || {
        before_us(libc::SIG_DFL, 0);
        install(lookup);
        fault();
    });
    faulted.by_signal(&[libc::SIGSEGV]);
}

#[test]
fn sent_signal_meets_the_default_disposition() {
    let sent = in_child(test_path!(), || {
        before_us(libc::SIG_DFL, 0);
        install(lookup);
        // SAFETY: takes a number.
        unsafe { libc::raise(libc::SIGBUS) };
    });
    sent.by_signal(&[libc::SIGBUS]);
}

#[test]
fn ignored_signals_stay_ignored_and_faults_do_not() {
    let output = in_child(test_path!(), || {
        before_us(libc::SIG_IGN, 0);
        install(lookup);
        // SAFETY: takes a number.
        unsafe { libc::raise(libc::SIGSEGV) };
        write_error(b"still here\n");
        fault();
    })
    .by_signal(&[libc::SIGSEGV]);
    assert!(output.contains("still here"), "{output}");
}

#[test]
fn plain_handler_is_called() {
    let output = in_child(test_path!(), || {
        before_us(plain_handler as extern "C" fn(c_int) as libc::sighandler_t, 0);
        install(lookup);
        fault();
    })
    .with_code(3);
    assert!(output.contains("plain handler"), "{output}");
}

#[test]
fn handler_with_information_gets_it() {
    let handler = info_handler as extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void);
    let output = in_child(test_path!(), || {
        before_us(handler as libc::sighandler_t, libc::SA_SIGINFO);
        install(lookup);
        fault();
    })
    .with_code(64);
    assert!(output.contains("info handler"), "{output}");
}

#[test]
fn handler_that_wants_one_call_gets_one() {
    let output = in_child(test_path!(), || {
        before_us(once_handler as extern "C" fn(c_int) as libc::sighandler_t, libc::SA_RESETHAND);
        install(lookup);
        fault();
    })
    .by_signal(&[libc::SIGSEGV]);
    assert_eq!(output.matches("once handler").count(), 1, "{output}");
}

#[test]
fn overflow_goes_before_every_other_handler() {
    let output = in_child(test_path!(), || {
        before_us(plain_handler as extern "C" fn(c_int) as libc::sighandler_t, 0);
        install(lookup);
        overflow(Some("first"));
    })
    .by_signal(&[libc::SIGABRT]);
    assert!(output.contains("coroutine \"first\"") && !output.contains("plain handler"), "{output}");
}
