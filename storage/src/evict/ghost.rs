//! Who was evicted lately: a set of fingerprints that forgets by age.
//!
//! Behaves like a ring of the last n evicted keys with a fast look-up, at four bytes each. A
//! bucket is one cache line of 16 cells; a key belongs to one bucket, a full bucket forgets its
//! oldest. A cell holds 16 bits of the hash and the age, in steps of 1/256 of the capacity. A
//! stranger is taken for a ghost about once in 5,000 look-ups: it then enters the main queue
//! and has to be evicted from there, nothing worse.
//!
//! Not saved in snapshots: after a restart nobody was evicted lately.

/// Cells in a bucket: 64 bytes.
const CELLS: usize = 16;
/// Steps of age in the life of a ghost.
const AGE_STEPS: u64 = 256;

/// The keys that were evicted lately.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// Zero is an empty cell; the lower half is the fingerprint, never zero, the upper the step.
    buckets: Vec<[u32; CELLS]>,
    /// Ghosts ever added.
    added: u64,
}

impl Ghosts {
    /// Remembers `hash`. `entries` is how many entries the cache holds: room for as many ghosts is
    /// made when it has changed a lot, and all are forgotten then, which is only while it fills.
    pub(crate) fn add(&mut self, hash: u32, entries: usize) {
        let room = self.buckets.len() * CELLS;
        if entries > room || entries < room / 4 {
            let buckets = (entries + entries / 4).div_ceil(CELLS).max(1);
            if buckets != self.buckets.len() {
                *self = Ghosts { buckets: vec![[0; CELLS]; buckets], added: 0 };
            }
        }
        let (now, bucket) = (self.step(), self.bucket_of(hash));
        let cells = &mut self.buckets[bucket];
        let oldest = cells.iter_mut().max_by_key(|cell| match **cell {
            0 => u32::MAX,
            cell => u32::from(age(cell, now)),
        });
        *oldest.expect("a bucket has cells") = u32::from(now) << 16 | fingerprint(hash);
        self.added += 1;
    }

    /// Whether `hash` is among the last `limit` ghosts; it is forgotten then.
    pub(crate) fn take(&mut self, hash: u32, limit: usize) -> bool {
        if self.buckets.is_empty() {
            return false;
        }
        let (now, bucket) = (self.step(), self.bucket_of(hash));
        let steps = (limit as u64).div_ceil(self.per_step());
        let found = self.buckets[bucket].iter_mut().find(|cell| {
            **cell != 0 && **cell & 0xffff == fingerprint(hash) && u64::from(age(**cell, now)) <= steps
        });
        found.map(|cell| *cell = 0).is_some()
    }

    fn per_step(&self) -> u64 {
        ((self.buckets.len() * CELLS) as u64 / AGE_STEPS).max(1)
    }

    fn step(&self) -> u16 {
        (self.added / self.per_step()) as u16
    }

    /// The upper bits choose the bucket, the lower ones are the fingerprint.
    fn bucket_of(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }
}

fn fingerprint(hash: u32) -> u32 {
    (hash & 0xffff).max(1)
}

/// Wraps after 256 lives of a ghost; long before, the cell has been used again.
fn age(cell: u32, now: u16) -> u16 {
    now.wrapping_sub((cell >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(i: u32) -> u32 {
        i.wrapping_mul(0x9E37_79B1)
    }

    fn remembered(ghosts: &mut Ghosts, range: std::ops::Range<u32>, limit: usize) -> usize {
        range.filter(|&i| ghosts.take(hash(i), limit)).count()
    }

    #[test]
    fn the_last_ones_are_remembered_and_the_ones_before_are_not() {
        let mut ghosts = Ghosts::default();
        (0..10_000).for_each(|i| ghosts.add(hash(i), 1000));
        assert!(remembered(&mut ghosts, 9_050..10_000, 1000) > 900);
        assert!(remembered(&mut ghosts, 0..8_900, 1000) < 10);
    }

    #[test]
    fn a_ghost_comes_back_once() {
        let mut ghosts = Ghosts::default();
        ghosts.add(7, 10);
        assert!(!ghosts.take(8, 10));
        assert!(ghosts.take(7, 10));
        assert!(!ghosts.take(7, 10));
    }

    #[test]
    fn a_cache_that_never_evicted_has_no_ghosts_and_no_memory_for_them() {
        let mut ghosts = Ghosts::default();
        assert!(!ghosts.take(1, 10));
        assert_eq!(ghosts.buckets.capacity(), 0);
    }
}
