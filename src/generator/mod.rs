//! Coroutines by hand: bodies that are suspended and resumed with values, and iterators made of them.
//!
//! [`go`](fn@crate::go) starts coroutines that a scheduler resumes. Here they are resumed by whoever has them, on the spot, like a
//! call: a [`Coroutine`] passes a value in with each resumption and another one out with each suspension; a [`Generator`] only
//! passes values out, and is an [`Iterator`], or a [`Stream`](futures::Stream). Both may be dropped, leaked and forgotten at any time,
//! and so borrow nothing: what they share goes in as an `Rc` or an `Arc`. A [`ScopedCoroutine`] borrows; it ends with its scope.
//!
//! # Waiting
//! A body may wait, as any code may: that suspends the task that has resumed it, the coroutine with it. It is not a suspension of
//! the coroutine: `resume` returns later.
//!
//! # Invariants
//! - `one-owner`: a coroutine is resumed, and unwound, only by the task that resumed it first, off the workers by its thread: what
//!   its frames hold may belong to that task. Dropped elsewhere it is leaked. A scoped one belongs to its scope's task.
//! - `own-stack`: a suspension begins on the coroutine's own stack, so that the record of the task that waits in one knows which
//!   stack that is.
//! - `own-waits`: no wait is left behind in a suspended coroutine's frames. A wait belongs to the record of the stack below, counts
//!   in its `depth`, and takes its wakes: the next resumption may be on another record, and in between others wait on this one.

mod body;
mod coroutine;
mod iterator;
mod scoped;

pub use body::{Step, Suspender};
pub use coroutine::Coroutine;
pub use iterator::{Generator, GeneratorStream};
pub use scoped::{ScopedCoroutine, ScopedCoroutineRef};
