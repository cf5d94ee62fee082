//! What the integration tests share: a watchdog, latches, child processes, seeded randomness, readings of `/proc`.
//!
//! Tests order events with [`Latch`]es; [`until`] is for states that can only be looked at from outside. Neither depends on
//! how long anything takes, and the [`Watchdog`] ends what would hang.
#![allow(dead_code, unused_macros, unused_imports, reason = "each test crate uses its own share")]

pub(crate) mod child;
pub(crate) mod life;
pub(crate) mod model;
pub(crate) mod party;
pub(crate) mod proc;

pub(crate) use child::Child;

use aqueduct::runtime::{Report, Runtime};
use aqueduct::{Handle, runtime};
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, SeqCst};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// The full path of the function it is used in.
macro_rules! test_path {
    () => {{
        fn here() {}
        std::any::type_name_of_val(&here).trim_end_matches("::here")
    }};
}
pub(crate) use test_path;

/// A watchdog for the test it is used in: `let _dog = watchdog!(20);`, in seconds.
macro_rules! watchdog {
    ($seconds:expr) => {
        common::Watchdog::start(common::test_path!(), $seconds)
    };
}
pub(crate) use watchdog;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Aborts the process when the test has not ended in time, and tells what hangs.
pub(crate) struct Watchdog {
    end: Option<mpsc::Sender<()>>,
    shared: Arc<Mutex<Watched>>,
}

#[derive(Default)]
struct Watched {
    doing: String,
    runtimes: Vec<Handle>,
}

impl Watchdog {
    pub(crate) fn start(test: &'static str, seconds: u64) -> Self {
        let shared = Arc::new(Mutex::new(Watched::default()));
        let (end, ended) = mpsc::channel();
        let (tell, running) = mpsc::channel();
        let watched = shared.clone();
        std::thread::Builder::new()
            .name("watchdog".into())
            .stack_size(128 << 10)
            .spawn(move || {
                tell.send(()).expect("it is waited for");
                if ended.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
                    let watched = lock(&watched);
                    eprintln!("\nWATCHDOG: {test} has not ended after {seconds} s, while: {}", watched.doing);
                    eprint!("{}", proc::threads_text());
                    for handle in &watched.runtimes {
                        eprintln!("{}", handle.dump());
                    }
                    std::process::abort();
                }
            })
            .expect("a thread for the watchdog");
        // A test may take away what it needs to start.
        running.recv().expect("the watchdog runs");
        Self { end: Some(end), shared }
    }

    /// What the test does now.
    pub(crate) fn doing(&self, what: impl Display) {
        lock(&self.shared).doing = what.to_string();
    }

    /// A runtime whose tasks it shall list.
    pub(crate) fn watch(&self, handle: &Handle) {
        lock(&self.shared).runtimes.push(*handle);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.end.take());
    }
}

/// A runtime with so many workers.
pub(crate) fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("a runtime")
}

/// The reports of a runtime, as they come.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<Vec<String>>>);

impl Reports {
    pub(crate) fn of(builder: runtime::Builder) -> (runtime::Builder, Self) {
        let reports = Self::default();
        let sink = reports.clone();
        (builder.on_report(move |report: &Report| lock(&sink.0).push(report.to_string())), reports)
    }

    pub(crate) fn all(&self) -> Vec<String> {
        lock(&self.0).clone()
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        lock(&self.0).iter().filter(|report| report.contains(part)).count()
    }
}

/// Looks again and again until it is so; the watchdog bounds it. For what can only be seen from outside.
#[track_caller]
pub(crate) fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        // It is what is looked at that orders; this leaves the core to whoever brings it about.
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Looks until the task is suspended.
#[track_caller]
pub(crate) fn until_waiting(handle: &Handle, task: aqueduct::task::Id) {
    until(|| {
        let dump = handle.dump();
        dump.tasks().iter().any(|info| info.id() == task && info.state() == aqueduct::task::State::Waiting)
    });
}

/// A door that is opened once, by anybody, and waited for by coroutines, futures and threads. Tells when somebody waits.
#[derive(Clone, Default)]
pub(crate) struct Latch(Arc<Mutex<LatchState>>);

#[derive(Default)]
struct LatchState {
    open: bool,
    polls: usize,
    waiters: Vec<Waker>,
    watchers: Vec<Waker>,
}

impl Latch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(&self) {
        let waiters = {
            let mut state = lock(&self.0);
            state.open = true;
            std::mem::take(&mut state.waiters)
        };
        waiters.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_open(&self) -> bool {
        lock(&self.0).open
    }

    /// Ready when the latch is open.
    pub(crate) fn opened(&self) -> impl Future<Output = ()> + Send + Unpin + use<> {
        let latch = self.clone();
        poll_fn(move |cx| latch.poll_opened(cx))
    }

    fn poll_opened(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.open {
            return Poll::Ready(());
        }
        state.polls += 1;
        state.waiters.push(cx.waker().clone());
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        watchers.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// Ready when somebody has found the latch shut.
    pub(crate) fn waited_for(&self) -> impl Future<Output = ()> + Send + Unpin + use<> {
        let latch = self.clone();
        poll_fn(move |cx| {
            let mut state = lock(&latch.0);
            if state.polls > 0 {
                return Poll::Ready(());
            }
            state.watchers.push(cx.waker().clone());
            Poll::Pending
        })
    }

    /// Waits in the aqueduct way, wherever we are.
    #[track_caller]
    pub(crate) fn wait(&self) {
        aqueduct::block_on(self.opened());
    }

    /// Blocks the thread, whatever runs on it.
    pub(crate) fn block_thread(&self) {
        block_thread_on(self.opened());
    }

    /// Blocks the thread until somebody has found the latch shut.
    pub(crate) fn block_thread_until_waited_for(&self) {
        block_thread_on(self.waited_for());
    }
}

/// Polls a future on this thread and nothing else: no code under test takes part.
pub(crate) fn block_thread_on<F: Future>(future: F) -> F::Output {
    struct Thread(std::thread::Thread);
    impl Wake for Thread {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Thread(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

/// Runs a closure when dropped.
pub(crate) struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub(crate) fn new(f: F) -> Self {
        Self(Some(f))
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0.take().expect("dropped once")();
    }
}

/// Counts values that are alive and destructors that have run.
#[derive(Clone, Default)]
pub(crate) struct Drops(Arc<(AtomicUsize, AtomicUsize)>);

/// One value that is counted.
pub(crate) struct Counted(Drops);

impl Drops {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn one(&self) -> Counted {
        self.0.0.fetch_add(1, SeqCst);
        Counted(self.clone())
    }

    pub(crate) fn made(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.1.fetch_add(1, SeqCst);
    }
}

/// Random numbers from a seed that is printed, and taken from `AQUEDUCT_TEST_SEED` if that is set.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(test: &str) -> Self {
        let seed = match std::env::var("AQUEDUCT_TEST_SEED") {
            Ok(seed) => seed.parse().expect("AQUEDUCT_TEST_SEED is a number"),
            Err(_) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.expect("after 1970").as_nanos() as u64
            }
        };
        println!("{test}: AQUEDUCT_TEST_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Steele, Lea and Flood's SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The text of a panic.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_string(),
        None => payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "not a text".into()),
    }
}

/// The panic that `f` ends with.
#[track_caller]
pub(crate) fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        Ok(_) => panic!("it did not panic"),
        Err(payload) => panic_text(&*payload),
    }
}

/// A deadline for things that should take no time.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}
