//! The task we are in.

use crate::coroutine;
use crate::runtime::current as place;
use crate::task::Id;
use crate::task::cancel;
use crate::task::header::Header;
use crate::task::join::{JoinError, JoinHandle};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::ptr;

/// What is known of the calling task.
///
/// # Panics
/// Outside a task; [`try_current`] is the form that does not.
///
/// # Examples
/// ```
/// let handle = aqueduct::go(|| aqueduct::task::current().id());
/// let id = handle.id();
/// assert_eq!(handle.join().unwrap(), id);
/// ```
#[must_use]
#[track_caller]
pub fn current() -> Current {
    try_current().expect("task::current() outside a task: call it inside `go`, `spawn` or `run`")
}

/// What is known of the calling task, if this is one.
#[must_use]
pub fn try_current() -> Option<Current> {
    place::with_task(|task| Current {
        id: Id::new(task.id),
        name: task.name().map(Box::from),
        spawn_site: task.spawn_site,
    })
}

/// See [`current`].
#[derive(Clone, Debug)]
pub struct Current {
    id: Id,
    name: Option<Box<str>>,
    spawn_site: &'static Location<'static>,
}

impl Current {
    /// The task's number.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// Its name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it was spawned.
    #[must_use]
    pub fn spawn_site(&self) -> &'static Location<'static> {
        self.spawn_site
    }

    /// The stack that the *caller* runs on.
    ///
    /// # Panics
    /// Off the workers.
    #[must_use]
    #[track_caller]
    pub fn stack(&self) -> StackUse {
        let (_, record) = place::record().expect("the stack of a coroutine, asked for off the workers");
        let stack = record.stack.get().expect("a running coroutine has a stack");
        let used = stack.range().end.saturating_sub(coroutine::stack_pointer());
        StackUse { size: stack.size(), used, high_water: stack.high_water().max(used) }
    }
}

/// Measurements of a stack, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackUse {
    size: usize,
    used: usize,
    high_water: usize,
}

impl StackUse {
    /// Usable bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes in use at the time of asking.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// The deepest use that has left memory behind, in whole pages. Stacks are recycled, so it may be an earlier task's.
    #[must_use]
    pub fn high_water(&self) -> usize {
        self.high_water
    }
}

impl fmt::Display for StackUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes, high water {}", self.used, self.size, self.high_water)
    }
}

/// Runs `f` without being cancelled: waits inside it proceed normally; a cancellation is delivered by the first wait after it.
///
/// For a section that must be finished once begun, and for callbacks under `extern "C"` frames, which must not unwind.
///
/// # Examples
/// ```
/// let (started, has_started) = std::sync::mpsc::channel();
/// let handle = aqueduct::go(move || {
///     aqueduct::task::shield(|| {
///         started.send(()).unwrap();
///         aqueduct::yield_now(); // is not cancelled
///     });
///     "finished"
/// });
/// has_started.recv().unwrap();
/// handle.cancel();
/// assert_eq!(handle.join().unwrap(), "finished");
/// ```
pub fn shield<R>(f: impl FnOnce() -> R) -> R {
    struct Shield(*const Header);

    impl Drop for Shield {
        fn drop(&mut self) {
            // SAFETY: `shield` returns within the task's run that it was called in, during which the header is kept.
            let task = unsafe { &*self.0 };
            task.shields.set(task.shields.get() - 1);
        }
    }

    let _shield = place::with_task(|task| {
        task.shields.set(task.shields.get().checked_add(1).expect("shields are nested 65,535 deep at most"));
        Shield(ptr::from_ref(task))
    });
    f()
}

/// Whether the calling frame may be cut short when its task is cancelled: not under a shield, not while it unwinds, and not
/// where panics abort. That cannot change while the frame is there, so it is asked once, at its beginning: later a neighbour on
/// this worker may be suspended while it unwinds, and the thread reads as panicking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cancellable(bool);

impl Cancellable {
    pub(crate) fn here() -> Self {
        let unshielded = place::with_task(|task| task.shields.get() == 0).unwrap_or(false);
        Self(unshielded && !std::thread::panicking() && !cfg!(panic = "abort"))
    }

    pub(crate) fn is_requested(self) -> bool {
        self.0 && place::with_task(|task| task.cancel.is_requested()).unwrap_or(false)
    }

    /// Asks `handle`'s task to end if the calling one has been asked to.
    pub(crate) fn pass_on<T>(self, handle: &JoinHandle<T>) {
        if self.is_requested() {
            handle.cancel();
        }
    }
}

/// Waits for a task that borrows from the caller: returns only after it has ended, and does not unwind.
pub(crate) fn join_borrowing<T>(mut handle: JoinHandle<T>, caller: Cancellable) -> Result<T, JoinError> {
    crate::wait::block_on_borrowing(poll_fn(|cx| {
        caller.pass_on(&handle);
        Pin::new(&mut handle).poll(cx)
    }))
}

/// The value of a `run`, or the unwind that takes its place.
#[track_caller]
pub(crate) fn finish_run<T>(result: Result<T, JoinError>, caller: Cancellable) -> T {
    if let Some(payload) = place::with_task(crate::wait::take_hook_panic).flatten() {
        cancel::rethrow(payload);
    }
    match result {
        Ok(value) => value,
        Err(error) if error.is_cancelled() && caller.is_requested() => cancel::throw(),
        Err(error) => error.resume(),
    }
}
