//! White-box tests.

#[cfg(loom)]
mod loom_cancel;

#[cfg(loom)]
mod loom_word;
