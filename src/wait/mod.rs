//! Waiting: the only code that parks.
//!
//! One function waits: [`block_on`]. It polls a future with a waker for *wherever we are*: the current coroutine, or off the
//! workers the current thread, and parks that until the waker is called. Every waiting operation of the crate is a future;
//! its Go-style face is a fast path, then `block_on`. In postfix form it is [`Wait::wait`]: *`.await` in async code,
//! `.wait()` in Go-style code*.
//!
//! # What a wait suspends
//!
//! | called from | what stops | what goes on |
//! |---|---|---|
//! | a coroutine (`go`) | this coroutine | its worker, with other work |
//! | a future's `poll` (`spawn`, `spawn_local`) | this task, with everything concurrent only within it (`join!`, `select!`, a `timeout` around it) | its worker, with other work |
//! | a plain thread, another executor's thread, a thread-local destructor | this thread | everything else |
//!
//! To wait for a sibling, spawn it: `join!(a, b)` where `a` waits synchronously for `b` cannot progress.
//!
//! # Invariants
//! - `look-again`: every wait is a loop that polls again after a wake; a wake says "look again", never "it happened". So
//!   spurious and late wakes are harmless.
//! - `nested-waits`: a `block_on` inside a poll inside a `block_on` shares the coroutine's wake state. When the inner one
//!   ends after it has parked, it leaves the coroutine notified, for the wake it consumed may have been meant for the outer.

pub(crate) mod absence;
pub(crate) mod committed;
mod coroutine;
mod hook;
pub(crate) mod queue;
#[cfg(all(test, loom))]
mod tests;
mod thread;
mod yielding;

pub(crate) use hook::{Extras, drop_hooks, take_hook_panic};
pub use hook::{ForbidGuard, HookGuard, forbid, hook};
pub(crate) use thread::several_cores;
pub use yielding::{YieldNow, yield_now, yield_now_async};
pub(crate) use yielding::{poll_budget, yield_if_spent};

use crate::runtime::current;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::pin;
use std::time::Instant;

/// Waits for a future and returns its output.
///
/// # Blocking
/// Suspends the calling coroutine or task; off the workers it blocks the calling thread. See the [module](self).
///
/// # Cancel safety
/// When the calling task is cancelled, the future is dropped as the coroutine unwinds: what that means is the future's to say.
///
/// # Panics
/// When the future panics, and when waiting is [forbidden](forbid) here.
///
/// # Examples
/// ```
/// let seven = aqueduct::block_on(async { 3 + 4 });
/// assert_eq!(seven, 7);
/// ```
#[track_caller]
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let site = Location::caller();
    let future = pin!(future.into_future());
    match current::record() {
        Some((home, record)) => coroutine::block_on(home, record, future, site),
        None => match thread::block_on(future, None) {
            Some(output) => output,
            None => unreachable!("a wait without a deadline ends with the output"),
        },
    }
}

/// As `block_on`, but gives up at `deadline`: then the future is dropped and there is no output.
#[track_caller]
pub(crate) fn block_on_until<F: IntoFuture>(future: F, deadline: Instant) -> Option<F::Output> {
    if current::record().is_some() {
        return block_on(crate::time::timeout_at(deadline, future)).ok();
    }
    thread::block_on(pin!(future.into_future()), Some(deadline))
}

/// Waits for a moment. A plain thread needs no timer of a reactor's for it: its park ends at the deadline.
#[track_caller]
pub(crate) fn rest_until(deadline: Instant) {
    if current::record().is_some() {
        block_on(crate::time::Timer::at(deadline));
    } else {
        let passed = thread::block_on(pin!(std::future::pending::<()>()), Some(deadline));
        debug_assert_eq!(passed, None);
    }
}

/// As `block_on`, for a wait that must see its end because somebody borrows from this stack: it is not cancelled, and does not
/// unwind. What a hook throws meanwhile is kept for `take_hook_panic`. Waiting has been checked by `assert_may_wait`.
pub(crate) fn block_on_borrowing<F: Future>(future: F) -> F::Output {
    let _borrowing = current::record().and_then(|(_, record)| record.task()).map(hook::Borrowing::begin);
    block_on(future)
}

/// Whether others may run at the same time as we do, as far as one can tell: on a worker, others of its runtime.
pub(crate) fn has_company() -> bool {
    several_cores() && current::home().is_none_or(|home| home.shared().scheduler().homes().len() > 1)
}

/// Looks so many times, each after twice as many pauses of the processor, for what somebody on another core may be about to do; not
/// at all if nobody can be. In models, where that means nothing, once.
pub(crate) fn look_repeatedly(looks: u32, mut found: impl FnMut() -> bool) -> bool {
    if cfg!(any(loom, shuttle)) {
        return found();
    }
    has_company() && look_awake(looks, found)
}

/// `look_repeatedly`, whoever can be about to do it.
pub(crate) fn look_awake(looks: u32, mut found: impl FnMut() -> bool) -> bool {
    (0..looks).any(|look| {
        (0..1 << look).for_each(|_| std::hint::spin_loop());
        found()
    })
}

/// # Panics
/// When a wait here would be refused.
pub(crate) fn assert_may_wait(site: &'static Location<'static>) {
    match current::record() {
        Some((_, record)) => {
            if let Some(task) = record.task() {
                hook::refuse_if_forbidden(task, site);
                task.scheduler.refuse_wait_in_poll(task, site);
            }
        }
        None => {
            if let Some(by) = current::forbidden() {
                hook::refuse(by, site);
            }
        }
    }
}

/// `.wait()` on every future: [`block_on`] in postfix form.
///
/// # Examples
/// ```
/// use aqueduct::Wait;
///
/// async fn fetch() -> &'static str {
///     "page"
/// }
///
/// assert_eq!(fetch().wait(), "page");
/// ```
pub trait Wait: IntoFuture + Sized {
    /// Waits for the future; see [`block_on`].
    #[track_caller]
    fn wait(self) -> Self::Output {
        block_on(self)
    }
}

impl<F: IntoFuture> Wait for F {}
