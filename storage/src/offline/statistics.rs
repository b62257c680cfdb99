//! What the log consists of: frames and bytes by kind, keys, time.

use std::{
    collections::{BTreeMap, HashSet, hash_map::RandomState},
    hash::BuildHasher,
};

use crate::{
    clock::UnixMillis,
    format::{
        frame::Kind,
        op::{Key, Op},
        payload::Payload,
    },
    offline::walk::Seen,
};

/// Frames, and their bytes on disk with header and padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Sums over the frames of a log.
#[derive(Debug, Default)]
pub struct Statistics {
    /// By the number of the kind in the format.
    kinds: BTreeMap<u8, (Kind, Count)>,
    /// Changes to keys: the ops of a transaction and the entries of a removal are counted singly.
    pub changes: u64,
    /// Bytes of values as they are stored.
    pub value_bytes: u64,
    /// Bytes of values as they were put.
    pub raw_value_bytes: u64,
    /// Values that are compressed.
    pub compressed: u64,
    /// The first and the last LSN.
    pub lsns: Option<(u64, u64)>,
    /// The earliest and the latest time of a frame.
    pub times: Option<(UnixMillis, UnixMillis)>,
    /// 8 bytes a key, not the keys: a log may hold more of them than there is memory.
    keys: HashSet<u64>,
    hasher: RandomState,
}

impl Statistics {
    /// Takes one frame into account.
    pub fn add(&mut self, seen: &Seen<'_>) {
        let header = seen.frame.header;
        let (_, count) = self.kinds.entry(header.kind as u8).or_insert((header.kind, Count::default()));
        count.frames += 1;
        count.bytes += seen.frame.disk_len() as u64;
        if header.kind.is_replicated() {
            let (first, last) = self.lsns.unwrap_or((header.index, header.index));
            self.lsns = Some((first.min(header.index), last.max(header.index)));
            let (from, to) = self.times.unwrap_or((header.ts, header.ts));
            self.times = Some((from.min(header.ts), to.max(header.ts)));
        }
        match seen.payload {
            Payload::Op(op) => self.op(op),
            Payload::Txn(ops) => ops.iter().for_each(|op| self.op(&op)),
            Payload::Remove(_, entries) => entries.iter().for_each(|(key, _)| self.key(key)),
            Payload::Flush(_) | Payload::TermStart(_) | Payload::Mark(_) => {}
        }
    }

    fn op(&mut self, op: &Op<'_>) {
        if let Op::Put(put) = op {
            self.value_bytes += put.value.len() as u64;
            self.raw_value_bytes += put.encoding.map_or(put.value.len() as u64, |e| u64::from(e.raw_len));
            self.compressed += u64::from(put.encoding.is_some());
        }
        self.key(op.key());
    }

    fn key(&mut self, key: Key<'_>) {
        self.changes += 1;
        self.keys.insert(self.hasher.hash_one(key));
    }

    /// Each kind that occurs.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, Count)> {
        self.kinds.values().copied()
    }

    /// All frames.
    pub fn total(&self) -> Count {
        self.kinds().fold(Count::default(), |sum, (_, c)| Count {
            frames: sum.frames + c.frames,
            bytes: sum.bytes + c.bytes,
        })
    }

    /// Different keys; by 64-bit hashes, so of a thousand million about one may be missing.
    pub fn keys(&self) -> u64 {
        self.keys.len() as u64
    }
}
