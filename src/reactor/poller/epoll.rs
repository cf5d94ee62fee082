//! The Linux poller: a `polling::Poller` that is waited on, and told about ends of streams, through its
//! descriptor.
//!
//! `polling` creates the queue, adds what notifies, and deletes. Three things we do on its descriptor ourselves:
//!
//! - **Waiting** is one `epoll_pwait2` with a nanosecond timeout; `Poller::wait` makes five system calls.
//!   Kernels before 5.11 (ENOSYS) and filters that do not know the call (EPERM) are met once, and from then
//!   on `epoll_wait` is used, its milliseconds rounded up.
//! - **Adding**, with RDHUP, which `polling` does not ask for. In edge mode with short reads the end of a stream that
//!   came together with its last bytes would never be seen without it.
//! - **Notifying** goes through an eventfd of our own, and `notify_after` through a timerfd of our own.
//!   `polling`'s notifier is registered oneshot and armed again only inside its `wait`, which is never called
//!   here: it would work once.
//!
//! Both of ours are registered in edge mode and never read: each `write` to an eventfd, and each expiry of a
//! timerfd, is an edge of its own. (An eventfd overflows after 2^64 - 2 writes.)
//!
//! # Unsafe
//! System calls on buffers that outlive the call, and descriptors this file owns or whose registrant keeps
//! them open.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polling::PollMode;

use super::{Event, Interest, Key, Signals};
use crate::primitive::Mutex;

/// Events fetched by one wait. Guessed; tokio and Go fetch 1024 and 128.
const BATCH: usize = 512;

/// How many events ahead one is announced. Guessed: a delivery takes some 30 ns here, and what comes from memory about 100.
const AHEAD: usize = 4;

/// Events fetched by a wait that finds the buffer in use: a rescuer's, on its own stack.
const RESCUE_BATCH: usize = 32;

const READ: u32 =
    (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
const WRITE: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;
const TAIL: u32 = (libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// Set for good when the kernel refuses `epoll_pwait2`. A hint: `Relaxed` everywhere.
static PWAIT2_REFUSED: AtomicBool = AtomicBool::new(false);

#[derive(Debug)]
pub(in crate::reactor) struct Poller {
    queue: polling::Poller,
    /// Written by `notify`.
    notifier: OwnedFd,
    /// Set by `notify_after`.
    timer: OwnedFd,
    /// Held by the one who waits with the large buffer.
    buffer: Mutex<Buffer>,
}

type RawEvent = MaybeUninit<libc::epoll_event>;

struct Buffer(Box<[RawEvent]>);

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} events)", self.0.len())
    }
}

impl Poller {
    /// Whether a registration reports each event once for all, and needs no arming.
    pub(in crate::reactor) const EDGE: bool = true;

    pub(in crate::reactor) fn new() -> io::Result<Poller> {
        let poller = Poller {
            queue: polling::Poller::new()?,
            notifier: new_eventfd()?,
            timer: new_timerfd()?,
            buffer: Mutex::new(Buffer(vec![RawEvent::uninit(); BATCH].into())),
        };
        for (fd, key) in [(&poller.notifier, Key::NOTIFY), (&poller.timer, Key::TIMER)] {
            // SAFETY: the descriptor lives as long as the queue: both are fields of this struct.
            unsafe {
                poller.queue.add_with_mode(
                    fd.as_raw_fd(),
                    polling::Event::readable(key.bits()),
                    PollMode::Edge,
                )?;
            }
        }
        Ok(poller)
    }

    /// Registers `fd` for both directions. The present state is reported as an event, so nothing that came
    /// before is lost.
    ///
    /// # Safety
    /// `fd` is open, and `delete` is called before it is closed.
    pub(in crate::reactor) unsafe fn add(&self, fd: RawFd, key: Key) -> io::Result<()> {
        let mut entry =
            libc::epoll_event { events: READ | WRITE | libc::EPOLLET as u32, u64: key.bits() as u64 };
        // SAFETY: both descriptors are open (the caller's promise for `fd`), and the kernel copies the entry.
        let result = unsafe { libc::epoll_ctl(self.queue.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut entry) };
        check(result).map(drop)
    }

    /// Asks for the next event of the directions in `interest`. Edge mode reports it without being asked.
    pub(in crate::reactor) fn arm(&self, _fd: RawFd, _key: Key, _interest: Interest) -> io::Result<()> {
        Ok(())
    }

    /// Forgets `fd`. An event fetched before may still be delivered; its key has expired by then.
    pub(in crate::reactor) fn delete(&self, fd: RawFd) {
        // SAFETY: registrations end before their descriptors are closed (`delete-before-close`), so `fd` is
        // open.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        // The one error possible says that the entry is not there, which is what was asked for.
        let _ = self.queue.delete(fd);
    }

    /// Waits up to `timeout` (`None`: for ever) and hands each event to `deliver`, its key to `announce` a little
    /// earlier. Returns early, with nothing, on a signal.
    pub(in crate::reactor) fn wait(
        &self,
        timeout: Option<Duration>,
        announce: impl Fn(Key),
        deliver: impl FnMut(Event),
    ) -> io::Result<Signals> {
        match self.buffer.try_lock() {
            Ok(mut buffer) => self.wait_with(&mut buffer.0, timeout, announce, deliver),
            Err(_) => self.wait_in_passing(timeout, announce, deliver),
        }
    }

    #[cold]
    fn wait_in_passing(
        &self,
        timeout: Option<Duration>,
        announce: impl Fn(Key),
        deliver: impl FnMut(Event),
    ) -> io::Result<Signals> {
        self.wait_with(&mut [RawEvent::uninit(); RESCUE_BATCH], timeout, announce, deliver)
    }

    fn wait_with(
        &self,
        buffer: &mut [RawEvent],
        timeout: Option<Duration>,
        announce: impl Fn(Key),
        mut deliver: impl FnMut(Event),
    ) -> io::Result<Signals> {
        let mut signals = Signals::default();
        let count = fetch(self.queue.as_raw_fd(), buffer, timeout)?;
        for (index, event) in buffer[..count].iter().enumerate() {
            // SAFETY: `fetch` returned how many events the kernel wrote, from the first on.
            let event = unsafe { event.assume_init() };
            if let Some(later) = buffer[..count].get(index + AHEAD) {
                // SAFETY: as above.
                announce(Key::from_bits(unsafe { later.assume_init() }.u64 as usize));
            }
            let (flags, key) = (event.events, Key::from_bits(event.u64 as usize));
            match key {
                Key::NOTIFY => signals.notified = true,
                Key::TIMER => signals.elapsed = true,
                _ => deliver(Event {
                    key,
                    readable: flags & READ != 0,
                    writable: flags & WRITE != 0,
                    tail: flags & TAIL != 0,
                }),
            }
        }
        Ok(signals)
    }

    /// Makes the running or the next `wait` return. One system call.
    pub(in crate::reactor) fn notify(&self) {
        let one = 1u64;
        // SAFETY: an eventfd takes eight bytes from a live buffer. Failure (EAGAIN on overflow) leaves it
        // readable.
        unsafe { libc::write(self.notifier.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    /// The same after `delay`; replaces what an earlier call asked for.
    pub(in crate::reactor) fn notify_after(&self, delay: Duration) {
        // A zero value would disarm the timer instead.
        let delay = delay.max(Duration::from_nanos(1));
        // SAFETY: all zeroes is a valid value of this plain C structure.
        let mut setting: libc::itimerspec = unsafe { std::mem::zeroed() };
        setting.it_value.tv_sec = libc::time_t::try_from(delay.as_secs()).unwrap_or(libc::time_t::MAX);
        setting.it_value.tv_nsec = delay.subsec_nanos() as _;
        // SAFETY: the timerfd is open, `setting` is live, and no previous value is asked for.
        unsafe { libc::timerfd_settime(self.timer.as_raw_fd(), 0, &setting, std::ptr::null_mut()) };
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// Fetches events into `buffer` and returns how many. An interrupting signal counts as no event.
fn fetch(queue: RawFd, buffer: &mut [RawEvent], timeout: Option<Duration>) -> io::Result<usize> {
    if !PWAIT2_REFUSED.load(Ordering::Relaxed) {
        match fetch_precise(queue, buffer, timeout) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                PWAIT2_REFUSED.store(true, Ordering::Relaxed);
            }
            result => return uninterrupted(result),
        }
    }
    uninterrupted(fetch_coarse(queue, buffer, timeout))
}

/// `struct __kernel_timespec`: 64 bits each on every architecture, unlike the C library's.
#[repr(C)]
struct KernelTimespec {
    tv_sec: i64,
    tv_nsec: i64,
}

fn fetch_precise(queue: RawFd, buffer: &mut [RawEvent], timeout: Option<Duration>) -> io::Result<usize> {
    let limit = timeout.map(|timeout| KernelTimespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let no_mask = std::ptr::null::<libc::sigset_t>();
    // SAFETY: `buffer` has room for as many events as we say, `limit` is null or live, and without a mask its
    // size is unused.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            queue,
            buffer.as_mut_ptr(),
            buffer.len() as i32,
            limit,
            no_mask,
            0usize,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

fn fetch_coarse(queue: RawFd, buffer: &mut [RawEvent], timeout: Option<Duration>) -> io::Result<usize> {
    let millis = timeout.map_or(-1, whole_millis);
    // SAFETY: `buffer` has room for as many events as we say.
    let result = unsafe { libc::epoll_wait(queue, buffer.as_mut_ptr().cast(), buffer.len() as i32, millis) };
    check(result).map(|count| count as usize)
}

/// Milliseconds, rounded up so that a wait never ends early, at most about 24 days (the caller waits again).
fn whole_millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

fn uninterrupted(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        result => result,
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn new_eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the call succeeded, so `fd` is open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn new_timerfd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe {
        libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK)
    })?;
    // SAFETY: the call succeeded, so `fd` is open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_up_and_clamped() {
        assert_eq!(whole_millis(Duration::ZERO), 0);
        assert_eq!(whole_millis(Duration::from_nanos(1)), 1);
        assert_eq!(whole_millis(Duration::from_millis(7)), 7);
        assert_eq!(whole_millis(Duration::MAX), i32::MAX);
    }

    #[test]
    fn the_fallback_fetches_the_same_events() {
        let poller = Poller::new().unwrap();
        poller.notify();
        let mut buffer = [RawEvent::uninit(); 4];
        assert_eq!(fetch_coarse(poller.queue.as_raw_fd(), &mut buffer, None).unwrap(), 1);
        assert_eq!(fetch_coarse(poller.queue.as_raw_fd(), &mut buffer, Some(Duration::ZERO)).unwrap(), 0);
    }
}
