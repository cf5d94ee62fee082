//! Cases that are polled: futures and timers.

use super::cases::{Case, CaseKind, Outcome, Patience, opaque_debug};
use crate::channel::slot::Slot;
use crate::reactor::TimerEntry;
use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

impl<R> Outcome for Slot<R> {
    type Output = R;

    fn vacant() -> Self {
        Self::EMPTY
    }

    #[inline]
    fn take(&mut self) -> R {
        Slot::take(self)
    }
}

/// Any future.
pub struct FutureCase<'a, F: Future> {
    future: Option<F>,
    output: &'a mut Slot<F::Output>,
    _pinned: PhantomPinned,
}

impl<'a, F: Future> FutureCase<'a, F> {
    #[doc(hidden)]
    pub fn new(future: F, output: &'a mut Slot<F::Output>, enabled: bool) -> Self {
        Self::of(enabled.then_some(future), output)
    }

    pub(crate) fn of(future: Option<F>, output: &'a mut Slot<F::Output>) -> Self {
        Self { future, output, _pinned: PhantomPinned }
    }
}

impl<F: Future> Case for FutureCase<'_, F> {
    fn kind(&self) -> CaseKind {
        if self.future.is_some() { CaseKind::Foreign } else { CaseKind::Disabled }
    }

    fn try_now(self: Pin<&mut Self>, cx: &mut Context<'_>, _: Patience) -> bool {
        // SAFETY: a structural projection: `future` is pinned, `output` is not.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        let Some(future) = future.as_pin_mut() else { return false };
        match future.poll(cx) {
            Poll::Ready(output) => {
                this.output.fill(output);
                true
            }
            Poll::Pending => false,
        }
    }
}

/// A timer of [`time::after`](crate::time::after) and its like.
pub struct TimerCase<'a> {
    alarm: Option<&'a dyn Alarm>,
    /// The case's own, from its first try on: several may wait for one timer.
    entry: Option<TimerEntry>,
    fired: &'a mut Slot<Instant>,
}

/// What a timer case polls.
pub(crate) trait Alarm: Sync {
    /// What one who waits registers, and nobody else has.
    fn take_entry(&self) -> TimerEntry;

    /// The wait is over.
    fn put_back(&self, entry: TimerEntry);

    /// Ready with the moment for which it was set.
    fn poll_alarm(&self, entry: &mut TimerEntry, cx: &mut Context<'_>) -> Poll<Instant>;
}

impl<'a> TimerCase<'a> {
    pub(crate) fn new(alarm: Option<&'a dyn Alarm>, fired: &'a mut Slot<Instant>) -> Self {
        Self { alarm, entry: None, fired }
    }
}

impl Case for TimerCase<'_> {
    fn kind(&self) -> CaseKind {
        if self.alarm.is_some() { CaseKind::Timer } else { CaseKind::Disabled }
    }

    fn try_now(mut self: Pin<&mut Self>, cx: &mut Context<'_>, _: Patience) -> bool {
        let Some(alarm) = self.alarm else { return false };
        let entry = self.entry.get_or_insert_with(|| alarm.take_entry());
        match alarm.poll_alarm(entry, cx) {
            Poll::Ready(moment) => {
                self.fired.fill(moment);
                true
            }
            Poll::Pending => false,
        }
    }
}

impl Drop for TimerCase<'_> {
    fn drop(&mut self) {
        if let (Some(alarm), Some(entry)) = (self.alarm, self.entry.take()) {
            alarm.put_back(entry);
        }
    }
}

opaque_debug!(
    FutureCase [F: Future] ['_, F],
    TimerCase [] ['_],
);
