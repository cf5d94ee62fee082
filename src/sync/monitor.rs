//! A rule and those who wait for it to grant what they ask: the one waiting protocol of this module.
//!
//! # Picture
//! ```text
//!   lock, semaphore, wait group, barrier ...
//!   ┌─ Monitor ───────────────┐
//!   │ rule: what is free      │   arrive: granted at once, or enrolled at the back
//!   │ queue ─► front ─► .. ─► │   serve:  grant the front for as long as the rule can
//!   └─────────────────────────┘
//! ```
//!
//! # Invariants
//! - `in-order`: only the front of the queue is served, and a newcomer is granted at once only when nobody waits, so requests are
//!   granted in the order in which they came, whoever makes them. (A rule may let newcomers in all the same: the mutex's does.)
//! - `somebody-serves`: when the lock is free and the front could be granted, some party is about to serve: whoever changed the
//!   rule, or took the front away, under the lock.
//! - `shared-gives-way`: what a rule has outside the lock may be changed without it only while nobody waits: a rule whose
//!   `take_quickly` ever says yes sees to that.
//! - `no-half-grants`: what was granted is taken by the owner, or given back by the drop of its enrolment. Nothing is in between.
//!
//! # Protocol
//! A grant is handed over for good, to coroutines, threads and futures alike: the waiter is done, and what it asked for is its
//! own. A future that is dropped before it has looked gives that back, and the next in line is served. (Only notifying futures
//! would let newcomers in between, again and again. The price of handing over: a future that is neither polled nor dropped keeps
//! what it was granted.)
//!
//! A rule may *call* the front instead: it is taken out of the queue and looks for itself; in vain, it returns to the front. One
//! that goes instead of looking tells the rule, and the next is seen to.
//!
//! One waiter is served at a time, and its waker called after the lock, before the next: no list of wakers lies in a frame
//! while foreign code runs. Rules whose grants must reach everybody who waits *now* count rounds, so that what happens between
//! two wakes takes nothing back.
//!
//! # Unsafe
//! Enrolling leans on `linked-is-alive` (see `wait::queue`): an [`Enrolment`] is pinned, and its drop withdraws it. Slots are
//! touched under the lock, or by the owner of a waiter that is out or done.

use crate::primitive::{Mutex, lock, wake_all};
use crate::wait::committed::{Committed, DeadlinePassed, complete};
use crate::wait::poll_budget;
use crate::wait::queue::{Completion, Notification, WaitQueue, Waiter, WaiterState};
use std::fmt;
use std::iter;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

/// What is to be done about the front of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// It is granted what it asks for.
    Grant,
    /// It is woken, to look for itself.
    Call,
}

/// What may be granted, and when. Its methods run under the lock: no user code in them.
pub(super) trait Rule {
    /// What a waiter asks for, and after the grant what it got.
    type Request: Copy + Send;

    /// The part of the rule that is looked at, and changed, without the lock too.
    type Shared: Sync;

    /// Arriving leaves a mark even if nothing is granted: then there is no trying first.
    const ARRIVAL_COUNTS: bool = false;

    /// A newcomer's attempt without the lock. False says nothing.
    fn take_quickly(_: &Self::Shared, _: &mut Self::Request) -> bool {
        false
    }

    /// The same, for one who would stand in line next and hopes that a holder on another core is about to be done.
    fn take_soon(_: &Self::Shared, _: &mut Self::Request) -> bool {
        false
    }

    /// A newcomer's look; `alone`: nobody waits. Whether it was granted; if not, it is enrolled.
    fn arrive(&mut self, shared: &Self::Shared, request: &mut Self::Request, alone: bool) -> bool {
        let granted = alone && self.can_grant(shared, request);
        if granted {
            self.grant(shared, request);
        }
        granted
    }

    /// The look of one who will not wait.
    fn look_in(&mut self, shared: &Self::Shared, request: &mut Self::Request, alone: bool) -> bool {
        self.arrive(shared, request, alone)
    }

    /// A look of one who was called, without the lock. False says nothing.
    fn answer_soon(_: &Self::Shared) -> bool {
        false
    }

    /// The look of one who was called; if it is not granted, it returns to the front. `alone`: nobody else waits.
    fn look_again(&mut self, shared: &Self::Shared, request: &mut Self::Request, alone: bool) -> bool {
        self.arrive(shared, request, alone)
    }

    fn can_grant(&self, shared: &Self::Shared, request: &Self::Request) -> bool;

    /// What the front is due, which asks for this.
    fn due(&self, shared: &Self::Shared, request: &Self::Request) -> Due {
        if self.can_grant(shared, request) { Due::Grant } else { Due::Nothing }
    }

    /// The front is about to be called.
    fn called(&mut self, _: &Self::Shared) {}

    /// A waiter goes away that was called, and has not looked.
    fn goes_called(&mut self, _: &Self::Shared) {}

    /// `can_grant` has just said so.
    fn grant(&mut self, shared: &Self::Shared, request: &mut Self::Request);

    /// A waiter goes away that has not been served. True: it had been released all the same, by a round that is over.
    fn leave(&mut self, _request: &Self::Request) -> bool {
        false
    }

    /// A waiter goes away before it has looked at what it was granted.
    fn give_back(&mut self, shared: &Self::Shared, request: &Self::Request);
}

/// See the module's head. `repr(C)`: what is looked at without the lock stands last, beside the value of a mutex.
#[repr(C)]
pub(super) struct Monitor<R: Rule> {
    inner: Mutex<Inner<R>>,
    shared: R::Shared,
}

struct Inner<R: Rule> {
    rule: R,
    queue: WaitQueue<R::Request>,
}

impl<R: Rule> Inner<R> {
    /// What the front is due.
    fn due(&self, shared: &R::Shared) -> Due {
        // SAFETY: `self` is under the lock.
        let due = |front: &Waiter<_>| unsafe { front.with_slot(|request| self.rule.due(shared, request)) };
        self.queue.front().map_or(Due::Nothing, due)
    }

    /// Serves the front, if it is due anything.
    fn serve_one(&mut self, shared: &R::Shared) -> Served {
        loop {
            let waker = match self.due(shared) {
                Due::Nothing => None,
                Due::Grant => {
                    let rule = &mut self.rule;
                    match self.queue.complete_front(|request| rule.grant(shared, request)) {
                        Completion::Done(waker) => waker,
                        Completion::Lost => continue,
                        Completion::Nobody => None,
                    }
                }
                Due::Call => {
                    // First, for who has been notified may look at once, without the lock.
                    self.rule.called(shared);
                    match self.queue.notify_front() {
                        Notification::Sent(waker) => waker,
                        Notification::Nobody => None,
                    }
                }
            };
            return Served { waker, more: self.due(shared) != Due::Nothing };
        }
    }
}

/// What is to be done after the lock: wake, and serve on if there is more.
#[must_use = "somebody waits"]
struct Served {
    waker: Option<Waker>,
    more: bool,
}

impl<R: Rule<Shared = ()>> Monitor<R> {
    const_fn! {
        pub(super) const fn new(rule: R) -> Self {
            Self::sharing(rule, ())
        }
    }
}

impl<R: Rule> Monitor<R> {
    const_fn! {
        pub(super) const fn sharing(rule: R, shared: R::Shared) -> Self {
            Self { shared, inner: Mutex::new(Inner { rule, queue: WaitQueue::new() }) }
        }
    }

    /// The part of the rule that needs no lock.
    pub(super) fn shared(&self) -> &R::Shared {
        &self.shared
    }

    /// Reads the rule.
    pub(super) fn look<T>(&self, f: impl FnOnce(&R) -> T) -> T {
        f(&lock(&self.inner).rule)
    }

    /// Changes the rule, and serves whom that helps. `f` is told whether anybody waits.
    pub(super) fn change<T>(&self, f: impl FnOnce(&mut R, bool) -> T) -> T {
        let mut inner = lock(&self.inner);
        let waiting = !inner.queue.is_empty();
        let result = f(&mut inner.rule, waiting);
        let served = inner.serve_one(&self.shared);
        drop(inner);
        self.follow_up(served);
        result
    }

    /// Wakes, and serves the front for as long as it can be.
    fn follow_up(&self, served: Served) {
        if served.more {
            return self.serve_on(served);
        }
        if let Some(waker) = served.waker {
            waker.wake();
        }
    }

    /// The next is served when the one before has been woken, and all the same if that panicked (`somebody-serves`).
    #[cold]
    fn serve_on(&self, served: Served) {
        let Served { mut waker, mut more } = served;
        wake_all(iter::from_fn(|| {
            while waker.is_none() && more {
                Served { waker, more } = lock(&self.inner).serve_one(&self.shared);
            }
            waker.take()
        }));
    }

    /// Grants the request now or not at all.
    #[inline]
    pub(super) fn try_now(&self, mut request: R::Request) -> Option<R::Request> {
        if R::take_quickly(&self.shared, &mut request) { Some(request) } else { self.try_slowly(request) }
    }

    #[cold]
    #[inline(never)]
    fn try_slowly(&self, mut request: R::Request) -> Option<R::Request> {
        let mut inner = lock(&self.inner);
        let alone = inner.queue.is_empty();
        inner.rule.look_in(&self.shared, &mut request, alone).then_some(request)
    }

    /// Waits for the grant: on a coroutine or a thread.
    #[inline]
    #[track_caller]
    pub(super) fn wait(
        &self,
        request: R::Request,
        deadline: Option<Instant>,
    ) -> Result<R::Request, DeadlinePassed> {
        crate::wait::yield_if_spent();
        if !R::ARRIVAL_COUNTS
            && let Some(granted) = self.try_now(request)
        {
            return Ok(granted);
        }
        self.wait_in_line(request, deadline)
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn wait_in_line(
        &self,
        request: R::Request,
        deadline: Option<Instant>,
    ) -> Result<R::Request, DeadlinePassed> {
        let enrolment = pin!(Enrolment::new(self, request, true));
        complete(&mut Waiting(enrolment.as_ref()), deadline)
    }

    /// The owner's look at its waiter; enrols it the first time.
    ///
    /// # Safety
    /// The waiter keeps `linked-is-alive`: its owner withdraws it before it moves or goes.
    unsafe fn poll(&self, waiter: &Waiter<R::Request>, cx: &mut Context<'_>) -> Poll<R::Request> {
        match waiter.state() {
            WaiterState::Done => return Poll::Ready(take(waiter)),
            WaiterState::Out => {
                let quickly = |request: &mut _| {
                    R::take_quickly(&self.shared, request) || R::take_soon(&self.shared, request)
                };
                // SAFETY: it is in no queue, so it is its owner's alone.
                if unsafe { waiter.with_slot(quickly) } {
                    return Poll::Ready(take(waiter));
                }
            }
            WaiterState::Notified if R::answer_soon(&self.shared) => return Poll::Ready(take(waiter)),
            WaiterState::In | WaiterState::Notified => {}
        }
        let mut waker = Some(cx.waker().clone());
        let mut inner = lock(&self.inner);
        match waiter.state() {
            WaiterState::Done => return Poll::Ready(take(waiter)),
            WaiterState::In if waiter.will_wake(cx.waker()) => return Poll::Pending,
            WaiterState::In => {}
            state @ (WaiterState::Out | WaiterState::Notified) => {
                let (alone, called) = (inner.queue.is_empty(), state == WaiterState::Notified);
                let look = |request: &mut _| {
                    if called {
                        inner.rule.look_again(&self.shared, request, alone)
                    } else {
                        inner.rule.arrive(&self.shared, request, alone)
                    }
                };
                // SAFETY: the lock is held.
                if unsafe { waiter.with_slot(look) } {
                    let served = inner.serve_one(&self.shared);
                    drop(inner);
                    self.follow_up(served);
                    return Poll::Ready(take(waiter));
                }
                if called {
                    // SAFETY: it is in no queue; the caller's promise.
                    unsafe { inner.queue.push_front(waiter) };
                } else {
                    // SAFETY: as above.
                    unsafe { inner.queue.push_back(waiter) };
                }
            }
        }
        let before = waker.take().and_then(|waker| waiter.set_waker(waker));
        drop(inner);
        drop(before);
        Poll::Pending
    }

    /// Takes a waiter back. `Some`: it had been granted before.
    fn take_back(&self, waiter: &Waiter<R::Request>) -> Option<R::Request> {
        let mut inner = lock(&self.inner);
        if waiter.state() == WaiterState::Done {
            return Some(take(waiter));
        }
        let called = waiter.state() == WaiterState::Notified;
        if called {
            waiter.reset();
            inner.rule.goes_called(&self.shared);
        } else if !inner.queue.remove(waiter) {
            return None;
        }
        // SAFETY: the lock is held.
        let released = !called && unsafe { waiter.with_slot(|request| inner.rule.leave(request)) };
        let served = inner.serve_one(&self.shared);
        drop(inner);
        self.follow_up(served);
        released.then(|| take(waiter))
    }
}

/// Takes the grant out of a waiter that is out or done. From here on the caller answers for it.
fn take<Q: Copy>(waiter: &Waiter<Q>) -> Q {
    // SAFETY: no peer knows of a waiter that is out or done; the caller is its owner.
    let granted = unsafe { waiter.with_slot(|request| *request) };
    waiter.reset();
    granted
}

/// Whatever has a monitor: a reference to one, or a counted handle of the thing that holds it.
pub(super) trait Hold {
    type Rule: Rule;

    fn monitor(&self) -> &Monitor<Self::Rule>;
}

impl<R: Rule> Hold for &Monitor<R> {
    type Rule = R;

    fn monitor(&self) -> &Monitor<R> {
        self
    }
}

type RequestOf<H> = <<H as Hold>::Rule as Rule>::Request;

/// A place in line: part of every waiting future, or in the frame of a waiting call.
pub(super) struct Enrolment<H: Hold> {
    holder: H,
    waiter: Waiter<RequestOf<H>>,
}

impl<H: Hold> Enrolment<H> {
    /// Nothing is enrolled before the first poll.
    pub(super) fn new(holder: H, request: RequestOf<H>, committed: bool) -> Self {
        Self { holder, waiter: Waiter::new(request, committed) }
    }

    /// For a future.
    pub(super) fn revocable(holder: H, request: RequestOf<H>) -> Self {
        Self::new(holder, request, false)
    }

    pub(super) fn holder(&self) -> &H {
        &self.holder
    }

    /// A future's poll.
    pub(super) fn poll(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<RequestOf<H>> {
        if self.waiter.state() == WaiterState::Out {
            ready!(poll_budget(cx));
        }
        self.poll_at_once(cx)
    }

    /// The same without regard for the budget: for the second half of an operation.
    pub(super) fn poll_at_once(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<RequestOf<H>> {
        let this = self.get_ref();
        // SAFETY: it is pinned, and `drop` withdraws it.
        unsafe { this.holder.monitor().poll(&this.waiter, cx) }
    }

    /// Gives the place up. `Some`: it had been granted before.
    pub(super) fn withdraw(&self) -> Option<RequestOf<H>> {
        self.holder.monitor().take_back(&self.waiter)
    }
}

impl<H: Hold> Drop for Enrolment<H> {
    fn drop(&mut self) {
        if self.waiter.state() == WaiterState::Out {
            return;
        }
        let monitor = self.holder.monitor();
        if let Some(granted) = monitor.take_back(&self.waiter) {
            // `no-half-grants`
            monitor.change(|rule, _| rule.give_back(&monitor.shared, &granted));
        }
    }
}

impl<H: Hold> fmt::Debug for Enrolment<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment").field("waiter", &self.waiter).finish_non_exhaustive()
    }
}

/// The frame of a waiting call: nobody else can drop it.
struct Waiting<'a, H: Hold>(Pin<&'a Enrolment<H>>);

impl<H: Hold> Committed for Waiting<'_, H> {
    type Output = RequestOf<H>;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RequestOf<H>> {
        self.0.poll_at_once(cx)
    }

    fn withdraw(&mut self) -> Option<RequestOf<H>> {
        self.0.withdraw()
    }
}
