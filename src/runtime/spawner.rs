//! The spawning traits of `futures`, for code that is generic over where it spawns.

use crate::runtime::scheduler::Scheduler;
use crate::runtime::{Handle, LocalRuntime};
use crate::task::header::Kind;
use futures::task::{FutureObj, LocalFutureObj, LocalSpawn, Spawn, SpawnError};
use std::panic::Location;

impl Scheduler {
    /// Ok, as far as one can tell without spawning.
    fn spawn_status(&self) -> Result<(), SpawnError> {
        if self.is_closed() { Err(SpawnError::shutdown()) } else { Ok(()) }
    }

    /// # Safety
    /// As [`Scheduler::spawn`].
    unsafe fn spawn_detached(
        &'static self,
        future: LocalFutureObj<'static, ()>,
        site: &'static Location<'static>,
    ) -> Result<(), SpawnError> {
        // SAFETY: the caller's promise.
        let (runnable, _detached) = unsafe { Self::prepare(self.traits(Kind::Future, site), future) };
        let runnable = runnable.ok_or_else(SpawnError::shutdown)?;
        crate::runtime::scheduler::schedule(runnable);
        Ok(())
    }
}

/// Spawns a future and detaches it. In generic code: `spawner.spawn(future)`, `spawner.spawn_with_handle(future)` of
/// `futures::task::SpawnExt`. A [`Runtime`](crate::Runtime) lends its [`handle`](crate::Runtime::handle). (Were the trait
/// implemented for it as well, `runtime.spawn` would mean the trait's wherever that is imported.)
///
/// # Errors
/// When the runtime has begun to shut down; the future is dropped.
///
/// # Examples
/// ```
/// use futures::task::{Spawn, SpawnExt};
///
/// fn double(spawner: &impl Spawn, number: u32) -> impl Future<Output = u32> {
///     spawner.spawn_with_handle(async move { number * 2 }).expect("the runtime is alive")
/// }
///
/// let runtime = aqueduct::Runtime::new()?;
/// assert_eq!(aqueduct::block_on(double(runtime.handle(), 21)), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
impl Spawn for Handle {
    #[track_caller]
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        // SAFETY: a `FutureObj` is Send.
        unsafe { self.scheduler().spawn_detached(future.into(), Location::caller()) }
    }

    fn status(&self) -> Result<(), SpawnError> {
        self.scheduler().spawn_status()
    }
}

/// As for [`Handle`].
impl Spawn for LocalRuntime {
    #[track_caller]
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.spawn_local_obj(future.into())
    }

    fn status(&self) -> Result<(), SpawnError> {
        self.status_local()
    }
}

/// Spawns a future, which need not be `Send`, and detaches it. In generic code: `spawner.spawn_local(future)`,
/// `spawner.spawn_local_with_handle(future)` of `futures::task::LocalSpawnExt`.
///
/// # Errors
/// When the runtime has begun to shut down; the future is dropped.
///
/// # Examples
/// ```
/// use futures::task::LocalSpawnExt;
/// use std::rc::Rc;
///
/// let runtime = aqueduct::LocalRuntime::new()?;
/// let shared = Rc::new(7);
/// let handle = runtime.spawn_local_with_handle(async move { *shared }).expect("the runtime is alive");
/// assert_eq!(runtime.block_on(handle), 7);
/// # Ok::<(), std::io::Error>(())
/// ```
impl LocalSpawn for LocalRuntime {
    #[track_caller]
    fn spawn_local_obj(&self, future: LocalFutureObj<'static, ()>) -> Result<(), SpawnError> {
        // SAFETY: pinned to our home, which only this thread drives (`!Send`).
        unsafe { self.scheduler.spawn_detached(future, Location::caller()) }
    }

    fn status_local(&self) -> Result<(), SpawnError> {
        self.scheduler.spawn_status()
    }
}
