//! Who was evicted lately: a set of fingerprints that forgets by age.
//!
//! Behaves like a ring of the last n evicted keys with a fast look-up, at 2 to 2.5 bytes each. A
//! bucket is one cache line of 32 cells; a key belongs to one bucket, a full bucket forgets its
//! oldest. A cell holds 12 bits of the hash and 4 bits of age: the life of a ghost has ten steps,
//! and the number of the step wraps after sixteen. What has outlived its step is wiped whenever
//! its bucket is used, several times a step, so a number that comes round again finds an empty
//! cell. A stranger is taken for a ghost about once in 200 look-ups: it then enters the main queue
//! and has to be evicted from there, nothing worse.
//!
//! Not saved in snapshots: after a restart nobody was evicted lately.

/// Cells in a bucket: 64 bytes.
const CELLS: usize = 32;
/// Steps in the life of a ghost.
const LIFE: u64 = 10;
/// The number of a step has four bits.
const STEPS: u64 = 16;
const FINGERPRINT: u16 = 0x0fff;

const _: () = assert!(LIFE + 2 < STEPS, "who is too old is told from who is new");

/// The keys that were evicted lately.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// Zero is an empty cell; the lower bits are the fingerprint, never zero, the upper the step.
    buckets: Vec<[u16; CELLS]>,
    /// The current step.
    step: u64,
    /// Ghosts added in it.
    added: u64,
}

impl Ghosts {
    /// Remembers `hash`, and of those before it the last `limit`. `entries` is how many entries the
    /// cache holds: room for as many ghosts is made when it has changed a lot, and all are forgotten
    /// then, which is only while it fills.
    pub(crate) fn add(&mut self, hash: u32, entries: usize, limit: usize) {
        let room = self.buckets.len() * CELLS;
        if entries > room || entries < room / 4 {
            let buckets = (entries + entries / 4).div_ceil(CELLS).max(1);
            if buckets != self.buckets.len() {
                *self = Ghosts { buckets: vec![[0; CELLS]; buckets], ..Ghosts::default() };
            }
        }
        self.added += 1;
        if self.added * LIFE > limit as u64 {
            (self.step, self.added) = (self.step + 1, 0);
        }
        let now = self.step;
        let cells = self.bucket(hash);
        wipe(cells, now);
        let oldest = cells.iter_mut().max_by_key(|cell| if **cell == 0 { STEPS } else { age(**cell, now) });
        *oldest.expect("a bucket has cells") = ((now % STEPS) as u16) << 12 | fingerprint(hash);
    }

    /// Whether `hash` is among the ghosts; it is forgotten then.
    pub(crate) fn take(&mut self, hash: u32) -> bool {
        if self.buckets.is_empty() {
            return false;
        }
        let now = self.step;
        let cells = self.bucket(hash);
        wipe(cells, now);
        let found = cells.iter_mut().find(|cell| **cell & FINGERPRINT == fingerprint(hash));
        found.map(|cell| *cell = 0).is_some()
    }

    /// The upper bits choose the bucket, the lower ones are the fingerprint.
    fn bucket(&mut self, hash: u32) -> &mut [u16; CELLS] {
        let at = ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize;
        &mut self.buckets[at]
    }
}

/// Forgets who is too old.
fn wipe(cells: &mut [u16; CELLS], now: u64) {
    for cell in cells {
        if age(*cell, now) > LIFE {
            *cell = 0;
        }
    }
}

fn fingerprint(hash: u32) -> u16 {
    (hash as u16 & FINGERPRINT).max(1)
}

/// In steps. Of an empty cell it means nothing.
fn age(cell: u16, now: u64) -> u64 {
    (now + STEPS - u64::from(cell >> 12)) % STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(i: u32) -> u32 {
        i.wrapping_mul(0x9E37_79B1)
    }

    fn remembered(ghosts: &mut Ghosts, range: std::ops::Range<u32>) -> usize {
        range.filter(|&i| ghosts.take(hash(i))).count()
    }

    #[test]
    fn the_last_ones_are_remembered_and_the_ones_before_are_not() {
        let mut ghosts = Ghosts::default();
        (0..10_000).for_each(|i| ghosts.add(hash(i), 1000, 1000));
        assert!(remembered(&mut ghosts, 9_050..10_000) > 900);
        assert!(remembered(&mut ghosts, 5_000..8_850) < 50);
    }

    #[test]
    fn nobody_becomes_young_again_by_getting_old() {
        let mut ghosts = Ghosts::default();
        (0..1000).for_each(|i| ghosts.add(hash(i), 1000, 1000));
        // As many steps as their number wraps after, with nearly all of the newcomers coming back.
        (1000..2600).for_each(|i| {
            ghosts.add(hash(i), 1000, 1000);
            ghosts.take(hash(i));
        });
        assert!(remembered(&mut ghosts, 0..1000) < 20);
    }

    #[test]
    fn a_ghost_comes_back_once() {
        let mut ghosts = Ghosts::default();
        ghosts.add(7, 10, 10);
        assert!(!ghosts.take(8));
        assert!(ghosts.take(7));
        assert!(!ghosts.take(7));
    }

    #[test]
    fn a_stranger_is_rarely_taken_for_a_ghost() {
        let mut ghosts = Ghosts::default();
        (0..100_000).for_each(|i| ghosts.add(hash(i), 10_000, 9_000));
        assert!(remembered(&mut ghosts, 200_000..210_000) < 100);
    }

    #[test]
    fn a_ghost_costs_two_and_a_half_bytes() {
        let mut ghosts = Ghosts::default();
        ghosts.add(7, 10_000, 10_000);
        assert!(ghosts.buckets.len() * size_of::<[u16; CELLS]>() <= 25_100);
    }

    #[test]
    fn a_cache_that_never_evicted_has_no_ghosts_and_no_memory_for_them() {
        let mut ghosts = Ghosts::default();
        assert!(!ghosts.take(1));
        assert_eq!(ghosts.buckets.capacity(), 0);
    }
}
