//! Connecting.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{PAUSE_FIRST, PAUSE_MAX, UnixStream};
use crate::net::pause::Pause;

/// The future of [`UnixStream::connect_async`] and [`connect_addr_async`](UnixStream::connect_addr_async).
#[must_use = "futures do nothing unless awaited, or waited for with `.wait()`"]
pub struct UnixConnect {
    /// Where to; or why not, until that is told.
    address: Result<SockAddr, Option<io::Error>>,
    /// A connection under way. Linux knows none: there it is made at once or not at all.
    attempt: Option<UnixStream>,
    pause: Option<Pause>,
}

impl UnixConnect {
    pub(super) fn new(address: io::Result<SockAddr>) -> Self {
        Self { address: address.map_err(Some), attempt: None, pause: None }
    }
}

impl Future for UnixConnect {
    type Output = io::Result<UnixStream>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let address = match &mut this.address {
            Ok(address) => address,
            Err(error) => return Poll::Ready(Err(error.take().expect("polled after it was ready"))),
        };
        loop {
            if let Some(stream) = &this.attempt {
                ready!(stream.poll_connected(cx))?;
                return Poll::Ready(Ok(this.attempt.take().expect("seen above")));
            }
            if let Some(pause) = &mut this.pause {
                ready!(pause.poll(cx));
            }
            match start(address) {
                Ok(stream) => this.attempt = Some(stream),
                // The listener's queue is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Pause::start(&mut this.pause, PAUSE_FIRST, PAUSE_MAX);
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn start(address: &SockAddr) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        done => done?,
    }
    Ok(UnixStream::from_nonblocking(socket.into()))
}

impl fmt::Debug for UnixConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixConnect")
            .field("address", &self.address.as_ref().ok().and_then(|address| address.as_unix()))
            .field("pause", &self.pause)
            .finish_non_exhaustive()
    }
}
