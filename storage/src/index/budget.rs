//! How full the cache is, against its limits.
//!
//! The limits hold for the cache as a whole: the stripes share one [`Budget`], so a stripe that
//! holds more than its share borrows from the others. Each stripe adds and subtracts what changes
//! under its own lock; the sums are exact whenever no lock is held.
//!
//! A tombstone frees the value at once and its key only when its end is durable. If all of it
//! counted, a full cache of small entries would have to evict several entries for each one that
//! comes in while the disk is busy. Tombstones up to 1/128 of the limit therefore ride free; what
//! they take beyond counts, so memory stays within the limit and that part.

use crate::sync::{AtomicU64, Ordering};

/// Tombstones may take one part in this many of the limit, on top of it.
const FREE_RIDE_PART: u64 = 128;

/// Room is made for this many writes to come besides the one that needs it, so that the removals
/// share a frame: alone, its header is twice what it says about a key.
const WRITES_AHEAD: u64 = 7;
/// But the cache gives up no more than one part in this many of its limit for that. A small cache
/// stays as full as it may be.
const AHEAD_PART: u64 = 512;

/// What all stripes together hold, and may hold.
#[derive(Debug)]
pub(crate) struct Budget {
    items: AtomicU64,
    bytes: AtomicU64,
    tombstone_bytes: AtomicU64,
    max_items: Option<u64>,
    max_bytes: Option<u64>,
}

/// What something takes of the budget, or a stripe holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Live entries.
    pub(crate) items: u64,
    /// Charges of live entries and tombstones.
    pub(crate) bytes: u64,
    /// The part of `bytes` that is tombstones.
    pub(crate) tombstone_bytes: u64,
}

impl Budget {
    pub(crate) fn new(max_items: Option<u64>, max_bytes: Option<u64>) -> Budget {
        Budget {
            items: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            tombstone_bytes: AtomicU64::new(0),
            max_items,
            max_bytes,
        }
    }

    /// Whether a limit is exceeded once `extra_bytes` and `extra_items` come in.
    pub(crate) fn over(&self, extra_bytes: u64, extra_items: u64) -> bool {
        let items = self.items.load(Ordering::Relaxed);
        exceeds(items, extra_items, self.max_items) || self.over_bytes(extra_bytes)
    }

    /// Whether the limit of bytes is exceeded once so many come in.
    pub(crate) fn over_bytes(&self, extra: u64) -> bool {
        let Some(max) = self.max_bytes else { return false };
        let used = self.used();
        let counted = used.bytes.saturating_sub(used.tombstone_bytes.min(max / FREE_RIDE_PART));
        exceeds(counted, extra, self.max_bytes)
    }

    /// How many bytes it is worth making room for at once, for writes that need `bytes` each: a
    /// few of them, and so little of the cache that nobody misses it. Zero without a limit of
    /// bytes.
    pub(crate) fn ahead(&self, bytes: u64) -> u64 {
        let max = self.max_bytes.unwrap_or(0);
        bytes.saturating_mul(WRITES_AHEAD).min(max / AHEAD_PART)
    }

    /// The same if what was removed lately were gone: no sync would make this room.
    pub(crate) fn over_without_tombstones(&self, extra_bytes: u64, extra_items: u64) -> bool {
        let used = self.used();
        let live = used.bytes - used.tombstone_bytes.min(used.bytes);
        exceeds(used.items, extra_items, self.max_items) || exceeds(live, extra_bytes, self.max_bytes)
    }

    /// Whether so much would fit into an empty cache.
    pub(crate) fn holds(&self, bytes: u64, items: u64) -> bool {
        !exceeds(0, items, self.max_items) && !exceeds(0, bytes, self.max_bytes)
    }

    /// What is held now.
    pub(crate) fn used(&self) -> Usage {
        Usage {
            items: self.items.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            tombstone_bytes: self.tombstone_bytes.load(Ordering::Relaxed),
        }
    }

    /// The limit in bytes, if there is one.
    pub(crate) fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// A stripe went from `before` to `after`.
    pub(super) fn change(&self, before: Usage, after: Usage) {
        shift(&self.items, before.items, after.items);
        shift(&self.bytes, before.bytes, after.bytes);
        shift(&self.tombstone_bytes, before.tombstone_bytes, after.tombstone_bytes);
    }
}

fn exceeds(used: u64, extra: u64, max: Option<u64>) -> bool {
    max.is_some_and(|max| used.saturating_add(extra) > max)
}

/// Relaxed: the sums guide eviction and order nothing. Each stripe subtracts only what it added
/// before, so a sum never wraps.
fn shift(sum: &AtomicU64, before: u64, after: u64) {
    if after > before {
        sum.fetch_add(after - before, Ordering::Relaxed);
    } else if before > after {
        sum.fetch_sub(before - after, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(max_items: Option<u64>, max_bytes: Option<u64>, usage: Usage) -> Budget {
        let budget = Budget::new(max_items, max_bytes);
        budget.change(Usage::default(), usage);
        budget
    }

    #[test]
    fn a_limit_is_exceeded_only_beyond_it() {
        let usage = Usage { items: 3, bytes: 100, tombstone_bytes: 0 };
        let budget = holding(Some(4), Some(110), usage);
        assert!(!budget.over(10, 1));
        assert!(budget.over(11, 1));
        assert!(budget.over(10, 2));
        assert!(!holding(None, None, usage).over(u64::MAX, u64::MAX));
        assert!(budget.holds(110, 4));
        assert!(!budget.holds(111, 1) && !budget.holds(1, 5));
    }

    #[test]
    fn room_is_made_ahead_only_for_a_small_part_of_the_limit_and_never_for_items() {
        assert_eq!(holding(None, Some(512 << 10), Usage::default()).ahead(100), 700);
        assert_eq!(holding(None, Some(512 << 10), Usage::default()).ahead(1000), 1 << 10);
        assert_eq!(holding(Some(10), None, Usage::default()).ahead(100), 0);
        assert!(!holding(Some(1), None, Usage { items: 9, ..Usage::default() }).over_bytes(u64::MAX));
    }

    #[test]
    fn few_tombstones_ride_free_and_many_count() {
        let usage = |tombstone_bytes| Usage { items: 1, bytes: 1280 + tombstone_bytes, tombstone_bytes };
        assert!(!holding(None, Some(1280), usage(10)).over(0, 0));
        assert!(holding(None, Some(1280), usage(11)).over(0, 0));
    }
}
