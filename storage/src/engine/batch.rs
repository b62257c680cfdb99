//! Batches: several keys, in any stripes, all or nothing.
//!
//! All stripes concerned are locked in ascending order. The steps are resolved one after the
//! other against what the steps before them would leave; if one is refused nothing happens. What
//! comes out is one op per key in one frame, so that a batch is there after a crash or it is not.

use std::collections::HashMap;

use crate::{
    clock::UnixMillis,
    engine::{
        Core, Engine,
        commit::Commit,
        resolve::{self, Current, Live},
        room::Need,
        value::{
            Action, ActionOutcome, BatchOp, BatchOutcome, DeleteOutcome, IncrOutcome, PutOutcome,
            TouchOutcome,
        },
        write::{Decision, decide_incr, decide_put},
    },
    error::{Error, ErrorKind, Result},
    format::{
        frame::{self, Kind},
        op::{Key, Op},
        payload::encode_txn,
    },
    index::{blob::Blob, stripe::Stripe, stripe::charge_of},
    limits::CONTENT_TYPE_LEN_MAX,
    lsn::Lsn,
    settings::Level,
    sync::MutexGuard,
    wal::staging::{Body, Urgency},
};

/// The most steps of one batch.
const STEPS_MAX: usize = 10_000;
/// An op's bytes besides key, content type and value.
const OP_OVERHEAD: usize = 64;
/// How often a batch looks for room in other stripes before it gives up.
const ROOM_ATTEMPTS: usize = 16;

impl Engine {
    /// Does all steps or none, atomically for readers of the log: one frame. A key may occur
    /// several times; later steps see what earlier ones did.
    ///
    /// # Errors
    /// As [`put`](Self::put); also `Invalid` for no step, more than 10,000, or steps that come to
    /// more bytes than the longest value. Nothing was written then.
    pub fn batch(&self, ops: &[BatchOp<'_>], level: Option<Level>) -> Result<Commit<BatchOutcome>> {
        self.core.batch(ops, level)
    }
}

/// What the steps so far leave of a key.
#[derive(Clone, Debug)]
enum Change {
    Put(Blob, Option<UnixMillis>),
    Touch(Option<UnixMillis>),
    Delete,
}

/// The keys of a batch: what they are, and what the steps so far leave of them.
struct Overlay<'a> {
    keys: Vec<KeyState<'a>>,
    by_key: HashMap<Key<'a>, usize>,
}

struct KeyState<'a> {
    key: Key<'a>,
    hash: u64,
    stripe: usize,
    before: Current,
    change: Option<Change>,
}

impl Core {
    fn batch(&self, ops: &[BatchOp<'_>], level: Option<Level>) -> Result<Commit<BatchOutcome>> {
        let (raw_bytes, extra) = self.check_batch(ops)?;
        let blobs = self.prepare_all(ops)?;
        let bytes = raw_bytes - saved_by(ops, &blobs);
        let level = self.level(level)?;
        // Room is made for the worst case before anything is looked at, because making it may
        // evict the very keys of this batch.
        let need = need_max(ops, &blobs);
        let frame_max = frame::disk_len(bytes) as u64;
        let own = self.index.stripe_of(self.index.hash(ops[0].key));
        for _ in 0..ROOM_ATTEMPTS {
            self.check_open()?;
            if self.index.budget().over(need.bytes, need.items) {
                self.evict_elsewhere(own, need)?;
            }
            let now = self.timeline.now();
            let mut permit = self.wal.admit(frame_max, extra, Urgency::Write)?.at_level(level);
            let mut locked = Locked::new(self, ops);
            if self.index.budget().over(need.bytes, need.items) {
                continue;
            }
            let mut overlay = Overlay { keys: Vec::new(), by_key: HashMap::new() };
            for op in ops {
                overlay.add(op.key, self, |hash, stripe| {
                    let stripe = locked.stripe(stripe);
                    stripe.reap(self.durable());
                    self.settle_expired(stripe, &mut permit, hash, op.key, now)
                });
            }
            let outcome = resolve_all(ops, &blobs, &mut overlay, now);
            let mut lsn = overlay.rests_on();
            if let BatchOutcome::Applied(_) = outcome
                && overlay.keys.iter().any(|k| k.change.is_some())
            {
                let mut payload = Vec::with_capacity(bytes);
                encode_txn(&overlay.ops(), &mut payload);
                lsn = self.wal.append(&mut permit, Kind::Txn, Body::copied(&payload), now);
                for state in overlay.keys {
                    self.apply_change(locked.stripe(state.stripe), state, lsn);
                }
            }
            drop(locked);
            drop(permit);
            return Ok(self.commit(outcome, lsn, level));
        }
        Err(Error::new(ErrorKind::Overloaded, "other writers took the room that was made"))
    }

    /// The blob of each step that puts a value.
    fn prepare_all(&self, ops: &[BatchOp<'_>]) -> Result<Vec<Option<Blob>>> {
        let blob = |op: &BatchOp<'_>| match &op.action {
            Action::Put(write) => self.prepare(op.key, write).map(Some),
            Action::Incr(..) | Action::Delete(_) | Action::Touch(..) | Action::Check(_) => Ok(None),
        };
        ops.iter().map(blob).collect()
    }

    /// Checks every step; gives the most bytes that the payload can have if nothing is compressed,
    /// and that the removals of expired entries can take beside it.
    fn check_batch(&self, ops: &[BatchOp<'_>]) -> Result<(usize, u64)> {
        if ops.is_empty() || ops.len() > STEPS_MAX {
            return Err(Error::invalid(format!("a batch has 1 to {STEPS_MAX} steps, got={}", ops.len())));
        }
        let (mut bytes, mut extra) = (OP_OVERHEAD, 0);
        for op in ops {
            self.check_key(op.key)?;
            if let Action::Put(write) = &op.action {
                self.check_write(op.key, write)?;
                bytes += write.value.len();
            }
            bytes += op.key.bytes.len() + CONTENT_TYPE_LEN_MAX + OP_OVERHEAD;
            extra += frame::disk_len(op.key.bytes.len() + OP_OVERHEAD) as u64;
        }
        let max = self.settings.max_value_bytes.max(1 << 20) * 4;
        if bytes > max {
            return Err(Error::invalid(format!("the batch is too long, bytes={bytes} max={max}")));
        }
        let extra_max = self.settings.segment_bytes / 4;
        if extra > extra_max {
            return Err(Error::invalid(format!(
                "the keys of the batch are too long, bytes={extra} max={extra_max}"
            )));
        }
        Ok((bytes, extra))
    }

    fn apply_change(&self, stripe: &mut Stripe, state: KeyState<'_>, lsn: Lsn) {
        let before = state.before.live();
        match (state.change, before) {
            (Some(Change::Put(blob, deadline)), _) => drop(stripe.put(state.hash, blob, lsn, deadline)),
            (Some(Change::Touch(deadline)), Some(live)) => stripe.set_deadline(live.slot, deadline, lsn),
            (Some(Change::Delete), Some(live)) => self.bury(stripe, live, lsn),
            (Some(Change::Touch(_) | Change::Delete), None) => unreachable!("an absent key is only put"),
            (None, _) => {}
        }
    }
}

/// The stripes of a batch, locked in ascending order.
struct Locked<'a> {
    guards: Vec<(usize, MutexGuard<'a, Stripe>)>,
}

impl<'a> Locked<'a> {
    fn new(core: &'a Core, ops: &[BatchOp<'_>]) -> Locked<'a> {
        let mut numbers: Vec<usize> =
            ops.iter().map(|op| core.index.stripe_of(core.index.hash(op.key))).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Locked { guards: numbers.into_iter().map(|number| (number, core.index.lock(number))).collect() }
    }

    fn stripe(&mut self, number: usize) -> &mut Stripe {
        let at = self.guards.binary_search_by_key(&number, |(number, _)| *number).expect("locked before");
        &mut self.guards[at].1
    }
}

impl<'a> Overlay<'a> {
    fn add(&mut self, key: Key<'a>, core: &Core, look_up: impl FnOnce(u64, usize) -> Current) {
        let keys = &mut self.keys;
        self.by_key.entry(key).or_insert_with(|| {
            let hash = core.index.hash(key);
            let stripe = core.index.stripe_of(hash);
            keys.push(KeyState { key, hash, stripe, before: look_up(hash, stripe), change: None });
            keys.len() - 1
        });
    }

    /// The frame that the outcome rests on if nothing is written.
    fn rests_on(&self) -> Lsn {
        self.keys.iter().map(|k| k.before.rests_on()).max().unwrap_or_default()
    }

    /// One op per key that changes, in the order of first mention.
    fn ops(&self) -> Vec<Op<'_>> {
        self.keys.iter().filter_map(KeyState::op).collect()
    }
}

impl KeyState<'_> {
    fn op(&self) -> Option<Op<'_>> {
        self.change.as_ref().map(|change| match change {
            Change::Put(blob, deadline) => Op::Put(blob.as_put(*deadline)),
            Change::Touch(deadline) => Op::Touch { key: self.key, deadline: *deadline },
            Change::Delete => Op::Delete(self.key),
        })
    }

    /// What the next step sees. A value that an earlier step wrote has no version yet.
    fn current(&self, now: UnixMillis) -> Option<Live> {
        let before = self.before.live();
        let left = match &self.change {
            None => before.cloned(),
            Some(Change::Delete) => None,
            Some(Change::Touch(deadline)) => before.map(|live| Live { deadline: *deadline, ..live.clone() }),
            Some(Change::Put(blob, deadline)) => {
                let (slot, lsn) = before.map_or((0, Lsn::ZERO), |live| (live.slot, live.lsn));
                Some(Live { slot, lsn, blob: blob.clone(), deadline: *deadline })
            }
        };
        // An earlier step may have given it a deadline that has passed.
        left.filter(|live| live.deadline.is_none_or(|deadline| deadline > now))
    }
}

fn resolve_all(
    ops: &[BatchOp<'_>],
    blobs: &[Option<Blob>],
    overlay: &mut Overlay<'_>,
    now: UnixMillis,
) -> BatchOutcome {
    let mut outcomes = Vec::with_capacity(ops.len());
    for (index, (op, blob)) in ops.iter().zip(blobs).enumerate() {
        let state = &mut overlay.keys[overlay.by_key[&op.key]];
        let outcome = resolve_one(op, blob.as_ref(), state, now);
        let refused = matches!(
            outcome,
            ActionOutcome::Put(PutOutcome::Refused { .. })
                | ActionOutcome::Delete(DeleteOutcome::Refused { .. })
                | ActionOutcome::Touch(TouchOutcome::Refused { .. })
                | ActionOutcome::Incr(IncrOutcome::NotAnInteger | IncrOutcome::Overflow)
                | ActionOutcome::Check(false)
        );
        if refused {
            return BatchOutcome::Refused { index, outcome };
        }
        outcomes.push(outcome);
    }
    BatchOutcome::Applied(outcomes)
}

fn resolve_one(
    op: &BatchOp<'_>,
    blob: Option<&Blob>,
    state: &mut KeyState<'_>,
    now: UnixMillis,
) -> ActionOutcome {
    let current = state.current(now);
    let version = current.as_ref().map(|live| super::value::version_of(&live.blob, live.lsn));
    match op.action {
        Action::Put(write) => {
            let blob = blob.expect("every put was prepared");
            let decision = decide_put(current.as_ref(), blob, write.expiry, write.condition, now);
            ActionOutcome::Put(state.decided(decision))
        }
        Action::Incr(by, options) => {
            ActionOutcome::Incr(state.decided(decide_incr(op.key, current.as_ref(), by, options, now)))
        }
        Action::Check(condition) => ActionOutcome::Check(condition.holds(version)),
        Action::Delete(condition) => ActionOutcome::Delete(match current {
            None => DeleteOutcome::Absent,
            Some(_) if !condition.holds(version) => DeleteOutcome::Refused { current: version },
            Some(_) => {
                // A key that this batch itself created is as if it had never been.
                state.change = state.before.live().map(|_| Change::Delete);
                DeleteOutcome::Deleted
            }
        }),
        Action::Touch(expiry, condition) => ActionOutcome::Touch(match current {
            None => TouchOutcome::Absent,
            Some(_) if !condition.holds(version) => TouchOutcome::Refused { current: version },
            Some(live) => {
                let deadline = resolve::deadline(expiry, now, live.deadline);
                state.change = Some(match state.change.take() {
                    Some(Change::Put(blob, _)) => Change::Put(blob, deadline),
                    _ => Change::Touch(deadline),
                });
                TouchOutcome::Touched { deadline }
            }
        }),
    }
}

impl KeyState<'_> {
    fn decided<T>(&mut self, decision: Decision<T>) -> T {
        match decision {
            Decision::Nothing(outcome) => outcome,
            Decision::Put(blob, deadline, outcome) => {
                self.change = Some(Change::Put(blob, deadline));
                outcome
            }
        }
    }
}

/// Bytes by which the values are shorter than they came.
fn saved_by(ops: &[BatchOp<'_>], blobs: &[Option<Blob>]) -> usize {
    let saved = ops.iter().zip(blobs).map(|(op, blob)| match (&op.action, blob) {
        (Action::Put(write), Some(blob)) => write.value.len() - blob.value().len(),
        _ => 0,
    });
    saved.sum()
}

/// The most that the cache can hold more of after the batch.
fn need_max(ops: &[BatchOp<'_>], blobs: &[Option<Blob>]) -> Need {
    let mut need = Need::default();
    for (op, blob) in ops.iter().zip(blobs) {
        match (&op.action, blob) {
            (_, Some(blob)) => need.bytes += charge_of(blob, true),
            (Action::Incr(..), None) => {
                need.bytes += charge_of(&Blob::bare(op.key), true) + OP_OVERHEAD as u64;
            }
            (_, None) => continue,
        }
        need.items += 1;
    }
    need
}
