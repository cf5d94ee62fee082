//! What a party does at the sending end.

use super::ledger::Message;
use super::party::{Party, give_up};
use crate::common::{
    self,
    life::{Style, choose},
};
use aqueduct::channel::{SendError, SendTimeoutError, Sender, TrySendError};
use aqueduct::time;
use std::pin::pin;
use std::time::Duration;

pub(crate) type Senders = [Sender<Message>; 2];

impl Party {
    pub(crate) async fn send_something(&mut self, txs: &Senders) {
        self.operations += 1;
        let channel = self.rng.below(2) as usize;
        if self.cuts_short() {
            self.cut_send_short(txs, channel).await;
        } else {
            self.send_whole(txs, channel).await;
        }
    }

    async fn send_whole(&mut self, txs: &Senders, channel: usize) {
        let tx = &txs[channel];
        match self.rng.below(11) {
            0..=2 => self.send(tx).await,
            3 => {
                let (message, entry) = self.message();
                self.settle(entry, tx.try_send(message).map_err(TrySendError::into_inner));
            }
            4 => {
                let moment = self.moment();
                self.send_for(tx, moment).await;
            }
            5 => self.reserve(tx).await,
            6 => self.force_send(tx, channel),
            7 => self.send_to_either(txs).await,
            8 => {
                let (message, entry) = self.message();
                let result = choose! { self.style;
                    r = tx <- message => Some(r),
                    default => None,
                };
                match result {
                    Some(result) => self.settle(entry, result.map_err(SendError::into_inner)),
                    None => self.ledger.kept(entry),
                }
            }
            9 => self.send_or_timer(tx).await,
            _ => {
                let clone = tx.downgrade().upgrade().expect("there is a sender");
                self.send(&clone).await;
            }
        }
    }

    async fn cut_send_short(&mut self, txs: &Senders, channel: usize) {
        let tx = &txs[channel];
        let polls = self.rng.below(4);
        match self.rng.below(7) {
            0 => self.take_send_back(tx, polls).await,
            1 => {
                let (message, entry) = self.message();
                let sending = self.style.wait(give_up(polls, pin!(tx.send_async(message)))).await;
                match sending {
                    Some(result) => self.settle(entry, result.map_err(SendError::into_inner)),
                    None => self.ledger.left(entry),
                }
            }
            2 => self.cancel_send(tx).await,
            3 => self.cancel_send_future(tx).await,
            4 => {
                let reserved = self.style.wait(give_up(polls, pin!(tx.reserve_async()))).await;
                if let Some(Ok(permit)) = reserved {
                    let (message, entry) = self.message();
                    self.settle(entry, permit.send(message).map_err(SendError::into_inner));
                }
            }
            5 => self.send_for(tx, Duration::ZERO).await,
            _ => self.leave_select(txs, polls).await,
        }
    }

    async fn send(&mut self, tx: &Sender<Message>) {
        let (message, entry) = self.message();
        let result = self.style.send(tx, message).await;
        self.settle(entry, result.map_err(SendError::into_inner));
    }

    async fn send_for(&mut self, tx: &Sender<Message>, moment: Duration) {
        let (message, entry) = self.message();
        if self.style == Style::Go {
            self.settle(entry, tx.send_timeout(message, moment).map_err(SendTimeoutError::into_inner));
            return;
        }
        let mut sending = pin!(tx.send_async(message));
        match time::timeout(moment, sending.as_mut()).await {
            Ok(result) => self.settle(entry, result.map_err(SendError::into_inner)),
            Err(_) => self.settle(entry, sending.as_mut().cancel().map_or(Ok(()), Err)),
        }
    }

    async fn reserve(&mut self, tx: &Sender<Message>) {
        let reserved = if self.style == Style::Go { tx.reserve() } else { tx.reserve_async().await };
        let Ok(permit) = reserved else { return };
        if self.rng.one_in(3) {
            return;
        }
        let (message, entry) = self.message();
        self.settle(entry, permit.send(message).map_err(SendError::into_inner));
    }

    fn force_send(&mut self, tx: &Sender<Message>, channel: usize) {
        let (message, entry) = self.message();
        match tx.force_send(message) {
            Ok(oldest) => {
                self.ledger.sent(entry);
                if let Some(oldest) = oldest {
                    self.received(channel, oldest);
                }
            }
            Err(error) => error.into_inner().came_back(),
        }
    }

    async fn send_to_either(&mut self, txs: &Senders) {
        let (one, one_entry) = self.message();
        let (other, other_entry) = self.message();
        let (mut one, mut other) = (Some(one), Some(other));
        let (entry, result) = choose! { self.style;
            r = txs[0] <- from one => (one_entry, r),
            r = txs[1] <- from other => (other_entry, r),
        };
        self.settle(entry, result.map_err(SendError::into_inner));
        one.or(other).expect("one of two has not been sent").came_back();
    }

    async fn send_or_timer(&mut self, tx: &Sender<Message>) {
        let (message, entry) = self.message();
        let (mut slot, moment) = (Some(message), self.moment());
        let result = choose! { self.style;
            r = tx <- from slot => Some(r),
            _ = <-time::after(moment) => None,
        };
        match result {
            Some(result) => self.settle(entry, result.map_err(SendError::into_inner)),
            None => slot.take().expect("a send that lost keeps its message").came_back(),
        }
    }

    async fn take_send_back(&mut self, tx: &Sender<Message>, polls: u64) {
        let (message, entry) = self.message();
        let mut sending = pin!(tx.send_async(message));
        match self.style.wait(give_up(polls, sending.as_mut())).await {
            Some(result) => self.settle(entry, result.map_err(SendError::into_inner)),
            None => self.settle(entry, sending.as_mut().cancel().map_or(Ok(()), Err)),
        }
    }

    /// A coroutine that is cancelled unwinds only if its message has not been taken.
    async fn cancel_send(&mut self, tx: &Sender<Message>) {
        let (message, entry) = self.message();
        let sender = tx.clone();
        let task = self.handle.go(move || sender.send(message));
        self.let_others_run().await;
        task.cancel();
        match self.style.wait(task).await {
            Ok(result) => self.settle(entry, result.map_err(SendError::into_inner)),
            Err(error) if error.is_cancelled() => self.ledger.kept(entry),
            Err(error) => error.resume(),
        }
    }

    async fn cancel_send_future(&mut self, tx: &Sender<Message>) {
        let (message, entry) = self.message();
        let sender = tx.clone();
        let task = self.handle.spawn(async move { sender.send_async(message).await });
        self.let_others_run().await;
        task.cancel();
        match self.style.wait(task).await {
            Ok(result) => self.settle(entry, result.map_err(SendError::into_inner)),
            Err(error) if error.is_cancelled() => self.ledger.left(entry),
            Err(error) => error.resume(),
        }
    }

    /// A select that is dropped: a message that is not in its slot any more has been taken.
    async fn leave_select(&mut self, txs: &Senders, polls: u64) {
        let (one, one_entry) = self.message();
        let (other, other_entry) = self.message();
        let (mut one, mut other) = (Some(one), Some(other));
        let chosen = {
            let select = pin!(async {
                aqueduct::select_async! {
                    r = txs[0] <- from one => (one_entry, r),
                    r = txs[1] <- from other => (other_entry, r),
                }
            });
            self.style.wait(give_up(polls, select)).await
        };
        match chosen {
            Some((entry, result)) => {
                self.settle(entry, result.map_err(SendError::into_inner));
                one.or(other).expect("one of two has not been sent").came_back();
            }
            None => {
                self.settle(one_entry, one.map_or(Ok(()), Err));
                self.settle(other_entry, other.map_or(Ok(()), Err));
            }
        }
    }

    pub(crate) async fn let_others_run(&mut self) {
        if !self.rng.one_in(2) {
            return;
        }
        if self.style == Style::Go {
            aqueduct::yield_now();
        } else {
            aqueduct::yield_now_async().await;
        }
    }
}
