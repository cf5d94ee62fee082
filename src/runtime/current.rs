//! Where we are: all thread-locals of the scheduler, behind functions that hand out copies.
//!
//! # Invariants
//! - `no-reference-survives`: what these functions return are copies of pointers to records and homes, which are never
//!   freed. No reference into a thread-local leaves this file, so none can live across a wait.
//! - `home-is-here`: `HOME` is set on a thread only while that thread drives the home, and is replaced while a nested
//!   `LocalRuntime` is driven. A coroutine never leaves its home's thread, so a `CurrentHome` stays true for as long as its
//!   holder (which is `!Send`) exists.
//!
//! For the same reason what is read on the hot paths is read in line: an address of a thread-local that the compiler keeps over a
//! switch is still this thread's. (A lock and its release 0.9 times the time of calls.)

use crate::reactor::Reactor;
use crate::runtime::home::{self, Home, Local};
use crate::runtime::record::Record;
use crate::runtime::scheduler::Scheduler;
use crate::task::header::Header;
use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::Location;

thread_local! {
    static HOME: Cell<Option<&'static Home>> = const { Cell::new(None) };
    /// What is left of the budget of the running slice, on a worker; beside `HOME`, for every operation that may wait looks at it. Off
    /// the workers nothing ends when it is used up.
    static BUDGET: Cell<u32> = const { Cell::new(u32::MAX) };
    /// Off the workers: the scheduler whose `block_on` this thread is in.
    static ENTERED: Cell<Option<&'static Scheduler>> = const { Cell::new(None) };
    /// Off the workers: how many guards forbid waiting, and where the latest was made.
    static FORBIDDEN: Cell<Forbidden> = const { Cell::new((0, None)) };
    /// The number of the latest guard in a task that was made on this thread, which guards do not leave.
    static GUARDS: Cell<u64> = const { Cell::new(0) };
}

/// The home that this thread drives now; the proof that its owner-only part may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurrentHome {
    home: &'static Home,
    not_send: PhantomData<*const ()>,
}

impl CurrentHome {
    /// # Safety
    /// The calling thread drives `home`.
    pub(crate) unsafe fn new(home: &'static Home) -> Self {
        Self { home, not_send: PhantomData }
    }

    #[inline]
    pub(crate) fn shared(self) -> &'static Home {
        self.home
    }

    #[inline]
    pub(crate) fn local(self) -> &'static Local {
        // SAFETY: `home-is-here`.
        unsafe { self.home.local() }
    }
}

#[inline]
fn get_home() -> Option<&'static Home> {
    HOME.get()
}

/// The home of the worker we are on.
#[inline]
pub(crate) fn home() -> Option<CurrentHome> {
    // SAFETY: `home-is-here`.
    get_home().map(|home| unsafe { CurrentHome::new(home) })
}

/// Makes `home` the current one, or none. Returns the one before.
#[inline(never)]
pub(crate) fn replace_home(home: Option<&'static Home>) -> Option<&'static Home> {
    let before = HOME.replace(home);
    // Each home's budget is its own: a task that drives a `LocalRuntime` goes on with what it had.
    // SAFETY: `home-is-here`, of the one before as of the one from now on.
    let saved = |home: &'static Home| unsafe { &home.local().saved_budget };
    let left = BUDGET.replace(home.map_or(u32::MAX, |home| saved(home).get()));
    if let Some(before) = before {
        saved(before).set(left);
    }
    before
}

/// The coroutine we are on, if any.
#[inline]
pub(crate) fn record() -> Option<(CurrentHome, &'static Record)> {
    let home = home()?;
    Some((home, home.shared().running()?))
}

/// The task we are in, if any. The reference must not be kept beyond the task's run.
pub(crate) fn with_task<R>(f: impl FnOnce(&Header) -> R) -> Option<R> {
    let (_, record) = record()?;
    record.task().map(f)
}

pub(crate) fn task_id() -> Option<u64> {
    with_task(|task| task.id)
}

#[inline]
fn get_entered() -> Option<&'static Scheduler> {
    ENTERED.get()
}

#[inline(never)]
fn replace_entered(scheduler: Option<&'static Scheduler>) -> Option<&'static Scheduler> {
    ENTERED.replace(scheduler)
}

/// See [`forbidden_by`].
pub(crate) type Forbidden = (usize, Option<&'static Location<'static>>);

/// Where waiting was forbidden.
pub(crate) fn forbidden() -> Option<&'static Location<'static>> {
    forbidden_by().1
}

/// How many guards forbid waiting, and where the latest was made.
#[inline(never)]
pub(crate) fn forbidden_by() -> Forbidden {
    FORBIDDEN.get()
}

#[inline(never)]
pub(crate) fn replace_forbidden(forbidden: Forbidden) -> Forbidden {
    FORBIDDEN.replace(forbidden)
}

/// A number for a guard that is bound to this thread.
#[inline(never)]
pub(crate) fn next_guard() -> u64 {
    let number = GUARDS.get() + 1;
    GUARDS.set(number);
    number
}

/// The scheduler that `go` and `spawn` mean here, if there is one without starting the global one.
pub(crate) fn scheduler() -> Option<&'static Scheduler> {
    match record() {
        Some((home, record)) => {
            let entered = record.task().and_then(|task| task.extras(|extras| extras.entered).flatten());
            Some(entered.unwrap_or_else(|| home.shared().scheduler()))
        }
        None => get_entered(),
    }
}

/// Makes `scheduler` the one that `go` and `spawn` mean: in this task, or on this thread off the workers. Until the guard is
/// dropped.
pub(crate) fn enter(scheduler: &'static Scheduler) -> Entered {
    Entered { before: replace_entered_here(Some(scheduler)) }
}

fn replace_entered_here(scheduler: Option<&'static Scheduler>) -> Option<&'static Scheduler> {
    match record() {
        Some((_, record)) => {
            let task = record.task()?;
            task.make_extras(|extras| std::mem::replace(&mut extras.entered, scheduler))
        }
        None => replace_entered(scheduler),
    }
}

/// See [`enter`].
#[derive(Debug)]
pub(crate) struct Entered {
    before: Option<&'static Scheduler>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        replace_entered_here(self.before);
    }
}

/// The reactor of the worker we are on; off the workers one of the entered or the global runtime's.
pub(crate) fn reactor() -> &'static Reactor {
    match home() {
        Some(home) => &home.shared().reactor,
        None => {
            let scheduler = get_entered().filter(|scheduler| !scheduler.is_local() && !scheduler.is_closed());
            &scheduler.unwrap_or_else(crate::runtime::global::scheduler).any_home().reactor
        }
    }
}

/// A reactor of the global runtime, which is never closed.
#[cold]
pub(crate) fn shared_reactor() -> &'static Reactor {
    &crate::runtime::global::scheduler().any_home().reactor
}

/// A slice begins.
#[inline]
pub(crate) fn renew_budget() {
    BUDGET.set(home::BUDGET);
}

/// Takes one from the budget of the running slice. True: it is used up; the operation wakes its own waker and returns
/// `Pending`, or yields. Off the workers there is no budget.
#[inline]
pub(crate) fn spend_budget() -> bool {
    take_from_budget() && is_spent()
}

/// True: there was nothing to take.
#[inline]
fn take_from_budget() -> bool {
    let left = BUDGET.get();
    BUDGET.set(left.wrapping_sub(1));
    left == 0
}

/// After there was nothing to take: it stays used up until the next slice.
#[cold]
#[inline(never)]
fn is_spent() -> bool {
    let on_worker = HOME.get().is_some();
    BUDGET.set(if on_worker { 0 } else { u32::MAX });
    on_worker
}
