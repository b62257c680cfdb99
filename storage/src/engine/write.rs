//! Writes to one key: resolve, append, apply, in one hold of the stripe's lock.
//!
//! Everything that can fail or wait is done before the lock: sizes, compression (`prepare`), room in
//! the log, checksums of large values. Under it nothing fails, so the log and the index never disagree.

use crate::{
    clock::UnixMillis,
    engine::{
        Core, Engine,
        commit::Commit,
        resolve::{self, Current, Live},
        room::Need,
        value::{
            Condition, DeleteOutcome, Expiry, Incr, IncrOutcome, PutOutcome, TouchOutcome, Value, Write,
            version_of,
        },
    },
    error::{Error, ErrorKind, Result},
    format::{
        frame::{self, Kind},
        op::{Key, Op, Put},
        payload::{Reason, encode_flush},
    },
    index::{blob::Blob, stripe::Stripe, stripe::charge_of},
    limits::CONTENT_TYPE_LEN_MAX,
    lsn::Lsn,
    settings::{Fsync, Level},
    sync::Ordering,
    wal::staging::{Body, Permit, Urgency},
};

/// An op's bytes besides key, content type and value.
const OP_OVERHEAD_MAX: u64 = 64;
/// How often a write looks for room in other stripes before it gives up.
const ROOM_ATTEMPTS: usize = 16;

/// The longest frame of a write with this many bytes of key, content type and value.
pub(crate) fn frame_len_max(bytes: u64) -> u64 {
    frame::disk_len((bytes + OP_OVERHEAD_MAX) as usize) as u64
}

/// What a write to one key comes to.
pub(crate) enum Decision<T> {
    /// The key has this state from now on.
    Put(Blob, Option<UnixMillis>, T),
    /// The key is as it was.
    Nothing(T),
}

impl Engine {
    /// Writes a key. Never blocks; the commit resolves when the level is reached.
    ///
    /// # Errors
    /// `Invalid` for a key, value, content type or level out of bounds; `Overloaded` (see
    /// [`ready`](Self::ready)); `Full`; `Halted`; `Closed`. Nothing was written then.
    pub fn put<'k>(&self, key: impl Into<Key<'k>>, write: Write<'_>) -> Result<Commit<PutOutcome>> {
        self.core.put(key.into(), write)
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// As [`put`](Self::put). On a full disk deletes go on for a while after writes are refused.
    pub fn delete<'k>(
        &self,
        key: impl Into<Key<'k>>,
        condition: Condition<'_>,
        level: Option<Level>,
    ) -> Result<Commit<DeleteOutcome>> {
        self.core.delete(key.into(), condition, level)
    }

    /// Gives a key another deadline; its value stays, its version grows.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn touch<'k>(
        &self,
        key: impl Into<Key<'k>>,
        expiry: Expiry,
        condition: Condition<'_>,
        level: Option<Level>,
    ) -> Result<Commit<TouchOutcome>> {
        self.core.touch(key.into(), expiry, condition, level)
    }

    /// Adds to a counter: a value that is a decimal integer. Logged as its result.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn incr<'k>(&self, key: impl Into<Key<'k>>, by: i64, options: Incr) -> Result<Commit<IncrOutcome>> {
        self.core.incr(key.into(), by, options)
    }

    /// Deletes all keys of a namespace, or all keys, with one record.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn flush(&self, namespace: Option<u16>, level: Option<Level>) -> Result<Commit<()>> {
        self.core.flush(namespace, level)
    }
}

impl Core {
    fn put(&self, key: Key<'_>, write: Write<'_>) -> Result<Commit<PutOutcome>> {
        let blob = self.prepare(key, &write)?;
        self.put_blob(&blob, write.expiry, write.condition, write.level)
    }

    pub(crate) fn put_blob(
        &self,
        blob: &Blob,
        expiry: Expiry,
        condition: Condition<'_>,
        level: Option<Level>,
    ) -> Result<Commit<PutOutcome>> {
        let bytes = blob.key().bytes.len() + blob.content_type().len() + blob.value().len();
        self.upsert(blob.key(), frame_len_max(bytes as u64), level, |current, now| {
            decide_put(current, blob, expiry, condition, now)
        })
    }

    fn incr(&self, key: Key<'_>, by: i64, options: Incr) -> Result<Commit<IncrOutcome>> {
        self.check_key(key)?;
        let bytes = key.bytes.len() + CONTENT_TYPE_LEN_MAX + COUNTER_LEN_MAX;
        self.upsert(key, frame_len_max(bytes as u64), options.level, |current, now| {
            decide_incr(key, current, by, options, now)
        })
    }

    /// Resolves, appends and applies a write to one key.
    fn upsert<T>(
        &self,
        key: Key<'_>,
        frame_max: u64,
        level: Option<Level>,
        mut decide: impl FnMut(Option<&Live>, UnixMillis) -> Decision<T>,
    ) -> Result<Commit<T>> {
        let level = self.level(level)?;
        let hash = self.index.hash(key);
        let own = self.index.stripe_of(hash);
        for _ in 0..ROOM_ATTEMPTS {
            self.check_open()?;
            let now = self.timeline.now();
            let mut permit =
                self.wal.admit(frame_max, self.removal_allowance(), Urgency::Write)?.at_level(level);
            let mut stripe = self.index.lock(own);
            stripe.reap(self.durable());
            let current = self.settle_expired(&mut stripe, &mut permit, hash, key, now);
            match decide(current.live(), now) {
                Decision::Nothing(outcome) => return Ok(self.commit(outcome, current.rests_on(), level)),
                Decision::Put(blob, deadline, outcome) => {
                    let need = need_of(&stripe, &blob, deadline, current.live());
                    if self.index.budget().over(need.bytes, need.items)
                        && !self.evict_here(&mut stripe, &mut permit, need, now)
                    {
                        drop(stripe);
                        drop(permit);
                        self.evict_elsewhere(own, need)?;
                        continue;
                    }
                    let lsn = self.append_put(&mut permit, &blob, deadline, now);
                    let old = stripe.put(hash, blob, lsn, deadline);
                    drop(stripe);
                    drop(permit);
                    drop(old);
                    return Ok(self.commit(outcome, lsn, level));
                }
            }
        }
        Err(Error::new(ErrorKind::Overloaded, "other writers took the room that was made"))
    }

    fn delete(
        &self,
        key: Key<'_>,
        condition: Condition<'_>,
        level: Option<Level>,
    ) -> Result<Commit<DeleteOutcome>> {
        self.in_place(key, level, |core, stripe, permit, current, now| {
            let Some(live) = current.live() else { return Err(DeleteOutcome::Absent) };
            if !condition.holds(current.version()) {
                return Err(DeleteOutcome::Refused { current: current.version() });
            }
            let lsn = core.append_op(permit, Op::Delete(key), now);
            core.bury(stripe, live, lsn);
            Ok((DeleteOutcome::Deleted, lsn))
        })
    }

    fn touch(
        &self,
        key: Key<'_>,
        expiry: Expiry,
        condition: Condition<'_>,
        level: Option<Level>,
    ) -> Result<Commit<TouchOutcome>> {
        self.in_place(key, level, |core, stripe, permit, current, now| {
            let Some(live) = current.live() else { return Err(TouchOutcome::Absent) };
            if !condition.holds(current.version()) {
                return Err(TouchOutcome::Refused { current: current.version() });
            }
            let deadline = resolve::deadline(expiry, now, live.deadline);
            let lsn = core.append_op(permit, Op::Touch { key, deadline }, now);
            stripe.set_deadline(live.slot, deadline, lsn);
            Ok((TouchOutcome::Touched { deadline }, lsn))
        })
    }

    /// A write that needs no room in the cache. `act` gives the outcome and the frame that it
    /// appended, or the outcome of a key that stays as it is.
    fn in_place<T>(
        &self,
        key: Key<'_>,
        level: Option<Level>,
        act: impl FnOnce(&Core, &mut Stripe, &mut Permit<'_>, &Current, UnixMillis) -> Result<(T, Lsn), T>,
    ) -> Result<Commit<T>> {
        self.check_key(key)?;
        self.check_open()?;
        let level = self.level(level)?;
        let hash = self.index.hash(key);
        let now = self.timeline.now();
        let frame_max = frame_len_max(key.bytes.len() as u64);
        let mut permit =
            self.wal.admit(frame_max, self.removal_allowance(), Urgency::Delete)?.at_level(level);
        let mut stripe = self.index.lock(self.index.stripe_of(hash));
        stripe.reap(self.durable());
        let current = self.settle_expired(&mut stripe, &mut permit, hash, key, now);
        let (outcome, lsn) = match act(self, &mut stripe, &mut permit, &current, now) {
            Ok(written) => written,
            Err(unchanged) => (unchanged, current.rests_on()),
        };
        drop(stripe);
        drop(permit);
        Ok(self.commit(outcome, lsn, level))
    }

    fn flush(&self, namespace: Option<u16>, level: Option<Level>) -> Result<Commit<()>> {
        self.check_open()?;
        let level = self.level(level)?;
        let mut payload = Vec::new();
        encode_flush(namespace, &mut payload);
        let body = Body::copied(&payload);
        let mut permit = self.wal.admit(body.frame_len(), 0, Urgency::Delete)?.at_level(level);
        let eviction = self.eviction.lock().expect("no panic while the policy is switched");
        // All stripes, so that no write comes between the frame and its effect anywhere.
        let mut stripes: Vec<_> = (0..self.index.stripe_count()).map(|i| self.index.lock(i)).collect();
        let lsn = self.wal.append(&mut permit, Kind::Flush, body, self.timeline.now());
        let mut ended = Vec::new();
        for mut stripe in stripes.drain(..) {
            match namespace {
                Some(_) => drop(stripe.clear(namespace, lsn)),
                None => ended.push(stripe.end_all(self.index.empty_stripe(*eviction), lsn)),
            }
        }
        drop((eviction, permit));
        // Millions of values are freed here, where nobody waits for it.
        drop(ended);
        Ok(self.commit((), lsn, level))
    }

    /// The current state of a key for a write: an entry that has expired is removed first, by a
    /// frame of its own, so that replay needs no clock to come to the same outcome.
    pub(crate) fn settle_expired(
        &self,
        stripe: &mut Stripe,
        permit: &mut Permit<'_>,
        hash: u64,
        key: Key<'_>,
        now: UnixMillis,
    ) -> Current {
        match Current::of(stripe, hash, key, now) {
            Current::Expired { slot, .. } => {
                let view = stripe.view(slot);
                let removed = [(view.blob.clone(), version_of(view.blob, view.lsn))];
                stripe.remove(slot, false);
                self.counters.expired.fetch_add(1, Ordering::Relaxed);
                Current::Absent(self.log_removal(stripe, permit, Reason::Expired, &removed, now))
            }
            current => current,
        }
    }

    pub(crate) fn bury(&self, stripe: &mut Stripe, live: &Live, lsn: Lsn) {
        if self.settings.fsync == Fsync::Always {
            stripe.bury(live.slot, lsn, false);
        } else {
            stripe.remove(live.slot, false);
        }
    }

    fn append_put(
        &self,
        permit: &mut Permit<'_>,
        blob: &Blob,
        deadline: Option<UnixMillis>,
        now: UnixMillis,
    ) -> Lsn {
        let put = blob.as_put(deadline);
        let mut head =
            Vec::with_capacity(OP_OVERHEAD_MAX as usize + put.key.bytes.len() + put.content_type.len());
        put.encode_head(&mut head);
        let body = Body::with_value(&head, put.value, || Box::new(Value::shared(blob.clone())));
        self.wal.append(permit, Kind::Put, body, now)
    }

    fn append_op(&self, permit: &mut Permit<'_>, op: Op<'_>, now: UnixMillis) -> Lsn {
        let mut payload = Vec::new();
        op.encode(&mut payload);
        self.wal.append(permit, crate::format::payload::op_kind(&op), Body::copied(&payload), now)
    }
}

/// The longest counter: `-9223372036854775808`.
const COUNTER_LEN_MAX: usize = 20;

pub(crate) fn decide_put(
    current: Option<&Live>,
    blob: &Blob,
    expiry: Expiry,
    condition: Condition<'_>,
    now: UnixMillis,
) -> Decision<PutOutcome> {
    let version = current.map(|live| version_of(&live.blob, live.lsn));
    if !condition.holds(version) {
        return Decision::Nothing(PutOutcome::Refused { current: version });
    }
    let deadline = resolve::deadline(expiry, now, current.and_then(|live| live.deadline));
    let outcome = if current.is_some() { PutOutcome::Replaced } else { PutOutcome::Created };
    Decision::Put(blob.clone(), deadline, outcome)
}

/// A counter is too short to be compressed, so what is compressed is none.
fn counter_of(blob: &Blob) -> Option<i64> {
    if blob.encoding().is_some() { None } else { resolve::parse_counter(blob.value()) }
}

pub(crate) fn decide_incr(
    key: Key<'_>,
    current: Option<&Live>,
    by: i64,
    options: Incr,
    now: UnixMillis,
) -> Decision<IncrOutcome> {
    let Some(before) = current.map_or(Some(options.initial), |live| counter_of(&live.blob)) else {
        return Decision::Nothing(IncrOutcome::NotAnInteger);
    };
    let Some(after) = before.checked_add(by) else { return Decision::Nothing(IncrOutcome::Overflow) };
    let content_type = current.map_or(&[][..], |live| live.blob.content_type());
    let deadline = current.map_or_else(|| resolve::deadline(options.expiry, now, None), |live| live.deadline);
    let text = after.to_string();
    let put = Put {
        key,
        type_tag: 0,
        deadline: None,
        version: None,
        encoding: None,
        content_type,
        value: text.as_bytes(),
    };
    Decision::Put(Blob::new(&put), deadline, IncrOutcome::Value(after))
}

/// What the cache holds more of after a put.
pub(crate) fn need_of(
    stripe: &Stripe,
    blob: &Blob,
    deadline: Option<UnixMillis>,
    replaced: Option<&Live>,
) -> Need {
    let charge = charge_of(blob, deadline.is_some());
    match replaced {
        Some(live) => Need { bytes: charge.saturating_sub(stripe.charge(live.slot)), items: 0 },
        None => Need { bytes: charge, items: 1 },
    }
}
