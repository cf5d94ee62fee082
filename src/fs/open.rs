//! How to open a file.
#![forbid(unsafe_code)]

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::File;
use crate::blocking::blocking;
use crate::wait::block_on;

/// How to open a file, shaped like [`std::fs::OpenOptions`], from and into which it is made.
///
/// # Examples
/// ```
/// use std::io::Write;
/// use aqueduct::fs::{self, OpenOptions};
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("aqueduct-open-{}", std::process::id()));
/// for line in ["one\n", "two\n"] {
///     OpenOptions::new().create(true).append(true).open(&path)?.write_all(line.as_bytes())?;
/// }
/// assert_eq!(fs::read(&path)?, b"one\ntwo\n");
/// # fs::remove_file(&path)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    options: std::fs::OpenOptions,
}

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, $name: bool) -> &mut Self {
            self.options.$name($name);
            self
        }
    )*};
}

impl OpenOptions {
    /// No options: nothing can be opened with them yet.
    #[must_use]
    pub fn new() -> Self {
        Self { options: std::fs::OpenOptions::new() }
    }

    flags! {
        /// Whether it can be read.
        read;
        /// Whether it can be written.
        write;
        /// Whether each write goes to its end.
        append;
        /// Whether it is emptied first.
        truncate;
        /// Whether it is made when it is not there.
        create;
        /// Whether it is made, and must not be there yet.
        create_new;
    }

    /// The permissions of a file that is made, less the process's mask; 0o666 unless said here.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.options.mode(mode);
        self
    }

    /// Further flags of `open`, such as `O_NOFOLLOW`.
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.options.custom_flags(flags);
        self
    }

    /// Opens a file.
    ///
    /// # Blocking
    /// This coroutine; outside the scheduler, this thread. Cancelled, it *completes anyway*, and the file is closed.
    ///
    /// # Errors
    /// Those of [`std::fs::OpenOptions::open`].
    #[track_caller]
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        block_on(self.open_async(path))
    }

    /// The future form of [`open`](OpenOptions::open).
    ///
    /// # Cancel safety
    /// Dropped once polled: *completes anyway*, and the file is closed.
    ///
    /// # Errors
    /// Those of [`std::fs::OpenOptions::open`].
    pub async fn open_async<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let (options, path_buf) = (self.options.clone(), path.as_ref().to_path_buf());
        drop(path);
        Ok(File::from(blocking(move || options.open(path_buf)).await?))
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl From<std::fs::OpenOptions> for OpenOptions {
    fn from(options: std::fs::OpenOptions) -> Self {
        Self { options }
    }
}

impl From<OpenOptions> for std::fs::OpenOptions {
    fn from(options: OpenOptions) -> Self {
        options.options
    }
}
