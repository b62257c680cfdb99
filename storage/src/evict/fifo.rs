//! First in, first out: the oldest entry leaves, whatever was read or overwritten meanwhile.
//!
//! The cheapest order there is, and a poor one; the others are measured against it.

use crate::{
    evict::{list::List, policy::Policy},
    index::slab::{Slab, Slot},
};

/// The policy `fifo`.
#[derive(Debug)]
pub(crate) struct Fifo {
    queue: List,
}

impl Fifo {
    pub(crate) fn new() -> Fifo {
        Fifo { queue: List::new(1) }
    }
}

impl Policy for Fifo {
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

    fn victim(&mut self, _: &mut Slab) -> Option<Slot> {
        self.queue.tail()
    }

    /// The place in the order says it all.
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
