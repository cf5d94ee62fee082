//! Bodies that borrow.
//!
//! # Unsafe
//! A suspended body's frames can be leaked or forgotten, and code that its frames have started may use what they borrow for as long
//! as they have not ended: the threads of a `std::thread::scope` in one of them, the children of a [`task::scope`](crate::task::scope).
//! So a coroutine that is anybody's to drop or to forget borrows nothing, and one that borrows is nobody's: it lies in the frame of
//! [`ScopedCoroutine::scope`], which lends it out. The lifetime of what is borrowed outlives that call. So it is enough that
//! it has not ended before the body has:
//! - `ended-in-scope`: when the scope's frame ends, by returning or by unwinding, the body's frames have ended, or it has not begun.
//!   The drop of [`Scope`] ends it, and aborts the process if it cannot. What is lent is a reference into the frame of which no other
//!   is made, for a lifetime that nothing outside can name: to forget it, to keep it or to exchange it for another's takes nothing
//!   out of the frame. It is the scope's own task that ends the body: `one-owner` is settled before the closure is called.
//! - `forgotten-below`: a scope's frame that does not end (its coroutine is forgotten, or leaked because it swallows what unwinds
//!   it, or waits for ever) leaves the lifetime unended. What lives for it is kept by frames below on the same stack, or lives
//!   longer than all of that stack's frames. The former never end either: a stack with frames on it is not freed
//!   (`switch::Coroutine`), and nothing returns to them past the scope's. The latter is `'static`, if the stack is that of a
//!   [`Coroutine`](super::Coroutine) or of a task (their bodies are, and inputs with them); it outlives a `task::scope` if it is that of a child,
//!   and that does not end before its children (`counted-to-the-end`); it outlives another scope as here, whose frame then lies on
//!   a stack that this holds for in turn, and which does not end before this stack's body has (`ended-in-scope`).
//!
//! This is what `std::thread::scope` asks of whoever calls it, no more: that frames end from the top, or not at all.

use super::body::{Body, Step, Suspender, default_stack, stack_of};
use crate::coroutine::Stack;
use crate::coroutine::overflow::write_error;
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::mem;

/// A [`Coroutine`](super::Coroutine) that may borrow: its body runs within a [`scope`](Self::scope), and has ended when the scope has.
///
/// # Examples
/// ```
/// use aqueduct::generator::{ScopedCoroutine, Step};
///
/// let mut log = Vec::new();
/// let greeter = ScopedCoroutine::new(|suspender, mut name: &str| {
///     while !name.is_empty() {
///         log.push(name.len());
///         name = suspender.suspend(format!("hello {name}"));
///     }
/// });
/// let names = ["Ada".to_string(), "Charles".to_string()];
/// greeter.scope(|mut greeter| {
///     assert_eq!(greeter.resume(&names[0]), Step::Suspended("hello Ada".into()));
///     assert_eq!(greeter.resume(&names[1]), Step::Suspended("hello Charles".into()));
///     assert_eq!(greeter.resume(""), Step::Finished(()));
/// });
/// assert_eq!(log, [3, 7]);
/// ```
/// As an iterator:
/// ```
/// use aqueduct::generator::{ScopedCoroutine, Suspender};
///
/// fn depth_first(tree: &[Vec<usize>], node: usize, items: &Suspender<'_, (), usize>) {
///     items.suspend(node);
///     tree[node].iter().for_each(|child| depth_first(tree, *child, items));
/// }
///
/// let tree = [vec![1, 2], vec![3], vec![], vec![]];
/// let nodes: Vec<_> = ScopedCoroutine::new(|items, ()| depth_first(&tree, 0, items)).scope(|nodes| nodes.collect());
/// assert_eq!(nodes, [0, 1, 3, 2]);
/// ```
/// What it borrows is used by nobody else until the scope is over, and what is lent there stays there:
/// ```compile_fail,E0499
/// # use aqueduct::generator::ScopedCoroutine;
/// let mut number = 1;
/// let coroutine = ScopedCoroutine::<(), (), ()>::new(|_, ()| number += 1);
/// coroutine.scope(|_| number += 1);
/// ```
/// ```compile_fail,E0521
/// # use aqueduct::generator::ScopedCoroutine;
/// let mut leaked = None;
/// ScopedCoroutine::<(), (), ()>::new(|_, ()| ()).scope(|coroutine| leaked = Some(coroutine));
/// ```
/// ```compile_fail,E0521
/// # use aqueduct::generator::ScopedCoroutine;
/// ScopedCoroutine::<(), (), ()>::new(|_, ()| ()).scope(|mut one| {
///     ScopedCoroutine::<(), (), ()>::new(|_, ()| ()).scope(|mut other| std::mem::swap(&mut one, &mut other));
/// });
/// ```
#[must_use = "it does nothing unless it is resumed in a scope"]
pub struct ScopedCoroutine<'a, Input, Yield, Return> {
    stack: Stack,
    f: Boxed<'a, Input, Yield, Return>,
}

type Boxed<'a, Input, Yield, Return> = Box<dyn FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return + 'a>;

impl<'a, Input: 'a, Yield: 'a, Return: 'a> ScopedCoroutine<'a, Input, Yield, Return> {
    /// A coroutine that has not started. The first resumption calls `f` with its input.
    ///
    /// # Panics
    /// When no stack can be had; [`with_stack_size`](Self::with_stack_size) tells why instead.
    #[track_caller]
    pub fn new<F>(f: F) -> Self
    where
        F: FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return + 'a,
    {
        Self { stack: default_stack(), f: Box::new(f) }
    }

    /// A coroutine with a stack of so many usable bytes; as
    /// [`Coroutine::with_stack_size`](super::Coroutine::with_stack_size).
    ///
    /// # Errors
    /// As there.
    pub fn with_stack_size<F>(bytes: usize, f: F) -> io::Result<Self>
    where
        F: FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return + 'a,
    {
        Ok(Self { stack: stack_of(bytes)?, f: Box::new(f) })
    }

    /// Calls `f`, which may resume the coroutine; then unwinds the body, if it is suspended. Returns what `f` returns.
    ///
    /// # Cancel safety
    /// When the calling task is cancelled in `f`, or in the body, the body is unwound before the task goes on unwinding.
    ///
    /// # Panics
    /// When `f` panics; when the body panics as it is resumed, or instead of unwinding.
    ///
    /// # Aborts
    /// Ends the process, with a message, when the body cannot be ended: others may use what it borrows. That is when it goes on 16
    /// times, or is suspended under `panic = "abort"`, where nothing unwinds: a body must return there.
    pub fn scope<R>(self, f: impl FnOnce(ScopedCoroutineRef<'_, Input, Yield, Return>) -> R) -> R {
        // SAFETY: `'a` outlives this call. `ended-in-scope`, `forgotten-below`.
        let mut scope = Scope { body: unsafe { Body::borrowing(self.stack, self.f) } };
        // By nobody but this task, to which the end of the scope belongs.
        scope.body.claim();
        f(ScopedCoroutineRef { body: &mut scope.body })
    }
}

impl<Input, Yield, Return> fmt::Debug for ScopedCoroutine<'_, Input, Yield, Return> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScopedCoroutine")
    }
}

/// A scope under way: at its end the body has ended.
struct Scope<Input, Yield, Return> {
    body: Body<Input, Yield, Return>,
}

impl<Input, Yield, Return> Drop for Scope<Input, Yield, Return> {
    fn drop(&mut self) {
        // Also when a value that it goes on with panics as it is dropped.
        let unended = AbortOnDrop;
        if self.body.end() {
            mem::forget(unended);
            self.body.throw_its_own();
        }
    }
}

/// Ends the process when dropped: a body goes on to borrow what is about to go.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    #[cold]
    fn drop(&mut self) {
        write_error(b"aqueduct: the body of a `ScopedCoroutine` cannot be ended with its scope, from which it borrows\n");
        std::process::abort();
    }
}

/// The coroutine of a [scope](ScopedCoroutine::scope), lent to its closure.
pub struct ScopedCoroutineRef<'scope, Input, Yield, Return> {
    body: &'scope mut Body<Input, Yield, Return>,
}

impl<Input, Yield, Return> ScopedCoroutineRef<'_, Input, Yield, Return> {
    /// Runs the body until it suspends itself again, or returns; as [`Coroutine::resume`](super::Coroutine::resume).
    ///
    /// # Cancel safety
    /// When the calling task is cancelled and the body waits, the body unwinds, and is finished: *may lose data*.
    ///
    /// # Panics
    /// - When the body panics, with its payload: then it is finished.
    /// - When it is finished.
    /// - When it is called in another task than the scope.
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

/// The values that the body suspends itself with.
impl<Yield> Iterator for ScopedCoroutineRef<'_, (), Yield, ()> {
    type Item = Yield;

    #[track_caller]
    fn next(&mut self) -> Option<Yield> {
        if self.is_finished() {
            return None;
        }
        match self.resume(()) {
            Step::Suspended(item) => Some(item),
            Step::Finished(()) => None,
        }
    }
}

impl<Yield> FusedIterator for ScopedCoroutineRef<'_, (), Yield, ()> {}

impl<Input, Yield, Return> fmt::Debug for ScopedCoroutineRef<'_, Input, Yield, Return> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedCoroutineRef").field("body", &self.body).finish()
    }
}
