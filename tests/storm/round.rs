//! A round: two channels, some parties, until all have gone.
//!
//! No party waits for what need not come: each channel has a receiver that stays until it is closed, and it is closed when the
//! last sender has gone, or before. So a party that does not end has lost a wake-up.

use super::ledger::{Ledger, Message, Totals};
use super::party::Party;
use super::receive::Receivers;
use super::send::Senders;
use crate::common::Rng;
use crate::common::life::Style;
use crate::common::party::{PARTIES, Party as Kind, Running};
use aqueduct::Handle;
use aqueduct::channel::{self, Receiver, Sender};
use std::fmt;

const CAPACITIES: [Option<usize>; 5] = [Some(0), Some(1), Some(2), Some(7), None];
/// Operations of each sender, at most.
const STEPS: u64 = 600;

#[derive(Debug)]
pub(crate) struct Round {
    seed: u64,
    capacities: [Option<usize>; 2],
    senders: Vec<Kind>,
    /// They do both.
    mixed: Vec<Kind>,
    anchors: [Kind; 2],
    rovers: Vec<Kind>,
    steps: u64,
    /// Who closes a channel early, and after how many operations.
    closes: Option<(usize, u64)>,
}

/// What a party tells in the end.
struct Told {
    operations: u64,
    made: usize,
}

impl Round {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::from_seed(seed);
        let mut kinds = |least, most| -> Vec<Kind> {
            let count = least + rng.below(most - least + 1);
            (0..count).map(|_| PARTIES[rng.below(3) as usize]).collect()
        };
        let (senders, mixed, rovers, anchors) = (kinds(1, 4), kinds(0, 2), kinds(0, 2), kinds(2, 2));
        let steps = 1 + rng.below(STEPS);
        let count = (senders.len() + mixed.len()) as u64;
        let closes = rng.one_in(3).then(|| (rng.below(count) as usize, rng.below(steps)));
        Self {
            seed,
            capacities: [CAPACITIES[rng.below(5) as usize], CAPACITIES[rng.below(5) as usize]],
            senders,
            mixed,
            anchors: [anchors[0], anchors[1]],
            rovers,
            steps,
            closes,
        }
    }

    /// Runs it; the number of operations, and what became of the messages.
    pub(crate) fn run(&self, handle: &Handle) -> (u64, Totals) {
        let count = self.senders.len() + self.mixed.len();
        let ledger = Ledger::new(self.to_string(), count, 2 * self.steps as usize);
        let (txs, rxs) = self.channels();
        let mut rng = Rng::from_seed(self.seed.rotate_left(32));
        let mut running = Vec::new();
        for (number, kind) in self.senders.iter().chain(&self.mixed).copied().enumerate() {
            let seed = rng.next();
            let party = |style: Style| Party::new(number, style, seed, ledger.clone(), count, *handle);
            let rxs = (number >= self.senders.len()).then(|| rxs.clone());
            let close_after = self.closes.filter(|(closer, _)| *closer == number).map(|(_, after)| after);
            running.push(
                kind.live_on(handle, |style| send(party(style), txs.clone(), rxs, self.steps, close_after)),
            );
        }
        drop(txs);
        for (channel, kind) in self.anchors.into_iter().enumerate() {
            let seed = rng.next();
            let party = |style: Style| Party::new(count, style, seed, ledger.clone(), count, *handle);
            running.push(kind.live_on(handle, |style| anchor(party(style), rxs[channel].clone(), channel)));
        }
        for kind in self.rovers.iter().copied() {
            let seed = rng.next();
            let party = |style: Style| Party::new(count, style, seed, ledger.clone(), count, *handle);
            running.push(kind.live_on(handle, |style| rove(party(style), rxs.clone())));
        }
        drop(rxs);
        let told: Vec<Told> = running.into_iter().map(Running::join).collect();
        let made: Vec<_> = told[..count].iter().map(|told| told.made).collect();
        (told.iter().map(|told| told.operations).sum(), ledger.check(&made))
    }

    fn channels(&self) -> (Senders, Receivers) {
        let make = |capacity| -> (Sender<Message>, Receiver<Message>) {
            match capacity {
                Some(capacity) => channel::bounded(capacity),
                None => channel::unbounded(),
            }
        };
        let [(tx, rx), (tx2, rx2)] = self.capacities.map(make);
        ([tx, tx2], [rx, rx2])
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

async fn send(
    mut party: Party,
    txs: Senders,
    rxs: Option<Receivers>,
    steps: u64,
    close_after: Option<u64>,
) -> Told {
    for step in 0..steps {
        if close_after == Some(step) {
            txs[party.rng.below(2) as usize].close();
        }
        match &rxs {
            Some(rxs) if party.rng.one_in(2) => party.send_or_receive(&txs, rxs).await,
            _ => party.send_something(&txs).await,
        }
    }
    tell(party)
}

async fn anchor(mut party: Party, rx: Receiver<Message>, channel: usize) -> Told {
    party.receive_from(&rx, channel).await;
    tell(party)
}

async fn rove(mut party: Party, rxs: Receivers) -> Told {
    party.receive_from_both(&rxs).await;
    tell(party)
}

fn tell(party: Party) -> Told {
    Told { operations: party.operations, made: party.made }
}
