//! Where the shared part of each source lives: slots in a process-wide table that never moves or frees them.
//!
//! # Picture
//! ```text
//! Source ──────────────► Slot ◄────── table[index] ◄── key = generation | index ── event from the poller
//!  (the tenant)          ├ readiness of both directions      lock-free
//!                        └ tenancy: descriptor, home reactor, generation, waiters      locked
//! ```
//!
//! An event finds its slot without a lock or a reference count, because a slot is always there; whether it
//! still belongs to the source the event was meant for, the generation tells. This is how Go's `pollCache`
//! keeps its `pollDesc`s. A slot is about 100 bytes; what the busiest moment needed stays allocated.
//!
//! # Invariants
//! - `one-tenant`: a taken slot belongs to one [`Source`](super::source::Source), which vacates it in its
//!   `drop`.
//! - `fresh-generation`: the generation changes with each registration and with each tenant.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::{LazyLock, OnceLock};
use std::task::Waker;

use super::poller::{Event, Interest, Key, Poller};
use super::readiness::Readiness;
use super::waiters::{Ticket, Waiters};
use super::{Direction, Reactor};
use crate::primitive::{Mutex, lock};

#[derive(Debug)]
pub(super) struct Slot {
    index: u32,
    read: Readiness,
    write: Readiness,
    tenancy: Mutex<Tenancy>,
}

/// The part behind the lock.
#[derive(Debug)]
pub(super) struct Tenancy {
    /// The tenant's descriptor; -1 in a vacant slot.
    pub(super) fd: RawFd,
    generation: u32,
    last_ticket: Ticket,
    /// The reactor where `fd` is registered under `generation`.
    pub(super) home: Option<&'static Reactor>,
    read: Waiters,
    write: Waiters,
}

impl Slot {
    fn new(index: u32) -> Slot {
        let tenancy = Tenancy {
            fd: -1,
            generation: 0,
            last_ticket: Ticket::NONE,
            home: None,
            read: Waiters::default(),
            write: Waiters::default(),
        };
        Slot { index, read: Readiness::new(), write: Readiness::new(), tenancy: Mutex::new(tenancy) }
    }

    pub(super) fn readiness(&self, direction: Direction) -> &Readiness {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }

    pub(super) fn tenancy(&self) -> &Mutex<Tenancy> {
        &self.tenancy
    }

    /// The key of the present registration.
    pub(super) fn key(&self, tenancy: &Tenancy) -> Key {
        Key::new(self.index, tenancy.generation)
    }

    /// Sets readiness as `event` says and moves the wakers concerned to `wakes`. An event of an earlier
    /// registration is dropped.
    pub(super) fn deliver(&self, event: Event, wakes: &mut VecDeque<Waker>) {
        let mut tenancy = lock(&self.tenancy);
        let Some(home) = tenancy.home.filter(|_| self.key(&tenancy) == event.key) else {
            return;
        };
        for (direction, reported) in [(Direction::Read, event.readable), (Direction::Write, event.writable)] {
            if reported {
                self.readiness(direction).report(event.tail);
                tenancy.waiters(direction).drain_into(wakes);
            }
        }
        let interest = tenancy.interest();
        if !Poller::EDGE && (interest.read || interest.write) {
            let armed = home.poller().arm(tenancy.fd, event.key, interest);
            if armed.is_err() {
                // Whoever is still waiting meets the error when it arms again.
                tenancy.drain_into(wakes);
            }
        }
    }

    /// Wakes all who wait here through `reactor`.
    pub(super) fn evict(&self, reactor: &Reactor, wakes: &mut VecDeque<Waker>) {
        let mut tenancy = lock(&self.tenancy);
        if tenancy.home.is_some_and(|home| std::ptr::eq(home, reactor)) {
            tenancy.drain_into(wakes);
        }
    }

    /// Ends the registration, if there is one: events under way are dropped, both directions are blind.
    pub(super) fn deregister(&self, tenancy: &mut Tenancy) {
        if let Some(home) = tenancy.home.take() {
            home.poller().delete(tenancy.fd);
        }
        tenancy.generation = tenancy.generation.wrapping_add(1);
        self.read.unwatch();
        self.write.unwatch();
    }
}

impl Tenancy {
    pub(super) fn waiters(&mut self, direction: Direction) -> &mut Waiters {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    pub(super) fn interest(&self) -> Interest {
        Interest { read: !self.read.is_empty(), write: !self.write.is_empty() }
    }

    pub(super) fn new_ticket(&mut self) -> Ticket {
        self.last_ticket = self.last_ticket.next();
        self.last_ticket
    }

    pub(super) fn drain_into(&mut self, wakes: &mut VecDeque<Waker>) {
        self.read.drain_into(wakes);
        self.write.drain_into(wakes);
    }
}

/// Bucket `n` holds `FIRST_BUCKET << n` slots; 26 of them reach the 2^32 of a key's index.
const BUCKETS: usize = 26;
const FIRST_BUCKET: u32 = 64;

/// The table: buckets are made when first needed and stay.
struct Table {
    buckets: [OnceLock<Box<[Slot]>>; BUCKETS],
    vacancies: Mutex<Vacancies>,
}

struct Vacancies {
    /// Slots given back; the last one is taken first, as it is likely still in a cache.
    returned: Vec<u32>,
    /// Slots from here on were never used.
    unused: u32,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    buckets: [const { OnceLock::new() }; BUCKETS],
    vacancies: Mutex::new(Vacancies { returned: Vec::new(), unused: 0 }),
});

/// Takes a slot for `fd`.
pub(super) fn take(fd: RawFd) -> &'static Slot {
    let index = {
        let mut vacancies = lock(&TABLE.vacancies);
        vacancies.returned.pop().unwrap_or_else(|| {
            let index = vacancies.unused;
            vacancies.unused += 1;
            index
        })
    };
    let slot = TABLE.slot_or_grow(index);
    lock(&slot.tenancy).fd = fd;
    slot
}

/// Gives a slot back. Returns the wakers left in it, for the caller to drop.
pub(super) fn vacate(slot: &'static Slot) -> VecDeque<Waker> {
    let mut left = VecDeque::new();
    {
        let mut tenancy = lock(&slot.tenancy);
        slot.deregister(&mut tenancy);
        tenancy.drain_into(&mut left);
        tenancy.fd = -1;
        slot.read.reset();
        slot.write.reset();
    }
    lock(&TABLE.vacancies).returned.push(slot.index);
    left
}

/// The slot at `index`, if there ever was one.
pub(super) fn get(index: u32) -> Option<&'static Slot> {
    let (bucket, offset) = locate(index);
    TABLE.buckets[bucket].get()?.get(offset)
}

/// Every slot there is, vacant ones too.
pub(super) fn all() -> impl Iterator<Item = &'static Slot> {
    TABLE.buckets.iter().filter_map(OnceLock::get).flatten()
}

impl Table {
    fn slot_or_grow(&'static self, index: u32) -> &'static Slot {
        let (bucket, offset) = locate(index);
        &self.buckets[bucket].get_or_init(|| new_bucket(bucket))[offset]
    }
}

fn new_bucket(bucket: usize) -> Box<[Slot]> {
    let first = bucket_start(bucket);
    (first..first + (FIRST_BUCKET << bucket)).map(Slot::new).collect()
}

fn bucket_start(bucket: usize) -> u32 {
    FIRST_BUCKET * ((1u32 << bucket) - 1)
}

fn locate(index: u32) -> (usize, usize) {
    let bucket = (index / FIRST_BUCKET + 1).ilog2() as usize;
    (bucket, (index - bucket_start(bucket)) as usize)
}

// Ten thousand idle connections must stay far below 1 KB each.
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Slot>() <= 128);
