//! Runtimes: worker threads, and a runtime on the calling thread.
//!
//! [`run`], [`go`](fn@crate::go) and [`spawn`](crate::spawn) use the *current* runtime: on a worker its own, inside
//! a [`Handle::block_on`] that one, elsewhere the *global* one, which starts when it is first needed and is never shut down.
//!
//! # Map
//! - [`worker`](self) the loop: base and loop coroutines · `ending` a worker's life and end · `home` what belongs to one worker · `record` coroutine records,
//!   their wakers and states · `inbox`, `run_queue` (with `asymmetric`), `ready`, `locked_queue` the queues · `idle`, `sleep`, `linger`,
//!   `sentinel` (with `thread`) falling asleep, searching, waiting awake, watching · `balance` where coroutines start · `trim` memory of idle stacks · `memory` memory of tasks
//! - `scheduler` what the workers share, spawning, scheduling · `registry`, `gate` the live tasks · `current` where we are
//! - `builder`, `handle`, `local`, `shutdown`, `dump`, `report` the public face

mod asymmetric;
mod balance;
pub(crate) mod builder;
pub(crate) mod current;
mod dump;
mod embed;
mod ending;
pub(crate) mod fork;
mod gate;
pub(crate) mod global;
mod handle;
pub(crate) mod home;
mod idle;
mod inbox;
mod linger;
mod local;
mod locked_queue;
pub(crate) mod memory;
mod ready;
pub(crate) mod record;
mod registry;
pub(crate) mod report;
mod run_queue;
pub(crate) mod scheduler;
mod sentinel;
mod shutdown;
mod sleep;
mod spawner;
mod thread;
mod trim;
mod worker;

#[cfg(test)]
mod tests;

pub use builder::{Builder, PanicPolicy, WaitsInPoll};
pub use dump::{Dump, TaskInfo};
pub use global::run;
pub use handle::{Handle, Runtime};
pub use local::LocalRuntime;
pub use report::Report;
pub use shutdown::ShutdownReport;

pub(crate) use embed::Outlook;
pub(crate) use home::Home;
pub(crate) use inbox::{Link, LinkKind};
pub(crate) use record::Record;
pub(crate) use scheduler::Scheduler;
