//! Where the entries of a stripe live: 32-byte slots in chunks that never move.
//!
//! A slot is found by its number, which stays the same for the life of an entry; the table, the
//! timer wheel and the queues of the policies all name entries by slot. Growing adds a chunk and
//! copies nothing, so there is neither a pause nor a doubling of memory. Freed slots are used
//! again, the last one first.
//!
//! An entry is *live* (it has a value and is in one queue of the policy) or a *tombstone* (its
//! key is kept until its end is durable, and it is in no queue). The two links of an entry belong
//! to the policy; in a free slot `next` chains the free list.
//!
//! Not here: which key is where (`index::stripe`), and who leaves (`evict`).

use std::ops::{Index, IndexMut};

use crate::{index::blob::Blob, lsn::Lsn};

/// The number of an entry in its stripe.
pub type Slot = u32;

/// No slot.
pub const NIL: Slot = u32::MAX;

/// Not in a queue of the policy. Queues are numbered from 1.
pub const NO_QUEUE: u8 = 0;

/// Slots per chunk: 8 KiB, so that many stripes of a small cache stay cheap.
pub(crate) const CHUNK_LEN: usize = 256;
/// The wheel marks its links with the highest bit of a slot number.
const SLOTS_MAX: usize = 1 << 31;

/// What an entry costs besides its blob: its slot, its share of the table (5 bytes per bucket at a
/// load of 7/16 to 7/8, so 5.7 to 11.4) and of the policy's memory of evicted keys (2 to 2.5).
const ENTRY_CHARGE: u64 = 32 + 12;
/// A timer.
const TIMER_CHARGE: u64 = 14;
/// The place of a tombstone in its queue.
const TOMBSTONE_CHARGE: u64 = 16;

const FREE: u8 = 0;
const LIVE: u8 = 1;
const TOMBSTONE: u8 = 2;

const _: () = assert!(size_of::<Entry>() == 32, "half a cache line, and the figure in ENTRY_CHARGE");

/// One entry; what is in it is for the index and the policies that come with it.
#[derive(Debug)]
pub struct Entry {
    pub(crate) blob: Option<Blob>,
    pub(crate) lsn: Lsn,
    /// The lower half of the hash: tells most keys apart without a look at the blob.
    pub(crate) hash: u32,
    pub(crate) prev: Slot,
    pub(crate) next: Slot,
    /// How often it was hit lately, in the policy's own measure.
    pub(crate) freq: u8,
    /// In which of the policy's queues it is.
    pub(crate) queue: u8,
    state: u8,
    /// Whether it has a deadline, which then is in the wheel.
    pub(crate) timed: bool,
}

impl Entry {
    const EMPTY: Entry = Entry {
        blob: None,
        lsn: Lsn::ZERO,
        hash: 0,
        prev: NIL,
        next: NIL,
        freq: 0,
        queue: NO_QUEUE,
        state: FREE,
        timed: false,
    };

    pub(crate) fn is_free(&self) -> bool {
        self.state == FREE
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state == LIVE
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.state == TOMBSTONE
    }

    /// The blob of an entry that is in use.
    pub(crate) fn blob(&self) -> &Blob {
        self.blob.as_ref().expect("a slot in use has a blob")
    }

    pub(crate) fn make_live(&mut self, blob: Blob) {
        self.blob = Some(blob);
        self.state = LIVE;
    }

    /// Keeps the key alone, in `bare`, and hands out what was here.
    pub(crate) fn make_tombstone(&mut self, bare: Blob) -> Blob {
        self.state = TOMBSTONE;
        self.blob.replace(bare).expect("a slot in use has a blob")
    }

    fn charge(&self) -> u64 {
        charge_of(self.blob(), self.timed) + if self.is_tombstone() { TOMBSTONE_CHARGE } else { 0 }
    }
}

/// What a live entry with this blob costs in bytes, all told.
pub(crate) fn charge_of(blob: &Blob, timed: bool) -> u64 {
    blob.charge_bytes() + ENTRY_CHARGE + if timed { TIMER_CHARGE } else { 0 }
}

/// The slots of one stripe.
#[derive(Debug)]
pub struct Slab {
    chunks: Vec<Box<[Entry; CHUNK_LEN]>>,
    /// First of the free list.
    free: Slot,
    /// Slots below this number have been used at least once.
    touched: usize,
    in_use: usize,
}

impl Slab {
    pub(crate) fn new() -> Slab {
        Slab { chunks: Vec::new(), free: NIL, touched: 0, in_use: 0 }
    }

    /// Whether `slot` holds an entry that a policy may choose.
    pub fn is_live(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(Entry::is_live)
    }

    /// What the entry costs in bytes, all told.
    pub fn charge(&self, slot: Slot) -> u64 {
        self[slot].charge()
    }

    /// Half of the hash of the key, by which a policy may remember it.
    pub fn hash(&self, slot: Slot) -> u32 {
        self[slot].hash
    }

    /// A byte that belongs to the policy: how often the entry was hit.
    pub fn freq(&self, slot: Slot) -> u8 {
        self[slot].freq
    }

    /// Sets the policy's byte.
    pub fn set_freq(&mut self, slot: Slot, freq: u8) {
        self[slot].freq = freq;
    }

    /// The queue that holds the entry, 0 if none does.
    pub fn queue(&self, slot: Slot) -> u8 {
        self[slot].queue
    }

    /// Slots in use, live and tombstones.
    pub(crate) fn len(&self) -> usize {
        self.in_use
    }

    /// One past the highest slot ever used.
    pub fn end(&self) -> usize {
        self.touched
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry> {
        let chunk = self.chunks.get(slot as usize / CHUNK_LEN)?;
        Some(&chunk[slot as usize % CHUNK_LEN])
    }

    /// Takes a free slot for a live entry that is in no queue yet.
    pub(crate) fn take(&mut self, hash: u32, blob: Blob, lsn: Lsn) -> Slot {
        let slot = self.free_slot();
        self.in_use += 1;
        self[slot] = Entry { blob: Some(blob), lsn, hash, state: LIVE, ..Entry::EMPTY };
        slot
    }

    /// Gives a slot back and hands out the blob that it held. It must have left its queue.
    pub(crate) fn release(&mut self, slot: Slot) -> Blob {
        let free = self.free;
        let entry = std::mem::replace(&mut self[slot], Entry { next: free, ..Entry::EMPTY });
        assert!(entry.queue == NO_QUEUE, "a freed entry is in no queue");
        assert!(!entry.timed, "a freed entry has no timer");
        self.free = slot;
        self.in_use -= 1;
        entry.blob.expect("only a slot in use is released")
    }

    fn free_slot(&mut self) -> Slot {
        if self.free != NIL {
            let slot = self.free;
            assert!(self[slot].is_free(), "the free list holds free slots only");
            self.free = self[slot].next;
            return slot;
        }
        if self.touched == self.chunks.len() * CHUNK_LEN {
            assert!(self.touched < SLOTS_MAX, "a stripe has at most 2^31 entries");
            self.chunks.push(Box::new([const { Entry::EMPTY }; CHUNK_LEN]));
        }
        self.touched += 1;
        (self.touched - 1) as Slot
    }

    /// Makes the list of chunks itself long enough for `additional` entries more.
    pub(crate) fn reserve(&mut self, additional: usize) {
        let chunks = (self.in_use + additional).div_ceil(CHUNK_LEN);
        self.chunks.reserve(chunks.saturating_sub(self.chunks.len()));
    }

    /// Asserts that the free list and the count of used slots agree.
    pub(crate) fn check(&self) {
        let mut free = 0;
        let mut at = self.free;
        while at != NIL {
            assert!(self[at].is_free() && self[at].blob.is_none(), "slot {at} is on the free list");
            at = self[at].next;
            free += 1;
            assert!(free <= self.touched, "the free list has no cycle");
        }
        assert_eq!(free + self.in_use, self.touched, "each slot is free or in use");
    }
}

impl Index<Slot> for Slab {
    type Output = Entry;

    fn index(&self, slot: Slot) -> &Entry {
        &self.chunks[slot as usize / CHUNK_LEN][slot as usize % CHUNK_LEN]
    }
}

impl IndexMut<Slot> for Slab {
    fn index_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.chunks[slot as usize / CHUNK_LEN][slot as usize % CHUNK_LEN]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::op::Key;

    fn blob() -> Blob {
        Blob::bare(Key::from("key"))
    }

    #[test]
    fn the_slot_freed_last_is_used_first() {
        let mut slab = Slab::new();
        let slots: Vec<_> = (0..600).map(|i| slab.take(i, blob(), Lsn(1))).collect();
        slab.release(slots[3]);
        slab.release(slots[300]);
        slab.check();
        assert_eq!(slab.take(0, blob(), Lsn(2)), slots[300]);
        assert_eq!(slab.take(0, blob(), Lsn(2)), slots[3]);
        assert_eq!(slab.take(0, blob(), Lsn(2)), 600);
        slab.check();
        assert_eq!(slab.len(), 601);
    }

    #[test]
    fn a_timer_is_part_of_the_charge() {
        let mut slab = Slab::new();
        let slot = slab.take(0, blob(), Lsn(1));
        let plain = slab.charge(slot);
        slab[slot].timed = true;
        assert_eq!(slab.charge(slot), plain + 14);
    }
}
