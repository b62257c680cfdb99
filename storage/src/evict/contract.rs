//! What holds for every policy: one suite, run over all of them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::{
    evict::{AnyPolicy, policy::Policy},
    format::op::{Key, Put},
    index::{
        blob::Blob,
        slab::{Slab, Slot},
    },
    lsn::Lsn,
    settings::Eviction,
};

/// Each policy with queues measured in entries and in bytes.
fn all() -> impl Iterator<Item = (Eviction, bool)> {
    Eviction::ALL.into_iter().flat_map(|eviction| [(eviction, false), (eviction, true)])
}

/// A slab and a policy over it, with the set of entries that must be in its queues.
struct Fixture {
    slab: Slab,
    policy: AnyPolicy,
    live: BTreeSet<Slot>,
}

impl Fixture {
    fn new(eviction: Eviction, by_bytes: bool) -> Fixture {
        Fixture { slab: Slab::new(), policy: AnyPolicy::new(eviction, by_bytes, None), live: BTreeSet::new() }
    }

    fn blob(len: usize) -> Blob {
        let bare = Blob::bare(Key::from("k"));
        Blob::new(&Put { value: &vec![0; len], ..bare.as_put(None) })
    }

    fn insert(&mut self, hash: u32) -> Slot {
        let slot = self.slab.take(hash, Self::blob(hash as usize % 100), Lsn(1));
        self.policy.on_insert(&mut self.slab, slot);
        self.live.insert(slot);
        slot
    }

    fn remove(&mut self, slot: Slot, evicted: bool) {
        self.policy.on_remove(&mut self.slab, slot, evicted);
        self.slab.release(slot);
        assert!(self.live.remove(&slot), "the policy knows live entries only, slot={slot}");
    }

    fn resize(&mut self, slot: Slot, len: usize) {
        let old = self.slab.charge(slot);
        self.slab[slot].blob = Some(Self::blob(len));
        let new = self.slab.charge(slot);
        self.policy.on_update(&mut self.slab, slot, old, new);
    }

    fn evict(&mut self) {
        match self.policy.victim(&mut self.slab) {
            Some(victim) => self.remove(victim, true),
            None => assert!(self.policy.never_evicts(), "there is somebody"),
        }
    }

    fn pick(&self, pick: u32) -> Option<Slot> {
        self.live.iter().copied().nth(pick as usize % self.live.len().max(1))
    }

    fn order(&self, step: usize) -> Vec<Slot> {
        let mut order = Vec::new();
        loop {
            let before = order.len();
            self.policy.walk(&self.slab, order.last().copied(), step, &mut order);
            if order.len() == before {
                return order;
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.policy.check(&self.slab), self.live.len());
    }
}

proptest! {
    #[test]
    fn a_policy_knows_exactly_the_live_entries(
        steps in proptest::collection::vec((0u8..6, 0u32..1000), 0..200),
    ) {
        for (eviction, by_bytes) in all() {
            let mut fixture = Fixture::new(eviction, by_bytes);
            for &(step, n) in &steps {
                match (step, fixture.pick(n)) {
                    (0 | 1, _) | (_, None) => {
                        fixture.insert(n);
                    }
                    (2, Some(slot)) => fixture.policy.on_hit(&mut fixture.slab, slot),
                    (3, Some(slot)) => fixture.resize(slot, n as usize),
                    (4, Some(slot)) => fixture.remove(slot, false),
                    (_, Some(_)) => fixture.evict(),
                }
                fixture.check();
            }
        }
    }

    #[test]
    fn an_undisturbed_walk_names_each_entry_once(
        hits in proptest::collection::vec(0u32..1000, 0..100),
        evictions in 0usize..30,
        step in 1usize..20,
    ) {
        for (eviction, by_bytes) in all() {
            let mut fixture = busy(eviction, by_bytes, &hits, evictions);
            let order = fixture.order(step);
            prop_assert_eq!(order.len(), fixture.live.len());
            prop_assert_eq!(order.into_iter().collect::<BTreeSet<_>>(), std::mem::take(&mut fixture.live));
        }
    }

    #[test]
    fn what_is_restored_leaves_in_the_same_order(
        hits in proptest::collection::vec(0u32..1000, 0..100),
        evictions in 0usize..30,
    ) {
        for (eviction, by_bytes) in all() {
            let mut old = busy(eviction, by_bytes, &hits, evictions);
            let mut new = Fixture::new(eviction, by_bytes);
            for slot in old.order(7) {
                let hint = old.policy.hint(&old.slab, slot);
                let hash = old.slab.hash(slot);
                let copy = new.slab.take(hash, old.slab[slot].blob().clone(), Lsn(1));
                new.policy.restore(&mut new.slab, copy, hint);
                new.live.insert(copy);
            }
            new.check();
            // Draws slots, which are others now.
            if eviction == Eviction::Random {
                continue;
            }
            while let Some(victim) = old.policy.victim(&mut old.slab) {
                let copy = new.policy.victim(&mut new.slab).expect("as many as before");
                prop_assert_eq!(old.slab.hash(victim), new.slab.hash(copy));
                old.remove(victim, true);
                new.remove(copy, true);
            }
            prop_assert!(new.live.is_empty() || new.policy.never_evicts());
        }
    }
}

/// A hundred entries with different hashes, some of them hit and some gone.
fn busy(eviction: Eviction, by_bytes: bool, hits: &[u32], evictions: usize) -> Fixture {
    let mut fixture = Fixture::new(eviction, by_bytes);
    for hash in 0..100 {
        fixture.insert(hash);
    }
    for &hit in hits {
        let slot = fixture.pick(hit).expect("there is somebody");
        fixture.policy.on_hit(&mut fixture.slab, slot);
    }
    for _ in 0..evictions {
        fixture.evict();
    }
    fixture
}

#[test]
fn an_empty_policy_has_no_victim() {
    for (eviction, by_bytes) in all() {
        let mut fixture = Fixture::new(eviction, by_bytes);
        assert_eq!(fixture.policy.victim(&mut fixture.slab), None);
        let slot = fixture.insert(1);
        let only = Some(slot).filter(|_| eviction != Eviction::NoEviction);
        assert_eq!(fixture.policy.victim(&mut fixture.slab), only);
    }
}

#[test]
fn a_walk_from_a_slot_that_was_freed_starts_again() {
    for (eviction, by_bytes) in all() {
        let mut fixture = busy(eviction, by_bytes, &[], 0);
        let slot = fixture.pick(50).expect("there is somebody");
        fixture.remove(slot, false);
        let mut order = Vec::new();
        fixture.policy.walk(&fixture.slab, Some(slot), usize::MAX, &mut order);
        assert_eq!(order.len(), 99);
    }
}
