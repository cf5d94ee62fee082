//! The portable poller: `polling` as it is, in oneshot mode, which every system has.
//!
//! A registration is silent until it is armed, reports once what it was armed for, and is silent again;
//! arming reports the present state, so no edge can be lost. `notify_after` has no descriptor of its own: the
//! delay shortens the waits instead.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use polling::Events;

use super::{Event, Interest, Key, Signals};
use crate::primitive::{Mutex, lock};
use crate::reactor::clock;

/// Events fetched by one wait. Guessed.
const BATCH: NonZeroUsize = NonZeroUsize::new(512).unwrap();

#[derive(Debug)]
pub(in crate::reactor) struct Poller {
    queue: polling::Poller,
    /// Held by the one who waits. `polling` lets only one thread wait at a time anyway.
    buffer: Mutex<Buffer>,
    /// When the next wait ends at the latest, by the last `notify_after`.
    notify_at: Mutex<Option<Instant>>,
}

struct Buffer(Events);

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} events)", self.0.capacity())
    }
}

impl Poller {
    /// Whether a registration reports each event once for all, and needs no arming.
    pub(in crate::reactor) const EDGE: bool = false;

    pub(in crate::reactor) fn new() -> io::Result<Poller> {
        Ok(Poller {
            queue: polling::Poller::new()?,
            buffer: Mutex::new(Buffer(Events::with_capacity(BATCH))),
            notify_at: Mutex::new(None),
        })
    }

    /// Registers `fd`, silent until it is armed.
    ///
    /// # Safety
    /// `fd` is open, and `delete` is called before it is closed.
    pub(in crate::reactor) unsafe fn add(&self, fd: RawFd, key: Key) -> io::Result<()> {
        // SAFETY: the caller's promise is the one that `polling` asks for.
        unsafe { self.queue.add(fd, polling::Event::none(key.bits())) }
    }

    /// Asks for the next event of the directions in `interest`.
    pub(in crate::reactor) fn arm(&self, fd: RawFd, key: Key, interest: Interest) -> io::Result<()> {
        // SAFETY: registrations end before their descriptors are closed (`delete-before-close`), so `fd` is
        // open.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        self.queue.modify(fd, polling::Event::new(key.bits(), interest.read, interest.write))
    }

    /// Forgets `fd`. An event fetched before may still be delivered; its key has expired by then.
    pub(in crate::reactor) fn delete(&self, fd: RawFd) {
        // SAFETY: as in `arm`.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        // The one error possible says that the entry is not there, which is what was asked for.
        let _ = self.queue.delete(fd);
    }

    /// Waits up to `timeout` (`None`: for ever) and hands each event to `deliver`; announces none. Returns
    /// early, with nothing, on a signal.
    pub(in crate::reactor) fn wait(
        &self,
        timeout: Option<Duration>,
        _announce: impl Fn(Key),
        mut deliver: impl FnMut(Event),
    ) -> io::Result<Signals> {
        // Somebody else waits: a rescuer has nothing to rescue here, and the owner meets only rescuers, who
        // are brief.
        let Ok(mut buffer) = self.buffer.try_lock() else {
            return Ok(Signals::default());
        };
        let events = &mut buffer.0;
        events.clear();
        match self.queue.wait(events, self.shorten(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => drop(result?),
        }
        for event in events.iter() {
            let key = Key::from_bits(event.key);
            deliver(Event { key, readable: event.readable, writable: event.writable, tail: true });
        }
        // `polling` does not tell whether its notifier ended the wait, so each wait may have consumed a
        // notification.
        Ok(Signals { notified: true, elapsed: self.take_elapsed() })
    }

    fn shorten(&self, timeout: Option<Duration>) -> Option<Duration> {
        let notify_at = *lock(&self.notify_at);
        let delay = notify_at.map(|at| at.saturating_duration_since(clock::now()));
        timeout.into_iter().chain(delay).min()
    }

    fn take_elapsed(&self) -> bool {
        lock(&self.notify_at).take_if(|at| *at <= clock::now()).is_some()
    }

    /// Makes the running or the next `wait` return.
    pub(in crate::reactor) fn notify(&self) {
        // The only failure is a full pipe, which is readable already.
        let _ = self.queue.notify();
    }

    /// The same after `delay`; replaces what an earlier call asked for.
    pub(in crate::reactor) fn notify_after(&self, delay: Duration) {
        *lock(&self.notify_at) = Some(clock::deadline_after(delay));
        // A running wait has not heard of it.
        self.notify();
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}
