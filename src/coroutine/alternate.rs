//! The alternate signal stack of a thread that runs coroutines: where the overflow handler runs.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::{guard, memory};

/// Usable bytes. The frame the system puts there holds all vector registers, some 11 KiB on the largest
/// processors; the rest is for the handlers that were there before ours, which may take backtraces.
const SIZE_BYTES: usize = 64 * 1024;

/// Signals of this thread whose handlers ask for it run on a stack of their own, until this is dropped; then
/// the previous one is back.
#[must_use = "the alternate stack goes when this is dropped"]
pub(crate) struct AlternateStack {
    /// None if the system refused: an overflow then ends the process with a bare SIGSEGV.
    _installed: Option<Installed>,
    /// Alternate stacks belong to threads.
    _not_send: PhantomData<*mut ()>,
}

struct Installed {
    /// Guard and stack.
    mapping: Range<usize>,
    previous: libc::stack_t,
}

/// Gives this thread an alternate signal stack of 64 KiB, with a guard below it.
pub(crate) fn alternate_stack() -> AlternateStack {
    AlternateStack { _installed: Installed::new(), _not_send: PhantomData }
}

impl Installed {
    fn new() -> Option<Self> {
        let mapping = memory::map(guard::GUARD_BYTES + SIZE_BYTES).ok()?;
        let stack = mapping.start + guard::GUARD_BYTES;
        // SAFETY: just mapped, and used by nobody.
        let protected = unsafe { memory::protect(&(mapping.start..stack)).is_ok() };
        let new = libc::stack_t { ss_sp: memory::pointer(stack), ss_flags: 0, ss_size: SIZE_BYTES };
        let mut previous = MaybeUninit::<libc::stack_t>::zeroed();
        // SAFETY: the new stack is mapped, unused, and stays until it is replaced; see `drop`.
        let installed = protected && unsafe { libc::sigaltstack(&raw const new, previous.as_mut_ptr()) == 0 };
        if !installed {
            // SAFETY: just mapped, and nobody was told.
            unsafe { memory::unmap(mapping) };
            return None;
        }
        // SAFETY: written by the call that succeeded.
        let previous = unsafe { previous.assume_init() };
        Some(Self { mapping, previous })
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let mut current = MaybeUninit::<libc::stack_t>::zeroed();
        // SAFETY: with no new stack it only writes what is installed.
        let current = unsafe {
            libc::sigaltstack(std::ptr::null(), current.as_mut_ptr());
            current.assume_init()
        };
        if self.mapping.contains(&current.ss_sp.addr()) {
            let mut previous = self.previous;
            if previous.ss_flags & libc::SS_DISABLE != 0 {
                // Some systems look at the size even of a stack that is taken away.
                previous.ss_size = SIZE_BYTES;
            }
            // SAFETY: what this thread had before; whoever installed it keeps it until it takes it away
            // itself.
            let restored = unsafe { libc::sigaltstack(&raw const previous, std::ptr::null_mut()) == 0 };
            if !restored {
                return;
            }
        }
        // SAFETY: ours, and no longer installed. It is this thread's, and this thread does not run on it.
        unsafe { memory::unmap(self.mapping.clone()) };
    }
}
