//! Who was evicted lately: a set of fingerprints that forgets the oldest.
//!
//! Behaves nearly like a queue of the last n evicted keys, those that came back left out, with a
//! fast look-up, at 2 to 2.5 bytes each. A bucket is one cache line of 32 cells; a key belongs to
//! one bucket, a full bucket forgets its oldest. A cell holds 12 bits of the hash and the number of
//! a *step*, an eighth of the queue; it is steps that are forgotten, when all ghosts together are
//! too many. The number has four bits and comes round again: cells of forgotten steps are wiped
//! whenever their bucket is used, several times a step. A stranger is taken for a ghost about
//! once in 200 look-ups: it then enters the main queue and has to be evicted from there, nothing
//! worse.
//!
//! Not saved in snapshots: after a restart nobody was evicted lately.

/// Cells in a bucket: 64 bytes.
const CELLS: usize = 32;
/// Steps in a full queue of which nobody came back.
const PARTS: usize = 8;
/// Numbers of steps.
const NUMBERS: u64 = 16;
/// Most steps that are remembered; with many who came back they hold less than an eighth each.
const SPAN_MAX: u64 = 13;
const FINGERPRINT: u16 = 0x0fff;

const _: () = assert!(PARTS + 1 < SPAN_MAX as usize && SPAN_MAX + 2 < NUMBERS, "time to wipe a number");

/// The keys that were evicted lately.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// Zero is an empty cell; the lower bits are the fingerprint, never zero, the upper the step.
    buckets: Vec<[u16; CELLS]>,
    /// The oldest step that is remembered, and the current one.
    oldest: u64,
    newest: u64,
    /// Ghosts of each step, and of all that are remembered.
    of_step: [usize; NUMBERS as usize],
    all: usize,
}

impl Ghosts {
    /// Remembers `hash`, and of those before it as many as make `limit`. `entries` is how many
    /// entries the cache holds: room for as many ghosts is made when it has changed a lot, and all
    /// are forgotten then, which is only while it fills.
    pub(crate) fn add(&mut self, hash: u32, entries: usize, limit: usize) {
        let room = self.buckets.len() * CELLS;
        if entries > room || entries < room / 4 {
            let buckets = (entries + entries / 4).div_ceil(CELLS).max(1);
            if buckets != self.buckets.len() {
                *self = Ghosts { buckets: vec![[0; CELLS]; buckets], ..Ghosts::default() };
            }
        }
        self.advance(limit);
        let (oldest, newest) = (self.oldest, self.newest);
        let cells = self.bucket(hash);
        wipe(cells, oldest, newest);
        let cell =
            cells.iter_mut().max_by_key(|cell| if **cell == 0 { NUMBERS } else { age(**cell, newest) });
        let cell = cell.expect("a bucket has cells");
        let before = std::mem::replace(cell, number(newest) << 12 | fingerprint(hash));
        self.uncount(before);
        self.of_step[usize::from(number(newest))] += 1;
        self.all += 1;
    }

    /// Whether `hash` is among the ghosts; it is forgotten then.
    pub(crate) fn take(&mut self, hash: u32) -> bool {
        if self.buckets.is_empty() {
            return false;
        }
        let (oldest, newest) = (self.oldest, self.newest);
        let cells = self.bucket(hash);
        wipe(cells, oldest, newest);
        let found = cells.iter_mut().find(|cell| **cell & FINGERPRINT == fingerprint(hash));
        let Some(found) = found.map(std::mem::take) else { return false };
        self.uncount(found);
        true
    }

    /// Begins a new step if the current one is full, and forgets the oldest of too many ghosts; half
    /// a step too many and half a step too few are the same.
    fn advance(&mut self, limit: usize) {
        if self.of_step[usize::from(number(self.newest))] * PARTS >= limit {
            self.newest += 1;
        }
        let half_a_step = limit / (2 * PARTS);
        while self.oldest < self.newest
            && (self.all >= limit + half_a_step || self.newest - self.oldest >= SPAN_MAX)
        {
            self.all -= std::mem::take(&mut self.of_step[usize::from(number(self.oldest))]);
            self.oldest += 1;
        }
    }

    /// A cell is used for another, or was taken.
    fn uncount(&mut self, cell: u16) {
        let of_step = &mut self.of_step[usize::from(cell >> 12)];
        // Of a cell that was wiped too late nobody knows any more.
        if cell != 0 && *of_step > 0 {
            *of_step -= 1;
            self.all -= 1;
        }
    }

    /// The upper bits choose the bucket, the lower ones are the fingerprint.
    fn bucket(&mut self, hash: u32) -> &mut [u16; CELLS] {
        let at = ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize;
        &mut self.buckets[at]
    }
}

/// Forgets the cells of steps that are forgotten.
fn wipe(cells: &mut [u16; CELLS], oldest: u64, newest: u64) {
    for cell in cells {
        if age(*cell, newest) > newest - oldest {
            *cell = 0;
        }
    }
}

fn fingerprint(hash: u32) -> u16 {
    (hash as u16 & FINGERPRINT).max(1)
}

/// A step as a cell names it.
fn number(step: u64) -> u16 {
    (step % NUMBERS) as u16
}

/// In steps. Of an empty cell it means nothing.
fn age(cell: u16, newest: u64) -> u64 {
    (newest + NUMBERS - u64::from(cell >> 12)) % NUMBERS
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
        // More steps than there are numbers, with half of the newcomers coming back.
        (1000..5000).for_each(|i| {
            ghosts.add(hash(i), 1000, 1000);
            if i % 2 == 0 {
                ghosts.take(hash(i));
            }
        });
        assert!(remembered(&mut ghosts, 0..1000) < 20);
    }

    #[test]
    fn who_came_back_takes_no_room() {
        let mut ghosts = Ghosts::default();
        (0..900).for_each(|i| ghosts.add(hash(i), 1000, 1000));
        (1000..3000).for_each(|i| {
            ghosts.add(hash(i), 1000, 1000);
            ghosts.take(hash(i));
        });
        assert!(remembered(&mut ghosts, 0..900) > 850);
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
