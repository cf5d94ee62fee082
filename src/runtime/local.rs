//! A runtime on the calling thread.

use crate::primitive::wake_all;
use crate::reactor::{Direction, Source, TimerEntry};
use crate::runtime::builder::{Builder, MAIN, MAIN_STACK};
use crate::runtime::current::{self, CurrentHome};
use crate::runtime::handle::Handle;
use crate::runtime::home::Home;
use crate::runtime::scheduler::{self, Scheduler};
use crate::runtime::worker::Base;
use crate::task::body::Call;
use crate::task::header::{Kind, Traits};
use crate::task::{self, Cancellable, JoinError, JoinHandle};
use crate::wait;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::Location;
use std::pin::Pin;
use std::ptr;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Rounds of a nested runtime's base between two turns for the outer worker. Guessed: a few slices.
const OUTER_TURN: u32 = 256;

/// A runtime whose tasks all run on the thread that built it, and only while it is driven: inside [`block_on`](Self::block_on)
/// or [`run`](Self::run).
///
/// Its tasks need not be `Send`. It cannot leave its thread (a coroutine that has started must not), but its
/// [`handle`](Self::handle) can: from elsewhere it spawns `Send` work. On a worker of another runtime it is driven from a
/// coroutine: when it has nothing to do, that coroutine waits, and the worker goes on.
///
/// Dropping it cancels its tasks and drives them until they have ended or none can make progress; what is left then is leaked.
///
/// # Examples
/// ```
/// use std::rc::Rc;
///
/// let runtime = aqueduct::LocalRuntime::new()?;
/// let shared = Rc::new(20);
/// let twice = shared.clone();
/// let sum = runtime.run(move || {
///     let other = aqueduct::spawn_local(async move { *twice });
///     other.join().unwrap() + *shared
/// });
/// assert_eq!(sum, 40);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct LocalRuntime {
    pub(super) scheduler: &'static Scheduler,
    /// Somebody drives.
    pub(super) driven: Cell<bool>,
    /// Waits of others on this thread, who take over when the driver leaves.
    pub(super) followers: RefCell<Vec<Waker>>,
    /// Our own poller as a source of the outer reactor, once somebody waits for it there. One for all who do: a reactor takes a
    /// descriptor once.
    outer_source: OnceCell<Source>,
    not_send: PhantomData<*const ()>,
}

impl LocalRuntime {
    /// A runtime on this thread, with the default options.
    ///
    /// # Errors
    /// When its poller cannot be made.
    pub fn new() -> io::Result<Self> {
        Builder::new().build_local()
    }

    /// Options; finish with [`Builder::build_local`].
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_scheduler(scheduler: &'static Scheduler) -> Self {
        // From the start on a wake from elsewhere makes the descriptor readable.
        scheduler.homes()[0].sleeper.announce();
        Self {
            scheduler,
            driven: Cell::new(false),
            followers: RefCell::default(),
            outer_source: OnceCell::new(),
            not_send: PhantomData,
        }
    }

    pub(super) fn home(&self) -> &'static Home {
        self.scheduler.homes()[0]
    }

    /// A handle for other threads: it spawns `Send` work here, which runs while this runtime is driven.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::from_scheduler(self.scheduler)
    }

    /// Spawns a future, which need not be `Send`.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let traits = self.scheduler.traits(Kind::Future, Location::caller());
        // SAFETY: pinned to our home, which only this thread drives (`!Send`).
        unsafe { Scheduler::spawn(traits, future) }
    }

    /// Starts a coroutine, whose closure need not be `Send`.
    #[track_caller]
    pub fn go<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let traits = self.scheduler.traits(Kind::Coroutine, Location::caller());
        // SAFETY: as in `spawn`.
        unsafe { Scheduler::spawn(traits, Call::new(f)) }
    }

    /// Drives the runtime until `future`, run as a task of it, is ready. Other tasks make progress meanwhile, and stop where
    /// they are when it returns.
    ///
    /// # Blocking
    /// The calling thread; on a worker of another runtime the calling coroutine. A cancellation of the caller is passed on to
    /// the future and waits for its end, because it may borrow from the caller.
    ///
    /// # Panics
    /// When the future panics, with its payload; where waiting is forbidden.
    #[track_caller]
    pub fn block_on<F: IntoFuture>(&self, future: F) -> F::Output {
        self.complete(self.scheduler.traits(Kind::Future, Location::caller()), future.into_future())
    }

    /// Drives the runtime until `f`, run as its main coroutine on a stack of 8 MiB, has returned.
    ///
    /// # Blocking
    /// # Panics
    /// As [`block_on`](Self::block_on).
    #[track_caller]
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        let mut traits = self.scheduler.traits(Kind::Coroutine, Location::caller());
        traits.lane = scheduler::lane(MAIN_STACK, false);
        traits.name = Some(MAIN.into());
        self.complete(traits, Call::new(f))
    }

    #[track_caller]
    fn complete<F: Future>(&self, traits: Traits, future: F) -> F::Output {
        wait::assert_may_wait(traits.spawn_site);
        let caller = Cancellable::here();
        // SAFETY: pinned to our home, driven by this thread alone; `join_borrowing` and `follow` do not return or unwind
        // before the task has ended.
        let handle = unsafe { Scheduler::spawn(traits, future) };
        let inside = current::home().is_some_and(|home| ptr::eq(home.shared(), self.home()));
        let result = if inside { task::join_borrowing(handle, caller) } else { self.follow(handle, caller) };
        task::finish_run(result, caller)
    }

    /// Drives, or waits while another wait on this thread drives, until the task has ended. Does not unwind.
    fn follow<T>(&self, mut handle: JoinHandle<T>, caller: Cancellable) -> Result<T, JoinError> {
        loop {
            if !self.driven.get() {
                self.drive(&handle, caller);
            }
            let turn = wait::block_on_borrowing(poll_fn(|cx| {
                caller.pass_on(&handle);
                if let Poll::Ready(result) = Pin::new(&mut handle).poll(cx) {
                    return Poll::Ready(Some(result));
                }
                if !self.driven.get() {
                    return Poll::Ready(None);
                }
                self.followers.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }));
            if let Some(result) = turn {
                return result;
            }
        }
    }

    /// Runs the loop on the calling stack until the task has ended.
    fn drive<T>(&self, handle: &JoinHandle<T>, caller: Cancellable) {
        let driving = Driving::begin(self);
        let nested = driving.nested;
        self.base().run(
            || {
                self.give_outer_a_turn(&driving, || caller.pass_on(handle));
                handle.is_finished()
            },
            |base| {
                if nested {
                    self.wait_nested(base, &driving, || caller.pass_on(handle));
                } else {
                    super::sleep::sleep(base);
                }
            },
        );
    }

    /// Lets the outer worker, if we drive on a coroutine of one, run something else, and looks: once in `OUTER_TURN` calls.
    pub(super) fn give_outer_a_turn(&self, driving: &Driving<'_>, look: impl FnOnce()) {
        if !driving.is_outer_due() {
            return;
        }
        current::replace_home(driving.outer);
        look();
        wait::block_on_borrowing(wait::yield_now_async());
        current::replace_home(Some(self.home()));
    }

    pub(super) fn base(&self) -> Base {
        // SAFETY: `!Send`: this thread alone ever drives the home.
        Base { here: unsafe { CurrentHome::new(self.home()) } }
    }

    /// Nothing to do, on a coroutine of another runtime: waits there until our poller has something, or a timer is due.
    pub(super) fn wait_nested(&self, base: Base, driving: &Driving<'_>, mut look: impl FnMut()) {
        if base.receive() {
            return;
        }
        let home = self.home();
        home.sleeper.announce();
        if home.inbox.is_empty() {
            current::replace_home(driving.outer);
            let mut timer = home.reactor.next_deadline().map(TimerEntry::new);
            wait::block_on_borrowing(poll_fn(|cx| {
                look();
                if !home.inbox.is_empty()
                    || timer.as_mut().is_some_and(|timer| timer.poll_expired(cx).is_ready())
                {
                    return Poll::Ready(());
                }
                self.poll_readable(cx)
            }));
            drop(timer);
            current::replace_home(Some(home));
        }
        home.sleeper.cancel();
        base.poll(Some(Duration::ZERO));
    }
}

impl LocalRuntime {
    /// Waits, on the outer reactor, until our own poller has something, and fetches it.
    pub(super) fn poll_readable(&self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        // SAFETY: the home, with its poller, is never freed.
        let source =
            self.outer_source.get_or_init(|| unsafe { Source::new(self.home().reactor.as_fd().as_raw_fd()) });
        source.poll_io(Direction::Read, cx, || poll_own(self.base())).map(|_| ())
    }
}

/// Our own poller as an operation on the outer one: would block while it has nothing.
fn poll_own(base: Base) -> io::Result<()> {
    base.poll(Some(Duration::ZERO));
    if base.here.local().has_wakes() || !base.home().inbox.is_empty() {
        return Ok(());
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Puts the outer home back, and lets another wait drive.
pub(super) struct Driving<'a> {
    runtime: &'a LocalRuntime,
    outer: Option<&'static Home>,
    /// It drives on a coroutine of another runtime, which waits where a thread would sleep.
    pub(super) nested: bool,
    /// Rounds of the base.
    rounds: Cell<u32>,
}

impl<'a> Driving<'a> {
    pub(super) fn begin(runtime: &'a LocalRuntime) -> Self {
        runtime.driven.set(true);
        runtime.home().sleeper.cancel();
        runtime.scheduler.idle.awake();
        let nested = current::record().is_some();
        Self { runtime, outer: current::replace_home(Some(runtime.home())), nested, rounds: Cell::new(0) }
    }

    fn is_outer_due(&self) -> bool {
        let rounds = self.rounds.get().wrapping_add(1);
        self.rounds.set(rounds);
        self.nested && rounds.is_multiple_of(OUTER_TURN)
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        self.runtime.scheduler.idle.asleep();
        current::replace_home(self.outer);
        self.runtime.driven.set(false);
        // While nobody drives, a wake from elsewhere makes the descriptor readable.
        let home = self.runtime.home();
        home.sleeper.announce();
        if !home.inbox.is_empty() {
            home.reactor.notify();
        }
        let followers = self.runtime.followers.take();
        wake_all(followers);
    }
}

impl Drop for LocalRuntime {
    fn drop(&mut self) {
        self.scheduler.begin_shutdown();
        let stuck = Cell::new(false);
        {
            let driving = Driving::begin(self);
            let base = self.base();
            let is_over = || self.scheduler.live() == 0 && !base.is_in_use();
            let look = |base: Base| {
                if !base.receive() {
                    stuck.set(!base.awaits_runnable());
                    std::thread::yield_now();
                }
            };
            let done = || {
                self.give_outer_a_turn(&driving, || ());
                stuck.get() || base.is_starved() || is_over()
            };
            base.run(done, look);
            if !is_over() {
                // What is left waits for something that nobody will drive: leaked, with its home.
                return;
            }
            base.evict();
            base.run(|| stuck.get() || !base.is_in_use(), look);
            if base.is_in_use() {
                return;
            }
            base.wind_up();
        }
        self.outer_source.take();
        self.home().sleeper.cancel();
        self.home().release();
    }
}

impl fmt::Debug for LocalRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRuntime").field("driven", &self.driven.get()).finish_non_exhaustive()
    }
}
