//! Values that belong to a task: `task_local!`.
//!
//! # Picture
//! ```text
//!   task header ── extras ── Locals [(key, Arc<value>), ..]      off the workers: the same list in a thread-local
//! ```
//! A key is the address of its static. Values are shared, never moved, so that a child may inherit them and a closure may use
//! one while it is being replaced.
//!
//! # Invariants
//! - `list-alone`: only the list is touched while it is borrowed. Values are made, used and dropped outside.

#![forbid(unsafe_code)]

use crate::runtime::current;
use std::any::Any;
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Declares keys of values that belong to a task, as `thread_local!` does for threads.
///
/// A value is set for the rest of the task ([`LocalKey::set`]), or for the time of a closure or a future
/// ([`LocalKey::scope`], [`LocalKey::scope_async`]); a key with an initialiser makes one when it is first asked for. They go with
/// a task over waits and between workers, for coroutines and futures alike. Off the workers they belong to the thread. A task
/// that is spawned starts with none, unless it [inherits](crate::task::inherit) them.
///
/// The type must be `Send + Sync + 'static`: a value may be shared with children.
///
/// # Examples
/// ```
/// use aqueduct::{go, task, task_local};
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
///
/// task_local! {
///     /// Who asked.
///     static REQUEST: String;
///     static RETRIES: AtomicU32 = AtomicU32::new(0);
/// }
///
/// go(|| {
///     REQUEST.set("GET /".into());
///     RETRIES.with(|retries| retries.fetch_add(1, Relaxed));
///     aqueduct::yield_now();
///     assert_eq!(REQUEST.get(), "GET /");
///     assert!(go(|| REQUEST.try_with(|_| ()).is_err()).join().unwrap());
///     assert_eq!(go(task::inherit(|| REQUEST.get())).join().unwrap(), "GET /");
/// })
/// .join()
/// .unwrap();
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $value:expr $(; $($rest:tt)*)?) => {
        $(#[$attribute])*
        $visibility static $name: $crate::task::LocalKey<$type> =
            $crate::task::LocalKey::with_initialiser(|| $value);
        $($crate::task_local! { $($rest)* })?
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty $(; $($rest:tt)*)?) => {
        $(#[$attribute])*
        $visibility static $name: $crate::task::LocalKey<$type> = $crate::task::LocalKey::without_initialiser();
        $($crate::task_local! { $($rest)* })?
    };
}

/// A key declared with [`task_local!`].
pub struct LocalKey<T: 'static> {
    initialise: Option<fn() -> T>,
}

type Value = Arc<dyn Any + Send + Sync>;

/// The values of one task, or of one thread.
#[derive(Clone, Default)]
pub(crate) struct Locals(Vec<(usize, Value)>);

impl Locals {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn get(&self, key: usize) -> Option<Value> {
        self.0.iter().find(|(present, _)| *present == key).map(|(_, value)| value.clone())
    }

    /// The value before is returned, to be dropped outside.
    fn replace(&mut self, key: usize, value: Option<Value>) -> Option<Value> {
        let place = self.0.iter().position(|(present, _)| *present == key);
        match (place, value) {
            (Some(place), Some(value)) => Some(std::mem::replace(&mut self.0[place].1, value)),
            (Some(place), None) => Some(self.0.swap_remove(place).1),
            (None, Some(value)) => {
                self.0.push((key, value));
                None
            }
            (None, None) => None,
        }
    }
}

thread_local! {
    /// Off the workers.
    static OF_THREAD: RefCell<Locals> = RefCell::default();
}

/// `list-alone` is for `f` to keep. `None`: the thread is ending, and its values are gone.
fn with_locals<R>(f: impl FnOnce(&mut Locals) -> R) -> Option<R> {
    let mut f = Some(f);
    let of_task =
        current::with_task(|task| task.make_extras(|extras| f.take().map(|f| f(&mut extras.locals))));
    match f {
        Some(f) => OF_THREAD.try_with(|locals| f(&mut locals.borrow_mut())).ok(),
        None => of_task.flatten(),
    }
}

impl<T: Send + Sync + 'static> LocalKey<T> {
    /// For the macro: a key whose value is made when it is first asked for.
    #[doc(hidden)]
    #[must_use]
    pub const fn with_initialiser(initialise: fn() -> T) -> Self {
        Self { initialise: Some(initialise) }
    }

    /// For the macro: a key whose value must be set.
    #[doc(hidden)]
    #[must_use]
    pub const fn without_initialiser() -> Self {
        Self { initialise: None }
    }

    fn key(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn value(&'static self) -> Result<Arc<T>, NotSet> {
        let present = with_locals(|locals| locals.get(self.key())).ok_or(NotSet(()))?;
        if let Some(value) = present {
            return Ok(value.downcast().expect("a key has values of one type"));
        }
        let value = Arc::new(self.initialise.ok_or(NotSet(()))?());
        self.replace(Some(value.clone()));
        Ok(value)
    }

    fn replace(&'static self, value: Option<Value>) -> Option<Value> {
        with_locals(|locals| locals.replace(self.key(), value)).flatten()
    }

    /// Calls `f` with the value.
    ///
    /// # Panics
    /// When it was not set and has no initialiser.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.value() {
            Ok(value) => f(&value),
            Err(error) => panic!("{error}"),
        }
    }

    /// Calls `f` with the value, if there is one.
    ///
    /// # Errors
    /// [`NotSet`] when it was not set and has no initialiser, and on a thread that is ending.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, NotSet> {
        self.value().map(|value| f(&value))
    }

    /// A clone of the value.
    ///
    /// # Panics
    /// When it was not set and has no initialiser.
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// Sets the value for the rest of the task, or until it is set again.
    pub fn set(&'static self, value: T) {
        drop(self.replace(Some(Arc::new(value))));
    }

    /// Sets the value while `f` runs.
    ///
    /// # Examples
    /// ```
    /// aqueduct::task_local! { static DEPTH: u32 = 0; }
    ///
    /// assert_eq!(DEPTH.scope(1, || DEPTH.get()), 1);
    /// assert_eq!(DEPTH.get(), 0);
    /// ```
    pub fn scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let mut inside: Option<Value> = Some(Arc::new(value));
        let _swapped = Swapped::begin(self, &mut inside);
        f()
    }

    /// Sets the value while `future` is polled.
    ///
    /// # Cancel safety
    /// That of the future.
    ///
    /// # Examples
    /// ```
    /// aqueduct::task_local! { static DEPTH: u32; }
    ///
    /// let (one, two) = aqueduct::block_on(async {
    ///     futures::join!(DEPTH.scope_async(1, async { DEPTH.get() }), DEPTH.scope_async(2, async { DEPTH.get() }))
    /// });
    /// assert_eq!((one, two), (1, 2));
    /// ```
    pub fn scope_async<F: Future>(&'static self, value: T, future: F) -> LocalScope<T, F> {
        LocalScope { key: self, value: Some(Arc::new(value)), future }
    }
}

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").field("has_initialiser", &self.initialise.is_some()).finish()
    }
}

/// Exchanges a task's value with one kept here, and back when dropped.
struct Swapped<'a, T: Send + Sync + 'static> {
    key: &'static LocalKey<T>,
    kept: &'a mut Option<Value>,
}

impl<'a, T: Send + Sync + 'static> Swapped<'a, T> {
    fn begin(key: &'static LocalKey<T>, kept: &'a mut Option<Value>) -> Self {
        *kept = key.replace(kept.take());
        Self { key, kept }
    }
}

impl<T: Send + Sync + 'static> Drop for Swapped<'_, T> {
    fn drop(&mut self) {
        *self.kept = self.key.replace(self.kept.take());
    }
}

pin_project_lite::pin_project! {
    /// Future of [`LocalKey::scope_async`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct LocalScope<T: 'static, F> {
        key: &'static LocalKey<T>,
        value: Option<Value>,
        #[pin]
        future: F,
    }
}

impl<T: Send + Sync + 'static, F: Future> Future for LocalScope<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _swapped = Swapped::begin(this.key, this.value);
        this.future.poll(cx)
    }
}

impl<T, F> fmt::Debug for LocalScope<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalScope").finish_non_exhaustive()
    }
}

/// A task-local value was not set, and its key has no initialiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSet(());

impl fmt::Display for NotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task-local value is not set in this task")
    }
}

impl Error for NotSet {}

/// A closure that runs `f` with the task-local values that the caller has now, for [`go`](fn@crate::go) and the like; see
/// [`task_local!`]. The values are shared; what the child sets afterwards is its own.
pub fn inherit<T>(f: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let locals = with_locals(|locals| locals.clone());
    move || {
        install(locals);
        f()
    }
}

/// The form of [`inherit`] for futures, for [`spawn`](crate::spawn) and the like. The future is to be a task of its own: it sets
/// the values for the whole task that polls it.
///
/// # Examples
/// ```
/// use aqueduct::{spawn, task};
///
/// aqueduct::task_local! { static REQUEST: u32; }
///
/// REQUEST.set(7);
/// let child = spawn(task::inherit_async(async { REQUEST.get() }));
/// assert_eq!(child.join().unwrap(), 7);
/// ```
pub fn inherit_async<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let locals = with_locals(|locals| locals.clone());
    async move {
        install(locals);
        future.await
    }
}

fn install(locals: Option<Locals>) {
    let before = with_locals(|present| std::mem::replace(present, locals.unwrap_or_default()));
    drop(before);
}
