//! Reading a stripe in pieces, while it changes between them: for snapshots and scans.
//!
//! An entry keeps its slot for life, so a walk in slot order meets each entry that is there from
//! its beginning to its end exactly once. Entries that come or go meanwhile may be met or not;
//! the log knows about them. Nothing is pinned or copied, and a piece holds the lock briefly.

use crate::{
    clock::UnixMillis,
    evict::policy::Policy,
    index::{
        blob::Blob,
        slab::Slot,
        stripe::{Stripe, View},
    },
    lsn::Lsn,
};

/// A live entry as a snapshot takes it: the blob is shared, so it can be written without the lock.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotEntry {
    /// Key and value.
    pub(crate) blob: Blob,
    /// The frame that wrote it last.
    pub(crate) lsn: Lsn,
    /// When it expires.
    pub(crate) deadline: Option<UnixMillis>,
    /// What the eviction policy wants to know again.
    pub(crate) hint: u8,
    /// Where it is, to look up its rank.
    pub(crate) slot: Slot,
}

impl Stripe {
    /// Adds to `out` the live entries of the next `max` slots from `from` on. Returns where to go
    /// on, or `None` at the end.
    pub(crate) fn chunk(&self, from: Slot, max: usize, out: &mut Vec<SnapshotEntry>) -> Option<Slot> {
        self.visit(from, max, |slot, view| {
            if !view.is_tombstone {
                let View { blob, lsn, deadline, .. } = view;
                let hint = self.policy.hint(&self.slab, slot);
                out.push(SnapshotEntry { blob: blob.clone(), lsn, deadline, hint, slot });
            }
        })
    }

    /// Calls `visit` for each entry, live or tombstone, of the next `max` slots from `from` on.
    /// Returns where to go on, or `None` at the end.
    pub(crate) fn visit(
        &self,
        from: Slot,
        max: usize,
        mut visit: impl FnMut(Slot, View<'_>),
    ) -> Option<Slot> {
        let all = self.slab.end();
        let end = (from as usize).saturating_add(max).min(all);
        for slot in from..end as Slot {
            if !self.slab[slot].is_free() {
                visit(slot, self.view(slot));
            }
        }
        (end < all).then_some(end as Slot)
    }

    /// Slots that a walk from 0 passes: how far it is.
    pub(crate) fn slots(&self) -> usize {
        self.slab.end()
    }

    /// Adds up to `max` slots to `out`, coldest first, from behind `from` on; see [`Policy::walk`].
    pub(crate) fn walk(&self, from: Option<Slot>, max: usize, out: &mut Vec<Slot>) {
        // A flush may have ended everything, and the slots with it.
        let from = from.filter(|&slot| (slot as usize) < self.slab.end());
        self.policy.walk(&self.slab, from, max, out);
    }
}
