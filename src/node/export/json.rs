//! The readable export: a JSON array with one object per line.
//!
//! ```json
//! [
//! {"key":"user:1","value":"John","content_type":"text/plain","expires_at":1767225600000},
//! {"key64":"_wA","value64":"AAEC"}
//! ]
//! ```
//!
//! `key64` and `value64` are base64url without padding and stand where the bytes are not UTF-8.
//! Fields that do not apply are left out. The reader takes any JSON array of such objects,
//! however it is broken into lines, so that a file may go through `jq` in between.

use std::{
    borrow::Cow,
    fmt,
    io::{Read, Write},
};

use emberkeep_storage::UnixMillis;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};

use super::{Record, Visit, damaged};
use crate::node::{
    error::{Code, Error, Result},
    text::{Text, decode64},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

/// Writes what `entries` hands out; returns how many there were.
pub(super) fn write(out: &mut impl Write, entries: impl FnOnce(&mut Visit<'_>) -> Result<()>) -> Result<u64> {
    let mut count = 0;
    entries(&mut |record| {
        let separator: &[u8] = if count == 0 { b"[\n" } else { b",\n" };
        count += 1;
        out.write_all(separator).map_err(unwritten)?;
        serde_json::to_writer(&mut *out, &Line::of(&record)).map_err(|e| unwritten(e.into()))
    })?;
    out.write_all(if count == 0 { b"[\n]\n" } else { b"\n]\n" }).map_err(unwritten)?;
    Ok(count)
}

/// Hands every record to `visit`.
pub(super) fn read(source: &mut impl Read, visit: &mut Visit<'_>) -> Result<()> {
    // An error of the visitor has to travel through serde's own error type: kept aside.
    let mut stopped = None;
    let mut json = serde_json::Deserializer::from_reader(source);
    let result = json.deserialize_seq(Records { visit, stopped: &mut stopped }).and_then(|()| json.end());
    match (stopped, result) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.is_io() => Err(unread(&error)),
        (None, Err(error)) => Err(damaged(error)),
    }
}

struct Records<'a, 'v> {
    visit: &'a mut Visit<'v>,
    stopped: &'a mut Option<Error>,
}

impl<'de> Visitor<'de> for Records<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(line) = seq.next_element::<Line<'_>>()? {
            let record = line.into_record().map_err(A::Error::custom)?;
            if let Err(error) = (self.visit)(record) {
                *self.stopped = Some(error);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

impl<'a> Line<'a> {
    fn of(record: &'a Record<'_>) -> Line<'a> {
        let (key, key64) = fields(&record.key);
        let (value, value64) = fields(&record.value);
        let content_type = record.content_type.as_deref().map(Cow::Borrowed);
        Line { key, key64, value, value64, content_type, expires_at: record.deadline.map(|at| at.0) }
    }

    fn into_record(self) -> Result<Record<'a>, &'static str> {
        Ok(Record {
            key: bytes(self.key, self.key64)
                .ok_or("an entry needs either key or key64 (base64url without padding)")?,
            value: bytes(self.value, self.value64)
                .ok_or("an entry needs either value or value64 (base64url without padding)")?,
            content_type: self.content_type,
            deadline: self.expires_at.map(UnixMillis),
        })
    }
}

fn fields(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    match Text::from(bytes) {
        Text::Plain(text) => (Some(Cow::Borrowed(text)), None),
        Text::Encoded(text) => (None, Some(Cow::Owned(text))),
    }
}

fn bytes<'a>(plain: Option<Cow<'a, str>>, encoded: Option<Cow<'a, str>>) -> Option<Cow<'a, [u8]>> {
    match (plain, encoded) {
        (Some(Cow::Borrowed(text)), None) => Some(Cow::Borrowed(text.as_bytes())),
        (Some(Cow::Owned(text)), None) => Some(Cow::Owned(text.into_bytes())),
        (None, Some(text)) => decode64(&*text).map(Cow::Owned),
        _ => None,
    }
}

fn unwritten(error: std::io::Error) -> Error {
    super::failed("write", std::path::Path::new(""), error)
}

fn unread(error: &serde_json::Error) -> Error {
    Error::new(Code::Io, format!("cannot read the export: {error}"))
}
