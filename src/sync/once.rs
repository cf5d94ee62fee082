//! Values that are made once, by an initialiser that may wait.

use super::monitor::{Enrolment, Monitor, Rule};
use crate::primitive::atomic::AtomicBool;
use crate::primitive::atomic::Ordering::{Acquire, Release};
use std::cell::UnsafeCell;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::future::poll_fn;
use std::mem;
use std::ops::Deref;
use std::pin::pin;

/// A cell that is written once.
///
/// Whoever comes first runs its initialiser, which may wait; the others wait for the value. When the initialiser fails, panics or
/// is cancelled, the next in line runs its own.
///
/// # Examples
/// ```
/// use aqueduct::sync::OnceCell;
///
/// static CONFIG: OnceCell<String> = OnceCell::new();
///
/// assert!(CONFIG.get().is_none());
/// assert_eq!(CONFIG.get_or_init(|| "read once".to_string()), "read once");
/// assert_eq!(CONFIG.get_or_init(|| unreachable!()), "read once");
/// ```
/// Async:
/// ```
/// # aqueduct::block_on(async {
/// let cell = aqueduct::sync::OnceCell::new();
/// assert_eq!(*cell.get_or_init_async(|| async { 7 }).await, 7);
/// # });
/// ```
pub struct OnceCell<T> {
    /// Set after the value was written, never cleared: `written-once`.
    ready: AtomicBool,
    progress: Monitor<Progress>,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: sending the cell sends the value.
unsafe impl<T: Send> Send for OnceCell<T> {}
// SAFETY: the value is shared between threads (`T: Sync`), and may have been made on another one (`T: Send`). It is written by
// the one party that the rule has made the initialiser, before `ready`, and only read after it.
unsafe impl<T: Send + Sync> Sync for OnceCell<T> {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Empty,
    /// Somebody's initialiser is running.
    Running,
    Ready,
}

/// What the waiter is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Initialise,
    Read,
}

impl Rule for Progress {
    type Request = Turn;
    type Shared = ();

    fn arrive(&mut self, _: &(), turn: &mut Turn, _alone: bool) -> bool {
        // Nobody is passed: whoever stands in line waits for the initialiser that runs.
        let granted = self.can_grant(&(), turn);
        if granted {
            self.grant(&(), turn);
        }
        granted
    }

    fn can_grant(&self, _: &(), _: &Turn) -> bool {
        *self != Self::Running
    }

    fn grant(&mut self, _: &(), turn: &mut Turn) {
        if *self == Self::Empty {
            *self = Self::Running;
            *turn = Turn::Initialise;
        }
    }

    fn give_back(&mut self, _: &(), turn: &Turn) {
        if *turn == Turn::Initialise {
            *self = Self::Empty;
        }
    }
}

impl<T> OnceCell<T> {
    const_fn! {
        /// An empty cell.
        #[must_use]
        pub const fn new() -> Self {
            Self {
                ready: AtomicBool::new(false),
                progress: Monitor::new(Progress::Empty),
                value: UnsafeCell::new(None),
            }
        }
    }

    /// The value, if there is one. Never waits.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // Acquire pairs with the Release in `Initialising::finish`.
        if !self.ready.load(Acquire) {
            return None;
        }
        // SAFETY: `written-once`.
        unsafe { (*self.value.get()).as_ref() }
    }

    /// The value; makes it with `f` if there is none and nobody else is making one.
    ///
    /// # Blocking
    /// While another initialiser runs it suspends the calling coroutine or task; off the workers it blocks the thread. An
    /// initialiser that asks for its own cell waits for ever.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here, or in `f`, and the next in line makes the value: *nothing happened*.
    ///
    /// # Panics
    /// When `f` panics: the cell stays empty. When it would wait and waiting is [forbidden](crate::wait::forbid).
    #[track_caller]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        let Ok(value) = self.get_or_try_init(|| Ok::<T, Infallible>(f()));
        value
    }

    /// As [`get_or_init`](Self::get_or_init), for an initialiser that may fail.
    ///
    /// # Cancel safety
    /// As there.
    ///
    /// # Errors
    /// That of `f`: the cell stays empty.
    ///
    /// # Examples
    /// ```
    /// let cell = aqueduct::sync::OnceCell::new();
    /// assert!(cell.get_or_try_init(|| "x".parse::<u8>()).is_err());
    /// assert_eq!(cell.get_or_try_init(|| "7".parse::<u8>()), Ok(&7));
    /// ```
    #[track_caller]
    pub fn get_or_try_init<E>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let Ok(turn) = self.progress.wait(Turn::Read, None) else {
            unreachable!("a wait without a deadline ends with a turn")
        };
        if turn == Turn::Initialise {
            let initialising = Initialising { cell: self };
            let value = f()?;
            initialising.finish(value);
        }
        Ok(self.get().expect("whoever may read finds a value"))
    }

    /// The future form of [`get_or_init`](Self::get_or_init): `f` is called, and its future polled, only if it is this one's turn.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the initialiser with it, the next in line makes the value: *nothing happened*.
    ///
    /// # Panics
    /// When `f` or its future panics: the cell stays empty.
    pub async fn get_or_init_async<F: Future<Output = T>>(&self, f: impl FnOnce() -> F) -> &T {
        let Ok(value) = self
            .get_or_try_init_async(|| {
                let future = f();
                async move { Ok::<T, Infallible>(future.await) }
            })
            .await;
        value
    }

    /// The future form of [`get_or_try_init`](Self::get_or_try_init).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the initialiser with it, the next in line makes the value: *nothing happened*.
    ///
    /// # Errors
    /// That of the initialiser: the cell stays empty.
    pub async fn get_or_try_init_async<F, E>(&self, f: impl FnOnce() -> F) -> Result<&T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let turn = {
            let enrolment = pin!(Enrolment::revocable(&self.progress, Turn::Read));
            poll_fn(|cx| enrolment.as_ref().poll(cx)).await
        };
        if turn == Turn::Initialise {
            let initialising = Initialising { cell: self };
            let value = f().await?;
            initialising.finish(value);
        }
        Ok(self.get().expect("whoever may read finds a value"))
    }

    /// Writes the value. Never waits.
    ///
    /// # Errors
    /// Gives the value back when there is one already, or somebody is making one.
    pub fn set(&self, value: T) -> Result<(), T> {
        match self.progress.try_now(Turn::Read) {
            Some(Turn::Initialise) => {
                Initialising { cell: self }.finish(value);
                Ok(())
            }
            Some(Turn::Read) | None => Err(value),
        }
    }

    /// The value, for good.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// The value: nobody else can have access.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(value) => f.debug_tuple("OnceCell").field(value).finish(),
            None => f.write_str("OnceCell(<empty>)"),
        }
    }
}

/// The right to write; dropped unused, it goes to the next in line.
struct Initialising<'a, T> {
    cell: &'a OnceCell<T>,
}

impl<T> Initialising<'_, T> {
    fn finish(self, value: T) {
        let cell = self.cell;
        mem::forget(self);
        // SAFETY: the rule has made one party the initialiser, this one, and nobody reads before `ready`.
        unsafe { *cell.value.get() = Some(value) };
        // Release pairs with the Acquire in `get`.
        cell.ready.store(true, Release);
        cell.progress.change(|progress, _| *progress = Progress::Ready);
    }
}

impl<T> Drop for Initialising<'_, T> {
    fn drop(&mut self) {
        self.cell.progress.change(|progress, _| *progress = Progress::Empty);
    }
}

/// A value that is made when it is first asked for, by a function that may wait.
///
/// # Blocking
/// `*lazy` makes the value, or waits while somebody else does: see [`OnceCell::get_or_init`].
///
/// # Panics
/// When the function panics: the next one to ask calls it again.
///
/// # Examples
/// ```
/// use aqueduct::sync::Lazy;
///
/// static TABLE: Lazy<Vec<u32>> = Lazy::new(|| (0..3).map(|n| n * n).collect());
///
/// assert_eq!(TABLE[2], 4);
/// ```
pub struct Lazy<T, F = fn() -> T> {
    cell: OnceCell<T>,
    initialise: F,
}

impl<T, F> Lazy<T, F> {
    const_fn! {
        /// Nothing is made yet.
        pub const fn new(initialise: F) -> Self {
            Self { cell: OnceCell::new(), initialise }
        }
    }
}

impl<T, F: Fn() -> T> Lazy<T, F> {
    /// The value; made now if it is not there.
    #[track_caller]
    pub fn force(this: &Self) -> &T {
        this.cell.get_or_init(&this.initialise)
    }

    /// The value, if it is there. Never waits.
    pub fn get(this: &Self) -> Option<&T> {
        this.cell.get()
    }
}

impl<T, F: Fn() -> T> Deref for Lazy<T, F> {
    type Target = T;

    #[track_caller]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Lazy<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy").field("cell", &self.cell).finish_non_exhaustive()
    }
}
