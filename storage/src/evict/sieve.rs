//! SIEVE: Zhang, Yang, Yue, Vigfusson, Rashmi, "SIEVE is simpler than LRU: an efficient turn-key
//! eviction algorithm for web caches", NSDI 2024.
//!
//! One queue in order of arrival, a bit per entry, and a hand that goes from the oldest to the
//! newest and round again: who was hit since it last came by loses the bit and stays where it is,
//! the first who was not leaves. New keys enter behind the hand, so what proved popular is sieved
//! out from among them and never moves.
//!
//! Weak where keys come back a fixed time after they were new: once the hand is closer to the
//! newest than that, nobody is ever seen with a bit again.

use crate::{
    evict::{list::List, policy::Policy},
    index::slab::{Slab, Slot},
};

/// Entries that one call may spare; then the next one leaves, hit or not. Bounds the time under
/// the lock when everything is hot.
const SPARED_MAX: usize = 4096;

/// In a hint: the entry was hit.
const HINT_HIT: u8 = 1;
/// In a hint: the hand is here.
const HINT_HAND: u8 = 2;

/// The policy `sieve`.
#[derive(Debug)]
pub(crate) struct Sieve {
    queue: List,
    /// Who is looked at next; the oldest if `None`.
    hand: Option<Slot>,
}

impl Sieve {
    pub(crate) fn new() -> Sieve {
        Sieve { queue: List::new(1), hand: None }
    }
}

impl Policy for Sieve {
    fn on_insert(&mut self, slab: &mut Slab, slot: Slot) {
        slab.set_freq(slot, 0);
        self.queue.push(slab, slot);
    }

    fn on_hit(&mut self, slab: &mut Slab, slot: Slot) {
        slab.set_freq(slot, 1);
    }

    fn on_update(&mut self, _: &mut Slab, _: Slot, old_charge: u64, new_charge: u64) {
        self.queue.recharge(old_charge, new_charge);
    }

    fn on_remove(&mut self, slab: &mut Slab, slot: Slot, _evicted: bool) {
        if self.hand == Some(slot) {
            self.hand = self.queue.newer(slab, slot);
        }
        self.queue.remove(slab, slot);
    }

    fn victim(&mut self, slab: &mut Slab) -> Option<Slot> {
        let mut at = self.hand.or(self.queue.tail())?;
        for _ in 0..SPARED_MAX {
            if slab.freq(at) == 0 {
                break;
            }
            slab.set_freq(at, 0);
            at = self.queue.newer(slab, at).or(self.queue.tail())?;
        }
        self.hand = Some(at);
        Some(at)
    }

    fn hint(&self, slab: &Slab, slot: Slot) -> u8 {
        let hand = if self.hand == Some(slot) { HINT_HAND } else { 0 };
        hand | slab.freq(slot)
    }

    fn restore(&mut self, slab: &mut Slab, slot: Slot, hint: u8) {
        slab.set_freq(slot, hint & HINT_HIT);
        self.queue.push(slab, slot);
        if hint & HINT_HAND != 0 {
            self.hand = Some(slot);
        }
    }

    fn walk(&self, slab: &Slab, from: Option<Slot>, max: usize, out: &mut Vec<Slot>) {
        let from = from.filter(|&slot| self.queue.holds(slab, slot));
        self.queue.walk(slab, from, max, out);
    }

    fn check(&self, slab: &Slab) -> usize {
        assert!(self.hand.is_none_or(|slot| self.queue.holds(slab, slot)), "the hand is in the queue");
        self.queue.check(slab)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::op::Key, index::blob::Blob, lsn::Lsn};

    fn insert(slab: &mut Slab, policy: &mut Sieve) -> Slot {
        let slot = slab.take(0, Blob::bare(Key::from("k")), Lsn(1));
        policy.on_insert(slab, slot);
        slot
    }

    fn evict(slab: &mut Slab, policy: &mut Sieve) -> Slot {
        let slot = policy.victim(slab).unwrap();
        policy.on_remove(slab, slot, true);
        slab.release(slot);
        slot
    }

    #[test]
    fn the_hand_spares_who_was_hit_once_and_goes_on_from_where_it_was() {
        let (mut slab, mut policy) = (Slab::new(), Sieve::new());
        let slots: Vec<_> = (0..5).map(|_| insert(&mut slab, &mut policy)).collect();
        policy.on_hit(&mut slab, slots[0]);
        policy.on_hit(&mut slab, slots[2]);
        assert_eq!(evict(&mut slab, &mut policy), slots[1]);
        assert_eq!(evict(&mut slab, &mut policy), slots[3]);
        assert_eq!(evict(&mut slab, &mut policy), slots[4]);
        // Round again: the bits are gone.
        assert_eq!(evict(&mut slab, &mut policy), slots[0]);
        assert_eq!(evict(&mut slab, &mut policy), slots[2]);
    }

    #[test]
    fn when_everything_is_hot_somebody_leaves_after_a_bounded_search() {
        let (mut slab, mut policy) = (Slab::new(), Sieve::new());
        for _ in 0..10_000 {
            let slot = insert(&mut slab, &mut policy);
            policy.on_hit(&mut slab, slot);
        }
        assert_eq!(evict(&mut slab, &mut policy), SPARED_MAX as Slot);
    }
}
