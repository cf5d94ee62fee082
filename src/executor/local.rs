//! An executor of one thread: a `LocalRuntime` with the verbs of `async-executor` and tasks that may borrow.
//!
//! # Invariants
//! - `no-frame-left`: a call that drives (`run`, `tick`, `try_tick`) returns only while no frame of a borrowing task is suspended
//!   in a wait; see `runtime/embed.rs` for the reason. [`Borrowing`] keeps count, of polls and of destructors, and so does
//!   [`Output`] of the destructors of outputs that nobody fetches.
//! - `ended-or-undriven`: a borrowing task has ended when the executor's `Drop` returns. A leaked executor is never driven again,
//!   and its tasks, none of which is inside a poll, are leaked with it.

use crate::executor::Invariant;
use crate::executor::relay::Relay;
use crate::executor::task::Task;
use crate::primitive::wake_all;
use crate::runtime::{Home, LocalRuntime, Outlook, current};
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// The accounts of the tasks that borrow, kept in their home. Touched on the thread that owns the `LocalRuntime`.
#[derive(Debug, Default)]
pub(crate) struct Borrowers {
    tasks: Cell<usize>,
    frames: Cell<usize>,
}

impl Borrowers {
    /// Tasks whose future has not been dropped.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.get()
    }

    /// Polls and destructors that have begun and not ended.
    pub(crate) fn frames(&self) -> usize {
        self.frames.get()
    }
}

/// An executor on the thread that made it: a [`LocalRuntime`] with the verbs, the lifetime and the drop rules of
/// `async-executor`'s. Its tasks need be neither `Send` nor `'static`.
///
/// It makes progress while somebody awaits [`run`](Self::run) or [`tick`](Self::tick) on this thread, or calls
/// [`try_tick`](Self::try_tick): inside any executor, in a coroutine, or through [`block_on`](crate::block_on). Sockets and timers
/// of its tasks belong to its own poller.
///
/// # Waiting inside its tasks
/// A task that waits synchronously suspends that task only; the others go on. While one is suspended so, the call that drives the
/// executor does not return to its caller: when nothing else is ready it blocks the thread, or, in a coroutine or task of another
/// runtime, that coroutine. (`.await` is not concerned.) The coroutines and local futures that its tasks start with
/// [`go`](fn@crate::go) and [`spawn_local`](crate::spawn_local) live in its runtime and are not bound by that.
///
/// # Dropping
/// Dropping it cancels every task and drives them to their end, for they may borrow from the caller: a task between two polls is
/// dropped, one that is suspended in a wait unwinds from it. It waits for tasks that wait in destructors, and for ever for one that
/// ignores its cancellation; under `panic = "abort"` for any that is suspended in a wait. A leaked executor leaks its tasks.
///
/// # Examples
/// ```
/// use aqueduct::executor::LocalExecutor;
/// use std::cell::Cell;
///
/// let visits = Cell::new(0); // neither Send nor 'static
/// let executor = LocalExecutor::new();
/// let task = executor.spawn(async { visits.set(visits.get() + 1) });
/// aqueduct::block_on(executor.run(task));
/// assert_eq!(visits.get(), 1);
/// ```
pub struct LocalExecutor<'a> {
    /// Built when it is first needed, so that `new` is a constant.
    runtime: std::cell::OnceCell<LocalRuntime>,
    /// Invariant in `'a`. (`LocalRuntime` is neither Send nor Sync.)
    borrows: PhantomData<Invariant<'a>>,
}

impl<'a> LocalExecutor<'a> {
    /// An executor without tasks. Its runtime is built when it is first needed.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::LocalExecutor;
    ///
    /// let executor = LocalExecutor::new();
    /// assert!(executor.is_empty());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self { runtime: std::cell::OnceCell::new(), borrows: PhantomData }
    }

    /// The runtime beneath.
    ///
    /// # Panics
    /// When it cannot be built.
    fn runtime(&self) -> &LocalRuntime {
        self.runtime.get_or_init(|| match LocalRuntime::new() {
            Ok(runtime) => runtime,
            Err(error) => panic!(
                "the runtime of a LocalExecutor cannot be built: {error}; build a LocalRuntime to handle the error, and make \
                 the executor from it"
            ),
        })
    }

    /// Whether all tasks have ended, those started by its tasks included.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::LocalExecutor;
    ///
    /// let executor = LocalExecutor::new();
    /// let task = executor.spawn(async {});
    /// assert!(!executor.is_empty());
    /// assert!(executor.try_tick());
    /// assert!(executor.is_empty());
    /// # drop(task);
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runtime.get().is_none_or(LocalRuntime::is_empty)
    }

    /// Spawns a task, which makes progress while the executor is driven.
    ///
    /// # Panics
    /// When the executor's runtime is needed for the first time and cannot be built: it needs five descriptors.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::LocalExecutor;
    ///
    /// let executor = LocalExecutor::new();
    /// let task = executor.spawn(async { "done" });
    /// assert_eq!(aqueduct::block_on(executor.run(task)), "done");
    /// ```
    #[track_caller]
    pub fn spawn<T: 'a>(&self, future: impl Future<Output = T> + 'a) -> Task<T> {
        let runtime = self.runtime();
        let future = Borrowing::new(runtime.home_of_borrowers(), future);
        // SAFETY: `ended-or-undriven`; `'a` is invariant, so nothing that it stands for can go before the executor.
        let handle = unsafe { runtime.spawn_borrowing(future, Location::caller()) };
        Task::local(handle)
    }

    /// Spawns a task for each of the futures and hands their handles to `handles`.
    ///
    /// # Panics
    /// As [`spawn`](Self::spawn).
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::LocalExecutor;
    ///
    /// let executor = LocalExecutor::new();
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
    #[track_caller]
    pub fn spawn_many<T: 'a, F: Future<Output = T> + 'a>(
        &self,
        futures: impl IntoIterator<Item = F>,
        handles: &mut impl Extend<Task<F::Output>>,
    ) {
        handles.extend(futures.into_iter().map(|future| self.spawn(future)));
    }

    /// Runs one task that is ready, once. False: none was, or the call comes from a task of this executor, whose driver is busy
    /// with the caller.
    ///
    /// # Blocking
    /// Does not wait, unless the task's poll waits synchronously.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::LocalExecutor;
    ///
    /// let executor = LocalExecutor::new();
    /// assert!(!executor.try_tick());
    /// let task = executor.spawn(async { 1 });
    /// assert!(executor.try_tick());
    /// assert!(task.is_finished());
    /// ```
    pub fn try_tick(&self) -> bool {
        let runtime = self.runtime();
        !runtime.is_driven() && runtime.turn_once()
    }

    /// Runs one task once, waiting until one is ready.
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened*.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::LocalExecutor;
    ///
    /// let executor = LocalExecutor::new();
    /// let task = executor.spawn(async { 1 });
    /// aqueduct::block_on(executor.tick());
    /// assert!(task.is_finished());
    /// ```
    pub async fn tick(&self) {
        let runtime = self.runtime();
        let mut outlook = Outlook::default();
        poll_fn(|cx| {
            if runtime.is_driven() {
                return beside_driver(runtime, cx);
            }
            if runtime.turn_once() {
                return Poll::Ready(());
            }
            look_out(&mut outlook, runtime, cx)
        })
        .await;
    }

    /// Drives the executor until `future` is ready.
    ///
    /// The future may wait synchronously for what the executor's tasks do. Called inside one of its own tasks, it only polls the
    /// future: that task is being driven already.
    ///
    /// # Blocking
    /// A poll of it waits when a task's poll does; see the [type](Self).
    ///
    /// # Cancel safety
    /// Dropped before it is ready: `future` is dropped, the tasks stay where they are.
    ///
    /// # Panics
    /// As `future` does.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::executor::LocalExecutor;
    ///
    /// let executor = LocalExecutor::new();
    /// let task = executor.spawn(async { 1 + 2 });
    /// assert_eq!(aqueduct::block_on(executor.run(async { task.await * 2 })), 6);
    /// ```
    pub async fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let site = Location::caller();
        let runtime = self.runtime();
        let mut future = pin!(future);
        let mut outlook = Outlook::default();
        let relay = Arc::new(Relay::new());
        let waker = Waker::from(relay.clone());
        let mut poll = || match relay.take_woken() {
            true => future.as_mut().poll(&mut Context::from_waker(&waker)),
            false => Poll::Pending,
        };
        poll_fn(|cx| {
            relay.set_outer(cx.waker());
            if runtime.is_driven() {
                if let Poll::Ready(output) = poll() {
                    return Poll::Ready(output);
                }
                return beside_driver(runtime, cx);
            }
            let mut polled = Poll::Pending;
            let ending = Cell::new(false);
            let main = poll_fn(|task| {
                if !ending.get() {
                    relay.set_inner(task.waker());
                }
                polled = poll();
                if polled.is_ready() || ending.get() { Poll::Ready(()) } else { Poll::Pending }
            });
            let ask_to_end = || {
                ending.set(true);
                wake_all(relay.take_inner());
            };
            runtime.turn_with(main, ask_to_end, site);
            relay.take_inner();
            if polled.is_pending() {
                return look_out(&mut outlook, runtime, cx);
            }
            polled
        })
        .await
    }
}

/// Somebody drives already: this very task's driver, or one on another coroutine of this thread, who is followed.
fn beside_driver<T>(runtime: &LocalRuntime, cx: &Context<'_>) -> Poll<T> {
    if !runtime.is_current() {
        runtime.follow_driver(cx.waker());
    }
    Poll::Pending
}

/// Nothing is left to run: waits, with the reactor of the place where we are, for a reason to drive on.
fn look_out<T>(outlook: &mut Outlook, runtime: &LocalRuntime, cx: &mut Context<'_>) -> Poll<T> {
    if outlook.poll(runtime, cx).is_ready() {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// An executor with the runtime's options, or with tasks that it has.
///
/// # Examples
/// ```
/// use aqueduct::{LocalRuntime, executor::LocalExecutor};
///
/// let runtime = LocalRuntime::builder().stack_size(1 << 20).build_local()?;
/// let executor = LocalExecutor::from(runtime);
/// assert_eq!(aqueduct::block_on(executor.run(async { 7 })), 7);
/// # Ok::<(), std::io::Error>(())
/// ```
impl From<LocalRuntime> for LocalExecutor<'_> {
    fn from(runtime: LocalRuntime) -> Self {
        Self { runtime: runtime.into(), borrows: PhantomData }
    }
}

impl Drop for LocalExecutor<'_> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // `ended-or-undriven`. The rest is the runtime's own `Drop`.
            runtime.end_borrowers();
        }
    }
}

impl Default for LocalExecutor<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LocalExecutor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.runtime.get() {
            Some(runtime) => f
                .debug_struct("LocalExecutor")
                .field("empty", &runtime.is_empty())
                .field("driven", &runtime.is_driven())
                .finish(),
            None => f.write_str("LocalExecutor(unused)"),
        }
    }
}

/// The accounts of a home, for its own thread.
///
/// # Safety
/// The calling thread is the one that owns the home's `LocalRuntime`.
unsafe fn borrowers(home: &'static Home) -> &'static Borrowers {
    // SAFETY: the caller's promise; nobody else drives that home.
    unsafe { &home.local().borrowers }
}

pin_project_lite::pin_project! {
    /// A future that borrows. The fields are dropped in this order: `task` tells that the future is gone.
    struct Borrowing<F> {
        #[pin]
        future: F,
        task: Account,
    }

    impl<F> PinnedDrop for Borrowing<F> {
        fn drop(this: Pin<&mut Self>) {
            // Until the future has been dropped, right after this.
            this.project().task.begin_frame();
        }
    }
}

/// One task's entries in the accounts.
struct Account {
    home: &'static Home,
    dropping: bool,
    not_send: PhantomData<*const ()>,
}

impl Account {
    fn begin_frame(&mut self) {
        self.dropping = true;
        let frames = &self.accounts().frames;
        frames.set(frames.get() + 1);
    }

    fn accounts(&self) -> &'static Borrowers {
        // SAFETY: made by `LocalExecutor::spawn`, and neither Send nor Sync: what is pinned to a home runs and is dropped on the
        // thread that drives it.
        unsafe { borrowers(self.home) }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let accounts = self.accounts();
        if self.dropping {
            accounts.frames.set(accounts.frames.get() - 1);
        }
        accounts.tasks.set(accounts.tasks.get() - 1);
    }
}

impl<F> Borrowing<F> {
    fn new(home: &'static Home, future: F) -> Self {
        let task = Account { home, dropping: false, not_send: PhantomData };
        let tasks = &task.accounts().tasks;
        tasks.set(tasks.get() + 1);
        Self { future, task }
    }
}

/// A frame of a task that borrows, from here to its end.
struct Frame(&'static Borrowers);

impl Frame {
    fn begin(borrowers: &'static Borrowers) -> Self {
        borrowers.frames.set(borrowers.frames.get() + 1);
        Self(borrowers)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.0.frames.set(self.0.frames.get() - 1);
    }
}

impl<F: Future> Future for Borrowing<F> {
    type Output = Output<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _frame = Frame::begin(this.task.accounts());
        let value = ready!(this.future.poll(cx));
        Poll::Ready(Output { value: Some(value), home: this.task.home })
    }
}

/// What a borrowing task returns.
pub(super) struct Output<T> {
    value: Option<T>,
    home: &'static Home,
}

impl<T> Output<T> {
    pub(super) fn into_value(mut self) -> T {
        self.value.take().expect("an output is fetched once")
    }
}

impl<T> Drop for Output<T> {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else { return };
        // Nobody fetched it. If that happens inside the executor, its destructor is a frame like the task's others; elsewhere it
        // is a frame of the one who dropped the handle.
        let inside = current::home().is_some_and(|home| ptr::eq(home.shared(), self.home));
        // SAFETY: `inside`: we are on the thread that drives the home.
        let _frame = inside.then(|| Frame::begin(unsafe { borrowers(self.home) }));
        drop(value);
    }
}

impl<T> fmt::Debug for Output<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}
