//! Least frequently used, with dynamic ageing: Arlitt, Cherkasova, Dilley, Friedrich, Jin,
//! "Evaluating content management techniques for web proxy caches", 1999 (LFU-DA).
//!
//! An entry has the priority `age + hits` of the time of its last hit, and the lowest leaves, the
//! least recently used among equals. The age is the priority of the last victim: what was popular
//! once does not stay for ever.
//!
//! In constant time: hits are counted up to 63 only, so all priorities lie in `age..age + 64`. One
//! queue for each, as in a clock with 64 positions, and a bitmap that tells the next in use.

use crate::{
    evict::{list::List, policy::Policy},
    index::slab::{NO_QUEUE, Slab, Slot},
};

const LISTS: usize = 64;
/// Hits beyond this are not counted.
const FREQ_MAX: u8 = LISTS as u8 - 1;

/// The policy `lfu`.
#[derive(Debug)]
pub(crate) struct Lfu {
    lists: Box<[List; LISTS]>,
    /// Which lists are not empty.
    occupied: u64,
    /// The list of priority `age`; no priority is below it. The age itself is not needed.
    age: usize,
}

impl Lfu {
    pub(crate) fn new() -> Lfu {
        let lists = Box::new(std::array::from_fn(|n| List::new(n as u8 + 1)));
        Lfu { lists, occupied: 0, age: 0 }
    }

    /// Queues an entry whose priority is `ahead` of the age.
    fn push(&mut self, slab: &mut Slab, slot: Slot, ahead: u8) {
        let list = (self.age + usize::from(ahead)) % LISTS;
        self.lists[list].push(slab, slot);
        self.occupied |= 1 << list;
    }

    fn unlink(&mut self, slab: &mut Slab, slot: Slot) {
        let list = list_of(slab, slot);
        self.lists[list].remove(slab, slot);
        if self.lists[list].is_empty() {
            self.occupied &= !(1 << list);
        }
    }

    /// How far the priority of a queued entry is ahead of the age.
    fn ahead(&self, slab: &Slab, slot: Slot) -> usize {
        (list_of(slab, slot) + LISTS - self.age) % LISTS
    }

    /// How far the lowest priority is.
    fn lowest(&self) -> Option<usize> {
        let from_age = self.occupied.rotate_right(self.age as u32);
        (from_age != 0).then_some(from_age.trailing_zeros() as usize)
    }

    fn at(&self, ahead: usize) -> &List {
        &self.lists[(self.age + ahead) % LISTS]
    }
}

impl Policy for Lfu {
    fn on_insert(&mut self, slab: &mut Slab, slot: Slot) {
        slab.set_freq(slot, 1);
        self.push(slab, slot, 1);
    }

    fn on_hit(&mut self, slab: &mut Slab, slot: Slot) {
        let freq = (slab.freq(slot) + 1).min(FREQ_MAX);
        slab.set_freq(slot, freq);
        self.unlink(slab, slot);
        self.push(slab, slot, freq);
    }

    fn on_update(&mut self, slab: &mut Slab, slot: Slot, old_charge: u64, new_charge: u64) {
        self.lists[list_of(slab, slot)].recharge(old_charge, new_charge);
    }

    fn on_remove(&mut self, slab: &mut Slab, slot: Slot, evicted: bool) {
        let ahead = self.ahead(slab, slot);
        self.unlink(slab, slot);
        if evicted {
            // Not past anybody who is still here: in replay victims come in another order.
            let older = self.lowest().map_or(ahead, |lowest| lowest.min(ahead));
            self.age = (self.age + older) % LISTS;
        }
    }

    fn victim(&mut self, _: &mut Slab) -> Option<Slot> {
        self.at(self.lowest()?).tail()
    }

    /// How far the entry is ahead of the age. That it was hit more often once says little more.
    fn hint(&self, slab: &Slab, slot: Slot) -> u8 {
        self.ahead(slab, slot) as u8
    }

    fn restore(&mut self, slab: &mut Slab, slot: Slot, hint: u8) {
        let ahead = hint.min(FREQ_MAX);
        slab.set_freq(slot, ahead.max(1));
        self.push(slab, slot, ahead);
    }

    fn walk(&self, slab: &Slab, from: Option<Slot>, max: usize, out: &mut Vec<Slot>) {
        let mut from = from.filter(|&slot| slab.is_live(slot) && slab.queue(slot) != NO_QUEUE);
        let begin = from.map_or(0, |slot| self.ahead(slab, slot));
        let end = out.len().saturating_add(max);
        for ahead in begin..LISTS {
            self.at(ahead).walk(slab, from.take(), end - out.len(), out);
        }
    }

    fn check(&self, slab: &Slab) -> usize {
        for (n, list) in self.lists.iter().enumerate() {
            assert_eq!(self.occupied >> n & 1 == 1, !list.is_empty(), "the bitmap agrees with list {n}");
        }
        self.lists.iter().map(|list| list.check(slab)).sum()
    }
}

/// The list that a queued entry is in.
fn list_of(slab: &Slab, slot: Slot) -> usize {
    usize::from(slab.queue(slot)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::op::Key, index::blob::Blob, lsn::Lsn};

    fn insert(slab: &mut Slab, policy: &mut Lfu) -> Slot {
        let slot = slab.take(0, Blob::bare(Key::from("k")), Lsn(1));
        policy.on_insert(slab, slot);
        slot
    }

    fn evict(slab: &mut Slab, policy: &mut Lfu) -> Slot {
        let slot = policy.victim(slab).unwrap();
        policy.on_remove(slab, slot, true);
        slab.release(slot);
        slot
    }

    #[test]
    fn the_least_hit_leaves_and_the_least_recently_used_of_equals() {
        let (mut slab, mut policy) = (Slab::new(), Lfu::new());
        let slots: Vec<_> = (0..4).map(|_| insert(&mut slab, &mut policy)).collect();
        for slot in [0, 0, 3, 2] {
            policy.on_hit(&mut slab, slots[slot]);
        }
        let order: Vec<_> = (0..4).map(|_| evict(&mut slab, &mut policy)).collect();
        assert_eq!(order, [slots[1], slots[3], slots[2], slots[0]]);
    }

    #[test]
    fn what_was_popular_once_leaves_in_the_end() {
        let (mut slab, mut policy) = (Slab::new(), Lfu::new());
        let star = insert(&mut slab, &mut policy);
        (0..1000).for_each(|_| policy.on_hit(&mut slab, star));
        insert(&mut slab, &mut policy);
        let rounds = (0..1000).take_while(|_| {
            let new = insert(&mut slab, &mut policy);
            policy.on_hit(&mut slab, new);
            evict(&mut slab, &mut policy) != star
        });
        assert!((30..200).contains(&rounds.count()));
    }
}
