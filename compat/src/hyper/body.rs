//! Bodies in Go style: read through [`std::io::Read`], written through [`std::io::Write`].
//!
//! ```
//! use aqueduct_compat::hyper::body;
//! use std::io::{Read, Write};
//!
//! // What a handler streams ...
//! let streamed = body::stream(|writer| {
//!     for line in 1..=3 {
//!         writeln!(writer, "line {line}")?;
//!     }
//!     Ok(())
//! });
//! // ... and how one reads.
//! let mut text = String::new();
//! body::reader(streamed).read_to_string(&mut text).unwrap();
//! assert_eq!(text, "line 1\nline 2\nline 3\n");
//! ```

use super::BoxError;
use aqueduct::channel::{RecvStream, Sender, bounded};
use aqueduct::{JoinHandle, Wait, go};
use bytes::{Buf, Bytes, BytesMut};
use futures::Stream;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::fmt;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

/// How much a [`BodyWriter`] gathers before it sends, in bytes. A guess: what a socket takes well in one write.
const GATHERED: usize = 16 * 1024;

/// How many gathered pieces wait for the client. A guess: one being written, one ready.
const AHEAD: usize = 2;

/// Reads a body in Go style. For all of it at once, wait for `http_body_util`'s `collect`.
pub fn reader<B>(body: B) -> BodyReader<B>
where
    B: Body + Unpin,
{
    BodyReader { body, data: None, trailers: None }
}

/// A body as [`std::io::Read`]; made by [`reader`].
pub struct BodyReader<B: Body> {
    body: B,
    data: Option<B::Data>,
    trailers: Option<http::HeaderMap>,
}

impl<B: Body> BodyReader<B> {
    /// The trailers, once the end has been read and there were any.
    pub fn trailers(&self) -> Option<&http::HeaderMap> {
        self.trailers.as_ref()
    }
}

/// Waits until something has come. 0: the end.
///
/// # Blocking
/// This coroutine; outside the scheduler, this thread.
///
/// # Cancel safety
/// *Nothing happened*.
///
/// # Errors
/// The body's, as [`io::ErrorKind::Other`]: the peer has gone, or sent what is not HTTP.
impl<B> Read for BodyReader<B>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(data) = self.data.as_mut().filter(|data| data.has_remaining()) {
                let n = data.remaining().min(buf.len());
                data.copy_to_slice(&mut buf[..n]);
                return Ok(n);
            }
            let Some(frame) = self.body.frame().wait() else { return Ok(0) };
            match frame.map_err(io::Error::other)?.into_data() {
                Ok(data) => self.data = Some(data),
                Err(other) => self.trailers = other.into_trailers().ok(),
            }
        }
    }
}

impl<B: Body> fmt::Debug for BodyReader<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyReader")
            .field("at_hand", &self.data.as_ref().map_or(0, Buf::remaining))
            .field("trailers", &self.trailers)
            .finish_non_exhaustive()
    }
}

/// A body that a coroutine writes while it is sent. The coroutine starts at once; when the client goes away it is cancelled.
///
/// An error or a panic of `f` breaks the response off, so that the client can tell it from the end.
pub fn stream<F>(f: F) -> WrittenBody
where
    F: FnOnce(&mut BodyWriter) -> io::Result<()> + Send + 'static,
{
    let (mut writer, mut body) = channel();
    body.task = Some(go(move || match f(&mut writer) {
        Ok(()) => drop(writer.finish()),
        Err(error) => writer.fail(error),
    }));
    body
}

/// A body and its writer, for code that keeps both.
pub fn channel() -> (BodyWriter, WrittenBody) {
    let (pieces, taken) = bounded(AHEAD);
    let end = End::default();
    let writer = BodyWriter { gathered: BytesMut::new(), pieces, end: end.clone() };
    (writer, WrittenBody { pieces: taken.into_stream(), end, task: None })
}

/// How a written body ended, set before its channel is closed.
type End = Arc<Mutex<Option<io::Result<()>>>>;

fn lock(end: &End) -> MutexGuard<'_, Option<io::Result<()>>> {
    end.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a body through [`std::io::Write`]; made by [`stream`] and [`channel`].
///
/// It gathers up to 16 KiB before it sends; [`flush`](Write::flush) sends what there is. Dropped without
/// [`finish`](Self::finish) it breaks the body off.
#[must_use = "dropped without `finish` it breaks the body off"]
pub struct BodyWriter {
    gathered: BytesMut,
    pieces: Sender<Bytes>,
    end: End,
}

impl BodyWriter {
    /// Sends what is gathered, and the end.
    ///
    /// # Blocking
    /// As [`write`](Write::write).
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] when nobody reads any more.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        *lock(&self.end) = Some(Ok(()));
        Ok(())
    }

    /// Breaks the body off with an error.
    pub fn fail(self, error: io::Error) {
        *lock(&self.end) = Some(Err(error));
    }
}

/// Waits while two pieces of 16 KiB are on their way already.
///
/// # Blocking
/// This coroutine; outside the scheduler, this thread.
///
/// # Cancel safety
/// A cancelled `write` or `flush` *may lose data*; but then the body is broken off.
///
/// # Errors
/// [`io::ErrorKind::BrokenPipe`] when nobody reads any more: the client has gone.
impl Write for BodyWriter {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.gathered.len() >= GATHERED {
            self.flush()?;
        }
        let n = buf.len().min(GATHERED - self.gathered.len());
        self.gathered.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = self.gathered.split().freeze();
        self.pieces.send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWriter").field("gathered", &self.gathered.len()).finish_non_exhaustive()
    }
}

/// A body that is written elsewhere; made by [`stream`] and [`channel`].
#[must_use = "a body does nothing until it is sent"]
pub struct WrittenBody {
    pieces: RecvStream<Bytes>,
    end: End,
    task: Option<JoinHandle<()>>,
}

impl Body for WrittenBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(piece) = ready!(Pin::new(&mut self.pieces).poll_next(cx)) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        // The channel is closed: the writer has set the end before, or was dropped without.
        match lock(&self.end).replace(Ok(())) {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => Poll::Ready(Some(Err(broken_off()))),
        }
    }
}

fn broken_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the body's writer was dropped before `finish`")
}

impl Drop for WrittenBody {
    fn drop(&mut self) {
        // Nobody reads any more: what writes for us unwinds from its next wait. One that has ended is not concerned.
        if let Some(task) = &self.task {
            task.cancel();
        }
    }
}

impl fmt::Debug for WrittenBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrittenBody").field("ended", &lock(&self.end).is_some()).finish_non_exhaustive()
    }
}
