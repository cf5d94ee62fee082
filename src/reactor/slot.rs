//! Where the shared part of each source lives: slots in a process-wide table that never moves or frees them.
//!
//! # Picture
//! ```text
//! Source ──────────────► Slot ◄────── table[index] ◄── key = generation | index ── event from the poller
//!  (the tenant)          ├ readiness of both directions      lock-free
//!                        └ tenancy: descriptor, home reactor, key, waiters             locked
//! ```
//!
//! An event finds its slot without a lock or a reference count, because a slot is always there; whether it
//! still belongs to the source the event was meant for, the generation tells. This is how Go's `pollCache`
//! keeps its `pollDesc`s. A slot is two cache lines; what the busiest moment needed stays allocated.
//!
//! # Invariants
//! - `one-tenant`: a taken slot belongs to one [`Source`](super::source::Source), which vacates it in its
//!   `drop`.
//! - `fresh-generation`: the generation changes with each registration and with each tenant.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::{LazyLock, OnceLock};
use std::task::Waker;

use super::poller::{Event, Interest, Key, Poller};
use super::readiness::Readiness;
use super::waiters::{Awaited, More, Ticket, Tickets, Waiter, Waiters};
use super::{Direction, Reactor};
use crate::primitive::{Mutex, lock, prefetch};

/// What an event looks at, and a wait, lies in the first of its two cache lines: with thousands of connections at work
/// each line is one more that has left the cache meanwhile.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Slot {
    readiness: Readiness,
    tickets: Tickets,
    awaited: [Awaited; 2],
    tenancy: Mutex<Tenancy>,
}

/// The part behind the lock.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Tenancy {
    /// The reactor where `fd` is registered under `key`.
    pub(super) home: Option<&'static Reactor>,
    key: Key,
    first_reader: Option<Waiter>,
    // The second line.
    first_writer: Option<Waiter>,
    more_readers: More,
    more_writers: More,
    /// The tenant's descriptor; -1 in a vacant slot.
    pub(super) fd: RawFd,
    generation: u32,
}

impl Slot {
    fn new(index: u32) -> Slot {
        let tenancy = Tenancy {
            home: None,
            key: Key::new(index, 0),
            first_reader: None,
            first_writer: None,
            more_readers: None,
            more_writers: None,
            fd: -1,
            generation: 0,
        };
        Slot {
            readiness: Readiness::new(),
            tickets: Tickets::new(),
            awaited: [Awaited::new(), Awaited::new()],
            tenancy: Mutex::new(tenancy),
        }
    }

    #[inline]
    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    pub(super) fn tenancy(&self) -> &Mutex<Tenancy> {
        &self.tenancy
    }

    #[inline]
    fn awaited(&self, direction: Direction) -> &Awaited {
        match direction {
            Direction::Read => &self.awaited[0],
            Direction::Write => &self.awaited[1],
        }
    }

    /// Tells the processor that an event of this slot will be delivered soon.
    #[inline]
    pub(super) fn prefetch(&'static self) {
        prefetch(ptr::from_ref(self).cast());
    }

    /// Sets readiness as `event` says and moves the wakers concerned to `wakes`. An event of an earlier
    /// registration is dropped.
    #[inline]
    pub(super) fn deliver(&self, event: Event, wakes: &mut VecDeque<Waker>) {
        let mut tenancy = lock(&self.tenancy);
        let tenancy = &mut *tenancy;
        let Some(home) = tenancy.home.filter(|_| tenancy.key == event.key) else {
            return;
        };
        self.readiness.report(event.readable, event.writable, event.tail);
        for (direction, reported) in [(Direction::Read, event.readable), (Direction::Write, event.writable)] {
            if reported && self.awaited(direction).get() {
                self.drain_into(tenancy, direction, wakes);
            }
        }
        if !Poller::EDGE {
            self.arm_again(tenancy, home, wakes);
        }
    }

    /// After an event of a poller that reports each once.
    fn arm_again(&self, tenancy: &mut Tenancy, home: &'static Reactor, wakes: &mut VecDeque<Waker>) {
        let interest = tenancy.interest();
        if interest.read || interest.write {
            let armed = home.poller().arm(tenancy.fd, tenancy.key, interest);
            if armed.is_err() {
                // Whoever is still waiting meets the error when it arms again.
                self.drain_all_into(tenancy, wakes);
            }
        }
    }

    /// Leaves `waker` for the next event of `direction`: as the waiter `ticket`, if somebody keeps one. Returns the waker
    /// that is not needed (any more).
    #[inline]
    pub(super) fn enrol(
        &self,
        tenancy: &mut Tenancy,
        direction: Direction,
        ticket: Option<&mut Ticket>,
        waker: Waker,
    ) -> Option<Waker> {
        let ticket = ticket.map_or(Ticket::NONE, |ticket| {
            if *ticket == Ticket::NONE {
                *ticket = self.tickets.issue();
            }
            *ticket
        });
        self.awaited(direction).set(true);
        tenancy.waiters(direction).enrol(ticket, waker)
    }

    /// Takes back what was left under `ticket`, if it was not woken already. Returns the waker, for the caller to drop.
    #[inline]
    pub(super) fn leave(&self, direction: Direction, ticket: Ticket) -> Option<Waker> {
        if self.awaited(direction).get() { self.leave_locked(direction, ticket) } else { None }
    }

    fn leave_locked(&self, direction: Direction, ticket: Ticket) -> Option<Waker> {
        let mut tenancy = lock(&self.tenancy);
        let mut waiters = tenancy.waiters(direction);
        let left = waiters.leave(ticket);
        self.awaited(direction).set(!waiters.is_empty());
        left
    }

    #[inline]
    fn drain_into(&self, tenancy: &mut Tenancy, direction: Direction, wakes: &mut VecDeque<Waker>) {
        tenancy.waiters(direction).drain_into(wakes);
        self.awaited(direction).set(false);
    }

    pub(super) fn drain_all_into(&self, tenancy: &mut Tenancy, wakes: &mut VecDeque<Waker>) {
        self.drain_into(tenancy, Direction::Read, wakes);
        self.drain_into(tenancy, Direction::Write, wakes);
    }

    /// Wakes all who wait here through `reactor`.
    pub(super) fn evict(&self, reactor: &Reactor, wakes: &mut VecDeque<Waker>) {
        let mut tenancy = lock(&self.tenancy);
        if tenancy.home.is_some_and(|home| ptr::eq(home, reactor)) {
            self.drain_all_into(&mut tenancy, wakes);
        }
    }

    /// Ends the registration, if there is one: events under way are dropped, both directions are blind.
    pub(super) fn deregister(&self, tenancy: &mut Tenancy) {
        if let Some(home) = tenancy.home.take() {
            home.poller().delete(tenancy.fd);
        }
        tenancy.generation = tenancy.generation.wrapping_add(1);
        tenancy.key = Key::new(tenancy.key.index(), tenancy.generation);
        self.readiness.unwatch();
    }
}

impl Tenancy {
    /// The key of the present registration.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    #[inline]
    fn waiters(&mut self, direction: Direction) -> Waiters<'_> {
        match direction {
            Direction::Read => Waiters { first: &mut self.first_reader, more: &mut self.more_readers },
            Direction::Write => Waiters { first: &mut self.first_writer, more: &mut self.more_writers },
        }
    }

    pub(super) fn interest(&mut self) -> Interest {
        Interest {
            read: !self.waiters(Direction::Read).is_empty(),
            write: !self.waiters(Direction::Write).is_empty(),
        }
    }
}

/// Bucket `n` holds `FIRST_BUCKET << n` slots; 26 of them reach the 2^32 of a key's index.
const BUCKETS: usize = 26;
const FIRST_BUCKET: u32 = 64;

/// The table: buckets are made when first needed and stay.
static TABLE: [OnceLock<Box<[Slot]>>; BUCKETS] = [const { OnceLock::new() }; BUCKETS];

static VACANCIES: LazyLock<Mutex<Vacancies>> =
    LazyLock::new(|| Mutex::new(Vacancies { returned: Vec::new(), unused: 0 }));

struct Vacancies {
    /// Slots given back; the last one is taken first, as it is likely still in a cache.
    returned: Vec<u32>,
    /// Slots from here on were never used.
    unused: u32,
}

/// Takes a slot for `fd`.
pub(super) fn take(fd: RawFd) -> &'static Slot {
    let index = {
        let mut vacancies = lock(&*VACANCIES);
        vacancies.returned.pop().unwrap_or_else(|| {
            let index = vacancies.unused;
            vacancies.unused += 1;
            index
        })
    };
    let slot = slot_or_grow(index);
    lock(&slot.tenancy).fd = fd;
    slot
}

/// Gives a slot back. Returns the wakers left in it, for the caller to drop.
pub(super) fn vacate(slot: &'static Slot) -> VecDeque<Waker> {
    let mut left = VecDeque::new();
    let index;
    {
        let mut tenancy = lock(&slot.tenancy);
        slot.deregister(&mut tenancy);
        slot.drain_all_into(&mut tenancy, &mut left);
        tenancy.fd = -1;
        slot.readiness.reset();
        index = tenancy.key.index();
    }
    lock(&*VACANCIES).returned.push(index);
    left
}

/// The slot at `index`, if there ever was one.
#[inline]
pub(super) fn get(index: u32) -> Option<&'static Slot> {
    let (bucket, offset) = locate(index);
    // The pollers' own keys lie beyond the table; where keys are short, in slots that are only asked for ahead through them.
    TABLE.get(bucket)?.get()?.get(offset)
}

/// Every slot there is, vacant ones too.
pub(super) fn all() -> impl Iterator<Item = &'static Slot> {
    TABLE.iter().filter_map(OnceLock::get).flatten()
}

fn slot_or_grow(index: u32) -> &'static Slot {
    let (bucket, offset) = locate(index);
    &TABLE[bucket].get_or_init(|| new_bucket(bucket))[offset]
}

fn new_bucket(bucket: usize) -> Box<[Slot]> {
    let first = bucket_start(bucket);
    (first..first + (FIRST_BUCKET << bucket)).map(Slot::new).collect()
}

#[inline]
fn bucket_start(bucket: usize) -> u32 {
    FIRST_BUCKET * ((1u32 << bucket) - 1)
}

#[inline]
fn locate(index: u32) -> (usize, usize) {
    let bucket = (index / FIRST_BUCKET + 1).ilog2() as usize;
    (bucket, (index - bucket_start(bucket)) as usize)
}

// Ten thousand idle connections must stay far below 1 KB each.
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Slot>() <= 128);
