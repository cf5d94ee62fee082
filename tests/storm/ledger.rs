//! What becomes of every message.

use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// Its destructor has run.
const DROPPED: u8 = 1;
/// A receive returned it.
const RECEIVED: u8 = 2;
/// Its send returned `Ok`.
const SENT: u8 = 4;
/// It came back to its sender, or never left it.
const KEPT: u8 = 8;
/// The future that sent it was dropped: it may have been taken before.
const LEFT: u8 = 16;

/// One byte of fates a message.
pub(crate) struct Ledger {
    /// What is told when something is wrong.
    round: String,
    fates: Vec<Vec<AtomicU8>>,
}

/// `(sender, sequence)`, with a destructor that tells.
pub(crate) struct Message {
    pub(crate) sender: usize,
    pub(crate) sequence: usize,
    ledger: Arc<Ledger>,
}

/// A message's entry, for when the message has gone.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    sender: usize,
    sequence: usize,
}

/// How many messages met which fate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    pub(crate) kept: u64,
    pub(crate) left: u64,
    pub(crate) received: u64,
}

impl Ledger {
    pub(crate) fn new(round: String, senders: usize, messages: usize) -> Arc<Self> {
        let fates = (0..senders).map(|_| (0..messages).map(|_| AtomicU8::new(0)).collect()).collect();
        Arc::new(Self { round, fates })
    }

    /// The message of a sender; each is made once.
    pub(crate) fn message(self: &Arc<Self>, sender: usize, sequence: usize) -> (Message, Entry) {
        (Message { sender, sequence, ledger: self.clone() }, Entry { sender, sequence })
    }

    fn mark(&self, entry: Entry, fate: u8) {
        let before = self.fates[entry.sender][entry.sequence].fetch_or(fate, AcqRel);
        if before & fate != 0 {
            self.fail(format_args!("{} twice", Fates(fate)), entry, before);
        }
    }

    pub(crate) fn sent(&self, entry: Entry) {
        self.mark(entry, SENT);
    }

    pub(crate) fn left(&self, entry: Entry) {
        self.mark(entry, LEFT);
    }

    /// Not sent, and gone with its sender's frame.
    pub(crate) fn kept(&self, entry: Entry) {
        self.mark(entry, KEPT);
    }

    /// Ends the process: after a broken rule nothing else is worth knowing.
    pub(crate) fn fail(&self, what: impl fmt::Display, entry: Entry, fates: u8) -> ! {
        eprintln!(
            "\nSTORM: {what}: message {} of sender {}, {}; {}",
            entry.sequence,
            entry.sender,
            Fates(fates),
            self.round
        );
        std::process::abort()
    }

    /// Looks at all messages that were made, when everybody has gone.
    pub(crate) fn check(&self, made: &[usize]) -> Totals {
        let mut totals = Totals::default();
        for (sender, &made) in made.iter().enumerate() {
            for sequence in 0..made {
                let fates = self.fates[sender][sequence].load(Acquire);
                let entry = Entry { sender, sequence };
                if fates & DROPPED == 0 {
                    self.fail("leaked", entry, fates);
                }
                match fates & (SENT | KEPT | LEFT) {
                    SENT if fates & RECEIVED == 0 => self.fail("lost", entry, fates),
                    KEPT if fates & RECEIVED != 0 => self.fail("received though not sent", entry, fates),
                    SENT => totals.sent += 1,
                    KEPT => totals.kept += 1,
                    LEFT => totals.left += 1,
                    _ => self.fail("not exactly one of sent, kept and left", entry, fates),
                }
                totals.received += u64::from(fates & RECEIVED != 0);
            }
        }
        totals
    }
}

impl Message {
    pub(crate) fn entry(&self) -> Entry {
        Entry { sender: self.sender, sequence: self.sequence }
    }

    /// A receive has returned it.
    pub(crate) fn received(self) {
        self.ledger.mark(self.entry(), RECEIVED);
    }

    /// It is its sender's again.
    pub(crate) fn came_back(self) {
        self.ledger.mark(self.entry(), KEPT);
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.ledger.mark(self.entry(), DROPPED);
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.kept += other.kept;
        self.left += other.left;
        self.received += other.received;
    }
}

/// Fates in words.
struct Fates(u8);

impl fmt::Display for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            [(DROPPED, "dropped"), (RECEIVED, "received"), (SENT, "sent"), (KEPT, "kept"), (LEFT, "left")];
        let words: Vec<_> =
            names.iter().filter(|(fate, _)| self.0 & fate != 0).map(|(_, name)| *name).collect();
        f.write_str(&words.join(" and "))
    }
}
