//! Adapters between [`aqueduct`] and its neighbours, built on its public API alone: their dependencies stay out of the core
//! crate.
//!
//! One feature a neighbour, none of them on by itself:
//!
//! | feature | module | what it is for |
//! |---|---|---|
//! | `tokio` | `tokio` | tokio's io traits both ways; its context for crates that need it (reqwest, sqlx, redis, tonic) |
//! | `hyper` | `hyper` | hyper's runtime traits; a server of HTTP/1 and HTTP/2, with async services and Go-style handlers |
//! | `tower` | `tower` | services of tower on that server |
//! | `axum` | `axum` | routers of axum on that server |
//! | `rustls` | `rustls` | TLS handshakes with a time limit, for async and for blocking streams; the half-close that rustls leaves to you |
//! | `tungstenite` | `tungstenite` | WebSocket handshakes with a time limit, async and blocking |
//! | `redis` | `redis` | the synchronous commands of the `redis` crate over any stream that waits |
//! | `tracing` | `tracing` | spans that follow a coroutine across its waits |
#![forbid(unsafe_code)]

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "rustls")]
pub mod rustls;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "tower")]
pub mod tower;
#[cfg(feature = "tracing")]
pub mod tracing;
#[cfg(feature = "tungstenite")]
pub mod tungstenite;
