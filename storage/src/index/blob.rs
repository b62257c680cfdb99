//! A key and its value in one shared allocation, reached through one thin pointer.
//!
//! A [`Blob`] never changes once it is made; a new value is a new blob. Cloning it counts a
//! reference, so a reply holds a large value without copying it and without holding a lock.
//! The deadline is not in the blob: it changes without the value and lives in the timer wheel.
//!
//! Almost every entry of a cache is a short value in namespace 0 with nothing added: key and value
//! are then a pair of `index::thin`, four bytes on top. Everything else is tagged with
//!
//! ```text
//! flags              1 namespace, 2 type tag, 4 version, 8 encoding, 16 content type
//! ```
//! and consists of
//! ```text
//! u16  key length
//! u16  namespace     if flag 1, else 0
//! u8   type tag      if flag 2, else 0
//! u64  version       if flag 4
//! u8   codec         if flag 8, with
//! u32  raw length
//! u8   type length   if flag 16
//! [u8] key, content type, value
//! ```
//!
//! The layout is private to this process; the bytes on disk are laid out in `format::op`.

use std::fmt;

use crate::{
    allocator::MAPPED_MIN,
    clock::UnixMillis,
    format::op::{Encoding, Key, Put},
    index::thin::{Form, Thin},
    limits::{CONTENT_TYPE_LEN_MAX, KEY_LEN_MAX, VALUE_LEN_MAX},
};

const NAMESPACE: u8 = 1;
const TYPE_TAG: u8 = 2;
const VERSION: u8 = 4;
const ENCODING: u8 = 8;
const CONTENT_TYPE: u8 = 16;

/// The key length, in front of the optional fields.
const FIXED_LEN: usize = 2;
/// What the optional fields of a set of flags add.
const OPTIONAL_LEN: [u8; 32] = optional_lens();
/// Longest head: with every optional field.
const HEAD_LEN_MAX: usize = FIXED_LEN + 2 + 1 + 8 + 5 + 1;

const _: () = assert!(KEY_LEN_MAX <= u16::MAX as usize, "the key length has two bytes");
const _: () = assert!(CONTENT_TYPE_LEN_MAX <= u8::MAX as usize, "the type length has one byte");
const _: () = assert!(
    HEAD_LEN_MAX + KEY_LEN_MAX + CONTENT_TYPE_LEN_MAX + VALUE_LEN_MAX <= u32::MAX as usize,
    "a thin string has at most 4 GiB, and the raw length four bytes"
);
const _: () = assert!(size_of::<Option<Blob>>() == 8, "an entry has eight bytes for its blob");

/// A key with its value and what belongs to it, immutable and shared.
#[derive(Clone)]
pub struct Blob(Thin);

impl Blob {
    /// Where it lies, for whoever fetches it ahead.
    pub(crate) fn address(&self) -> *const u8 {
        self.0.address()
    }

    /// Copies `put` into an allocation of its own. The deadline is left out.
    pub fn new(put: &Put<'_>) -> Blob {
        let head = Head::of(put);
        let pair = if head.flags == 0 { Thin::pair(put.key.bytes, put.value) } else { None };
        Blob(pair.unwrap_or_else(|| {
            Thin::tagged(head.flags, &[head.as_bytes(), put.key.bytes, put.content_type, put.value])
        }))
    }

    /// The key alone, for a tombstone.
    pub fn bare(key: Key<'_>) -> Blob {
        Blob::new(&Put {
            key,
            type_tag: 0,
            deadline: None,
            version: None,
            encoding: None,
            content_type: &[],
            value: &[],
        })
    }

    /// The key.
    pub fn key(&self) -> Key<'_> {
        let bytes = self.0.bytes();
        match self.0.form() {
            Form::Pair(key_len) => Key { namespace: 0, bytes: &bytes[..usize::from(key_len.get())] },
            Form::Tagged(flags) => Tagged { flags, bytes }.key(),
        }
    }

    /// The stored bytes of the value, compressed if [`encoding`](Self::encoding) says so.
    pub fn value(&self) -> &[u8] {
        let bytes = self.0.bytes();
        match self.0.form() {
            Form::Pair(key_len) => &bytes[usize::from(key_len.get())..],
            Form::Tagged(flags) => Tagged { flags, bytes }.value(),
        }
    }

    /// Media type as given by the writer; empty if none was given.
    pub fn content_type(&self) -> &[u8] {
        self.tagged().map_or(&[], Tagged::content_type)
    }

    /// What kind of value: 0 for bytes.
    pub fn type_tag(&self) -> u8 {
        self.tagged().map_or(0, Tagged::type_tag)
    }

    /// The version, where it is not the LSN of the entry.
    pub fn explicit_version(&self) -> Option<u64> {
        self.tagged().and_then(Tagged::explicit_version)
    }

    /// How the value is compressed; `None` not at all.
    pub fn encoding(&self) -> Option<Encoding> {
        self.tagged().and_then(Tagged::encoding)
    }

    /// The op that makes this entry, for a snapshot.
    pub fn as_put(&self, deadline: Option<UnixMillis>) -> Put<'_> {
        Put {
            key: self.key(),
            type_tag: self.type_tag(),
            deadline,
            version: self.explicit_version(),
            encoding: self.encoding(),
            content_type: self.content_type(),
            value: self.value(),
        }
    }

    /// The bytes that the allocator hands out for this blob, see [`allocated_bytes`].
    pub fn charge_bytes(&self) -> u64 {
        allocated_bytes(self.0.allocated_len() as u64)
    }

    fn tagged(&self) -> Option<Tagged<'_>> {
        match self.0.form() {
            Form::Pair(_) => None,
            Form::Tagged(flags) => Some(Tagged { flags, bytes: self.0.bytes() }),
        }
    }
}

/// The bytes of a blob that is not a plain pair.
#[derive(Clone, Copy)]
struct Tagged<'a> {
    flags: u8,
    bytes: &'a [u8],
}

impl<'a> Tagged<'a> {
    fn key(self) -> Key<'a> {
        let namespace =
            if self.has(NAMESPACE) { u16::from_le_bytes(array(self.bytes, FIXED_LEN)) } else { 0 };
        Key { namespace, bytes: &self.bytes[self.key_start()..self.key_end()] }
    }

    fn value(self) -> &'a [u8] {
        &self.bytes[self.key_end() + self.content_type_len()..]
    }

    fn content_type(self) -> &'a [u8] {
        &self.bytes[self.key_end()..][..self.content_type_len()]
    }

    fn type_tag(self) -> u8 {
        if self.has(TYPE_TAG) { self.bytes[self.after(NAMESPACE)] } else { 0 }
    }

    fn explicit_version(self) -> Option<u64> {
        let at = self.after(NAMESPACE | TYPE_TAG);
        self.has(VERSION).then(|| u64::from_le_bytes(array(self.bytes, at)))
    }

    fn encoding(self) -> Option<Encoding> {
        let at = self.after(NAMESPACE | TYPE_TAG | VERSION);
        self.has(ENCODING).then(|| Encoding {
            codec: self.bytes[at],
            raw_len: u32::from_le_bytes(array(self.bytes, at + 1)),
        })
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn key_start(self) -> usize {
        self.after(u8::MAX)
    }

    fn key_end(self) -> usize {
        self.key_start() + usize::from(u16::from_le_bytes(array(self.bytes, 0)))
    }

    /// The offset behind those optional fields that are in `fields`.
    fn after(self, fields: u8) -> usize {
        FIXED_LEN + usize::from(OPTIONAL_LEN[usize::from(self.flags & fields & 31)])
    }

    fn content_type_len(self) -> usize {
        if self.has(CONTENT_TYPE) { usize::from(self.bytes[self.key_start() - 1]) } else { 0 }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = format_args!("{} bytes", self.value().len());
        f.debug_struct("Blob").field("key", &self.key()).field("value", &value).finish()
    }
}

/// What an allocation of `len` bytes really takes: eight bytes in front, in steps of 16, at least
/// 32; from [`MAPPED_MIN`] on it is a mapping of its own, in pages. So it is with glibc, tuned as
/// [`allocator`](crate::allocator) says.
pub fn allocated_bytes(len: u64) -> u64 {
    let piece = (len + 8).next_multiple_of(16).max(32);
    if piece < MAPPED_MIN as u64 { piece } else { (piece + 8).next_multiple_of(4096) }
}

/// Everything in front of the key of a blob that is tagged.
struct Head {
    flags: u8,
    bytes: [u8; HEAD_LEN_MAX],
    len: usize,
}

impl Head {
    fn of(put: &Put<'_>) -> Head {
        let mut head = Head { flags: 0, bytes: [0; HEAD_LEN_MAX], len: FIXED_LEN };
        let key_len = u16::try_from(put.key.bytes.len()).expect("checked before: at most 16,384 bytes");
        head.bytes[..2].copy_from_slice(&key_len.to_le_bytes());
        if put.key.namespace != 0 {
            head.push(NAMESPACE, &put.key.namespace.to_le_bytes());
        }
        if put.type_tag != 0 {
            head.push(TYPE_TAG, &[put.type_tag]);
        }
        if let Some(version) = put.version {
            head.push(VERSION, &version.to_le_bytes());
        }
        if let Some(Encoding { codec, raw_len }) = put.encoding {
            let [a, b, c, d] = raw_len.to_le_bytes();
            head.push(ENCODING, &[codec, a, b, c, d]);
        }
        if !put.content_type.is_empty() {
            let len = u8::try_from(put.content_type.len()).expect("checked before: at most 255 bytes");
            head.push(CONTENT_TYPE, &[len]);
        }
        head
    }

    fn push(&mut self, flag: u8, field: &[u8]) {
        self.flags |= flag;
        self.bytes[self.len..self.len + field.len()].copy_from_slice(field);
        self.len += field.len();
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

const fn optional_lens() -> [u8; 32] {
    let mut lens = [0; 32];
    let mut flags = 0;
    while flags < 32 {
        let f = flags as u8;
        lens[flags] = 2 * (f & 1) + (f >> 1 & 1) + 8 * (f >> 2 & 1) + 5 * (f >> 3 & 1) + (f >> 4);
        flags += 1;
    }
    lens
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_blob_gives_back_what_was_put(
            namespace in prop_oneof![Just(0u16), any::<u16>()],
            key in proptest::collection::vec(any::<u8>(), 1..300),
            type_tag in prop_oneof![Just(0u8), any::<u8>()],
            version: Option<u64>,
            encoding in proptest::option::of((1u8.., any::<u32>())),
            content_type in "[ -~]{0,255}",
            value in proptest::collection::vec(any::<u8>(), 0..700),
        ) {
            let put = Put {
                key: Key { namespace, bytes: &key },
                type_tag,
                deadline: Some(UnixMillis(7)),
                version,
                encoding: encoding.map(|(codec, raw_len)| Encoding { codec, raw_len }),
                content_type: content_type.as_bytes(),
                value: &value,
            };
            let blob = Blob::new(&put);
            prop_assert_eq!(blob.as_put(put.deadline), put);
        }
    }

    fn blob(key: &[u8], value: &[u8]) -> Blob {
        Blob::new(&Put { value, ..Blob::bare(Key::from(key)).as_put(None) })
    }

    #[test]
    fn keys_and_values_around_the_lengths_of_the_short_form_come_back() {
        for key_len in [1, 2, 255, 256, KEY_LEN_MAX] {
            for value_len in [0, 1, 255, 256, 65_536] {
                let (key, value) = (vec![b'k'; key_len], vec![b'v'; value_len]);
                let blob = blob(&key, &value);
                assert_eq!((blob.key().bytes, blob.value()), (&key[..], &value[..]));
            }
        }
    }

    #[test]
    fn a_plain_value_costs_four_bytes_before_rounding_and_a_longer_one_eight() {
        let key = b"sixteen bytes ok";
        assert_eq!(blob(key, &[0; 32]).0.allocated_len(), 4 + 16 + 32);
        assert_eq!(blob(key, &[0; 32]).charge_bytes(), 64);
        assert_eq!(blob(key, &[0; 100]).charge_bytes(), 128);
        assert_eq!(blob(key, &[0; 1024]).0.allocated_len(), 8 + 16 + 1024);
    }

    #[test]
    fn the_charge_follows_the_steps_of_the_allocator() {
        assert_eq!([1, 24, 25, 40, 41].map(allocated_bytes), [32, 32, 48, 48, 64]);
        assert_eq!([16_360, 16_361].map(allocated_bytes), [16_368, 20_480]);
        assert_eq!(allocated_bytes(200_000), 200_704);
    }

    #[test]
    fn a_clone_shares_the_bytes() {
        let blob = Blob::bare(Key::from("k"));
        assert_eq!(blob.clone().key().bytes.as_ptr(), blob.key().bytes.as_ptr());
    }
}
