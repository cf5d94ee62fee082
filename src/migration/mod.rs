//! Coming from elsewhere: what is called what, and what differs.
//!
//! Each page is a table, theirs on the left and ours on the right, and programs that run.
//!
//! - [`from_go`] goroutines, channels, `select`, `sync`, `context`
//! - [`from_tokio`] tasks, channels, `select!`, time, net, the runtime builder
//! - [`from_smol`] executors, tasks, channels, io
//! - [`from_may`] coroutines, channels, `select!`, scopes
//! - [`from_flume_and_crossbeam`] channels and select

#[doc = include_str!("from_go.md")]
pub mod from_go {}

#[doc = include_str!("from_tokio.md")]
pub mod from_tokio {}

#[doc = include_str!("from_smol.md")]
pub mod from_smol {}

#[doc = include_str!("from_may.md")]
pub mod from_may {}

#[doc = include_str!("from_flume_and_crossbeam.md")]
pub mod from_flume_and_crossbeam {}
