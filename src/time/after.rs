//! Timers as receivers, for `select!`: Go's `time.After` and `time.Tick`.
#![forbid(unsafe_code)]

use crate::channel::slot::Slot;
use crate::primitive::lock;
use crate::reactor::{TimerEntry, clock};
use crate::select::{Alarm, Receive, TimerCase};
use std::future::{Future, poll_fn};
use std::iter::FusedIterator;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Something to receive the moment from, once, when `delay` has passed.
///
/// It costs nothing until somebody waits for it, and nothing when it is dropped.
///
/// # Examples
/// ```
/// use aqueduct::{channel, select, time};
/// use std::time::Duration;
///
/// let (_tx, rx) = channel::bounded::<u32>(0);
/// select! {
///     v = <-rx => unreachable!("{v:?}"),
///     _ = <-time::after(Duration::from_millis(1)) => {}
/// }
/// ```
#[must_use]
pub fn after(delay: Duration) -> After {
    After { timer: Mutex::new(Some(TimerEntry::new(clock::deadline_after(delay)))) }
}

/// See [`after()`].
#[derive(Debug)]
pub struct After {
    /// None once it has fired.
    timer: Mutex<Option<TimerEntry>>,
}

/// Something to receive the moment from every `period`, for the first time one period from now. Like Go's, it drops moments that
/// nobody waits for.
///
/// # Examples
/// Go's `for range time.Tick(period)`:
/// ```
/// use aqueduct::time;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// for (count, moment) in time::tick(Duration::from_millis(1)).into_iter().enumerate() {
///     assert!(moment > start);
///     if count == 2 {
///         break;
///     }
/// }
/// assert!(start.elapsed() >= Duration::from_millis(3));
/// ```
///
/// # Panics
/// When `period` is zero.
#[must_use]
#[track_caller]
pub fn tick(period: Duration) -> Ticker {
    assert!(!period.is_zero(), "a ticker's period must not be zero");
    Ticker { period, timer: Mutex::new(TimerEntry::new(clock::deadline_after(period))) }
}

/// See [`tick`].
#[derive(Debug)]
pub struct Ticker {
    period: Duration,
    timer: Mutex<TimerEntry>,
}

impl Ticker {
    /// The moments as they come, without end; `next` waits as [`recv`](Self::recv) does.
    pub fn iter(&self) -> TickerIter<'_> {
        TickerIter(self)
    }
}

/// See [`Ticker::iter`].
#[derive(Clone, Debug)]
pub struct TickerIter<'a>(&'a Ticker);

/// The moments of a [`Ticker`] that it owns.
#[derive(Debug)]
pub struct TickerIntoIter(Ticker);

macro_rules! moments {
    ($iterator:ty) => {
        impl Iterator for $iterator {
            type Item = Instant;

            #[track_caller]
            fn next(&mut self) -> Option<Instant> {
                Some(self.0.recv())
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (usize::MAX, None)
            }
        }

        impl FusedIterator for $iterator {}
    };
}
moments!(TickerIter<'_>);
moments!(TickerIntoIter);

impl IntoIterator for Ticker {
    type Item = Instant;
    type IntoIter = TickerIntoIter;

    fn into_iter(self) -> TickerIntoIter {
        TickerIntoIter(self)
    }
}

impl<'a> IntoIterator for &'a Ticker {
    type Item = Instant;
    type IntoIter = TickerIter<'a>;

    fn into_iter(self) -> TickerIter<'a> {
        self.iter()
    }
}

/// Something to receive from that never comes.
#[must_use]
pub fn never() -> Never {
    Never(())
}

/// See [`never()`].
#[derive(Debug)]
pub struct Never(());

impl Alarm for After {
    fn poll_alarm(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut timer = lock(&self.timer);
        let Some(entry) = timer.as_mut() else { return Poll::Pending };
        std::task::ready!(entry.poll_expired(cx));
        let moment = entry.deadline();
        *timer = None;
        Poll::Ready(moment)
    }
}

impl Alarm for Ticker {
    fn poll_alarm(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut timer = lock(&self.timer);
        std::task::ready!(timer.poll_expired(cx));
        let moment = timer.deadline();
        let (now, mut next) = (clock::now(), clock::later(moment, self.period));
        if next <= now {
            next = clock::later(now, self.period);
        }
        timer.reset(next);
        Poll::Ready(moment)
    }
}

impl Alarm for Never {
    fn poll_alarm(&self, _: &mut Context<'_>) -> Poll<Instant> {
        Poll::Pending
    }
}

macro_rules! receiver {
    ($name:ident) => {
        impl $name {
            /// Waits for the moment.
            ///
            /// # Blocking
            /// Suspends the calling coroutine or task; off the workers it blocks the thread.
            ///
            /// # Cancel safety
            /// *Nothing happened.*
            #[track_caller]
            pub fn recv(&self) -> Instant {
                crate::wait::block_on(poll_fn(|cx| self.poll_alarm(cx)))
            }
        }

        impl Receive for $name {
            type Output = Instant;
            type Slot = Slot<Instant>;
            type Case<'a> = TimerCase<'a>;

            fn case<'a>(source: Option<&'a Self>, slot: &'a mut Slot<Instant>, _: bool) -> TimerCase<'a> {
                TimerCase::new(source.map(|source| source as &dyn Alarm), slot)
            }
        }
    };
}

receiver!(After);
receiver!(Ticker);
receiver!(Never);

/// Awaited, it gives the moment, once.
impl Future for After {
    type Output = Instant;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        self.poll_alarm(cx)
    }
}
