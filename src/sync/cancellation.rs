//! Asking a tree of parties to stop.

#![forbid(unsafe_code)]

use super::monitor::{Enrolment, Hold, Monitor, Rule};
use crate::channel::slot::Slot;
use crate::primitive::{FirstPanic, Mutex, lock};
use crate::reactor::TimerEntry;
use crate::select::{FutureCase, Receive};
use crate::time::{Elapsed, deadline_after};
use slab::Slab;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Asks those who hold it, or a child of it, to stop. Clones are handles of the same token.
///
/// It asks and does not force: the parties look ([`is_cancelled`](Self::is_cancelled)) or wait
/// ([`cancelled`](Self::cancelled)). To end a task from outside, there is [`JoinHandle::cancel`](crate::JoinHandle::cancel).
///
/// A [child](Self::child) is cancelled with its parent, for the same [cause](Self::cause), and may be cancelled alone. A token
/// may have a deadline, which its children share unless theirs is earlier; it is looked at when somebody looks or waits, and costs
/// no timer otherwise.
///
/// A select receives the cause from the token itself, as Go's does from `ctx.Done()`: `cause = <-token => ..`.
///
/// # Examples
/// ```
/// use aqueduct::{go, sync::CancellationToken};
///
/// let token = CancellationToken::new();
/// let child = token.child();
/// let worker = go!(child.cancelled().to_string());
/// token.cancel_with("maintenance");
/// assert_eq!(worker.join().unwrap(), "maintenance");
/// ```
/// Async:
/// ```
/// # use std::time::Duration;
/// # aqueduct::block_on(async {
/// let token = aqueduct::sync::CancellationToken::with_timeout(Duration::from_millis(1));
/// assert!(token.cancelled_async().await.is_deadline());
/// # });
/// ```
/// As a case of a select, where it is only looked at: a case that loses leaves no trace, and the token stays usable.
/// ```
/// use aqueduct::{channel, select, sync::CancellationToken};
///
/// let (_tx, jobs) = channel::bounded::<u32>(1);
/// let token = CancellationToken::new();
/// token.cancel_with("no more work");
/// select! {
///     job = <-jobs => unreachable!("{job:?}"),
///     cause = <-token => assert_eq!(cause.to_string(), "no more work"),
/// }
/// ```
#[derive(Clone)]
pub struct CancellationToken {
    node: Arc<Node>,
}

struct Node {
    verdict: Monitor<Verdict>,
    /// `None` once it is cancelled: then nobody is added.
    children: Mutex<Option<Slab<Weak<Node>>>>,
    /// The parent, and this node's place among its children.
    parent: Option<(Arc<Node>, usize)>,
    deadline: Option<Instant>,
}

/// Set once.
#[derive(Default)]
pub(super) struct Verdict {
    cause: Option<Cause>,
}

impl Rule for Verdict {
    type Request = ();
    type Shared = ();

    fn can_grant(&self, _: &(), (): &()) -> bool {
        self.cause.is_some()
    }

    fn grant(&mut self, _: &(), (): &mut ()) {}

    fn leave(&mut self, (): &()) -> bool {
        self.cause.is_some()
    }

    fn give_back(&mut self, _: &(), (): &()) {}
}

impl CancellationToken {
    /// A token without parent and deadline.
    #[must_use]
    pub fn new() -> Self {
        Self::root(None)
    }

    /// A token that is cancelled at `deadline`.
    #[must_use]
    pub fn with_deadline(deadline: Instant) -> Self {
        Self::root(Some(deadline))
    }

    /// A token that is cancelled after `timeout`, counted from this call.
    #[must_use]
    pub fn with_timeout(timeout: Duration) -> Self {
        Self::with_deadline(deadline_after(timeout))
    }

    fn root(deadline: Option<Instant>) -> Self {
        Self { node: Arc::new(Node::new(None, deadline)) }
    }

    /// A token that is cancelled with this one at the latest.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { node: Node::child(&self.node, self.node.deadline) }
    }

    /// A token that is cancelled with this one, or at `deadline`, whichever is first.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::sync::CancellationToken;
    /// use std::time::Instant;
    ///
    /// let parent = CancellationToken::new();
    /// let child = parent.child_with_deadline(Instant::now());
    /// assert!(child.is_cancelled() && !parent.is_cancelled());
    /// ```
    #[must_use]
    pub fn child_with_deadline(&self, deadline: Instant) -> Self {
        let deadline = self.node.deadline.map_or(deadline, |ours| ours.min(deadline));
        Self { node: Node::child(&self.node, Some(deadline)) }
    }

    /// A token that is cancelled with this one, or after `timeout`, whichever is first.
    #[must_use]
    pub fn child_with_timeout(&self, timeout: Duration) -> Self {
        self.child_with_deadline(deadline_after(timeout))
    }

    /// When it is cancelled at the latest, by its own deadline or an ancestor's.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline
    }

    /// Cancels this token and its descendants. The first cause stays.
    pub fn cancel(&self) {
        self.cancel_with("cancelled");
    }

    /// As [`cancel`](Self::cancel), with a cause: a text, or an error of any type.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::sync::CancellationToken;
    /// use std::io;
    ///
    /// let token = CancellationToken::new();
    /// token.cancel_with(io::Error::from(io::ErrorKind::BrokenPipe));
    /// let cause = token.cause().unwrap();
    /// assert_eq!(cause.get::<io::Error>().unwrap().kind(), io::ErrorKind::BrokenPipe);
    /// ```
    pub fn cancel_with(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) {
        self.node.clone().cancel_tree(&Cause { error: Arc::from(cause.into()) });
    }

    /// Whether it has been cancelled, or its deadline has passed.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cause().is_some()
    }

    /// Why it has been cancelled; `None`: it has not.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.node.settle()
    }

    /// Waits until it is cancelled.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened*.
    ///
    /// # Panics
    /// When it would wait and waiting is [forbidden](crate::wait::forbid).
    #[track_caller]
    pub fn cancelled(&self) -> Cause {
        match self.node.verdict.wait((), self.node.deadline) {
            Ok(()) => self.node.settle().expect("it was cancelled"),
            Err(_) => self.node.expire(),
        }
    }

    /// As [`cancelled`](Self::cancelled), but gives up after `timeout`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened*.
    ///
    /// # Errors
    /// [`Elapsed`] when it has not been cancelled by then.
    #[track_caller]
    pub fn cancelled_timeout(&self, timeout: Duration) -> Result<Cause, Elapsed> {
        self.cancelled_deadline(deadline_after(timeout))
    }

    /// As [`cancelled`](Self::cancelled), but gives up at `deadline`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened*.
    ///
    /// # Errors
    /// [`Elapsed`] when it has not been cancelled by then.
    #[track_caller]
    pub fn cancelled_deadline(&self, deadline: Instant) -> Result<Cause, Elapsed> {
        if self.node.deadline.is_some_and(|ours| ours <= deadline) {
            return Ok(self.cancelled());
        }
        match self.node.verdict.wait((), Some(deadline)) {
            Ok(()) => Ok(self.node.settle().expect("it was cancelled")),
            Err(_) => Err(Elapsed::new()),
        }
    }

    /// The future form of [`cancelled`](Self::cancelled); it borrows nothing.
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened*.
    pub fn cancelled_async(&self) -> Cancelled {
        Cancelled {
            timer: self.node.deadline.map(TimerEntry::new),
            enrolment: Enrolment::revocable(self.clone(), ()),
        }
    }

    /// Cancels the token when the guard is dropped.
    ///
    /// # Examples
    /// ```
    /// let token = aqueduct::sync::CancellationToken::new();
    /// drop(token.clone().guard());
    /// assert!(token.is_cancelled());
    /// ```
    pub fn guard(self) -> CancelGuard {
        CancelGuard { token: Some(self) }
    }
}

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken")
            .field("cause", &self.cause())
            .field("deadline", &self.node.deadline)
            .finish_non_exhaustive()
    }
}

impl Node {
    fn new(parent: Option<(Arc<Node>, usize)>, deadline: Option<Instant>) -> Self {
        let children = Mutex::new(Some(Slab::new()));
        Self { verdict: Monitor::new(Verdict::default()), children, parent, deadline }
    }

    fn child(parent: &Arc<Self>, deadline: Option<Instant>) -> Arc<Self> {
        let mut siblings = lock(&parent.children);
        if let Some(siblings) = &mut *siblings {
            let place = siblings.vacant_entry();
            let child = Arc::new(Self::new(Some((parent.clone(), place.key())), deadline));
            place.insert(Arc::downgrade(&child));
            return child;
        }
        drop(siblings);
        let child = Arc::new(Self::new(None, deadline));
        // It comes too late to be told by its parent.
        child.cancel_alone(&parent.settle().expect("a token whose children are gone is cancelled"));
        child
    }

    /// The cause; looks at the deadline too.
    fn settle(self: &Arc<Self>) -> Option<Cause> {
        let cause = self.verdict.look(|verdict| verdict.cause.clone());
        if cause.is_some() || self.deadline.is_none_or(|deadline| Instant::now() < deadline) {
            return cause;
        }
        Some(self.expire())
    }

    /// The deadline has passed.
    fn expire(self: &Arc<Self>) -> Cause {
        self.clone().cancel_tree(&Cause { error: Arc::new(Elapsed::new()) });
        self.verdict.look(|verdict| verdict.cause.clone()).expect("it was cancelled just now")
    }

    /// Cancels this node, then its descendants, also when somebody's waker panics.
    fn cancel_tree(self: Arc<Self>, cause: &Cause) {
        let mut panics = FirstPanic::new();
        let mut next = vec![self];
        while let Some(node) = next.pop() {
            panics.keep(|| node.cancel_alone(cause));
            let children = lock(&node.children).take();
            next.extend(children.iter().flatten().filter_map(|(_, child)| child.upgrade()));
        }
        panics.rethrow();
    }

    fn cancel_alone(&self, cause: &Cause) {
        let cause = cause.clone();
        let late = self.verdict.change(|verdict, _| match &verdict.cause {
            None => verdict.cause.replace(cause),
            Some(_) => Some(cause),
        });
        // Dropped outside the lock: it may be the last of its kind.
        drop(late);
    }

    /// Leaves its parent, which it returns.
    fn leave(&mut self) -> Option<Arc<Node>> {
        let (parent, place) = self.parent.take()?;
        if let Some(siblings) = &mut *lock(&parent.children) {
            siblings.remove(place);
        }
        Some(parent)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // In a loop: ancestors of which this was the last handle go too, and a line of them may be long.
        let mut next = self.leave();
        while let Some(parent) = next {
            next = Arc::into_inner(parent).and_then(|mut parent| parent.leave());
        }
    }
}

/// Why a [`CancellationToken`] was cancelled. Clones share the error.
#[derive(Clone, Debug)]
pub struct Cause {
    error: Arc<dyn Error + Send + Sync>,
}

impl Cause {
    /// The error given to [`cancel_with`](CancellationToken::cancel_with), if it is of this type.
    #[must_use]
    pub fn get<E: Error + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }

    /// Whether a deadline has passed.
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        self.error.is::<Elapsed>()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}

/// Cancels its token when dropped; see [`CancellationToken::guard`].
#[derive(Debug)]
#[must_use = "the token is cancelled when the guard is dropped"]
pub struct CancelGuard {
    token: Option<CancellationToken>,
}

impl CancelGuard {
    /// Gives the token back, not cancelled.
    #[must_use]
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("present until disarmed or dropped")
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel();
        }
    }
}

/// `cause = <-token`: happens when the token is cancelled, also if it was before.
impl Receive for CancellationToken {
    type Output = Cause;
    type Slot = Slot<Cause>;
    type Case<'a> = FutureCase<'a, Cancelled>;

    fn case<'a>(source: Option<&'a Self>, slot: &'a mut Slot<Cause>, _: bool) -> Self::Case<'a> {
        FutureCase::of(source.map(Self::cancelled_async), slot)
    }
}

impl Hold for CancellationToken {
    type Rule = Verdict;

    fn monitor(&self) -> &Monitor<Verdict> {
        &self.node.verdict
    }
}

pin_project_lite::pin_project! {
    /// Future of [`CancellationToken::cancelled_async`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Cancelled {
        #[pin]
        enrolment: Enrolment<CancellationToken>,
        timer: Option<TimerEntry>,
    }
}

impl Future for Cancelled {
    type Output = Cause;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause> {
        let this = self.project();
        let enrolment = this.enrolment.as_ref();
        if enrolment.poll(cx).is_ready() {
            return Poll::Ready(enrolment.holder().node.settle().expect("it was cancelled"));
        }
        match this.timer {
            Some(timer) => timer.poll_expired(cx).map(|()| enrolment.holder().node.expire()),
            None => Poll::Pending,
        }
    }
}
