//! Waiting for SIGINT or SIGTERM like for any other message.

use std::io;

use aqueduct::channel::Receiver;
use aqueduct::signal::{self, SIGINT, SIGTERM, Signal};

pub(crate) struct StopSignals(Receiver<Signal>);

/// From now on the two signals end `wait` rather than the process.
pub(crate) fn on_stop() -> io::Result<StopSignals> {
    signal::notify(&[SIGINT, SIGTERM]).map(StopSignals)
}

impl StopSignals {
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.0.recv().map(drop).map_err(io::Error::other)
    }
}
