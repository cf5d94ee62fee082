//! Input and output beyond sockets: pipes, the standard streams, any pollable descriptor, borrowed buffers.
//!
//! - [`pipe()`], [`PipeReader`], [`PipeWriter`]: pipes, also those of [child processes](crate::process).
//! - [`stdin()`], [`stdout()`], [`stderr()`]: the standard streams, waited for without blocking a worker.
//! - [`Io`] makes any other descriptor that the system can poll (a terminal, an eventfd, an inotify) wait like a
//!   [`TcpStream`](crate::net::TcpStream) does.
//! - [`copy_bidirectional()`] is a proxy's work.
//! - [`buffer()`] lends a large buffer for the time of one message, so that a connection that waits holds
//!   none.
//! - [`Readable`] and [`Writable`] are what `readable()` and `writable()` return on every source here and in
//!   [`net`](crate::net): futures, so that one form serves both worlds.
//!
//! # Buffering, lines, copying
//! All types here and in [`net`](crate::net) and [`fs`](crate::fs) implement the traits of `std::io`, which wait, and
//! of `futures::io`; so what others have made for these serves here, and is not made again:
//!
//! | | Go style | async |
//! |---|---|---|
//! | buffered reading and writing | [`std::io::BufReader`], [`std::io::BufWriter`] | `futures::io::BufReader`, `futures::io::BufWriter` |
//! | lines | [`BufRead::lines`](std::io::BufRead::lines) | `AsyncBufReadExt::lines` |
//! | copying one way | [`std::io::copy`] | `futures::io::copy` |
//! | copying both ways | [`copy_bidirectional()`] | [`copy_bidirectional_async()`] |
//!
//! # How a source is waited for
//! ```text
//! read(&mut buf) ── try the system call ── done ────────────────────────────► Ok(n)
//!                        │ would block
//!                        └── block_on(poll: try, else leave a waker) ── event ─► try again
//! ```
//! Go-style calls (`std::io::Read` and `Write`, `accept`, `peek`) take this road; the futures
//! (`futures::io::AsyncRead` and `AsyncWrite`, `accept_async`, ...) are its lower half. One source may be
//! waited for by any number of tasks and threads, and read and write waiters do not disturb one another.
//!
//! # Invariants
//! - `source-before-descriptor`: whoever owns a descriptor declares its `Source` first, so that the poller
//!   forgets the descriptor before it is closed and its number used again.
//! - `no-replacement`: a descriptor in use is never handed out in a way that lets safe code put another in
//!   its place.

mod any;
mod buffer;
mod copy;
mod pipe;
pub(crate) mod pooled;
mod stdio;
pub(crate) mod waiting;

pub use any::Io;
pub(crate) use any::recv;
pub use buffer::{BUFFER_SIZE, Buffer, buffer};
pub use copy::{copy_bidirectional, copy_bidirectional_async};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
pub use waiting::{Readable, Writable};
