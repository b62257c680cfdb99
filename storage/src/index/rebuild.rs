//! How a stripe comes back: first the snapshot, then the log.
//!
//! A snapshot is fuzzy and written in no particular order, so a key may come twice: the higher
//! LSN wins. [`load`](Stripe::load) puts entries in the table and in no queue;
//! [`finish_load`](Stripe::finish_load) then rebuilds the order of eviction in one go, coldest
//! first. Only after it are frames applied. [`set_policy`](Stripe::set_policy) rebuilds the order of a
//! stripe that is in use.
//!
//! The `apply_*` methods do what a frame says if it is newer than the entry. So the frames that
//! the snapshot has seen already change nothing, and replaying twice is replaying once. They make
//! no tombstones: whatever is read from the log here is durable.

use crate::{
    clock::UnixMillis,
    evict::{AnyPolicy, policy::Policy},
    format::op::Key,
    index::{
        blob::Blob,
        slab::Slot,
        stripe::{Loaded, Stripe},
    },
    lsn::Lsn,
};

impl Stripe {
    /// Takes an entry of a snapshot: `rank` is its place in the order, 0 the coldest, `hint` what
    /// the policy said about it.
    pub(crate) fn load(
        &mut self,
        hash: u64,
        blob: Blob,
        lsn: Lsn,
        deadline: Option<UnixMillis>,
        hint: u8,
        rank: u16,
    ) {
        self.tracked(|stripe| match stripe.find(hash, blob.key()) {
            Some(slot) if lsn > stripe.view(slot).lsn => {
                stripe.overwrite(slot, blob, lsn, deadline);
            }
            Some(_) => {}
            None => {
                let slot = stripe.add(hash, blob, lsn, deadline);
                stripe.loaded.push(Loaded { rank, hint, slot });
            }
        });
    }

    /// Puts what was loaded in the order of eviction, coldest first.
    pub(crate) fn finish_load(&mut self) {
        let mut loaded = std::mem::take(&mut self.loaded);
        loaded.sort_by_key(|entry| entry.rank);
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

    /// The key has this state since `lsn`.
    pub(crate) fn apply_put(&mut self, hash: u64, blob: Blob, lsn: Lsn, deadline: Option<UnixMillis>) {
        match self.find_for_replay(hash, blob.key()) {
            Some(slot) if lsn > self.view(slot).lsn => {
                self.replace(slot, blob, lsn, deadline);
            }
            Some(_) => {}
            None => {
                self.insert(hash, blob, lsn, deadline);
            }
        }
    }

    /// The key is absent since `lsn`.
    pub(crate) fn apply_remove(&mut self, hash: u64, key: Key<'_>, lsn: Lsn, evicted: bool) {
        if let Some(slot) = self.find_for_replay(hash, key)
            && lsn > self.view(slot).lsn
        {
            self.remove(slot, evicted);
        }
    }

    /// The key has this deadline since `lsn`.
    pub(crate) fn apply_touch(&mut self, hash: u64, key: Key<'_>, deadline: Option<UnixMillis>, lsn: Lsn) {
        if let Some(slot) = self.find_for_replay(hash, key)
            && lsn > self.view(slot).lsn
        {
            self.set_deadline(slot, deadline, lsn);
        }
    }

    fn find_for_replay(&self, hash: u64, key: Key<'_>) -> Option<Slot> {
        assert!(self.loaded.is_empty(), "frames are applied after finish_load");
        let slot = self.find(hash, key);
        assert!(slot.is_none_or(|slot| !self.view(slot).is_tombstone), "replay makes no tombstones");
        slot
    }
}
