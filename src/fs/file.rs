//! An open file.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs::{Metadata, Permissions};
use std::future::poll_fn;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncSeek, AsyncWrite};

use super::OpenOptions;
use crate::blocking::blocking;
use crate::io::pooled::Pooled;
use crate::wait::block_on;

/// An open file, shaped like [`std::fs::File`].
///
/// [`Read`], [`Write`] and [`Seek`] suspend the calling coroutine (outside the scheduler they block the thread);
/// [`AsyncRead`], [`AsyncWrite`] and [`AsyncSeek`] are the same as futures. A call moves 512 KiB at most.
///
/// # Flushing
/// There is nothing to flush: a write that has returned, or whose future is ready, is with the system. To have it
/// on the disk, [`sync_all`](File::sync_all).
///
/// # Cancel safety
/// What is given up (a dropped future, a cancelled coroutine) *completes anyway*, and no operation on this `File`
/// overtakes it. Nothing that a given-up read has read is lost: the next read returns it, and writes and seeks
/// count from where it began. A given-up write is written (as far as the disk has room; its error is told to the
/// next write, flush or sync), also when the file is dropped; only a process that ends meanwhile may cut it off.
/// When a write of the very same bytes follows (or of these and more), they are written once.
///
/// # Examples
/// ```
/// use std::io::{Read, Seek, Write};
/// use aqueduct::fs::{self, File};
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("aqueduct-file-{}", std::process::id()));
/// let mut file = File::create(&path)?;
/// file.write_all(b"over")?;
///
/// let mut text = String::new();
/// File::open(&path)?.read_to_string(&mut text)?;
/// assert_eq!(text, "over");
/// # fs::remove_file(&path)
/// # }
/// ```
/// ```
/// use aqueduct::{Wait, fs::File};
/// use futures::io::{AsyncBufReadExt, BufReader};
/// use futures::TryStreamExt;
///
/// # fn main() -> std::io::Result<()> {
/// async {
///     let file = File::open_async("Cargo.toml").await?;
///     let lines: Vec<_> = BufReader::new(file).lines().try_collect().await?;
///     assert!(lines.iter().any(|line| line == "[package]"));
///     std::io::Result::Ok(())
/// }
/// .wait()
/// # }
/// ```
pub struct File {
    pooled: Pooled<std::fs::File>,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Blocking
    /// As [`OpenOptions::open`], which see for everything else.
    ///
    /// # Errors
    /// Those of [`std::fs::File::open`].
    #[track_caller]
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        block_on(Self::open_async(path))
    }

    /// The future form of [`open`](File::open).
    ///
    /// # Cancel safety
    /// Dropped once polled: *completes anyway*, and the file is closed.
    ///
    /// # Errors
    /// Those of [`std::fs::File::open`].
    pub async fn open_async<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        OpenOptions::new().read(true).open_async(path).await
    }

    /// Makes a file, or empties the one that is there, for writing.
    ///
    /// # Blocking
    /// As [`OpenOptions::open`], which see for everything else.
    ///
    /// # Errors
    /// Those of [`std::fs::File::create`].
    #[track_caller]
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        block_on(Self::create_async(path))
    }

    /// The future form of [`create`](File::create).
    ///
    /// # Cancel safety
    /// Dropped once polled: *completes anyway*, and the file is closed.
    ///
    /// # Errors
    /// Those of [`std::fs::File::create`].
    pub async fn create_async<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(true).open_async(path).await
    }

    /// Has the disk hold what has been written, and what belongs to it (`fsync`).
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// The system's; that of a write that was given up.
    #[track_caller]
    pub fn sync_all(&mut self) -> io::Result<()> {
        block_on(self.sync_all_async())
    }

    /// The future form of [`sync_all`](File::sync_all).
    ///
    /// # Cancel safety
    /// Dropped once polled: *completes anyway*.
    ///
    /// # Errors
    /// Those of [`sync_all`](File::sync_all).
    pub async fn sync_all_async(&mut self) -> io::Result<()> {
        self.settled(std::fs::File::sync_all).await
    }

    /// As [`sync_all`](File::sync_all), without what is not needed to read it again (`fdatasync`).
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// Those of [`sync_all`](File::sync_all).
    #[track_caller]
    pub fn sync_data(&mut self) -> io::Result<()> {
        block_on(self.sync_data_async())
    }

    /// The future form of [`sync_data`](File::sync_data).
    ///
    /// # Cancel safety
    /// Dropped once polled: *completes anyway*.
    ///
    /// # Errors
    /// Those of [`sync_all`](File::sync_all).
    pub async fn sync_data_async(&mut self) -> io::Result<()> {
        self.settled(std::fs::File::sync_data).await
    }

    /// Cuts the file to this length, or fills it up with zeros. The position stays.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// The system's; that of a write that was given up.
    #[track_caller]
    pub fn set_len(&mut self, len: u64) -> io::Result<()> {
        block_on(self.set_len_async(len))
    }

    /// The future form of [`set_len`](File::set_len).
    ///
    /// # Cancel safety
    /// Dropped once polled: *completes anyway*.
    ///
    /// # Errors
    /// Those of [`set_len`](File::set_len).
    pub async fn set_len_async(&mut self, len: u64) -> io::Result<()> {
        self.settled(move |file| file.set_len(len)).await
    }

    /// What the system knows of the file.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// The system's.
    #[track_caller]
    pub fn metadata(&self) -> io::Result<Metadata> {
        block_on(self.metadata_async())
    }

    /// The future form of [`metadata`](File::metadata).
    ///
    /// # Cancel safety
    /// Dropped: *nothing happened*.
    ///
    /// # Errors
    /// The system's.
    pub async fn metadata_async(&self) -> io::Result<Metadata> {
        self.at_any_time(std::fs::File::metadata).await
    }

    /// Sets who may do what with the file.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread.
    ///
    /// # Errors
    /// The system's.
    #[track_caller]
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        block_on(self.set_permissions_async(permissions))
    }

    /// The future form of [`set_permissions`](File::set_permissions).
    ///
    /// # Cancel safety
    /// Dropped once polled: *completes anyway*.
    ///
    /// # Errors
    /// The system's.
    pub async fn set_permissions_async(&self, permissions: Permissions) -> io::Result<()> {
        self.at_any_time(move |file| file.set_permissions(permissions)).await
    }

    /// Gives `std`'s file up, at the position that reads and writes here have reached.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread; until what was given up is done.
    ///
    /// # Errors
    /// That of a write that was given up; the system's.
    #[track_caller]
    pub fn into_std(self) -> io::Result<std::fs::File> {
        block_on(self.into_std_async())
    }

    /// The future form of [`into_std`](File::into_std).
    ///
    /// # Cancel safety
    /// Dropped: the file is closed with it.
    ///
    /// # Errors
    /// Those of [`into_std`](File::into_std).
    pub async fn into_std_async(mut self) -> io::Result<std::fs::File> {
        poll_fn(|cx| self.pooled.poll_settled(cx)).await?;
        if self.pooled.held() > 0 {
            poll_fn(|cx| self.pooled.poll_seek(cx, SeekFrom::Current(0))).await?;
        }
        // A given-up `metadata` may still hold it, for a moment.
        Arc::try_unwrap(self.pooled.into_inner()).or_else(|shared| shared.try_clone())
    }

    /// Runs `op` on the pool, after what is under way.
    async fn settled<R: Send + 'static>(
        &mut self,
        op: impl FnOnce(&std::fs::File) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        poll_fn(|cx| self.pooled.poll_settled(cx)).await?;
        self.at_any_time(op).await
    }

    /// Runs `op` on the pool.
    async fn at_any_time<R: Send + 'static>(
        &self,
        op: impl FnOnce(&std::fs::File) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let file = Arc::clone(self.pooled.get_ref());
        blocking(move || op(&file)).await
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> Self {
        Self { pooled: Pooled::new(file) }
    }
}

/// As [`into_std`](File::into_std): waits.
impl TryFrom<File> for std::fs::File {
    type Error = io::Error;

    #[track_caller]
    fn try_from(file: File) -> io::Result<Self> {
        file.into_std()
    }
}

impl Read for File {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        block_on(poll_fn(|cx| self.pooled.poll_read(cx, buf)))
    }
}

impl Write for File {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        block_on(poll_fn(|cx| self.pooled.poll_write(cx, buf)))
    }

    /// Waits for a write that was given up, if there is one.
    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        block_on(poll_fn(|cx| self.pooled.poll_settled(cx)))
    }
}

impl Seek for File {
    #[track_caller]
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        block_on(poll_fn(|cx| self.pooled.poll_seek(cx, to)))
    }
}

impl AsyncRead for File {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.pooled.poll_read(cx, buf)
    }
}

impl AsyncWrite for File {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.pooled.poll_write(cx, buf)
    }

    /// Waits for a write that was given up, if there is one.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pooled.poll_settled(cx)
    }

    /// Flushes. The file is closed when it is dropped.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl AsyncSeek for File {
    fn poll_seek(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        self.pooled.poll_seek(cx, to)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pooled.get_ref().as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.pooled.get_ref().as_raw_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("fd", &self.as_raw_fd()).field("state", &self.pooled).finish()
    }
}
