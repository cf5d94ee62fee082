//! The system's event queue behind six verbs: `add`, `arm`, `delete`, `wait`, `notify`, `notify_after`.
//!
//! `epoll.rs` is Linux; `portable.rs` is every other Unix, and Linux too under `--cfg
//! aqueduct_portable_poller`, so that it is tested where we build. The two differ in how interest lives:
//!
//! | | epoll | portable |
//! |---|---|---|
//! | mode | edge, both directions, registered once | oneshot, armed again for each wait |
//! | `arm` | nothing to do | one `modify` |
//! | end of stream reported (`tail`) | yes: RDHUP, HUP, ERR, PRI | unknown, so always said to be |
//!
//! # Invariants
//! - `delete-before-close`: a descriptor leaves the poller before it is closed. A duplicate of it elsewhere
//!   would keep the kernel's entry, and its events, alive otherwise. [`Source`](super::source::Source)
//!   upholds it in its `drop`.

use std::fmt;

#[cfg(all(any(target_os = "linux", target_os = "android"), not(aqueduct_portable_poller)))]
#[path = "epoll.rs"]
mod system;

#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(aqueduct_portable_poller))))]
#[path = "portable.rs"]
mod system;

pub(super) use system::Poller;

/// What identifies a registration in the poller: where its slot is, and which tenancy of the slot is meant.
/// An event that was fetched before its source went away carries an old generation and is dropped.
///
/// Packed as `generation << INDEX_BITS | index`. The generation is never all ones, so the word is never one
/// of the keys at the top of the range, which `polling` (`usize::MAX`) and the pollers (the two below it)
/// keep to themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(usize);

impl Key {
    /// 2^32 sources and as many generations on 64-bit systems; 2^20 and 2^12 on 32-bit ones.
    const INDEX_BITS: u32 = if usize::BITS == 64 { 32 } else { 20 };
    const INDEX_MASK: usize = (1 << Self::INDEX_BITS) - 1;
    const GENERATION_MAX: usize = usize::MAX >> Self::INDEX_BITS;

    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        allow(dead_code, reason = "of `epoll.rs`")
    )]
    pub(super) const NOTIFY: Key = Key(usize::MAX - 1);
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        allow(dead_code, reason = "of `epoll.rs`")
    )]
    pub(super) const TIMER: Key = Key(usize::MAX - 2);

    /// The key of the slot at `index` in its tenancy `generation`, which wraps.
    pub(super) fn new(index: u32, generation: u32) -> Key {
        debug_assert!(index as usize <= Self::INDEX_MASK, "more sources than a key can tell apart");
        Key((generation as usize % Self::GENERATION_MAX) << Self::INDEX_BITS | index as usize)
    }

    pub(super) fn index(self) -> u32 {
        (self.0 & Self::INDEX_MASK) as u32
    }

    pub(super) fn from_bits(bits: usize) -> Key {
        Key(bits)
    }

    pub(super) fn bits(self) -> usize {
        self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index(), self.0 >> Self::INDEX_BITS)
    }
}

/// What the poller says about one registration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) key: Key,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The end of the stream, an error or urgent data was reported (or might have been): from here on a short
    /// transfer does not prove that the descriptor is drained, as no further edge need come.
    pub(super) tail: bool,
}

/// The directions somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) read: bool,
    pub(super) write: bool,
}

/// What a wait met besides events of sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signals {
    /// A `notify` was consumed by this wait.
    pub(super) notified: bool,
    /// The delay of a `notify_after` ran out.
    pub(super) elapsed: bool,
}
