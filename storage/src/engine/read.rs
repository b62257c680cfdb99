//! Reads: look up, note the hit, and let the answer out when what it rests on is safe.

use std::sync::Arc;

use crate::{
    engine::{
        Core, Engine,
        commit::Gate,
        resolve::{Current, Live},
        value::{Cursor, Entry, ScanPage},
    },
    error::{Error, Result},
    format::op::Key,
    index::stripe::{NAMESPACES_COUNTED, Stripe},
    lsn::Lsn,
    sync::Ordering,
};

/// What the index says about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The bytes that are charged for it: key, value and all that belongs to them.
    pub bytes: u64,
    /// What the eviction policy thinks of it, as it stands in a snapshot: `lfu` and `s3fifo` count
    /// uses in its lower bits.
    pub hint: u8,
}

/// Keys whose entries are fetched at once: some ten misses are what a core can wait for together.
const PREFETCH_AT_ONCE: usize = 16;

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

    /// Fetches the entries of keys that are about to be used, so that memory is waited for once and not
    /// for each. Changes nothing else; worth it for two keys and more.
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = Key<'k>>) {
        let index = &self.core.index;
        let mut keys = keys.into_iter();
        loop {
            let mut hashes = [0; PREFETCH_AT_ONCE];
            let mut len = 0;
            for key in keys.by_ref().take(PREFETCH_AT_ONCE) {
                hashes[len] = index.hash(key);
                len += 1;
            }
            index.prefetch(&hashes[..len]);
            if len < PREFETCH_AT_ONCE {
                return;
            }
        }
    }

    /// Live entries of a namespace below 16; some may have expired and wait to be removed.
    ///
    /// # Errors
    /// `Invalid` for another namespace: those are not counted.
    pub fn count(&self, namespace: u16) -> Result<u64> {
        self.sum(namespace, Stripe::count)
    }

    /// Those of them that have a deadline.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn count_timed(&self, namespace: u16) -> Result<u64> {
        self.sum(namespace, Stripe::count_timed)
    }

    fn sum(&self, namespace: u16, of: fn(&Stripe, u16) -> u64) -> Result<u64> {
        if usize::from(namespace) >= NAMESPACES_COUNTED {
            let what = format!("entries are counted in namespaces 0 to {}", NAMESPACES_COUNTED - 1);
            return Err(Error::invalid(format!("{what}, namespace={namespace}")));
        }
        let index = &self.core.index;
        Ok((0..index.stripe_count()).map(|stripe| of(&index.lock(stripe), namespace)).sum())
    }

    /// An entry of a namespace; another seed mostly gives another one. Not counted as an access.
    /// Entries behind many others of other namespaces are given more often.
    pub fn any_of(&self, namespace: u16, seed: u64) -> Gate<Option<Entry>> {
        let core = &self.core;
        let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let stripe = seed % core.index.stripe_count() as u64;
        let slots = core.index.lock(stripe as usize).slots().max(1) as u64;
        let from = Cursor((stripe << 32) | ((seed >> 32) % slots));
        let prefix = Key { namespace, bytes: &[] };
        let mut cursors = vec![from, Cursor::START].into_iter();
        let mut at = cursors.next();
        let mut seen = core.gate(None, Lsn::ZERO);
        while let Some(cursor) = at {
            let (page, lsn) = core.scan(cursor, prefix, 1).into_parts();
            if let Some(entry) = page.entries.into_iter().next() {
                seen = core.gate(Some(entry), lsn.unwrap_or_default());
                break;
            }
            at = page.next.or_else(|| cursors.next());
        }
        seen
    }

    /// What the index says about an entry, without counting as an access; `None` if it is absent.
    pub fn about<'k>(&self, key: impl Into<Key<'k>>) -> Option<About> {
        let (key, core) = (key.into(), &self.core);
        let hash = core.index.hash(key);
        let stripe = core.index.lock(core.index.stripe_of(hash));
        let current = Current::of(&stripe, hash, key, core.timeline.now());
        current.live().map(|live| About { bytes: stripe.charge(live.slot), hint: stripe.hint(live.slot) })
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
