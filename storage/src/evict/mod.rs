//! Eviction: who leaves when the cache is full.
//!
//! `AnyPolicy` is the one that the settings name; [`policy::Policy`] says what they have in common. A new
//! one is a file here, an arm of the enum, and a line in the list of `contract.rs`.
//!
//! Not here: when to evict and how much (`index::budget`), and the log. Of the index this imports
//! the slab and the blob, nothing above them.

pub mod list;
pub mod policy;

mod ghost;
mod lru;
mod s3fifo;

#[cfg(test)]
mod contract;

use crate::{
    evict::{lru::Lru, policy::Policy, s3fifo::S3Fifo},
    index::slab::{Slab, Slot},
    settings::Eviction,
};

/// The policies that come with the engine.
#[derive(Debug)]
pub(crate) enum AnyPolicy {
    S3Fifo(S3Fifo),
    Lru(Lru),
}

/// Calls the same method of whichever policy it is.
macro_rules! dispatch {
    ($self:ident, $policy:ident => $call:expr) => {
        match $self {
            AnyPolicy::S3Fifo($policy) => $call,
            AnyPolicy::Lru($policy) => $call,
        }
    };
}

impl AnyPolicy {
    /// `by_bytes`: queues are measured in bytes, because the cache has a limit in bytes.
    pub(crate) fn new(eviction: Eviction, by_bytes: bool) -> AnyPolicy {
        match eviction {
            Eviction::S3Fifo => AnyPolicy::S3Fifo(S3Fifo::new(by_bytes)),
            Eviction::Lru => AnyPolicy::Lru(Lru::new()),
        }
    }
}

impl Policy for AnyPolicy {
    fn on_insert(&mut self, slab: &mut Slab, slot: Slot) {
        dispatch!(self, p => p.on_insert(slab, slot))
    }

    fn on_hit(&mut self, slab: &mut Slab, slot: Slot) {
        dispatch!(self, p => p.on_hit(slab, slot))
    }

    fn on_update(&mut self, slab: &mut Slab, slot: Slot, old_charge: u64, new_charge: u64) {
        dispatch!(self, p => p.on_update(slab, slot, old_charge, new_charge))
    }

    fn on_remove(&mut self, slab: &mut Slab, slot: Slot, evicted: bool) {
        dispatch!(self, p => p.on_remove(slab, slot, evicted))
    }

    fn victim(&mut self, slab: &mut Slab) -> Option<Slot> {
        dispatch!(self, p => p.victim(slab))
    }

    fn hint(&self, slab: &Slab, slot: Slot) -> u8 {
        dispatch!(self, p => p.hint(slab, slot))
    }

    fn restore(&mut self, slab: &mut Slab, slot: Slot, hint: u8) {
        dispatch!(self, p => p.restore(slab, slot, hint))
    }

    fn walk(&self, slab: &Slab, from: Option<Slot>, max: usize, out: &mut Vec<Slot>) {
        dispatch!(self, p => p.walk(slab, from, max, out))
    }

    fn check(&self, slab: &Slab) -> usize {
        dispatch!(self, p => p.check(slab))
    }
}
