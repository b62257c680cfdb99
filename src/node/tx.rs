//! Several reads and writes as if nothing came between.
//!
//! A [`Tx`] is optimistic: it reads without locks, keeps what it would write to itself, and
//! [`commit`](Tx::commit) writes all of it in one frame if every key is still in the version that was
//! read. Else it is a conflict: nothing was written, and the caller does everything again. Somebody
//! else has succeeded then, so there is always progress.
//!
//! After a crash all writes of a transaction are there, or none.

use std::collections::{BTreeSet, HashMap};

use emberkeep_storage::{
    Action, BatchOp, BatchOutcome, Condition, Cursor, DeleteOutcome, Engine, Entry, Error as EngineError,
    ErrorKind, Expiry, Key, PutOutcome, TouchOutcome, UnixMillis, Value, Write,
};

use super::{Node, rests::Rests};

/// Keys that are taken from the engine at a time.
const SCAN_PAGE: usize = 1000;

/// A transaction in the making.
#[derive(Debug)]
pub struct Tx<'n> {
    engine: &'n Engine,
    now: UnixMillis,
    keys: Vec<State>,
    places: HashMap<(u16, Vec<u8>), usize>,
    /// A namespace to be emptied, or all of them.
    flush: Option<Option<u16>>,
    rests: Rests,
}

/// A key: what was read, and what is to be written.
#[derive(Debug)]
struct State {
    namespace: u16,
    name: Vec<u8>,
    seen: Option<Entry>,
    change: Option<Change>,
}

#[derive(Debug)]
enum Change {
    Put { value: Vec<u8>, deadline: Option<UnixMillis>, content_type: Option<String> },
    Touch(Option<UnixMillis>),
    Delete,
}

/// Why a transaction did not happen.
#[derive(Debug)]
pub enum Refused {
    /// Something came between: do it again.
    Conflict,
    /// There is no room now for a write of so many bytes: wait with [`Node::room`], and do it again.
    NoRoom(usize),
    /// It cannot be done.
    Error(EngineError),
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Refused::Error(error)
    }
}

/// The bytes of a value: as stored, or as this transaction will write them.
#[derive(Debug)]
pub enum Bytes {
    /// Shared with the cache.
    Stored(Value),
    /// New.
    New(Vec<u8>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Stored(value) => value,
            Bytes::New(value) => value,
        }
    }
}

impl Node {
    /// Begins a transaction.
    pub fn tx(&self) -> Tx<'_> {
        Tx {
            engine: &self.engine,
            now: self.engine.now(),
            keys: Vec::new(),
            places: HashMap::new(),
            flush: None,
            rests: Rests::default(),
        }
    }
}

impl Tx<'_> {
    /// The time at which it happens.
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    /// The value of a key.
    ///
    /// # Errors
    /// What inflating met.
    pub fn get(&mut self, key: Key<'_>) -> Result<Option<Bytes>, EngineError> {
        let place = self.place(key, true);
        let state = &self.keys[place];
        match (&state.change, &state.seen) {
            (Some(Change::Put { value, .. }), _) => Ok(Some(Bytes::New(value.clone()))),
            (Some(Change::Delete), _) | (_, None) => Ok(None),
            (_, Some(entry)) => Ok(Some(Bytes::Stored(entry.value()?))),
        }
    }

    /// Whether a key is there; does not count as an access.
    pub fn exists(&mut self, key: Key<'_>) -> bool {
        self.deadline(key).is_some()
    }

    /// The deadline of a key that is there; does not count as an access.
    pub fn deadline(&mut self, key: Key<'_>) -> Option<Option<UnixMillis>> {
        let place = self.place(key, false);
        let state = &self.keys[place];
        match (&state.change, &state.seen) {
            (Some(Change::Put { deadline, .. }), _) => Some(*deadline),
            (Some(Change::Delete), _) | (_, None) => None,
            (Some(Change::Touch(deadline)), Some(_)) => Some(*deadline),
            (None, Some(entry)) => Some(entry.deadline()),
        }
    }

    /// The length of a value in bytes; does not count as an access.
    pub fn len(&mut self, key: Key<'_>) -> Option<usize> {
        let place = self.place(key, false);
        let state = &self.keys[place];
        match (&state.change, &state.seen) {
            (Some(Change::Put { value, .. }), _) => Some(value.len()),
            (Some(Change::Delete), _) | (_, None) => None,
            (_, Some(entry)) => Some(entry.value_len()),
        }
    }

    /// The version of a key as it was read; writes of this transaction do not change it.
    pub fn version(&mut self, key: Key<'_>) -> Option<u64> {
        let place = self.place(key, false);
        self.keys[place].seen.as_ref().map(Entry::version)
    }

    /// Writes a key. The media type that it had stays only if `keeps_type`.
    pub fn put(&mut self, key: Key<'_>, value: Vec<u8>, deadline: Option<UnixMillis>, keeps_type: bool) {
        let place = self.place(key, false);
        let state = &mut self.keys[place];
        let content_type = match (&mut state.change, &state.seen) {
            _ if !keeps_type => None,
            (Some(Change::Put { content_type, .. }), _) => content_type.take(),
            (Some(Change::Delete), _) | (_, None) => None,
            (_, Some(entry)) => entry.content_type().map(str::to_owned),
        };
        let has_passed = deadline.is_some_and(|deadline| deadline <= self.now);
        state.change = if has_passed {
            Some(Change::Delete)
        } else {
            Some(Change::Put { value, deadline, content_type })
        };
    }

    /// Deletes a key; whether it was there.
    pub fn delete(&mut self, key: Key<'_>) -> bool {
        let was_there = self.exists(key);
        if was_there {
            let place = self.place(key, false);
            self.keys[place].change = Some(Change::Delete);
        }
        was_there
    }

    /// Gives a key another deadline; whether it is there. One that has passed deletes the key.
    pub fn touch(&mut self, key: Key<'_>, deadline: Option<UnixMillis>) -> bool {
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            return self.delete(key);
        }
        if !self.exists(key) {
            return false;
        }
        let place = self.place(key, false);
        match &mut self.keys[place].change {
            Some(Change::Put { deadline: kept, .. }) => *kept = deadline,
            change => *change = Some(Change::Touch(deadline)),
        }
        true
    }

    /// The keys that are there, begin as `prefix` and are wanted: with the writes of this transaction.
    /// `None` if they are more than `max`. Looks at the whole namespace; keys that others add meanwhile
    /// may be missing.
    pub fn matching(
        &mut self,
        prefix: Key<'_>,
        is_wanted: &dyn Fn(&[u8]) -> bool,
        max: usize,
    ) -> Option<Vec<Vec<u8>>> {
        let wanted = |key: &[u8]| key.starts_with(prefix.bytes) && is_wanted(key);
        let own = self.keys.iter().filter(|state| {
            let is_put = matches!(state.change, Some(Change::Put { .. }));
            is_put && state.namespace == prefix.namespace && wanted(&state.name)
        });
        let mut found: BTreeSet<Vec<u8>> = own.map(|state| state.name.clone()).collect();
        let mut cursor = if self.is_flushed(prefix.namespace) { None } else { Some(Cursor::START) };
        while let Some(from) = cursor {
            let page = self.rests.seen(self.engine.scan(from, prefix, SCAN_PAGE));
            for key in page.entries.iter().map(|entry| entry.key().bytes).filter(|key| is_wanted(key)) {
                let is_deleted = self
                    .places
                    .get(&(prefix.namespace, key.to_vec()))
                    .is_some_and(|&place| matches!(self.keys[place].change, Some(Change::Delete)));
                if !is_deleted {
                    found.insert(key.to_vec());
                }
            }
            if found.len() > max {
                return None;
            }
            cursor = page.next;
        }
        (found.len() <= max).then(|| found.into_iter().collect())
    }

    fn is_flushed(&self, namespace: u16) -> bool {
        self.flush.is_some_and(|of| of.is_none_or(|flushed| flushed == namespace))
    }

    /// Counts as an access of a key, if it is there; whether it is.
    pub fn hit(&mut self, key: Key<'_>) -> bool {
        let place = self.place(key, false);
        let has_change = self.keys[place].change.is_some();
        if !has_change {
            self.rests.seen(self.engine.get(key));
        }
        self.exists(key)
    }

    /// Empties a namespace, or all of them. What the transaction wrote before is gone, what it writes
    /// afterwards is not. The flush is a frame of its own, before that of the rest.
    pub fn flush(&mut self, namespace: Option<u16>) {
        for state in &mut self.keys {
            if namespace.is_none_or(|namespace| namespace == state.namespace) {
                (state.seen, state.change) = (None, None);
            }
        }
        self.flush = match (self.flush, namespace) {
            // Two different ones: rare, and all is not what was asked for, so they are done apart.
            (Some(Some(before)), Some(now)) if before != now => {
                self.flush_now(Some(before));
                Some(Some(now))
            }
            (Some(None), _) | (_, None) => Some(None),
            (_, namespace) => Some(namespace),
        };
    }

    fn flush_now(&mut self, namespace: Option<u16>) {
        if let Ok(commit) = self.engine.flush(namespace, None) {
            self.rests.of(commit);
        }
    }

    /// Writes what was changed, if everything that was read still stands.
    ///
    /// # Errors
    /// [`Refused`]: nothing was written (but for a flush, which comes first).
    pub fn commit(mut self) -> Result<Rests, Refused> {
        if let Some(namespace) = self.flush.take() {
            let commit = self.engine.flush(namespace, None).map_err(|e| refused(e, 64))?;
            self.rests.of(commit);
        }
        let keys = std::mem::take(&mut self.keys);
        let versions: Vec<[u64; 1]> =
            keys.iter().map(|k| [k.seen.as_ref().map_or(0, Entry::version)]).collect();
        let conditions = keys.iter().zip(&versions).map(|(key, version)| match key.seen {
            Some(_) => Condition::VersionIn(version),
            None => Condition::Absent,
        });
        let ops: Vec<BatchOp<'_>> =
            keys.iter().zip(conditions).map(|(key, condition)| key.op(condition)).collect();
        match &ops[..] {
            [] => {}
            [op] => self.one(op)?,
            ops => self.batch(ops)?,
        }
        Ok(self.rests)
    }

    /// One key needs no batch.
    fn one(&mut self, op: &BatchOp<'_>) -> Result<(), Refused> {
        let bytes = bytes_of(op);
        let failed = |e| refused(e, bytes);
        let happened = match op.action {
            Action::Put(write) => {
                let commit = self.engine.put(op.key, write).map_err(failed)?;
                !matches!(self.rests.of(commit), PutOutcome::Refused { .. })
            }
            Action::Delete(condition) => {
                let commit = self.engine.delete(op.key, condition, None).map_err(failed)?;
                // Absent: what was there has expired meanwhile, and nobody can tell the difference.
                !matches!(self.rests.of(commit), DeleteOutcome::Refused { .. })
            }
            Action::Touch(expiry, condition) => {
                let commit = self.engine.touch(op.key, expiry, condition, None).map_err(failed)?;
                matches!(self.rests.of(commit), TouchOutcome::Touched { .. })
            }
            // One read by itself is of one moment anyway.
            Action::Check(_) | Action::Incr(..) => true,
        };
        if happened { Ok(()) } else { Err(Refused::Conflict) }
    }

    fn batch(&mut self, ops: &[BatchOp<'_>]) -> Result<(), Refused> {
        let bytes = ops.iter().map(bytes_of).sum();
        let commit = self.engine.batch(ops, None).map_err(|e| refused(e, bytes))?;
        match self.rests.of(commit) {
            BatchOutcome::Applied(_) => Ok(()),
            BatchOutcome::Refused { .. } => Err(Refused::Conflict),
        }
    }

    /// Where the key is, read if it was not before.
    fn place(&mut self, key: Key<'_>, counts: bool) -> usize {
        let name = (key.namespace, key.bytes.to_vec());
        if let Some(&place) = self.places.get(&name) {
            return place;
        }
        let seen = match (self.is_flushed(key.namespace), counts) {
            (true, _) => None,
            (false, true) => self.rests.seen(self.engine.get(key)),
            (false, false) => self.rests.seen(self.engine.peek(key)),
        };
        self.keys.push(State { namespace: key.namespace, name: name.1.clone(), seen, change: None });
        self.places.insert(name, self.keys.len() - 1);
        self.keys.len() - 1
    }
}

impl State {
    fn op<'a>(&'a self, condition: Condition<'a>) -> BatchOp<'a> {
        let expiry = |deadline: Option<UnixMillis>| deadline.map_or(Expiry::Never, Expiry::At);
        let action = match &self.change {
            None => Action::Check(condition),
            Some(Change::Delete) if self.seen.is_none() => Action::Check(condition),
            Some(Change::Delete) => Action::Delete(condition),
            Some(Change::Touch(deadline)) => Action::Touch(expiry(*deadline), condition),
            Some(Change::Put { value, deadline, content_type }) => Action::Put(Write {
                content_type: content_type.as_deref(),
                expiry: expiry(*deadline),
                condition,
                ..Write::new(value)
            }),
        };
        BatchOp { key: Key { namespace: self.namespace, bytes: &self.name }, action }
    }
}

fn bytes_of(op: &BatchOp<'_>) -> usize {
    let value_len = if let Action::Put(write) = &op.action { write.value.len() } else { 0 };
    op.key.bytes.len() + value_len
}

fn refused(error: EngineError, bytes: usize) -> Refused {
    match error.kind() {
        ErrorKind::Overloaded => Refused::NoRoom(bytes),
        _ => Refused::Error(error),
    }
}
