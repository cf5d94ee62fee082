//! White-box tests of coroutines and stacks.
//!
//! What ends a process, sets a limit, measures memory or knows what is pooled runs in a child: the test binary
//! again, at the same test (see `child`).

mod alternate;
mod child;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod memory;
mod overflow;
mod pool;
mod stack;
mod switch;

use super::{Class, Coroutine, Resumed, Stack, acquire};

/// A stack that nobody else in this process uses at the same time.
fn stack(class: Class) -> Stack {
    acquire(class).expect("a stack")
}

/// A coroutine on a small stack.
fn coroutine(body: impl FnOnce(&super::Suspender) + 'static) -> Coroutine {
    Coroutine::new(stack(SMALL), body)
}

/// 256 KiB of address space: what closures get in release builds.
const SMALL: Class = Class::for_spacing(256 * 1024);

/// Uses at least `bytes` of the stack below the caller, but not many more than twice as much.
#[inline(never)]
fn burn(bytes: usize) -> usize {
    if cfg!(feature = "sanitizer") {
        return touch_below(super::stack_pointer(), bytes);
    }
    let frame = std::hint::black_box([1_u8; 1024]);
    let deeper = if bytes > frame.len() { burn(bytes - frame.len()) } else { 0 };
    deeper + usize::from(std::hint::black_box(&frame)[bytes % frame.len()])
}

/// Under the sanitizer frames are large or lie elsewhere, as it likes. So this touches the pages that they
/// would have touched.
fn touch_below(sp: usize, bytes: usize) -> usize {
    let distances = (16 * 1024..bytes + 16 * 1024).step_by(4096);
    for distance in distances.clone() {
        // SAFETY: on the stack of the running coroutine, far below every frame.
        unsafe { std::ptr::with_exposed_provenance_mut::<u8>(sp - distance).write_volatile(1) };
    }
    distances.len()
}

/// Resumes once and expects the body to suspend.
fn step(coroutine: &mut Coroutine) {
    assert_eq!(coroutine.resume(), Resumed::Suspended);
}

/// Resumes once, expects the body to end, and gives the stack back.
fn finish(mut coroutine: Coroutine) -> Stack {
    assert_eq!(coroutine.resume(), Resumed::Finished);
    coroutine.into_stack()
}
