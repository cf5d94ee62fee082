//! Giving others a turn.

use crate::runtime::current;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Gives the others on this worker a turn and goes on afterwards. Go-style; in async code it is [`yield_now_async`].
///
/// # Blocking
/// Suspends the calling coroutine or task until those ready before it have run; off the workers, `std::thread::yield_now`.
///
/// # Cancel safety
/// A cancelled task unwinds here: *nothing happened*.
///
/// # Examples
/// ```
/// let task = aqueduct::go(|| {
///     for _ in 0..3 {
///         aqueduct::yield_now();
///     }
///     "done"
/// });
/// assert_eq!(task.join().unwrap(), "done");
/// ```
#[track_caller]
#[inline(always)]
pub fn yield_now() {
    match current::record() {
        Some((home, record)) => super::coroutine::give_turn(home, record, Location::caller()),
        None => std::thread::yield_now(),
    }
}

/// The future form of [`yield_now`].
pub fn yield_now_async() -> YieldNow {
    YieldNow { yielded: false }
}

/// See [`yield_now_async`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited or waited for"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The Go-style face's share in the budget: called at the beginning of every operation that may wait, so that a busy channel or
/// socket can neither keep a worker from its poller nor its task from being cancelled.
#[inline]
#[track_caller]
pub(crate) fn yield_if_spent() {
    if current::spend_budget() {
        give_turn();
    }
}

/// A wait like any other, which a cancellation may end: the operation has not begun. Where waits are refused there is no turn
/// to give.
#[cold]
#[inline(never)]
#[track_caller]
fn give_turn() {
    if !current::with_task(super::hook::refuses).unwrap_or(false) {
        yield_now();
    }
}

/// The futures' share in the budget: `Pending`, with the waker called, when it is used up.
#[inline]
pub(crate) fn poll_budget(cx: &mut Context<'_>) -> Poll<()> {
    if current::spend_budget() {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(())
}
