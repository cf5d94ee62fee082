//! Sleeping, timeouts and ticks, for coroutines, tasks and plain threads.
//!
//! | | future, for `.await` and `.wait()` | Go-style: waits on the spot |
//! |---|---|---|
//! | once | [`Timer`], [`after()`] | [`sleep`], [`sleep_until`] |
//! | at most so long | [`timeout()`], [`timeout_at`] | [`within()`] for a closure, `timeout(..).wait()` for a future |
//! | again and again | [`Interval`]: [`tick_async`](Interval::tick_async), `Stream` | [`Interval::tick`] |
//!
//! # Precision
//! Nothing fires early. Timers are kept to 2^16 ns, so they fire up to 66 µs late, plus what the system adds
//! (on Linux about 60 µs) and what the worker's present task takes. Deadlines beyond about 30 years fire
//! then. The clock is the monotonic one of [`Instant`](std::time::Instant), which stands still while the
//! machine is suspended on some systems.
//!
//! # Cost
//! Arming and cancelling a timer take constant time and no system call, except that a timer armed from
//! another thread wakes a sleeping worker if it is the earliest. A timer that is dropped gives its memory
//! back at once.

mod after;
mod interval;
mod timeout;
mod timer;
mod within;

pub use after::{After, Never, Ticker, TickerIntoIter, TickerIter, after, never, tick};
pub use interval::{Interval, MissedTick, Tick, interval, interval_at};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};
pub use timer::{Timer, sleep, sleep_until};
pub use within::{within, within_deadline};

pub(crate) use crate::reactor::clock::deadline_after;
