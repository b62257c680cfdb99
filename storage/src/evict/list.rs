//! A queue of entries, threaded through the entries themselves.
//!
//! The head is where entries come in, the tail is where they leave. An entry is in at most one
//! [`List`], whose number it carries. The list counts its entries and the bytes they cost.

use crate::index::slab::{NIL, NO_QUEUE, Slab, Slot};

/// A doubly linked list over the slots of one slab.
#[derive(Debug)]
pub struct List {
    queue: u8,
    head: Slot,
    tail: Slot,
    len: usize,
    charge: u64,
}

impl List {
    /// An empty list. `queue` tells it from the other lists of the policy; it is not zero.
    pub fn new(queue: u8) -> List {
        assert!(queue != NO_QUEUE, "queues are numbered from 1");
        List { queue, head: NIL, tail: NIL, len: 0, charge: 0 }
    }

    /// Entries in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What its entries cost in bytes.
    pub fn charge(&self) -> u64 {
        self.charge
    }

    /// The entry that came first of those still here.
    pub fn tail(&self) -> Option<Slot> {
        (self.tail != NIL).then_some(self.tail)
    }

    /// The entry that came in after this one, which is in this list.
    pub fn newer(&self, slab: &Slab, slot: Slot) -> Option<Slot> {
        Some(slab[slot].prev).filter(|&newer| newer != NIL)
    }

    /// Whether `slot` is in this list.
    pub fn holds(&self, slab: &Slab, slot: Slot) -> bool {
        slab.queue(slot) == self.queue
    }

    /// Puts an entry that is in no list at the head.
    pub fn push(&mut self, slab: &mut Slab, slot: Slot) {
        self.link(slab, slot);
        self.len += 1;
        self.charge += slab.charge(slot);
    }

    /// Takes the entry out.
    pub fn remove(&mut self, slab: &mut Slab, slot: Slot) {
        self.unlink(slab, slot);
        self.len -= 1;
        self.charge -= slab.charge(slot);
    }

    /// Moves the entry to the head.
    pub fn to_head(&mut self, slab: &mut Slab, slot: Slot) {
        if self.head != slot {
            self.unlink(slab, slot);
            self.link(slab, slot);
        }
    }

    /// An entry of this list costs `new` bytes from now on, not `old`.
    pub fn recharge(&mut self, old: u64, new: u64) {
        self.charge = self.charge - old + new;
    }

    /// Adds up to `max` slots to `out` from the tail on, or from behind `from`.
    pub fn walk(&self, slab: &Slab, from: Option<Slot>, max: usize, out: &mut Vec<Slot>) {
        let mut at = match from {
            Some(slot) => slab[slot].prev,
            None => self.tail,
        };
        for _ in 0..max {
            if at == NIL {
                return;
            }
            out.push(at);
            at = slab[at].prev;
        }
    }

    /// Asserts that links, count and sum agree with the entries. Returns the count.
    pub fn check(&self, slab: &Slab) -> usize {
        let (mut len, mut charge, mut next, mut at) = (0, 0, NIL, self.tail);
        while at != NIL {
            assert!(slab.is_live(at), "queue {} holds live entries only, slot={at}", self.queue);
            assert!(self.holds(slab, at), "slot {at} carries the number of its queue");
            assert_eq!(slab[at].next, next, "the links of slot {at} agree");
            charge += slab.charge(at);
            next = at;
            at = slab[at].prev;
            len += 1;
            assert!(len <= self.len, "queue {} has no cycle", self.queue);
        }
        assert_eq!(
            (self.head, self.len, self.charge),
            (next, len, charge),
            "queue {} is counted right",
            self.queue
        );
        len
    }

    fn link(&mut self, slab: &mut Slab, slot: Slot) {
        let entry = &mut slab[slot];
        assert!(entry.queue == NO_QUEUE, "an entry is in one queue at most");
        entry.queue = self.queue;
        entry.prev = NIL;
        entry.next = self.head;
        match self.head {
            NIL => self.tail = slot,
            head => slab[head].prev = slot,
        }
        self.head = slot;
    }

    fn unlink(&mut self, slab: &mut Slab, slot: Slot) {
        let entry = &mut slab[slot];
        assert!(entry.queue == self.queue, "an entry leaves the queue that it is in");
        let (prev, next) = (entry.prev, entry.next);
        entry.queue = NO_QUEUE;
        match prev {
            NIL => self.head = next,
            prev => slab[prev].next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => slab[next].prev = prev,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::op::Key, index::blob::Blob, lsn::Lsn};

    fn three() -> (Slab, List) {
        let (mut slab, mut list) = (Slab::new(), List::new(1));
        for hash in 0..3 {
            let slot = slab.take(hash, Blob::bare(Key::from("k")), Lsn(1));
            list.push(&mut slab, slot);
        }
        (slab, list)
    }

    fn order(slab: &Slab, list: &List) -> Vec<Slot> {
        let mut out = Vec::new();
        list.walk(slab, None, usize::MAX, &mut out);
        list.check(slab);
        out
    }

    #[test]
    fn first_in_is_at_the_tail() {
        let (slab, list) = three();
        assert_eq!(order(&slab, &list), [0, 1, 2]);
    }

    #[test]
    fn an_entry_can_leave_from_anywhere() {
        for slot in 0..3 {
            let (mut slab, mut list) = three();
            list.remove(&mut slab, slot);
            assert!(!order(&slab, &list).contains(&slot));
            assert_eq!(list.len(), 2);
        }
    }

    #[test]
    fn to_head_keeps_the_others_in_order() {
        let (mut slab, mut list) = three();
        list.to_head(&mut slab, 1);
        assert_eq!(order(&slab, &list), [0, 2, 1]);
        list.to_head(&mut slab, 1);
        assert_eq!(order(&slab, &list), [0, 2, 1]);
        list.to_head(&mut slab, 0);
        assert_eq!(order(&slab, &list), [2, 1, 0]);
    }

    #[test]
    fn a_walk_goes_on_behind_where_it_stopped() {
        let (slab, list) = three();
        let mut out = Vec::new();
        list.walk(&slab, None, 2, &mut out);
        list.walk(&slab, Some(1), 2, &mut out);
        assert_eq!(out, [0, 1, 2]);
    }
}
