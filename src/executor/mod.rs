//! Executors to be driven by hand, with the verbs of `async-executor`.
//!
//! A program on smol's executor moves by changing one import:
//!
//! ```
//! // use async_executor::{Executor, LocalExecutor, Task};
//! use aqueduct::executor::{Executor, LocalExecutor, Task};
//!
//! let executor = Executor::new();
//! let task: Task<u32> = executor.spawn(async { 6 * 7 });
//! assert_eq!(aqueduct::block_on(executor.run(task)), 42);
//! ```
//!
//! # Which one
//!
//! | | threads | tasks | a synchronous wait inside a task stops |
//! |---|---|---|---|
//! | [`Runtime`](crate::Runtime) | its own | `Send + 'static`; futures and coroutines | that task |
//! | [`LocalRuntime`](crate::LocalRuntime) | the one that built it | `'static`; futures and coroutines | that task |
//! | [`Executor`] | whoever drives it, any number | `Send + 'a`; futures | its driver: a thread, or a coroutine |
//! | [`LocalExecutor`] | the one that built it | `'a`; futures | that task; then, with nothing else to do, its driver |
//!
//! # What differs from async-executor
//! - A destructor that panics while its future is dropped ends neither the process nor the driver: the panic is for whoever
//!   awaits the task.
//! - Completion beats cancellation: [`Task::cancel`] gives the output of a task that completed in the poll that was under way.
//! - Dropping an `Executor` returns only after every future has been dropped, also when another thread is about to wake one.
//! - [`Executor::spawn_many`] holds no lock while it calls the iterator.
//! - A [`LocalExecutor`] has a poller of its own, built when it is first used, and does not block on behalf of the others while a
//!   task of its waits synchronously.

mod body;
mod local;
mod relay;
mod shared;
mod sleepers;
mod state;
mod task;
mod ticker;

#[cfg(all(test, loom))]
#[path = "tests/loom_relay.rs"]
mod loom_relay;
#[cfg(all(test, loom))]
#[path = "tests/loom_sleepers.rs"]
mod loom_sleepers;

pub(crate) use local::Borrowers;
pub use local::LocalExecutor;
pub use shared::Executor;
pub use task::{FallibleTask, Task};

/// Stands for `'a` in a type that is invariant in it, and neither owns nor borrows anything.
type Invariant<'a> = fn(std::cell::Cell<&'a ()>) -> std::cell::Cell<&'a ()>;

/// Misuse that must not compile.
///
/// A local executor and its drivers stay on their thread:
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// send(aqueduct::executor::LocalExecutor::new());
/// ```
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let executor = aqueduct::executor::LocalExecutor::new();
/// send(executor.run(async {}));
/// ```
/// A task of a shared executor is `Send`:
/// ```compile_fail,E0277
/// let shared = std::rc::Rc::new(7);
/// aqueduct::executor::Executor::new().spawn(async move { *shared }).detach();
/// ```
/// What a task borrows outlives its executor:
/// ```compile_fail,E0597
/// let executor = aqueduct::executor::Executor::new();
/// let text = String::from("gone first");
/// executor.spawn(async { text.len() }).detach();
/// ```
/// ```compile_fail,E0597
/// let executor = aqueduct::executor::LocalExecutor::new();
/// let text = String::from("gone first");
/// executor.spawn(async { text.len() }).detach();
/// ```
/// And an executor in a `static` takes none that borrows:
/// ```compile_fail,E0597
/// static EXECUTOR: aqueduct::executor::Executor<'static> = aqueduct::executor::Executor::new();
/// let text = String::from("of a frame");
/// EXECUTOR.spawn(async { text.len() }).detach();
/// ```
#[cfg(doctest)]
struct Misuse;
