//! What `oneshot`, `watch` and `broadcast` are made of: a state under a lock, and waits for it to become something.
//!
//! Nothing is handed over here. A change notifies *everybody* who waits for it, and they look; so nobody has a notification to pass on,
//! and a wait that is given up leaves nothing behind.
//!
//! # Invariants
//! - `look-or-enrol`: a wait looks and enrols under one lock, so a change comes before the look or finds the waiter.
//! - `no-user-code`: under the lock values and wakers are only moved, or counted. They are made, cloned, called and dropped outside.

use crate::primitive::{Mutex, UnsafeCell, lock};
use crate::wait::committed::{self, Committed, DeadlinePassed};
use crate::wait::queue::{Notification, WaitQueue, Waiter, WaiterState, WakeList, waking};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A state under a lock.
pub(super) struct Shared<S> {
    lock: Mutex<()>,
    state: UnsafeCell<S>,
}

// SAFETY: `state` is touched only with `lock` held, by one thread at a time, hence `S: Send`.
unsafe impl<S: Send> Send for Shared<S> {}
// SAFETY: as above.
unsafe impl<S: Send> Sync for Shared<S> {}

impl<S> Shared<S> {
    pub(super) fn new(state: S) -> Self {
        Self { lock: Mutex::new(()), state: UnsafeCell::new(state) }
    }

    /// Calls `f`, which is ours, under the lock.
    #[inline]
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        let _guard = lock(&self.lock);
        // SAFETY: the lock is held, and no `f` comes back here.
        self.state.with_mut(|state| f(unsafe { &mut *state }))
    }

    /// `with`, for changes: who is to be woken is woken after the lock.
    #[inline]
    pub(super) fn change<R>(&self, f: impl FnOnce(&mut S, &mut WakeList) -> R) -> R {
        waking(|wakes| self.with(|state| f(state, wakes)))
    }
}

/// Tells all who stand in a queue to look.
pub(super) fn notify_all(queue: &mut WaitQueue<()>, wakes: &mut WakeList) {
    while let Notification::Sent(waker) = queue.notify_front() {
        wakes.push(waker);
    }
}

/// Something that can be waited for.
pub(super) trait Watched {
    type State;
    /// What the waiting party itself knows, such as how much it has seen.
    type Cursor;
    type Output;

    fn split(&mut self) -> (&Shared<Self::State>, &mut Self::Cursor);

    /// Looks, under the lock. `Some`: it has come.
    fn look(state: &mut Self::State, cursor: &mut Self::Cursor) -> Option<Self::Output>;

    /// Where to stand until it comes.
    fn queue(state: &mut Self::State) -> &mut WaitQueue<()>;
}

impl<W: Watched> Watched for &mut W {
    type State = W::State;
    type Cursor = W::Cursor;
    type Output = W::Output;

    fn split(&mut self) -> (&Shared<W::State>, &mut W::Cursor) {
        (**self).split()
    }

    fn look(state: &mut W::State, cursor: &mut W::Cursor) -> Option<W::Output> {
        W::look(state, cursor)
    }

    fn queue(state: &mut W::State) -> &mut WaitQueue<()> {
        W::queue(state)
    }
}

/// Looks once, without waiting.
pub(super) fn look<W: Watched>(watched: &mut W) -> Option<W::Output> {
    let (shared, cursor) = watched.split();
    shared.with(|state| W::look(state, cursor))
}

pin_project_lite::pin_project! {
    /// A wait, and when that has ended, the next. Dropping it withdraws it.
    pub(super) struct Watching<W: Watched> {
        watched: W,
        #[pin]
        waiter: Waiter<()>,
    }

    impl<W: Watched> PinnedDrop for Watching<W> {
        fn drop(this: Pin<&mut Self>) {
            this.withdraw();
        }
    }
}

/// What a look found.
enum Found<T> {
    It(T),
    NothingNew,
    NoWaker,
}

impl<W: Watched> Watching<W> {
    pub(super) fn new(watched: W) -> Self {
        // Nobody completes it, so it does not matter whether it could be dropped.
        Self { watched, waiter: Waiter::new((), false) }
    }

    pub(super) fn watched(self: Pin<&mut Self>) -> &mut W {
        self.project().watched
    }

    pub(super) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
        if let Some(found) = self.as_mut().look(cx) {
            return found;
        }
        let waker = cx.waker().clone();
        self.look_or_enrol(waker)
    }

    /// Looks. None: its waker has to be set.
    fn look(self: Pin<&mut Self>, cx: &Context<'_>) -> Option<Poll<W::Output>> {
        let this = self.project();
        let waiter: &Waiter<()> = this.waiter.into_ref().get_ref();
        let (shared, cursor) = this.watched.split();
        let found = shared.with(|state| match W::look(state, cursor) {
            Some(output) => {
                take_out::<W>(state, waiter);
                Found::It(output)
            }
            None if waiter.state() == WaiterState::In && waiter.will_wake(cx.waker()) => Found::NothingNew,
            None => Found::NoWaker,
        });
        match found {
            Found::It(output) => Some(Poll::Ready(output)),
            Found::NothingNew => Some(Poll::Pending),
            Found::NoWaker => None,
        }
    }

    fn look_or_enrol(self: Pin<&mut Self>, waker: Waker) -> Poll<W::Output> {
        let this = self.project();
        let waiter: &Waiter<()> = this.waiter.into_ref().get_ref();
        let (shared, cursor) = this.watched.split();
        let (output, _waker) = shared.with(|state| {
            if let Some(output) = W::look(state, cursor) {
                take_out::<W>(state, waiter);
                return (Some(output), Some(waker));
            }
            let replaced = waiter.set_waker(waker);
            if waiter.state() != WaiterState::In {
                // SAFETY: the waiter is in no queue, and pinned; `withdraw`, by which a drop begins, takes it out.
                unsafe { W::queue(state).push_back(waiter) };
            }
            (None, replaced)
        });
        output.map_or(Poll::Pending, Poll::Ready)
    }

    fn withdraw(self: Pin<&mut Self>) {
        let this = self.project();
        let waiter: &Waiter<()> = this.waiter.into_ref().get_ref();
        // Only the owner takes it from `Out` to another state.
        if waiter.state() != WaiterState::Out {
            let (shared, _) = this.watched.split();
            shared.with(|state| take_out::<W>(state, waiter));
        }
    }
}

/// Takes a waiter out of its queue, under the lock.
fn take_out<W: Watched>(state: &mut W::State, waiter: &Waiter<()>) {
    W::queue(state).remove(waiter);
    waiter.reset();
}

/// A wait in a frame. One that is cut short looks once more: what has come by then is not refused.
pub(super) struct CommittedWatch<'a, W: Watched>(pub(super) Pin<&'a mut Watching<W>>);

impl<W: Watched> Committed for CommittedWatch<'_, W> {
    type Output = W::Output;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<W::Output> {
        self.0.as_mut().poll(cx)
    }

    fn withdraw(&mut self) -> Option<W::Output> {
        self.0.as_mut().withdraw();
        look(self.0.as_mut().watched())
    }
}

/// Waits, at the latest until the deadline.
#[track_caller]
pub(super) fn wait_for<W: Watched>(
    watched: W,
    deadline: Option<Instant>,
) -> Result<W::Output, DeadlinePassed> {
    let watching = pin!(Watching::new(watched));
    committed::complete(&mut CommittedWatch(watching), deadline)
}
