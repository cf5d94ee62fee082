//! Channels in a random game of futures that wait, are woken, polled and dropped in any order: nobody stays in line who could go on,
//! and no message is lost, doubled or kept.

mod common;

use aqueduct::channel::{self, Receiver, Sender};
use aqueduct::select_async;
use common::model::{Game, Play};
use common::{Counted, Drops, Rng, watchdog};
use futures::future::{self, Either};
use futures::{SinkExt, StreamExt};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;

const ROUNDS: u64 = 1_500;
const MOVES: usize = 70;

struct Message {
    number: usize,
    _counted: Counted,
}

/// What is known of each message.
#[derive(Default)]
struct Ledger {
    entries: RefCell<Vec<Entry>>,
    drops: Drops,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    sent: bool,
    received: bool,
}

impl Ledger {
    fn message(&self) -> Message {
        let mut entries = self.entries.borrow_mut();
        entries.push(Entry::default());
        Message { number: entries.len() - 1, _counted: self.drops.one() }
    }

    fn received(&self, message: Option<Message>) {
        if let Some(message) = message {
            let before = std::mem::replace(&mut self.entries.borrow_mut()[message.number].received, true);
            assert!(!before, "received twice");
        }
    }

    fn sent(&self, number: usize, is_sent: bool) {
        self.entries.borrow_mut()[number].sent = is_sent;
    }
}

struct Stall {
    capacity: usize,
    tx: Sender<Message>,
    rx: Receiver<Message>,
    closed: Cell<bool>,
}

struct Market {
    stalls: Vec<Stall>,
    ledger: Ledger,
}

impl Market {
    fn new(channels: u64, rng: &mut Rng) -> Self {
        let stalls = (0..channels).map(|_| {
            let capacity = rng.below(4) as usize;
            let (tx, rx) = channel::bounded(capacity);
            Stall { capacity, tx, rx, closed: Cell::new(false) }
        });
        Self { stalls: stalls.collect(), ledger: Ledger::default() }
    }

    fn draw(&self, rng: &mut Rng) -> (usize, &Stall) {
        let index = rng.below(self.stalls.len() as u64) as usize;
        (index, &self.stalls[index])
    }

    /// A future, and where it receives (`R0`) and sends (`S1`).
    fn player(&self, rng: &mut Rng) -> (String, Play<'_>) {
        let ((a, one), (b, other)) = (self.draw(rng), self.draw(rng));
        let (ledger, message) = (&self.ledger, self.ledger.message());
        let number = message.number;
        match rng.below(10) {
            0 => (format!("R{a}"), Box::pin(async move { ledger.received(one.rx.recv_async().await.ok()) })),
            1 => (
                format!("S{a}"),
                Box::pin(async move { ledger.sent(number, one.tx.send_async(message).await.is_ok()) }),
            ),
            2 => (
                format!("R{a}R{b}"),
                Box::pin(async move {
                    select_async! {
                        v = <-one.rx => ledger.received(v.ok()),
                        v = <-other.rx => ledger.received(v.ok()),
                    }
                }),
            ),
            3 => (
                format!("R{a}S{b}"),
                Box::pin(async move {
                    select_async! {
                        v = <-one.rx => ledger.received(v.ok()),
                        r = other.tx <- message => ledger.sent(number, r.is_ok()),
                    }
                }),
            ),
            4 => (
                format!("S{a}S{b}"),
                Box::pin(async move {
                    let second = ledger.message();
                    let its_number = second.number;
                    select_async! {
                        r = one.tx <- message => ledger.sent(number, r.is_ok()),
                        r = other.tx <- second => ledger.sent(its_number, r.is_ok()),
                    }
                }),
            ),
            5 => (
                format!("R{a}S{b}"),
                Box::pin(async move {
                    // The future makes each poll look again.
                    select_async! {
                        v = <-one.rx => ledger.received(v.ok()),
                        r = other.tx <- message => ledger.sent(number, r.is_ok()),
                        () = pending() => {}
                    }
                }),
            ),
            6 => (
                format!("R{a}"),
                Box::pin(async move {
                    let mut stream = one.rx.stream();
                    for _ in 0..3 {
                        ledger.received(stream.next().await);
                    }
                }),
            ),
            7 => (
                format!("S{a}"),
                Box::pin(async move {
                    let mut sink = one.tx.sink();
                    let is_sent = sink.send(message).await.is_ok();
                    ledger.sent(number, is_sent);
                    if is_sent {
                        let second = ledger.message();
                        ledger.sent(second.number, sink.send(second).await.is_ok());
                    }
                }),
            ),
            8 => (
                format!("S{a}"),
                Box::pin(async move {
                    match one.tx.reserve_async().await {
                        // At a rendezvous nothing is reserved, and `send` waits.
                        Ok(permit) if one.capacity > 0 => ledger.sent(number, permit.send(message).is_ok()),
                        _ => {}
                    }
                }),
            ),
            _ => (
                format!("R{a}R{b}"),
                Box::pin(async move {
                    let (left, right) = (pin!(one.rx.recv_async()), pin!(other.rx.recv_async()));
                    match future::select(left, right).await {
                        Either::Left((v, _)) | Either::Right((v, _)) => ledger.received(v.ok()),
                    }
                }),
            ),
        }
    }

    /// What takes no time.
    fn act(&self, game: &mut Game<'_>) {
        let (index, stall) = self.draw(&mut game.rng);
        let (ledger, message) = (&self.ledger, self.ledger.message());
        let number = message.number;
        match game.rng.below(4) {
            0 => {
                game.note(format_args!("try_send {index}"));
                ledger.sent(number, stall.tx.try_send(message).is_ok());
            }
            1 => {
                game.note(format_args!("try_recv {index}"));
                ledger.received(stall.rx.try_recv().ok());
            }
            2 => {
                game.note(format_args!("force_send {index}"));
                if let Ok(pushed_out) = stall.tx.force_send(message) {
                    ledger.sent(number, true);
                    ledger.received(pushed_out);
                }
            }
            _ if game.rng.one_in(25) => {
                game.note(format_args!("close {index}"));
                stall.tx.close();
                stall.closed.set(true);
            }
            _ => {
                game.note(format_args!("drain {index}"));
                stall.rx.drain().for_each(|message| ledger.received(Some(message)));
            }
        }
    }

    /// Nobody is woken: then nobody of those who wait could go on.
    fn check(&self, game: &Game<'_>, round: u64) {
        for (index, stall) in self.stalls.iter().enumerate() {
            let waits = |side: char| {
                let kind = format!("{side}{index}");
                game.kinds()
                    .enumerate()
                    .filter(move |(_, other)| other.contains(&kind))
                    .map(|(player, _)| player)
            };
            let (receivers, senders) = (waits('R').collect::<Vec<_>>(), waits('S').collect::<Vec<_>>());
            let is_still = if stall.closed.get() {
                receivers.is_empty() && senders.is_empty()
            } else if stall.capacity == 0 {
                // Nobody pairs with itself.
                receivers.iter().all(|receiver| senders.iter().all(|sender| sender == receiver))
            } else {
                (stall.rx.is_empty() || receivers.is_empty()) && (stall.tx.is_full() || senders.is_empty())
            };
            assert!(
                is_still,
                "round {round}, channel {index} of capacity {}, with {} messages: {:?} wait\n{}",
                stall.capacity,
                stall.rx.len(),
                game.kinds().collect::<Vec<_>>(),
                game.log
            );
        }
    }
}

fn play(channels: u64, test: &str) {
    let mut seeds = Rng::new(test);
    for round in 0..ROUNDS {
        let mut rng = Rng::from_seed(seeds.next());
        let market = Market::new(channels, &mut rng);
        let mut game = Game::new(rng);
        for _ in 0..MOVES {
            match game.rng.below(17) {
                0..=9 => {
                    let (kind, play) = market.player(&mut game.rng);
                    game.join(kind, play);
                }
                10 | 11 => game.drop_one(),
                12 => game.prod_one(),
                _ => market.act(&mut game),
            }
            if game.rng.one_in(3) {
                game.settle();
                market.check(&game, round);
            } else {
                game.poll_some();
            }
        }
        let log = std::mem::take(&mut game.log);
        drop(game);
        let Market { stalls, ledger } = market;
        for stall in &stalls {
            stall.rx.drain().for_each(|message| ledger.received(Some(message)));
        }
        let lost = |entry: &Entry| entry.sent && !entry.received;
        assert!(!ledger.entries.borrow().iter().any(lost), "round {round}: a message is lost\n{log}");
        drop(stalls);
        assert_eq!(ledger.drops.made(), ledger.drops.dropped(), "round {round}: a message is kept\n{log}");
    }
}

#[test]
fn one_channel() {
    let _dog = watchdog!(120);
    play(1, "one_channel");
}

#[test]
fn two_channels() {
    let _dog = watchdog!(120);
    play(2, "two_channels");
}
