//! The history of a run: every frame that was ever written, and the state after each.
//!
//! Made from the bytes of all segments that ever existed, by the codec but not by the engine: a
//! map and the meaning of five kinds of frames.

use std::{collections::BTreeMap, rc::Rc};

use emberkeep_storage::{
    Cursor, Engine, Key, Lsn, UnixMillis,
    format::{
        frame,
        op::Op,
        payload::{self, Payload},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    sim::disk::SimDisk,
};

use crate::crash::workload::Run;

/// What is known about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub value: Vec<u8>,
    pub version: u64,
    pub deadline: Option<UnixMillis>,
    pub content_type: Vec<u8>,
}

/// Key to entry.
pub type State = BTreeMap<Vec<u8>, Known>;

/// The state after every frame.
pub struct History {
    states: BTreeMap<u64, Rc<State>>,
    /// Which frames made which key absent.
    removals: BTreeMap<Vec<u8>, Vec<u64>>,
}

impl History {
    pub fn of(disk: &SimDisk) -> History {
        let mut history = History { states: BTreeMap::from([(0, Rc::default())]), removals: BTreeMap::new() };
        let mut state = State::new();
        let segments: BTreeMap<_, _> = disk.all_contents_ever(".wal").into_iter().collect();
        for bytes in segments.values() {
            let header = SegmentHeader::decode(bytes).unwrap();
            let mut at = SEGMENT_HEADER_LEN;
            while let Ok(frame) = frame::decode(&bytes[at..], header.salt) {
                at += frame.disk_len();
                if frame.header.kind.is_replicated() {
                    let payload = payload::decode(&frame).unwrap();
                    history.apply(&mut state, frame.header.index, &payload);
                    let before = history.states.insert(frame.header.index, Rc::new(state.clone()));
                    assert!(before.is_none(), "lsn={} was used twice", frame.header.index);
                }
            }
        }
        history
    }

    fn apply(&mut self, state: &mut State, lsn: u64, payload: &Payload<'_>) {
        match payload {
            Payload::Op(op) => self.apply_op(state, lsn, op),
            Payload::Txn(ops) => ops.iter().for_each(|op| self.apply_op(state, lsn, &op)),
            Payload::Remove(_, entries) => {
                for (key, version) in entries.iter() {
                    let removed = state.remove(key.bytes).expect("only what is there is removed");
                    assert_eq!(removed.version, version, "the removal names the version that it removes");
                    self.removed(key.bytes, lsn);
                }
            }
            Payload::Flush(_) => {
                for key in std::mem::take(state).into_keys() {
                    self.removed(&key, lsn);
                }
            }
            Payload::TermStart(_) | Payload::Mark(_) => {}
        }
    }

    fn apply_op(&mut self, state: &mut State, lsn: u64, op: &Op<'_>) {
        match op {
            Op::Put(put) => {
                let known = Known {
                    value: put.value.to_vec(),
                    version: lsn,
                    deadline: put.deadline,
                    content_type: put.content_type.to_vec(),
                };
                state.insert(put.key.bytes.to_vec(), known);
            }
            Op::Touch { key, deadline } => {
                let known = state.get_mut(key.bytes).expect("only what is there is touched");
                known.deadline = *deadline;
                known.version = lsn;
            }
            Op::Delete(key) => {
                state.remove(key.bytes).expect("only what is there is deleted");
                self.removed(key.bytes, lsn);
            }
        }
    }

    fn removed(&mut self, key: &[u8], lsn: u64) {
        self.removals.entry(key.to_vec()).or_default().push(lsn);
    }

    /// The state after the frame `last`, which must be one that was written.
    pub fn state_at(&self, last: Lsn) -> &State {
        self.states.get(&last.0).unwrap_or_else(|| panic!("lsn={last} was never written"))
    }

    /// The frame that made the key absent, as somebody saw it when `appended` was the last one.
    pub fn removal_before(&self, key: &[u8], appended: Lsn) -> Lsn {
        let removals = self.removals.get(key).map(Vec::as_slice).unwrap_or_default();
        Lsn(removals.iter().copied().rfind(|lsn| *lsn <= appended.0).unwrap_or_default())
    }

    /// The log means what the engine did: folding it gives what the engine served at the end.
    pub fn agrees_with_the_end_of(&self, run: &Run) {
        let (last, state) = self.states.last_key_value().unwrap();
        let alive = state.iter().filter(|(_, e)| e.deadline.is_none_or(|d| d > run.end.now));
        let alive: State = alive.map(|(k, e)| (k.clone(), e.clone())).collect();
        assert!(alive == run.end.state, "the log does not mean what the engine did, lsn={last}");
    }
}

/// What an engine serves.
pub fn state_of(engine: &Engine) -> State {
    let mut state = State::new();
    let mut cursor = Some(Cursor::START);
    while let Some(at) = cursor {
        let page = engine.scan(at, Key::from(""), 1000).wait().unwrap();
        for entry in page.entries {
            let known = Known {
                value: entry.value().to_vec(),
                version: entry.version(),
                deadline: entry.deadline(),
                content_type: entry.content_type().unwrap_or_default().as_bytes().to_vec(),
            };
            let twice = state.insert(entry.key().bytes.to_vec(), known);
            assert!(twice.is_none(), "a key is there once");
        }
        cursor = page.next;
    }
    state
}
