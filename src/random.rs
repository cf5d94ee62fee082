//! Random numbers: one module, so that a deterministic runtime can replace them later.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher};

/// A xorshift64* generator: fast, not for secrets.
#[derive(Debug)]
pub(crate) struct Rng(Cell<u64>);

impl Rng {
    /// A generator seeded from the standard library's per-process random hash keys.
    pub(crate) fn new() -> Self {
        let seed = std::hash::RandomState::new().build_hasher().finish();
        Self(Cell::new(seed | 1))
    }

    /// The next 32 random bits.
    pub(crate) fn next_u32(&self) -> u32 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// A number below `bound`, which is not zero (Lemire's multiply-shift; the bias is below `bound / 2^32`).
    pub(crate) fn below(&self, bound: u32) -> u32 {
        ((u64::from(self.next_u32()) * u64::from(bound)) >> 32) as u32
    }
}

/// A number below `bound`, which is not zero, from a generator of this thread's.
pub(crate) fn below(bound: u32) -> u32 {
    thread_local! {
        static RNG: Rng = Rng::new();
    }
    // At the end of the thread, when its locals are gone, any number is random enough.
    RNG.try_with(|rng| rng.below(bound)).unwrap_or(0)
}
