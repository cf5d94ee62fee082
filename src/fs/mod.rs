//! Files, without blocking a worker.
//!
//! The system cannot tell when a file can be read: files can only be waited for by a thread. So every operation
//! here runs on the pool of [`blocking`](crate::blocking()), and its caller waits for it like for anything else.
//! The functions and types are thin, and have the shape of their namesakes in [`std::fs`]; what waits has two
//! faces: [`read()`] suspends the calling coroutine (off the workers, blocks the thread), [`read_async`] is a
//! future. [`File`] reads and writes through `std::io`'s traits and through `futures::io`'s.
//!
//! ```
//! use aqueduct::fs;
//!
//! # fn main() -> std::io::Result<()> {
//! # let path = std::env::temp_dir().join(format!("aqueduct-fs-{}", std::process::id()));
//! fs::write(&path, "over")?;
//! assert_eq!(fs::read_to_string(&path)?, "over");
//! fs::remove_file(&path)?;
//! # Ok(())
//! # }
//! ```
//! ```
//! use aqueduct::{Wait, fs};
//!
//! # fn main() -> std::io::Result<()> {
//! async {
//!     let text = fs::read_to_string_async("Cargo.toml").await?;
//!     assert!(text.contains("[package]"));
//!     std::io::Result::Ok(())
//! }
//! .wait()
//! # }
//! ```
//!
//! # Cost
//! Each operation is a visit to another thread, some ten microseconds: read and write large pieces, or put
//! `std::io::BufReader`, `futures::io::BufReader` or their writing counterparts around a [`File`]. A whole
//! algorithm that works on files is best given to [`blocking`](crate::blocking()) at once.
//!
//! # Nothing is lost
//! A write is done when the call returns, or the future is ready: nothing is kept here that a flush would have to
//! bring out. What is given up (a dropped future, a cancelled coroutine) *completes anyway*; [`File`] says what
//! that means for the operations after it.

mod dir;
mod file;
mod functions;
mod open;

pub use dir::{ReadDir, ReadDirStream, read_dir, read_dir_async};
pub use file::File;
pub use functions::*;
pub use open::OpenOptions;
pub use std::fs::{DirEntry, FileType, Metadata, Permissions};
