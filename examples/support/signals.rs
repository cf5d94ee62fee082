//! Waiting for SIGINT or SIGTERM like for any other input: the signal handler writes a byte into a socket
//! that a coroutine reads.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use aqueduct::io::Io;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

pub(crate) struct StopSignals(Io<UnixStream>);

/// From now on the two signals end `wait` rather than the process.
pub(crate) fn on_stop() -> io::Result<StopSignals> {
    let (reader, writer) = UnixStream::pair()?;
    pipe::register(SIGINT, writer.try_clone()?)?;
    pipe::register(SIGTERM, writer)?;
    Ok(StopSignals(Io::new(reader)?))
}

impl StopSignals {
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.0.read_exact(&mut [0; 1])
    }
}
