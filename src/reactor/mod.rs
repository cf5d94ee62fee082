//! The reactor: the poller, the sources registered with it, and the timers of one worker.
//!
//! The only part of the crate that knows `polling`. A worker owns one reactor and sleeps in it; any other
//! thread may look in with a zero timeout when the owner is held up (a *rescuer*).
//!
//! # Picture
//! ```text
//! owner ── poll ──┬─ Poller::wait ── events ──► Slot::deliver ─┐
//! rescuer ────────┘                                            ├─► wakes: the caller's queue, one by one
//!                   Wheel::expire ── timers that are due ──────┘
//! any thread ── Source (slot.rs, source.rs), TimerEntry (timer.rs), notify
//! ```
//!
//! # Invariants
//! - `no-user-code`: `poll` and `close` only move wakers to the caller's queue; nothing is woken, cloned or
//!   dropped under a lock.
//! - `lives-for-ever`: a reactor is a `&'static`, pooled and reused, so sources and timers may name it at any
//!   time.
//! - `owner-sleeps`: only the owner polls with a timeout other than zero, on one thread at a time.
//!
//! # Protocol: notifying
//! `notify` leaves a notice, then writes to the poller's notifier. A rescuer may fetch that event in the owner's stead:
//! `notice.rs` sees to it that the owner's sleep ends all the same.
//!
//! An owner that only ever polls with zero (a nested `LocalRuntime`, which waits for [`AsFd`] elsewhere) is
//! never asleep to the others; the write makes the descriptor readable all the same.
//!
//! # Protocol: the earliest timer
//! Before it sleeps, the owner reads the wheel's next tick and notes it in `sleeping_until`, under the lock
//! of the wheel; when it wakes it sets that to zero, under the lock. One who arms a timer compares under the
//! same lock: earlier than `sleeping_until` means notify, after unlocking. So either the owner saw the timer
//! or its sleep is cut short; an awake owner is never notified. (A plain field, not an atomic: both sides
//! need the lock anyway.)

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::primitive::atomic::{AtomicU8, Ordering};
use crate::primitive::{Mutex, lock};

mod chunks;
pub(crate) mod clock;
mod notice;
mod poller;
mod readiness;
mod slot;
mod source;
mod timer;
mod waiters;
mod wheel;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

#[cfg(all(test, loom))]
#[path = "tests/loom_reactor.rs"]
mod loom_reactor;

pub(crate) use source::{Ready, Source};
pub(crate) use timer::TimerEntry;

use notice::Notice;
use poller::{Key, Poller, Signals};
use wheel::{LAST_TICK, Standing, TICK_SHIFT, TimerKey, Wheel};

/// Which way bytes go. A listener's connections are read, a pending connect is a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// Who may rely on a reactor being polled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Mode {
    /// A worker's: polled whatever happens.
    Shared,
    /// A `LocalRuntime`'s: polled only while its thread drives it. Others move their sources and timers away.
    Local,
    /// Nobody's: everybody moves away.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Reactor {
    poller: Poller,
    timers: Mutex<Timers>,
    /// Tick zero.
    start: Instant,
    mode: AtomicU8,
    notice: Notice,
}

#[derive(Debug)]
struct Timers {
    wheel: Wheel,
    /// The tick of the timer that the sleeping owner will wake for; zero while it is awake.
    sleeping_until: u64,
}

impl Reactor {
    /// A reactor in `Mode::Shared`.
    ///
    /// # Errors
    /// The system's, when it is out of descriptors (five are needed).
    pub(crate) fn new() -> io::Result<Reactor> {
        Ok(Reactor {
            poller: Poller::new()?,
            timers: Mutex::new(Timers { wheel: Wheel::new(), sleeping_until: 0 }),
            start: clock::now(),
            mode: AtomicU8::new(Mode::Shared as u8),
            notice: Notice::new(),
        })
    }

    /// Waits for events up to `timeout` (`None`: for ever), the next timer or a notification, whichever is
    /// first, and appends the wakers to call to `wakes`. May return early with nothing. Calls no user code.
    ///
    /// Any thread may call it with a zero timeout; only the owner with another.
    pub(crate) fn poll(&self, timeout: Option<Duration>, wakes: &mut VecDeque<Waker>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) { self.look_in(wakes) } else { self.sleep(timeout, wakes) }
    }

    /// Makes the running or the next `poll` of the owner return at once. Any thread; one system call.
    pub(crate) fn notify(&self) {
        self.notice.post();
        self.poller.notify();
    }

    /// The same after `delay`; a later call replaces an earlier one.
    pub(crate) fn notify_after(&self, delay: Duration) {
        self.poller.notify_after(delay);
    }

    /// Whether a `poll` would find something, timers excepted. Any thread; one system call.
    pub(crate) fn has_events(&self) -> bool {
        let mut queue =
            libc::pollfd { fd: self.poller.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live entry, of a descriptor that is open for as long as `self` is.
        unsafe { libc::poll(&raw mut queue, 1, 0) > 0 }
    }

    /// No timer fires before this moment, and the reactor wants to be polled then. `None`: there are no
    /// timers.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let tick = lock(&self.timers).wheel.next_tick()?;
        Some(self.start + Duration::from_nanos(tick << TICK_SHIFT))
    }

    pub(crate) fn mode(&self) -> Mode {
        // Pairs with `set_mode`. Those who must not miss a closing look under a lock that `close` takes
        // afterwards.
        match self.mode.load(Ordering::Acquire) {
            mode if mode == Mode::Shared as u8 => Mode::Shared,
            mode if mode == Mode::Local as u8 => Mode::Local,
            _ => Mode::Closed,
        }
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        // Pairs with `mode`.
        self.mode.store(mode as u8, Ordering::Release);
    }

    /// Sets `Mode::Closed` and moves every waiter's and every timer's waker to `wakes`, so that they register
    /// elsewhere. One who is just enrolling either finds the mode, or is found here: both happen under the
    /// slot's lock.
    pub(crate) fn close(&self, wakes: &mut VecDeque<Waker>) {
        self.set_mode(Mode::Closed);
        slot::all().for_each(|slot| slot.evict(self, wakes));
        lock(&self.timers).wheel.evict(wakes);
    }

    fn poller(&self) -> &Poller {
        &self.poller
    }

    /// A poll that does not wait: the owner's between two tasks, or a rescuer's.
    fn look_in(&self, wakes: &mut VecDeque<Waker>) -> io::Result<()> {
        let signals = self.wait(Some(Duration::ZERO), wakes)?;
        if signals.elapsed {
            self.notify();
        } else if signals.notified && self.notice.was_fetched() {
            // The owner's event was fetched under its nose.
            self.poller.notify();
        }
        self.fire_timers(&mut lock(&self.timers), wakes);
        Ok(())
    }

    /// The owner's poll.
    fn sleep(&self, timeout: Option<Duration>, wakes: &mut VecDeque<Waker>) -> io::Result<()> {
        let timeout =
            if self.notice.begin_sleep() { self.until_next_timer(timeout) } else { Some(Duration::ZERO) };
        let result = self.wait(timeout, wakes);
        self.notice.end_sleep();
        let mut timers = lock(&self.timers);
        timers.sleeping_until = 0;
        self.fire_timers(&mut timers, wakes);
        result.map(drop)
    }

    fn wait(&self, timeout: Option<Duration>, wakes: &mut VecDeque<Waker>) -> io::Result<Signals> {
        let announce = |key: Key| {
            if let Some(slot) = slot::get(key.index()) {
                slot.prefetch();
            }
        };
        self.poller.wait(timeout, announce, |event| {
            if let Some(slot) = slot::get(event.key.index()) {
                slot.deliver(event, wakes);
            }
        })
    }

    /// The shorter of `timeout` and the time to the next timer, which is noted for those who arm timers
    /// meanwhile.
    fn until_next_timer(&self, timeout: Option<Duration>) -> Option<Duration> {
        let mut timers = lock(&self.timers);
        let Some(tick) = timers.wheel.next_tick() else {
            timers.sleeping_until = u64::MAX;
            return timeout;
        };
        timers.sleeping_until = tick;
        let elapsed = clock::now().saturating_duration_since(self.start);
        let left = Duration::from_nanos(tick << TICK_SHIFT).saturating_sub(elapsed);
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }

    fn fire_timers(&self, timers: &mut Timers, wakes: &mut VecDeque<Waker>) {
        if !timers.wheel.is_idle() {
            timers.wheel.expire(self.tick_before(clock::now()), wakes);
        }
    }

    /// The last tick that is not after `moment`.
    fn tick_before(&self, moment: Instant) -> u64 {
        let nanos = moment.saturating_duration_since(self.start).as_nanos();
        u64::try_from(nanos >> TICK_SHIFT).unwrap_or(LAST_TICK)
    }

    /// The first tick that is not before `moment`.
    fn tick_after(&self, moment: Instant) -> u64 {
        let nanos = moment.saturating_duration_since(self.start).as_nanos();
        u64::try_from(nanos.div_ceil(1 << TICK_SHIFT)).unwrap_or(LAST_TICK)
    }

    /// Gives the waker back if the reactor is closed: `close` has set that before it took the lock to evict.
    fn arm_timer(&self, deadline: Instant, waker: Waker) -> Result<TimerKey, Waker> {
        let tick = self.tick_after(deadline);
        let (key, earlier) = {
            let mut timers = lock(&self.timers);
            if self.mode() == Mode::Closed {
                return Err(waker);
            }
            let key = timers.wheel.insert(tick, waker);
            let earlier = tick < timers.sleeping_until;
            if earlier {
                timers.sleeping_until = tick;
            }
            (key, earlier)
        };
        if earlier {
            self.notify();
        }
        Ok(key)
    }

    fn timer_standing(&self, key: TimerKey, waker: &Waker) -> Option<Standing> {
        lock(&self.timers).wheel.standing(key, Some(waker))
    }

    fn set_timer_waker(&self, key: TimerKey, waker: Waker) {
        // Bound to a name: the waker is dropped after unlocking.
        let _displaced = lock(&self.timers).wheel.set_waker(key, waker);
    }

    fn cancel_timer(&self, key: TimerKey) {
        // Bound to a name: the waker is dropped after unlocking.
        let _cancelled = lock(&self.timers).wheel.cancel(key);
    }
}

/// The poller's descriptor: readable when a poll would find something, timers excepted.
impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
