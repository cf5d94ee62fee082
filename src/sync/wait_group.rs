//! Waiting until a number of things are done.

#![forbid(unsafe_code)]

use super::monitor::{Enrolment, Hold, Monitor, Rule};
use crate::time::{Elapsed, deadline_after};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Counts what is under way, and waits until nothing is: Go's `WaitGroup`. Clones are handles of the same group.
///
/// [`add`](Self::add) before starting, [`done`](Self::done) at the end; or [`enter`](Self::enter), whose guard does the second by
/// itself, also when the work panics or is cancelled. A group may be used again after it has come to zero: who waits is released
/// by the first zero after it came.
///
/// # Examples
/// ```
/// use aqueduct::{go, sync::WaitGroup};
///
/// let group = WaitGroup::new();
/// for _ in 0..3 {
///     let working = group.enter();
///     go! {
///         let _working = working;
///         aqueduct::yield_now();
///     };
/// }
/// group.wait();
/// assert_eq!(group.count(), 0);
/// ```
/// Async:
/// ```
/// # aqueduct::block_on(async {
/// let group = aqueduct::sync::WaitGroup::new();
/// group.add(1);
/// aqueduct::spawn({
///     let group = group.clone();
///     async move { group.done() }
/// });
/// group.wait_async().await;
/// # });
/// ```
#[derive(Clone)]
pub struct WaitGroup {
    count: Arc<Monitor<Count>>,
}

pub(super) struct Count {
    under_way: usize,
    /// How often it has come to zero: who came before that is released, whatever has been added since.
    zeros: u64,
}

impl Rule for Count {
    /// `zeros` when the waiter came.
    type Request = u64;
    type Shared = ();

    fn arrive(&mut self, _: &(), came: &mut u64, _alone: bool) -> bool {
        *came = self.zeros;
        self.under_way == 0
    }

    fn can_grant(&self, _: &(), came: &u64) -> bool {
        self.under_way == 0 || self.zeros != *came
    }

    fn grant(&mut self, _: &(), _: &mut u64) {}

    fn leave(&mut self, came: &u64) -> bool {
        self.zeros != *came
    }

    fn give_back(&mut self, _: &(), _: &u64) {}
}

impl WaitGroup {
    /// A group with nothing under way.
    #[must_use]
    pub fn new() -> Self {
        Self { count: Arc::new(Monitor::new(Count { under_way: 0, zeros: 0 })) }
    }

    /// So many more are under way.
    ///
    /// # Panics
    /// When it would be more than `usize` can count.
    #[track_caller]
    pub fn add(&self, count: usize) {
        let sum = self.count.change(|group, _| {
            let sum = group.under_way.checked_add(count);
            group.under_way = sum.unwrap_or(group.under_way);
            sum
        });
        assert!(sum.is_some(), "the wait group cannot count so many");
    }

    /// One is done.
    ///
    /// # Panics
    /// When nothing is under way.
    #[track_caller]
    pub fn done(&self) {
        let was_under_way = self.count.change(|group, _| {
            let was_under_way = group.under_way > 0;
            if was_under_way {
                group.under_way -= 1;
                group.zeros += u64::from(group.under_way == 0);
            }
            was_under_way
        });
        assert!(was_under_way, "`done` was called more often than `add`");
    }

    /// One more is under way, until the guard is dropped.
    pub fn enter(&self) -> Working {
        self.add(1);
        Working { group: self.clone() }
    }

    /// How many are under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.look(|group| group.under_way)
    }

    /// Waits until nothing is under way.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here: *nothing happened*.
    ///
    /// # Panics
    /// When it would wait and waiting is [forbidden](crate::wait::forbid).
    #[track_caller]
    pub fn wait(&self) {
        let Ok(_) = self.count.wait(0, None) else { unreachable!("a wait without a deadline ends at zero") };
    }

    /// As [`wait`](Self::wait), but gives up after `timeout`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened*.
    ///
    /// # Errors
    /// [`Elapsed`] when something is still under way.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let group = aqueduct::sync::WaitGroup::new();
    /// group.add(1);
    /// assert!(group.wait_timeout(Duration::from_millis(1)).is_err());
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), Elapsed> {
        self.wait_deadline(deadline_after(timeout))
    }

    /// As [`wait`](Self::wait), but gives up at `deadline`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled: *nothing happened*.
    ///
    /// # Errors
    /// [`Elapsed`] when something is still under way.
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.count.wait(0, Some(deadline)).map(drop).map_err(|_| Elapsed::new())
    }

    /// The future form of [`wait`](Self::wait); it borrows nothing.
    ///
    /// # Cancel safety
    /// Dropped before it is ready: *nothing happened*.
    pub fn wait_async(&self) -> WaitForZero {
        WaitForZero { enrolment: Enrolment::revocable(self.clone(), 0) }
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").field("count", &self.count()).finish()
    }
}

/// One thing under way in a [`WaitGroup`], until dropped.
#[derive(Debug)]
#[must_use = "it counts as done when the guard is dropped"]
pub struct Working {
    group: WaitGroup,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.group.done();
    }
}

impl Hold for WaitGroup {
    type Rule = Count;

    fn monitor(&self) -> &Monitor<Count> {
        &self.count
    }
}

pin_project_lite::pin_project! {
    /// Future of [`WaitGroup::wait_async`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct WaitForZero {
        #[pin]
        enrolment: Enrolment<WaitGroup>,
    }
}

impl Future for WaitForZero {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().enrolment.as_ref().poll(cx).map(drop)
    }
}
