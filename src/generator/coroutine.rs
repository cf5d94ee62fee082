//! A coroutine that is resumed and suspended with values.

#![forbid(unsafe_code)]

use super::body::{Body, Step, Suspender, default_stack, stack_of};
use std::fmt;
use std::io;

/// A body that is suspended and resumed with values: `Input` goes in with each resumption, `Yield` comes out with each suspension,
/// and `Return` at the end.
///
/// It runs on a stack of its own, with the address space of a coroutine started by [`go`](fn@crate::go) by default. Resuming and
/// suspending cost a few nanoseconds each. It stays on its thread, and belongs to the task that resumed it first.
///
/// Dropped while it is suspended it is unwound, which runs the destructors in its frames; where it cannot be (dropped in another
/// task, under `panic = "abort"`, or when it goes on 16 times) it is leaked, with what its frames own. A destructor that panics
/// there aborts the process, as in any unwinding.
///
/// As it may be leaked, or forgotten, it borrows nothing: body, inputs, and values are `'static`. What it shares with others goes
/// in as an `Rc`, or an `Arc`; to borrow, use a [`ScopedCoroutine`](super::ScopedCoroutine).
///
/// # Examples
/// A running mean:
/// ```
/// use aqueduct::generator::{Coroutine, Step};
///
/// let mut mean = Coroutine::new(|suspender, first: f64| {
///     let (mut sum, mut count) = (first, 1.0);
///     while count < 3.0 {
///         sum += suspender.suspend(sum / count);
///         count += 1.0;
///     }
///     sum
/// });
/// assert_eq!(mean.resume(3.0), Step::Suspended(3.0));
/// assert_eq!(mean.resume(5.0), Step::Suspended(4.0));
/// assert_eq!(mean.resume(1.0), Step::Finished(9.0));
/// ```
/// It does not go to another thread:
/// ```compile_fail,E0277
/// # use aqueduct::generator::Coroutine;
/// let mut coroutine = Coroutine::new(|_, ()| ());
/// std::thread::spawn(move || { coroutine.resume(()); });
/// ```
/// It does not borrow:
/// ```compile_fail,E0597
/// # use aqueduct::generator::Coroutine;
/// let local = vec![1];
/// let shared = &local;
/// let mut coroutine = Coroutine::new(move |_, ()| println!("{}", shared.len()));
/// coroutine.resume(());
/// ```
/// ```compile_fail,E0597
/// # use aqueduct::generator::Coroutine;
/// let local = vec![1];
/// let mut coroutine = Coroutine::new(|_, shared: &Vec<u8>| println!("{}", shared.len()));
/// coroutine.resume(&local);
/// ```
pub struct Coroutine<Input, Yield, Return> {
    /// Its cells make it invariant: what was `'static` when it was made stays so.
    body: Body<Input, Yield, Return>,
}

impl<Input: 'static, Yield: 'static, Return: 'static> Coroutine<Input, Yield, Return> {
    /// A coroutine that has not started. The first resumption calls `f` with its input.
    ///
    /// # Panics
    /// When no stack can be had; [`with_stack_size`](Self::with_stack_size) tells why instead.
    #[track_caller]
    pub fn new<F>(f: F) -> Self
    where
        F: FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return + 'static,
    {
        Self { body: Body::new(default_stack(), f) }
    }

    /// A coroutine with a stack of so many usable bytes, rounded up as by
    /// [`task::Builder::stack_size`](crate::task::Builder::stack_size).
    ///
    /// # Errors
    /// - `InvalidInput`: a size that no stack can have.
    /// - When no stack can be had now: the error names the limit that was met, and the remedy.
    pub fn with_stack_size<F>(bytes: usize, f: F) -> io::Result<Self>
    where
        F: FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return + 'static,
    {
        Ok(Self { body: Body::new(stack_of(bytes)?, f) })
    }
}

impl<Input, Yield, Return> Coroutine<Input, Yield, Return> {
    /// Runs the body from where it was last suspended until it suspends itself again, or returns.
    ///
    /// # Blocking
    /// Whatever the body waits for.
    ///
    /// # Cancel safety
    /// When the calling task is cancelled and the body waits, the body unwinds, and is finished: *may lose data*.
    ///
    /// # Panics
    /// - When the body panics, with its payload: then it is finished.
    /// - When it is finished.
    /// - When another task has resumed it before.
    #[track_caller]
    pub fn resume(&mut self, input: Input) -> Step<Yield, Return> {
        self.body.resume(input)
    }

    /// Whether the body has returned or panicked.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.body.is_finished()
    }
}

impl<Input, Yield, Return> Drop for Coroutine<Input, Yield, Return> {
    fn drop(&mut self) {
        if self.body.end() {
            self.body.throw_its_own();
        }
    }
}

impl<Input, Yield, Return> fmt::Debug for Coroutine<Input, Yield, Return> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine").field("body", &self.body).finish()
    }
}
