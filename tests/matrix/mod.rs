//! Places to wait from and things to wait for, shared by the walks over all of them.

use crate::common::{self, Latch, OnDrop, block_thread_on};
use aqueduct::runtime::Handle;
use aqueduct::{LocalRuntime, Wait, block_on, task, time};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

/// The two runtimes of a walk.
#[derive(Clone, Copy)]
pub(crate) struct Env {
    pub(crate) home: Handle,
    pub(crate) other: Handle,
}

/// Something that waits and returns `SEVEN`; it never panics, for it may be run while unwinding.
pub(crate) type Work = Box<dyn FnOnce() -> u32 + Send>;

pub(crate) const SEVEN: u32 = 7;

pub(crate) type Place = (&'static str, fn(Env, Work) -> u32);

/// Where one may wait from.
pub(crate) const PLACES: &[Place] = &[
    ("a coroutine", |env, work| env.home.go(work).join().unwrap_or(0)),
    ("a coroutine of another runtime", |env, work| env.other.go(work).join().unwrap_or(0)),
    ("block_on in a poll in a block_on", |_, work| nested_polls(3, work)),
    ("the poll of a future", |env, work| env.home.spawn(async { work() }).join().unwrap_or(0)),
    ("the poll of a future, awaited", |env, work| block_on(env.home.spawn(async { work() })).unwrap_or(0)),
    ("spawn_local", |env, work| env.home.run(|| aqueduct::spawn_local(async { work() }).join().unwrap_or(0))),
    ("run", |_, work| aqueduct::run(work)),
    ("run of a runtime", |env, work| env.other.run(work)),
    ("block_on of a runtime", |env, work| env.other.block_on(async { work() })),
    ("a plain thread", |_, work| on_thread(work)),
    ("a destructor while a panic unwinds", |env, work| {
        env.home.go(|| in_unwinding_drop(work)).join().unwrap_or(0)
    }),
    ("a destructor while a panic unwinds, here", |_, work| in_unwinding_drop(work)),
    ("a destructor while a cancellation unwinds", cancelled_drop),
    ("the destructor of a future that is cancelled", cancelled_future),
    ("the destructor of an unstarted closure", refused_closure),
    ("a thread-local destructor", |_, work| in_thread_local_destructor(work)),
    ("futures::executor::block_on on a thread", |_, work| {
        on_thread(|| futures::executor::block_on(async { work() }))
    }),
    ("a LocalPool on a thread", |_, work| {
        on_thread(|| futures::executor::LocalPool::new().run_until(async { work() }))
    }),
    ("a LocalRuntime's run, here", |_, work| local().run(work)),
    ("a LocalRuntime's block_on, here", |_, work| local().block_on(async { work() })),
    ("a LocalRuntime on a thread", |_, work| on_thread(|| local().run(work))),
    ("a LocalRuntime in a coroutine", |env, work| env.home.go(|| local().run(work)).join().unwrap_or(0)),
    ("a LocalRuntime in the poll of a future", |env, work| {
        env.home.spawn(async { local().block_on(async { work() }) }).join().unwrap_or(0)
    }),
    ("a LocalRuntime in a LocalRuntime", |_, work| local().run(|| local().run(work))),
    ("a task of a LocalRuntime", |_, work| {
        let runtime = local();
        let handle = runtime.spawn(async { work() });
        runtime.block_on(handle).unwrap_or(0)
    }),
    ("a hook", |_, work| work_beside_hook(work)),
    ("a shield", |_, work| task::shield(work)),
];

pub(crate) type Thing = (&'static str, fn(Env) -> u32);

/// What one may wait for.
pub(crate) const THINGS: &[Thing] = &[
    ("a coroutine opens a latch", |env| opened_by(|open| drop(env.other.go(move || block_on(open))))),
    ("a coroutine of our runtime opens a latch", |_| opened_by(|open| drop(aqueduct::go(|| block_on(open))))),
    ("a future opens a latch", |env| opened_by(|open| drop(env.other.spawn(open)))),
    ("a future of our runtime opens a latch", |_| opened_by(|open| drop(aqueduct::spawn(open)))),
    ("a thread opens a latch", |_| opened_by(|open| drop(thread::spawn(|| block_thread_on(open))))),
    ("a timer", |_| {
        time::Timer::after(Duration::from_micros(200)).wait();
        SEVEN
    }),
    ("a sleep", |_| {
        time::sleep(Duration::from_micros(200));
        SEVEN
    }),
    ("a timeout", |_| {
        let elapsed = time::timeout(Duration::from_micros(200), std::future::pending::<()>()).wait();
        if elapsed.is_err() { SEVEN } else { 0 }
    }),
    ("a coroutine's end", |env| joined(|gate| env.other.go(move || block_on(gate)))),
    ("the end of a coroutine of our runtime", |_| joined(|gate| aqueduct::go(move || block_on(gate)))),
    ("a future's end", |env| joined(|gate| env.other.spawn(gate))),
    ("the end of a future of our runtime", |_| joined(|gate| aqueduct::spawn(gate))),
    ("the end of a local task", |_| {
        // Only a worker has any.
        if task::try_current().is_none() { SEVEN } else { joined(|gate| aqueduct::spawn_local(gate)) }
    }),
    ("the end of a LocalRuntime's task", |_| {
        let runtime = local();
        let handle = runtime.go(|| SEVEN);
        runtime.block_on(handle).unwrap_or(0)
    }),
    ("a closure that blocks a thread", |_| aqueduct::blocking(|| SEVEN).wait()),
    ("a yield", |_| {
        aqueduct::yield_now();
        SEVEN
    }),
];

/// Waits for a latch that `opener` opens when we have found it shut.
fn opened_by(opener: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>)) -> u32 {
    let latch = Latch::new();
    let theirs = latch.clone();
    opener(Box::pin(async move {
        theirs.waited_for().await;
        theirs.open();
    }));
    latch.opened().wait();
    SEVEN
}

/// Joins a task that ends when we have found it unfinished.
fn joined(
    spawn: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> aqueduct::JoinHandle<()>,
) -> u32 {
    let gate = Latch::new();
    let mut handle = spawn(Box::pin(gate.opened()));
    let result = block_on(poll_fn(|cx| {
        let polled = pin!(&mut handle).poll(cx);
        if polled.is_pending() {
            gate.open();
        }
        polled
    }));
    if result.is_ok() { SEVEN } else { 0 }
}

pub(crate) fn local() -> LocalRuntime {
    LocalRuntime::new().expect("a LocalRuntime")
}

fn nested_polls(levels: u32, work: Work) -> u32 {
    if levels == 0 {
        return work();
    }
    let mut work = Some(work);
    block_on(poll_fn(move |_| Poll::Ready(nested_polls(levels - 1, work.take().expect("polled once")))))
}

fn on_thread(work: impl FnOnce() -> u32 + Send + 'static) -> u32 {
    let (done, when_done) = latch_pair();
    let thread = thread::spawn(move || {
        let value = work();
        done.open();
        value
    });
    // The thread that joins may be a worker: it waits in our way first.
    when_done.wait();
    thread.join().unwrap_or(0)
}

/// A latch for two parties.
fn latch_pair() -> (Latch, Latch) {
    let latch = Latch::new();
    (latch.clone(), latch)
}

/// Runs `work` in a destructor while this stack unwinds.
fn in_unwinding_drop(work: Work) -> u32 {
    let value = std::cell::Cell::new(0);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _on_drop = OnDrop::new(|| value.set(if thread::panicking() { work() } else { 0 }));
        resume_unwind(Box::new("on purpose"));
    }));
    if unwound.is_err() { value.get() } else { 0 }
}

fn cancelled_drop(env: Env, work: Work) -> u32 {
    let (send, receive) = mpsc::channel();
    let never = Latch::new();
    let parked = never.waited_for();
    let handle = env.home.go(move || {
        let _on_drop = OnDrop::new(move || send.send(work()).unwrap_or(()));
        never.wait();
    });
    block_on(parked);
    handle.cancel();
    let cancelled = handle.join().is_err_and(|error| error.is_cancelled());
    if cancelled { receive.try_recv().unwrap_or(0) } else { 0 }
}

fn cancelled_future(env: Env, work: Work) -> u32 {
    let (send, receive) = mpsc::channel();
    let never = Latch::new();
    let polled = never.waited_for();
    let handle = env.home.spawn(async move {
        let _on_drop = OnDrop::new(move || send.send(work()).unwrap_or(()));
        never.opened().await;
    });
    block_on(polled);
    handle.cancel();
    let cancelled = handle.join().is_err_and(|error| error.is_cancelled());
    if cancelled { receive.try_recv().unwrap_or(0) } else { 0 }
}

/// A runtime that is shutting down drops the closure where it was to be spawned.
fn refused_closure(_: Env, work: Work) -> u32 {
    let (send, receive) = mpsc::channel();
    let runtime = common::runtime(1);
    let handle = *runtime.handle();
    drop(runtime);
    let on_drop = OnDrop::new(move || send.send(work()).unwrap_or(()));
    let cancelled = handle.go(move || drop(on_drop)).join().is_err_and(|error| error.is_cancelled());
    if cancelled { receive.try_recv().unwrap_or(0) } else { 0 }
}

type Last = OnDrop<Box<dyn FnOnce()>>;

fn in_thread_local_destructor(work: Work) -> u32 {
    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }
    let (done, when_done) = latch_pair();
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let work: Box<dyn FnOnce()> = Box::new(move || {
            let _ = send.send(work());
            done.open();
        });
        LAST.set(Some(OnDrop::new(work)));
    });
    when_done.wait();
    receive.try_recv().unwrap_or(0)
}

fn work_beside_hook(work: Work) -> u32 {
    let _hook = aqueduct::wait::hook(|| (), || ());
    work()
}
