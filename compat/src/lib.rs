//! Adapters between [`aqueduct`] and its neighbours (tokio, hyper, tower, tracing), built on its public API alone.
//!
//! Nothing is here yet: the package exists so that the adapters' dependencies never reach the core crate.
#![forbid(unsafe_code)]
