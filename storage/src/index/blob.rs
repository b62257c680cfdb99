//! A key and its value in one shared allocation, reached through one thin pointer.
//!
//! A [`Blob`] never changes once it is made; a new value is a new blob. Cloning it counts a
//! reference, so a reply holds a large value without copying it and without holding a lock.
//! The deadline is not in the blob: it changes without the value and lives in the timer wheel.
//!
//! ```text
//! u16  key length
//! u8   flags         1 namespace, 2 type tag, 4 version, 8 encoding, 16 content type
//! u16  namespace     if flag 1, else 0
//! u8   type tag      if flag 2, else 0
//! u64  version       if flag 4
//! u8   codec         if flag 8, with
//! u32  raw length
//! u8   type length   if flag 16
//! [u8] key, content type, value
//! ```
//!
//! Almost every entry of a cache is a plain value in namespace 0, so what is usual costs nothing:
//! three bytes on top of the reference count and the length. The layout is private to this
//! process and this file; the bytes on disk are laid out in `format::op`.

use std::{fmt, ops::Range};

use triomphe::ThinArc;

use crate::{
    clock::UnixMillis,
    format::op::{Encoding, Key, Put},
    limits::{CONTENT_TYPE_LEN_MAX, KEY_LEN_MAX, VALUE_LEN_MAX},
};

const NAMESPACE: u8 = 1;
const TYPE_TAG: u8 = 2;
const VERSION: u8 = 4;
const ENCODING: u8 = 8;
const CONTENT_TYPE: u8 = 16;

/// Key length and flags.
const FIXED_LEN: usize = 3;
/// What the optional fields of a set of flags add.
const OPTIONAL_LEN: [u8; 32] = optional_lens();
/// Longest head: with every optional field.
const HEAD_LEN_MAX: usize = FIXED_LEN + 2 + 1 + 8 + 5 + 1;
/// Blobs up to this size are put together on the stack, larger ones on the heap.
const ON_STACK_MAX: usize = 512;
/// Reference count and length, in front of the bytes.
const SHARED_HEAD_LEN: u64 = 16;

const _: () = assert!(KEY_LEN_MAX <= u16::MAX as usize, "the key length has two bytes");
const _: () = assert!(CONTENT_TYPE_LEN_MAX <= u8::MAX as usize, "the type length has one byte");
const _: () = assert!(VALUE_LEN_MAX <= u32::MAX as usize, "the raw length has four bytes");
const _: () = assert!(size_of::<Option<Blob>>() == 8, "an entry has eight bytes for its blob");

/// A key with its value and what belongs to it, immutable and shared.
#[derive(Clone)]
pub struct Blob(ThinArc<(), u8>);

impl Blob {
    /// Copies `put` into an allocation of its own. The deadline is left out.
    pub fn new(put: &Put<'_>) -> Blob {
        let head = Head::of(put);
        let parts = [head.as_bytes(), put.key.bytes, put.content_type, put.value];
        let len = parts.iter().map(|part| part.len()).sum();
        if len <= ON_STACK_MAX {
            let mut buffer = [0; ON_STACK_MAX];
            let mut at = 0;
            for part in parts {
                buffer[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
            return Blob(ThinArc::from_header_and_slice((), &buffer[..len]));
        }
        let mut buffer = Vec::with_capacity(len);
        for part in parts {
            buffer.extend_from_slice(part);
        }
        Blob(ThinArc::from_header_and_slice((), &buffer))
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
        let bytes = self.bytes();
        let start = self.key_start();
        let namespace = if self.has(NAMESPACE) { u16::from_le_bytes(array(bytes, FIXED_LEN)) } else { 0 };
        Key { namespace, bytes: &bytes[start..start + self.key_len()] }
    }

    /// The stored bytes of the value, compressed if [`encoding`](Self::encoding) says so.
    pub fn value(&self) -> &[u8] {
        &self.bytes()[self.value_range()]
    }

    /// Where the value lies in [`bytes`](Self::bytes), for a reply that keeps the blob.
    pub fn value_range(&self) -> Range<usize> {
        let start = self.key_start() + self.key_len() + self.content_type_len();
        start..self.bytes().len()
    }

    /// Everything: head, key, content type and value.
    pub fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// Media type as given by the writer; empty if none was given.
    pub fn content_type(&self) -> &[u8] {
        let start = self.key_start() + self.key_len();
        &self.bytes()[start..start + self.content_type_len()]
    }

    /// What kind of value: 0 for bytes.
    pub fn type_tag(&self) -> u8 {
        if self.has(TYPE_TAG) { self.bytes()[self.after(NAMESPACE)] } else { 0 }
    }

    /// The version, where it is not the LSN of the entry.
    pub fn explicit_version(&self) -> Option<u64> {
        let at = self.after(NAMESPACE | TYPE_TAG);
        self.has(VERSION).then(|| u64::from_le_bytes(array(self.bytes(), at)))
    }

    /// How the value is compressed; `None` not at all.
    pub fn encoding(&self) -> Option<Encoding> {
        let at = self.after(NAMESPACE | TYPE_TAG | VERSION);
        self.has(ENCODING).then(|| Encoding {
            codec: self.bytes()[at],
            raw_len: u32::from_le_bytes(array(self.bytes(), at + 1)),
        })
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
        allocated_bytes(SHARED_HEAD_LEN + self.bytes().len() as u64)
    }

    fn flags(&self) -> u8 {
        self.bytes()[2]
    }

    fn has(&self, flag: u8) -> bool {
        self.flags() & flag != 0
    }

    fn key_len(&self) -> usize {
        usize::from(u16::from_le_bytes(array(self.bytes(), 0)))
    }

    fn key_start(&self) -> usize {
        self.after(u8::MAX)
    }

    /// The offset behind those optional fields that are in `fields`.
    fn after(&self, fields: u8) -> usize {
        FIXED_LEN + usize::from(OPTIONAL_LEN[usize::from(self.flags() & fields & 31)])
    }

    fn content_type_len(&self) -> usize {
        if self.has(CONTENT_TYPE) { usize::from(self.bytes()[self.key_start() - 1]) } else { 0 }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = format_args!("{} bytes", self.value().len());
        f.debug_struct("Blob").field("key", &self.key()).field("value", &value).finish()
    }
}

/// What an allocation of `len` bytes really takes: eight bytes in front, in steps of 16, at least
/// 32; from 128 KiB on it is a mapping of its own, in pages. So it is with glibc; the size
/// classes of jemalloc lie within a few per cent for the sizes that matter.
pub fn allocated_bytes(len: u64) -> u64 {
    const MAPPED_MIN: u64 = 128 << 10;
    if len < MAPPED_MIN { (len + 8).next_multiple_of(16).max(32) } else { (len + 16).next_multiple_of(4096) }
}

/// Everything in front of the key, while a blob is put together.
struct Head {
    bytes: [u8; HEAD_LEN_MAX],
    len: usize,
}

impl Head {
    fn of(put: &Put<'_>) -> Head {
        let mut head = Head { bytes: [0; HEAD_LEN_MAX], len: FIXED_LEN };
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
        self.bytes[2] |= flag;
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
            prop_assert_eq!(&blob.bytes()[blob.value_range()], &value[..]);
        }
    }

    #[test]
    fn a_plain_value_costs_nineteen_bytes_before_rounding() {
        let blob =
            Blob::new(&Put { value: &[0; 32], ..Blob::bare(Key::from(b"sixteen bytes ok")).as_put(None) });
        assert_eq!(blob.bytes().len(), 3 + 16 + 32);
        assert_eq!(blob.charge_bytes(), 80);
    }

    #[test]
    fn the_charge_follows_the_steps_of_the_allocator() {
        assert_eq!([1, 24, 25, 40, 41].map(allocated_bytes), [32, 32, 48, 48, 64]);
        assert_eq!(allocated_bytes(200_000), 200_704);
    }

    #[test]
    fn a_clone_shares_the_bytes() {
        let blob = Blob::bare(Key::from("k"));
        assert_eq!(blob.clone().bytes().as_ptr(), blob.bytes().as_ptr());
    }
}
