//! How often a key was asked for lately, estimated for any key: a count-min sketch with counters
//! of four bits. Cormode, Muthukrishnan, "An improved data stream summary", 2005; ageing as in
//! Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", 2017.
//!
//! A key has four counters, all in one block of 64 bytes, and its estimate is the least of them:
//! never too low, too high only if others share all four. Counters are halved once in every
//! [`SAMPLE`] additions per entry, one block after the other, so there is no pause. Eight to
//! sixteen bytes for each entry of the cache: the number of blocks doubles.

/// Eight words of sixteen counters.
type Block = [u64; 8];

/// Entries of the cache for each block.
const ENTRIES_PER_BLOCK: usize = 8;
/// 2 KiB; below, a sketch is not worth growing.
const BLOCKS_MIN: usize = 32;
/// Additions for each entry of the cache until a counter is halved.
const SAMPLE: u64 = 10;
/// Counters count no further.
pub(crate) const COUNT_MAX: u8 = 15;

/// Frequencies of keys, by their hashes.
#[derive(Debug)]
pub(crate) struct Sketch {
    /// A power of two of them.
    blocks: Vec<Block>,
    /// The next block to be halved.
    ageing: usize,
    /// Additions since one was.
    added: u64,
}

impl Sketch {
    pub(crate) fn new() -> Sketch {
        Sketch { blocks: vec![[0; 8]; BLOCKS_MIN], ageing: 0, added: 0 }
    }

    /// The key was asked for once more, in a cache of so many entries.
    pub(crate) fn add(&mut self, hash: u32, entries: usize) {
        self.grow(entries);
        let (block, counters) = self.locate(hash);
        for (word, shift) in counters {
            let word = &mut self.blocks[block][word];
            if *word >> shift & 0xf < u64::from(COUNT_MAX) {
                *word += 1 << shift;
            }
        }
        self.added += 1;
        if self.added * self.blocks.len() as u64 >= SAMPLE * entries as u64 {
            self.added = 0;
            self.halve_next();
        }
    }

    /// How often the key was asked for lately, 0 to 15.
    pub(crate) fn estimate(&self, hash: u32) -> u8 {
        let (block, counters) = self.locate(hash);
        let counts = counters.map(|(word, shift)| (self.blocks[block][word] >> shift & 0xf) as u8);
        counts.into_iter().min().expect("a key has four counters")
    }

    /// The key was asked for at least so often lately, as an earlier sketch said.
    pub(crate) fn raise(&mut self, hash: u32, count: u8, entries: usize) {
        self.grow(entries);
        let (block, counters) = self.locate(hash);
        for (word, shift) in counters {
            let word = &mut self.blocks[block][word];
            let count = u64::from(count.min(COUNT_MAX)).max(*word >> shift & 0xf);
            *word = *word & !(0xf << shift) | count << shift;
        }
    }

    /// Twice as many blocks: a key is in the one it was in or in its copy, with what it had.
    fn grow(&mut self, entries: usize) {
        while entries > self.blocks.len() * ENTRIES_PER_BLOCK {
            self.blocks.extend_from_within(..);
        }
    }

    fn halve_next(&mut self) {
        for word in &mut self.blocks[self.ageing] {
            *word = *word >> 1 & 0x7777_7777_7777_7777;
        }
        self.ageing = (self.ageing + 1) % self.blocks.len();
    }

    /// The block of a key, and word and bit of its four counters there.
    fn locate(&self, hash: u32) -> (usize, [(usize, u32); 4]) {
        let mixed = u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let block = (mixed >> 32) as usize & (self.blocks.len() - 1);
        let counters = std::array::from_fn(|n| {
            let bits = mixed >> (5 * n) & 0x1f;
            (2 * n + (bits & 1) as usize, (bits >> 1) as u32 * 4)
        });
        (block, counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_never_too_low_and_rarely_too_high() {
        let mut sketch = Sketch::new();
        for hash in 0..1000 {
            sketch.raise(hash, hash as u8 % 8, 1000);
        }
        let estimates: Vec<_> = (0..1000u32).map(|hash| u32::from(sketch.estimate(hash))).collect();
        assert!((0..1000).zip(&estimates).all(|(hash, &estimate)| estimate >= hash % 8));
        let exact = (0..1000).zip(&estimates).filter(|&(hash, &estimate)| estimate == hash % 8);
        assert!(exact.count() > 950);
    }

    #[test]
    fn what_was_asked_for_long_ago_is_forgotten() {
        let mut sketch = Sketch::new();
        (0..15).for_each(|_| sketch.add(1, 256));
        assert_eq!(sketch.estimate(1), COUNT_MAX);
        (0..8 * 2560).for_each(|i| sketch.add(1000 + i, 256));
        assert!(sketch.estimate(1) < 15);
    }

    #[test]
    fn a_sketch_that_grows_keeps_what_it_knows() {
        let mut sketch = Sketch::new();
        (0..100).for_each(|hash| sketch.raise(hash, 7, 1));
        sketch.add(5000, 100_000);
        assert!((0..100).all(|hash| sketch.estimate(hash) >= 7));
    }
}
