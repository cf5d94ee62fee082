//! What can only block (files, and standard streams that cannot be polled), on the pool's threads.
//!
//! # States
//! One operation is under way at most. Given up by whoever waits for it (a dropped future, a cancelled
//! coroutine), it goes on; so each operation first deals with what the state tells of an earlier one:
//!
//! | state | a given-up operation has | a read then | a write then | a seek then |
//! |---|---|---|---|---|
//! | `Reading`, `Held` | read bytes that nobody has had | takes them | steps back over them first | counts from before them |
//! | `Writing` | written its bytes | waits for it; the next write is as if there had been no read | that begins with its bytes: has written these; else waits for it | waits for it |
//! | `Seeking` | moved | waits for it | waits for it | to the same place: is that seek; else waits for it |
//!
//! Whoever polls a write a second time (which is how a future waits) cannot be told from one who gave up a write and
//! makes one of the same bytes. For the latter it is as if the first had not happened, which is what giving up
//! means. That the bytes need only begin in the same way is for buffering writers, which may have taken more into
//! their buffer meanwhile.
//!
//! A seek that fails, and a write to what knows no position (a terminal, a named pipe), leave what is held where it is.
//!
//! Two halves of one value may wait at once, in different tasks, for the one operation under way: whoever finds it ready, or is
//! woken by it, wakes the others (`Waiting`). A read that finds a write ready leaves word of it for the writer (`written`), who would
//! write the same again.
//!
//! # Invariants
//! - `one-at-a-time`: an operation is started in `Idle` or `Held` only, through `&mut`.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use crate::blocking::{Blocking, blocking};
use crate::primitive::{Mutex, contain_panic, lock, wake_all};

/// How many bytes an operation moves at most: what a buffer costs for the time of it. A guess.
const PIECE_MAX: usize = 512 * 1024;

pub(crate) struct Pooled<T> {
    inner: Arc<T>,
    state: State,
    /// A buffer for the next operation.
    spare: Vec<u8>,
    /// What a write has written whose end a read has waited for: the writer is yet to be told.
    written: Option<Vec<u8>>,
    waiting: Arc<Waiting>,
}

/// Who waits for the operation under way, by what they want to do.
#[derive(Default)]
struct Waiting([Mutex<Option<Waker>>; 3]);

/// What a waiter wants to do: an index of [`Waiting`].
#[derive(Clone, Copy)]
enum Wish {
    Read,
    Write,
    Seek,
}

impl Waiting {
    fn enrol(&self, wish: Wish, waker: &Waker) {
        let waker = waker.clone();
        // Bound to a name: dropped after unlocking.
        let _before = lock(&self.0[wish as usize]).replace(waker);
    }

    fn wake(&self) {
        wake_all(self.0.iter().filter_map(|place| lock(place).take()));
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        Waiting::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Waiting::wake(self);
    }
}

/// Waits for an operation. Ready, it is whoever polled that goes on; the others are woken to look again.
fn poll_task<R>(task: &mut Blocking<R>, waiting: &Arc<Waiting>, wish: Wish, cx: &mut Context<'_>) -> Poll<R> {
    waiting.enrol(wish, cx.waker());
    let done = ready!(Pin::new(task).poll(&mut Context::from_waker(&Waker::from(Arc::clone(waiting)))));
    // One's own is not needed.
    drop(lock(&waiting.0[wish as usize]).take());
    // A panic of somebody else's waker must not cost what has been read or written.
    contain_panic(|| Waiting::wake(waiting));
    Poll::Ready(done)
}

enum State {
    Idle,
    Reading(Blocking<(Vec<u8>, io::Result<usize>)>),
    /// `bytes[taken..]` have been read and not been taken.
    Held(Held),
    /// With what was held, in case that the position cannot be moved back.
    Writing(Held, Blocking<Written>),
    /// With what was held, in case that it fails.
    Seeking(SeekFrom, Held, Blocking<io::Result<u64>>),
}

/// `bytes[taken..]`.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    taken: usize,
}

struct Written {
    bytes: Vec<u8>,
    /// Whether the position was moved back over what was held.
    stepped_back: bool,
    result: io::Result<()>,
}

impl Held {
    fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// The state in which nothing else is under way.
    fn into_state(self) -> State {
        if self.len() > 0 { State::Held(self) } else { State::Idle }
    }
}

impl<T: Send + Sync + 'static> Pooled<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self {
            inner: Arc::new(inner),
            state: State::Idle,
            spare: Vec::new(),
            written: None,
            waiting: Arc::default(),
        }
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
                State::Held(Held { bytes, taken }) => {
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
                    if let Some(0) = ready!(self.poll_finish(Wish::Read, cx))? {
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
        if let Some(bytes) = self.written.take() {
            let (is_this, written) = (piece.starts_with(&bytes), bytes.len());
            self.spare = bytes;
            if is_this {
                return Poll::Ready(Ok(written));
            }
        }
        loop {
            match &mut self.state {
                State::Idle | State::Held(_) => self.start_write(piece),
                State::Writing(_, task) => {
                    let done = ready!(poll_task(task, &self.waiting, Wish::Write, cx));
                    let (is_this, written) = (piece.starts_with(&done.bytes), done.bytes.len());
                    let result = self.end_write(done);
                    // The error of one that was given up is told here as well: nobody else can be told.
                    result?;
                    if is_this {
                        return Poll::Ready(Ok(written));
                    }
                }
                // The error of a read or seek that was given up is nobody's.
                _ => drop(ready!(self.poll_finish(Wish::Write, cx))),
            }
        }
    }

    pub(crate) fn poll_seek(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>>
    where
        for<'a> &'a T: Seek,
    {
        loop {
            match &mut self.state {
                State::Idle | State::Held(_) => self.start_seek(to),
                State::Seeking(earlier, _, task) => {
                    let result = ready!(poll_task(task, &self.waiting, Wish::Seek, cx));
                    let is_this = *earlier == to;
                    self.end_seek(&result);
                    if is_this {
                        return Poll::Ready(result);
                    }
                }
                State::Reading(_) => drop(ready!(self.poll_finish(Wish::Seek, cx))),
                State::Writing(..) => drop(ready!(self.poll_finish(Wish::Seek, cx))?),
            }
        }
    }

    /// Ready when nothing is under way. Tells the error of a write that was given up.
    pub(crate) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.written = None;
        match &self.state {
            State::Idle | State::Held(_) => Poll::Ready(Ok(())),
            State::Writing(..) => Poll::Ready(ready!(self.poll_finish(Wish::Write, cx)).map(drop)),
            State::Reading(_) | State::Seeking(..) => {
                drop(ready!(self.poll_finish(Wish::Write, cx)));
                Poll::Ready(Ok(()))
            }
        }
    }

    /// How many bytes have been read and not been taken: by how far the position is ahead.
    pub(crate) fn held(&self) -> usize {
        match &self.state {
            State::Held(held) => held.len(),
            _ => 0,
        }
    }

    /// Waits for the operation under way. A read returns its length; what it has read is held then.
    fn poll_finish(&mut self, wish: Wish, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let waiting = &self.waiting;
        match &mut self.state {
            State::Idle | State::Held(_) => Poll::Ready(Ok(None)),
            State::Reading(task) => {
                let (mut bytes, read) = ready!(poll_task(task, waiting, wish, cx));
                if let Ok(n @ 1..) = read {
                    bytes.truncate(n);
                    self.state = State::Held(Held { bytes, taken: 0 });
                    return Poll::Ready(Ok(Some(n)));
                }
                (self.spare, self.state) = (bytes, State::Idle);
                Poll::Ready(read.map(Some))
            }
            State::Writing(_, task) => {
                let done = ready!(poll_task(task, waiting, wish, cx));
                self.end_write(done)?;
                if matches!(wish, Wish::Read) {
                    self.written = Some(std::mem::take(&mut self.spare));
                }
                Poll::Ready(Ok(None))
            }
            State::Seeking(_, _, task) => {
                let result = ready!(poll_task(task, waiting, wish, cx));
                self.end_seek(&result);
                Poll::Ready(result.map(|_| None))
            }
        }
    }

    /// What was held is no more, unless the position could not be moved back over it.
    fn end_write(&mut self, done: Written) -> io::Result<()> {
        if let State::Writing(held, _) = std::mem::replace(&mut self.state, State::Idle)
            && !done.stepped_back
        {
            self.state = held.into_state();
        }
        self.spare = done.bytes;
        done.result
    }

    /// What was held is no more, unless the position is where it was.
    fn end_seek(&mut self, result: &io::Result<u64>) {
        if let State::Seeking(_, held, _) = std::mem::replace(&mut self.state, State::Idle)
            && result.is_err()
        {
            self.state = held.into_state();
        }
    }

    /// What is held, to be kept with the next operation.
    fn take_held(&mut self) -> Held {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Held(held) => held,
            _ => Held::default(),
        }
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
        let held = self.take_held();
        let ahead = held.len();
        let (inner, mut bytes) = (Arc::clone(&self.inner), std::mem::take(&mut self.spare));
        bytes.clear();
        bytes.extend_from_slice(piece);
        let task = blocking(move || {
            let mut inner = &*inner;
            let stepped_back = inner.step_back(ahead);
            let (stepped_back, may_write) = (matches!(stepped_back, Ok(true)), stepped_back.map(drop));
            let written = may_write.and_then(|()| inner.write_all(&bytes));
            let result = written.and_then(|()| inner.flush());
            Written { bytes, stepped_back, result }
        });
        self.state = State::Writing(held, task);
    }

    fn start_seek(&mut self, to: SeekFrom)
    where
        for<'a> &'a T: Seek,
    {
        self.written = None;
        let inner = Arc::clone(&self.inner);
        let held = self.take_held();
        let ahead = held.len() as i64;
        let target = match to {
            SeekFrom::Current(by) => SeekFrom::Current(by.saturating_sub(ahead)),
            other => other,
        };
        self.state = State::Seeking(to, held, blocking(move || (&*inner).seek(target)));
    }
}

/// Undoing that a read which was given up has moved the position.
pub(crate) trait StepBack {
    /// False: there is no position, and what was read cannot be put back.
    fn step_back(&mut self, bytes: usize) -> io::Result<bool>;
}

impl StepBack for &std::fs::File {
    fn step_back(&mut self, bytes: usize) -> io::Result<bool> {
        if bytes == 0 {
            return Ok(true);
        }
        match self.seek(SeekFrom::Current(-(bytes as i64))) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotSeekable => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What is only written to has nothing to undo.
macro_rules! only_written {
    ($($type:ty),*) => {$(
        impl StepBack for &$type {
            fn step_back(&mut self, _bytes: usize) -> io::Result<bool> {
                Ok(true)
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
            State::Held(_) => "idle, with bytes that a read which was given up has left",
            State::Writing(..) => "writing",
            State::Seeking(..) => "seeking",
        })
    }
}
