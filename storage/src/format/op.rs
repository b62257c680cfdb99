//! Ops: what one record does to one key. An op is *resolved*: it holds the full new value and an
//! absolute deadline, never "add one" or "in ten seconds", so that applying it is a pure
//! function of the state and the op.
//!
//! ```text
//! u8      kind         1 put, 2 delete, 3 touch (0 is invalid)
//! u8      flags        1 deadline, 2 version, 4 codec, 8 content type; the rest zero
//! varint  namespace    at most 65535
//! u8      type tag     0 = bytes (room for hashes); zero for delete and touch
//! varint  key length   1..=16384
//! [u8]    key
//! u64     deadline     ms since 1970, if flag 1            put, touch (touch without: no deadline)
//! u64     version      if flag 2; else the frame's index    put
//! u8      codec        if flag 4: 1 zstd, 2 gzip, with      put
//! varint  raw length     the length before compression
//! u8      type length  1..=255, if flag 8, with             put
//! [u8]    content type   visible ASCII
//! varint  value length                                      put
//! [u8]    value                                             put
//! ```

use super::{
    Defect,
    reader::{Reader, put_varint},
};
use crate::{
    clock::UnixMillis,
    limits::{KEY_LEN_MAX, VALUE_LEN_MAX},
};

const KIND_PUT: u8 = 1;
const KIND_DELETE: u8 = 2;
const KIND_TOUCH: u8 = 3;

const FLAG_DEADLINE: u8 = 1;
const FLAG_VERSION: u8 = 2;
const FLAG_CODEC: u8 = 4;
const FLAG_CONTENT_TYPE: u8 = 8;

/// A key in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<'a> {
    /// Which of the 65,536 key spaces; 0 unless the protocol has a notion of it.
    pub namespace: u16,
    /// 1 to 16,384 bytes, any bytes.
    pub bytes: &'a [u8],
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Key { namespace: 0, bytes }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Key<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Key { namespace: 0, bytes }
    }
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(text: &'a str) -> Self {
        Key { namespace: 0, bytes: text.as_bytes() }
    }
}

/// How the stored bytes of a value were compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// 1 zstd, 2 gzip; 0 is never written. Others are kept as they are, for newer releases.
    pub codec: u8,
    /// Length in bytes after inflating.
    pub raw_len: u32,
}

/// The new state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put<'a> {
    /// The key.
    pub key: Key<'a>,
    /// What kind of value: 0 for bytes.
    pub type_tag: u8,
    /// When it expires; `None` never.
    pub deadline: Option<UnixMillis>,
    /// The version, where it is not the index of the frame.
    pub version: Option<u64>,
    /// How `value` is compressed; `None` not at all.
    pub encoding: Option<Encoding>,
    /// Media type as given by the writer; empty if none was given.
    pub content_type: &'a [u8],
    /// The stored bytes.
    pub value: &'a [u8],
}

/// What a record does to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// The key has this state from now on.
    Put(Put<'a>),
    /// The key is absent from now on, because a user asked.
    Delete(Key<'a>),
    /// The key has this deadline from now on; the value stays.
    Touch {
        /// The key.
        key: Key<'a>,
        /// When it expires; `None` never.
        deadline: Option<UnixMillis>,
    },
}

impl<'a> Op<'a> {
    /// The key that the op is about.
    pub fn key(&self) -> Key<'a> {
        match self {
            Op::Put(put) => put.key,
            Op::Delete(key) | Op::Touch { key, .. } => *key,
        }
    }

    /// Appends the op to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Op::Put(put) => {
                put.encode_head(out);
                out.extend_from_slice(put.value);
            }
            Op::Delete(key) => encode_start(out, KIND_DELETE, 0, *key, 0),
            Op::Touch { key, deadline } => {
                let flags = if deadline.is_some() { FLAG_DEADLINE } else { 0 };
                encode_start(out, KIND_TOUCH, flags, *key, 0);
                put_deadline(out, *deadline);
            }
        }
    }

    /// Takes one op off the reader.
    ///
    /// # Errors
    /// The [`Defect`] of the first byte that no encoder writes.
    pub fn decode(r: &mut Reader<'a>) -> Result<Op<'a>, Defect> {
        let kind = r.u8()?;
        let flags = r.u8()?;
        let allowed = match kind {
            KIND_PUT => FLAG_DEADLINE | FLAG_VERSION | FLAG_CODEC | FLAG_CONTENT_TYPE,
            KIND_DELETE => 0,
            KIND_TOUCH => FLAG_DEADLINE,
            _ => return Err(Defect::Unknown),
        };
        if flags & !allowed != 0 {
            return Err(Defect::Unknown);
        }
        let namespace = u16::try_from(r.varint()?).map_err(|_| Defect::Length)?;
        let type_tag = r.u8()?;
        if type_tag != 0 {
            return Err(Defect::Unknown);
        }
        let key = Key { namespace, bytes: decode_key(r)? };
        let deadline = (flags & FLAG_DEADLINE != 0).then(|| r.u64().map(UnixMillis)).transpose()?;
        match kind {
            KIND_DELETE => Ok(Op::Delete(key)),
            KIND_TOUCH => Ok(Op::Touch { key, deadline }),
            _ => decode_put(r, flags, key, type_tag, deadline).map(Op::Put),
        }
    }
}

impl Put<'_> {
    /// Appends everything but the value itself, so that a large value need not be copied.
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        let mut flags = 0;
        flags |= if self.deadline.is_some() { FLAG_DEADLINE } else { 0 };
        flags |= if self.version.is_some() { FLAG_VERSION } else { 0 };
        flags |= if self.encoding.is_some() { FLAG_CODEC } else { 0 };
        flags |= if self.content_type.is_empty() { 0 } else { FLAG_CONTENT_TYPE };
        encode_start(out, KIND_PUT, flags, self.key, self.type_tag);
        put_deadline(out, self.deadline);
        if let Some(version) = self.version {
            out.extend_from_slice(&version.to_le_bytes());
        }
        if let Some(Encoding { codec, raw_len }) = self.encoding {
            out.push(codec);
            put_varint(out, u64::from(raw_len));
        }
        if !self.content_type.is_empty() {
            let len = u8::try_from(self.content_type.len()).expect("checked before: at most 255 bytes");
            out.push(len);
            out.extend_from_slice(self.content_type);
        }
        put_varint(out, self.value.len() as u64);
    }
}

/// A key as it stands in every payload: length and bytes.
pub(super) fn decode_key<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Defect> {
    let len = r.length(KEY_LEN_MAX)?;
    if len == 0 {
        return Err(Defect::Length);
    }
    r.bytes(len)
}

fn encode_start(out: &mut Vec<u8>, kind: u8, flags: u8, key: Key<'_>, type_tag: u8) {
    out.extend_from_slice(&[kind, flags]);
    put_varint(out, u64::from(key.namespace));
    out.push(type_tag);
    put_varint(out, key.bytes.len() as u64);
    out.extend_from_slice(key.bytes);
}

fn put_deadline(out: &mut Vec<u8>, deadline: Option<UnixMillis>) {
    if let Some(UnixMillis(ms)) = deadline {
        out.extend_from_slice(&ms.to_le_bytes());
    }
}

fn decode_put<'a>(
    r: &mut Reader<'a>,
    flags: u8,
    key: Key<'a>,
    type_tag: u8,
    deadline: Option<UnixMillis>,
) -> Result<Put<'a>, Defect> {
    let version = (flags & FLAG_VERSION != 0).then(|| r.u64()).transpose()?;
    let encoding = (flags & FLAG_CODEC != 0).then(|| decode_encoding(r)).transpose()?;
    let content_type = if flags & FLAG_CONTENT_TYPE != 0 { decode_content_type(r)? } else { &[] };
    let len = r.length(VALUE_LEN_MAX)?;
    let value = r.bytes(len)?;
    Ok(Put { key, type_tag, deadline, version, encoding, content_type, value })
}

fn decode_encoding(r: &mut Reader<'_>) -> Result<Encoding, Defect> {
    let codec = r.u8()?;
    if codec == 0 {
        return Err(Defect::Unknown);
    }
    let raw_len = r.length(VALUE_LEN_MAX)? as u32;
    Ok(Encoding { codec, raw_len })
}

fn decode_content_type<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Defect> {
    let len = usize::from(r.u8()?);
    let text = r.bytes(len)?;
    let valid = len > 0 && text.iter().all(|b| (0x20..0x7f).contains(b));
    if valid { Ok(text) } else { Err(Defect::Malformed) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_all(bytes: &[u8]) -> Result<Op<'_>, Defect> {
        let mut r = Reader::new(bytes);
        let op = Op::decode(&mut r)?;
        r.finish()?;
        Ok(op)
    }

    fn encoded(op: &Op<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        op.encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn every_put_survives_the_round_trip(
            namespace: u16,
            key in proptest::collection::vec(any::<u8>(), 1..300),
            deadline: Option<u64>,
            version: Option<u64>,
            encoding in proptest::option::of((1u8.., 0..=VALUE_LEN_MAX as u32)),
            content_type in "[ -~]{0,255}",
            value in proptest::collection::vec(any::<u8>(), 0..500),
        ) {
            let op = Op::Put(Put {
                key: Key { namespace, bytes: &key },
                type_tag: 0,
                deadline: deadline.map(UnixMillis),
                version,
                encoding: encoding.map(|(codec, raw_len)| Encoding { codec, raw_len }),
                content_type: content_type.as_bytes(),
                value: &value,
            });
            let bytes = encoded(&op);
            prop_assert_eq!(decode_all(&bytes), Ok(op));
            for end in 0..bytes.len() {
                prop_assert!(decode_all(&bytes[..end]).is_err());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_what_decodes_is_canonical(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok(op) = decode_all(&bytes) {
                prop_assert_eq!(encoded(&op), bytes);
            }
        }
    }

    #[test]
    fn delete_and_touch_survive_the_round_trip() {
        let key = Key { namespace: 3, bytes: b"k" };
        for op in [
            Op::Delete(key),
            Op::Touch { key, deadline: None },
            Op::Touch { key, deadline: Some(UnixMillis(17)) },
        ] {
            assert_eq!(decode_all(&encoded(&op)), Ok(op));
        }
    }

    #[test]
    fn a_hostile_length_is_refused_before_anything_is_allocated() {
        let mut bytes = vec![KIND_PUT, 0, 0, 0];
        put_varint(&mut bytes, u64::MAX);
        assert_eq!(decode_all(&bytes), Err(Defect::Length));
    }
}
