//! The rule of everything that counts: a mutex is one permit, a read-write lock very many, of which a writer takes all.

#![forbid(unsafe_code)]

use super::monitor::{Monitor, Rule};

/// Permits that are free.
#[derive(Debug)]
pub(super) struct Permits {
    free: usize,
    closed: bool,
}

/// A number of permits asked for; after the grant, had or refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    count: usize,
    refused: bool,
}

impl Wanted {
    pub(super) fn new(count: usize) -> Self {
        Self { count, refused: false }
    }

    /// The permits were closed: nothing is had.
    pub(super) fn is_refused(self) -> bool {
        self.refused
    }
}

impl Permits {
    pub(super) const fn new(free: usize) -> Self {
        Self { free, closed: false }
    }

    pub(super) fn free(&self) -> usize {
        self.free
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes up to `count` of the free ones away; how many it was.
    pub(super) fn remove(&mut self, count: usize) -> usize {
        let removed = count.min(self.free);
        self.free -= removed;
        removed
    }

    pub(super) fn add(&mut self, count: usize) -> Result<(), Overflow> {
        self.free = self.free.checked_add(count).filter(|free| *free <= MAX).ok_or(Overflow)?;
        Ok(())
    }
}

/// More permits than can be.
#[derive(Debug)]
pub(super) struct Overflow;

/// The most permits there can be.
pub(super) const MAX: usize = usize::MAX >> 3;

impl Rule for Permits {
    type Request = Wanted;

    fn can_grant(&self, wanted: &Wanted) -> bool {
        self.closed || wanted.count <= self.free
    }

    fn grant(&mut self, wanted: &mut Wanted) {
        if self.closed {
            wanted.refused = true;
        } else {
            self.free -= wanted.count;
        }
    }

    fn give_back(&mut self, wanted: &Wanted) {
        if !wanted.refused {
            self.free += wanted.count;
        }
    }
}

impl Monitor<Permits> {
    /// Gives permits back and serves the next in line.
    pub(super) fn release(&self, count: usize) {
        self.change(|permits, _| permits.free += count);
    }

    pub(super) fn free(&self) -> usize {
        self.look(Permits::free)
    }

    /// Refuses whoever waits and whoever comes.
    pub(super) fn close(&self) {
        self.change(|permits, _| permits.closed = true);
    }
}
