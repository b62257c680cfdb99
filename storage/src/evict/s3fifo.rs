//! S3-FIFO: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction",
//! SOSP 2023.
//!
//! New keys enter a *small* queue, a tenth of the cache. Who was hit there at least once moves on
//! to the *main* queue, who was not leaves, and its fingerprint stays behind as a *ghost*: if the
//! key comes back soon it goes to the main queue at once. The main queue gives everybody another
//! round for each hit, up to three. A scan thus passes through the small queue and touches
//! nothing else; a hit moves nothing and only counts.
//!
//! One hit promotes (the paper says two): that loses least on traces of pure recency.

use crate::{
    evict::{ghost::Ghosts, list::List, policy::Policy},
    index::slab::{NO_QUEUE, Slab, Slot},
};

/// The small queue holds one part in ten.
const SMALL_PART: u64 = 10;
/// Hits beyond this are not counted.
const FREQ_MAX: u8 = 3;
/// Entries that one call may spare; then the next one leaves, whatever its hits. Bounds the time
/// under the lock when everything is hot.
const SPARED_MAX: usize = 64;

const SMALL: u8 = 1;
const MAIN: u8 = 2;

/// In a hint: the entry is in the main queue. The lower bits are its hits.
const HINT_MAIN: u8 = 4;

/// The policy `s3fifo`.
#[derive(Debug)]
pub(crate) struct S3Fifo {
    small: List,
    main: List,
    ghosts: Ghosts,
    /// Queues are measured in bytes, not in entries.
    by_bytes: bool,
}

impl S3Fifo {
    pub(crate) fn new(by_bytes: bool) -> S3Fifo {
        S3Fifo { small: List::new(SMALL), main: List::new(MAIN), ghosts: Ghosts::default(), by_bytes }
    }

    fn list(&mut self, slab: &Slab, slot: Slot) -> &mut List {
        if self.small.holds(slab, slot) { &mut self.small } else { &mut self.main }
    }

    fn size(&self, list: &List) -> u64 {
        if self.by_bytes { list.charge() } else { list.len() as u64 }
    }

    /// The small queue has at least its part, so somebody leaves from there.
    fn small_is_full(&self) -> bool {
        let (small, main) = (self.size(&self.small), self.size(&self.main));
        small * SMALL_PART >= small + main
    }

    /// As many ghosts as the main queue has room for. Not as it has entries: after the first
    /// filling it has none, and a loop longer than the cache would never be recognised.
    fn ghosts_max(&self) -> usize {
        let all = self.small.len() + self.main.len();
        all - all / SMALL_PART as usize
    }

    /// Spares the candidate if it was hit: on to the main queue, or another round in it.
    fn spare(&mut self, slab: &mut Slab, slot: Slot) -> bool {
        let freq = slab.freq(slot);
        if freq == 0 {
            return false;
        }
        if self.small.holds(slab, slot) {
            self.small.remove(slab, slot);
            self.main.push(slab, slot);
            slab.set_freq(slot, 0);
        } else {
            self.main.to_head(slab, slot);
            slab.set_freq(slot, freq - 1);
        }
        true
    }

    fn candidate(&self) -> Option<Slot> {
        let (first, second) =
            if self.small_is_full() { (&self.small, &self.main) } else { (&self.main, &self.small) };
        first.tail().or_else(|| second.tail())
    }
}

impl Policy for S3Fifo {
    fn on_insert(&mut self, slab: &mut Slab, slot: Slot) {
        slab.set_freq(slot, 0);
        let back = self.ghosts.take(slab.hash(slot));
        if back { self.main.push(slab, slot) } else { self.small.push(slab, slot) }
    }

    fn on_hit(&mut self, slab: &mut Slab, slot: Slot) {
        let freq = slab.freq(slot);
        if freq < FREQ_MAX {
            slab.set_freq(slot, freq + 1);
        }
    }

    fn on_update(&mut self, slab: &mut Slab, slot: Slot, old_charge: u64, new_charge: u64) {
        self.list(slab, slot).recharge(old_charge, new_charge);
    }

    fn on_remove(&mut self, slab: &mut Slab, slot: Slot, evicted: bool) {
        if evicted && self.small.holds(slab, slot) {
            let entries = self.small.len() + self.main.len();
            self.ghosts.add(slab.hash(slot), entries, self.ghosts_max());
        }
        self.list(slab, slot).remove(slab, slot);
    }

    fn victim(&mut self, slab: &mut Slab) -> Option<Slot> {
        for _ in 0..SPARED_MAX {
            let slot = self.candidate()?;
            if !self.spare(slab, slot) {
                return Some(slot);
            }
        }
        self.candidate()
    }

    fn hint(&self, slab: &Slab, slot: Slot) -> u8 {
        let queue = if self.main.holds(slab, slot) { HINT_MAIN } else { 0 };
        queue | slab.freq(slot)
    }

    fn restore(&mut self, slab: &mut Slab, slot: Slot, hint: u8) {
        slab.set_freq(slot, hint & FREQ_MAX);
        let list = if hint & HINT_MAIN != 0 { &mut self.main } else { &mut self.small };
        list.push(slab, slot);
    }

    fn walk(&self, slab: &Slab, from: Option<Slot>, max: usize, out: &mut Vec<Slot>) {
        let from = from.filter(|&slot| slab.is_live(slot) && slab.queue(slot) != NO_QUEUE);
        let (in_main, in_small) = match from {
            Some(slot) if self.main.holds(slab, slot) => (Some(slot), None),
            other => (None, other),
        };
        let start = out.len();
        if in_main.is_none() {
            self.small.walk(slab, in_small, max, out);
        }
        let max = max - (out.len() - start);
        self.main.walk(slab, in_main, max, out);
    }

    fn check(&self, slab: &Slab) -> usize {
        self.small.check(slab) + self.main.check(slab)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::op::Key, index::blob::Blob, lsn::Lsn};

    /// A cache of at most `max` keys; a key is its own hash.
    struct Cache {
        slab: Slab,
        policy: S3Fifo,
        max: usize,
    }

    impl Cache {
        fn new(max: usize) -> Cache {
            Cache { slab: Slab::new(), policy: S3Fifo::new(false), max }
        }

        fn slot(&self, key: u32) -> Option<Slot> {
            let mut used = 0..self.slab.end() as Slot;
            used.find(|&slot| self.slab.is_live(slot) && self.slab.hash(slot) == key)
        }

        /// Reads the key, or fetches it. Returns whether it was there.
        fn get(&mut self, key: u32) -> bool {
            if let Some(slot) = self.slot(key) {
                self.policy.on_hit(&mut self.slab, slot);
                return true;
            }
            while self.slab.len() >= self.max {
                self.evict();
            }
            let slot = self.slab.take(key, Blob::bare(Key::from("k")), Lsn(1));
            self.policy.on_insert(&mut self.slab, slot);
            self.policy.check(&self.slab);
            false
        }

        fn get_all(&mut self, keys: impl IntoIterator<Item = u32>) {
            for key in keys {
                self.get(key);
            }
        }

        fn evict(&mut self) -> u32 {
            let slot = self.policy.victim(&mut self.slab).expect("there is somebody");
            let key = self.slab.hash(slot);
            self.policy.on_remove(&mut self.slab, slot, true);
            self.slab.release(slot);
            key
        }

        fn in_main(&self, key: u32) -> bool {
            self.slot(key).is_some_and(|slot| self.policy.main.holds(&self.slab, slot))
        }
    }

    #[test]
    fn a_scan_leaves_what_was_hit_alone() {
        let mut cache = Cache::new(20);
        (0..10).for_each(|key| assert!(!cache.get(key)));
        (0..10).for_each(|key| assert!(cache.get(key)));
        (100..1000).for_each(|key| assert!(!cache.get(key)));
        (0..10).for_each(|key| assert!(cache.in_main(key)));
    }

    #[test]
    fn who_was_never_hit_leaves_first() {
        let mut cache = Cache::new(20);
        cache.get_all(0..20);
        assert!(cache.get(0));
        assert_eq!([cache.evict(), cache.evict()], [1, 2]);
    }

    #[test]
    fn who_comes_back_soon_enters_the_main_queue() {
        let mut cache = Cache::new(20);
        cache.get_all(0..21);
        assert!(cache.slot(0).is_none());
        assert!(!cache.get(0));
        assert!(cache.in_main(0));
    }

    #[test]
    fn who_comes_back_late_starts_again() {
        let mut cache = Cache::new(20);
        cache.get_all((0..100).map(|key| key << 24 | key));
        assert!(!cache.get(0));
        assert!(!cache.in_main(0));
    }

    #[test]
    fn a_deleted_key_leaves_no_ghost() {
        let mut cache = Cache::new(20);
        cache.get_all(0..20);
        let slot = cache.slot(3).unwrap();
        cache.policy.on_remove(&mut cache.slab, slot, false);
        cache.slab.release(slot);
        cache.get(3);
        assert!(!cache.in_main(3));
    }

    #[test]
    fn three_hits_give_three_more_rounds_and_no_more() {
        let mut cache = Cache::new(2);
        cache.get(0);
        cache.get(0);
        cache.get(1);
        cache.get(2);
        assert!(cache.in_main(0));
        cache.get_all(std::iter::repeat_n(0, 100));
        let slot = cache.slot(0).unwrap();
        assert_eq!(cache.slab.freq(slot), 3);
    }

    #[test]
    fn when_everything_is_hot_somebody_leaves_after_a_bounded_search() {
        let mut cache = Cache::new(1000);
        for _ in 0..4 {
            cache.get_all(0..1000);
        }
        cache.evict();
        assert_eq!(cache.policy.main.len(), SPARED_MAX);
    }

    #[test]
    fn with_a_limit_in_bytes_one_large_entry_fills_the_small_queue() {
        let (mut slab, mut policy) = (Slab::new(), S3Fifo::new(true));
        let mut add = |value: &[u8], hint| {
            let blob =
                Blob::new(&crate::format::op::Put { value, ..Blob::bare(Key::from("k")).as_put(None) });
            let slot = slab.take(0, blob, Lsn(1));
            policy.restore(&mut slab, slot, hint);
            slot
        };
        let first = add(b"", HINT_MAIN);
        for _ in 0..99 {
            add(b"", HINT_MAIN);
        }
        let large = add(&[0; 100_000], 0);
        assert_eq!(policy.victim(&mut slab), Some(large));
        policy.on_remove(&mut slab, large, true);
        slab.release(large);
        assert_eq!(policy.victim(&mut slab), Some(first));
    }
}
