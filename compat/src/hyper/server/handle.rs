//! The running server: its connections, its counters, its end.

use super::{Builder, OnError, Versions};
use crate::hyper::{BoxError, Executor, Timer};
use aqueduct::net::{TcpListener, TcpStream};
use aqueduct::sync::{CancellationToken, Semaphore, WaitGroup, Working};
use aqueduct::{JoinHandle, block_on, task, time};
use futures::FutureExt;
use hyper::server::conn::{http1, http2};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a shutdown waits for what it has cancelled.
const GRACE: Duration = Duration::from_millis(100);

/// A running server: look at its counters, wait for it, stop it. Cloning gives another handle; dropping them all lets it go on.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

/// The counters of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted so far.
    pub accepted: u64,
    /// Connections open now.
    pub open: usize,
    /// Connections that ended by an error.
    pub failed: u64,
}

/// What [`Server::shutdown`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The counters at the end.
    pub stats: Stats,
    /// Connections that were still open at the deadline and were cancelled.
    pub cancelled: usize,
    /// Those of them that had not ended a moment later: services that compute, or block their thread.
    pub unfinished: usize,
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The address it listens, or listened, at.
    ///
    /// # Errors
    /// The system's, when the listener had none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.address.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// The counters now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Stops the server: no connection is accepted any more, idle ones are closed, requests at work are answered until `deadline`
    /// (HTTP/2 clients are told to send no more). A connection that was accepted and has not sent anything yet is given a tenth of
    /// a second for its first request, which is answered: it may have arrived already. Connections that are still open at the
    /// deadline are cancelled, with their services and handlers. A deadline that has passed cancels at once.
    ///
    /// # Blocking
    /// Waits until the last connection is closed: this coroutine; outside the scheduler, this thread. Not longer than the
    /// deadline and a tenth of a second.
    ///
    /// Called from a handler of the same server it waits for itself until the deadline: spawn the call instead.
    #[track_caller]
    pub fn shutdown(&self, deadline: Instant) -> Summary {
        block_on(self.shutdown_async(deadline))
    }

    /// The future form of [`shutdown`](Self::shutdown).
    ///
    /// # Cancel safety
    /// *Completes anyway*, but for the deadline: accepting and idle connections have stopped once it was polled, and nobody
    /// cancels what is still busy.
    pub async fn shutdown_async(&self, deadline: Instant) -> Summary {
        let shared = &*self.shared;
        shared.stop();
        let mut cancelled = 0;
        if time::timeout_at(deadline, shared.running.wait_async()).await.is_err() {
            cancelled = shared.cancel_connections();
            // What is left then is counted.
            let _ = time::timeout(GRACE, shared.running.wait_async()).await;
        }
        Summary { stats: shared.stats(), cancelled, unfinished: shared.open() }
    }

    /// Waits until the server has stopped and its last connection is closed.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// The error that made it impossible to go on accepting. Connections accepted before were served to their ends.
    #[track_caller]
    pub fn join(&self) -> io::Result<Stats> {
        block_on(self.join_async())
    }

    /// The future form of [`join`](Self::join).
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    pub async fn join_async(&self) -> io::Result<Stats> {
        self.shared.running.wait_async().await;
        match lock(&self.shared.accept_error).as_ref() {
            Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Ok(self.stats()),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.shared.address)
            .field("stats", &self.stats())
            .field("stopping", &self.shared.is_stopping())
            .finish()
    }
}

/// What a server's tasks and handles share.
pub(super) struct Shared {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<Executor>,
    pub(super) versions: Versions,
    pub(super) header_read_timeout: Option<Duration>,
    executor: Executor,
    on_error: Option<OnError>,
    address: Option<SocketAddr>,
    /// Set before `stop` is cancelled (`stop-is-seen`).
    stopping: AtomicBool,
    stop: CancellationToken,
    /// The accept loop and the connections (`counted`).
    running: WaitGroup,
    /// Its task and a handle that closes its listener; `None` once stopped.
    accepting: Mutex<Option<(JoinHandle<()>, TcpListener)>>,
    accept_error: Mutex<Option<io::Error>>,
    /// The tasks of the connections. An entry without a handle is one that is being spawned.
    connections: Mutex<slab::Slab<Option<JoinHandle<()>>>>,
    /// A permit a connection, where their number is limited.
    places: Option<Arc<Semaphore>>,
    accepted: AtomicU64,
    failed: AtomicU64,
}

impl Shared {
    pub(super) fn new(listener: &TcpListener, builder: Builder) -> Self {
        let Builder { mut http1, versions, executor, header_read_timeout, max_connections, on_error, .. } =
            builder;
        http1.header_read_timeout(header_read_timeout);
        let mut http2 = http2::Builder::new(executor);
        http2.timer(Timer);
        for options in builder.http2 {
            options(&mut http2);
        }
        Self {
            http1,
            http2,
            versions,
            header_read_timeout,
            executor,
            on_error,
            address: listener.local_addr().ok(),
            stopping: AtomicBool::new(false),
            stop: CancellationToken::new(),
            running: WaitGroup::new(),
            accepting: Mutex::new(None),
            accept_error: Mutex::new(None),
            connections: Mutex::default(),
            places: max_connections.map(|n| Arc::new(Semaphore::new(n))),
            accepted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Spawns the accept loop, which calls `start` for each connection.
    pub(super) fn start_accepting(
        self: &Arc<Self>,
        listener: TcpListener,
        mut start: impl FnMut(TcpStream, SocketAddr) + Send + 'static,
    ) {
        let closer = listener.try_clone().expect("a listener's handle is cloned without a system call");
        let (shared, running) = (self.clone(), self.running.enter());
        let task = self.executor.spawn(async move {
            let _running = running;
            let accepting = AssertUnwindSafe(shared.accept(&listener, &mut start));
            let error = match accepting.catch_unwind().await {
                Ok(Err(error)) => error,
                Err(payload) if task::is_cancelled(&*payload) => task::rethrow(payload),
                Err(_) => io::Error::other("making a service for a connection panicked"),
            };
            if !shared.is_stopping() {
                *lock(&shared.accept_error) = Some(error);
            }
        });
        *lock(&self.accepting) = Some((task, closer));
        // Stopped already is impossible: nobody has a handle before this returns.
    }

    async fn accept(
        &self,
        listener: &TcpListener,
        start: &mut (impl FnMut(TcpStream, SocketAddr) + Send),
    ) -> io::Result<Infallible> {
        loop {
            if let Some(places) = &self.places {
                // The permit is given back with the connection; the semaphore is never closed.
                if let Ok(permit) = places.acquire_async().await {
                    permit.forget();
                }
            }
            let (stream, peer) = listener.accept_async().await?;
            // Fails only when the peer has gone already: then its connection ends by itself.
            let _ = stream.set_nodelay(true);
            self.accepted.fetch_add(1, Ordering::Relaxed);
            start(stream, peer);
        }
    }

    /// Spawns the task of a connection.
    pub(super) fn start_connection(
        self: &Arc<Self>,
        peer: SocketAddr,
        connection: impl Future<Output = Result<(), BoxError>> + Send + 'static,
    ) {
        let key = lock(&self.connections).insert(None);
        let entry = Entry { shared: self.clone(), key, _running: self.running.enter() };
        let task = self.executor.spawn(async move {
            if let Err(error) = connection.await {
                entry.shared.tell(peer, &error);
            }
        });
        // It may have ended. Its key is not taken anew meanwhile: only the accept loop, that is we, enters connections.
        if let Some(place) = lock(&self.connections).get_mut(key) {
            *place = Some(task);
        }
    }

    fn tell(&self, peer: SocketAddr, error: &BoxError) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        if let Some(on_error) = &self.on_error {
            on_error(peer, error);
        }
    }

    /// Stops accepting, and tells the connections. Does not wait.
    fn stop(&self) {
        // Release: pairs with `is_stopping`, though the token's cancellation below would do.
        self.stopping.store(true, Ordering::Release);
        let accepting = lock(&self.accepting).take();
        if let Some((task, listener)) = accepting {
            listener.close();
            // It may be waiting for a place rather than for a connection.
            task.cancel();
        }
        self.stop.cancel();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ready once the server stops.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled_async().await;
    }

    fn cancel_connections(&self) -> usize {
        let connections = lock(&self.connections);
        connections.iter().filter_map(|(_, task)| task.as_ref()).map(JoinHandle::cancel).count()
    }

    fn open(&self) -> usize {
        lock(&self.connections).len()
    }

    fn stats(&self) -> Stats {
        Stats {
            accepted: self.accepted.load(Ordering::Relaxed),
            open: self.open(),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// A connection's place among those of its server, for as long as its task lives.
struct Entry {
    shared: Arc<Shared>,
    key: usize,
    // Dropped last: who waits for the server finds no entry.
    _running: Working,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let removed = lock(&self.shared.connections).try_remove(self.key);
        if let Some(places) = &self.shared.places {
            places.add(1);
        }
        // Outside the lock: dropping a handle detaches its task, which is this one.
        drop(removed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
