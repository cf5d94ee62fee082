//! The single import: `use aqueduct::prelude::*;`.
//!
//! It brings what Go-style code needs and no trait that clashes: neither `std::io`'s nor `futures::io`'s (both at once would
//! make `read` ambiguous, E0034); import the pair you want.

pub use crate::channel;
pub use crate::runtime::{Handle, LocalRuntime, Runtime, run};
pub use crate::sync::{
    self, Barrier, CancellationToken, Condvar, Lazy, Mutex, Notify, OnceCell, RwLock, Semaphore, SpinLock,
    WaitGroup, atomic,
};
pub use crate::task::{self, JoinError, JoinHandle, spawn, spawn_local};
pub use crate::time;
pub use crate::wait::{self, Wait, block_on, yield_now, yield_now_async};
pub use crate::{generator, queue};
pub use crate::{go, recv, select, select_async, send, task_local};
