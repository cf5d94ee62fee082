//! One descriptor as seen by those who wait for it.
//!
//! # Protocol
//! A direction is READY until an operation has proved otherwise. The parties, and what each does:
//!
//! - **Operation** (`poll_io`, `try_io`, ..): load the word (*seen*); if READY, run the system call; on
//!   WouldBlock, or a short transfer without TAIL, *clear*: a compare-and-swap of *seen* to the same without
//!   READY. No lock.
//! - **Wait** (`enrol`): clone the waker; lock the slot; register if no (fit) reactor watches; if READY,
//!   unlock and try again; else leave the waker and unlock.
//! - **Event** (`Slot::deliver`): lock; drop it if the generation is old; set READY, bump the tick, move all
//!   waiters of the direction out; unlock. They are woken by the poller's caller, and retry: none owns the
//!   event.
//! - **Close**: lock; set CLOSED, deregister, move all waiters out; unlock; wake them.
//!
//! **Event against clear.** Nothing is lost if each clear is disproved by any report since its load: the
//! report bumps the tick, the compare fails, READY stays. If the compare succeeds, no report came between the
//! load and the clear; the system call that met WouldBlock lies in between, so what arrives after it is a new
//! edge, not yet reported, and its report will set READY. (The `Acquire` load pairs with the `Release` in
//! `report`; the clear publishes nothing.)
//!
//! **Event against wait.** Both hold the lock. Either the event is first, and the waiter finds READY; or the
//! waiter is first, and the event finds its waker.
//!
//! **Register.** Adding to the poller reports the present state, so what arrived between the operation that
//! met WouldBlock and the registration is an event. The report waits for the lock until the waiter has left
//! its waker. The direction waited for stops being READY at registration; the other keeps trying first until
//! an operation disproves it.
//!
//! **Move.** A source whose reactor is closed, or is another thread's `LocalRuntime`'s, is deleted there and
//! added to the reactor of the one who waits. The generation changes: old events are dropped, the addition
//! reports the state anew, earlier waiters stay enrolled.
//!
//! **Short transfers.** In edge mode a short read means drained: more bytes are a new edge. Not so at the
//! end: FIN may have been reported together with the last bytes. RDHUP, HUP and ERR set TAIL, and urgent data
//! (at whose mark a read stops short) does too; under TAIL only WouldBlock clears. TAIL stays for as long as
//! the registration, as an owner and a rescuer may deliver in another order than they fetched. A short
//! transfer before the first report takes nothing away: that report is still to come. The rule holds for byte
//! streams: use `poll_io` for datagrams, terminals and sockets that pass descriptors, where a short read may
//! leave more.
//!
//! # Invariants
//! - `delete-before-close`: the `Source` is dropped before its descriptor is closed (the promise of
//!   [`Source::new`]); `drop` deregisters.
//! - `no-user-code-locked`: wakers are cloned before locking, and woken or dropped after unlocking.
//!
//! # Unsafe
//! Registering with the poller, which leans on `delete-before-close`.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::poller::Poller;
use super::readiness::Seen;
use super::slot::{self, Slot, Tenancy};
use super::waiters::Ticket;
use super::{Direction, Mode, Reactor};
use crate::primitive::lock;
use crate::runtime::current;

/// A descriptor and those who wait for it. Its shared part is a slot of about 100 bytes.
pub(crate) struct Source {
    slot: &'static Slot,
}

/// What came of an attempt to wait.
#[must_use]
enum Enrolled {
    /// The waker is left: an event will wake it.
    Waiting,
    /// The direction became ready meanwhile: try again.
    Ready,
}

impl Source {
    /// Makes a source of `fd`, which must be in non-blocking mode. No system call: it is registered at the
    /// first wait, with the reactor of the worker that waits.
    ///
    /// # Safety
    /// `fd` stays open until the `Source` is dropped: the owning struct declares the `Source` before the
    /// descriptor.
    pub(crate) unsafe fn new(fd: RawFd) -> Source {
        Source { slot: slot::take(fd) }
    }

    /// Runs `op` unless it is known not to get anywhere. On WouldBlock leaves the waker and returns
    /// `Pending`; all who wait for the direction are woken by its next event. The waker stays when the caller
    /// gives up waiting; [`ready`](Source::ready) takes its own back.
    pub(crate) fn poll_io<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(direction, cx, |seen| self.run(direction, seen, &mut op))
    }

    /// As [`poll_io`](Source::poll_io) for a read or write of `wanted` bytes of a stream: a short transfer
    /// means drained, too.
    pub(crate) fn poll_transfer(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        wanted: usize,
        mut op: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_with(direction, cx, |seen| self.run_transfer(direction, seen, wanted, &mut op))
    }

    /// As [`poll_io`](Source::poll_io) without a context: WouldBlock when not ready.
    pub(crate) fn try_io<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        let seen = self.worth_trying(direction)?;
        self.run(direction, seen, &mut op)
    }

    /// As [`poll_transfer`](Source::poll_transfer) without a context: WouldBlock when not ready.
    pub(crate) fn try_transfer(
        &self,
        direction: Direction,
        wanted: usize,
        mut op: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let seen = self.worth_trying(direction)?;
        self.run_transfer(direction, seen, wanted, &mut op)
    }

    /// Waits until an operation may get somewhere, without running one. An unregistered source counts as not
    /// ready, and is registered. A hint: only an operation that meets WouldBlock takes readiness back.
    pub(crate) fn poll_ready(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ready_as(direction, cx, None)
    }

    /// [`poll_ready`](Source::poll_ready) as a future, which takes its waker back when it is dropped.
    pub(crate) fn ready(&self, direction: Direction) -> Ready<'_> {
        Ready { source: self, direction, ticket: Ticket::NONE }
    }

    /// Ends all use: every present and later operation gets `ErrorKind::NotConnected`, waiters are woken.
    pub(crate) fn close(&self) {
        let mut wakes = VecDeque::new();
        {
            let mut tenancy = lock(self.slot.tenancy());
            self.slot.deregister(&mut tenancy);
            self.slot.readiness(Direction::Read).close();
            self.slot.readiness(Direction::Write).close();
            tenancy.drain_into(&mut wakes);
        }
        wakes.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.slot.readiness(Direction::Read).load().is_closed()
    }

    /// The descriptor, for diagnostics.
    pub(crate) fn fd(&self) -> RawFd {
        lock(self.slot.tenancy()).fd
    }

    fn poll_with<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut run: impl FnMut(Seen) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        if current::spend_budget() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            let seen = self.open(direction)?;
            if seen.is_ready() {
                match run(seen) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            }
            match self.enrol(direction, cx.waker(), None)? {
                Enrolled::Waiting => return Poll::Pending,
                Enrolled::Ready => {}
            }
        }
    }

    fn poll_ready_as(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        ticket: Option<&mut Ticket>,
    ) -> Poll<io::Result<()>> {
        if current::spend_budget() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let seen = self.open(direction)?;
        if seen.is_ready() && !seen.is_blind() {
            return Poll::Ready(Ok(()));
        }
        match self.enrol(direction, cx.waker(), ticket)? {
            Enrolled::Waiting => Poll::Pending,
            Enrolled::Ready => Poll::Ready(Ok(())),
        }
    }

    /// The readiness, or the error of a closed source.
    fn open(&self, direction: Direction) -> io::Result<Seen> {
        let seen = self.slot.readiness(direction).load();
        if seen.is_closed() { Err(closed()) } else { Ok(seen) }
    }

    /// The readiness, or WouldBlock if a reactor that is being polled says not ready. The word may be old if
    /// the reactor is closed, or driven by another thread when it pleases, or reports only what it is armed
    /// for.
    fn worth_trying(&self, direction: Direction) -> io::Result<Seen> {
        let seen = self.open(direction)?;
        if seen.is_ready() || !Poller::EDGE || !is_watched(&lock(self.slot.tenancy()), current::reactor()) {
            return Ok(seen);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn run<R>(
        &self,
        direction: Direction,
        seen: Seen,
        op: &mut impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            match op() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.slot.readiness(direction).clear(seen);
                    return Err(error);
                }
                result => return result,
            }
        }
    }

    fn run_transfer(
        &self,
        direction: Direction,
        seen: Seen,
        wanted: usize,
        op: &mut impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let transferred = self.run(direction, seen, op)?;
        // Zero bytes are the end of the stream (or were asked for), not a drained descriptor.
        if 0 < transferred && transferred < wanted {
            self.slot.readiness(direction).clear_after_short_transfer(seen);
        }
        Ok(transferred)
    }

    /// Leaves `waker` for the next event of `direction`, unless there has been one.
    fn enrol(
        &self,
        direction: Direction,
        waker: &Waker,
        ticket: Option<&mut Ticket>,
    ) -> io::Result<Enrolled> {
        let mut waker = Some(waker.clone());
        let enrolled = self.enrol_locked(direction, &mut waker, ticket, current::reactor());
        if enrolled.is_err() {
            // The registration that others wait through may be gone, too: let them meet the error themselves.
            self.wake_all();
        }
        enrolled
    }

    /// The part of `enrol` under the lock. Leaves in `waker` what is to be dropped after it.
    fn enrol_locked(
        &self,
        direction: Direction,
        waker: &mut Option<Waker>,
        ticket: Option<&mut Ticket>,
        reactor: &'static Reactor,
    ) -> io::Result<Enrolled> {
        let mut tenancy = lock(self.slot.tenancy());
        self.open(direction)?;
        if !is_watched(&tenancy, reactor) {
            self.register(&mut tenancy, direction, reactor)?;
        }
        if self.open(direction)?.is_ready() {
            return Ok(Enrolled::Ready);
        }
        let ticket = ticket.map_or(Ticket::NONE, |ticket| {
            if *ticket == Ticket::NONE {
                *ticket = tenancy.new_ticket();
            }
            *ticket
        });
        if let Some(new) = waker.take() {
            *waker = tenancy.waiters(direction).enrol(ticket, new);
        }
        self.arm(&tenancy).map(|()| Enrolled::Waiting)
    }

    /// Registers with `reactor` on behalf of one who waits for `direction`; moves here what is registered
    /// elsewhere.
    fn register(
        &self,
        tenancy: &mut Tenancy,
        direction: Direction,
        reactor: &'static Reactor,
    ) -> io::Result<()> {
        self.slot.deregister(tenancy);
        // SAFETY: the descriptor is open as long as this source is there (the promise of `new`), and
        // `deregister` precedes that.
        unsafe { reactor.poller().add(tenancy.fd, self.slot.key(tenancy)) }.map_err(explain)?;
        tenancy.home = Some(reactor);
        self.slot.readiness(direction).watch(false);
        self.slot.readiness(direction.other()).watch(true);
        Ok(())
    }

    fn arm(&self, tenancy: &Tenancy) -> io::Result<()> {
        match tenancy.home {
            Some(home) if !Poller::EDGE => {
                home.poller().arm(tenancy.fd, self.slot.key(tenancy), tenancy.interest())
            }
            _ => Ok(()),
        }
    }

    /// Registers with a reactor of the test's own, which the test polls.
    #[cfg(test)]
    pub(super) fn register_with(&self, direction: Direction, reactor: &'static Reactor) -> io::Result<()> {
        self.register(&mut lock(self.slot.tenancy()), direction, reactor)
    }

    #[cfg(test)]
    pub(super) fn slot(&self) -> &'static Slot {
        self.slot
    }

    fn wake_all(&self) {
        let mut wakes = VecDeque::new();
        lock(self.slot.tenancy()).drain_into(&mut wakes);
        wakes.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // The wakers left are dropped here, after unlocking; whoever left them has given up waiting.
        drop(slot::vacate(self.slot));
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words =
            [Direction::Read, Direction::Write].map(|direction| self.slot.readiness(direction).load());
        f.debug_struct("Source").field("read", &words[0]).field("write", &words[1]).finish()
    }
}

/// Whether a reactor watches that one who waits on `reactor` can rely on: not one that is closed, or driven
/// by another thread when it pleases.
fn is_watched(tenancy: &Tenancy, reactor: &'static Reactor) -> bool {
    tenancy.home.is_some_and(|home| std::ptr::eq(home, reactor) || home.mode() == Mode::Shared)
}

#[cold]
fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "closed")
}

#[cold]
fn explain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EPERM) => io::Error::new(
            io::ErrorKind::Unsupported,
            "a regular file or directory is always ready and cannot be waited for: use `blocking`",
        ),
        Some(libc::ENOSPC) => io::Error::new(
            io::ErrorKind::QuotaExceeded,
            "too many descriptors are waited for: raise /proc/sys/fs/epoll/max_user_watches",
        ),
        _ => error,
    }
}

/// Future of [`Source::ready`]. Cancel safety: nothing happened.
#[must_use = "futures do nothing unless they are polled"]
pub(crate) struct Ready<'a> {
    source: &'a Source,
    direction: Direction,
    /// NONE until the waker is left for the first time.
    ticket: Ticket,
}

impl Future for Ready<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Ready { source, direction, ticket } = &mut *self;
        source.poll_ready_as(*direction, cx, Some(ticket))
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if self.ticket != Ticket::NONE {
            // Bound to a name: the waker is dropped after unlocking.
            let _left = lock(self.source.slot.tenancy()).waiters(self.direction).leave(self.ticket);
        }
    }
}

impl fmt::Debug for Ready<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("source", self.source).field("direction", &self.direction).finish()
    }
}
