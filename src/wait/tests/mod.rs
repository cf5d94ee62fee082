//! White-box tests.

mod loom_claim;
mod loom_waiter;
