//! Go-style coroutines and `Future`s on **one scheduler and one reactor**.
//!
//! An aqueduct is a bridge that carries a channel. Code in Go style ([`go!`], blocking calls, sockets that are `std::io`)
//! starts and waits for any Rust future; async code awaits coroutines; and a wait never blocks a worker thread.
//!
//! ```
//! use aqueduct::prelude::*;
//!
//! async fn length(page: &str) -> usize {
//!     page.len()
//! }
//!
//! let sum = aqueduct::run(|| {
//!     let coroutine = go!(length("page").wait()); //                  Go style waits for a future
//!     let future = spawn(async move { coroutine.await.unwrap() + 1 }); // a future waits for Go style
//!     future.join().unwrap()
//! });
//! assert_eq!(sum, 5);
//! ```
//!
//! # The one idea
//!
//! A worker thread runs its scheduling loop *inside a coroutine*. Whatever the loop is running, at any depth, may wait:
//! waiting suspends that coroutine, work and all, and the thread carries on in another coroutine. So
//!
//! - there is one kind of task; [`spawn`] polls a future, [`go`](fn@go) calls a closure;
//! - a closure that never waits costs a function call;
//! - waiting is legal everywhere on a worker: in a closure, in an `async fn` that calls a function that waits, in a `Drop`, in
//!   a [`block_on`] inside a `poll` inside a `block_on`;
//! - one function waits, [`block_on`]; in postfix form [`.wait()`](Wait::wait). *`.await` in async code, `.wait()` in Go-style
//!   code.*
//!
//! # Soundness
//!
//! A coroutine that has started never leaves its worker thread, so [`go`](fn@go) is a safe function: its closure must be `Send`, its
//! local variables need not be. Everything another coroutine can do during a wait, a callback could already do by re-entry;
//! the one new thing is that guards may end in an order that is not nested.
//!
//! **The stated exception.** Code that relies on strict nesting of thread-local state *across a wait* is not safe there:
//!
//! | held across a wait | what happens | class |
//! |---|---|---|
//! | `scoped_tls` and other pointers set and restored in a thread-local | a neighbour sees the wrong value, later a dangling one | **unsound** |
//! | a GIL token, JNI frames, C libraries with begin and end bound to the thread | released too early, or twice | **unsound** |
//! | guards that check their order (tokio's `Handle::enter`, `Runtime::block_on`, `futures`' `LocalPool`) | they panic | panics |
//! | a `RefCell` in a thread-local, borrowed | the neighbour's borrow panics | panics |
//! | the panic hook (one that waits) | a neighbour's panic is one inside the hook, for std: **the process aborts** | aborts |
//! | a span guard, an event budget, the lock of standard output | wrong parent, wrong budget, mixed lines | misbehaves |
//! | a lock of `std::sync`, a `Once` or `LazyLock` initialiser | a neighbour on the same worker blocks the thread, and the holder can only go on there: **that worker stops for ever** | deadlocks |
//!
//! Against them: [`wait::forbid`] makes waits panic while a guard lives, [`wait::hook`] carries thread-local state over waits,
//! [`Builder::waits_in_poll`](runtime::Builder::waits_in_poll) reports or refuses waits inside polls, and a worker that stands
//! still is [reported](runtime::Report) by the name of the task that it runs, as long as another worker of the runtime is free to
//! see it: when all stand still, or there is only the one, nobody reports it.
//!
//! # What a wait promises
//!
//! In every combination the wait itself neither panics, nor deadlocks, nor blocks a worker, provided that what it waits for does
//! not need frames suspended in the same task, the same coroutine's stack, or a [`LocalRuntime`] that nobody drives. Where the
//! thread is not ours (plain threads, other executors' threads, thread-local destructors) it blocks that thread.
//!
//! A wait suspends the task it is made in, with everything that is concurrent only within that task; see [`wait`].
//!
//! # Cancellation
//!
//! [`JoinHandle::cancel`] asks a task to end: a future is dropped, a coroutine unwinds from its next wait, running its
//! destructors. Completion beats cancellation; [`task::shield`] holds it off. Locks of `std::sync` held while unwinding are
//! poisoned. A `Drop` may wait while its coroutine unwinds; meanwhile the worker reads as panicking, and a neighbour that begins to
//! wait is cancelled only when that is over. A destructor that panics while its coroutine unwinds aborts the process, as any panic
//! in a destructor during unwinding does: to cancel such a coroutine is to end the program. Under `panic = "abort"` nothing can
//! unwind: cancellation is then seen by futures and unstarted closures only, and a shutdown names what goes on.
//!
//! # Map
//!
//! - [`task`] starting, joining, cancelling · [`wait`] waiting, yielding, hooks · [`runtime`] runtimes and their options
//! - [`channel`] channels · [`select!`], [`select_async!`], [`select`](mod@select) choosing among what may happen
//! - [`sync`] locks and signals · [`generator`] coroutines resumed by hand, iterators made of them
//! - [`net`] TCP, UDP and Unix sockets, and a server for many connections · [`io`] pipes, the standard streams, any other
//!   descriptor, buffers · [`fs`] files · [`time`] sleeping, timeouts
//! - [`process`] child processes · [`signal`] the system's signals on a channel
//! - [`blocking()`] for closures that block a thread
//! - [`executor`] executors driven by hand, with the verbs of `async-executor`
//! - [`migration`] coming from Go, tokio, smol, may, flume, crossbeam
//! - [`prelude`] the single import
//!
//! Inside, arrows point one way: `coroutine` (stacks and switching) ← `runtime` (workers, queues, registry) ← `task`;
//! `reactor` (pollers, sources, timers) ← `net`, `io`, `time` ← `process`, `signal`; `wait` is the only code that parks.
//!
//! # Features
//!
//! `sanitizer`: lets the address sanitizer follow the stack switches; for sanitizer builds only.
//!
//! # Platforms
//!
//! Linux on x86-64 is tested. Other Unix systems are built for by what the dependencies support, and are untested. Windows is
//! not supported.

// The model checks run parts of the crate only.
#![cfg_attr(any(loom, shuttle), allow(dead_code, unused_imports))]

#[cfg(not(unix))]
compile_error!("aqueduct runs on Unix systems only");

mod blocking;
pub mod channel;
mod coroutine;
pub mod executor;
pub mod fs;
pub mod generator;
pub mod io;
pub mod migration;
pub mod net;
pub mod prelude;
mod primitive;
pub mod process;
mod random;
mod reactor;
pub mod runtime;
pub mod select;
pub mod signal;
pub mod sync;
pub mod task;
pub mod time;
pub mod wait;

#[cfg(all(test, any(loom, shuttle)))]
#[path = "tests/model.rs"]
mod model;
/// Concurrent queues that never wait, from the `concurrent-queue` crate.
pub use concurrent_queue as queue;

pub use blocking::{Blocking, blocking};
pub use runtime::{Handle, LocalRuntime, Runtime, run};
pub use task::{JoinError, JoinHandle, go, spawn, spawn_local};
pub use wait::{Wait, block_on, yield_now, yield_now_async};
