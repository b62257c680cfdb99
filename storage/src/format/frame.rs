//! The frame: unit of checksum and atomicity of the log, 8-byte aligned.
//!
//! ```text
//!  0 u32 header_crc   CRC-32 of bytes 4..48, seeded with the data set's salt
//!  4 u32 payload_crc  CRC-32 of the payload
//!  8 u32 payload_len  bytes, without padding
//! 12 u8  kind         0 is invalid; replicated kinds < 0x80, node-local kinds >= 0x80
//! 13 u8  flags        zero
//! 14 u16              zero
//! 16 u64 index        replicated: its LSN; node-local: the LSN before it
//! 24 u32 term
//! 28 u32 stream       1
//! 32 u32 prev         header_crc of the previous replicated frame of the stream, 0 before the first
//! 36 u32              zero
//! 40 u64 ts_ms        never decreasing per stream
//! 48     payload, then zeros up to a multiple of 8
//! ```
//!
//! Nothing in a replicated frame depends on the file, the place in it, or the node: the same
//! bytes rest on the primary, on every replica and in the archive. `prev` makes the log a chain,
//! so that equal (term, index, header_crc) means equal history.

use super::{Defect, checksum::Salt, checksum::crc32};
use crate::clock::UnixMillis;

/// Length of a frame's header.
pub const HEADER_LEN: usize = 48;
/// Frames start at multiples of this.
pub const ALIGN: usize = 8;
/// The only stream of a standalone node.
pub const STREAM: u32 = 1;
/// The longest payload that the format holds: a batch of large values.
pub const PAYLOAD_LEN_MAX: usize = 1 << 30;

/// What a frame is about. The numbers are on disk for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One op: put.
    Put = 0x01,
    /// One op: delete.
    Delete = 0x02,
    /// One op: touch.
    Touch = 0x03,
    /// Several ops, all or nothing.
    Txn = 0x04,
    /// Entries that expired or were evicted.
    Remove = 0x05,
    /// All entries of a namespace, or all.
    Flush = 0x06,
    /// The first frame of a term.
    TermStart = 0x07,
    /// What is known durable, and the time.
    Mark = 0x80,
}

impl Kind {
    /// Travels to replicas and has an LSN of its own.
    pub fn is_replicated(self) -> bool {
        (self as u8) < 0x80
    }

    /// Reserved for later: 0x08 digest, 0x09 config, 0x81 hard state, 0x82 commit, 0x83 truncate,
    /// 0x84 purge, 0x85 checkpoint.
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            0x01 => Kind::Put,
            0x02 => Kind::Delete,
            0x03 => Kind::Touch,
            0x04 => Kind::Txn,
            0x05 => Kind::Remove,
            0x06 => Kind::Flush,
            0x07 => Kind::TermStart,
            0x80 => Kind::Mark,
            _ => return None,
        })
    }
}

/// A frame's header, without what follows from the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub kind: Kind,
    /// The LSN; for a node-local frame that of the replicated frame before it.
    pub index: u64,
    /// The term in which it was written.
    pub term: u32,
    /// `header_crc` of the previous replicated frame.
    pub prev: u32,
    /// The leader's clock.
    pub ts: UnixMillis,
}

/// A frame that verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// The checksum of its header: the next frame's `prev`.
    pub header_crc: u32,
    /// Its payload, checksum verified.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes on disk: header, payload, padding.
    pub fn disk_len(&self) -> usize {
        disk_len(self.payload.len())
    }
}

/// Bytes on disk of a frame with a payload of that length.
pub const fn disk_len(payload_len: usize) -> usize {
    HEADER_LEN + payload_len.next_multiple_of(ALIGN)
}

impl Header {
    /// The 48 bytes that stand before a payload with this length and checksum.
    pub fn encode(&self, payload_len: usize, payload_crc: u32, salt: Salt) -> [u8; HEADER_LEN] {
        assert!(payload_len <= PAYLOAD_LEN_MAX, "payload_len={payload_len}");
        let mut out = [0; HEADER_LEN];
        out[4..8].copy_from_slice(&payload_crc.to_le_bytes());
        out[8..12].copy_from_slice(&(payload_len as u32).to_le_bytes());
        out[12] = self.kind as u8;
        out[16..24].copy_from_slice(&self.index.to_le_bytes());
        out[24..28].copy_from_slice(&self.term.to_le_bytes());
        out[28..32].copy_from_slice(&STREAM.to_le_bytes());
        out[32..36].copy_from_slice(&self.prev.to_le_bytes());
        out[40..48].copy_from_slice(&self.ts.0.to_le_bytes());
        let crc = salt.crc32(&[&out[4..]]);
        out[0..4].copy_from_slice(&crc.to_le_bytes());
        out
    }
}

/// Checks the frame at the start of `bytes`: header, payload and padding.
///
/// # Errors
/// The [`Defect`]; `Truncated` if `bytes` ends before the frame does, `Unwritten` if the header
/// is all zeros.
pub fn decode(bytes: &[u8], salt: Salt) -> Result<Frame<'_>, Defect> {
    let head = bytes.first_chunk::<HEADER_LEN>().ok_or(Defect::Truncated)?;
    if head.iter().all(|b| *b == 0) {
        return Err(Defect::Unwritten);
    }
    let header_crc = u32_at(head, 0);
    if header_crc != salt.crc32(&[&head[4..]]) {
        return Err(Defect::HeaderChecksum);
    }
    // From here on the header is what somebody wrote; what it says may still be nonsense.
    let reserved =
        head[13] != 0 || head[14..16] != [0; 2] || u32_at(head, 36) != 0 || u32_at(head, 28) != STREAM;
    if reserved {
        return Err(Defect::Reserved);
    }
    let kind = Kind::from_byte(head[12]).ok_or(Defect::Unknown)?;
    let payload_len = u32_at(head, 8) as usize;
    if payload_len > PAYLOAD_LEN_MAX {
        return Err(Defect::Length);
    }
    let rest = bytes[HEADER_LEN..].get(..payload_len.next_multiple_of(ALIGN)).ok_or(Defect::Truncated)?;
    let (payload, padding) = rest.split_at(payload_len);
    if crc32(&[payload]) != u32_at(head, 4) {
        return Err(Defect::PayloadChecksum);
    }
    // No checksum covers the padding, so this may be a torn write and nothing else.
    if padding.iter().any(|b| *b != 0) {
        return Err(Defect::Malformed);
    }
    let header = Header {
        kind,
        index: u64_at(head, 16),
        term: u32_at(head, 24),
        prev: u32_at(head, 32),
        ts: UnixMillis(u64_at(head, 40)),
    };
    Ok(Frame { header, header_crc, payload })
}

/// The kind and payload length that the bytes would mean if they were a frame; nothing is
/// checked. For passing over what cannot be one.
pub fn peek_kind_and_len(bytes: &[u8]) -> Option<(u8, usize)> {
    let head = bytes.first_chunk::<HEADER_LEN>()?;
    Some((head[12], u32_at(head, 8) as usize))
}

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: Salt = Salt(0x5eed);

    fn encoded(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let header = Header { kind, index: 7, term: 2, prev: 99, ts: UnixMillis(1234) };
        let mut out = header.encode(payload.len(), crc32(&[payload]), SALT).to_vec();
        out.extend_from_slice(payload);
        out.resize(disk_len(payload.len()), 0);
        out
    }

    proptest! {
        #[test]
        fn a_frame_survives_the_round_trip(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = encoded(Kind::Put, &payload);
            let frame = decode(&bytes, SALT).unwrap();
            prop_assert_eq!(frame.payload, &payload[..]);
            prop_assert_eq!(frame.header.index, 7);
            prop_assert_eq!(frame.disk_len(), bytes.len());
            for end in 0..bytes.len() {
                prop_assert!(decode(&bytes[..end], SALT).is_err());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes, SALT).is_err());
        }
    }

    #[test]
    fn every_single_bit_flip_is_detected() {
        let bytes = encoded(Kind::Put, b"some payload of a length that needs padding");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged, SALT).is_err(), "bit={bit}");
        }
    }

    #[test]
    fn a_frame_of_another_data_set_does_not_parse() {
        let bytes = encoded(Kind::Put, b"imitation");
        assert_eq!(decode(&bytes, Salt(1)), Err(Defect::HeaderChecksum));
    }

    #[test]
    fn zeros_are_unwritten_space() {
        assert_eq!(decode(&[0; 64], SALT), Err(Defect::Unwritten));
    }
}
