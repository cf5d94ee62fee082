//! Lingering: a worker that others give work to again and again waits for it awake, for a while, before it sleeps.
//!
//! A coroutine stays with its worker. Two that talk to each other on different workers wake the other's worker with each message, and
//! to be woken on another core takes longer than most answers: one that sleeps makes the other sleep, and the pair stays that
//! slow. Four producers and a select on 2 workers, apart: 7 us a message when every wait slept.
//!
//! It costs a core that others may want, so it goes by what has been: only after sleeps in a row that a gift ended soon,
//! and only as long as gifts come soon. Events of the poller are no gifts: a server that waits for its sockets sleeps.

use crate::reactor::clock;
use crate::runtime::worker::Base;
use crate::wait;
use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// As long as two wake-ups take: while one worker lingers the other may have to be woken first.
const LONGEST: Duration = Duration::from_micros(50);

/// A sleep that a gift ends sooner is short: two wake-ups take 50 to 65 us here.
const SHORT_SLEEP: Duration = Duration::from_micros(100);

/// A gift that comes later was hardly worth waiting for.
const SOON: Duration = Duration::from_micros(10);

/// Short sleeps, or gifts that came soon, in favour of lingering (guessed); more than `CREDIT_MAX` do not count.
const CREDIT: u32 = 4;
const CREDIT_MAX: u32 = 8;

/// Looks before it lets others run, see `wait::look_awake`: some 3 us.
const LOOKS: u32 = 6;

/// What a worker remembers of its waits.
#[derive(Debug, Default)]
pub(crate) struct Linger {
    credit: Cell<u32>,
}

impl Base {
    /// What is for this worker alone counts: what anybody may take, in the injector, ends a wait, but is no reason for the next.
    fn was_given(self) -> bool {
        !self.home().inbox.is_empty()
    }

    /// Waits awake, if that is promising. True: it did, and there may be something to run.
    pub(super) fn linger(self) -> bool {
        let linger = &self.here.local().linger;
        if linger.credit.get() < CREDIT || !wait::several_cores() {
            return false;
        }
        let begun = clock::now();
        let until = begun + LONGEST;
        let over = || self.was_given() || !self.scheduler().injector.is_empty();
        if !wait::look_awake(LOOKS, over) {
            while clock::now() < until && !over() {
                thread::yield_now();
                // It does not stand still.
                self.home().moved();
            }
        }
        linger.gift_came(self.was_given().then(|| clock::now() - begun));
        // The next pick looks at everything.
        self.here.local().slice.set(0);
        true
    }

    /// After a sleep that began then.
    pub(super) fn has_slept(self, begun: Instant) {
        let short = self.was_given() && clock::now() - begun <= SHORT_SLEEP;
        let credit = &self.here.local().linger.credit;
        credit.set(if short { (credit.get() + 1).min(CREDIT) } else { 0 });
    }
}

impl Linger {
    /// After how long, or not at all.
    fn gift_came(&self, after: Option<Duration>) {
        let credit = self.credit.get();
        self.credit.set(match after {
            Some(after) if after <= SOON => (credit + 1).min(CREDIT_MAX),
            Some(after) if after <= LONGEST => credit - 1,
            // In vain, or somebody else kept the core: then a sleep would have been shorter.
            _ => 0,
        });
    }
}
