//! White-box tests.

#[cfg(loom)]
mod loom_monitor;
