//! The index: every key and value in memory, in stripes.
//!
//! A key belongs to one stripe, chosen by the upper bits of its hash; each stripe has one lock,
//! and whoever holds it sees the stripe's entries, order of eviction, timers and sums in step. The
//! hash is keyed with secret randomness of the process, because keys come from the network.
//!
//! The limits hold for all stripes together, see `Budget`. Whoever needs two stripes locks the
//! lower number first. No I/O and no waiting under a lock.
//!
//! Not here: the log and snapshots. The index never decides that an entry ends; it is told so,
//! with the LSN of the frame that says it.

pub(crate) mod blob;
pub(crate) mod budget;
mod prefetch;
pub(crate) mod rebuild;
pub(crate) mod slab;
pub(crate) mod stripe;
pub(crate) mod walk;

mod thin;
mod wheel;

use std::{hash::Hasher, sync::Arc};

use siphasher::sip::SipHasher13;

use crate::{
    evict::{AnyPolicy, PolicyFactory},
    format::op::Key,
    index::{budget::Budget, stripe::Stripe},
    settings::{Eviction, Settings},
    sync::{Mutex, MutexGuard},
};

/// Below this many entries per stripe the hit ratio suffers from the partition.
const ITEMS_PER_STRIPE_MIN: u64 = 256;
/// A stripe that holds one entry takes some 14 KiB: a chunk of slots, one of timers, the heads of the
/// wheel. Of this many bytes that is less than 2 %.
const BYTES_PER_STRIPE_MIN: u64 = 1 << 20;
/// Not for the cores but for the pauses: a stripe whose table grows is locked while it does, and
/// of ten million entries each then holds 40,000, which is a millisecond.
const STRIPES_MIN: usize = 256;
const STRIPES_PER_CORE: usize = 8;

/// All entries.
#[derive(Debug)]
pub(crate) struct Index {
    stripes: Box<[Padded]>,
    hasher: SipHasher13,
    budget: Arc<Budget>,
    custom: Option<PolicyFactory>,
}

/// A stripe has its cache lines for itself; two, because they are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(Mutex<Stripe>);

impl Index {
    /// An empty index. `hash_key` is random and secret; `cores` decides the number of stripes where
    /// the settings do not. `custom` makes the policy `Custom`, and must be there if the settings
    /// name that.
    pub(crate) fn new(
        settings: &Settings,
        hash_key: &[u8; 16],
        cores: usize,
        custom: Option<PolicyFactory>,
    ) -> Index {
        let budget = Arc::new(Budget::new(settings.max_items, settings.max_bytes));
        let policy = || AnyPolicy::new(settings.eviction, settings.max_bytes.is_some(), custom.as_ref());
        let stripe = || Padded(Mutex::new(Stripe::new(policy(), budget.clone())));
        let count = stripe_count(settings, cores);
        let stripes = std::iter::repeat_with(stripe).take(count).collect();
        Index { stripes, hasher: SipHasher13::new_with_key(hash_key), budget, custom }
    }

    /// The hash of a key, for everything below.
    pub(crate) fn hash(&self, key: Key<'_>) -> u64 {
        let mut hasher = self.hasher;
        hasher.write(&key.namespace.to_le_bytes());
        hasher.write(key.bytes);
        hasher.finish()
    }

    /// The stripe of a hash: its upper bits. Entries keep the lower 32.
    pub(crate) fn stripe_of(&self, hash: u64) -> usize {
        let bits = self.stripes.len().trailing_zeros();
        // Without this the shift would be by all 64 bits.
        if bits == 0 { 0 } else { (hash >> (u64::BITS - bits)) as usize }
    }

    /// The number of stripes, a power of two.
    pub(crate) fn stripe_count(&self) -> usize {
        self.stripes.len()
    }

    /// Locks a stripe.
    pub(crate) fn lock(&self, stripe: usize) -> MutexGuard<'_, Stripe> {
        // A panic under the lock is a broken invariant: what the stripe holds is not known.
        self.stripes[stripe].0.lock().expect("no thread has panicked while it held this stripe")
    }

    /// Fetches what operations on keys of these hashes will look at, so that they wait for memory
    /// together and not one after the other. Each pass reads what the one before it has fetched.
    pub(crate) fn prefetch(&self, hashes: &[u64]) {
        for &hash in hashes {
            self.lock(self.stripe_of(hash)).prefetch_entry(hash);
        }
        for &hash in hashes {
            self.lock(self.stripe_of(hash)).prefetch_blob(hash);
        }
    }

    /// A stripe with nothing in it, to take the place of one in a flush.
    pub(crate) fn empty_stripe(&self, eviction: Eviction) -> Stripe {
        let policy = AnyPolicy::new(eviction, self.budget.max_bytes().is_some(), self.custom.as_ref());
        Stripe::new(policy, self.budget.clone())
    }

    /// Switches to another policy, one stripe after the other; the order of who leaves is carried
    /// over. `Custom` needs the factory.
    pub(crate) fn set_eviction(&self, eviction: Eviction) {
        for stripe in 0..self.stripes.len() {
            let policy = AnyPolicy::new(eviction, self.budget.max_bytes().is_some(), self.custom.as_ref());
            self.lock(stripe).set_policy(policy);
        }
    }

    /// Whether there is a policy of somebody else's to switch to.
    pub(crate) fn has_custom(&self) -> bool {
        self.custom.is_some()
    }

    /// The sums over all stripes, and the limits.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }
}

/// How many stripes: as set, else enough for all cores to meet rarely and for short pauses, but none
/// that is too small.
pub(crate) fn stripe_count(settings: &Settings, cores: usize) -> usize {
    if let Some(count) = settings.stripes {
        return count;
    }
    let enough_for_each = |count: usize| {
        let holds = |max: Option<u64>, min| max.is_none_or(|max| max / count as u64 >= min);
        holds(settings.max_items, ITEMS_PER_STRIPE_MIN) && holds(settings.max_bytes, BYTES_PER_STRIPE_MIN)
    };
    let mut count = STRIPES_MIN.max(STRIPES_PER_CORE * cores).next_power_of_two().min(1 << 16);
    while count > 1 && !enough_for_each(count) {
        count /= 2;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_cache_has_few_stripes() {
        let count = |max_items, max_bytes, cores| {
            stripe_count(&Settings { max_items, max_bytes, ..Settings::new("unused") }, cores)
        };
        assert_eq!(count(None, None, 2), 256);
        assert_eq!(count(None, Some(1 << 30), 2), 256);
        assert_eq!(count(None, None, 33), 512);
        assert_eq!(count(Some(1000), None, 2), 2);
        assert_eq!(count(Some(10), None, 64), 1);
        assert_eq!(count(None, Some(100 << 20), 2), 64);
        assert_eq!(count(Some(1000), Some(64 << 10), 2), 1);
        let set = Settings { stripes: Some(8), max_items: Some(10), ..Settings::new("unused") };
        assert_eq!(stripe_count(&set, 2), 8);
    }

    #[test]
    fn keys_spread_over_all_stripes_and_namespaces_differ() {
        let index = Index::new(&Settings::new("unused"), &[7; 16], 2, None);
        let mut seen = vec![0; index.stripe_count()];
        for i in 0..25_600u32 {
            let hash = index.hash(Key { namespace: 0, bytes: &i.to_le_bytes() });
            seen[index.stripe_of(hash)] += 1;
        }
        assert!(seen.iter().all(|&n| n > 40), "{seen:?}");
        let [a, b] = [0, 1].map(|namespace| index.hash(Key { namespace, bytes: b"k" }));
        assert_ne!(a, b);
    }

    #[test]
    fn one_stripe_takes_every_hash() {
        let settings = Settings { stripes: Some(1), ..Settings::new("unused") };
        let index = Index::new(&settings, &[7; 16], 2, None);
        assert_eq!(index.stripe_of(u64::MAX), 0);
        index.lock(0).check();
        assert_eq!(index.budget().used(), Default::default());
    }
}
