//! tokio: its context for crates that need it, and its io traits both ways.
//!
//! # Its context
//! Crates built on tokio (reqwest, sqlx, redis, tonic) look for its reactor, its timers and its spawner in a thread-local
//! *context*, and panic where there is none: `there is no reactor running, must be called from the context of a Tokio 1.x
//! runtime`. [`in_tokio`](InTokioExt::in_tokio) wraps a future so that each poll of it, and its drop, finds one:
//!
//! ```
//! use aqueduct::prelude::*;
//! use aqueduct_compat::tokio::InTokioExt;
//! use std::time::Duration;
//!
//! aqueduct::run(|| {
//!     async fn nap() {
//!         ::tokio::time::sleep(Duration::from_millis(1)).await;
//!     }
//!     let coroutine = go!(nap().in_tokio().wait()); // Go style
//!     let future = spawn(nap().in_tokio()); //         async
//!     coroutine.join().unwrap();
//!     future.join().unwrap();
//! });
//! ```
//!
//! Wrap the *whole* call, in an async block: `async { client.get(url).send().await }.in_tokio()`, and not
//! `client.get(url).send().in_tokio()`. There `send()` is called first, outside the context, and what it returns is wrapped. Functions
//! that are not `async fn`s may look for the context when they are *called*: `tokio::time::sleep(..)` does, and so does reqwest's
//! `send()` where a timeout is set; the wrapper comes too late for them, and they panic.
//!
//! ```
//! use aqueduct::Wait;
//! use aqueduct_compat::tokio::InTokioExt;
//! use std::time::Duration;
//!
//! let late = std::panic::catch_unwind(|| ::tokio::time::sleep(Duration::ZERO).in_tokio().wait());
//! assert!(late.is_err());
//! async { ::tokio::time::sleep(Duration::ZERO).await }.in_tokio().wait();
//! ```
//!
//! [`enter`] is the same for a closure: for a stretch of Go-style code, and for constructors that want the context.
//!
//! Behind it is one tokio runtime of the current-thread kind on one background thread, started when it is first needed. It
//! drives sockets and timers, and runs what is given to `tokio::spawn`; the wrapped future itself is polled where it always
//! was. On that thread a Go-style wait blocks everybody: inside `tokio::spawn`, await.
//!
//! # Waiting in the context
//! tokio's guards panic when they are not dropped in the order of a stack, and a wait in one task lets other tasks run on the
//! thread. So the context is left before each wait inside it and entered again after, by a [hook](aqueduct::wait::hook). A
//! guard of `tokio::runtime::Handle::enter` that you hold yourself across a wait is not: use [`enter`].
//!
//! # Its io traits
//! Our sockets have the traits of `futures::io`; [`FuturesAsyncReadCompatExt::compat`] and
//! [`FuturesAsyncWriteCompatExt::compat_write`] give them tokio's, and [`TokioAsyncReadCompatExt::compat`] and
//! [`TokioAsyncWriteCompatExt::compat_write`] go the other way. They are those of `tokio-util`, re-exported.
//!
//! ```
//! use aqueduct::{Wait, net::{TcpListener, TcpStream}};
//! use aqueduct_compat::tokio::FuturesAsyncReadCompatExt;
//! use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?.compat();
//! let mut server = listener.accept()?.0.compat();
//! async {
//!     client.write_all(b"over").await?;
//!     client.shutdown().await?;
//!     let mut text = String::new();
//!     server.read_to_string(&mut text).await?;
//!     assert_eq!(text, "over");
//!     std::io::Result::Ok(())
//! }
//! .wait()
//! # }
//! ```
//!
//! # From a tokio program
//! Nothing is needed: channels, join handles and timers of aqueduct are futures and may be awaited on any executor;
//! [`aqueduct::spawn`] and [`aqueduct::go`](fn@aqueduct::go) start tasks on aqueduct's global runtime. Go-style calls block a
//! thread of tokio's: make them under `tokio::task::spawn_blocking`, or in [`aqueduct::go`](fn@aqueduct::go) and await its handle.

mod background;
mod context;

pub use background::{handle, try_handle};
pub use context::{InTokio, InTokioExt, enter, with_context};
pub use tokio_util::compat::{
    Compat, FuturesAsyncReadCompatExt, FuturesAsyncWriteCompatExt, TokioAsyncReadCompatExt,
    TokioAsyncWriteCompatExt,
};
