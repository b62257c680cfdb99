//! Which request comes next.

use super::{Load, wire::KEY_LEN, zipf::Zipf};
use crate::tool::crash_test::random::Random;

/// Values are pieces of one pool of random bytes, this much longer than a value.
const POOL_SPARE: usize = 64 << 10;

/// A request that has not been written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) is_read: bool,
    pub(super) key: u64,
}

/// Draws requests.
#[derive(Debug)]
pub(super) enum Draw {
    /// Reads and writes by their shares, of keys as they are asked for.
    Mixed { random: Random, read_share: f64, keys: u64, zipf: Option<Zipf> },
    /// Stores the keys `next`, `next + step` and so on.
    Fill { next: u64, step: u64 },
}

impl Draw {
    pub(super) fn mixed(load: &Load, random: Random) -> Draw {
        let zipf = load.zipf.map(|theta| Zipf::new(load.keys, theta));
        Draw::Mixed { random, read_share: load.read_share, keys: load.keys, zipf }
    }

    pub(super) fn request(&mut self) -> Request {
        match self {
            Draw::Mixed { random, read_share, keys, zipf } => {
                let is_read = uniform(random) < *read_share;
                let key = match zipf {
                    Some(zipf) => zipf.at(uniform(random)),
                    None => random.within(0..*keys),
                };
                Request { is_read, key }
            }
            Draw::Fill { next, step } => {
                let key = *next;
                *next += *step;
                Request { is_read: false, key }
            }
        }
    }
}

/// From 0 to 1, without 1.
fn uniform(random: &mut Random) -> f64 {
    (random.next() >> 11) as f64 / (1u64 << 53) as f64
}

/// Values that do not compress, without drawing each byte anew for each.
#[derive(Debug)]
pub(super) struct Values {
    pool: Vec<u8>,
    value_len: usize,
}

impl Values {
    pub(super) fn new(value_len: usize, mut random: Random) -> Values {
        let mut pool = vec![0; value_len + POOL_SPARE];
        for chunk in pool.chunks_mut(8) {
            let bytes = random.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Values { pool, value_len }
    }

    /// A value for this key.
    pub(super) fn of(&self, key: u64) -> &[u8] {
        // Neighbours do not get pieces that overlap almost whole.
        let at = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize;
        &self.pool[at..at + self.value_len]
    }
}

/// The key of a number: `key:` and twelve digits, the same length for all below a million million.
pub fn key(number: u64) -> [u8; KEY_LEN] {
    let mut key = *b"key:000000000000";
    let (mut at, mut rest) = (KEY_LEN, number);
    while rest > 0 && at > 4 {
        at -= 1;
        key[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in crate::tool::bench) fn load() -> Load {
        Load {
            connections: 2,
            threads: 1,
            span: None,
            requests: Some(100),
            warmup: Duration::ZERO,
            keys: 50,
            zipf: None,
            value_len: 10,
            read_share: 0.8,
            pipeline: 1,
            rate: None,
            ttl: None,
            fill: false,
        }
    }

    #[test]
    fn keys_have_one_length_and_are_distinct() {
        assert_eq!(&key(0), b"key:000000000000");
        assert_eq!(&key(123), b"key:000000000123");
        assert_eq!(&key(999_999_999_999), b"key:999999999999");
    }

    #[test]
    fn reads_and_writes_come_by_their_shares() {
        for (read_share, from, to) in [(0.0, 0, 0), (1.0, 10_000, 10_000), (0.8, 7_800, 8_200)] {
            let mut draw = Draw::mixed(&Load { read_share, ..load() }, Random::new(1));
            let reads = (0..10_000).filter(|_| draw.request().is_read).count();
            assert!((from..=to).contains(&reads), "{read_share}: {reads}");
        }
    }

    #[test]
    fn keys_are_drawn_from_all_and_no_others() {
        for zipf in [None, Some(0.99)] {
            let mut draw = Draw::mixed(&Load { zipf, ..load() }, Random::new(1));
            let mut seen = [false; 50];
            (0..10_000).for_each(|_| seen[draw.request().key as usize] = true);
            assert!(seen.iter().all(|&seen| seen), "{zipf:?}");
        }
    }

    #[test]
    fn filling_stores_the_keys_of_a_share_in_turn() {
        let mut draw = Draw::Fill { next: 2, step: 3 };
        let keys: Vec<Request> = (0..3).map(|_| draw.request()).collect();
        assert_eq!(keys, [2, 5, 8].map(|key| Request { is_read: false, key }));
    }

    #[test]
    fn values_have_the_length_asked_for_and_use_every_byte_alike() {
        let values = Values::new(1000, Random::new(1));
        let mut seen = [0u32; 256];
        for key in 0..256 {
            assert_eq!(values.of(key).len(), 1000);
            values.of(key).iter().for_each(|&byte| seen[usize::from(byte)] += 1);
        }
        assert!(seen.iter().all(|&count| (500..1500).contains(&count)), "{seen:?}");
        assert_eq!(Values::new(0, Random::new(1)).of(7), b"");
    }
}
