//! Reads: look up, note the hit, and let the answer out when what it rests on is safe.

use std::sync::Arc;

use crate::{
    engine::{
        Core, Engine,
        commit::Gate,
        resolve::{Current, Live},
        value::{Cursor, Entry, ScanPage},
    },
    format::op::Key,
    lsn::Lsn,
    sync::Ordering,
};

/// Slots that a scan passes in one hold of a stripe's lock …
const SCAN_CHUNK: usize = 256;
/// … and in one call, so that a prefix which nothing matches cannot hold a caller for long.
const SCAN_CALL_MAX: usize = 16 * 1024;

impl Engine {
    /// The entry of a key. Counts as an access.
    pub fn get<'k>(&self, key: impl Into<Key<'k>>) -> Gate<Option<Entry>> {
        self.core.get(key.into(), true)
    }

    /// The entry of a key, without counting as an access.
    pub fn peek<'k>(&self, key: impl Into<Key<'k>>) -> Gate<Option<Entry>> {
        self.core.get(key.into(), false)
    }

    /// Some entries whose key begins with `prefix` (all of its namespace, if it is empty), from
    /// `cursor` on; about `limit` of them.
    ///
    /// Following the cursor from [`Cursor::START`] to the end gives every key that is present
    /// all the while at least once; one that comes or goes meanwhile may be given or not.
    pub fn scan(&self, cursor: Cursor, prefix: Key<'_>, limit: usize) -> Gate<ScanPage> {
        self.core.scan(cursor, prefix, limit)
    }
}

impl Core {
    fn get(self: &Arc<Self>, key: Key<'_>, counts: bool) -> Gate<Option<Entry>> {
        let hash = self.index.hash(key);
        let now = self.timeline.now();
        let current = {
            let mut stripe = self.index.lock(self.index.stripe_of(hash));
            let current = Current::of(&stripe, hash, key, now);
            if let (Current::Live(live), true) = (&current, counts) {
                stripe.hit(live.slot);
            }
            current
        };
        if counts {
            let counter = if current.live().is_some() { &self.counters.hits } else { &self.counters.misses };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let rests_on = current.rests_on();
        let entry = match current {
            Current::Live(Live { blob, lsn, deadline, .. }) => Some(Entry::new(blob, lsn, deadline)),
            Current::Expired { .. } | Current::Absent(_) => None,
        };
        self.gate(entry, rests_on)
    }

    fn scan(self: &Arc<Self>, cursor: Cursor, prefix: Key<'_>, limit: usize) -> Gate<ScanPage> {
        let now = self.timeline.now();
        let mut page = ScanPage { entries: Vec::new(), next: None, scanned: 0 };
        let mut rests_on = Lsn::ZERO;
        let (mut stripe_no, mut slot) = ((cursor.0 >> 32) as usize, cursor.0 as u32);
        while stripe_no < self.index.stripe_count() {
            if page.entries.len() >= limit.max(1) || page.scanned >= SCAN_CALL_MAX {
                page.next = Some(Cursor((stripe_no as u64) << 32 | u64::from(slot)));
                break;
            }
            let stripe = self.index.lock(stripe_no);
            rests_on = rests_on.max(stripe.flushed_at());
            let next = stripe.visit(slot, SCAN_CHUNK, |_, view| {
                let key = view.blob.key();
                if key.namespace != prefix.namespace || !key.bytes.starts_with(prefix.bytes) {
                    return;
                }
                // That something is not listed rests on its removal or its deadline.
                rests_on = rests_on.max(view.lsn);
                let hidden = view.is_tombstone || view.deadline.is_some_and(|deadline| deadline <= now);
                if !hidden {
                    page.entries.push(Entry::new(view.blob.clone(), view.lsn, view.deadline));
                }
            });
            page.scanned += SCAN_CHUNK.min(stripe.slots().saturating_sub(slot as usize));
            (stripe_no, slot) = next.map_or((stripe_no + 1, 0), |slot| (stripe_no, slot));
        }
        self.gate(page, rests_on)
    }
}
