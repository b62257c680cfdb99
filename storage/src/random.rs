//! Randomness from a seed: SipHash of a counter. Good for identifiers, salts and hash keys as
//! long as the seed is secret; with a known seed every run of a simulation is the same.

use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    keys: [[u8; 16]; 2],
    counter: u64,
}

impl Random {
    /// Starts the stream of this seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let (a, b) = seed.split_at(16);
        Random { keys: [a.try_into().expect("16 bytes"), b.try_into().expect("16 bytes")], counter: 0 }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.counter += 1;
        let hash = |key: &[u8; 16]| {
            let mut hasher = SipHasher24::new_with_key(key);
            hasher.write_u64(self.counter);
            hasher.finish()
        };
        hash(&self.keys[0]) ^ hash(&self.keys[1]).rotate_left(32)
    }

    /// The next 16 bytes.
    pub fn next_id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next_u64().to_le_bytes());
        id[8..].copy_from_slice(&self.next_u64().to_le_bytes());
        id
    }
}
