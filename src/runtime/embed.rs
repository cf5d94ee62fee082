//! Driving a `LocalRuntime` from somebody else's loop: a turn at a time, with a descriptor and a deadline in between.
//!
//! # Protocol
//! ```text
//! the loop                                    a waker on another thread
//! 1. turn until it returns false              1. push to the inbox
//! 2. wait for the descriptor, at most until   2. fence; if the sleep is announced: take the announcement,
//!    the deadline                                write to the notifier (the descriptor is readable)
//! ```
//! A runtime that nobody drives is *announced as asleep*, from its making on and from the end of each drive to the beginning of
//! the next ([`Driving`]): whatever is pushed before the announcement is found by the look that follows it, whatever is pushed
//! after it makes the descriptor readable. It is the idle protocol of a worker (`idle.md`) with the loop in the poller's place.
//!
//! # Frames that borrow
//! A task of a `LocalExecutor` may borrow from the caller of a turn, who may go on, or leak everything, as soon as the turn
//! returns. Such a task may be left between two polls, but not *in* one: a frame that is suspended in a wait may have lent what it
//! borrows to another thread, on the strength of not returning before that thread is done. So a turn does not end while such a
//! frame is there; it drives on, and when nothing is left to run it waits.

use crate::reactor::TimerEntry;
use crate::runtime::LocalRuntime;
use crate::runtime::current;
use crate::runtime::home::Home;
use crate::runtime::local::Driving;
use crate::runtime::scheduler::Scheduler;
use crate::runtime::worker::Base;
use crate::task::header::Kind;
use crate::task::{self, Cancellable, JoinHandle};
use std::fmt;
use std::future::Future;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Picks of one turn. Guessed: each runs between one and 61 tasks, so a turn of short tasks stays under a millisecond.
const TURN: u32 = 64;

/// For loops that are not ours.
impl LocalRuntime {
    /// Takes in what has happened and runs what is ready, a bounded share of it; never waits. True: there is more, call it again
    /// soon. False: wait until the [descriptor](Self::as_fd) is readable or the [deadline](Self::next_deadline) has passed, then
    /// call it again.
    ///
    /// This is how the runtime lives inside another loop (a window system's, an audio engine's, another runtime's): coroutines,
    /// futures, timers and sockets of this runtime go on between two turns of that loop, on its thread. Its tasks may wait as
    /// everywhere; a turn does not.
    ///
    /// Inside one of its own tasks, and while [`block_on`](Self::block_on) drives the runtime on another coroutine of this
    /// thread, it does nothing.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::LocalRuntime;
    /// use std::os::fd::AsRawFd;
    /// use std::time::{Duration, Instant};
    ///
    /// let runtime = LocalRuntime::new()?;
    /// let task = runtime.go(|| {
    ///     aqueduct::time::sleep(Duration::from_millis(5));
    ///     "rested"
    /// });
    /// loop {
    ///     while runtime.turn() {}
    ///     if task.is_finished() {
    ///         break;
    ///     }
    ///     // Any loop will do that can wait for a descriptor, here poll(2).
    ///     let mut entry = libc::pollfd { fd: runtime.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    ///     let timeout = runtime.next_deadline().map_or(-1, |deadline| {
    ///         deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000) as i32
    ///     });
    ///     unsafe { libc::poll(&mut entry, 1, timeout) };
    /// }
    /// assert_eq!(task.join().unwrap(), "rested");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn turn(&self) -> bool {
        if self.driven.get() {
            return false;
        }
        let _driving = Driving::begin(self);
        let base = self.base();
        base.receive();
        // A worker's look around asks the poller only now and then; here the loop has waited for it.
        base.poll(Some(Duration::ZERO));
        let _ = (0..TURN).all(|_| base.step());
        base.has_work()
    }

    /// When [`turn`](Self::turn) wants to be called though the descriptor is not readable: at the next timer, and at once if
    /// something is ready. `None`: only the descriptor tells.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.base().has_work() {
            return Some(crate::reactor::clock::now());
        }
        self.home().reactor.next_deadline()
    }

    /// Whether all its tasks have ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scheduler.live() == 0
    }
}

/// The poller's descriptor: readable while a [`turn`](LocalRuntime::turn) would find something, timers excepted. For waiting
/// only (`poll`, `epoll`, `kqueue`): what can be read from it is the runtime's own.
impl AsFd for LocalRuntime {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.home().reactor.as_fd()
    }
}

/// As `AsFd`.
impl AsRawFd for LocalRuntime {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// What `LocalExecutor` builds on.
impl LocalRuntime {
    /// Whether the calling code is a task of this runtime.
    pub(crate) fn is_current(&self) -> bool {
        current::home().is_some_and(|home| ptr::eq(home.shared(), self.home()))
    }

    /// Whether somebody drives: the caller is inside, or beside it on another coroutine.
    pub(crate) fn is_driven(&self) -> bool {
        self.driven.get()
    }

    /// Has `waker` called when whoever drives leaves.
    pub(crate) fn follow_driver(&self, waker: &Waker) {
        let waker = waker.clone();
        let mut followers = self.followers.borrow_mut();
        if !followers.iter().any(|present| present.will_wake(&waker)) {
            followers.push(waker);
        }
    }

    /// Spawns a task that borrows.
    ///
    /// # Safety
    /// The task has ended, by [`end_borrowers`](Self::end_borrowers) if by nothing else, before what it borrows goes; or this
    /// runtime is never driven again after that.
    pub(crate) unsafe fn spawn_borrowing<F: Future>(
        &self,
        future: F,
        site: &'static Location<'static>,
    ) -> JoinHandle<F::Output> {
        let traits = self.scheduler.traits(Kind::Future, site);
        // SAFETY: pinned to our home, which only this thread drives (`!Send`); the caller answers for the rest.
        unsafe { Scheduler::spawn(traits, future) }
    }

    /// A turn with one more task, `main`, which is asked to end when nothing is left to run, or the turn's share is used up: what
    /// it waits for, synchronously or not, the others can bring about. Returns after it has ended and no frame that borrows is
    /// suspended.
    ///
    /// # Panics
    /// As `main` does. Unwinds when the caller is cancelled inside `main`.
    pub(crate) fn turn_with(
        &self,
        main: impl Future<Output = ()>,
        ask_to_end: impl FnOnce(),
        site: &'static Location<'static>,
    ) {
        let caller = Cancellable::here();
        let driving = Driving::begin(self);
        let base = self.base();
        // SAFETY: pinned to our home; `stay` does not end, or unwind, before the task has.
        let mut handle = unsafe { self.spawn_borrowing(main, site) };
        base.look_around();
        let mut share = TURN;
        while share > 0 && !handle.is_finished() && base.step() {
            share -= 1;
        }
        if !handle.is_finished() {
            ask_to_end();
        }
        self.stay(base, &driving, || !handle.is_finished(), || caller.pass_on(&handle));
        drop(driving);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(result) = Pin::new(&mut handle).poll(&mut cx) else {
            unreachable!("it has finished")
        };
        task::finish_run(result, caller);
    }

    /// Runs one task or woken coroutine once, if one is ready, and returns when no frame that borrows is suspended.
    pub(crate) fn turn_once(&self) -> bool {
        let driving = Driving::begin(self);
        let base = self.base();
        base.look_around();
        let ran = base.step_once();
        self.stay(base, &driving, || false, || ());
        ran
    }

    /// Cancels all tasks and drives them until none is left that borrows.
    pub(crate) fn end_borrowers(&self) {
        self.scheduler.begin_shutdown();
        let driving = Driving::begin(self);
        let base = self.base();
        self.stay(base, &driving, || base.here.local().borrowers.tasks() > 0, || ());
    }

    /// Drives on, and waits when there is nothing to run, while `until` says so or a frame that borrows is suspended.
    fn stay(&self, base: Base, driving: &Driving<'_>, so_long_as: impl Fn() -> bool, mut look: impl FnMut()) {
        let nested = driving.nested;
        while base.here.local().borrowers.frames() > 0 || so_long_as() {
            if base.step() {
                self.give_outer_a_turn(driving, &mut look);
                continue;
            }
            if nested {
                self.wait_nested(base, driving, &mut look);
            } else {
                super::sleep::sleep(base);
            }
        }
    }

    /// For the tasks' own accounts, which any of them may reach on this thread.
    pub(crate) fn home_of_borrowers(&self) -> &'static Home {
        self.home()
    }
}

/// What one who waits for a runtime that he drives now and then waits for, on the reactor of the place where he is.
#[derive(Default)]
pub(crate) struct Outlook {
    timer: Option<TimerEntry>,
}

impl Outlook {
    /// `Ready`: another turn would find something.
    pub(crate) fn poll(&mut self, runtime: &LocalRuntime, cx: &mut Context<'_>) -> Poll<()> {
        match runtime.next_deadline() {
            None => self.timer = None,
            Some(deadline) => {
                if self.timer.as_ref().is_none_or(|timer| timer.deadline() != deadline) {
                    self.timer = Some(TimerEntry::new(deadline));
                }
                if self.timer.as_mut().is_some_and(|timer| timer.poll_expired(cx).is_ready()) {
                    return Poll::Ready(());
                }
            }
        }
        runtime.poll_readable(cx)
    }
}

impl fmt::Debug for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlook").finish_non_exhaustive()
    }
}
