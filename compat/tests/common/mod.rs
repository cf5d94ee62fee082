//! What the core's integration tests share, and what only these tests need: readings of our descriptors, raw peers.
#![allow(dead_code, unused_imports, reason = "each test crate uses its own share")]

#[path = "../../../tests/common/mod.rs"]
mod shared;

pub(crate) use shared::*;
