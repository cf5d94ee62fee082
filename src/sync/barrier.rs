//! Waiting until a number of parties have arrived.

#![forbid(unsafe_code)]

use super::monitor::{Enrolment, Monitor, Rule};
use crate::time::{Elapsed, deadline_after};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Holds parties up until `n` of them have arrived, then lets these through, and begins again.
///
/// # Examples
/// ```
/// use aqueduct::{go, sync::Barrier};
/// use std::sync::Arc;
///
/// let barrier = Arc::new(Barrier::new(3));
/// let tasks: Vec<_> = (0..3)
///     .map(|_| {
///         let barrier = barrier.clone();
///         go!(barrier.wait().is_leader())
///     })
///     .collect();
/// let leaders = tasks.into_iter().filter_map(|task| task.join().ok()).filter(|leader| *leader).count();
/// assert_eq!(leaders, 1);
/// ```
/// Async:
/// ```
/// # aqueduct::block_on(async {
/// let barrier = aqueduct::sync::Barrier::new(2);
/// futures::join!(barrier.wait_async(), barrier.wait_async());
/// # });
/// ```
pub struct Barrier {
    round: Monitor<Round>,
}

struct Round {
    size: usize,
    arrived: usize,
    /// How often the barrier has opened.
    number: u64,
}

#[derive(Clone, Copy)]
struct Arrival {
    round: u64,
    leader: bool,
}

impl Arrival {
    const NEW: Self = Self { round: 0, leader: false };
}

impl Rule for Round {
    type Request = Arrival;
    type Shared = ();

    const ARRIVAL_COUNTS: bool = true;

    fn arrive(&mut self, _: &(), arrival: &mut Arrival, _alone: bool) -> bool {
        arrival.round = self.number;
        self.arrived += 1;
        if self.arrived < self.size {
            return false;
        }
        self.arrived = 0;
        self.number += 1;
        arrival.leader = true;
        true
    }

    fn can_grant(&self, _: &(), arrival: &Arrival) -> bool {
        self.number != arrival.round
    }

    fn grant(&mut self, _: &(), _: &mut Arrival) {}

    fn leave(&mut self, arrival: &Arrival) -> bool {
        let released = self.can_grant(&(), arrival);
        if !released {
            self.arrived -= 1;
        }
        released
    }

    fn give_back(&mut self, _: &(), _: &Arrival) {}
}

impl Barrier {
    const_fn! {
        /// A barrier for `parties` at a time; 0 is as 1: nobody is held up.
        #[must_use]
        pub const fn new(parties: usize) -> Self {
            Self { round: Monitor::new(Round { size: parties, arrived: 0, number: 0 }) }
        }
    }

    /// Arrives, and waits until all have.
    ///
    /// # Blocking
    /// Suspends the calling coroutine or task; off the workers it blocks the thread.
    ///
    /// # Cancel safety
    /// A cancelled task unwinds here, and has not arrived: *nothing happened, place in the queue lost*.
    ///
    /// # Panics
    /// When it would wait and waiting is [forbidden](crate::wait::forbid).
    #[track_caller]
    pub fn wait(&self) -> Passed {
        match self.round.wait(Arrival::NEW, None) {
            Ok(arrival) => Passed { leader: arrival.leader },
            Err(_) => unreachable!("a wait without a deadline ends when all have arrived"),
        }
    }

    /// As [`wait`](Self::wait), but gives up after `timeout`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled, it has not arrived: *nothing happened, place in the queue lost*.
    ///
    /// # Errors
    /// [`Elapsed`] when others are still missing.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let barrier = aqueduct::sync::Barrier::new(2);
    /// assert!(barrier.wait_timeout(Duration::from_millis(1)).is_err());
    /// assert_eq!(barrier.arrived(), 0);
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Passed, Elapsed> {
        self.wait_deadline(deadline_after(timeout))
    }

    /// As [`wait`](Self::wait), but gives up at `deadline`.
    ///
    /// # Cancel safety
    /// Timed out or cancelled, it has not arrived: *nothing happened, place in the queue lost*.
    ///
    /// # Errors
    /// [`Elapsed`] when others are still missing.
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<Passed, Elapsed> {
        match self.round.wait(Arrival::NEW, Some(deadline)) {
            Ok(arrival) => Ok(Passed { leader: arrival.leader }),
            Err(_) => Err(Elapsed::new()),
        }
    }

    /// The future form of [`wait`](Self::wait). It arrives when it is first polled.
    ///
    /// # Cancel safety
    /// Dropped before the others have arrived, it has not arrived either: *nothing happened, place in the queue lost*. Dropped
    /// later, it has: *completes anyway*.
    pub fn wait_async(&self) -> Arrive<'_> {
        Arrive { enrolment: Enrolment::revocable(&self.round, Arrival::NEW) }
    }

    /// How many are being held up.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.round.look(|round| round.arrived)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (arrived, size) = self.round.look(|round| (round.arrived, round.size));
        f.debug_struct("Barrier").field("arrived", &arrived).field("parties", &size).finish()
    }
}

/// The barrier was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    leader: bool,
}

impl Passed {
    /// Whether the caller was the last to arrive: exactly one of each round is.
    #[must_use]
    pub fn is_leader(self) -> bool {
        self.leader
    }
}

pin_project_lite::pin_project! {
    /// Future of [`Barrier::wait_async`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Arrive<'a> {
        #[pin]
        enrolment: Enrolment<&'a Monitor<Round>>,
    }
}

impl Future for Arrive<'_> {
    type Output = Passed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Passed> {
        self.project().enrolment.as_ref().poll(cx).map(|arrival| Passed { leader: arrival.leader })
    }
}
