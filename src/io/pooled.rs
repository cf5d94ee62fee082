//! What can only block (files, and standard streams that cannot be polled), on the pool's threads.
//!
//! # States
//! One operation is under way at most. Given up by whoever waits for it (a dropped future, a cancelled
//! coroutine), it goes on; so each operation first deals with what the state tells of an earlier one:
//!
//! | state | a given-up operation has | a read then | a write then | a seek then |
//! |---|---|---|---|---|
//! | `Reading`, `Held` | read bytes that nobody has had | takes them | steps back over them first | counts from before them |
//! | `Writing` | written its bytes | waits for it | that begins with its bytes: has written these; else waits for it | waits for it |
//! | `Seeking` | moved | waits for it | waits for it | to the same place: is that seek; else waits for it |
//!
//! Whoever polls a write a second time (which is how a future waits) cannot be told from one who gave up a write and
//! makes one of the same bytes. For the latter it is as if the first had not happened, which is what giving up
//! means. That the bytes need only begin in the same way is for buffering writers, which may have taken more into
//! their buffer meanwhile.
//!
//! # Invariants
//! - `one-at-a-time`: an operation is started in `Idle` or `Held` only, through `&mut`.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::blocking::{Blocking, blocking};

/// How many bytes an operation moves at most: what a buffer costs for the time of it. A guess.
const PIECE_MAX: usize = 512 * 1024;

pub(crate) struct Pooled<T> {
    inner: Arc<T>,
    state: State,
    /// A buffer for the next operation.
    spare: Vec<u8>,
}

enum State {
    Idle,
    Reading(Blocking<(Vec<u8>, io::Result<usize>)>),
    /// `bytes[taken..]` have been read and not been taken.
    Held {
        bytes: Vec<u8>,
        taken: usize,
    },
    Writing(Blocking<(Vec<u8>, io::Result<()>)>),
    Seeking(SeekFrom, Blocking<io::Result<u64>>),
}

impl<T: Send + Sync + 'static> Pooled<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner: Arc::new(inner), state: State::Idle, spare: Vec::new() }
    }

    pub(crate) fn get_ref(&self) -> &Arc<T> {
        &self.inner
    }

    /// Gives the value up, or the only handle there is to it. Only once it is settled is the position what it seems.
    pub(crate) fn into_inner(self) -> Arc<T> {
        self.inner
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>
    where
        for<'a> &'a T: Read,
    {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match &mut self.state {
                State::Idle => self.start_read(buf.len()),
                State::Held { bytes, taken } => {
                    let n = buf.len().min(bytes.len() - *taken);
                    buf[..n].copy_from_slice(&bytes[*taken..*taken + n]);
                    *taken += n;
                    if *taken == bytes.len() {
                        self.spare = std::mem::take(bytes);
                        self.state = State::Idle;
                    }
                    return Poll::Ready(Ok(n));
                }
                _ => {
                    // Zero is the end: nothing is held then.
                    if let Some(0) = ready!(self.poll_finish(cx))? {
                        return Poll::Ready(Ok(0));
                    }
                }
            }
        }
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>
    where
        for<'a> &'a T: Write + StepBack,
    {
        let piece = &buf[..buf.len().min(PIECE_MAX)];
        if piece.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match &mut self.state {
                State::Idle | State::Held { .. } => self.start_write(piece),
                State::Writing(task) => {
                    let (bytes, result) = ready!(Pin::new(task).poll(cx));
                    let (is_this, written) = (piece.starts_with(&bytes), bytes.len());
                    (self.spare, self.state) = (bytes, State::Idle);
                    // The error of one that was given up is told here as well: nobody else can be told.
                    result?;
                    if is_this {
                        return Poll::Ready(Ok(written));
                    }
                }
                // The error of a read or seek that was given up is nobody's.
                _ => drop(ready!(self.poll_finish(cx))),
            }
        }
    }

    pub(crate) fn poll_seek(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>>
    where
        for<'a> &'a T: Seek,
    {
        loop {
            match &mut self.state {
                State::Idle | State::Held { .. } => self.start_seek(to),
                State::Seeking(earlier, task) => {
                    let result = ready!(Pin::new(task).poll(cx));
                    let is_this = *earlier == to;
                    self.state = State::Idle;
                    if is_this {
                        return Poll::Ready(result);
                    }
                }
                State::Reading(_) => drop(ready!(self.poll_finish(cx))),
                State::Writing(_) => drop(ready!(self.poll_finish(cx))?),
            }
        }
    }

    /// Ready when nothing is under way. Tells the error of a write that was given up.
    pub(crate) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.state {
            State::Idle | State::Held { .. } => Poll::Ready(Ok(())),
            State::Writing(_) => Poll::Ready(ready!(self.poll_finish(cx)).map(drop)),
            State::Reading(_) | State::Seeking(..) => {
                drop(ready!(self.poll_finish(cx)));
                Poll::Ready(Ok(()))
            }
        }
    }

    /// How many bytes have been read and not been taken: by how far the position is ahead.
    pub(crate) fn held(&self) -> usize {
        match &self.state {
            State::Held { bytes, taken } => bytes.len() - taken,
            _ => 0,
        }
    }

    /// Waits for the operation under way. A read returns its length; what it has read is held then.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let finished = match &mut self.state {
            State::Idle | State::Held { .. } => return Poll::Ready(Ok(None)),
            State::Reading(task) => {
                let (mut bytes, read) = ready!(Pin::new(task).poll(cx));
                if let Ok(n @ 1..) = read {
                    bytes.truncate(n);
                    self.state = State::Held { bytes, taken: 0 };
                    return Poll::Ready(Ok(Some(n)));
                }
                self.spare = bytes;
                read.map(Some)
            }
            State::Writing(task) => {
                let (bytes, result) = ready!(Pin::new(task).poll(cx));
                self.spare = bytes;
                result.map(|()| None)
            }
            State::Seeking(_, task) => ready!(Pin::new(task).poll(cx)).map(|_| None),
        };
        self.state = State::Idle;
        Poll::Ready(finished)
    }

    fn start_read(&mut self, wanted: usize)
    where
        for<'a> &'a T: Read,
    {
        let (inner, mut bytes) = (Arc::clone(&self.inner), std::mem::take(&mut self.spare));
        bytes.resize(wanted.min(PIECE_MAX), 0);
        self.state = State::Reading(blocking(move || {
            let read = retry(|| (&*inner).read(&mut bytes));
            (bytes, read)
        }));
    }

    fn start_write(&mut self, piece: &[u8])
    where
        for<'a> &'a T: Write + StepBack,
    {
        let ahead = self.held();
        let (inner, mut bytes) = (Arc::clone(&self.inner), std::mem::take(&mut self.spare));
        bytes.clear();
        bytes.extend_from_slice(piece);
        self.state = State::Writing(blocking(move || {
            let mut inner = &*inner;
            let written = inner.step_back(ahead).and_then(|()| inner.write_all(&bytes));
            let written = written.and_then(|()| inner.flush());
            (bytes, written)
        }));
    }

    fn start_seek(&mut self, to: SeekFrom)
    where
        for<'a> &'a T: Seek,
    {
        let inner = Arc::clone(&self.inner);
        let ahead = self.held() as i64;
        let target = match to {
            SeekFrom::Current(by) => SeekFrom::Current(by.saturating_sub(ahead)),
            other => other,
        };
        self.state = State::Seeking(to, blocking(move || (&*inner).seek(target)));
    }
}

/// Undoing that a read which was given up has moved the position.
pub(crate) trait StepBack {
    fn step_back(&mut self, bytes: usize) -> io::Result<()>;
}

impl StepBack for &std::fs::File {
    fn step_back(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > 0 {
            self.seek(SeekFrom::Current(-(bytes as i64)))?;
        }
        Ok(())
    }
}

/// What is only written to has nothing to undo.
macro_rules! only_written {
    ($($type:ty),*) => {$(
        impl StepBack for &$type {
            fn step_back(&mut self, _bytes: usize) -> io::Result<()> {
                Ok(())
            }
        }
    )*};
}
only_written!(io::Stdout, io::Stderr);

fn retry<R>(mut op: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match op() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl<T> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Idle => "idle",
            State::Reading(_) => "reading",
            State::Held { .. } => "idle, with bytes that a read which was given up has left",
            State::Writing(_) => "writing",
            State::Seeking(..) => "seeking",
        })
    }
}
