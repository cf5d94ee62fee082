//! Tasks that are waited for together.

#![forbid(unsafe_code)]

use super::join::{JoinError, JoinHandle};
use crate::primitive::{Mutex, lock};
use crate::wait;
use futures::Stream;
use futures::task::AtomicWaker;
use slab::Slab;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Tasks with results of one type, coroutines and futures together, whose results come in the order of completion.
///
/// The first task that fails, by returning an error or by panicking, has the others cancelled; those that complete nevertheless
/// still give their results, those that end as cancelled are passed over. Dropping the group cancels its tasks and waits for
/// none; [`join_all`](Self::join_all) waits. For tasks that borrow there is [`scope`](super::scope()).
///
/// # Examples
/// ```
/// use aqueduct::task::TaskGroup;
///
/// let mut group = TaskGroup::new();
/// group.go(|| Ok::<u32, String>(1));
/// group.spawn(async { Ok(2) });
/// let mut sum = 0;
/// while let Some(result) = group.next() {
///     sum += result.unwrap();
/// }
/// assert_eq!(sum, 3);
/// ```
/// Async; the first error ends the rest:
/// ```
/// # use aqueduct::task::{TaskError, TaskGroup};
/// # aqueduct::block_on(async {
/// let mut group = TaskGroup::new();
/// group.spawn(std::future::pending::<Result<(), &str>>());
/// group.go(|| Err("no luck"));
/// assert!(matches!(group.join_all_async().await, Err(TaskError::Failed("no luck"))));
/// # });
/// ```
#[must_use = "dropping the group cancels its tasks"]
pub struct TaskGroup<T, E> {
    tasks: Slab<JoinHandle<Result<T, E>>>,
    ends: Arc<Ends>,
    cancelled: bool,
}

/// What the tasks tell their group.
#[derive(Debug, Default)]
struct Ends {
    /// Keys of tasks that are at their end, in order.
    ended: Mutex<VecDeque<usize>>,
    waiter: AtomicWaker,
}

impl<T, E> TaskGroup<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    /// A group without tasks.
    pub fn new() -> Self {
        Self { tasks: Slab::new(), ends: Arc::default(), cancelled: false }
    }

    /// Starts a coroutine in the group; as [`go`](fn@crate::go) in all else.
    ///
    /// A group that has been cancelled starts nothing: it is dropped.
    #[track_caller]
    pub fn go<F>(&mut self, f: F)
    where
        F: FnOnce() -> Result<T, E> + Send + 'static,
    {
        if self.cancelled {
            return;
        }
        let end = self.end();
        self.tasks.insert(super::go(move || {
            let _end = end;
            f()
        }));
    }

    /// Spawns a future in the group; as [`spawn`](crate::spawn) in all else.
    ///
    /// A group that has been cancelled starts nothing: it is dropped.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F)
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        if self.cancelled {
            return;
        }
        let end = self.end();
        self.tasks.insert(super::spawn(async move {
            let _end = end;
            future.await
        }));
    }

    fn end(&self) -> End {
        End { key: self.tasks.vacant_key(), ends: self.ends.clone() }
    }

    /// How many tasks have not been returned by [`next`](Self::next) yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether nothing is left to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Asks all tasks to end, and starts no more. Does not wait.
    pub fn cancel(&mut self) {
        self.cancelled = true;
        self.tasks.iter().for_each(|(_, task)| task.cancel());
    }

    /// Waits for the next result; `None`: there are no more.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened*.
    ///
    /// # Errors
    /// That of the task. The first one has the other tasks cancelled.
    #[track_caller]
    #[expect(
        clippy::should_implement_trait,
        reason = "an Iterator's and a Stream's `next` would be ambiguous"
    )]
    pub fn next(&mut self) -> Option<Result<T, TaskError<E>>> {
        wait::block_on(poll_fn(|cx| self.poll_result(cx)))
    }

    /// The future form of [`next`](Self::next).
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened*.
    pub fn next_async(&mut self) -> NextResult<'_, T, E> {
        NextResult { group: self }
    }

    /// Waits for all tasks: their values in the order of completion, or the first error, after all have ended.
    ///
    /// # Blocking
    /// As [`next`](Self::next).
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here; the group is dropped, which cancels its tasks: *may lose data*.
    ///
    /// # Errors
    /// That of the task that failed first.
    #[track_caller]
    pub fn join_all(mut self) -> Result<Vec<T>, TaskError<E>> {
        let mut all = Vec::with_capacity(self.len());
        let mut failed = None;
        while let Some(result) = self.next() {
            collect(result, &mut all, &mut failed);
        }
        failed.map_or(Ok(all), Err)
    }

    /// The future form of [`join_all`](Self::join_all).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it drops the group, which cancels its tasks: *may lose data*.
    ///
    /// # Errors
    /// That of the task that failed first.
    pub async fn join_all_async(mut self) -> Result<Vec<T>, TaskError<E>> {
        let mut all = Vec::with_capacity(self.len());
        let mut failed = None;
        while let Some(result) = self.next_async().await {
            collect(result, &mut all, &mut failed);
        }
        failed.map_or(Ok(all), Err)
    }

    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, TaskError<E>>>> {
        while !self.tasks.is_empty() {
            let Some(key) = self.ended(cx) else { return Poll::Pending };
            let task = self.tasks.get_mut(key).expect("a task is entered as soon as it is spawned");
            let result = ready!(Pin::new(task).poll(cx));
            // Taken only now: a wait that is given up before leaves the task where it is.
            lock(&self.ends.ended).pop_front();
            drop(self.tasks.remove(key));
            let result = match result {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(TaskError::Failed(error)),
                Err(error) if error.is_cancelled() => continue,
                Err(error) => Err(TaskError::Panicked(error)),
            };
            if result.is_err() && !self.cancelled {
                self.cancel();
            }
            return Poll::Ready(Some(result));
        }
        Poll::Ready(None)
    }

    /// The task that ended first among those not returned yet.
    fn ended(&self, cx: &Context<'_>) -> Option<usize> {
        let first = || lock(&self.ends.ended).front().copied();
        first().or_else(|| {
            self.ends.waiter.register(cx.waker());
            first()
        })
    }
}

fn collect<T, E>(result: Result<T, TaskError<E>>, all: &mut Vec<T>, failed: &mut Option<TaskError<E>>) {
    match result {
        Ok(value) => all.push(value),
        Err(error) => drop(failed.get_or_insert(error)),
    }
}

impl<T, E> Drop for TaskGroup<T, E> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|(_, task)| task.cancel());
    }
}

impl<T, E> Default for TaskGroup<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Stream for TaskGroup<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    type Item = Result<T, TaskError<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(wait::poll_budget(cx));
        self.get_mut().poll_result(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.tasks.len()))
    }
}

impl<T, E> fmt::Debug for TaskGroup<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("tasks", &self.tasks.len())
            .field("cancelled", &self.cancelled)
            .finish_non_exhaustive()
    }
}

/// Tells the group when it is dropped: the task is at its end, whatever that was.
struct End {
    key: usize,
    ends: Arc<Ends>,
}

impl Drop for End {
    fn drop(&mut self) {
        lock(&self.ends.ended).push_back(self.key);
        self.ends.waiter.wake();
    }
}

/// Future of [`TaskGroup::next_async`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited or waited for"]
pub struct NextResult<'a, T, E> {
    group: &'a mut TaskGroup<T, E>,
}

impl<T, E> Future for NextResult<'_, T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    type Output = Option<Result<T, TaskError<E>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.group.poll_result(cx)
    }
}

/// How a task of a [`TaskGroup`] failed.
#[derive(Debug)]
pub enum TaskError<E> {
    /// It returned an error.
    Failed(E),
    /// It panicked.
    Panicked(JoinError),
}

impl<E: fmt::Display> fmt::Display for TaskError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Panicked(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for TaskError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Panicked(error) => Some(error),
        }
    }
}
