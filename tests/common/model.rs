//! Futures polled by hand in an order that is drawn, with wakers that change, and dropped at random: whoever can go on must have been
//! woken.

use super::Rng;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Wake, Waker};

/// The most who play at a time.
const PLAYERS_MAX: usize = 9;

pub(crate) type Play<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

pub(crate) struct Game<'a> {
    pub(crate) rng: Rng,
    players: Vec<Player<'a>>,
    /// What has happened, for whoever has to find out.
    pub(crate) log: String,
    joined: usize,
}

struct Player<'a> {
    number: usize,
    kind: String,
    play: Play<'a>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

fn to_be_polled() -> Arc<Woken> {
    Arc::new(Woken(AtomicBool::new(true)))
}

impl<'a> Game<'a> {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { rng, players: Vec::new(), log: String::new(), joined: 0 }
    }

    /// Notes what somebody does at once.
    pub(crate) fn note(&mut self, what: impl std::fmt::Display) {
        self.log += &format!("{what}; ");
    }

    /// One more plays, if there is room.
    pub(crate) fn join(&mut self, kind: String, play: Play<'a>) {
        if self.players.len() < PLAYERS_MAX {
            self.joined += 1;
            let number = self.joined;
            self.note(format_args!("new {number}:{kind}"));
            self.players.push(Player { number, kind, play, woken: to_be_polled() });
        }
    }

    /// One of them, if there is any.
    fn draw(&mut self) -> Option<usize> {
        (!self.players.is_empty()).then(|| self.rng.below(self.players.len() as u64) as usize)
    }

    /// One is dropped.
    pub(crate) fn drop_one(&mut self) {
        if let Some(index) = self.draw() {
            let player = self.players.swap_remove(index);
            self.note(format_args!("drop {}", player.number));
        }
    }

    /// One is to be polled without cause, perhaps with another waker.
    pub(crate) fn prod_one(&mut self) {
        if let Some(index) = self.draw() {
            let anew = self.rng.one_in(2);
            let player = &mut self.players[index];
            if anew {
                player.woken = to_be_polled();
            }
            player.woken.0.store(true, SeqCst);
            let how = if anew { "anew" } else { "again" };
            self.log += &format!("prod {} {how}; ", player.number);
        }
    }

    /// Polls some of those who are woken, once.
    pub(crate) fn poll_some(&mut self) {
        self.poll_each(|rng| rng.one_in(3));
    }

    /// Polls those who are woken, until nobody is.
    pub(crate) fn settle(&mut self) {
        while self.poll_each(|_| true) {}
        self.log += "| ";
    }

    /// Whether anybody was polled.
    fn poll_each(&mut self, mut is_due: impl FnMut(&mut Rng) -> bool) -> bool {
        let mut any = false;
        let mut index = 0;
        while index < self.players.len() {
            let player = &mut self.players[index];
            let due = player.woken.0.load(SeqCst) && is_due(&mut self.rng);
            any |= due;
            if due {
                player.woken.0.store(false, SeqCst);
                let waker = Waker::from(player.woken.clone());
                let is_ready = player.play.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                self.log +=
                    &format!("poll {} {}; ", player.number, if is_ready { "ready" } else { "pending" });
                if is_ready {
                    self.players.swap_remove(index);
                    continue;
                }
            }
            index += 1;
        }
        any
    }

    /// Those who have not ended.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &str> {
        self.players.iter().map(|player| player.kind.as_str())
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.kinds().filter(|other| *other == kind).count()
    }
}
