//! Coroutines: stacks, and the switch from one to another. Nothing here knows of tasks, queues or io.
//!
//! # Picture
//!
//! A stack is one spacing of a slab; everything in a spacing lies between two addresses that are multiples of
//! it.
//!
//! ```text
//! high   top ─► ┌──────────────┐ ◄ multiple of the spacing
//!               │ parent link  │ ◄ the Suspender: where `suspend` returns to, rewritten by each `resume`
//!               ├──────────────┤
//!               │ frames       │
//!               │ ...          │
//!               ├──────────────┤ ◄ stack pointer while suspended
//!               │ ▒▒ margin ▒▒ │   kept by `trim_below`: registers saved by the switch, the red zone
//!               ├──────────────┤
//!               │ pages that   │   what earlier, deeper calls left behind; `trim_below` gives it back
//!               │ may be dirty │
//!               ├──────────────┤ ◄ high water: the lowest page that is resident
//!               │ untouched    │
//!               ├──────────────┤ ◄ low = guard end
//!               │ guard 64 KiB │   every access faults, see `overflow`
//! low           └──────────────┘ ◄ multiple of the spacing
//! ```
//!
//! # Map
//!
//! - this file: [`Coroutine`], [`Suspender`], the switch (corosensei's), [`stack_pointer`];
//! - `stack`: [`Class`], [`Stack`], what a stack can tell and give back;
//! - `pool`: the process-wide pool, hot stacks first; `slab`: how it grows; `guard`: how guards are made;
//! - `limits`: which limit of the system was met, and what to do about it;
//! - `overflow`: the fault handler that names the coroutine; `alternate`: the stack that handler runs on;
//! - `memory`: the system calls on pages; `advice`: the same advice on many ranges at once.
//!
//! # Invariants
//!
//! - `pinned`: a coroutine that has been resumed is resumed by that thread only. [`Coroutine`] is not `Send`.
//! - `quiet`: a [`Stack`] that stands by itself, outside a [`Coroutine`], holds no frame and no value. So it
//!   may go to another thread, be handed out again, or lose its pages. A stack leaves a coroutine only when
//!   the body has ended or never began.
//! - `no-unwind`: no panic crosses the switch. A body that panics out ends the process; whoever makes bodies
//!   catches.
//! - `kept`: the frames of a suspended coroutine stay where they are until it is resumed, for ever if it is
//!   leaked.
//!
//! # Unsafe
//!
//! Here: the cast from corosensei's yielder to [`Suspender`] (same layout), taking the fields of a
//! [`Coroutine`] out of their `ManuallyDrop` once (each place says why once), and one instruction that reads
//! the stack pointer. `stack`: the claim towards corosensei that a guard is there, and giving back pages,
//! which leans on `quiet` or on the caller. `memory`: the system calls. `overflow`: what is true in a signal
//! handler.
//!
//! # Sources
//!
//! The switch, its drawings and its unwind tables: corosensei, `src/arch`. Reasons for sizes and numbers of
//! stacks stand where they are used.

mod advice;
pub(crate) mod alternate;
mod guard;
mod limits;
mod memory;
pub(crate) mod overflow;
mod pool;
mod slab;
mod stack;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

use std::mem::{self, ManuallyDrop};

use corosensei::{CoroutineResult, Yielder};

pub(crate) use self::pool::{acquire, acquire_alone, release, trim_pool};
pub(crate) use self::stack::{Class, Extent, Stack, trim_below};

/// The largest body, in bytes: a quarter of the smallest stack. A larger one would leave too little, or be
/// written across the guard.
const BODY_BYTES_MAX: usize = Class::MIN.usable() / 4;

/// A body and the stack it runs on; where it is suspended when it is.
///
/// Dropping one that has begun and not finished leaks it: unwinding it by force
/// would run destructors of code that never asked for it, at a point it did not choose. Dropping one that has
/// not begun drops the body, and one that has finished gives its stack to the pool.
pub(crate) struct Coroutine {
    inner: ManuallyDrop<corosensei::Coroutine<(), (), (), Stack>>,
    #[cfg(test)]
    extent: Extent,
}

/// What [`Coroutine::resume`] came back for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// The body called [`Suspender::suspend`]; it may be resumed again.
    Suspended,
    /// The body has returned; the stack may be taken.
    Finished,
}

impl Coroutine {
    /// Puts `body` on `stack`, to run at the first [`resume`](Self::resume).
    ///
    /// A panic that leaves `body` aborts the process with a message, and so does one from a destructor of a
    /// body that is dropped before it began. Both are for the caller to catch.
    pub(crate) fn new<F: FnOnce(&Suspender) + 'static>(mut stack: Stack, body: F) -> Self {
        // The body itself is written to the top of the stack.
        const { assert!(size_of::<F>() <= BODY_BYTES_MAX) };
        stack.mark_touched();
        #[cfg(test)]
        let extent = stack.extent();
        let inner = corosensei::Coroutine::with_stack(stack, move |yielder, ()| {
            let guard = AbortOnUnwind;
            body(Suspender::of(yielder));
            mem::forget(guard);
        });
        Self {
            inner: ManuallyDrop::new(inner),
            #[cfg(test)]
            extent,
        }
    }

    /// Where the stack lies that it runs on.
    #[cfg(test)]
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// Runs the body from where it last suspended until it suspends again or returns.
    ///
    /// # Panics
    ///
    /// If it has finished.
    #[inline]
    pub(crate) fn resume(&mut self) -> Resumed {
        match self.inner.resume(()) {
            CoroutineResult::Yield(()) => Resumed::Suspended,
            CoroutineResult::Return(()) => Resumed::Finished,
        }
    }

    /// Whether it has begun and not finished: there are frames on its stack.
    pub(crate) fn is_suspended(&self) -> bool {
        self.inner.started() && !self.inner.done()
    }

    /// The stack of a coroutine that has finished, to run another body on.
    ///
    /// # Panics
    ///
    /// If it has not finished.
    pub(crate) fn into_stack(self) -> Stack {
        assert!(self.inner.done(), "the stack of a coroutine that has not finished is not free");
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so the field is taken here and nowhere else.
        unsafe { ManuallyDrop::take(&mut this.inner) }.into_stack()
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        if !self.is_suspended() {
            // SAFETY: dropped here and nowhere else (`into_stack`, which takes it, never comes here).
            unsafe { ManuallyDrop::drop(&mut self.inner) };
        }
    }
}

/// The way out of a running body, handed to it by reference. It lies on the coroutine's stack, at the same
/// address while the body runs. Only a reference is ever given and it is not `Sync`, so the body cannot pass
/// it to another thread.
#[repr(transparent)]
pub(crate) struct Suspender {
    yielder: Yielder<(), ()>,
}

impl Suspender {
    /// Returns from the [`Coroutine::resume`] in progress; comes back when the coroutine is resumed again.
    #[inline]
    pub(crate) fn suspend(&self) {
        self.yielder.suspend(());
    }

    fn of(yielder: &Yielder<(), ()>) -> &Self {
        // SAFETY: `Suspender` is `repr(transparent)` over the yielder, so a reference to one is a reference
        // to the other.
        unsafe { &*std::ptr::from_ref(yielder).cast::<Self>() }
    }
}

/// The stack pointer of the calling function, for [`Extent::idle_below`].
///
/// Call it in the function that then calls [`Suspender::suspend`]: what the switch puts below this address
/// fits in the margin that it keeps. It is read from the register; the address of a local would be
/// that of a shadow copy under the address sanitizer.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: copies one register to another and touches nothing else.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

/// The stack pointer of the calling function or a little less, for [`Extent::idle_below`]: the address of a
/// local of a function that is never inlined.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(never)]
pub(crate) fn stack_pointer() -> usize {
    let local = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&local)).addr()
}

/// Ends the process when dropped: a panic is leaving a coroutine's body, and there is no frame below to catch
/// it.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    #[cold]
    fn drop(&mut self) {
        overflow::write_error(b"aqueduct: a panic left the body of a coroutine; this is a bug in aqueduct\n");
        std::process::abort();
    }
}
