//! What stands behind a damaged place: frames that verify by themselves, although the chain to
//! them is broken.
//!
//! This is for telling what a repair gives up, not for giving it back. Between such frames others
//! are missing, and nobody knows which: a lost delete would let a value live again that somebody
//! was told is gone. What is read here is never applied.

use std::collections::HashSet;

use crate::{
    clock::UnixMillis,
    format::{
        checksum::Salt,
        frame::{self, ALIGN},
        op::{Key, Op},
        payload::{self, Payload, Reason},
    },
};

/// More changes than these are counted and not kept.
const CHANGES_MAX: usize = 100_000;

/// What a frame did to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new value.
    Put,
    /// A user deleted it. Without this frame an older value stays.
    Delete,
    /// A new deadline.
    Touch,
    /// It was removed because its time had passed.
    Expired,
    /// It was removed because the cache was full.
    Evicted,
}

/// A change to a key that stands behind the damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostChange {
    /// The frame.
    pub lsn: u64,
    /// What it did.
    pub change: Change,
    /// The key's namespace.
    pub namespace: u16,
    /// The key.
    pub key: Vec<u8>,
}

/// What was found behind the damage.
#[derive(Clone, Debug, Default)]
pub struct Salvage {
    /// The changes, in the order of the log; of very many only the first ones.
    pub changes: Vec<LostChange>,
    /// How many there were, the ones not kept included.
    pub changes_total: u64,
    /// Flushes: each emptied a namespace, or everything.
    pub flushes: u64,
    /// Different keys among them.
    pub keys: u64,
    /// The highest LSN.
    pub last_lsn: u64,
    /// The highest term.
    pub term: u32,
    /// The latest time.
    pub clock: UnixMillis,
    seen: HashSet<(u16, Vec<u8>)>,
}

impl Salvage {
    /// Looks through the bytes for frames with an LSN above `after`, in steps of the alignment.
    pub(super) fn look(&mut self, bytes: &[u8], salt: Salt, after: u64) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let Ok(frame) = frame::decode(rest, salt) else {
                at += ALIGN;
                continue;
            };
            at += frame.disk_len();
            self.clock = self.clock.max(frame.header.ts);
            if frame.header.index <= after || !frame.header.kind.is_replicated() {
                continue;
            }
            self.last_lsn = self.last_lsn.max(frame.header.index);
            self.term = self.term.max(frame.header.term);
            if let Ok(payload) = payload::decode(&frame) {
                self.take(frame.header.index, &payload);
            }
        }
    }

    fn take(&mut self, lsn: u64, payload: &Payload<'_>) {
        match payload {
            Payload::Op(op) => self.op(lsn, op),
            Payload::Txn(ops) => ops.iter().for_each(|op| self.op(lsn, &op)),
            Payload::Remove(reason, entries) => {
                let change = match reason {
                    Reason::Expired => Change::Expired,
                    Reason::Evicted => Change::Evicted,
                };
                entries.iter().for_each(|(key, _)| self.change(lsn, change, key));
            }
            Payload::Flush(_) => self.flushes += 1,
            Payload::TermStart(_) | Payload::Mark(_) => {}
        }
    }

    fn op(&mut self, lsn: u64, op: &Op<'_>) {
        let change = match op {
            Op::Put(_) => Change::Put,
            Op::Delete(_) => Change::Delete,
            Op::Touch { .. } => Change::Touch,
        };
        self.change(lsn, change, op.key());
    }

    fn change(&mut self, lsn: u64, change: Change, key: Key<'_>) {
        self.changes_total += 1;
        if self.changes.len() >= CHANGES_MAX {
            return;
        }
        let (namespace, key) = (key.namespace, key.bytes.to_vec());
        if self.seen.insert((namespace, key.clone())) {
            self.keys += 1;
        }
        self.changes.push(LostChange { lsn, change, namespace, key });
    }
}
