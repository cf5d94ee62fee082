//! Signals of the system as messages, as Go's `os/signal` has them.
//!
//! [`notify`] gives a channel on which the signals asked for arrive; it is received from in every world, and is
//! a case of [`select!`](crate::select!) like any other channel. [`ctrl_c`] is a future for the most usual one.
//!
//! ```
//! use aqueduct::prelude::*;
//! use aqueduct::signal::{self, SIGHUP, SIGTERM, SIGUSR1};
//!
//! # fn main() -> std::io::Result<()> {
//! let signals = signal::notify(&[SIGHUP, SIGTERM, SIGUSR1])?;
//! # signal::raise(SIGUSR1)?;
//! aqueduct::run(|| {
//!     select! {
//!         signal = <-signals => assert_eq!(signal, Ok(SIGUSR1)),
//!         _ = <-time::after(std::time::Duration::from_secs(10)) => panic!("no signal came"),
//!     }
//! });
//! # Ok(())
//! # }
//! ```
//!
//! # Delivery
//! A signal is offered to every subscriber, and nobody is waited for: what a subscriber's channel has no room
//! for is dropped for that subscriber. The system itself merges signals of one kind that come faster than they
//! are handled; so a signal says that something has happened since the last one, not how often.
//!
//! While anybody subscribes to a signal, it no longer does what it did by default. When the last subscriber has
//! gone (its receiver is dropped or closed), the default is back: a SIGINT then ends the process, unless the
//! signal was ignored when the first subscriber came, as under `nohup`. A signal that came
//! shortly before, and has not been handed out yet, does so too: keep the last receiver for as long as signals are
//! to do no harm. Handlers that others have installed before are called as well. To ignore a signal, subscribe to
//! it and keep the receiver without reading it.
//!
//! SIGKILL and SIGSTOP cannot be caught, and SIGSEGV, SIGBUS, SIGFPE and SIGILL belong to the thread that caused
//! them: subscribing to one is an error.
//!
//! # How
//! ```text
//! signal ─► handler (signal-hook's): set the signal's flag, write a byte ─► pair of sockets
//!                                                                              │
//! subscribers' channels ◄── try_send ◄── the dispatcher, a task of the global runtime
//! ```
//! The dispatcher is started with the first subscription, which so starts the global runtime. It works while one
//! of that runtime's workers does; a program whose workers all compute without pause hears of signals when they
//! pause.
//!
//! # Invariants
//! - `flag-before-byte`: a handler sets the flag, then writes. The dispatcher takes the byte, then looks at all
//!   flags; so each signal is followed by a look that finds it. A byte that finds the socket full is not needed:
//!   others are still to be taken.

mod dispatch;
mod disposition;
#[allow(clippy::module_inception, reason = "the type of the module")]
mod signal;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;

pub(crate) use disposition::send;
pub use signal::*;

use crate::channel::{self, Receiver, RecvStream, Sender};

/// How many signals a channel made by [`notify`] holds. A guess: a subscriber that is behind by as many has
/// other worries.
const CAPACITY: usize = 32;

/// Subscribes to signals: from now on they arrive on the channel returned, which holds 32 that are not yet
/// received.
///
/// Any number may subscribe to a signal, and each gets it. Dropping the receiver ends the subscription; see
/// [Delivery](self#delivery). The channel ends by itself only when it is closed by hand.
///
/// Never waits.
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for a signal that cannot be subscribed to; the system's, when
/// it is out of descriptors.
///
/// # Panics
/// When the global runtime is needed and cannot be started.
///
/// # Examples
/// ```
/// use aqueduct::signal::{self, SIGUSR2};
///
/// let signals = signal::notify(&[SIGUSR2])?;
/// signal::raise(SIGUSR2)?;
/// assert_eq!(signals.recv(), Ok(SIGUSR2));
/// # std::io::Result::Ok(())
/// ```
/// ```
/// # use aqueduct::{Wait, signal::{self, SIGUSR2}};
/// # async {
/// let signals = signal::notify(&[SIGUSR2])?;
/// signal::raise(SIGUSR2)?;
/// assert_eq!(signals.recv_async().await, Ok(SIGUSR2));
/// # std::io::Result::Ok(()) }.wait().unwrap();
/// ```
pub fn notify(signals: &[Signal]) -> io::Result<Receiver<Signal>> {
    let (tx, rx) = channel::bounded(CAPACITY);
    notify_to(&tx, signals)?;
    Ok(rx)
}

/// Subscribes a channel of your own to signals, as Go's `signal.Notify`. May be called again with further ones.
///
/// Choose a capacity: a rendezvous gets only the signals that come while somebody is receiving.
///
/// # Errors
/// As [`notify`]; then nothing has been subscribed to.
///
/// # Panics
/// When the global runtime is needed and cannot be started.
///
/// # Examples
/// ```
/// use aqueduct::channel;
/// use aqueduct::signal::{self, SIGUSR1, SIGUSR2};
///
/// let (tx, rx) = channel::bounded(1);
/// signal::notify_to(&tx, &[SIGUSR1])?;
/// signal::notify_to(&tx, &[SIGUSR2])?;
/// signal::raise(SIGUSR2)?;
/// assert_eq!(rx.recv(), Ok(SIGUSR2));
/// # std::io::Result::Ok(())
/// ```
pub fn notify_to(channel: &Sender<Signal>, signals: &[Signal]) -> io::Result<()> {
    dispatch::subscribe(channel, signals)
}

/// Waits for SIGINT, which is what Ctrl-C in a terminal sends. A future: `.wait()` or `.await`, or a case of
/// [`select!`](crate::select!).
///
/// It subscribes when it is called, and stops when it is dropped or ready: a second Ctrl-C then ends the
/// process, which is welcome while an orderly end takes too long. To see every SIGINT, use [`notify`].
///
/// # Cancel safety
/// Dropped: *nothing happened*.
///
/// # Errors
/// As [`notify`], told by the future.
///
/// # Panics
/// When the global runtime is needed and cannot be started.
///
/// # Examples
/// ```no_run
/// use aqueduct::prelude::*;
///
/// aqueduct::run(|| {
///     let server = go!(time::sleep(std::time::Duration::from_secs(3600)));
///     aqueduct::signal::ctrl_c().wait()?;
///     server.cancel();
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub fn ctrl_c() -> CtrlC {
    CtrlC { signals: notify(&[SIGINT]).map(Receiver::into_stream).map_err(Some) }
}

/// The future of [`ctrl_c`].
#[must_use = "futures do nothing unless awaited, or waited for with `.wait()`"]
pub struct CtrlC {
    signals: Result<RecvStream<Signal>, Option<io::Error>>,
}

impl Future for CtrlC {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let signals = match &mut self.signals {
            Ok(signals) => signals,
            Err(error) => return Poll::Ready(Err(error.take().expect("`CtrlC` polled after it was ready"))),
        };
        ready!(Pin::new(signals).poll_next(cx));
        self.signals = Err(None);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for CtrlC {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CtrlC").field("subscribed", &self.signals.is_ok()).finish()
    }
}
