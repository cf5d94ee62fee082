//! A party: who it is, and what it has seen.

use super::ledger::{Entry, Ledger, Message};
use crate::common::Rng;
use crate::common::life::Style;
use aqueduct::Handle;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub(crate) struct Party {
    /// As which its messages know it.
    number: usize,
    pub(crate) style: Style,
    pub(crate) rng: Rng,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) handle: Handle,
    pub(crate) made: usize,
    pub(crate) operations: u64,
    /// The last sequence number received, by channel and sender.
    last: [Vec<Option<usize>>; 2],
}

impl Party {
    pub(crate) fn new(
        number: usize,
        style: Style,
        seed: u64,
        ledger: Arc<Ledger>,
        senders: usize,
        handle: Handle,
    ) -> Self {
        let last = [vec![None; senders], vec![None; senders]];
        let rng = Rng::from_seed(seed);
        Self { number, style, rng, ledger, handle, made: 0, operations: 0, last }
    }

    pub(crate) fn message(&mut self) -> (Message, Entry) {
        self.made += 1;
        self.ledger.message(self.number, self.made - 1)
    }

    /// A receive from a channel returned this: it must be younger than all that came before from the same sender.
    pub(crate) fn received(&mut self, channel: usize, message: Message) {
        let last = &mut self.last[channel][message.sender];
        if last.is_some_and(|last| last >= message.sequence) {
            self.ledger.fail(format_args!("out of order, after {last:?}"), message.entry(), 0);
        }
        *last = Some(message.sequence);
        message.received();
    }

    pub(crate) fn settle(&self, entry: Entry, result: Result<(), Message>) {
        match result {
            Ok(()) => self.ledger.sent(entry),
            Err(message) => message.came_back(),
        }
    }

    /// A fifth of all operations is cut short.
    pub(crate) fn cuts_short(&mut self) -> bool {
        self.rng.one_in(5)
    }

    pub(crate) fn moment(&mut self) -> Duration {
        Duration::from_micros(self.rng.below(40))
    }
}

/// Polls a future so many times at most.
pub(crate) async fn give_up<F: Future>(mut polls: u64, mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == 0 => Poll::Ready(None),
            Poll::Pending => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}
