//! What is in a folder.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::fs::DirEntry;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use crate::blocking::{Blocking, blocking};
use crate::wait::block_on;

/// Entries taken on one visit to the pool. A guess: what the system hands out in one call or two.
const BATCH: usize = 256;

/// What is in a folder, in the system's order: an iterator.
///
/// # Blocking
/// This coroutine; outside the scheduler, this thread.
///
/// # Errors
/// Those of [`std::fs::read_dir`].
///
/// # Examples
/// ```
/// let mut names = Vec::new();
/// for entry in aqueduct::fs::read_dir("src")? {
///     names.push(entry?.file_name());
/// }
/// assert!(names.iter().any(|name| name == "lib.rs"));
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    Ok(ReadDir { entries: block_on(open(path))? })
}

/// What is in a folder, in the system's order: a stream.
///
/// # Cancel safety
/// Dropped: *nothing happened*.
///
/// # Errors
/// Those of [`std::fs::read_dir`].
///
/// # Examples
/// ```
/// use aqueduct::{Wait, fs};
/// use futures::TryStreamExt;
///
/// async {
///     let entries: Vec<_> = fs::read_dir_async("src").await?.try_collect().await?;
///     assert!(entries.iter().any(|entry| entry.file_name() == "lib.rs"));
///     std::io::Result::Ok(())
/// }
/// .wait()?;
/// # std::io::Result::Ok(())
/// ```
pub async fn read_dir_async<P: AsRef<Path>>(path: P) -> io::Result<ReadDirStream> {
    Ok(ReadDirStream { entries: open(path).await? })
}

async fn open<P: AsRef<Path>>(path: P) -> io::Result<Entries> {
    let path_buf = path.as_ref().to_path_buf();
    drop(path);
    let dir = blocking(move || std::fs::read_dir(path_buf)).await?;
    Ok(Entries { ready: VecDeque::new(), state: State::Idle(dir) })
}

/// The entries of a folder; made by [`read_dir`]. Each step may wait.
///
/// A step that is given up (a dropped future, a cancelled coroutine) has lost nothing: the next takes its entry.
///
/// An entry's own methods are `std`'s: `file_name`, `path` and mostly `file_type` know their answer; for what
/// `metadata` says ask [`symlink_metadata`](super::symlink_metadata), which blocks no worker.
#[derive(Debug)]
pub struct ReadDir {
    entries: Entries,
}

/// The entries of a folder; made by [`read_dir_async`]. See [`ReadDir`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ReadDirStream {
    entries: Entries,
}

struct Entries {
    ready: VecDeque<io::Result<DirEntry>>,
    state: State,
}

enum State {
    Idle(std::fs::ReadDir),
    Reading(Blocking<(Option<std::fs::ReadDir>, VecDeque<io::Result<DirEntry>>)>),
    Ended,
}

impl Entries {
    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<DirEntry>>> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Poll::Ready(Some(entry));
            }
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(dir) => self.state = State::Reading(blocking(move || take_batch(dir))),
                State::Reading(mut task) => match Pin::new(&mut task).poll(cx) {
                    Poll::Pending => {
                        self.state = State::Reading(task);
                        return Poll::Pending;
                    }
                    Poll::Ready((dir, entries)) => {
                        self.ready = entries;
                        self.state = dir.map_or(State::Ended, State::Idle);
                    }
                },
            }
        }
    }
}

/// No folder is returned after its end, or after an error.
fn take_batch(mut dir: std::fs::ReadDir) -> (Option<std::fs::ReadDir>, VecDeque<io::Result<DirEntry>>) {
    let mut entries = VecDeque::new();
    while entries.len() < BATCH {
        match dir.next() {
            None => return (None, entries),
            Some(entry) => {
                let failed = entry.is_err();
                entries.push_back(entry);
                if failed {
                    return (None, entries);
                }
            }
        }
    }
    (Some(dir), entries)
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        block_on(std::future::poll_fn(|cx| self.entries.poll_entry(cx)))
    }
}

impl Stream for ReadDirStream {
    type Item = io::Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.entries.poll_entry(cx)
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Idle(_) => "idle",
            State::Reading(_) => "reading",
            State::Ended => "ended",
        };
        f.debug_struct("Entries").field("ready", &self.ready.len()).field("state", &state).finish()
    }
}
