//! Random replacement: any entry may leave, each with the same chance.
//!
//! Draws slots of the slab until one is live. In a full cache that is nearly every slot; after a
//! large part was deleted it may be none of the first draws, and then the oldest leaves instead:
//! the search is bounded. The numbers come from a fixed seed. That is random enough here, makes
//! runs repeatable, and replay does not depend on it, since evictions are logged.

use crate::{
    evict::{list::List, policy::Policy},
    index::slab::{Slab, Slot},
};

/// Draws before the oldest is taken.
const DRAWS_MAX: usize = 64;

/// The policy `random`.
#[derive(Debug)]
pub(crate) struct Random {
    /// All entries, oldest last.
    queue: List,
    state: u64,
}

impl Random {
    pub(crate) fn new() -> Random {
        Random { queue: List::new(1), state: 0 }
    }

    /// A slot below `end`. SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
    /// generators", OOPSLA 2014.
    fn draw(&mut self, end: usize) -> Slot {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        (((mixed >> 32) * end as u64) >> 32) as Slot
    }
}

impl Policy for Random {
    fn on_insert(&mut self, slab: &mut Slab, slot: Slot) {
        self.queue.push(slab, slot);
    }

    fn on_hit(&mut self, _: &mut Slab, _: Slot) {}

    fn on_update(&mut self, _: &mut Slab, _: Slot, old_charge: u64, new_charge: u64) {
        self.queue.recharge(old_charge, new_charge);
    }

    fn on_remove(&mut self, slab: &mut Slab, slot: Slot, _evicted: bool) {
        self.queue.remove(slab, slot);
    }

    fn victim(&mut self, slab: &mut Slab) -> Option<Slot> {
        let oldest = self.queue.tail()?;
        let drawn = (0..DRAWS_MAX).map(|_| self.draw(slab.end())).find(|&slot| slab.is_live(slot));
        Some(drawn.unwrap_or(oldest))
    }

    fn hint(&self, _: &Slab, _: Slot) -> u8 {
        0
    }

    fn restore(&mut self, slab: &mut Slab, slot: Slot, _hint: u8) {
        self.queue.push(slab, slot);
    }

    fn walk(&self, slab: &Slab, from: Option<Slot>, max: usize, out: &mut Vec<Slot>) {
        let from = from.filter(|&slot| self.queue.holds(slab, slot));
        self.queue.walk(slab, from, max, out);
    }

    fn check(&self, slab: &Slab) -> usize {
        self.queue.check(slab)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::op::Key, index::blob::Blob, lsn::Lsn};

    fn filled(entries: u32) -> (Slab, Random) {
        let (mut slab, mut policy) = (Slab::new(), Random::new());
        for hash in 0..entries {
            let slot = slab.take(hash, Blob::bare(Key::from("k")), Lsn(1));
            policy.on_insert(&mut slab, slot);
        }
        (slab, policy)
    }

    #[test]
    fn victims_come_from_everywhere() {
        let (mut slab, mut policy) = filled(100);
        let mut tenths = [0; 10];
        for _ in 0..1000 {
            tenths[policy.victim(&mut slab).unwrap() as usize / 10] += 1;
        }
        assert!(tenths.iter().all(|&n| (50..200).contains(&n)), "{tenths:?}");
    }

    #[test]
    fn a_last_entry_among_many_free_slots_is_found() {
        let (mut slab, mut policy) = filled(100_000);
        for slot in 0..99_999 {
            policy.on_remove(&mut slab, slot, false);
            slab.release(slot);
        }
        assert_eq!(policy.victim(&mut slab), Some(99_999));
    }
}
