//! W-TinyLFU: Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", ACM
//! Transactions on Storage 2017.
//!
//! New keys enter a small *window*, least recently used first out. Who leaves it must have been
//! asked for more often than the entry that would have to make room in the main part, or leaves
//! the cache; a sketch remembers frequencies, also of keys that are not here. The main part is a
//! segmented LRU: *probation*, and *protected* (80 %) for who was hit there. The window begins with
//! 1 % and is adapted by a hill climber.
//!
//! Saved in snapshots: the queue and the frequency of each entry. Lost with a restart: frequencies
//! of keys that were not in the cache, and the size of the window.

use crate::{
    evict::{
        climber::{Climber, WHOLE},
        list::List,
        policy::Policy,
        sketch::{COUNT_MAX, Sketch},
    },
    index::slab::{NO_QUEUE, Slab, Slot},
};

/// The protected part of the main part, in percent.
const PROTECTED_PERCENT: u64 = 80;
/// Entries that one call moves between queues that have got too long.
const MOVED_MAX: usize = 16;

const WINDOW: u8 = 1;
const PROBATION: u8 = 2;
const PROTECTED: u8 = 3;

/// In a hint, above the frequency: the queue. Zero is probation, so that a hint which says nothing
/// leaves the order as it is.
const HINT_QUEUE_SHIFT: u32 = 4;
const HINT_WINDOW: u8 = 1;
const HINT_PROTECTED: u8 = 2;

/// The policy `wtinylfu`.
#[derive(Debug)]
pub(crate) struct WTinyLfu {
    window: List,
    probation: List,
    protected: List,
    sketch: Sketch,
    climber: Climber,
    /// Queues are measured in bytes, not in entries.
    by_bytes: bool,
}

impl WTinyLfu {
    pub(crate) fn new(by_bytes: bool) -> WTinyLfu {
        WTinyLfu {
            window: List::new(WINDOW),
            probation: List::new(PROBATION),
            protected: List::new(PROTECTED),
            sketch: Sketch::new(),
            climber: Climber::new(),
            by_bytes,
        }
    }

    fn len(&self) -> usize {
        self.window.len() + self.probation.len() + self.protected.len()
    }

    fn size(&self, list: &List) -> u64 {
        if self.by_bytes { list.charge() } else { list.len() as u64 }
    }

    fn main_size(&self) -> u64 {
        self.size(&self.probation) + self.size(&self.protected)
    }

    /// What the window may have of what is there. At least the size of eight entries, unless that is
    /// a tenth: in a small stripe 1 % is too little to survive chance.
    fn window_max(&self) -> u64 {
        let all = self.size(&self.window) + self.main_size();
        let part = (u128::from(all) * u128::from(self.climber.window()) / WHOLE as u128) as u64;
        let eight = 8 * all / self.len().max(1) as u64;
        part.max(eight.min(all / 10)).max(1)
    }

    fn list(&mut self, slab: &Slab, slot: Slot) -> &mut List {
        match slab.queue(slot) {
            WINDOW => &mut self.window,
            PROBATION => &mut self.probation,
            _ => &mut self.protected,
        }
    }

    /// Moves what the window has too much to the main part: while the cache fills, and when the
    /// window is to become smaller.
    fn shrink_window(&mut self, slab: &mut Slab) {
        for _ in 0..MOVED_MAX {
            if self.window.len() <= 1 || self.size(&self.window) <= self.window_max() {
                return;
            }
            self.leave_window(slab);
        }
    }

    /// The entry that has been in the window longest moves on to probation.
    fn leave_window(&mut self, slab: &mut Slab) {
        if let Some(slot) = self.window.tail() {
            self.window.remove(slab, slot);
            self.probation.push(slab, slot);
        }
    }

    fn protect(&mut self, slab: &mut Slab, slot: Slot) {
        self.probation.remove(slab, slot);
        self.protected.push(slab, slot);
        for _ in 0..MOVED_MAX {
            let max = self.main_size() * PROTECTED_PERCENT / 100;
            match self.protected.tail() {
                Some(coldest) if self.size(&self.protected) > max && coldest != slot => {
                    self.protected.remove(slab, coldest);
                    self.probation.push(slab, coldest);
                }
                _ => return,
            }
        }
    }

    /// Who would make room in the main part.
    fn main_tail(&self) -> Option<Slot> {
        self.probation.tail().or_else(|| self.protected.tail())
    }

    fn estimate(&self, slab: &Slab, slot: Slot) -> u8 {
        self.sketch.estimate(slab.hash(slot))
    }
}

impl Policy for WTinyLfu {
    fn on_insert(&mut self, slab: &mut Slab, slot: Slot) {
        self.window.push(slab, slot);
        let entries = self.len();
        self.sketch.add(slab.hash(slot), entries);
        self.climber.record(false, entries);
        self.shrink_window(slab);
    }

    fn on_hit(&mut self, slab: &mut Slab, slot: Slot) {
        let entries = self.len();
        self.sketch.add(slab.hash(slot), entries);
        self.climber.record(true, entries);
        match slab.queue(slot) {
            WINDOW => self.window.to_head(slab, slot),
            PROBATION => self.protect(slab, slot),
            _ => self.protected.to_head(slab, slot),
        }
    }

    fn on_update(&mut self, slab: &mut Slab, slot: Slot, old_charge: u64, new_charge: u64) {
        self.list(slab, slot).recharge(old_charge, new_charge);
    }

    fn on_remove(&mut self, slab: &mut Slab, slot: Slot, _evicted: bool) {
        self.list(slab, slot).remove(slab, slot);
    }

    fn victim(&mut self, slab: &mut Slab) -> Option<Slot> {
        let (Some(candidate), Some(resident)) = (self.window.tail(), self.main_tail()) else {
            return self.window.tail().or_else(|| self.main_tail());
        };
        if self.size(&self.window) < self.window_max() {
            return Some(resident);
        }
        if self.estimate(slab, candidate) <= self.estimate(slab, resident) {
            return Some(candidate);
        }
        self.leave_window(slab);
        Some(resident)
    }

    fn hint(&self, slab: &Slab, slot: Slot) -> u8 {
        let queue = match slab.queue(slot) {
            WINDOW => HINT_WINDOW,
            PROTECTED => HINT_PROTECTED,
            _ => 0,
        };
        queue << HINT_QUEUE_SHIFT | self.estimate(slab, slot)
    }

    fn restore(&mut self, slab: &mut Slab, slot: Slot, hint: u8) {
        let list = match hint >> HINT_QUEUE_SHIFT {
            HINT_WINDOW => &mut self.window,
            HINT_PROTECTED => &mut self.protected,
            _ => &mut self.probation,
        };
        list.push(slab, slot);
        self.sketch.raise(slab.hash(slot), hint & COUNT_MAX, self.len());
    }

    /// Probation, then the window, then who is protected.
    fn walk(&self, slab: &Slab, from: Option<Slot>, max: usize, out: &mut Vec<Slot>) {
        let mut from = from.filter(|&slot| slab.is_live(slot) && slab.queue(slot) != NO_QUEUE);
        let order = [&self.probation, &self.window, &self.protected];
        let begin = from.map_or(0, |slot| order.iter().take_while(|list| !list.holds(slab, slot)).count());
        let end = out.len().saturating_add(max);
        for list in &order[begin..] {
            list.walk(slab, from.take(), end - out.len(), out);
        }
    }

    fn check(&self, slab: &Slab) -> usize {
        self.window.check(slab) + self.probation.check(slab) + self.protected.check(slab)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::op::Key, index::blob::Blob, lsn::Lsn};

    fn insert(slab: &mut Slab, policy: &mut WTinyLfu, hash: u32) -> Slot {
        let slot = slab.take(hash, Blob::bare(Key::from("k")), Lsn(1));
        policy.on_insert(slab, slot);
        slot
    }

    fn evict(slab: &mut Slab, policy: &mut WTinyLfu) -> u32 {
        let slot = policy.victim(slab).unwrap();
        let hash = slab.hash(slot);
        policy.on_remove(slab, slot, true);
        slab.release(slot);
        hash
    }

    #[test]
    fn a_scan_does_not_get_past_the_window() {
        let (mut slab, mut policy) = (Slab::new(), WTinyLfu::new(false));
        let slots: Vec<_> = (0..100).map(|hash| insert(&mut slab, &mut policy, hash)).collect();
        slots.iter().for_each(|&slot| policy.on_hit(&mut slab, slot));
        // Eight of the hundred are in the window and leave first.
        let left: Vec<_> = (1000..1200)
            .map(|hash| {
                let left = evict(&mut slab, &mut policy);
                insert(&mut slab, &mut policy, hash);
                left
            })
            .collect();
        assert!(left.iter().filter(|&&hash| hash < 100).count() <= 10);
    }

    #[test]
    fn who_is_asked_for_again_and_again_is_let_in_though_it_was_evicted() {
        let (mut slab, mut policy) = (Slab::new(), WTinyLfu::new(false));
        for hash in 0..100 {
            insert(&mut slab, &mut policy, hash);
        }
        for hash in 1000..1100 {
            evict(&mut slab, &mut policy);
            let slot = insert(&mut slab, &mut policy, if hash % 2 == 0 { 7000 } else { hash });
            if slab.queue(slot) != WINDOW || policy.sketch.estimate(7000) > 5 {
                return;
            }
        }
        panic!("it was never let in");
    }

    #[test]
    fn with_a_limit_in_bytes_one_large_entry_fills_the_window() {
        let (mut slab, mut policy) = (Slab::new(), WTinyLfu::new(true));
        for hash in 0..100 {
            let slot = insert(&mut slab, &mut policy, hash);
            policy.on_hit(&mut slab, slot);
        }
        let value = vec![0; 100_000];
        let bare = Blob::bare(Key::from("k"));
        let put = crate::format::op::Put { value: &value, ..bare.as_put(None) };
        let large = slab.take(5000, Blob::new(&put), Lsn(1));
        policy.on_insert(&mut slab, large);
        assert!(policy.size(&policy.window) > policy.window_max());
        assert_eq!(policy.victim(&mut slab), Some(large));
    }
}
