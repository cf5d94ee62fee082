//! Committed waits: operations whose waiter lies in our own frame, so that nobody else can drop it.
//!
//! A peer may complete such an operation for good: it puts the message into the waiter, or takes it out, and is done. So when the
//! wait ends for another reason (a deadline, a cancellation, a refusal to wait), the waiter must be withdrawn first; if a
//! peer was faster, the operation *has* happened, its result is returned, and the reason is left for the next wait:
//! completion beats cancellation.

use crate::reactor::TimerEntry;
use crate::runtime::current::{self, CurrentHome};
use crate::runtime::record::Record;
use crate::task;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::task::{Context, Poll};
use std::time::Instant;

/// An operation that can be enrolled, completed by a peer, and withdrawn.
pub(crate) trait Committed {
    /// What a completed operation gives.
    type Output;

    /// Whether a plain thread is to look for a while before the first poll. Nothing may be lost by that: who is to be met must not have to
    /// find it in line.
    fn may_look_ahead(&mut self) -> bool {
        false
    }

    /// Looks whether it can be completed without standing in line. Only asked of those who may look ahead.
    fn look_ahead(&mut self) -> Option<Self::Output> {
        None
    }

    /// Looks whether the operation is complete; enrols it the first time.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Self::Output>;

    /// Takes the operation back. `Some`: a peer had completed it.
    fn withdraw(&mut self) -> Option<Self::Output>;
}

/// The deadline passed, and the operation was withdrawn: nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadlinePassed;

/// Waits for a committed operation, at the latest until the deadline.
#[track_caller]
pub(crate) fn complete<C: Committed>(
    operation: &mut C,
    deadline: Option<Instant>,
) -> Result<C::Output, DeadlinePassed> {
    let site = Location::caller();
    match current::record() {
        Some((home, record)) => on_coroutine(home, record, operation, deadline, site),
        None => on_thread(operation, deadline, site),
    }
}

fn on_coroutine<C: Committed>(
    home: CurrentHome,
    record: &'static Record,
    operation: &mut C,
    deadline: Option<Instant>,
    site: &'static Location<'static>,
) -> Result<C::Output, DeadlinePassed> {
    let mut timer = deadline.map(TimerEntry::new);
    let waker = record.waker();
    let mut cx = Context::from_waker(&waker);
    let mut frame = super::coroutine::Frame::enter(record);
    loop {
        if let Poll::Ready(output) = operation.poll(&mut cx) {
            return Ok(output);
        }
        if timer.as_mut().is_some_and(|timer| timer.poll_expired(&mut cx).is_ready()) {
            return operation.withdraw().ok_or(DeadlinePassed);
        }
        frame.about_to_park();
        if super::coroutine::park_unimpeded(home, record, site) {
            continue;
        }
        let parked = catch_unwind(AssertUnwindSafe(|| {
            super::coroutine::park_with_care(home, record, site, frame.calm);
        }));
        let Err(payload) = parked else { continue };
        match operation.withdraw() {
            Some(output) => {
                task::cancel::put_back(&*payload);
                return Ok(output);
            }
            None => task::rethrow(payload),
        }
    }
}

fn on_thread<C: Committed>(
    operation: &mut C,
    deadline: Option<Instant>,
    site: &'static Location<'static>,
) -> Result<C::Output, DeadlinePassed> {
    if operation.may_look_ahead()
        && let Some(output) = super::thread::look_ahead(deadline, || operation.look_ahead())
    {
        return Ok(output);
    }
    let parker = super::thread::Cached::take();
    let waker = parker.waker();
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = operation.poll(&mut cx) {
            return Ok(output);
        }
        crate::runtime::fork::check();
        if let Some(by) = current::forbidden() {
            match operation.withdraw() {
                Some(output) => return Ok(output),
                None => super::hook::refuse(by, site),
            }
        }
        if !parker.park(deadline) {
            return operation.withdraw().ok_or(DeadlinePassed);
        }
    }
}
