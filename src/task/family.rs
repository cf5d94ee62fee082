//! The children of a scope: counted, cancelled and joined.
//!
//! # Invariants
//! - `counted-to-the-end`: a child is counted from before it is spawned until its closure or future, with all that it
//!   borrows, has been dropped, however it ends: the [`End`] is the last field of the [`Child`].
//! - `never-detached`: the handle of a child is either joined inside the scope, or an orphan here, or leaked. So its value is
//!   dropped inside the scope, or never.
//! - `entered-is-alive`: the header of a child that has entered is alive until its `End` takes it out, under the lock.

use super::cancel::{is_cancelled, rethrow, throw};
use super::context::Cancellable;
use super::header::Header;
use super::join::{JoinError, JoinHandle};
use crate::primitive::{Mutex, lock};
use crate::runtime::current;
use crate::wait::block_on_borrowing;
use futures::task::AtomicWaker;
use slab::Slab;
use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Family {
    state: Mutex<State>,
    /// The parent, at the end of its scope.
    parent: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    cancelled: bool,
    /// Some child was cancelled before it was complete.
    cut_short: bool,
    entered: Slab<HeaderOf>,
    orphans: Vec<Box<dyn Orphan>>,
    /// Orphans are looked through when there are so many.
    sweep_at: usize,
    panics: Panics,
}

/// A child's header, under the lock of its family.
#[derive(Debug)]
struct HeaderOf(*const Header);

// SAFETY: a header is Sync, and `entered-is-alive`.
unsafe impl Send for HeaderOf {}

#[derive(Debug, Default)]
struct Panics {
    /// The task that panicked first.
    first: Option<u64>,
    /// What nobody joined.
    payloads: Vec<(u64, Box<dyn Any + Send>)>,
}

impl Panics {
    fn take_first(&mut self) -> Option<Box<dyn Any + Send>> {
        let mut payloads = mem::take(&mut self.payloads);
        let first = payloads.iter().position(|(id, _)| Some(*id) == self.first).unwrap_or(0);
        let (_, payload) = (first < payloads.len()).then(|| payloads.swap_remove(first))?;
        for (_, other) in payloads {
            drop_quietly(other);
        }
        Some(payload)
    }
}

/// Drops what may be the user's; a panic of the destructor is returned.
fn drop_caught<T>(value: T) -> Result<(), Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(|| drop(value)))
}

/// Drops a panic's payload. What its destructor throws is forgotten: one panic is under way already.
fn drop_quietly(payload: Box<dyn Any + Send>) {
    mem::forget(drop_caught(payload));
}

/// A child whose handle was dropped.
trait Orphan: Send {
    fn is_finished(&self) -> bool;

    /// Waits for its last steps; the payload of its panic.
    fn finish(self: Box<Self>) -> Option<(u64, Box<dyn Any + Send>)>;
}

impl fmt::Debug for dyn Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Orphan(finished: {})", self.is_finished())
    }
}

struct Handle<T>(JoinHandle<T>);

impl<T: Send> Orphan for Handle<T> {
    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    fn finish(self: Box<Self>) -> Option<(u64, Box<dyn Any + Send>)> {
        let id = self.0.id().0;
        let payload = match block_on_borrowing(self.0) {
            Ok(value) => drop_caught(value).err(),
            Err(error) => JoinError::into_panic(error).ok(),
        };
        payload.map(|payload| (id, payload))
    }
}

impl Family {
    /// A child is about to be spawned.
    pub(super) fn adopt<F>(self: &Arc<Self>, future: F) -> Child<F> {
        lock(&self.state).running += 1;
        Child { future: Some(future), end: End { family: self.clone(), key: None, complete: false } }
    }

    /// A child's handle is dropped before it was joined.
    ///
    /// # Safety
    /// `join_all` is called before anything that `T` borrows ends.
    pub(super) unsafe fn orphan<'scope, T: Send + 'scope>(&self, handle: JoinHandle<T>) {
        let orphan: Box<dyn Orphan + 'scope> = Box::new(Handle(handle));
        // SAFETY: only the lifetime changes. The orphan is finished and dropped in `join_all` at the latest, in time by the
        // caller's promise; `State` is never dropped with one in it, as every scope calls it.
        let orphan = unsafe { mem::transmute::<Box<dyn Orphan + 'scope>, Box<dyn Orphan + 'static>>(orphan) };
        let mut state = lock(&self.state);
        state.orphans.push(orphan);
        if state.orphans.len() < state.sweep_at.max(SWEEP_MIN) {
            return;
        }
        let (finished, running) = mem::take(&mut state.orphans).into_iter().partition(|o| o.is_finished());
        state.orphans = running;
        state.sweep_at = state.orphans.len() * 2;
        drop(state);
        self.finish(finished);
    }

    fn finish(&self, orphans: Vec<Box<dyn Orphan>>) {
        for orphan in orphans {
            let panic = orphan.finish();
            lock(&self.state).panics.payloads.extend(panic);
        }
    }

    /// Asks all children to end, those that are spawned later too.
    pub(super) fn cancel_all(&self) {
        let mut state = lock(&self.state);
        state.cancelled = true;
        for (_, HeaderOf(header)) in &state.entered {
            // SAFETY: `entered-is-alive`. It wakes the task by wakers of our own: no user code runs.
            unsafe { (**header).request_cancel() };
        }
    }

    /// Waits until every child has ended, and does not unwind. The parent's cancellation is passed on; true: it was, and cut a
    /// child short.
    pub(super) fn join_all(&self, parent: Cancellable) -> bool {
        let whole = AbortOnUnwind;
        // A guard that the scope's closure left behind must not refuse this wait.
        let forbidden = current::replace_forbidden((0, None));
        let mut passed_on = false;
        loop {
            block_on_borrowing(poll_fn(|cx| {
                if !passed_on && parent.is_requested() {
                    passed_on = true;
                    self.cancel_all();
                }
                self.parent.register(cx.waker());
                if lock(&self.state).running == 0 { Poll::Ready(()) } else { Poll::Pending }
            }));
            let orphans = mem::take(&mut lock(&self.state).orphans);
            if orphans.is_empty() {
                break;
            }
            // Their values are dropped here: destructors that may start children, or leave other children's handles behind.
            self.finish(orphans);
        }
        current::replace_forbidden(forbidden);
        mem::forget(whole);
        passed_on && lock(&self.state).cut_short
    }

    /// The first panic that nobody has joined.
    pub(super) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        let mut panics = mem::take(&mut lock(&self.state).panics);
        panics.take_first()
    }
}

/// Guessed: below this many orphans it is not worth looking for those that have finished.
const SWEEP_MIN: usize = 32;

pin_project_lite::pin_project! {
    /// A child's body.
    pub(super) struct Child<F> {
        #[pin]
        future: Option<F>,
        // Last: dropped after what the future borrows.
        end: End,
    }
}

impl<F: Future> Future for Child<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        this.end.enter();
        let poll = catch_unwind(AssertUnwindSafe(|| {
            let future = this.future.as_mut().as_pin_mut().expect("a child that has completed is not polled");
            let value = std::task::ready!(future.poll(cx));
            // Here, and not by the task's wrapper: a value that a panicking destructor throws away must go before the count does.
            this.future.set(None);
            // What their destructors throw throws the value away, too.
            current::with_task(Header::drop_extras);
            Poll::Ready(value)
        }));
        match poll {
            Ok(result) => {
                this.end.complete = result.is_ready();
                result
            }
            Err(payload) => {
                if !is_cancelled(&*payload) {
                    this.end.note_panic();
                }
                rethrow(payload)
            }
        }
    }
}

/// Ends the count of a child when dropped.
struct End {
    family: Arc<Family>,
    /// Its place among those that have entered.
    key: Option<usize>,
    complete: bool,
}

impl End {
    /// At the first poll, inside the child's task. Unwinds if the family has been cancelled.
    fn enter(&mut self) {
        if self.key.is_some() {
            return;
        }
        let cancelled = current::with_task(|header| {
            let mut state = lock(&self.family.state);
            self.key = Some(state.entered.insert(HeaderOf(header)));
            state.cancelled
        });
        if cancelled == Some(true) {
            current::with_task(|header| header.cancel.request());
            if !cfg!(panic = "abort") {
                throw();
            }
        }
    }

    fn note_panic(&mut self) {
        self.complete = true;
        lock(&self.family.state).panics.first.get_or_insert(current::task_id().unwrap_or_default());
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = lock(&self.family.state);
        if let Some(key) = self.key {
            state.entered.remove(key);
        }
        state.running -= 1;
        state.cut_short |= !self.complete;
        let last = state.running == 0;
        drop(state);
        if last {
            self.family.parent.wake();
        }
    }
}

/// Ends the process when dropped: the frames that children borrow from would be lost.
pub(crate) struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    #[cold]
    fn drop(&mut self) {
        std::process::abort();
    }
}
