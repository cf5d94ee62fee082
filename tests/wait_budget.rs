//! Operations that may wait let others run, also when they never do: a task that goes on and on with them has a budget.

mod common;

use aqueduct::channel::{self, broadcast, oneshot, watch};
use aqueduct::select::Select;
use aqueduct::sync::{Barrier, CancellationToken, Condvar, Mutex, Notify, Semaphore};
use aqueduct::{go, time};
use common::{runtime, watchdog};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// Runs `operation` in a loop, on one worker, until a neighbour has run.
fn lets_others_run<R>(mut operation: impl FnMut() -> R + Send + 'static) {
    let runtime = runtime(1);
    let task = runtime.go(move || {
        let over = Arc::new(AtomicBool::new(false));
        let neighbour = over.clone();
        drop(go(move || neighbour.store(true, SeqCst)));
        while !over.load(SeqCst) {
            let _ = operation();
        }
    });
    task.join().unwrap();
}

macro_rules! check {
    ($dog:ident; $($name:literal => $operation:expr),* $(,)?) => {$(
        $dog.doing($name);
        lets_others_run($operation);
    )*};
}

const NO_TIME: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

#[test]
fn waits_without_time_let_others_run() {
    let dog = watchdog!(60);
    let (_tx, rx) = channel::bounded::<u8>(1);
    let receiver = rx.clone();
    let (tx, _rx) = channel::bounded::<u8>(0);
    let (_broadcast, mut listener) = broadcast::channel::<u8>(1);
    let (_oneshot, mut answer) = oneshot::channel::<u8>();
    let (_watch, mut watcher) = watch::channel(1);
    let mut other_watcher = watcher.clone();
    let (semaphore, notify, barrier) = (Semaphore::new(0), Notify::new(), Barrier::new(2));
    let (mutex, token) = (Arc::new(Mutex::new(())), CancellationToken::new());
    let locked = mutex.clone();
    let _guard = mutex.lock();
    let (condvar, its_mutex) = (Condvar::new(), Mutex::new(()));
    check! { dog;
        "channel, recv" => move || rx.recv_timeout(NO_TIME),
        "channel, send" => move || tx.send_timeout(1, NO_TIME),
        "Select" => move || Select::new().recv(&receiver, drop).wait_timeout(NO_TIME),
        "broadcast" => move || listener.recv_timeout(NO_TIME),
        "oneshot" => move || answer.recv_timeout(NO_TIME),
        "watch, changed" => move || watcher.changed_timeout(NO_TIME),
        "watch, wait_for" => move || other_watcher.wait_for_timeout(NO_TIME, |_| false),
        "semaphore" => move || semaphore.acquire_timeout(NO_TIME).is_ok(),
        "mutex" => move || locked.lock_timeout(NO_TIME).is_some(),
        "notify" => move || notify.wait_timeout(NO_TIME),
        "barrier" => move || barrier.wait_timeout(NO_TIME),
        "condvar" => move || condvar.wait_timeout(its_mutex.lock(), NO_TIME).1,
        "token" => move || token.cancelled_timeout(NO_TIME),
    }
}

#[test]
fn waits_that_are_over_at_once_let_others_run() {
    let dog = watchdog!(60);
    let (messages, mut listener) = broadcast::channel(1);
    let (values, mut watcher) = watch::channel(1);
    let ticker = time::tick(Duration::from_nanos(1));
    check! { dog;
        "broadcast" => move || {
            messages.send(1).unwrap();
            listener.recv_timeout(LONG).unwrap();
        },
        "watch" => move || {
            values.send(1);
            watcher.changed_timeout(LONG).unwrap();
        },
        "oneshot" => || {
            let (tx, rx) = oneshot::channel();
            tx.send(1).unwrap();
            rx.recv().unwrap();
        },
        "ticker" => move || ticker.recv(),
    }
}
