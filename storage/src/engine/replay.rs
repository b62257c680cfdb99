//! Bringing the index back: entries of a snapshot, then frames of the log.
//!
//! One thread reads, checks and decodes; the changes go in batches to appliers, each of which
//! owns some stripes, so that every key sees its frames in order without any of them waiting for
//! another. Applying is a pure function of state and frame: no clock is asked. An entry whose
//! deadline has passed stays until the end, because a later frame may have moved the deadline.

use std::sync::mpsc::{SyncSender, sync_channel};

use crate::{
    clock::UnixMillis,
    format::{
        op::{Key, Op},
        payload::{Payload, Reason},
    },
    index::{Index, blob::Blob},
    lsn::Lsn,
};

/// Changes handed to an applier at once …
const BATCH: usize = 512;
/// … and how many such batches may wait for it.
const BATCHES_MAX: usize = 8;

/// One key's part of a frame.
struct Change {
    hash: u64,
    lsn: Lsn,
    what: What,
}

enum What {
    Put(Blob, Option<UnixMillis>),
    Touch(Blob, Option<UnixMillis>),
    Remove(Blob, bool),
    Flush(Option<u16>),
}

/// Applies frames to the index, directly or through appliers.
pub(crate) struct Replay<'a> {
    index: &'a Index,
    appliers: Vec<Applier>,
}

struct Applier {
    batch: Vec<Change>,
    sender: SyncSender<Vec<Change>>,
}

/// Runs `read` with something to hand frames to, and returns when all of them are applied.
pub(crate) fn replay<R>(index: &Index, threads: usize, read: impl FnOnce(&mut Replay<'_>) -> R) -> R {
    if threads <= 1 {
        return read(&mut Replay { index, appliers: Vec::new() });
    }
    std::thread::scope(|scope| {
        let appliers = (0..threads)
            .map(|_| {
                let (sender, receiver) = sync_channel::<Vec<Change>>(BATCHES_MAX);
                scope.spawn(move || {
                    for batch in receiver {
                        batch.into_iter().for_each(|change| apply(index, change));
                    }
                });
                Applier { batch: Vec::with_capacity(BATCH), sender }
            })
            .collect();
        let mut replay = Replay { index, appliers };
        let result = read(&mut replay);
        // Dropping the senders ends the appliers; the scope waits for them.
        replay.appliers.iter_mut().for_each(Applier::send);
        drop(replay);
        result
    })
}

impl Replay<'_> {
    /// Applies one frame.
    pub(crate) fn frame(&mut self, lsn: Lsn, payload: &Payload<'_>) {
        match payload {
            Payload::Op(op) => self.op(lsn, op),
            Payload::Txn(ops) => ops.iter().for_each(|op| self.op(lsn, &op)),
            Payload::Remove(reason, entries) => {
                for (key, _version) in entries.iter() {
                    self.key(lsn, key, What::Remove(Blob::bare(key), *reason == Reason::Evicted));
                }
            }
            Payload::Flush(namespace) => self.flush(lsn, *namespace),
            Payload::TermStart(_) | Payload::Mark(_) => {}
        }
    }

    fn op(&mut self, lsn: Lsn, op: &Op<'_>) {
        let what = match op {
            Op::Put(put) => What::Put(Blob::new(put), put.deadline),
            Op::Touch { key, deadline } => What::Touch(Blob::bare(*key), *deadline),
            Op::Delete(key) => What::Remove(Blob::bare(*key), false),
        };
        self.key(lsn, op.key(), what);
    }

    fn key(&mut self, lsn: Lsn, key: Key<'_>, what: What) {
        let hash = self.index.hash(key);
        let change = Change { hash, lsn, what };
        if self.appliers.is_empty() {
            apply(self.index, change);
            return;
        }
        let owner = self.index.stripe_of(hash) % self.appliers.len();
        self.appliers[owner].push(change);
    }

    fn flush(&mut self, lsn: Lsn, namespace: Option<u16>) {
        if self.appliers.is_empty() {
            clear(self.index, 0, 1, namespace, lsn);
        }
        let count = self.appliers.len() as u64;
        for (number, applier) in self.appliers.iter_mut().enumerate() {
            // For an applier, the "hash" of a flush is who it is and of how many.
            applier.push(Change { hash: (number as u64) << 32 | count, lsn, what: What::Flush(namespace) });
        }
    }
}

impl Applier {
    fn push(&mut self, change: Change) {
        self.batch.push(change);
        if self.batch.len() >= BATCH {
            self.send();
        }
    }

    fn send(&mut self) {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.sender.send(batch).expect("appliers live until the senders are dropped");
    }
}

fn apply(index: &Index, change: Change) {
    let Change { hash, lsn, what } = change;
    if let What::Flush(namespace) = what {
        let (number, count) = ((hash >> 32) as usize, hash as u32 as usize);
        return clear(index, number, count, namespace, lsn);
    }
    let mut stripe = index.lock(index.stripe_of(hash));
    match what {
        What::Put(blob, deadline) => stripe.apply_put(hash, blob, lsn, deadline),
        What::Touch(bare, deadline) => stripe.apply_touch(hash, bare.key(), deadline, lsn),
        What::Remove(bare, evicted) => stripe.apply_remove(hash, bare.key(), lsn, evicted),
        What::Flush(_) => unreachable!("handled above"),
    }
}

/// Flushes the stripes that the applier `number` of `count` owns.
fn clear(index: &Index, number: usize, count: usize, namespace: Option<u16>, lsn: Lsn) {
    for stripe in (number..index.stripe_count()).step_by(count) {
        index.lock(stripe).clear(namespace, lsn);
    }
}
