//! An executor that any thread may drive.

use crate::executor::Invariant;
use crate::executor::body;
use crate::executor::state::State;
use crate::executor::task::Task;
use crate::executor::ticker::Ticker;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// An executor without threads of its own: its tasks make progress while somebody awaits [`run`](Self::run) or
/// [`tick`](Self::tick), or calls [`try_tick`](Self::try_tick), on as many threads, coroutines or runtimes at once as one likes.
///
/// The verbs, the lifetime and the drop rules are those of `async-executor`, so that a program moves by changing its import. The
/// tasks may borrow what outlives the executor (`'a`), which is how it differs from a [`Runtime`](crate::Runtime).
///
/// # Waiting inside its tasks
/// A driver polls futures and nothing else. A task that waits *synchronously* stops its driver: on a plain thread that thread, in
/// a coroutine that coroutine (never its worker). Other drivers take over what is ready. Sockets and timers belong to the worker
/// that polls them, off the workers to the global runtime.
///
/// # Dropping
/// Dropping the executor ends every task: their futures are dropped at once, by the thread that drops it. Each destructor runs by
/// itself: one that panics ends neither the process nor the others' destructors, and its panic is for whoever awaits that task.
/// A leaked executor leaks its tasks.
///
/// # Examples
/// Four threads drive it until the main future has ended:
/// ```
/// use aqueduct::{channel, executor::Executor};
///
/// let words = ["one", "two", "three"].map(String::from);
/// let executor = Executor::new();
/// let (done, wait) = channel::bounded::<()>(1);
/// let total: usize = std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| aqueduct::block_on(executor.run(wait.recv_async())));
///     }
///     aqueduct::block_on(async {
///         let tasks: Vec<_> = words.iter().map(|word| executor.spawn(async move { word.len() })).collect();
///         let mut total = 0;
///         for task in tasks {
///             total += task.await;
///         }
///         drop(done);
///         total
///     })
/// });
/// assert_eq!(total, 11);
/// ```
pub struct Executor<'a> {
    /// Taken when it is first needed, so that `new` is a constant.
    state: OnceLock<&'static State>,
    /// Invariant in `'a`, `Send` and `Sync`.
    borrows: PhantomData<Invariant<'a>>,
}

impl<'a> Executor<'a> {
    /// An executor without tasks. It allocates nothing yet, and may be the value of a `static`.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::Executor;
    ///
    /// static EXECUTOR: Executor<'static> = Executor::new();
    /// let task = EXECUTOR.spawn(async { 7 });
    /// assert_eq!(aqueduct::block_on(EXECUTOR.run(task)), 7);
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self { state: OnceLock::new(), borrows: PhantomData }
    }

    fn state(&self) -> &'static State {
        self.state.get_or_init(State::acquire)
    }

    /// Whether all tasks have ended.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::Executor;
    ///
    /// let executor = Executor::new();
    /// assert!(executor.is_empty());
    /// let task = executor.spawn(async {});
    /// assert!(!executor.is_empty());
    /// assert!(executor.try_tick());
    /// assert!(executor.is_empty());
    /// # drop(task);
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.get().is_none_or(|state| state.is_empty())
    }

    /// Spawns a task, which makes progress while the executor is driven.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(async { "done" });
    /// assert_eq!(aqueduct::block_on(executor.run(task)), "done");
    /// ```
    pub fn spawn<T: Send + 'a>(&self, future: impl Future<Output = T> + Send + 'a) -> Task<T> {
        let state = self.state();
        // SAFETY: the future and its output are Send. `Drop` ends every task before `'a` does: `'a` is invariant, so nothing
        // that it stands for can go before the executor; and a leaked executor is not driven by anybody who outlives `'a`,
        // because driving borrows it.
        let (runnable, handle) = unsafe { body::prepare(state, future) };
        state.start(runnable);
        Task::shared(handle)
    }

    /// Spawns a task for each of the futures and hands their handles to `handles`.
    ///
    /// No lock is held meanwhile: the iterator may wait, spawn or panic. What it had given before it panicked has been spawned.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let mut tasks = Vec::new();
    /// executor.spawn_many((0..10).map(|i| async move { i * i }), &mut tasks);
    /// let sum = aqueduct::block_on(executor.run(async {
    ///     let mut sum = 0;
    ///     for task in tasks {
    ///         sum += task.await;
    ///     }
    ///     sum
    /// }));
    /// assert_eq!(sum, 285);
    /// ```
    pub fn spawn_many<T: Send + 'a, F: Future<Output = T> + Send + 'a>(
        &self,
        futures: impl IntoIterator<Item = F>,
        handles: &mut impl Extend<Task<F::Output>>,
    ) {
        handles.extend(futures.into_iter().map(|future| self.spawn(future)));
    }

    /// Runs one task that is ready, once. False: none was.
    ///
    /// # Blocking
    /// Does not wait; what the task's poll does is its own affair.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::Executor;
    ///
    /// let executor = Executor::new();
    /// assert!(!executor.try_tick());
    /// let task = executor.spawn(async { 1 });
    /// assert!(executor.try_tick());
    /// assert!(task.is_finished());
    /// ```
    pub fn try_tick(&self) -> bool {
        match self.state().pop() {
            Some(runnable) => {
                body::run(runnable);
                true
            }
            None => false,
        }
    }

    /// Runs one task once, waiting until one is ready.
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened*; another driver is told of what it leaves.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(async { 1 });
    /// aqueduct::block_on(executor.tick());
    /// assert!(task.is_finished());
    /// ```
    pub async fn tick(&self) {
        Ticker::new(self.state()).tick().await;
    }

    /// Drives the executor until `future` is ready. The future itself is polled here, it is not a task.
    ///
    /// # Cancel safety
    /// Dropped before it is ready: `future` is dropped, the tasks stay where they are, and another driver is told of them.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(async { 1 + 2 });
    /// assert_eq!(aqueduct::block_on(executor.run(async { task.await * 2 })), 6);
    /// ```
    pub async fn run<T>(&self, future: impl Future<Output = T>) -> T {
        Ticker::new(self.state()).run(future).await
    }
}

impl Drop for Executor<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            state.end_all();
            state.release();
        }
    }
}

impl Default for Executor<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Executor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state.get() {
            Some(state) => f.debug_tuple("Executor").field(state).finish(),
            None => f.write_str("Executor(unused)"),
        }
    }
}
