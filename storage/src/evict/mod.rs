//! Eviction: who leaves when the cache is full.
//!
//! `AnyPolicy` is the one that the settings name; [`Policy`] says what they have in common. A new
//! one is a file here, an arm of the enum, and a line in the list of `contract.rs`. A program brings
//! one of its own with a [`PolicyFactory`] in its [`Components`](crate::Components).
//!
//! Two of them are others with one difference: `noeviction` is a `fifo` that never names a victim,
//! `ttl` is an `lru` in which the stripe, which has the timers, looks for a deadline first.
//!
//! Not here: when to evict and how much (`index::budget`), and the log. Of the index this imports
//! the slab and the blob, nothing above them.

pub mod list;
pub mod policy;

mod climber;
mod ghost;
mod lfu;
mod queue;
mod random;
mod s3fifo;
mod sieve;
mod sketch;
mod wtinylfu;

#[cfg(test)]
mod contract;

use std::{fmt, sync::Arc};

use crate::evict::{
    lfu::Lfu, queue::Queue, random::Random, s3fifo::S3Fifo, sieve::Sieve, wtinylfu::WTinyLfu,
};
use crate::settings::Eviction;
pub use crate::{
    evict::{list::List, policy::Policy},
    index::slab::{Slab, Slot},
};

/// Makes the policy of each stripe, where a program brings its own: `Eviction::Custom`.
///
/// `examples/max_age.rs` of this crate has a whole one.
#[derive(Clone)]
pub struct PolicyFactory(Arc<dyn Fn() -> Box<dyn Policy> + Send + Sync>);

impl PolicyFactory {
    /// `make` is called once for each stripe, and again whenever the engine is switched to it.
    pub fn new(make: impl Fn() -> Box<dyn Policy> + Send + Sync + 'static) -> PolicyFactory {
        PolicyFactory(Arc::new(make))
    }
}

impl fmt::Debug for PolicyFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PolicyFactory")
    }
}

/// The policy of one stripe.
#[derive(Debug)]
pub(crate) enum AnyPolicy {
    S3Fifo(S3Fifo),
    Lru(Queue),
    Lfu(Lfu),
    /// The order of those without a deadline; see [`AnyPolicy::prefers_deadlines`].
    Ttl(Queue),
    Random(Random),
    Sieve(Sieve),
    WTinyLfu(WTinyLfu),
    Fifo(Queue),
    /// An order that nobody leaves by; it is there for the policy that may come after.
    NoEviction(Queue),
    Custom(Box<dyn Policy>),
}

/// Calls the same method of whichever policy it is.
macro_rules! dispatch {
    ($self:ident, $policy:ident => $call:expr) => {
        match $self {
            AnyPolicy::S3Fifo($policy) => $call,
            AnyPolicy::Lru($policy)
            | AnyPolicy::Ttl($policy)
            | AnyPolicy::Fifo($policy)
            | AnyPolicy::NoEviction($policy) => $call,
            AnyPolicy::Lfu($policy) => $call,
            AnyPolicy::Random($policy) => $call,
            AnyPolicy::Sieve($policy) => $call,
            AnyPolicy::WTinyLfu($policy) => $call,
            AnyPolicy::Custom($policy) => $call,
        }
    };
}

impl AnyPolicy {
    /// `by_bytes`: queues are measured in bytes, because the cache has a limit in bytes.
    ///
    /// # Panics
    /// For `Custom` without a factory. Whoever takes an [`Eviction`] from outside checks that.
    pub(crate) fn new(eviction: Eviction, by_bytes: bool, custom: Option<&PolicyFactory>) -> AnyPolicy {
        match eviction {
            Eviction::S3Fifo => AnyPolicy::S3Fifo(S3Fifo::new(by_bytes)),
            Eviction::Lru => AnyPolicy::Lru(Queue::by_use()),
            Eviction::Lfu => AnyPolicy::Lfu(Lfu::new()),
            Eviction::Ttl => AnyPolicy::Ttl(Queue::by_use()),
            Eviction::Random => AnyPolicy::Random(Random::new()),
            Eviction::Sieve => AnyPolicy::Sieve(Sieve::new()),
            Eviction::WTinyLfu => AnyPolicy::WTinyLfu(WTinyLfu::new(by_bytes)),
            Eviction::Fifo => AnyPolicy::Fifo(Queue::by_arrival()),
            Eviction::NoEviction => AnyPolicy::NoEviction(Queue::by_arrival()),
            Eviction::Custom => {
                let PolicyFactory(make) = custom.expect("a custom policy comes with its factory");
                AnyPolicy::Custom(make())
            }
        }
    }

    /// Whoever has a deadline leaves before those who have none, the earliest first.
    pub(crate) fn prefers_deadlines(&self) -> bool {
        matches!(self, AnyPolicy::Ttl(_))
    }

    /// Nobody ever leaves to make room.
    pub(crate) fn never_evicts(&self) -> bool {
        matches!(self, AnyPolicy::NoEviction(_))
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
        if self.never_evicts() { None } else { dispatch!(self, p => p.victim(slab)) }
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
