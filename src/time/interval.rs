//! Ticks at a regular distance: [`Interval`].

#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::Stream;

use crate::reactor::TimerEntry;
use crate::reactor::clock;
use crate::runtime::current;
use crate::wait::block_on;

/// Ticks every `period`, for the first time one period from now (as Go's `time.NewTicker`).
///
/// # Panics
/// If `period` is zero.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use aqueduct::time;
///
/// let mut interval = time::interval(Duration::from_millis(1));
/// let first = interval.tick();
/// let second = interval.tick();
/// assert_eq!(second - first, Duration::from_millis(1));
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(clock::deadline_after(period), period)
}

/// Ticks at `first`, which may be past, and every `period` from there.
///
/// # Panics
/// If `period` is zero.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use aqueduct::time;
///
/// let now = Instant::now();
/// let mut interval = time::interval_at(now, Duration::from_secs(3600));
/// assert_eq!(interval.tick(), now);
/// ```
#[track_caller]
pub fn interval_at(first: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "the period of an interval must not be zero");
    Interval { entry: TimerEntry::new(first), period, missed_tick: MissedTick::default() }
}

/// What an [`Interval`] does about ticks that were due before an earlier one was taken.
///
/// ```text
/// due      1         2         3         4         5         6
/// Burst    1                        23   4         5         6       all, late ones together
/// Delay    1                        2         +         +            + is one period after the last
/// Skip     1                        2    4         5         6       3 is left out
///                                   └ nobody took ticks from 1 to here
/// ```
///
/// A tick that is taken late, but before the next is due, moves nothing: ticks do not drift.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTick {
    /// Delivers the missed ticks as fast as they are taken, until it has caught up: right for counting.
    #[default]
    Burst,
    /// Forgets them, and the next tick comes one period after this one was taken: right for pauses between
    /// two pieces of work.
    Delay,
    /// Forgets them, and the next tick comes at the next multiple of the period: right for clocks.
    Skip,
}

impl MissedTick {
    /// When the next tick is due, after the one that was due at `due` was taken at `now`.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let next = clock::later(due, period);
        if now < next {
            return next;
        }
        match self {
            MissedTick::Burst => next,
            MissedTick::Delay => clock::later(now, period),
            MissedTick::Skip => clock::later(now, period - remainder(now - due, period)),
        }
    }
}

/// `length` modulo `period`.
fn remainder(length: Duration, period: Duration) -> Duration {
    const NANOS: u128 = 1_000_000_000;
    let left = length.as_nanos() % period.as_nanos();
    Duration::new((left / NANOS) as u64, (left % NANOS) as u32)
}

/// Ticks at a regular distance. Made by [`interval()`] and [`interval_at`].
///
/// As a [`Stream`] it never ends; its items are the moments when the ticks were due.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use futures::StreamExt;
/// use aqueduct::time;
///
/// aqueduct::block_on(async {
///     let ticks = time::interval(Duration::from_millis(1)).take(3);
///     assert_eq!(ticks.count().await, 3);
/// });
/// ```
pub struct Interval {
    entry: TimerEntry,
    period: Duration,
    missed_tick: MissedTick,
}

impl Interval {
    /// Sets what happens to missed ticks; [`MissedTick::Burst`] unless set.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use aqueduct::time::{self, MissedTick};
    ///
    /// let mut clock = time::interval(Duration::from_millis(1)).missed_tick(MissedTick::Skip);
    /// clock.tick();
    /// ```
    #[must_use]
    pub fn missed_tick(mut self, missed_tick: MissedTick) -> Interval {
        self.missed_tick = missed_tick;
        self
    }

    /// The distance between ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// When the next tick is due.
    pub fn next_tick(&self) -> Instant {
        self.entry.deadline()
    }

    /// Moves the next tick to one period from now.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use aqueduct::time;
    ///
    /// let period = Duration::from_secs(60);
    /// let mut interval = time::interval_at(Instant::now(), period);
    /// interval.reset();
    /// assert!(interval.next_tick() > Instant::now());
    /// ```
    pub fn reset(&mut self) {
        self.entry.reset(clock::deadline_after(self.period));
    }

    /// Waits for the next tick and returns when it was due.
    ///
    /// # Blocking
    /// Suspends the calling coroutine, with the task it runs; outside the scheduler, blocks the thread.
    ///
    /// # Cancel safety
    /// *Nothing happened*: the tick is there for the next call.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use aqueduct::time;
    ///
    /// let mut interval = time::interval(Duration::from_millis(1));
    /// assert!(interval.tick() <= Instant::now());
    /// ```
    #[track_caller]
    pub fn tick(&mut self) -> Instant {
        block_on(self.tick_async())
    }

    /// A future of the next tick, whose value is when it was due.
    ///
    /// # Cancel safety
    /// *Nothing happened*: the tick is there for the next call.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use aqueduct::time;
    ///
    /// aqueduct::block_on(async {
    ///     let mut interval = time::interval(Duration::from_millis(1));
    ///     assert!(interval.tick_async().await <= Instant::now());
    /// });
    /// ```
    pub fn tick_async(&mut self) -> Tick<'_> {
        Tick { interval: self }
    }

    /// Polls for the next tick, whose value is when it was due.
    ///
    /// # Cancel safety
    /// *Nothing happened*: the tick is there for the next call.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{future::poll_fn, time::Duration};
    /// use aqueduct::time;
    ///
    /// let mut interval = time::interval(Duration::from_millis(1));
    /// aqueduct::block_on(poll_fn(|cx| interval.poll_tick(cx)));
    /// ```
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(self.entry.poll_expired(cx));
        // Many missed ticks in a burst must not keep others from running.
        if current::spend_budget() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let due = self.entry.deadline();
        self.entry.reset(self.missed_tick.next(due, clock::now(), self.period));
        Poll::Ready(due)
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("next_tick", &self.next_tick())
            .field("period", &self.period)
            .field("missed_tick", &self.missed_tick)
            .finish_non_exhaustive()
    }
}

/// Future of [`Interval::tick_async`].
#[must_use = "futures do nothing unless they are polled"]
#[derive(Debug)]
pub struct Tick<'a> {
    interval: &'a mut Interval,
}

impl Future for Tick<'_> {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        self.interval.poll_tick(cx)
    }
}

#[cfg(test)]
#[path = "tests/missed_tick.rs"]
mod tests;
