//! Copying both ways at once.
#![forbid(unsafe_code)]

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

use super::{Buffer, buffer};
use crate::wait::block_on;

/// Copies from `a` to `b` and from `b` to `a` until both have ended, as a proxy does. Returns how many bytes went
/// from `a` to `b`, and from `b` to `a`.
///
/// When one side ends, the other's sending half is closed once everything has been passed on, and the opposite
/// direction goes on. A direction borrows a [buffer](crate::io::buffer()) only while it has something to pass on:
/// idle proxies hold none. For one direction use [`std::io::copy`], or `futures::io::copy`.
///
/// Both sides are given in their `futures::io` form, which all types of [`net`](crate::net) have: pass `&stream`.
///
/// # Blocking
/// This coroutine; outside the scheduler, this thread.
///
/// # Errors
/// The first one of either side; both directions have stopped then.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use aqueduct::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (mut client, left) = UnixStream::pair()?;
/// let (right, mut server) = UnixStream::pair()?;
/// let proxy = aqueduct::go(move || aqueduct::io::copy_bidirectional(&left, &right));
///
/// client.write_all(b"question")?;
/// client.shutdown(std::net::Shutdown::Write)?;
/// let mut text = String::new();
/// server.read_to_string(&mut text)?;
/// server.write_all(b"answer")?;
/// drop(server);
/// client.read_to_string(&mut text)?;
/// assert_eq!(text, "questionanswer");
/// assert_eq!(proxy.join().unwrap()?, (8, 6));
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn copy_bidirectional<A, B>(a: A, b: B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    block_on(copy_bidirectional_async(a, b))
}

/// The future form of [`copy_bidirectional`].
///
/// # Cancel safety
/// Dropped: *may lose data*, namely what has been read from one side and not yet been taken by the other.
///
/// # Errors
/// As [`copy_bidirectional`].
pub async fn copy_bidirectional_async<A, B>(mut a: A, mut b: B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut forth, mut back) = (Direction::default(), Direction::default());
    poll_fn(|cx| {
        // Both are polled each time, so that each leaves its waker.
        let forth = forth.poll(cx, &mut a, &mut b)?;
        let back = back.poll(cx, &mut b, &mut a)?;
        match (forth, back) {
            (Poll::Ready(forth), Poll::Ready(back)) => Poll::Ready(Ok((forth, back))),
            _ => Poll::Pending,
        }
    })
    .await
}

/// One of the two directions.
#[derive(Default)]
struct Direction {
    /// What is to be passed on, `taken` of it already. `None`: nothing.
    held: Option<Held>,
    passed: u64,
    /// Written since the last flush.
    unflushed: bool,
    state: State,
}

struct Held {
    buffer: Buffer,
    taken: usize,
    len: usize,
}

#[derive(Default)]
enum State {
    #[default]
    Copying,
    /// The reader has ended; the writer is to be told.
    Closing,
    Done,
}

impl Direction {
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, reader: &mut R, writer: &mut W) -> io::Result<Poll<u64>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        match self.poll_to_end(cx, reader, writer) {
            Poll::Ready(done) => done.map(|()| Poll::Ready(self.passed)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn poll_to_end<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while let State::Copying = self.state {
            ready!(self.poll_pass_on(cx, writer))?;
            match self.poll_fill(cx, reader)? {
                Poll::Ready(0) => self.state = State::Closing,
                Poll::Ready(_) => {}
                Poll::Pending => {
                    // Nothing more for now: what the writer buffers must not wait for what comes next.
                    if self.unflushed {
                        ready!(Pin::new(writer).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        if let State::Closing = self.state {
            ready!(Pin::new(writer).poll_close(cx))?;
            self.state = State::Done;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads something. The buffer goes back if there is nothing yet.
    fn poll_fill<R>(&mut self, cx: &mut Context<'_>, reader: &mut R) -> io::Result<Poll<usize>>
    where
        R: AsyncRead + Unpin,
    {
        let mut buffer = buffer();
        match Pin::new(reader).poll_read(cx, &mut buffer) {
            Poll::Ready(read) => {
                let len = read?;
                if len > 0 {
                    self.held = Some(Held { buffer, taken: 0, len });
                }
                Ok(Poll::Ready(len))
            }
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Writes what is held.
    fn poll_pass_on<W>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while let Some(held) = &mut self.held {
            let written = ready!(Pin::new(&mut *writer).poll_write(cx, &held.buffer[held.taken..held.len]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            held.taken += written;
            self.passed += written as u64;
            self.unflushed = true;
            if held.taken == held.len {
                self.held = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}
