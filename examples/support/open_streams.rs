//! The connections a server has open, so that it can end them without cutting an echo short.

use std::net::Shutdown;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aqueduct::net::TcpStream;
use aqueduct::time;

/// By descriptor, which is the smallest table there is: descriptors are small numbers.
#[derive(Clone)]
pub(crate) struct OpenStreams(Arc<Mutex<Vec<Option<TcpStream>>>>);

/// A connection among the open ones; dropping it takes it out.
pub(crate) struct Open {
    streams: OpenStreams,
    stream: TcpStream,
}

impl OpenStreams {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn add(&self, stream: TcpStream) -> Open {
        let handle = stream.try_clone().expect("a handle costs no descriptor");
        let mut open = self.0.lock().unwrap();
        let index = stream.as_raw_fd() as usize;
        if open.len() <= index {
            open.resize_with(index + 1, || None);
        }
        open[index] = Some(handle);
        drop(open);
        Open { streams: self.clone(), stream }
    }

    /// Ends the receiving half of every connection: what has arrived is still echoed, then the handlers see
    /// the end. Those who have not finished by the deadline are cut off.
    pub(crate) fn finish(&self, deadline: Instant) {
        for stream in self.0.lock().unwrap().iter().flatten() {
            let _ = stream.shutdown(Shutdown::Read);
        }
        while self.0.lock().unwrap().iter().any(Option::is_some) && Instant::now() < deadline {
            time::sleep(Duration::from_millis(1));
        }
        for stream in self.0.lock().unwrap().iter().flatten() {
            stream.close();
        }
    }
}

impl Deref for Open {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // The stream itself goes a moment later; so its number cannot be another's yet.
        let handle = self.streams.0.lock().unwrap()[self.stream.as_raw_fd() as usize].take();
        drop(handle);
    }
}
