//! Which connections are open, who waits for their end, and the counters.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use slab::Slab;

use crate::net::TcpListener;
use crate::primitive::{Mutex, lock, wake_all};
use crate::reactor::TimerEntry;
use crate::task::JoinHandle;

/// How long cancelled handlers are given to unwind before they are reported as unfinished. A guess; unwinding
/// takes microseconds.
const UNWIND_GRACE: Duration = Duration::from_millis(100);

/// The counters of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open now.
    pub active: u64,
    /// Connections that were served and are closed.
    pub closed: u64,
    /// Connections ended by an error of their handler, or of `open`.
    pub errors: u64,
    /// Connections ended by a panic of their handler, or of `open`.
    pub panics: u64,
    /// Connections closed before their handler was called: the server was stopping, or `open` failed.
    pub rejected: u64,
}

/// What outlives the connections: shared by the intake, every connection and every handle.
pub(super) struct Server {
    accepted: AtomicU64,
    closed: AtomicU64,
    errors: AtomicU64,
    panics: AtomicU64,
    rejected: AtomicU64,
    stopping: AtomicBool,
    max_connections: usize,
    /// The intake, when it waits for room.
    intake: AtomicWaker,
    registry: Mutex<Registry>,
}

struct Registry {
    links: Slab<Arc<Link>>,
    /// `None` once the intake has ended.
    listener: Option<TcpListener>,
    intake_error: Option<io::Error>,
    /// Who waits for the end.
    waiters: Slab<Waker>,
}

/// How a connection is reached from outside.
struct Link {
    waker: AtomicWaker,
    task: Mutex<Task>,
}

enum Task {
    /// Being spawned.
    Starting,
    Running(JoinHandle<()>),
    /// Cancelled; whoever spawns it carries that out.
    Cancelled,
}

impl Server {
    pub(super) fn new(listener: TcpListener, max_connections: usize) -> Self {
        let registry = Registry {
            links: Slab::new(),
            listener: Some(listener),
            intake_error: None,
            waiters: Slab::new(),
        };
        Self {
            accepted: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            max_connections,
            intake: AtomicWaker::new(),
            registry: Mutex::new(registry),
        }
    }

    pub(super) fn stats(&self) -> Stats {
        // Relaxed, here and where they are counted: each number stands for itself.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            active: lock(&self.registry).links.len() as u64,
            accepted: read(&self.accepted),
            closed: read(&self.closed),
            errors: read(&self.errors),
            panics: read(&self.panics),
            rejected: read(&self.rejected),
        }
    }

    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        // Sequentially consistent, with `stop`: a connection or the intake leaves its waker and then looks
        // here; `stop` sets this and then looks for wakers. Were both only acquire and release, each could
        // miss the other.
        self.stopping.load(Ordering::SeqCst)
    }

    /// Ends the intake and the idle connections.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let (listener, links) = {
            let registry = lock(&self.registry);
            let listener = registry.listener.as_ref().map(TcpListener::clone_handle);
            (listener, registry.all_links())
        };
        if let Some(listener) = listener {
            listener.close();
        }
        self.intake.wake();
        for link in links {
            link.waker.wake();
        }
    }

    /// Waits for the end until `deadline`, then cancels what is left. Returns how many were cancelled, and
    /// how many of those did not end.
    pub(super) async fn drain(self: &Arc<Self>, deadline: Instant) -> (usize, usize) {
        if self.ended_by(deadline).await {
            return (0, 0);
        }
        let links = lock(&self.registry).all_links();
        for link in &links {
            link.cancel();
        }
        self.ended_by(Instant::now() + UNWIND_GRACE).await;
        (links.len(), lock(&self.registry).links.len())
    }

    async fn ended_by(self: &Arc<Self>, deadline: Instant) -> bool {
        let (mut ended, mut timer) = (self.ended(), TimerEntry::new(deadline));
        poll_fn(|cx| match Pin::new(&mut ended).poll(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => timer.poll_expired(cx).map(|()| false),
        })
        .await
    }

    /// Waits until the intake has ended and no connection is open.
    pub(super) fn ended(self: &Arc<Self>) -> Ended {
        Ended { server: Arc::clone(self), key: None }
    }

    /// What ended the intake, if it was an error: a copy, as several may ask.
    pub(super) fn intake_error(&self) -> Option<io::Error> {
        let registry = lock(&self.registry);
        let error = registry.intake_error.as_ref()?;
        Some(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        })
    }

    /// Waits until another connection may be accepted, or the server stops.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        self.intake.register(cx.waker());
        if self.has_room() || self.is_stopping() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn has_room(&self) -> bool {
        self.max_connections == usize::MAX || lock(&self.registry).links.len() < self.max_connections
    }

    /// Registers a connection, unless the server is stopping.
    pub(super) fn register(self: &Arc<Self>) -> Option<Registration> {
        let link = Arc::new(Link { waker: AtomicWaker::new(), task: Mutex::new(Task::Starting) });
        self.accepted.fetch_add(1, Ordering::Relaxed);
        if self.is_stopping() {
            self.count_rejected();
            self.closed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let key = lock(&self.registry).links.insert(Arc::clone(&link));
        Some(Registration { server: Arc::clone(self), link, key, left: None })
    }

    /// The intake is over, by an error or because of a stop.
    pub(super) fn end_intake(&self, error: Option<io::Error>) {
        let (listener, waiters) = {
            let mut registry = lock(&self.registry);
            registry.intake_error = error;
            (registry.listener.take(), registry.waiters_if_ended())
        };
        drop(listener);
        wake_all(waiters);
    }

    fn unregister(&self, key: usize) {
        self.closed.fetch_add(1, Ordering::Relaxed);
        let (link, waiters) = {
            let mut registry = lock(&self.registry);
            (registry.links.remove(key), registry.waiters_if_ended())
        };
        drop(link);
        self.intake.wake();
        wake_all(waiters);
    }
}

impl Registry {
    fn all_links(&self) -> Vec<Arc<Link>> {
        self.links.iter().map(|(_, link)| Arc::clone(link)).collect()
    }

    fn has_ended(&self) -> bool {
        self.listener.is_none() && self.links.is_empty()
    }

    /// Those who waited for the end, if it has come. Their keys stay valid until they look again.
    fn waiters_if_ended(&self) -> Vec<Waker> {
        if !self.has_ended() {
            return Vec::new();
        }
        self.waiters.iter().map(|(_, waker)| waker.clone()).collect()
    }
}

impl Link {
    fn cancel(&self) {
        let task = std::mem::replace(&mut *lock(&self.task), Task::Cancelled);
        if let Task::Running(task) = task {
            task.cancel();
        }
    }
}

/// The place of one connection in the registry; dropping it tells that the connection is closed.
pub(super) struct Registration {
    server: Arc<Server>,
    link: Arc<Link>,
    key: usize,
    /// What tells apart the waker in the link, if one has been left there.
    left: Option<WakerId>,
}

/// Where a waker points to, and what it does. Of use while the waker is there: nobody else's has the same.
type WakerId = (usize, usize);

fn id(waker: &Waker) -> WakerId {
    (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
}

impl Registration {
    pub(super) fn is_stopping(&self) -> bool {
        self.server.is_stopping()
    }

    /// Waits for a stop.
    pub(super) fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The waker first, then the look: `stop-is-seen`. One that is there already is left alone: only a stop takes it out, after
        // which we are woken, and look.
        let waker = Some(id(cx.waker()));
        if self.left != waker {
            self.link.waker.register(cx.waker());
            self.left = waker;
        }
        if self.is_stopping() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Through which the spawner tells which task it became.
    pub(super) fn spawned(&self) -> Spawned {
        Spawned(Arc::clone(&self.link))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.server.unregister(self.key);
    }
}

/// The spawner's end of a [`Registration`].
pub(super) struct Spawned(Arc<Link>);

impl Spawned {
    pub(super) fn set(self, handle: JoinHandle<()>) {
        let mut task = lock(&self.0.task);
        if matches!(*task, Task::Starting) {
            *task = Task::Running(handle);
            return;
        }
        drop(task);
        handle.cancel();
    }
}

/// The future of the end of a server.
pub(super) struct Ended {
    server: Arc<Server>,
    key: Option<usize>,
}

impl Future for Ended {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let (ended, replaced) = {
            let mut registry = lock(&self.server.registry);
            let ended = registry.has_ended();
            match self.key {
                Some(key) => (ended, Some(std::mem::replace(&mut registry.waiters[key], waker))),
                None => {
                    let key = registry.waiters.insert(waker);
                    drop(registry);
                    self.key = Some(key);
                    (ended, None)
                }
            }
        };
        // Outside the lock: what dropping a waker does is not ours to know.
        drop(replaced);
        if ended { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let waker = self.key.map(|key| lock(&self.server.registry).waiters.remove(key));
        drop(waker);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
