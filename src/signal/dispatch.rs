//! Who subscribes to which signal, and the task that hands signals out.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::io::AsyncReadExt;
use signal_hook::{flag, low_level};

use super::Signal;
use super::disposition::{self, Disposition};
use crate::channel::{Sender, TrySendError};
use crate::io::Io;
use crate::primitive::{Mutex, lock};
use crate::runtime::{Handle, global};

/// The subscriptions of the process. Nothing is ever taken out of it: a handler, once installed, stays.
struct Hub {
    /// The end that handlers write to; `None` before the dispatcher has been started.
    waker: Option<UnixStream>,
    signals: BTreeMap<Signal, Entry>,
}

/// One signal that has been subscribed to.
struct Entry {
    /// It has come and has not been handed out yet.
    raised: Arc<AtomicBool>,
    before: Disposition,
    subscribers: Vec<Sender<Signal>>,
}

static HUB: std::sync::LazyLock<Mutex<Hub>> =
    std::sync::LazyLock::new(|| Mutex::new(Hub { waker: None, signals: BTreeMap::new() }));

pub(super) fn subscribe(channel: &Sender<Signal>, signals: &[Signal]) -> io::Result<()> {
    signals.iter().try_for_each(|&signal| check(signal))?;
    // Before locking: it runs code that is not ours to know.
    let runtime = Handle::from_scheduler(global::scheduler());
    let mut hub = lock(&*HUB);
    for &signal in signals {
        hub.install(signal, &runtime)?;
    }
    let mut gone = Vec::new();
    for signal in signals {
        if let Some(entry) = hub.signals.get_mut(signal) {
            gone.extend(entry.take_gone());
            if !entry.subscribers.iter().any(|other| other.same_channel(channel)) {
                entry.subscribers.push(channel.clone());
            }
        }
    }
    drop(hub);
    drop(gone);
    Ok(())
}

fn check(signal: Signal) -> io::Result<()> {
    let number = signal.as_raw();
    if number == libc::SIGBUS || signal_hook::consts::FORBIDDEN.contains(&number) {
        let why = match number {
            libc::SIGKILL | libc::SIGSTOP => "cannot be caught",
            _ => "is a fault of the thread that it stops, and cannot be handed to another",
        };
        let text = format!("{signal} {why}: subscribe to SIGTERM, SIGINT or another that can");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

impl Hub {
    /// Installs the handler of `signal` if there is none yet.
    fn install(&mut self, signal: Signal, runtime: &Handle) -> io::Result<()> {
        if self.signals.contains_key(&signal) {
            return Ok(());
        }
        let before = disposition::current(signal)?;
        let waker = self.waker(runtime)?.try_clone()?;
        let raised = Arc::new(AtomicBool::new(false));
        // In this order: `flag-before-byte`.
        let flag = flag::register(signal.as_raw(), Arc::clone(&raised))?;
        if let Err(error) = low_level::pipe::register(signal.as_raw(), waker) {
            low_level::unregister(flag);
            return Err(error);
        }
        disposition::use_alternate_stack(signal)?;
        self.signals.insert(signal, Entry { raised, before, subscribers: Vec::new() });
        Ok(())
    }

    /// The end that handlers write to; starts the dispatcher.
    fn waker(&mut self, runtime: &Handle) -> io::Result<&UnixStream> {
        match &mut self.waker {
            Some(waker) => Ok(waker),
            none => {
                let (reader, writer) = UnixStream::pair()?;
                drop(runtime.spawn(dispatch(Io::new(reader)?)));
                Ok(none.insert(writer))
            }
        }
    }

    /// The signals that have come, with their subscribers.
    fn take_raised(&mut self) -> Vec<(Signal, Vec<Sender<Signal>>)> {
        // Acquire is what the flag's store, which signal-hook makes sequentially consistent, pairs with; the byte
        // that was read orders the two in any case.
        let raised = self.signals.iter().filter(|(_, entry)| entry.raised.swap(false, Ordering::Acquire));
        raised.map(|(&signal, entry)| (signal, entry.subscribers.clone())).collect()
    }
}

impl Entry {
    /// Takes out the subscribers who receive no more.
    fn take_gone(&mut self) -> Vec<Sender<Signal>> {
        let all = std::mem::take(&mut self.subscribers);
        let (gone, stay) = all.into_iter().partition(Sender::is_closed);
        self.subscribers = stay;
        gone
    }
}

/// The dispatcher. It ends never: the handlers hold the other end.
async fn dispatch(mut reader: Io<UnixStream>) {
    let mut bytes = [0; 64];
    while matches!(reader.read(&mut bytes).await, Ok(1..)) {
        let raised = lock(&*HUB).take_raised();
        for (signal, subscribers) in raised {
            // Not under the lock: this wakes people, whose wakers are not ours to know. No room: dropped, as in Go.
            // A waker that panics must not end the signals of all others: the panic hook has told of it.
            let offer = |subscriber: Sender<Signal>| {
                let offered = catch_unwind(AssertUnwindSafe(|| {
                    let offered = subscriber.try_send(signal);
                    drop(subscriber);
                    offered
                }));
                // It has been offered before anybody is woken. The payload's destructor may throw as well: forgotten.
                offered.unwrap_or_else(|panic| {
                    std::mem::forget(panic);
                    Ok(())
                })
            };
            let heeded = subscribers.into_iter().map(offer).filter(|offered| !is_gone(offered)).count() > 0;
            if let (false, Some(before)) = (heeded, lonely(signal)) {
                act(signal, before);
            }
        }
    }
}

fn is_gone(offered: &Result<(), TrySendError<Signal>>) -> bool {
    offered.as_ref().is_err_and(TrySendError::is_closed)
}

/// Whether nobody subscribes to the signal any more, and what it did before somebody did.
fn lonely(signal: Signal) -> Option<Disposition> {
    let mut hub = lock(&*HUB);
    let entry = hub.signals.get_mut(&signal)?;
    let gone = entry.take_gone();
    let lonely = entry.subscribers.is_empty().then_some(entry.before);
    drop(hub);
    drop(gone);
    lonely
}

/// Does what the signal would have done without us.
fn act(signal: Signal, before: Disposition) {
    if before == Disposition::Default {
        // Signals that the table does not know are left alone.
        let _ = low_level::emulate_default_handler(signal.as_raw());
    }
}
