//! One lock partition of the index: which keys are here, what they hold, and when they leave.
//!
//! A [`Stripe`] keeps five things in step: a table from key to slot, the slab of entries, the
//! queues of the eviction policy, the timers, and the sums that the budget knows. Each method
//! leaves them in step; [`check`](Stripe::check) recounts them.
//!
//! An entry that ends (deleted, expired or evicted) is *buried*: its value goes at once, its key
//! stays as a tombstone with the LSN of its end until that LSN is durable, so that whoever finds
//! the key absent can wait for exactly that. [`reap`](Stripe::reap) then frees it.
//!
//! Whatever changes an entry carries the LSN of the frame that says so, and LSNs of an entry
//! never go back. Replay relies on it: `apply` acts only if the frame is newer than the entry, so
//! a frame that the snapshot has seen changes nothing. An op is therefore unique in its frame: a
//! transaction holds at most one op per key.
//!
//! Deterministic: no clock, no randomness. Not here: locking and the choice of the stripe
//! (`index`), bulk loading, replay and snapshots (`index::rebuild`, `index::walk`), and the
//! decision that somebody has to leave.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use hashbrown::HashTable;

use crate::{
    clock::UnixMillis,
    evict::{AnyPolicy, policy::Policy},
    format::op::Key,
    index::{
        blob::Blob,
        budget::{Budget, Usage},
        prefetch::prefetch,
        slab::{self, Entry, Slab, Slot},
        wheel::Wheel,
    },
    lsn::Lsn,
};

/// Namespaces whose entries are counted: those that a client can select by number.
pub(crate) const NAMESPACES_COUNTED: usize = 16;

/// The entries of one stripe.
#[derive(Debug)]
pub(crate) struct Stripe {
    pub(super) slab: Slab,
    table: HashTable<Slot>,
    pub(super) policy: AnyPolicy,
    wheel: Wheel,
    /// Tombstones in the order of their LSNs. One whose slot has moved on since is skipped.
    tombstones: VecDeque<(Lsn, Slot)>,
    used: Usage,
    /// Live entries of each of the first namespaces.
    counts: [u32; NAMESPACES_COUNTED],
    /// Those of them that have a deadline.
    timed: [u32; NAMESPACES_COUNTED],
    budget: Arc<Budget>,
    flushed_at: Lsn,
    /// Loaded entries that are in no queue yet.
    pub(super) loaded: Vec<Loaded>,
}

/// An entry of a snapshot that waits for its place in the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loaded {
    pub(super) rank: u16,
    pub(super) hint: u8,
    pub(super) slot: Slot,
}

/// What is known about one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// Key and value; of a tombstone the key alone.
    pub(crate) blob: &'a Blob,
    /// The frame that wrote it last, or that ended it.
    pub(crate) lsn: Lsn,
    /// When it expires. It may have passed: only a frame removes an entry.
    pub(crate) deadline: Option<UnixMillis>,
    /// The key is absent, and that is not durable yet.
    pub(crate) is_tombstone: bool,
}

impl Stripe {
    pub(crate) fn new(policy: AnyPolicy, budget: Arc<Budget>) -> Stripe {
        Stripe {
            slab: Slab::new(),
            table: HashTable::new(),
            policy,
            wheel: Wheel::new(),
            tombstones: VecDeque::new(),
            used: Usage::default(),
            counts: [0; NAMESPACES_COUNTED],
            timed: [0; NAMESPACES_COUNTED],
            budget,
            flushed_at: Lsn::ZERO,
            loaded: Vec::new(),
        }
    }

    /// Live entries.
    pub(crate) fn len(&self) -> usize {
        self.used.items as usize
    }

    /// Live entries of a namespace that is counted.
    pub(crate) fn count(&self, namespace: u16) -> u64 {
        u64::from(self.counts[usize::from(namespace)])
    }

    /// Those of them that have a deadline.
    pub(crate) fn count_timed(&self, namespace: u16) -> u64 {
        u64::from(self.timed[usize::from(namespace)])
    }

    /// What the policy says about an entry, for people: mostly how often it was used of late.
    pub(crate) fn hint(&self, slot: Slot) -> u8 {
        self.policy.hint(&self.slab, slot)
    }

    /// What this stripe holds of what all hold.
    pub(crate) fn used(&self) -> Usage {
        self.used
    }

    /// The LSN of the last flush that this stripe has seen. An absence may rest on it.
    pub(crate) fn flushed_at(&self) -> Lsn {
        self.flushed_at
    }

    /// The entry of `key`, live or tombstone.
    pub(crate) fn find(&self, hash: u64, key: Key<'_>) -> Option<Slot> {
        let hash = kept(hash);
        self.table.find(spread(hash), |&slot| is_of(&self.slab[slot], hash, key)).copied()
    }

    /// Fetches the entry that a key of this hash probably has.
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        if let Some(slot) = self.candidate(hash) {
            prefetch(&raw const self.slab[slot]);
        }
    }

    /// Fetches the key and the value of that entry.
    pub(crate) fn prefetch_blob(&self, hash: u64) {
        if let Some(slot) = self.candidate(hash) {
            prefetch(self.slab[slot].blob().address());
        }
    }

    /// The first slot that the table offers, without a look at the entry.
    fn candidate(&self, hash: u64) -> Option<Slot> {
        self.table.find(spread(kept(hash)), |_| true).copied()
    }

    /// What is known about the entry in `slot`, which came from this stripe under the same lock.
    pub(crate) fn view(&self, slot: Slot) -> View<'_> {
        let entry = &self.slab[slot];
        View {
            blob: entry.blob(),
            lsn: entry.lsn,
            deadline: if entry.timed { self.wheel.deadline(slot) } else { None },
            is_tombstone: entry.is_tombstone(),
        }
    }

    /// What the entry costs in bytes.
    pub(crate) fn charge(&self, slot: Slot) -> u64 {
        self.slab.charge(slot)
    }

    /// Gives a key this state, live or not. Hands out the old value, to be dropped outside the lock.
    pub(crate) fn put(
        &mut self,
        hash: u64,
        blob: Blob,
        lsn: Lsn,
        deadline: Option<UnixMillis>,
    ) -> Option<Blob> {
        match self.find(hash, blob.key()) {
            Some(slot) if self.slab[slot].is_live() => Some(self.replace(slot, blob, lsn, deadline)),
            tombstone => {
                self.come_in(tombstone, hash, blob, lsn, deadline);
                None
            }
        }
    }

    /// Puts a key that is absent, or of which a tombstone is left.
    fn come_in(
        &mut self,
        tombstone: Option<Slot>,
        hash: u64,
        blob: Blob,
        lsn: Lsn,
        deadline: Option<UnixMillis>,
    ) -> Slot {
        self.tracked(|stripe| {
            let slot = match tombstone {
                Some(slot) => {
                    stripe.revive(slot, blob, lsn, deadline);
                    slot
                }
                None => stripe.add(hash, blob, lsn, deadline),
            };
            stripe.policy.on_insert(&mut stripe.slab, slot);
            slot
        })
    }

    /// Gives a live entry a new value and hands out the old one, to be dropped outside the lock.
    /// Counts as a hit.
    pub(crate) fn replace(&mut self, slot: Slot, blob: Blob, lsn: Lsn, deadline: Option<UnixMillis>) -> Blob {
        let old = self.tracked(|stripe| stripe.overwrite(slot, blob, lsn, deadline));
        self.hit(slot);
        old
    }

    /// Gives a live entry another deadline, or none.
    pub(crate) fn set_deadline(&mut self, slot: Slot, deadline: Option<UnixMillis>, lsn: Lsn) {
        self.tracked(|stripe| stripe.redate(slot, deadline, lsn));
    }

    /// Frees an entry, live or tombstone, at once: where nobody can wait for its end.
    pub(crate) fn remove(&mut self, slot: Slot, evicted: bool) -> Blob {
        self.tracked(|stripe| stripe.free(slot, evicted))
    }

    /// Ends a live entry: the value is handed out, a tombstone stays until `lsn` is durable.
    pub(crate) fn bury(&mut self, slot: Slot, lsn: Lsn, evicted: bool) -> Blob {
        assert!(self.slab[slot].is_live(), "only a live entry is buried");
        self.tracked(|stripe| {
            stripe.policy.on_remove(&mut stripe.slab, slot, evicted);
            stripe.uncharge(slot);
            stripe.arm(slot, None);
            stripe.advance(slot, lsn);
            let bare = Blob::bare(stripe.slab[slot].blob().key());
            let old = stripe.slab[slot].make_tombstone(bare);
            stripe.charge_new(slot);
            stripe.await_durable(slot, lsn);
            old
        })
    }

    /// Puts the tombstone of a key whose entry was removed in the same lock hold, before the LSN
    /// of its end was known: first who leaves, then the one frame about all of them, then this.
    pub(crate) fn entomb(&mut self, hash: u64, bare: Blob, lsn: Lsn) {
        self.tracked(|stripe| {
            let slot = match stripe.find(hash, bare.key()) {
                Some(slot) => {
                    assert!(stripe.slab[slot].is_tombstone(), "only what is absent is entombed");
                    stripe.advance(slot, lsn);
                    slot
                }
                None => {
                    let slot = stripe.add(hash, bare.clone(), lsn, None);
                    stripe.uncharge(slot);
                    stripe.slab[slot].make_tombstone(bare);
                    stripe.charge_new(slot);
                    slot
                }
            };
            stripe.await_durable(slot, lsn);
        });
    }

    /// Frees the tombstones whose LSN is durable. Returns how many.
    pub(crate) fn reap(&mut self, durable: Lsn) -> usize {
        self.tracked(|stripe| {
            let mut reaped = 0;
            while let Some(&(lsn, slot)) = stripe.tombstones.front()
                && lsn <= durable
            {
                stripe.tombstones.pop_front();
                // The key may have come back since, and even have ended again.
                if stripe.slab[slot].is_tombstone() && stripe.slab[slot].lsn == lsn {
                    stripe.free(slot, false);
                    reaped += 1;
                }
            }
            reaped
        })
    }

    /// A live entry was used.
    pub(crate) fn hit(&mut self, slot: Slot) {
        assert!(self.slab[slot].is_live(), "only a live entry is hit");
        self.policy.on_hit(&mut self.slab, slot);
    }

    /// Who leaves next under pressure. It stays until it is buried or removed.
    pub(crate) fn victim(&mut self) -> Option<Slot> {
        // Every armed timer is that of a live entry.
        let timed = if self.policy.prefers_deadlines() { self.wheel.earliest() } else { None };
        timed.or_else(|| self.policy.victim(&mut self.slab))
    }

    /// Nobody ever leaves to make room.
    pub(crate) fn never_evicts(&self) -> bool {
        self.policy.never_evicts()
    }

    /// Adds to `out` entries whose deadline has passed, in at most `budget` units of work; see
    /// [`Wheel::due`]. They stay until they are buried or removed, and are named again if not.
    /// Returns whether work is left.
    pub(crate) fn due(&mut self, now: UnixMillis, budget: usize, out: &mut Vec<Slot>) -> bool {
        self.wheel.due(now, budget, out)
    }

    /// Ends everything at once, as a flush of all namespaces does: `lsn` is that of the flush, newer
    /// than all that is here. `empty` takes its place. What was is handed out, to be dropped without
    /// the lock: that takes a time in proportion to the entries.
    pub(crate) fn end_all(&mut self, empty: Stripe, lsn: Lsn) -> Stripe {
        assert!(empty.used == Usage::default(), "only nothing takes the place of all");
        let ended = std::mem::replace(self, empty);
        self.flushed_at = ended.flushed_at.max(lsn);
        self.budget.change(ended.used, self.used);
        ended
    }

    /// Removes what a flush ends: entries of the namespace (of all, if `None`) that are older than
    /// `before`, the LSN of the flush. Returns how many were live.
    ///
    /// Tombstones go too: [`flushed_at`](Self::flushed_at) is newer and speaks for them.
    pub(crate) fn clear(&mut self, namespace: Option<u16>, before: Lsn) -> usize {
        self.flushed_at = self.flushed_at.max(before);
        let live = self.len();
        self.tracked(|stripe| {
            for slot in 0..stripe.slab.end() as Slot {
                let entry = &stripe.slab[slot];
                let ends = !entry.is_free()
                    && entry.lsn < before
                    && namespace.is_none_or(|namespace| entry.blob().key().namespace == namespace);
                if ends {
                    stripe.free(slot, false);
                }
            }
        });
        live - self.len()
    }

    /// Makes room for `additional` entries, so that loading them does not grow the table.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.slab.reserve(additional);
        let slab = &self.slab;
        self.table.reserve(additional, |&slot| spread(slab[slot].hash));
    }

    /// Asserts I13: each live entry is in exactly one queue, each deadline has one timer, sums and
    /// counts equal a recount, and table, slab and free list agree.
    pub(crate) fn check(&self) {
        self.slab.check();
        self.wheel.check();
        let waiting: HashSet<_> = self.tombstones.iter().collect();
        let (mut used, mut timers) = (Usage::default(), 0);
        let (mut counts, mut timed) = ([0; NAMESPACES_COUNTED], [0; NAMESPACES_COUNTED]);
        for slot in 0..self.slab.end() as Slot {
            let entry = &self.slab[slot];
            if entry.is_free() {
                continue;
            }
            let found = self.table.find(spread(entry.hash), |&other| other == slot);
            assert!(found.is_some(), "slot {slot} is in the table");
            assert_eq!(
                entry.timed,
                self.wheel.deadline(slot).is_some(),
                "slot {slot} says whether it has a timer"
            );
            timers += usize::from(entry.timed);
            used.items += u64::from(entry.is_live());
            if let Some(count) = counts.get_mut(usize::from(entry.blob().key().namespace)) {
                *count += u32::from(entry.is_live());
            }
            if let Some(count) = timed.get_mut(usize::from(entry.blob().key().namespace)) {
                *count += u32::from(entry.timed);
            }
            used.bytes += self.slab.charge(slot);
            used.tombstone_bytes += if entry.is_tombstone() { self.slab.charge(slot) } else { 0 };
            assert!(
                entry.is_live() || waiting.contains(&(entry.lsn, slot)),
                "tombstone {slot} will be reaped"
            );
        }
        assert_eq!(used, self.used, "sums equal a recount");
        assert_eq!(counts, self.counts, "counts of namespaces equal a recount");
        assert_eq!(timed, self.timed, "counts of deadlines equal a recount");
        assert_eq!(timers, self.wheel.len(), "each timer is that of an entry");
        assert_eq!(self.table.len(), self.slab.len(), "the table names each slot in use once");
        let queued = self.policy.check(&self.slab) + self.loaded.len();
        assert_eq!(queued, self.len(), "each live entry is in exactly one queue");
    }
}

/// The steps that the operations above, and those of `rebuild`, are made of. They keep the sums
/// of the stripe; [`tracked`](Stripe::tracked) around them tells the budget.
impl Stripe {
    /// Does `change` and tells the budget what it cost, once. Not to be nested.
    pub(super) fn tracked<R>(&mut self, change: impl FnOnce(&mut Stripe) -> R) -> R {
        let before = self.used;
        let result = change(self);
        self.budget.change(before, self.used);
        result
    }

    /// Takes a slot for a new key, in no queue yet.
    pub(super) fn add(&mut self, hash: u64, blob: Blob, lsn: Lsn, deadline: Option<UnixMillis>) -> Slot {
        let hash = kept(hash);
        let slot = self.slab.take(hash, blob, lsn);
        let slab = &self.slab;
        self.table.insert_unique(spread(hash), slot, |&slot| spread(slab[slot].hash));
        self.arm(slot, deadline);
        self.charge_new(slot);
        slot
    }

    /// Makes a tombstone a live entry again, in no queue yet.
    fn revive(&mut self, slot: Slot, blob: Blob, lsn: Lsn, deadline: Option<UnixMillis>) {
        assert!(self.slab[slot].is_tombstone(), "insert is for keys that are absent");
        self.advance(slot, lsn);
        self.uncharge(slot);
        self.slab[slot].make_live(blob);
        self.arm(slot, deadline);
        self.charge_new(slot);
    }

    pub(super) fn overwrite(
        &mut self,
        slot: Slot,
        blob: Blob,
        lsn: Lsn,
        deadline: Option<UnixMillis>,
    ) -> Blob {
        assert!(blob.key() == self.slab[slot].blob().key(), "a slot changes its owner only by a removal");
        self.advance(slot, lsn);
        self.recharged(slot, |stripe| {
            stripe.arm(slot, deadline);
            stripe.slab[slot].blob.replace(blob).expect("a live entry has a blob")
        })
    }

    pub(super) fn redate(&mut self, slot: Slot, deadline: Option<UnixMillis>, lsn: Lsn) {
        self.advance(slot, lsn);
        self.recharged(slot, |stripe| stripe.arm(slot, deadline));
    }

    pub(super) fn free(&mut self, slot: Slot, evicted: bool) -> Blob {
        if self.slab[slot].is_live() {
            self.policy.on_remove(&mut self.slab, slot, evicted);
        }
        self.uncharge(slot);
        self.arm(slot, None);
        let found = self.table.find_entry(spread(self.slab[slot].hash), |&other| other == slot);
        found.expect("a slot in use is in the table").remove();
        self.slab.release(slot)
    }

    /// Queues a tombstone until `lsn` is durable.
    fn await_durable(&mut self, slot: Slot, lsn: Lsn) {
        assert!(self.tombstones.back().is_none_or(|&(last, _)| last <= lsn), "a stripe sees LSNs in order");
        self.tombstones.push_back((lsn, slot));
    }

    fn arm(&mut self, slot: Slot, deadline: Option<UnixMillis>) {
        let entry = &mut self.slab[slot];
        if deadline.is_some() != entry.timed
            && let Some(count) = self.timed.get_mut(usize::from(entry.blob().key().namespace))
        {
            *count = if entry.timed { *count - 1 } else { *count + 1 };
        }
        match deadline {
            Some(deadline) => self.wheel.set(slot, deadline),
            None if entry.timed => self.wheel.clear(slot),
            None => {}
        }
        entry.timed = deadline.is_some();
    }

    /// Changes a live entry, with its queue (if it is in one yet) and the sums following.
    fn recharged<R>(&mut self, slot: Slot, change: impl FnOnce(&mut Stripe) -> R) -> R {
        assert!(self.slab[slot].is_live(), "only a live entry changes");
        let old = self.slab.charge(slot);
        self.uncharge(slot);
        let result = change(self);
        self.charge_new(slot);
        let new = self.slab.charge(slot);
        // While a snapshot is loaded the policy knows nobody.
        if new != old && self.loaded.is_empty() {
            self.policy.on_update(&mut self.slab, slot, old, new);
        }
        result
    }

    fn advance(&mut self, slot: Slot, lsn: Lsn) {
        let entry = &mut self.slab[slot];
        assert!(lsn >= entry.lsn, "the LSN of an entry never goes back");
        entry.lsn = lsn;
    }

    fn charge_new(&mut self, slot: Slot) {
        let part = self.part(slot);
        self.used.items += part.items;
        self.used.bytes += part.bytes;
        self.used.tombstone_bytes += part.tombstone_bytes;
        if let Some(count) = self.count_of(slot) {
            *count += part.items as u32;
        }
    }

    fn uncharge(&mut self, slot: Slot) {
        let part = self.part(slot);
        self.used.items -= part.items;
        self.used.bytes -= part.bytes;
        self.used.tombstone_bytes -= part.tombstone_bytes;
        if let Some(count) = self.count_of(slot) {
            *count -= part.items as u32;
        }
    }

    fn count_of(&mut self, slot: Slot) -> Option<&mut u32> {
        self.counts.get_mut(usize::from(self.slab[slot].blob().key().namespace))
    }

    fn part(&self, slot: Slot) -> Usage {
        let (entry, bytes) = (&self.slab[slot], self.slab.charge(slot));
        let tombstone_bytes = if entry.is_tombstone() { bytes } else { 0 };
        Usage { items: u64::from(entry.is_live()), bytes, tombstone_bytes }
    }
}

/// What an entry with this blob will cost in bytes, so that room can be made for it.
pub(crate) fn charge_of(blob: &Blob, has_timer: bool) -> u64 {
    slab::charge_of(blob, has_timer)
}

fn is_of(entry: &Entry, hash: u32, key: Key<'_>) -> bool {
    entry.hash == hash && entry.blob().key() == key
}

/// The part of the hash that an entry keeps; the upper half chooses the stripe.
fn kept(hash: u64) -> u32 {
    hash as u32
}

/// The hash that the table works with, made from the half that the entry keeps, so that growing
/// the table reads no keys. The table takes its position from the lower bits and a tag from the
/// upper seven: an odd factor permutes the former and mixes all bits into the latter.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests;
