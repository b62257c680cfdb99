//! `wal dump`: one line a frame. Values only when asked for: they are what users trust us with. Then
//! as they were put; their length is that in the log, with codec and raw length if they differ.

use std::{borrow::Cow, ops::ControlFlow};

use emberkeep_storage::{
    Key, UnixMillis, compress,
    format::{
        op::{Encoding, Op},
        payload::{Payload, Reason},
    },
    offline::walk::{Seen, walk},
};
use serde_json::{Map, Value, json};

use super::{Tool, log::kind_name, say_in_use, text, unwritten};
use crate::node::error::{Error, Result};

/// More keys than these of one frame are counted in the text; JSON has them all.
const KEYS_SHOWN: usize = 3;

/// Which frames, and how much of them.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// From this LSN on.
    pub from: Option<u64>,
    /// Up to this LSN.
    pub to: Option<u64>,
    /// Only frames that change this key, flushes included.
    pub key: Option<Vec<u8>>,
    /// The values too.
    pub values: bool,
}

/// What a frame does to one key.
struct Change<'a> {
    what: &'static str,
    key: Key<'a>,
    deadline: Option<UnixMillis>,
    value: Option<Stored<'a>>,
}

/// A value as it stands in the log.
#[derive(Clone, Copy)]
struct Stored<'a> {
    bytes: &'a [u8],
    encoding: Option<Encoding>,
}

impl<'a> Stored<'a> {
    /// By name, or by number if a newer release wrote it.
    fn codec(encoding: Encoding) -> String {
        let known = compress::codec_of(encoding).map(|codec| codec.as_str().to_owned());
        known.unwrap_or_else(|| encoding.codec.to_string())
    }

    /// As it was put.
    fn value(&self) -> Result<Cow<'a, [u8]>> {
        match self.encoding {
            None => Ok(Cow::Borrowed(self.bytes)),
            Some(encoding) => {
                compress::inflate(self.bytes, encoding).map(Cow::Owned).map_err(Error::from_engine)
            }
        }
    }
}

impl Tool<'_> {
    /// `wal dump`.
    ///
    /// # Errors
    /// As [`Tool::wal_ls`].
    pub fn wal_dump(&mut self, selection: &Selection) -> Result<u8> {
        let directory = self.directory()?;
        say_in_use(&directory);
        let (json, out) = (self.json, &mut *self.out);
        let mut outcome = Ok(());
        let mut one = |seen: &Seen<'_>| {
            if selection.to.is_some_and(|to| seen.frame.header.index > to) {
                return ControlFlow::Break(());
            }
            let changes = changes(seen.payload);
            if !selection.takes(seen, &changes) {
                return ControlFlow::Continue(());
            }
            let line = if json {
                as_json(seen, &changes, selection.values).to_string()
            } else {
                as_text(seen, &changes, selection.values)
            };
            outcome = writeln!(out, "{line}");
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let reads = walk(&directory, &mut one, &|_, _| {}).map_err(Error::from_engine)?;
        outcome.map_err(unwritten)?;
        self.code_after(&reads)
    }
}

impl Selection {
    fn takes(&self, seen: &Seen<'_>, changes: &[Change<'_>]) -> bool {
        let early = self.from.is_some_and(|from| seen.frame.header.index < from);
        let of_the_key = |key: &Vec<u8>| match seen.payload {
            Payload::Flush(namespace) => namespace.is_none_or(|n| n == 0),
            _ => changes.iter().any(|c| c.key.namespace == 0 && c.key.bytes == key.as_slice()),
        };
        !early && self.key.as_ref().is_none_or(of_the_key)
    }
}

fn changes<'a>(payload: &Payload<'a>) -> Vec<Change<'a>> {
    match *payload {
        Payload::Op(op) => vec![change(op)],
        Payload::Txn(ops) => ops.iter().map(change).collect(),
        Payload::Remove(reason, entries) => {
            let what = match reason {
                Reason::Expired => "expired",
                Reason::Evicted => "evicted",
            };
            entries.iter().map(|(key, _)| Change { what, key, deadline: None, value: None }).collect()
        }
        Payload::Flush(_) | Payload::TermStart(_) | Payload::Mark(_) => Vec::new(),
    }
}

fn change(op: Op<'_>) -> Change<'_> {
    match op {
        Op::Put(put) => {
            let value = Stored { bytes: put.value, encoding: put.encoding };
            Change { what: "put", key: put.key, deadline: put.deadline, value: Some(value) }
        }
        Op::Delete(key) => Change { what: "delete", key, deadline: None, value: None },
        Op::Touch { key, deadline } => Change { what: "touch", key, deadline, value: None },
    }
}

/// LSN, time, kind, bytes on disk, and what it is about. A Mark has no LSN of its own.
fn as_text(seen: &Seen<'_>, changes: &[Change<'_>], values: bool) -> String {
    let header = seen.frame.header;
    let lsn = if header.kind.is_replicated() { header.index.to_string() } else { "-".to_owned() };
    let (kind, bytes) = (kind_name(header.kind), seen.frame.disk_len());
    let mut line =
        format!("{lsn:>12}  {}  {kind:<10}  {bytes:>8}  {}", text::time(header.ts), about(seen.payload));
    let shown: Vec<String> = changes.iter().take(KEYS_SHOWN).map(|c| change_text(c, values)).collect();
    line += &shown.join(", ");
    if changes.len() > KEYS_SHOWN {
        line += &format!(", and {} more", changes.len() - KEYS_SHOWN);
    }
    line.trim_end().to_owned()
}

/// What a frame says that changes no single key.
fn about(payload: &Payload<'_>) -> String {
    match payload {
        Payload::Flush(None) => "everything".to_owned(),
        Payload::Flush(Some(namespace)) => format!("namespace={namespace}"),
        Payload::TermStart(start) => format!("previous_lsn={}", start.prev_index),
        Payload::Mark(mark) => format!("durable={}", mark.durable),
        Payload::Remove(Reason::Expired, _) => "expired ".to_owned(),
        Payload::Remove(Reason::Evicted, _) => "evicted ".to_owned(),
        Payload::Op(_) | Payload::Txn(_) => String::new(),
    }
}

fn change_text(change: &Change<'_>, values: bool) -> String {
    let mut out = text::shown_key(change.key.namespace, change.key.bytes);
    if let Some(value) = change.value {
        out += &format!(" value_bytes={}", value.bytes.len());
        if let Some(encoding) = value.encoding {
            out += &format!(" codec={} raw_bytes={}", Stored::codec(encoding), encoding.raw_len);
        }
    }
    if let Some(deadline) = change.deadline {
        out += &format!(" deadline={}", text::time(deadline));
    }
    if let Some(value) = change.value.filter(|_| values) {
        out += &match value.value() {
            Ok(value) => format!(" value={}", text::shown(&value)),
            Err(e) => format!(" problem={:?}", e.detail()),
        };
    }
    out
}

fn as_json(seen: &Seen<'_>, changes: &[Change<'_>], values: bool) -> Value {
    let header = seen.frame.header;
    let mut line = json!({
        "lsn": header.kind.is_replicated().then_some(header.index), "time_ms": header.ts.0,
        "kind": kind_name(header.kind), "bytes": seen.frame.disk_len(), "term": header.term,
        "segment": seen.segment, "offset": seen.offset,
    });
    let object = line.as_object_mut().expect("made as an object");
    match seen.payload {
        Payload::Flush(namespace) => {
            object.insert("namespace".into(), json!(namespace));
        }
        Payload::TermStart(start) => {
            object.insert("previous_lsn".into(), json!(start.prev_index));
        }
        Payload::Mark(mark) => {
            let durable = json!({"segment": mark.durable.segment, "offset": mark.durable.offset});
            object.insert("durable".into(), durable);
        }
        Payload::Op(_) | Payload::Txn(_) | Payload::Remove(..) => {
            let changes: Vec<Value> = changes.iter().map(|c| change_json(c, values)).collect();
            object.insert("changes".into(), changes.into());
        }
    }
    line
}

fn change_json(change: &Change<'_>, values: bool) -> Value {
    let mut object = Map::new();
    object.insert("change".into(), change.what.into());
    if change.key.namespace != 0 {
        object.insert("namespace".into(), change.key.namespace.into());
    }
    text::put_bytes(&mut object, "key", change.key.bytes);
    if let Some(value) = change.value {
        object.insert("value_bytes".into(), value.bytes.len().into());
        if let Some(encoding) = value.encoding {
            object.insert("codec".into(), Stored::codec(encoding).into());
            object.insert("raw_bytes".into(), encoding.raw_len.into());
        }
    }
    if let Some(deadline) = change.deadline {
        object.insert("deadline_ms".into(), deadline.0.into());
    }
    if let Some(value) = change.value.filter(|_| values) {
        match value.value() {
            Ok(value) => text::put_bytes(&mut object, "value", &value),
            Err(e) => drop(object.insert("problem".into(), e.detail().into())),
        }
    }
    object.into()
}
