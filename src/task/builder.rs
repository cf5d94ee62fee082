//! Options for one task.

use crate::coroutine;
use crate::runtime::builder::check_stack_size;
use crate::runtime::{Scheduler, global, scheduler};
use crate::task::body::Call;
use crate::task::header::{Kind, Traits};
use crate::task::join::JoinHandle;
use std::future::Future;
use std::io;
use std::panic::Location;

/// Spawns a task with a name or a stack of its own size; fallible where [`go`](fn@crate::go) is not.
///
/// # Examples
/// ```
/// let handle = aqueduct::task::Builder::new().name("deep").stack_size(4 << 20).go(|| {
///     let stack = aqueduct::task::current().stack();
///     stack.size()
/// })?;
/// assert!(handle.join().unwrap() >= 4 << 20);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it spawns"]
pub struct Builder {
    name: Option<Box<str>>,
    stack_size: Option<usize>,
}

impl Builder {
    /// No options: a name nor a size.
    pub fn new() -> Self {
        Self::default()
    }

    /// The task's name in dumps, reports and errors. Need not be unique.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    /// Usable stack in bytes, from 4 KiB to 4 GiB; rounded up so that with its guard of 64 KiB it is a power of two. For a
    /// future it is the stack that its polls run on.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Starts a coroutine; see [`go`](fn@crate::go).
    ///
    /// # Errors
    /// - `InvalidInput`: a stack size out of range.
    /// - When no stack can be had now: the error names the limit that was met, and the remedy. (`go` would start the closure
    ///   when a stack becomes free.)
    #[track_caller]
    pub fn go<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let traits = self.traits(global::current_scheduler().traits(Kind::Coroutine, Location::caller()))?;
        // SAFETY: the closure and its output are Send and 'static.
        Ok(unsafe { Scheduler::spawn(traits, Call::new(f)) })
    }

    /// Spawns a future; see [`spawn`](crate::spawn).
    ///
    /// # Errors
    /// As [`go`](Self::go).
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> io::Result<JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let traits = self.traits(global::current_scheduler().traits(Kind::Future, Location::caller()))?;
        // SAFETY: the future and its output are Send and 'static.
        Ok(unsafe { Scheduler::spawn(traits, future) })
    }

    /// Spawns a future that need not be `Send`; see [`spawn_local`](crate::spawn_local).
    ///
    /// # Errors
    /// As [`go`](Self::go).
    ///
    /// # Panics
    /// Off the workers.
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> io::Result<JoinHandle<F::Output>>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let traits = self.traits(crate::task::local_traits(Kind::Future, Location::caller()))?;
        // SAFETY: pinned to the home that this thread drives.
        Ok(unsafe { Scheduler::spawn(traits, future) })
    }

    fn traits(self, mut traits: Traits) -> io::Result<Traits> {
        if let Some(bytes) = self.stack_size {
            check_stack_size(bytes)?;
            traits.lane = scheduler::lane(bytes, traits.lane.futures);
        }
        // Proves that a stack is there, and leaves it in the pool for the worker that will start the task.
        coroutine::release(coroutine::acquire(traits.lane.class)?);
        traits.name = self.name;
        Ok(traits)
    }
}
