//! What a party does at the receiving end.

use super::ledger::Message;
use super::party::{Party, give_up};
use super::send::Senders;
use crate::common::{
    self,
    life::{Style, choose},
};
use aqueduct::channel::{Receiver, RecvError, RecvTimeoutError, SendError, TryRecvError};
use aqueduct::select::Select;
use aqueduct::time;
use std::pin::pin;
use std::time::Duration;

pub(crate) type Receivers = [Receiver<Message>; 2];

/// The end of a channel.
struct Closed;

impl Party {
    /// Receives from one channel until it is closed and empty.
    pub(crate) async fn receive_from(&mut self, rx: &Receiver<Message>, channel: usize) {
        while self.receive_something(rx, channel).await.is_ok() {}
    }

    /// Receives from both channels until they are closed and empty.
    pub(crate) async fn receive_from_both(&mut self, rxs: &Receivers) {
        let mut open = vec![0, 1];
        while let [channel, ..] = open[..] {
            let channel = if open.len() == 2 && self.rng.one_in(2) { 1 - channel } else { channel };
            let closed = if open.len() == 2 && self.rng.one_in(3) {
                self.operations += 1;
                self.receive_from_either(rxs).await
            } else {
                self.receive_something(&rxs[channel], channel).await.err().map(|Closed| channel)
            };
            open.retain(|channel| Some(*channel) != closed);
        }
    }

    async fn receive_something(&mut self, rx: &Receiver<Message>, channel: usize) -> Result<(), Closed> {
        self.operations += 1;
        if self.cuts_short() {
            self.cut_receive_short(rx, channel).await
        } else {
            self.receive_whole(rx, channel).await
        }
    }

    async fn receive_whole(&mut self, rx: &Receiver<Message>, channel: usize) -> Result<(), Closed> {
        match self.rng.below(11) {
            0..=2 => {
                let result = self.style.recv(rx).await;
                self.got(channel, Some(result))
            }
            3 => match rx.try_recv() {
                Err(TryRecvError::Empty) => Ok(()),
                result => self.got(channel, Some(result.map_err(|_| RecvError))),
            },
            4 => {
                let moment = self.moment();
                self.receive_for(rx, channel, moment).await
            }
            5 => {
                let mut messages = Vec::new();
                let limit = self.rng.below(5) as usize;
                let result = rx.recv_many(&mut messages, limit);
                assert!(messages.len() <= limit, "{} of {limit}", messages.len());
                messages.into_iter().for_each(|message| self.received(channel, message));
                result.map(|_| ()).map_err(|_| Closed)
            }
            6 => {
                rx.drain().for_each(|message| self.received(channel, message));
                Ok(())
            }
            7 => {
                let result = choose! { self.style;
                    v = <-rx => Some(v),
                    default => None,
                };
                self.got(channel, result)
            }
            8 => {
                let moment = self.moment();
                let result = choose! { self.style;
                    v = <-rx => Some(v),
                    _ = <-time::after(moment) => None,
                };
                self.got(channel, result)
            }
            9 => {
                let result = choose! { self.style;
                    v = <-rx => v,
                    v = <-rx => v,
                };
                self.got(channel, Some(result))
            }
            _ => {
                let clone = rx.clone();
                let result = clone.try_iter().next();
                self.got(channel, result.map(Ok))
            }
        }
    }

    async fn cut_receive_short(&mut self, rx: &Receiver<Message>, channel: usize) -> Result<(), Closed> {
        let polls = self.rng.below(4);
        let receiver = rx.clone();
        match self.rng.below(6) {
            0 => {
                let result = self.style.wait(give_up(polls, pin!(rx.recv_async()))).await;
                self.got(channel, result)
            }
            1 => {
                let task = self.handle.go(move || receiver.recv());
                self.cancel_receive(task, channel).await
            }
            2 => {
                let task = self.handle.spawn(async move { receiver.recv_async().await });
                self.cancel_receive(task, channel).await
            }
            3 => {
                let task = self.handle.go(move || {
                    aqueduct::select! {
                        v = <-receiver => v,
                        _ = <-time::never() => unreachable!("never"),
                    }
                });
                self.cancel_receive(task, channel).await
            }
            4 => self.receive_for(rx, channel, Duration::ZERO).await,
            _ => {
                let select = pin!(async {
                    aqueduct::select_async! {
                        v = <-rx => v,
                        v = <-receiver => v,
                    }
                });
                let result = self.style.wait(give_up(polls, select)).await;
                self.got(channel, result)
            }
        }
    }

    fn got(&mut self, channel: usize, result: Option<Result<Message, RecvError>>) -> Result<(), Closed> {
        match result {
            Some(Ok(message)) => self.received(channel, message),
            Some(Err(RecvError)) => return Err(Closed),
            None => {}
        }
        Ok(())
    }

    async fn receive_for(
        &mut self,
        rx: &Receiver<Message>,
        channel: usize,
        moment: Duration,
    ) -> Result<(), Closed> {
        let result = if self.style == Style::Go {
            match rx.recv_timeout(moment) {
                Err(RecvTimeoutError::Timeout) => None,
                result => Some(result.map_err(|_| RecvError)),
            }
        } else {
            time::timeout(moment, rx.recv_async()).await.ok()
        };
        self.got(channel, result)
    }

    async fn cancel_receive(
        &mut self,
        task: aqueduct::JoinHandle<Result<Message, RecvError>>,
        channel: usize,
    ) -> Result<(), Closed> {
        self.let_others_run().await;
        task.cancel();
        match self.style.wait(task).await {
            Ok(result) => self.got(channel, Some(result)),
            Err(error) if error.is_cancelled() => Ok(()),
            Err(error) => error.resume(),
        }
    }

    /// The channel that is closed, if one is.
    async fn receive_from_either(&mut self, rxs: &Receivers) -> Option<usize> {
        let [one, other] = rxs;
        let (channel, result) = if self.style == Style::Go && self.rng.one_in(3) {
            let moment = self.moment();
            Select::new()
                .recv(one, |v| (0, v))
                .recv(other, |v| (1, v))
                .wait_timeout(moment)
                .map_or((0, None), |(channel, v)| (channel, Some(v)))
        } else {
            choose! { self.style;
                v = <-one => (0, Some(v)),
                v = <-other => (1, Some(v)),
            }
        };
        self.got(channel, result).err().map(|Closed| channel)
    }

    /// Both directions at once, also of the same channel.
    pub(crate) async fn send_or_receive(&mut self, txs: &Senders, rxs: &Receivers) {
        self.operations += 1;
        let (from, to) = (self.rng.below(2) as usize, self.rng.below(2) as usize);
        let (rx, tx) = (&rxs[from], &txs[to]);
        let (message, entry) = self.message();
        let mut slot = Some(message);
        let result = choose! { self.style;
            v = <-rx => Ok(v),
            r = tx <- from slot => Err(r),
        };
        match result {
            Ok(received) => {
                slot.take().expect("a send that lost keeps its message").came_back();
                // The end is for others to see.
                let _ = self.got(from, Some(received));
            }
            Err(sent) => self.settle(entry, sent.map_err(SendError::into_inner)),
        }
    }
}
