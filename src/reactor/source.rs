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
//! reports the state anew, earlier waiters stay enrolled. Where others are enrolled it moves to a worker's reactor even for one who
//! waits in a `LocalRuntime`: those others could not rely on that.
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
use crate::primitive::{lock, wake_all};
use crate::runtime::current;

/// A descriptor and those who wait for it. Its shared part is a slot of 128 bytes.
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
    #[inline]
    pub(crate) fn poll_io<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(direction, cx, None, |seen| self.run(direction, seen, &mut op))
    }

    /// As [`poll_io`](Source::poll_io) for a read or write of `wanted` bytes of a stream: a short transfer
    /// means drained, too.
    #[inline]
    pub(crate) fn poll_transfer(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        wanted: usize,
        mut op: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_with(direction, cx, None, |seen| self.run_transfer(direction, seen, wanted, &mut op))
    }

    /// As [`poll_io`](Source::poll_io) without a context: WouldBlock when not ready.
    #[inline]
    pub(crate) fn try_io<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        let seen = self.worth_trying(direction)?;
        self.run(direction, seen, &mut op)
    }

    /// As [`poll_transfer`](Source::poll_transfer) without a context: WouldBlock when not ready.
    #[inline]
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
            self.slot.readiness().close();
            self.slot.drain_all_into(&mut tenancy, &mut wakes);
        }
        wake_all(wakes);
    }

    /// Whether a reactor has yet to report `direction`: what an operation would meet is known, and the next readiness is an
    /// event's. Never so where readiness is reported only when it is asked for.
    #[inline]
    pub(crate) fn is_drained(&self, direction: Direction) -> bool {
        Poller::EDGE && !self.slot.readiness().load(direction).is_ready()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.slot.readiness().load(Direction::Read).is_closed()
    }

    /// The descriptor, for diagnostics.
    pub(crate) fn fd(&self) -> RawFd {
        lock(self.slot.tenancy()).fd
    }

    #[inline]
    fn poll_with<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut ticket: Option<&mut Ticket>,
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
            match self.enrol(direction, cx.waker(), ticket.as_deref_mut())? {
                Enrolled::Waiting => return Poll::Pending,
                Enrolled::Ready => {}
            }
        }
    }

    #[inline]
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
        let seen = self.slot.readiness().load(direction);
        if seen.is_ready() && !seen.is_blind() && !seen.is_closed() {
            return Poll::Ready(Ok(()));
        }
        match self.enrol(direction, cx.waker(), ticket) {
            Ok(Enrolled::Waiting) => Poll::Pending,
            Ok(Enrolled::Ready) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// The readiness, or the error of a closed source.
    #[inline]
    fn open(&self, direction: Direction) -> io::Result<Seen> {
        let seen = self.slot.readiness().load(direction);
        if seen.is_closed() { Err(closed()) } else { Ok(seen) }
    }

    /// The readiness, or WouldBlock if a reactor that is being polled says not ready. The word may be old if
    /// the reactor is closed, or driven by another thread when it pleases, or reports only what it is armed
    /// for.
    #[inline]
    fn worth_trying(&self, direction: Direction) -> io::Result<Seen> {
        let seen = self.open(direction)?;
        if seen.is_ready() { Ok(seen) } else { self.worth_trying_all_the_same(seen) }
    }

    fn worth_trying_all_the_same(&self, seen: Seen) -> io::Result<Seen> {
        if !Poller::EDGE || !is_watched(&lock(self.slot.tenancy()), current::reactor()) {
            return Ok(seen);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[inline]
    fn run<R>(
        &self,
        direction: Direction,
        seen: Seen,
        op: &mut impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            match op() {
                Ok(done) => return Ok(done),
                Err(error) => self.failed(direction, seen, error)?,
            }
        }
    }

    /// What an error of an operation means: to try again, or its end.
    #[inline(never)]
    fn failed(&self, direction: Direction, seen: Seen, error: io::Error) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::Interrupted => return Ok(()),
            io::ErrorKind::WouldBlock => self.slot.readiness().clear(direction, seen),
            _ => {}
        }
        Err(error)
    }

    #[inline]
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
            self.slot.readiness().clear_after_short_transfer(direction, seen);
        }
        Ok(transferred)
    }

    /// Leaves `waker` for the next event of `direction`, unless there has been one.
    #[inline(never)]
    fn enrol(
        &self,
        direction: Direction,
        waker: &Waker,
        ticket: Option<&mut Ticket>,
    ) -> io::Result<Enrolled> {
        let mut reactor = current::reactor();
        let waker = waker.clone();
        let mut tenancy = lock(self.slot.tenancy());
        if is_out_of_place(&mut tenancy, reactor) {
            // Asked for without the lock, as it may start the global runtime.
            drop(tenancy);
            reactor = current::shared_reactor();
            tenancy = lock(self.slot.tenancy());
        }
        let ready = if is_watched(&tenancy, reactor) {
            self.open(direction).map(Seen::is_ready)
        } else {
            self.register(&mut tenancy, direction, reactor)
        };
        let enrolled = match ready {
            Ok(false) => {
                let unneeded = self.slot.enrol(&mut tenancy, direction, ticket, waker);
                let armed = self.arm(&mut tenancy);
                drop(tenancy);
                drop(unneeded);
                armed.map(|()| Enrolled::Waiting)
            }
            ready => {
                drop(tenancy);
                drop(waker);
                ready.map(|_| Enrolled::Ready)
            }
        };
        if enrolled.is_err() {
            // The registration that others wait through may be gone, too: let them meet the error themselves.
            self.wake_all();
        }
        enrolled
    }

    /// Registers with `reactor` on behalf of one who waits for `direction`; moves here what is registered
    /// elsewhere. Returns whether the direction is ready.
    #[inline(never)]
    fn register(
        &self,
        tenancy: &mut Tenancy,
        direction: Direction,
        reactor: &'static Reactor,
    ) -> io::Result<bool> {
        self.open(direction)?;
        self.slot.deregister(tenancy);
        // SAFETY: the descriptor is open as long as this source is there (the promise of `new`), and
        // `deregister` precedes that.
        unsafe { reactor.poller().add(tenancy.fd, tenancy.key()) }.map_err(explain)?;
        tenancy.home = Some(reactor);
        self.slot.readiness().watch(direction);
        self.open(direction).map(Seen::is_ready)
    }

    fn arm(&self, tenancy: &mut Tenancy) -> io::Result<()> {
        match tenancy.home {
            Some(home) if !Poller::EDGE => home.poller().arm(tenancy.fd, tenancy.key(), tenancy.interest()),
            _ => Ok(()),
        }
    }

    /// Registers with a reactor of the test's own, which the test polls.
    #[cfg(test)]
    pub(super) fn register_with(&self, direction: Direction, reactor: &'static Reactor) -> io::Result<()> {
        self.register(&mut lock(self.slot.tenancy()), direction, reactor).map(drop)
    }

    #[cfg(test)]
    pub(super) fn slot(&self) -> &'static Slot {
        self.slot
    }

    fn wake_all(&self) {
        let mut wakes = VecDeque::new();
        self.slot.drain_all_into(&mut lock(self.slot.tenancy()), &mut wakes);
        wake_all(wakes);
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
            [Direction::Read, Direction::Write].map(|direction| self.slot.readiness().load(direction));
        f.debug_struct("Source").field("read", &words[0]).field("write", &words[1]).finish()
    }
}

/// Whether a reactor watches that one who waits on `reactor` can rely on: not one that is closed, or driven
/// by another thread when it pleases.
fn is_watched(tenancy: &Tenancy, reactor: &'static Reactor) -> bool {
    tenancy.home.is_some_and(|home| match home.mode() {
        Mode::Shared => true,
        Mode::Local => std::ptr::eq(home, reactor),
        Mode::Closed => false,
    })
}

/// Whether `reactor` is not one to wait with: it was closed since it was asked for (`close` has been here already, or will
/// take the lock that is held), or others wait here and it is a `LocalRuntime`'s, which may never be driven again: they would
/// wait with it.
fn is_out_of_place(tenancy: &mut Tenancy, reactor: &'static Reactor) -> bool {
    match reactor.mode() {
        Mode::Shared => false,
        Mode::Local => {
            let others = tenancy.interest();
            (others.read || others.write) && !is_watched(tenancy, reactor)
        }
        Mode::Closed => true,
    }
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
        Some(libc::EEXIST) => io::Error::new(
            io::ErrorKind::AlreadyExists,
            "another source waits for this very descriptor: share one `Io` by reference, or duplicate the descriptor",
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

impl Ready<'_> {
    /// As [`Source::poll_io`]; the waker is taken back when this is dropped.
    #[inline]
    pub(crate) fn poll_io<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let Ready { source, direction, ticket } = self;
        source.poll_with(*direction, cx, Some(ticket), |seen| source.run(*direction, seen, &mut op))
    }
}

impl Future for Ready<'_> {
    type Output = io::Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Ready { source, direction, ticket } = &mut *self;
        source.poll_ready_as(*direction, cx, Some(ticket))
    }
}

impl Drop for Ready<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.ticket != Ticket::NONE {
            // Bound to a name: the waker is dropped after unlocking.
            let _left = self.source.slot.leave(self.direction, self.ticket);
        }
    }
}

impl fmt::Debug for Ready<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("source", self.source).field("direction", &self.direction).finish()
    }
}
