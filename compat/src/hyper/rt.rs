//! hyper's executor and timer.

use aqueduct::Handle;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Spawns the tasks of hyper (HTTP/2 streams, pooled connections) on aqueduct. Their handles are dropped: they go on by
/// themselves until what they serve ends.
///
/// # Examples
/// ```
/// use aqueduct::Wait;
/// use hyper::rt::Executor as _;
///
/// let (tx, rx) = aqueduct::channel::oneshot::channel();
/// aqueduct_compat::hyper::Executor::new().execute(async move { drop(tx.send(7)) });
/// assert_eq!(rx.recv().unwrap(), 7);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor {
    handle: Option<Handle>,
    #[cfg(feature = "tokio")]
    in_tokio: bool,
}

impl Executor {
    /// Spawns on the runtime that is current when it is called.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns on this runtime.
    #[must_use]
    pub fn on(handle: Handle) -> Self {
        Self { handle: Some(handle), ..Self::default() }
    }

    /// The same, on another runtime.
    pub(super) fn moved_to(self, handle: Handle) -> Self {
        Self { handle: Some(handle), ..self }
    }

    /// Polls what is spawned in [tokio's context](crate::tokio).
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn in_tokio(mut self) -> Self {
        self.in_tokio = true;
        self
    }

    /// Whether what is spawned is to be in tokio's context.
    #[cfg(feature = "tokio")]
    pub(super) fn is_in_tokio(&self) -> bool {
        self.in_tokio
    }

    /// Spawns a task, and gives its handle.
    pub(super) fn spawn<F>(&self, future: F) -> aqueduct::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = self.handle.unwrap_or_else(Handle::current);
        #[cfg(feature = "tokio")]
        if self.in_tokio {
            return handle.spawn(crate::tokio::InTokio::new(future));
        }
        handle.spawn(future)
    }
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.spawn(future));
    }
}

/// Spawns tasks of hyper that are not `Send` on the worker it is called on, which they never leave. For services and bodies
/// with an `Rc` in them.
///
/// # Panics
/// Off the workers, when something is spawned: see [`spawn_local`](aqueduct::spawn_local).
///
/// # Examples
/// ```
/// use hyper::rt::Executor as _;
/// use std::rc::Rc;
///
/// let seven = aqueduct::run(|| {
///     let (tx, rx) = aqueduct::channel::bounded(1);
///     let seven = Rc::new(7);
///     aqueduct_compat::hyper::LocalExecutor.execute(async move { tx.send_async(*seven).await.unwrap() });
///     rx.recv().unwrap()
/// });
/// assert_eq!(seven, 7);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(aqueduct::spawn_local(future));
    }
}

/// The timers of aqueduct for hyper: header timeouts, HTTP/2 keep-alive, the idle connections of a pool.
///
/// # Examples
/// ```
/// use aqueduct::Wait;
/// use hyper::rt::Timer as _;
/// use std::time::Duration;
///
/// aqueduct_compat::hyper::Timer.sleep(Duration::from_millis(1)).wait();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer;

impl hyper::rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep { timer: aqueduct::time::Timer::after(duration) })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep { timer: aqueduct::time::Timer::at(deadline) })
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(sleep) => sleep.get_mut().timer.reset(deadline),
            // Another timer's: hyper was given two.
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

/// The future of [`Timer`].
pub struct Sleep {
    timer: aqueduct::time::Timer,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.timer).poll(cx)
    }
}

impl hyper::rt::Sleep for Sleep {}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.timer.deadline()).finish()
    }
}
