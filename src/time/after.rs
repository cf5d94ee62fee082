//! Timers as receivers, for `select!`: Go's `time.After` and `time.Tick`.
#![forbid(unsafe_code)]

use crate::channel::slot::Slot;
use crate::primitive::lock;
use crate::reactor::{TimerEntry, clock};
use crate::select::{Alarm, Receive, TimerCase};
use std::future::{Future, pending, poll_fn};
use std::iter::FusedIterator;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Something to receive the moment from, once, when `delay` has passed.
///
/// It costs nothing until somebody waits for it, and nothing when it is dropped. Several may wait for it: one of them receives the
/// moment, and who gives up waiting takes nothing from the others.
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
    let deadline = clock::deadline_after(delay);
    let moment = Moment { deadline, received: AtomicBool::new(false) };
    After { moment, entry: TimerEntry::new(deadline), idle: Mutex::new(None) }
}

/// See [`after()`].
#[derive(Debug)]
pub struct After {
    moment: Moment,
    /// Of who awaits it.
    entry: TimerEntry,
    idle: Idle,
}

/// The entry of a wait that is over, registered still, for the next one: a loop that selects on a timer registers it once. (It would
/// wake in vain, at most once, whoever waited last.)
type Idle = Mutex<Option<TimerEntry>>;

/// A moment that is received once.
#[derive(Debug)]
struct Moment {
    deadline: Instant,
    received: AtomicBool,
}

/// Something to receive the moment from every `period`, for the first time one period from now. Like Go's, it drops moments that
/// nobody waits for, and gives each moment to one of those who wait.
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
    Ticker { period, next: Mutex::new(clock::deadline_after(period)), idle: Mutex::new(None) }
}

/// See [`tick`].
#[derive(Debug)]
pub struct Ticker {
    period: Duration,
    /// The moment that nobody has received yet.
    next: Mutex<Instant>,
    idle: Idle,
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

impl Moment {
    fn poll(&self, entry: &mut TimerEntry, cx: &mut Context<'_>) -> Poll<Instant> {
        // Relaxed: nothing but the moment itself is received.
        if self.received.load(Relaxed) {
            return Poll::Pending;
        }
        ready!(entry.poll_expired(cx));
        if self.received.swap(true, Relaxed) { Poll::Pending } else { Poll::Ready(self.deadline) }
    }
}

impl Alarm for After {
    fn take_entry(&self) -> TimerEntry {
        lock(&self.idle).take().unwrap_or_else(|| TimerEntry::new(self.moment.deadline))
    }

    fn put_back(&self, entry: TimerEntry) {
        let before = lock(&self.idle).replace(entry);
        drop(before);
    }

    fn poll_alarm(&self, entry: &mut TimerEntry, cx: &mut Context<'_>) -> Poll<Instant> {
        self.moment.poll(entry, cx)
    }
}

impl Alarm for Ticker {
    fn take_entry(&self) -> TimerEntry {
        lock(&self.idle).take().unwrap_or_else(|| TimerEntry::new(*lock(&self.next)))
    }

    fn put_back(&self, entry: TimerEntry) {
        let before = lock(&self.idle).replace(entry);
        drop(before);
    }

    fn poll_alarm(&self, entry: &mut TimerEntry, cx: &mut Context<'_>) -> Poll<Instant> {
        loop {
            let due = *lock(&self.next);
            if entry.deadline() != due {
                entry.reset(due);
            }
            ready!(entry.poll_expired(cx));
            let mut next = lock(&self.next);
            // Unless another was faster.
            if *next == due {
                let now = clock::now();
                *next = clock::later(due, self.period);
                if *next <= now {
                    *next = clock::later(now, self.period);
                }
                return Poll::Ready(due);
            }
        }
    }
}

/// Waits with an entry of its own: several may wait for one alarm, and one that goes takes nothing from the others.
#[track_caller]
fn wait_for(alarm: &dyn Alarm) -> Instant {
    crate::wait::yield_if_spent();
    let mut entry = alarm.take_entry();
    let moment = crate::wait::block_on(poll_fn(|cx| alarm.poll_alarm(&mut entry, cx)));
    alarm.put_back(entry);
    moment
}

macro_rules! receiver {
    ($name:ident, |$source:ident| $wait:expr, $alarm:expr) => {
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
                let $source = self;
                $wait
            }
        }

        impl Receive for $name {
            type Output = Instant;
            type Slot = Slot<Instant>;
            type Case<'a> = TimerCase<'a>;

            fn case<'a>(source: Option<&'a Self>, slot: &'a mut Slot<Instant>, _: bool) -> TimerCase<'a> {
                let alarm: fn(&$name) -> Option<&dyn Alarm> = $alarm;
                TimerCase::new(source.and_then(alarm), slot)
            }
        }
    };
}

receiver!(After, |after| wait_for(after), |after| Some(after));
receiver!(Ticker, |ticker| wait_for(ticker), |ticker| Some(ticker));
receiver!(Never, |_never| crate::wait::block_on(pending()), |_| None);

/// Awaited, it gives the moment, once.
impl Future for After {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let After { moment, entry, .. } = &mut *self;
        moment.poll(entry, cx)
    }
}
