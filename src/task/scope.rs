//! Tasks that borrow from their parent's stack.

use super::Id;
use super::body::Call;
use super::cancel::{rethrow, throw};
use super::context::Cancellable;
use super::family::Family;
use super::header::Kind;
use super::join::{JoinError, JoinHandle};
use crate::runtime::{Scheduler, current, global};
use crate::wait;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Runs `f`, which may start tasks that borrow from the caller's stack, and returns when all of them have ended.
///
/// Children are started with [`Scope::go`] and [`Scope::spawn`], also by other children. A child that is not
/// [joined](ScopedJoinHandle::join) is joined at the end.
///
/// # Blocking
/// Suspends the calling coroutine or task until all children have ended; off the workers it blocks the thread. There is no async
/// form: a future can be forgotten between two polls, while its children still borrow from it.
///
/// # Cancel safety
/// When the caller is cancelled, its children are cancelled and joined first; then it unwinds. If they all complete
/// nevertheless, `scope` returns: completion beats cancellation. (In the words of the other pages: *completes anyway*.)
///
/// # Panics
/// - When `f` panics: the children are cancelled and joined, then its panic goes on.
/// - When a child panics that was not joined: the others go on, and when all have ended the first panic goes on here.
/// - When waiting is [forbidden](crate::wait::forbid) here.
///
/// # Examples
/// ```
/// let mut numbers = vec![1, 2, 3, 4];
/// let (left, right) = numbers.split_at_mut(2);
/// let sum = aqueduct::task::scope(|s| {
///     s.go(|| left.iter_mut().for_each(|n| *n *= 10));
///     let right = s.spawn(async { right.iter().sum::<i32>() });
///     right.join().unwrap()
/// });
/// assert_eq!(sum, 7);
/// assert_eq!(numbers, [10, 20, 3, 4]);
/// ```
///
/// What is borrowed must outlive the scope:
/// ```compile_fail,E0373
/// aqueduct::task::scope(|s| {
///     let local = 1;
///     s.go(|| println!("{local}"));
/// });
/// ```
/// ```compile_fail,E0521
/// let mut leaked = None;
/// aqueduct::task::scope(|s| {
///     leaked = Some(s.go(|| 1));
/// });
/// ```
/// ```compile_fail,E0499
/// let mut number = 1;
/// aqueduct::task::scope(|s| {
///     s.go(|| number += 1);
///     s.go(|| number += 1);
/// });
/// ```
/// ```compile_fail,E0277
/// let shared = std::rc::Rc::new(1);
/// aqueduct::task::scope(|s| {
///     s.go(|| println!("{shared}"));
/// });
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    wait::assert_may_wait(Location::caller());
    let parent = Cancellable::here();
    let scope = Scope { family: Arc::default(), scope: PhantomData, env: PhantomData };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    if result.is_err() {
        scope.family.cancel_all();
    }
    let cut_short = scope.family.join_all(parent);
    let thrown = current::with_task(wait::take_hook_panic).flatten();
    // Taken in any case: what children left is dropped here and not by whoever has the last reference.
    let panic = scope.family.take_panic();
    let value = match result {
        Ok(value) => value,
        Err(payload) => rethrow(payload),
    };
    if let Some(payload) = panic.or(thrown) {
        rethrow(payload);
    }
    if cut_short && parent.is_requested() {
        throw();
    }
    value
}

/// Where children are started; see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    family: Arc<Family>,
    /// Invariant: `'scope` must not be shortened to start a child that borrows for less, nor lengthened to keep a handle.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a coroutine that may borrow what outlives the scope; as [`go`](fn@crate::go) in all else.
    #[track_caller]
    pub fn go<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.start(Kind::Coroutine, Call::new(f), Location::caller())
    }

    /// Spawns a future that may borrow what outlives the scope; as [`spawn`](crate::spawn) in all else.
    #[track_caller]
    pub fn spawn<F>(&'scope self, future: F) -> ScopedJoinHandle<'scope, F::Output>
    where
        F: Future + Send + 'scope,
        F::Output: Send + 'scope,
    {
        self.start(Kind::Future, future, Location::caller())
    }

    /// Asks all children to end, those that are started later too. Does not wait.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::{Wait, task};
    ///
    /// let cancelled = task::scope(|s| {
    ///     let child = s.spawn(std::future::pending::<()>());
    ///     s.cancel();
    ///     child.join().unwrap_err().is_cancelled()
    /// });
    /// assert!(cancelled);
    /// ```
    pub fn cancel(&'scope self) {
        self.family.cancel_all();
    }

    fn start<F>(
        &'scope self,
        kind: Kind,
        future: F,
        site: &'static Location<'static>,
    ) -> ScopedJoinHandle<'scope, F::Output>
    where
        F: Future + Send + 'scope,
        F::Output: Send + 'scope,
    {
        let traits = global::current_scheduler().traits(kind, site);
        let child = self.family.adopt(future);
        // SAFETY: child and output are Send. `scope` does not return, nor unwind, before `join_all` has: that is after the
        // child's borrows have ended (`counted-to-the-end`) and its value has been dropped or leaked (`never-detached`).
        let handle = unsafe { Scheduler::spawn(traits, child) };
        ScopedJoinHandle { handle: Some(handle), family: self.family.clone(), scope: PhantomData }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("family", &self.family).finish()
    }
}

/// Waits for a child of a [`scope`] and owns its result. Dropped, the child goes on, and the scope joins it.
///
/// # Cancel safety
/// Giving up waiting leaves everything as it was: *nothing happened*.
pub struct ScopedJoinHandle<'scope, T: Send + 'scope> {
    /// Present until joined or dropped: a handle given up here belongs to a child that has ended (`never-detached`).
    handle: Option<JoinHandle<T>>,
    family: Arc<Family>,
    scope: PhantomData<&'scope mut &'scope ()>,
}

impl<T: Send> ScopedJoinHandle<'_, T> {
    fn handle(&self) -> &JoinHandle<T> {
        self.handle.as_ref().expect("a child is joined once")
    }

    /// Waits for the child to end and returns what it returned.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Errors
    /// [`JoinError`] when the child panicked or was cancelled; then the scope does not see its panic.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        wait::block_on(self)
    }

    /// Asks the child to end; see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle().cancel();
    }

    /// Whether the child has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle().is_finished()
    }

    /// The child's number, unique in the process.
    #[must_use]
    pub fn id(&self) -> Id {
        self.handle().id()
    }
}

impl<T: Send> Future for ScopedJoinHandle<'_, T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = self.handle.as_mut().expect("a child is joined once");
        let result = std::task::ready!(Pin::new(&mut *handle).poll(cx));
        if handle.is_finished() {
            self.handle = None;
        }
        // Otherwise a child joins itself, which is refused: it goes on, and stays the scope's to join.
        Poll::Ready(result)
    }
}

impl<T: Send> Drop for ScopedJoinHandle<'_, T> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            // SAFETY: `'scope` has not ended, so `join_all` is yet to come.
            unsafe { self.family.orphan(handle) };
        }
    }
}

impl<T: Send> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("handle", &self.handle).finish()
    }
}
