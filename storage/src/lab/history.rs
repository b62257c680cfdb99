//! The history of a run: every frame that was ever written, and the state after each.
//!
//! Made from the bytes of all segments that ever existed, by the codec but not by the engine: a
//! map and the meaning of six kinds of frames. What the log says is what must be recovered.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use crate::{
    clock::UnixMillis,
    compress,
    engine::{Cursor, Engine},
    error::Result,
    format::{
        frame,
        op::{Key, Op},
        payload::{self, Payload},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    lsn::Lsn,
    sim::disk::SimDisk,
};

/// What is known about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The value.
    pub value: Vec<u8>,
    /// Its version.
    pub version: u64,
    /// When it expires.
    pub deadline: Option<UnixMillis>,
    /// Its media type.
    pub content_type: Vec<u8>,
}

/// Namespace and key.
pub type Name = (u16, Vec<u8>);

/// Key to entry.
pub type State = BTreeMap<Name, Known>;

/// The state after every frame.
#[derive(Debug)]
pub struct History {
    states: BTreeMap<u64, Rc<State>>,
    /// Which frames made which key absent.
    removals: BTreeMap<Name, Vec<u64>>,
    /// How many ops each frame holds.
    ops: BTreeMap<u64, usize>,
}

fn name_of(key: Key<'_>) -> Name {
    (key.namespace, key.bytes.to_vec())
}

impl History {
    /// Reads all segments that the disk ever had.
    ///
    /// # Errors
    /// In words: frames that contradict each other.
    pub fn of(disk: &SimDisk) -> Result<History, String> {
        let mut history = History {
            states: BTreeMap::from([(0, Rc::default())]),
            removals: BTreeMap::new(),
            ops: BTreeMap::new(),
        };
        let mut state = State::new();
        // A segment that was written anew after a kill is there twice: the later one counts.
        let segments: BTreeMap<_, _> = disk.all_contents_ever(".wal").into_iter().collect();
        for bytes in segments.values() {
            let Ok(header) = SegmentHeader::decode(bytes) else { continue };
            let mut at = SEGMENT_HEADER_LEN;
            while let Ok(frame) = frame::decode(&bytes[at..], header.salt) {
                at += frame.disk_len();
                if !frame.header.kind.is_replicated() {
                    continue;
                }
                let lsn = frame.header.index;
                let payload =
                    payload::decode(&frame).map_err(|e| format!("lsn={lsn} cannot be decoded: {e}"))?;
                history.apply(&mut state, lsn, &payload)?;
                if history.states.insert(lsn, Rc::new(state.clone())).is_some() {
                    return Err(format!("lsn={lsn} was used twice (I7)"));
                }
            }
        }
        Ok(history)
    }

    fn apply(&mut self, state: &mut State, lsn: u64, payload: &Payload<'_>) -> Result<(), String> {
        match payload {
            Payload::Op(op) => self.apply_op(state, lsn, op)?,
            Payload::Txn(ops) => {
                for op in ops.iter() {
                    self.apply_op(state, lsn, &op)?;
                }
            }
            Payload::Remove(_, entries) => {
                for (key, version) in entries.iter() {
                    let removed = state.remove(&name_of(key));
                    if removed.is_none_or(|removed| removed.version != version) {
                        return Err(format!(
                            "lsn={lsn} removes {key:?} version={version}, which is not there"
                        ));
                    }
                    self.removed(name_of(key), lsn);
                }
            }
            Payload::Flush(namespace) => {
                let hit = |name: &Name| namespace.is_none_or(|n| n == name.0);
                let gone: Vec<Name> = state.keys().filter(|name| hit(name)).cloned().collect();
                for name in gone {
                    state.remove(&name);
                    self.removed(name, lsn);
                }
            }
            Payload::TermStart(_) | Payload::Mark(_) => {}
        }
        Ok(())
    }

    fn apply_op(&mut self, state: &mut State, lsn: u64, op: &Op<'_>) -> Result<(), String> {
        *self.ops.entry(lsn).or_default() += 1;
        match op {
            Op::Put(put) => {
                let value = match put.encoding {
                    None => put.value.to_vec(),
                    Some(encoding) => compress::inflate(put.value, encoding)
                        .map_err(|e| format!("lsn={lsn} holds a value that cannot be inflated: {e}"))?,
                };
                let known = Known {
                    value,
                    version: lsn,
                    deadline: put.deadline,
                    content_type: put.content_type.to_vec(),
                };
                state.insert(name_of(put.key), known);
            }
            Op::Touch { key, deadline } => {
                let Some(known) = state.get_mut(&name_of(*key)) else {
                    return Err(format!("lsn={lsn} touches {key:?}, which is not there"));
                };
                known.deadline = *deadline;
                known.version = lsn;
            }
            Op::Delete(key) => {
                if state.remove(&name_of(*key)).is_none() {
                    return Err(format!("lsn={lsn} deletes {key:?}, which is not there"));
                }
                self.removed(name_of(*key), lsn);
            }
        }
        Ok(())
    }

    fn removed(&mut self, name: Name, lsn: u64) {
        self.removals.entry(name).or_default().push(lsn);
    }

    /// The state after the frame `last`, if there was such a frame.
    pub fn state_at(&self, last: Lsn) -> Option<&State> {
        self.states.get(&last.0).map(|state| &**state)
    }

    /// What of that state a reader can see at `now`.
    pub fn alive_at(&self, last: Lsn, now: UnixMillis) -> Option<State> {
        self.state_at(last).map(|state| alive(state, now))
    }

    /// The frame that made the key absent, as somebody saw it when `appended` was the last one.
    pub fn removal_before(&self, name: &Name, appended: Lsn) -> Lsn {
        let removals = self.removals.get(name).map(Vec::as_slice).unwrap_or_default();
        Lsn(removals.iter().copied().rfind(|lsn| *lsn <= appended.0).unwrap_or_default())
    }

    /// How many ops the frame holds.
    pub fn ops_in(&self, lsn: Lsn) -> usize {
        self.ops.get(&lsn.0).copied().unwrap_or_default()
    }

    /// The last state.
    pub fn end(&self) -> (Lsn, &State) {
        let (last, state) = self.states.last_key_value().expect("the empty state is always there");
        (Lsn(*last), state)
    }
}

/// Without what has expired.
pub fn alive(state: &State, now: UnixMillis) -> State {
    let alive = state.iter().filter(|(_, e)| e.deadline.is_none_or(|d| d > now));
    alive.map(|(k, e)| (k.clone(), e.clone())).collect()
}

/// What an engine serves, by scanning it.
///
/// # Errors
/// As [`Engine::scan`].
///
/// # Panics
/// If a key is there twice.
pub fn state_of(engine: &Engine) -> Result<State> {
    let mut state = State::new();
    for namespace in [0, 1] {
        let mut cursor = Some(Cursor::START);
        while let Some(at) = cursor {
            let page = engine.scan(at, Key { namespace, bytes: b"" }, 1000).wait()?;
            for entry in page.entries {
                let known = Known {
                    value: entry.value()?.to_vec(),
                    version: entry.version(),
                    deadline: entry.deadline(),
                    content_type: entry.content_type().unwrap_or_default().as_bytes().to_vec(),
                };
                assert!(state.insert(name_of(entry.key()), known).is_none(), "a key is there twice");
            }
            cursor = page.next;
        }
    }
    Ok(state)
}

/// How two states differ: key, then (version, deadline, length) in each. Empty if they do not.
pub fn difference(found: &State, wanted: &State) -> String {
    let keys: BTreeSet<&Name> = found.keys().chain(wanted.keys()).collect();
    let differ = keys.into_iter().filter(|key| found.get(*key) != wanted.get(*key));
    let short = |state: &State, key: &Name| state.get(key).map(|e| (e.version, e.deadline, e.value.len()));
    let lines = differ.map(|key| {
        let name = String::from_utf8_lossy(&key.1);
        format!("{}/{name}: found {:?}, wanted {:?}", key.0, short(found, key), short(wanted, key))
    });
    lines.collect::<Vec<_>>().join("; ")
}
