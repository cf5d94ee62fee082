//! The parts of the channel storm: the messages and their ledger, the parties, a round of them.

pub(crate) mod ledger;
pub(crate) mod party;
pub(crate) mod receive;
pub(crate) mod round;
pub(crate) mod send;
