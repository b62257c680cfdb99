//! One queue, from whose tail entries leave. They come in at its head; what a use does to them is
//! the policy:
//!
//! * `lru`: whatever is used goes to the head again, so the least recently used leaves, exactly.
//! * `fifo`: nothing, so the oldest leaves, whatever was read or overwritten meanwhile. The cheapest
//!   order there is, and a poor one; the others are measured against it.

use crate::{
    evict::{list::List, policy::Policy},
    index::slab::{Slab, Slot},
};

/// The policies `lru` and `fifo`.
#[derive(Debug)]
pub(crate) struct Queue {
    queue: List,
    /// A use counts as coming anew.
    by_use: bool,
}

impl Queue {
    /// `lru`.
    pub(crate) fn by_use() -> Queue {
        Queue { queue: List::new(1), by_use: true }
    }

    /// `fifo`.
    pub(crate) fn by_arrival() -> Queue {
        Queue { queue: List::new(1), by_use: false }
    }
}

impl Policy for Queue {
    fn on_insert(&mut self, slab: &mut Slab, slot: Slot) {
        self.queue.push(slab, slot);
    }

    fn on_hit(&mut self, slab: &mut Slab, slot: Slot) {
        if self.by_use {
            self.queue.to_head(slab, slot);
        }
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{format::op::Key, index::blob::Blob, lsn::Lsn};

    proptest! {
        #[test]
        fn the_order_is_that_of_the_last_use(
            steps in proptest::collection::vec((0u8..3, 0usize..20), 0..200),
        ) {
            let (mut slab, mut lru) = (Slab::new(), Queue::by_use());
            let mut model: Vec<Slot> = Vec::new();
            for (step, pick) in steps {
                match step {
                    0 => {
                        let slot = slab.take(0, Blob::bare(Key::from("k")), Lsn(1));
                        lru.on_insert(&mut slab, slot);
                        model.push(slot);
                    }
                    1 if !model.is_empty() => {
                        let slot = model.remove(pick % model.len());
                        lru.on_hit(&mut slab, slot);
                        model.push(slot);
                    }
                    _ => {
                        prop_assert_eq!(lru.victim(&mut slab), model.first().copied());
                        if !model.is_empty() {
                            let slot = model.remove(0);
                            lru.on_remove(&mut slab, slot, true);
                            slab.release(slot);
                        }
                    }
                }
                let mut order = Vec::new();
                lru.walk(&slab, None, usize::MAX, &mut order);
                prop_assert_eq!(&order, &model);
                lru.check(&slab);
            }
        }
    }
}
