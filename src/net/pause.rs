//! Waits by the clock, for what no event announces.
#![forbid(unsafe_code)]

use std::fmt;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::reactor::TimerEntry;

/// A wait by the clock between two attempts, each twice as long as the one before.
pub(super) struct Pause {
    length: Duration,
    timer: TimerEntry,
}

impl Pause {
    /// Starts the first pause, or the one after that in `slot`.
    pub(super) fn start(slot: &mut Option<Self>, first: Duration, max: Duration) {
        let length = slot.as_ref().map_or(first, |pause| (pause.length * 2).min(max));
        *slot = Some(Self { length, timer: TimerEntry::new(Instant::now() + length) });
    }

    /// Ready when it is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll_expired(cx)
    }
}

impl fmt::Debug for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pause({:?})", self.length)
    }
}
