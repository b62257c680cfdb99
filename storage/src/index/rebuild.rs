//! How a stripe comes back: first the snapshot, then the log.
//!
//! A snapshot is fuzzy, so a key may come twice: the higher LSN wins. [`load`](Stripe::load) puts
//! entries in the table and in no queue; [`finish_load`](Stripe::finish_load) then rebuilds the
//! order of eviction in one go, coldest first. Only after it are frames applied.
//! [`set_policy`](Stripe::set_policy) rebuilds the order of a stripe that is in use.
//!
//! [`apply`](Stripe::apply) does what a frame says if it is newer than the entry. So the frames
//! that the snapshot has seen already change nothing, and replaying twice is replaying once. It
//! makes no tombstones: whatever is read from the log here is durable.
//!
//! Both take many entries in one hold of the lock, and the budget hears of them once: sums that
//! all threads share would cost more than the rest.

use crate::{
    clock::UnixMillis,
    evict::{AnyPolicy, policy::Policy},
    format::op::Key,
    index::{
        blob::Blob,
        slab::{NIL, Slot},
        stripe::{Loaded, Stripe},
    },
    lsn::Lsn,
};

/// An entry of a snapshot.
#[derive(Debug)]
pub(crate) struct Loading {
    pub(crate) hash: u64,
    pub(crate) blob: Blob,
    pub(crate) lsn: Lsn,
    pub(crate) deadline: Option<UnixMillis>,
    /// What the policy said about it.
    pub(crate) hint: u8,
    /// Its place in the order of eviction, 0 the coldest.
    pub(crate) rank: u16,
}

/// What a frame says about one key, or about all keys of a stripe.
#[derive(Debug)]
pub(crate) struct Change {
    /// Of the key; of no meaning for a flush.
    pub(crate) hash: u64,
    pub(crate) lsn: Lsn,
    pub(crate) what: What,
}

/// Where only the key matters, the blob is bare.
#[derive(Debug)]
pub(crate) enum What {
    /// The key has this state from now on.
    Put(Blob, Option<UnixMillis>),
    /// The key has this deadline from now on.
    Touch(Blob, Option<UnixMillis>),
    /// The key is absent from now on; whether it was evicted.
    Remove(Blob, bool),
    /// The keys of the namespace (all, if `None`) are absent from now on.
    Flush(Option<u16>),
}

impl Change {
    /// The memory that it takes while it waits.
    pub(crate) fn bytes(&self) -> usize {
        let blob = match &self.what {
            What::Put(blob, _) | What::Touch(blob, _) | What::Remove(blob, _) => blob.charge_bytes(),
            What::Flush(_) => 0,
        };
        size_of::<Change>() + blob as usize
    }
}

impl Stripe {
    /// Takes entries of a snapshot.
    pub(crate) fn load(&mut self, entries: impl IntoIterator<Item = Loading>) {
        self.tracked(|stripe| entries.into_iter().for_each(|entry| stripe.load_one(entry)));
    }

    fn load_one(&mut self, entry: Loading) {
        let Loading { hash, blob, lsn, deadline, hint, rank } = entry;
        match self.find(hash, blob.key()) {
            Some(slot) if lsn > self.view(slot).lsn => {
                self.overwrite(slot, blob, lsn, deadline);
            }
            Some(_) => {}
            None => {
                let slot = self.add(hash, blob, lsn, deadline);
                self.loaded.push(Loaded { rank, hint, slot });
            }
        }
    }

    /// Puts what was loaded in the order of eviction, coldest first.
    pub(crate) fn finish_load(&mut self) {
        let mut loaded = std::mem::take(&mut self.loaded);
        // By slot where the rank is the same: the order must not depend on how it is sorted.
        loaded.sort_unstable_by_key(|entry| (entry.rank, entry.slot));
        for Loaded { hint, slot, .. } in loaded {
            self.policy.restore(&mut self.slab, slot, hint);
        }
    }

    /// Hands the order of eviction over to another policy, coldest first. Takes some 0.1 us per
    /// entry, all in one hold of the lock.
    pub(crate) fn set_policy(&mut self, mut policy: AnyPolicy) {
        let mut order = Vec::with_capacity(self.len());
        self.policy.walk(&self.slab, None, self.len(), &mut order);
        // Whatever a policy of somebody else's says: each live entry once.
        let mut left: Vec<bool> = (0..self.slab.end()).map(|slot| self.slab.is_live(slot as Slot)).collect();
        order.retain(|&slot| left.get_mut(slot as usize).is_some_and(std::mem::take));
        order.extend((0..self.slab.end() as Slot).filter(|&slot| left[slot as usize]));
        for &slot in &order {
            self.policy.on_remove(&mut self.slab, slot, false);
        }
        for slot in order {
            policy.restore(&mut self.slab, slot, 0);
        }
        self.policy = policy;
    }

    /// Applies changes in their order; none are left.
    pub(crate) fn apply(&mut self, changes: &mut Vec<Change>) {
        self.warm_up(changes);
        let mut changes = changes.drain(..);
        // A flush tells the budget itself, so it stands between two runs of the others.
        while let Some((namespace, lsn)) = self.tracked(|stripe| changes.find_map(|c| stripe.apply_one(c))) {
            self.clear(namespace, lsn);
        }
    }

    /// Touches what the changes will need. Their memory is cold: here the misses overlap, while in
    /// the middle of the work each would be waited for.
    fn warm_up(&self, changes: &[Change]) {
        let touch = |change: &Change| match &change.what {
            What::Put(blob, _) | What::Touch(blob, _) | What::Remove(blob, _) => {
                self.find(change.hash, blob.key()).unwrap_or(NIL)
            }
            What::Flush(_) => NIL,
        };
        std::hint::black_box(changes.iter().map(touch).fold(0, |all, one| all ^ one));
    }

    /// Gives a flush back.
    fn apply_one(&mut self, change: Change) -> Option<(Option<u16>, Lsn)> {
        let Change { hash, lsn, what } = change;
        match what {
            What::Put(blob, deadline) => self.apply_put(hash, blob, lsn, deadline),
            What::Touch(bare, deadline) => {
                if let Some(slot) = self.find_older(hash, bare.key(), lsn) {
                    self.redate(slot, deadline, lsn);
                }
            }
            What::Remove(bare, evicted) => {
                if let Some(slot) = self.find_older(hash, bare.key(), lsn) {
                    self.free(slot, evicted);
                }
            }
            What::Flush(namespace) => return Some((namespace, lsn)),
        }
        None
    }

    fn apply_put(&mut self, hash: u64, blob: Blob, lsn: Lsn, deadline: Option<UnixMillis>) {
        match self.find_for_replay(hash, blob.key()) {
            Some(slot) if lsn > self.view(slot).lsn => {
                self.overwrite(slot, blob, lsn, deadline);
                self.hit(slot);
            }
            Some(_) => {}
            None => {
                let slot = self.add(hash, blob, lsn, deadline);
                self.policy.on_insert(&mut self.slab, slot);
            }
        }
    }

    /// The entry of `key`, if it is older than `lsn`.
    fn find_older(&self, hash: u64, key: Key<'_>, lsn: Lsn) -> Option<Slot> {
        self.find_for_replay(hash, key).filter(|&slot| lsn > self.view(slot).lsn)
    }

    fn find_for_replay(&self, hash: u64, key: Key<'_>) -> Option<Slot> {
        assert!(self.loaded.is_empty(), "frames are applied after finish_load");
        let slot = self.find(hash, key);
        assert!(slot.is_none_or(|slot| !self.view(slot).is_tombstone), "replay makes no tombstones");
        slot
    }
}
