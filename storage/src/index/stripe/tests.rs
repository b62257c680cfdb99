//! A stripe against a plain map, and what the map cannot say.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    format::op::Put,
    index::{
        rebuild::{Change, Loading, What},
        slab::NIL,
        walk::SnapshotEntry,
    },
    settings::Eviction,
};

/// What the model knows of a key.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    value: Option<Vec<u8>>,
    lsn: Lsn,
    deadline: Option<UnixMillis>,
}

#[derive(Clone, Debug)]
enum Step {
    Put(u16, usize, Option<u64>),
    Bury(u16, bool),
    Remove(u16),
    Touch(u16, Option<u64>),
    Hit(u16),
    Evict,
    EvictSeveral(usize),
    Reap(u64),
    Due(u64, usize),
    Clear(Option<u16>),
    Switch(Eviction),
}

/// A stripe and the model of it, with time and LSN moving on.
struct Fixture {
    stripe: Stripe,
    budget: Arc<Budget>,
    model: BTreeMap<u16, Known>,
    lsn: Lsn,
    now: u64,
}

/// Keys differ in namespace and bytes, and many share a hash.
fn key_bytes(id: u16) -> [u8; 2] {
    (id / 2).to_le_bytes()
}

fn key(id: u16, bytes: &[u8; 2]) -> Key<'_> {
    Key { namespace: id % 2, bytes }
}

fn hash(id: u16) -> u64 {
    u64::from(id % 16) * 0x01ff_0f01
}

fn blob(id: u16, value: &[u8]) -> Blob {
    let bytes = key_bytes(id);
    Blob::new(&Put { value, ..Blob::bare(key(id, &bytes)).as_put(None) })
}

impl Fixture {
    fn new(eviction: Eviction, by_bytes: bool) -> Fixture {
        let budget = Arc::new(Budget::new(None, by_bytes.then_some(1 << 20)));
        let stripe = Stripe::new(AnyPolicy::new(eviction, by_bytes, None), budget.clone());
        Fixture { stripe, budget, model: BTreeMap::new(), lsn: Lsn::ZERO, now: 1000 }
    }

    fn empty(&self) -> Stripe {
        let policy = AnyPolicy::new(Eviction::S3Fifo, self.budget.max_bytes().is_some(), None);
        Stripe::new(policy, self.budget.clone())
    }

    fn find(&self, id: u16) -> Option<Slot> {
        let bytes = key_bytes(id);
        self.stripe.find(hash(id), key(id, &bytes))
    }

    fn live(&self, id: u16) -> Option<Slot> {
        self.find(id).filter(|&slot| !self.stripe.view(slot).is_tombstone)
    }

    fn id(&self, slot: Slot) -> u16 {
        let key = self.stripe.view(slot).blob.key();
        u16::from_le_bytes(key.bytes.try_into().unwrap()) * 2 + key.namespace
    }

    fn put(&mut self, id: u16, len: usize, deadline: Option<UnixMillis>) {
        self.lsn = self.lsn.next();
        let value = vec![id as u8; len];
        let before = self.live(id).and_then(|_| self.model[&id].value.clone());
        let old = self.stripe.put(hash(id), blob(id, &value), self.lsn, deadline);
        assert_eq!(old.map(|blob| blob.value().to_vec()), before, "the old value is handed out");
        self.model.insert(id, Known { value: Some(value), lsn: self.lsn, deadline });
    }

    fn bury(&mut self, slot: Slot, evicted: bool) {
        let id = self.id(slot);
        self.lsn = self.lsn.next();
        let old = self.stripe.bury(slot, self.lsn, evicted);
        let known = Known { value: None, lsn: self.lsn, deadline: None };
        let before = self.model.insert(id, known).unwrap();
        assert_eq!(before.value.as_deref(), Some(old.value()));
    }

    /// As the engine does it: one frame for all who leave.
    fn evict_several(&mut self, n: usize) {
        let mut victims = Vec::new();
        while victims.len() < n
            && let Some(slot) = self.stripe.victim()
        {
            let id = self.id(slot);
            let charge = charge_of(self.stripe.view(slot).blob, self.model[&id].deadline.is_some());
            assert_eq!(self.stripe.charge(slot), charge);
            victims.push((id, self.stripe.remove(slot, true)));
        }
        self.lsn = self.lsn.next();
        for (id, blob) in victims {
            self.stripe.entomb(hash(id), Blob::bare(blob.key()), self.lsn);
            self.model.insert(id, Known { value: None, lsn: self.lsn, deadline: None });
        }
    }

    fn due(&mut self, budget: usize) {
        let mut named = Vec::new();
        let more = self.stripe.due(UnixMillis(self.now), budget, &mut named);
        for slot in named {
            let deadline = self.model[&self.id(slot)].deadline.expect("only who has a deadline is due");
            assert!(deadline.0 <= self.now, "nobody expires early");
            self.bury(slot, false);
        }
        let late = |known: &&Known| known.deadline.is_some_and(|deadline| deadline.0 + 256 <= self.now);
        assert!(more || self.model.values().find(late).is_none(), "nobody is forgotten");
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Put(id, len, ttl) => self.put(id, len, ttl.map(|ttl| UnixMillis(self.now + ttl))),
            Step::Bury(id, evicted) => {
                if let Some(slot) = self.live(id) {
                    self.bury(slot, evicted);
                }
            }
            Step::Remove(id) => {
                if let Some(slot) = self.find(id) {
                    self.stripe.remove(slot, false);
                    self.model.remove(&id);
                }
            }
            Step::Touch(id, ttl) => {
                if let Some(slot) = self.live(id) {
                    self.lsn = self.lsn.next();
                    let deadline = ttl.map(|ttl| UnixMillis(self.now + ttl));
                    self.stripe.set_deadline(slot, deadline, self.lsn);
                    let known = self.model.get_mut(&id).unwrap();
                    (known.lsn, known.deadline) = (self.lsn, deadline);
                }
            }
            Step::Hit(id) => {
                if let Some(slot) = self.live(id) {
                    self.stripe.hit(slot);
                }
            }
            Step::Evict => match self.stripe.victim() {
                Some(slot) => self.bury(slot, true),
                None => assert!(self.stripe.len() == 0 || self.stripe.never_evicts()),
            },
            Step::Switch(eviction) => {
                let by_bytes = self.budget.max_bytes().is_some();
                self.stripe.set_policy(AnyPolicy::new(eviction, by_bytes, None));
            }
            Step::EvictSeveral(n) => self.evict_several(n),
            Step::Reap(back) => {
                let durable = Lsn(self.lsn.0.saturating_sub(back));
                self.stripe.reap(durable);
                self.model.retain(|_, known| known.value.is_some() || known.lsn > durable);
            }
            Step::Due(span, budget) => {
                self.now += span;
                self.due(budget);
            }
            Step::Clear(namespace) => {
                self.lsn = self.lsn.next();
                match namespace {
                    Some(_) => drop(self.stripe.clear(namespace, self.lsn)),
                    None => drop(self.stripe.end_all(self.empty(), self.lsn)),
                }
                self.model.retain(|id, _| namespace.is_some_and(|namespace| id % 2 != namespace));
                assert_eq!(self.stripe.flushed_at(), self.lsn);
            }
        }
    }

    /// The stripe holds what the model holds, and its own books are in order.
    fn check(&self) {
        self.stripe.check();
        assert_eq!(self.budget.used(), self.stripe.used);
        let mut held = BTreeMap::new();
        self.stripe.visit(0, usize::MAX, |slot, view| {
            let value = (!view.is_tombstone).then(|| view.blob.value().to_vec());
            held.insert(self.id(slot), Known { value, lsn: view.lsn, deadline: view.deadline });
        });
        assert_eq!(held, self.model);
        for &id in self.model.keys() {
            assert!(self.find(id).is_some());
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0u16..40;
    let ttl = || prop::option::of(prop_oneof![0u64..2000, 0u64..10_000_000]);
    prop_oneof![
        8 => (id(), 0usize..200, ttl()).prop_map(|(id, len, ttl)| Step::Put(id, len, ttl)),
        3 => (id(), any::<bool>()).prop_map(|(id, evicted)| Step::Bury(id, evicted)),
        1 => id().prop_map(Step::Remove),
        2 => (id(), ttl()).prop_map(|(id, ttl)| Step::Touch(id, ttl)),
        3 => id().prop_map(Step::Hit),
        3 => Just(Step::Evict),
        1 => (1usize..5).prop_map(Step::EvictSeveral),
        2 => (0u64..20).prop_map(Step::Reap),
        2 => (0u64..5000, 0usize..20).prop_map(|(span, budget)| Step::Due(span, budget)),
        1 => prop::option::weighted(0.8, 0u16..2).prop_map(Step::Clear),
        1 => eviction().prop_map(Step::Switch),
    ]
}

fn eviction() -> impl Strategy<Value = Eviction> {
    prop::sample::select(&Eviction::ALL[..])
}

proptest! {
    #[test]
    fn a_stripe_holds_what_a_plain_map_would_hold(
        eviction in eviction(),
        by_bytes: bool,
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let mut fixture = Fixture::new(eviction, by_bytes);
        for step in &steps {
            fixture.run(step);
            fixture.check();
        }
    }

    #[test]
    fn a_snapshot_and_the_frames_since_give_the_same_state(
        steps in proptest::collection::vec(step(), 0..80),
        at in 0usize..80,
    ) {
        let mut fixture = Fixture::new(Eviction::S3Fifo, false);
        let mut frames: Vec<(u16, Option<Known>, Lsn)> = Vec::new();
        let mut snapshot = Vec::new();
        for (n, step) in steps.iter().enumerate() {
            if n == at {
                snapshot = snapshot_of(&fixture.stripe);
            }
            // What disappears without a frame, or by a frame that is tested elsewhere.
            if matches!(step, Step::Remove(_) | Step::Clear(_)) {
                continue;
            }
            let before = fixture.model.clone();
            fixture.run(step);
            for (&id, known) in fixture.model.iter().filter(|&(id, known)| before.get(id) != Some(known)) {
                frames.push((id, Some(known.clone()).filter(|known| known.value.is_some()), known.lsn));
            }
        }
        frames.sort_by_key(|frame| frame.2);
        let mut copy = Fixture::new(Eviction::S3Fifo, false);
        for (rank, entry) in snapshot.into_iter().enumerate() {
            let key = entry.blob.key();
            let id = u16::from_le_bytes(key.bytes.try_into().unwrap()) * 2 + key.namespace;
            let SnapshotEntry { blob, lsn, deadline, hint, .. } = entry;
            copy.stripe.load([Loading { hash: hash(id), blob, lsn, deadline, hint, rank: rank as u16 }]);
            copy.stripe.check();
        }
        copy.stripe.finish_load();
        for _ in 0..2 {
            for (id, known, lsn) in &frames {
                apply(&mut copy.stripe, *id, known.as_ref(), *lsn);
            }
            copy.model = fixture.model.clone();
            copy.model.retain(|_, known| known.value.is_some());
            copy.check();
        }
    }
}

fn snapshot_of(stripe: &Stripe) -> Vec<SnapshotEntry> {
    let (mut out, mut from) = (Vec::new(), Some(0));
    while let Some(slot) = from {
        from = stripe.chunk(slot, 3, &mut out);
    }
    out
}

fn apply(stripe: &mut Stripe, id: u16, known: Option<&Known>, lsn: Lsn) {
    let what = match known {
        Some(Known { value: Some(value), deadline, .. }) => What::Put(blob(id, value), *deadline),
        _ => What::Remove(bare(id), false),
    };
    stripe.apply(&mut vec![Change { hash: hash(id), lsn, what }]);
}

fn bare(id: u16) -> Blob {
    Blob::bare(key(id, &key_bytes(id)))
}

fn loading(id: u16, value: &[u8], lsn: u64, rank: u16) -> Loading {
    Loading { hash: hash(id), blob: blob(id, value), lsn: Lsn(lsn), deadline: None, hint: 0, rank }
}

#[test]
fn a_tombstone_keeps_the_lsn_of_the_end_until_it_is_durable() {
    let mut fixture = Fixture::new(Eviction::S3Fifo, false);
    fixture.put(1, 10, None);
    let slot = fixture.live(1).unwrap();
    fixture.bury(slot, false);
    assert_eq!(fixture.stripe.reap(Lsn(1)), 0);
    let view = fixture.stripe.view(fixture.find(1).unwrap());
    assert!(view.is_tombstone && view.lsn == Lsn(2) && view.blob.value().is_empty());
    assert_eq!(fixture.stripe.tombstones.front().map(|&(lsn, _)| lsn), Some(Lsn(2)));
    assert_eq!(fixture.stripe.reap(Lsn(2)), 1);
    assert_eq!(fixture.find(1), None);
    assert_eq!(fixture.budget.used(), Usage::default());
}

#[test]
fn a_key_that_came_back_is_not_reaped() {
    let mut fixture = Fixture::new(Eviction::Lru, false);
    fixture.put(1, 10, None);
    let slot = fixture.live(1).unwrap();
    fixture.bury(slot, true);
    fixture.put(1, 20, None);
    assert_eq!(fixture.live(1), Some(slot), "it has its slot again");
    assert_eq!(fixture.stripe.reap(fixture.lsn), 0);
    fixture.check();
}

#[test]
fn a_flush_spares_what_is_newer() {
    let mut fixture = Fixture::new(Eviction::S3Fifo, false);
    fixture.put(1, 10, None);
    fixture.put(2, 10, None);
    assert_eq!(fixture.stripe.clear(None, Lsn(2)), 1);
    assert!(fixture.live(1).is_none() && fixture.live(2).is_some());
    fixture.stripe.check();
}

#[test]
fn who_walks_while_everything_ends_is_at_the_end() {
    let mut fixture = Fixture::new(Eviction::S3Fifo, false);
    (0..100).for_each(|id| fixture.put(id, 10, None));
    let ended = fixture.stripe.end_all(fixture.empty(), fixture.lsn.next());
    assert_eq!(ended.len(), 100);
    let (mut entries, mut order) = (Vec::new(), Vec::new());
    assert_eq!(fixture.stripe.chunk(50, 10, &mut entries), None);
    fixture.stripe.walk(Some(50), 10, &mut order);
    assert!(entries.is_empty() && order.is_empty());
    fixture.stripe.check();
}

#[test]
fn a_key_loaded_twice_is_the_newer_one() {
    let mut fixture = Fixture::new(Eviction::S3Fifo, false);
    for (lsn, value) in [(5, "old"), (9, "new"), (7, "between")] {
        fixture.stripe.load([loading(1, value.as_bytes(), lsn, 0)]);
    }
    fixture.stripe.finish_load();
    fixture.stripe.check();
    let view = fixture.stripe.view(fixture.live(1).unwrap());
    assert_eq!((view.lsn, view.blob.value()), (Lsn(9), &b"new"[..]));
}

#[test]
fn what_is_loaded_leaves_in_the_order_of_its_rank() {
    let mut fixture = Fixture::new(Eviction::Lru, false);
    fixture.stripe.load([(1, 30), (2, 10), (3, 20)].map(|(id, rank)| loading(id, b"", 1, rank)));
    fixture.stripe.finish_load();
    let mut order = Vec::new();
    fixture.stripe.walk(None, 10, &mut order);
    assert_eq!(order.iter().map(|&slot| fixture.id(slot)).collect::<Vec<_>>(), [2, 3, 1]);
}

#[test]
fn a_frame_that_the_entry_has_seen_changes_nothing() {
    let mut fixture = Fixture::new(Eviction::S3Fifo, false);
    let change = |lsn, what| Change { hash: hash(1), lsn: Lsn(lsn), what };
    fixture.stripe.apply(&mut vec![
        change(5, What::Put(blob(1, b"v"), None)),
        change(4, What::Put(blob(1, b"older"), None)),
        change(5, What::Touch(bare(1), Some(UnixMillis(1)))),
        change(5, What::Remove(bare(1), false)),
        change(5, What::Flush(None)),
    ]);
    let view = fixture.stripe.view(fixture.live(1).unwrap());
    assert_eq!((view.lsn, view.deadline, view.blob.value()), (Lsn(5), None, &b"v"[..]));
    fixture.stripe.apply(&mut vec![
        change(6, What::Touch(bare(1), Some(UnixMillis(1)))),
        change(7, What::Remove(bare(1), true)),
    ]);
    assert_eq!(fixture.find(1), None);
    fixture.stripe.check();
}

#[test]
fn a_flush_among_changes_ends_what_was_before_it_and_nothing_behind_it() {
    let mut fixture = Fixture::new(Eviction::S3Fifo, false);
    let put = |id, lsn| Change { hash: hash(id), lsn: Lsn(lsn), what: What::Put(blob(id, b"v"), None) };
    let flush = Change { hash: 0, lsn: Lsn(3), what: What::Flush(None) };
    fixture.stripe.apply(&mut vec![put(1, 1), put(2, 2), flush, put(2, 4), put(3, 5)]);
    assert!(fixture.live(1).is_none() && fixture.live(2).is_some() && fixture.live(3).is_some());
    assert_eq!(fixture.budget.used().items, 2);
    fixture.stripe.check();
}

#[test]
fn room_made_before_is_enough_for_the_entries() {
    let mut fixture = Fixture::new(Eviction::S3Fifo, false);
    fixture.stripe.reserve(2000);
    let room = fixture.stripe.table.capacity();
    for id in 0..2000 {
        fixture.stripe.put(u64::from(id), blob(id, b""), Lsn(1), None);
    }
    assert_eq!(fixture.stripe.table.capacity(), room);
    fixture.stripe.check();
}

#[test]
fn with_ttl_the_earliest_deadline_leaves_first_and_no_deadline_last() {
    let mut fixture = Fixture::new(Eviction::Ttl, false);
    fixture.due(10);
    for (id, deadline) in [(1, None), (2, Some(90_000)), (3, Some(5_000)), (4, None), (5, Some(1_000_000))] {
        fixture.put(id, 1, deadline.map(UnixMillis));
    }
    fixture.stripe.hit(fixture.live(1).unwrap());
    // One gets a deadline late, and one loses it.
    fixture.put(6, 1, Some(UnixMillis(2_000)));
    fixture.put(5, 1, None);
    let mut order = Vec::new();
    while let Some(slot) = fixture.stripe.victim() {
        order.push(fixture.id(slot));
        fixture.bury(slot, true);
        fixture.check();
    }
    assert_eq!(order, [6, 3, 2, 4, 1, 5]);
}

#[test]
fn a_switch_carries_the_order_over() {
    for from in [Eviction::Lru, Eviction::S3Fifo, Eviction::Lfu, Eviction::WTinyLfu, Eviction::Sieve] {
        for to in [Eviction::Lru, Eviction::S3Fifo, Eviction::Fifo, Eviction::Lfu, Eviction::Sieve] {
            let mut fixture = Fixture::new(from, false);
            (0..30).for_each(|id| fixture.put(id, 1, None));
            let mut before = Vec::new();
            fixture.stripe.walk(None, 30, &mut before);
            fixture.run(&Step::Switch(to));
            fixture.check();
            let mut after = Vec::new();
            while let Some(slot) = fixture.stripe.victim() {
                after.push(slot);
                fixture.bury(slot, true);
            }
            assert_eq!(before, after, "{from:?} {to:?}");
        }
    }
}

/// Names some entries twice and others not at all.
#[derive(Debug)]
struct Careless(crate::evict::List);

impl Policy for Careless {
    fn on_insert(&mut self, slab: &mut Slab, slot: Slot) {
        self.0.push(slab, slot);
    }
    fn on_hit(&mut self, _: &mut Slab, _: Slot) {}
    fn on_update(&mut self, _: &mut Slab, _: Slot, old: u64, new: u64) {
        self.0.recharge(old, new);
    }
    fn on_remove(&mut self, slab: &mut Slab, slot: Slot, _: bool) {
        self.0.remove(slab, slot);
    }
    fn victim(&mut self, _: &mut Slab) -> Option<Slot> {
        self.0.tail()
    }
    fn hint(&self, _: &Slab, _: Slot) -> u8 {
        0
    }
    fn restore(&mut self, slab: &mut Slab, slot: Slot, _: u8) {
        self.0.push(slab, slot);
    }
    fn walk(&self, _: &Slab, _: Option<Slot>, _: usize, out: &mut Vec<Slot>) {
        out.extend([3, 3, 900, NIL]);
    }
    fn check(&self, slab: &Slab) -> usize {
        self.0.check(slab)
    }
}

#[test]
fn a_switch_away_from_a_careless_policy_loses_nothing() {
    let mut fixture = Fixture::new(Eviction::Lru, false);
    fixture.stripe.policy = AnyPolicy::Custom(Box::new(Careless(crate::evict::List::new(1))));
    (0..10).for_each(|id| fixture.put(id, 1, None));
    fixture.run(&Step::Switch(Eviction::Lru));
    fixture.check();
}
