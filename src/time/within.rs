//! Go-style code that must be done in time: [`within`].

use super::{Elapsed, deadline_after};
use crate::reactor::TimerEntry;
use crate::runtime::{Scheduler, current, global};
use crate::task::body::Call;
use crate::task::header::Kind;
use crate::task::{self, AbortOnUnwind, Cancellable};
use crate::wait;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::Location;
use std::pin::pin;
use std::time::{Duration, Instant};

/// Runs `f`, which may wait as it likes, for at most `limit`, counted from this call.
///
/// `f` runs in a coroutine of its own and may borrow from the caller. When the limit passes it is cancelled: it unwinds from its
/// next wait. `within` returns when it has ended, so code that computes without waiting, or shields itself, is waited for. A value
/// that `f` returns nevertheless is returned: completion beats cancellation.
///
/// For a future there is [`timeout`](super::timeout()).
///
/// # Blocking
/// Suspends the calling coroutine or task until `f` has ended; off the workers it blocks the thread.
///
/// # Cancel safety
/// When the caller is cancelled, `f` is cancelled and waited for; then the caller unwinds. If `f` completes nevertheless, so does
/// `within`: *completes anyway*.
///
/// # Errors
/// [`Elapsed`] if the limit has passed and `f` was cancelled.
///
/// # Panics
/// When `f` panics, with its payload. When waiting is [forbidden](crate::wait::forbid) here.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use aqueduct::{sync::Notify, time};
///
/// let words = vec!["one", "two"];
/// let count = time::within(Duration::from_secs(5), || words.len());
/// assert_eq!(count, Ok(2));
///
/// let never = Notify::new();
/// assert!(time::within(Duration::from_millis(1), || never.wait()).is_err());
/// ```
/// What `f` borrows must be fit for another thread:
/// ```compile_fail,E0277
/// let shared = std::rc::Rc::new(1);
/// aqueduct::time::within(std::time::Duration::from_secs(1), || println!("{shared}"));
/// ```
#[track_caller]
pub fn within<F, T>(limit: Duration, f: F) -> Result<T, Elapsed>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    within_deadline(deadline_after(limit), f)
}

/// Runs `f` until `deadline` at most; as [`within`] in all else.
///
/// # Cancel safety
/// As there.
///
/// # Errors
/// [`Elapsed`] if the deadline has passed and `f` was cancelled.
#[track_caller]
pub fn within_deadline<F, T>(deadline: Instant, f: F) -> Result<T, Elapsed>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let site = Location::caller();
    wait::assert_may_wait(site);
    let caller = Cancellable::here();
    let traits = global::current_scheduler().traits(Kind::Coroutine, site);
    // SAFETY: closure and value are Send. The wait below ends after the task has, and whatever unwinds before that ends the
    // process.
    let handle = unsafe { Scheduler::spawn(traits, Call::new(f)) };
    let whole = AbortOnUnwind;
    let mut timer = TimerEntry::new(deadline);
    let (mut elapsed, mut passed_on) = (false, false);
    let result = {
        let mut handle = pin!(handle);
        wait::block_on_borrowing(poll_fn(|cx| {
            if !passed_on && caller.is_requested() {
                passed_on = true;
                handle.cancel();
            }
            // The task is looked at first: one that is complete has made it.
            let result = handle.as_mut().poll(cx);
            if result.is_pending() && !elapsed && timer.poll_expired(cx).is_ready() {
                elapsed = true;
                handle.cancel();
            }
            result
        }))
    };
    mem::forget(whole);
    if let Some(payload) = current::with_task(wait::take_hook_panic).flatten() {
        task::rethrow(payload);
    }
    match result {
        Ok(value) => Ok(value),
        Err(error) if error.is_cancelled() && passed_on && caller.is_requested() => task::cancel::throw(),
        Err(error) if error.is_cancelled() && elapsed => Err(Elapsed::new()),
        Err(error) => error.resume(),
    }
}
