//! A task of an [`Executor`](super::Executor): its header, the future that is scheduled, and its run.
//!
//! As in the runtime, async-task's own cancellation is not used: it discards an output that is already there, and it aborts the
//! process when a destructor unwinds. The body looks at the flags before each poll, drops the user's future itself, under
//! `catch_unwind`, and returns an outcome: nothing unwinds into async-task.
//!
//! # Invariants
//! - `dropped-first`: a task leaves its executor's list only after its future has been dropped. The executor's `Drop` waits for
//!   the list to be empty, so no future outlives what it borrows.
//! - `thrown-within`: `Header::thrown` is null or points to a cell in the frame of [`run`] that runs this very task.

use crate::executor::state::State;
use crate::primitive::contain_panic;
use crate::task;
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
use std::task::{Context, Poll};

pub(super) type Runnable = async_task::Runnable<Header>;
pub(super) type Handle<T> = async_task::Task<Outcome<T>, Header>;
type Payload = Box<dyn Any + Send>;
type Thrown = Cell<Option<Payload>>;

/// A task's metadata.
pub(super) struct Header {
    state: &'static State,
    /// Its key in the list of live tasks.
    key: AtomicUsize,
    cancelled: AtomicBool,
    /// Where the run in progress wants to find a cancellation of the coroutine that it runs on.
    thrown: AtomicPtr<Thrown>,
}

impl Header {
    pub(super) fn key(&self) -> usize {
        self.key.load(Relaxed)
    }

    pub(super) fn set_key(&self, key: usize) {
        self.key.store(key, Relaxed);
    }

    /// Asks the task to end. The caller holds its handle, and it has not been waited for to the end.
    pub(super) fn cancel(&self) {
        // Release pairs with `is_ending`: what the canceller did before is seen by the destructors.
        self.cancelled.store(true, Release);
        self.state.wake(self);
    }

    fn is_ending(&self) -> bool {
        self.cancelled.load(Acquire) || self.state.is_closed()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("key", &self.key).field("cancelled", &self.cancelled).finish()
    }
}

/// What a body leaves for the one who awaits the task. Dropping it never unwinds: async-task would abort.
pub(super) struct Outcome<T>(Option<Result<T, Failure>>);

pub(super) enum Failure {
    Cancelled,
    Panicked(Payload),
}

impl<T> Outcome<T> {
    fn new(result: Result<T, Failure>) -> Self {
        Self(Some(result))
    }

    pub(super) fn take(mut self) -> Result<T, Failure> {
        self.0.take().expect("an outcome is taken once")
    }

    /// A destructor's panic takes the place of what came before it, unless that was a panic itself.
    fn replace(&mut self, payload: Payload) {
        if !matches!(self.0, Some(Err(Failure::Panicked(_)))) {
            *self = Self::new(Err(Failure::Panicked(payload)));
        }
    }
}

impl<T> Drop for Outcome<T> {
    fn drop(&mut self) {
        let result = self.0.take();
        contain_panic(|| drop(result));
    }
}

impl<T> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    /// The future that is scheduled.
    struct Body<'a, F> {
        header: &'a Header,
        #[pin]
        future: Option<F>,
    }
}

impl<F: Future> Future for Body<'_, F> {
    type Output = Outcome<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let header = *this.header;
        let mut outcome = if header.is_ending() {
            Outcome::new(Err(Failure::Cancelled))
        } else {
            let Some(future) = this.future.as_mut().as_pin_mut() else {
                unreachable!("async-task does not poll a task that has completed");
            };
            match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(value)) => Outcome::new(Ok(value)),
                Err(payload) => Outcome::new(Err(header.unwound(payload))),
            }
        };
        let destructor = || task::shield(|| this.future.set(None));
        if let Err(payload) = catch_unwind(AssertUnwindSafe(destructor)) {
            outcome.replace(payload);
        }
        // `dropped-first`
        header.state.leave(header.key());
        Poll::Ready(outcome)
    }
}

impl Header {
    /// A poll has unwound: by a panic of its own, or because the coroutine that drives the executor was cancelled in a wait
    /// inside the poll. That one is not this task's to keep: its driver goes on unwinding.
    fn unwound(&self, payload: Payload) -> Failure {
        // SAFETY: `thrown-within`: we are inside that run.
        match unsafe { self.thrown.load(Relaxed).as_ref() } {
            Some(thrown) if task::is_cancelled(&*payload) => {
                thrown.set(Some(payload));
                Failure::Cancelled
            }
            _ => Failure::Panicked(payload),
        }
    }
}

/// Makes a task. It is neither in the executor's list nor scheduled.
///
/// # Safety
/// - A future that is not `Send`, or whose output is not, is run and its handle used on one thread only.
/// - The task has ended, by [`State::end_all`] if by nothing else, before what the future borrows goes.
pub(super) unsafe fn prepare<F: Future>(state: &'static State, future: F) -> (Runnable, Handle<F::Output>) {
    let header = Header {
        state,
        key: AtomicUsize::new(usize::MAX),
        cancelled: AtomicBool::new(false),
        thrown: AtomicPtr::new(ptr::null_mut()),
    };
    // SAFETY: the caller answers for threads and lifetimes; `schedule` is Send, Sync and 'static.
    unsafe {
        async_task::Builder::new()
            .metadata(header)
            .spawn_unchecked(|header| Body { header, future: Some(future) }, schedule)
    }
}

fn schedule(runnable: Runnable) {
    // `type-stable`: the task may be gone after the push, the state is not.
    let state = runnable.metadata().state;
    state.push(runnable);
}

/// Polls a task once.
pub(super) fn run(runnable: Runnable) {
    let thrown: Thrown = Cell::new(None);
    // `thrown-within`: whoever has the runnable is the only one to run it, and the next run sets its own.
    runnable.metadata().thrown.store(ptr::from_ref(&thrown).cast_mut(), Relaxed);
    runnable.run();
    if let Some(payload) = thrown.take() {
        task::rethrow(payload);
    }
}
