//! Waiting on a coroutine: park the record, leave for the base, look again when woken. Cancellation is delivered here.

use crate::runtime::current::CurrentHome;
use crate::runtime::record::{Record, State, Suspended};
use crate::runtime::report::Report;
use crate::task::cancel::{self, MAX_THROWS, Requested};
use crate::task::header::{Header, State as TaskState};
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(super) fn block_on<F: Future>(
    home: CurrentHome,
    record: &'static Record,
    mut future: Pin<&mut F>,
    site: &'static Location<'static>,
) -> F::Output {
    let waker = record.waker();
    let mut cx = Context::from_waker(&waker);
    let mut frame = Frame::enter(record);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        frame.about_to_park();
        park(home, record, site, frame.calm);
    }
}

/// One `block_on` on a coroutine's stack.
pub(super) struct Frame {
    record: &'static Record,
    parked: bool,
    /// This coroutine is not unwinding: it has been seen here while the thread was not panicking, and the frame cannot have
    /// begun to unwind since. Later the thread may read as panicking because a neighbour waits in a destructor.
    pub(super) calm: bool,
}

impl Frame {
    pub(super) fn enter(record: &'static Record) -> Self {
        record.depth.set(record.depth.get() + 1);
        Self { record, parked: false, calm: false }
    }

    pub(super) fn about_to_park(&mut self) {
        self.parked = true;
        self.calm = self.calm || !std::thread::panicking();
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let outer = self.record.depth.get() - 1;
        self.record.depth.set(outer);
        // `nested-waits`
        if outer > 0 && self.parked {
            self.record.state.set(State::Notified);
        }
    }
}

/// Suspends the coroutine until it is woken.
///
/// # Panics
/// When waiting is forbidden; unwinds when the task has been cancelled.
#[inline(always)]
pub(super) fn park(home: CurrentHome, record: &'static Record, site: &'static Location<'static>, calm: bool) {
    if !park_unimpeded(home, record, site) {
        park_with_care(home, record, site, calm);
    }
}

/// `park`, if nothing is to be done about the wait but to wait: else false. It does not unwind.
#[inline(always)]
pub(super) fn park_unimpeded(
    home: CurrentHome,
    record: &'static Record,
    site: &'static Location<'static>,
) -> bool {
    let Some(task) = unimpeded(record) else { return false };
    task.set_wait_site(site);
    suspend(home, record, Some(task));
    task.leave_wait_site();
    true
}

/// The task, if nothing is to be done about a wait of it but to wait: no guard, no other's poll around it, no cancellation, whoever
/// cancels it knows where it waits, and this is no child made by fork.
#[inline]
fn unimpeded(record: &Record) -> Option<&Header> {
    let unimpeded =
        |task: &&Header| !task.guarded.get() && !task.lane.futures && task.cancel.is_published(record);
    if crate::runtime::fork::is_child() { None } else { record.task().filter(unimpeded) }
}

/// `park`, where there may be something to be done about it.
///
/// # Panics
/// As [`park`].
#[inline(never)]
pub(super) fn park_with_care(
    home: CurrentHome,
    record: &'static Record,
    site: &'static Location<'static>,
    calm: bool,
) {
    crate::runtime::fork::check();
    let Some(task) = record.task() else { return suspend(home, record, None) };
    before(home, record, task, site, calm);
    super::hook::run_before(task);
    suspend(home, record, Some(task));
    after(task);
}

/// Gives the others on this worker a turn. Without others it returns at once: to be popped next is to go on.
///
/// In one function with its caller, for what is said at `Base::step`.
///
/// # Panics
/// As [`park`].
#[inline(always)]
pub(super) fn give_turn(home: CurrentHome, record: &'static Record, site: &'static Location<'static>) {
    let Some(task) = unimpeded(record) else {
        return give_turn_with_care(home, record, site);
    };
    if home.local().take_own_turn(home.shared()) {
        return;
    }
    task.set_wait_site(site);
    task.set_state(TaskState::Ready);
    stand_in_line(home, record);
    task.leave_wait_site();
    if record.depth.get() > 0 {
        // `nested-waits`: a wake that came meanwhile was for a wait further out.
        record.state.set(State::Notified);
    }
}

/// `give_turn`, where there may be something to be done about it.
#[inline(never)]
fn give_turn_with_care(home: CurrentHome, record: &'static Record, site: &'static Location<'static>) {
    crate::runtime::fork::check();
    let task = record.task();
    if let Some(task) = task {
        before(home, record, task, site, !std::thread::panicking());
    }
    // Hooks see every turn that is given.
    let hooked = task.is_some_and(|task| task.guarded.get());
    if !hooked && home.local().take_own_turn(home.shared()) {
        if let Some(task) = task {
            task.leave_wait_site();
        }
        return;
    }
    if let Some(task) = task {
        super::hook::run_before(task);
        task.set_state(TaskState::Ready);
    }
    stand_in_line(home, record);
    if let Some(task) = task {
        after(task);
    }
    if record.depth.get() > 0 {
        // `nested-waits`: a wake that came meanwhile was for a wait further out.
        record.state.set(State::Notified);
    }
}

/// What comes before a suspension: refusals and cancellation.
fn before(
    home: CurrentHome,
    record: &'static Record,
    task: &Header,
    site: &'static Location<'static>,
    calm: bool,
) {
    if task.guarded.get() && task.borrowing.get() == 0 {
        super::hook::refuse_if_forbidden(task, site);
    }
    if task.lane.futures {
        let scheduler = home.shared().scheduler();
        if task.borrowing.get() == 0 {
            scheduler.refuse_wait_in_poll(task, site);
        }
        scheduler.count_wait_in_poll(task, site);
    }
    let requested = task.cancel.publish(record);
    if requested != Requested::No {
        if calm {
            deliver_cancellation(record, task);
        } else {
            home.local().hold_cancellation(record);
        }
        if requested == Requested::Unseen {
            // The wait goes on, and may be for just this request.
            record.state.set(State::Notified);
        }
    }
    task.set_wait_site(site);
}

#[inline]
fn after(task: &Header) {
    task.leave_wait_site();
    super::hook::run_after(task);
}

/// Leaves for the base; returns when woken and resumed.
#[inline(always)]
fn suspend(home: CurrentHome, record: &'static Record, task: Option<&Header>) {
    if record.state.get() == State::Notified {
        // Woken since the last look: others get a turn, then we look again.
        return stand_in_line(home, record);
    }
    record.suspended.set(Suspended::Waiting);
    record.parked_round.set(home.local().trim.parked());
    if let Some(task) = task {
        task.set_state(TaskState::Waiting);
    }
    record.state.set(State::Parked);
    record.suspend();
}

/// Leaves for the base, woken already: at the end of the line.
#[inline(always)]
fn stand_in_line(home: CurrentHome, record: &'static Record) {
    record.suspended.set(Suspended::Waiting);
    record.state.set(State::Woken);
    home.local().ready.push_coroutine(record);
    record.suspend();
}

/// Throws the cancellation, where it may be thrown. The caller does not unwind.
#[cold]
fn deliver_cancellation(record: &'static Record, task: &Header) {
    if cfg!(panic = "abort") || task.shields.get() > 0 || task.borrowing.get() > 0 {
        return;
    }
    if task.throws.get() < MAX_THROWS {
        task.throws.set(task.throws.get() + 1);
        cancel::throw();
    }
    // It swallows every cancellation, and would turn for ever: suspended for good, nothing enrolled.
    task.scheduler.report(&Report::leaked(task));
    task.set_state(TaskState::Waiting);
    record.state.set(State::Leaked);
    record.suspended.set(Suspended::Waiting);
    record.suspend();
    unreachable!("a leaked coroutine is never resumed");
}
