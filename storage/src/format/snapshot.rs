//! The files of a snapshot. Each holds the entries of some stripes, in blocks.
//!
//! ```text
//! header, 64 bytes
//!    0 [8]  magic "EMBRKSNP"
//!    8 u16  format version   10 u16 group   12 u32 feature bits (zero)
//!   16 [16] data set id
//!   32 u64  begin            every frame up to here is in the snapshot
//!   40 u32  begin_crc        the chain at `begin`
//!   44 ..   zeros
//!   60 u32  CRC-32 of bytes 0..60, seeded with the salt
//! blocks, each
//!    0 u32  CRC-32 of bytes 4..20 and the stored bytes, seeded with the salt
//!    4 u32  stored length    1..=2 MiB + one value
//!    8 u32  raw length       after zstd
//!   12 u32  entries          >= 1
//!   16 u32  codec            1 = zstd
//!   20      stored bytes
//! footer, 64 bytes, behind a block header of 20 zeros
//!    0 [8]  magic "EMBRKEND"
//!    8 u64  end              frames up to here may be in the snapshot
//!   16 u32  end_crc          the chain at `end`   20 u32 zero
//!   24 u64  entries   32 u64 blocks   40 u64 length of the file
//!   48 ..   zeros
//!   60 u32  CRC-32 of bytes 0..60, seeded with the salt
//! ```
//!
//! An entry in a block: `u64 lsn`, `u8 hint` and `u16 rank` (eviction state: what the policy
//! kept, and the place in its order from 0 = leaves first), then a put op (`format::op`).

use super::{
    Defect, FORMAT_VERSION,
    checksum::Salt,
    op::{Op, Put},
    reader::Reader,
};
use crate::limits::VALUE_LEN_MAX;

/// Length of header and footer.
pub const SNAPSHOT_EDGE_LEN: usize = 64;
/// Length of a block's header.
pub const BLOCK_HEADER_LEN: usize = 20;
/// A block is closed when its entries have this many bytes.
pub const BLOCK_TARGET_LEN: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"EMBRKSNP";
const MAGIC_END: [u8; 8] = *b"EMBRKEND";
const CODEC_ZSTD: u32 = 1;
const ZSTD_LEVEL: i32 = 1;
/// What a block may hold beyond its target: one entry of the largest size.
const BLOCK_RAW_MAX: usize = BLOCK_TARGET_LEN + VALUE_LEN_MAX + (64 << 10);

/// The header of a snapshot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Which of the snapshot's files.
    pub group: u16,
    /// Which data set.
    pub dataset_id: [u8; 16],
    /// Every frame up to here is in the snapshot.
    pub begin: u64,
    /// The chain at `begin`.
    pub begin_crc: u32,
}

/// The footer of a snapshot file: it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotFooter {
    /// Frames up to here may be in the snapshot.
    pub end: u64,
    /// The chain at `end`.
    pub end_crc: u32,
    /// Entries in this file.
    pub entries: u64,
    /// Blocks in this file.
    pub blocks: u64,
    /// Length of this file.
    pub file_len: u64,
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry<'a> {
    /// The frame that wrote it.
    pub lsn: u64,
    /// What the eviction policy kept about it.
    pub hint: u8,
    /// Its place in the order of eviction: 0 leaves first, 65,535 last.
    pub rank: u16,
    /// Key and value.
    pub put: Put<'a>,
}

impl SnapshotEntry<'_> {
    /// Appends the entry to the raw bytes of a block.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lsn.to_le_bytes());
        out.push(self.hint);
        out.extend_from_slice(&self.rank.to_le_bytes());
        Op::Put(self.put).encode(out);
    }
}

/// Reads the entries of a block that was inflated.
///
/// # Errors
/// The [`Defect`] of the first byte that no encoder writes, or `Length` if there are not exactly
/// `count` entries.
pub fn decode_entries<'a>(
    raw: &'a [u8],
    count: u32,
    mut each: impl FnMut(SnapshotEntry<'a>),
) -> Result<(), Defect> {
    let mut r = Reader::new(raw);
    for _ in 0..count {
        let (lsn, hint, rank) = (r.u64()?, r.u8()?, r.u16()?);
        let Op::Put(put) = Op::decode(&mut r)? else { return Err(Defect::Unknown) };
        each(SnapshotEntry { lsn, hint, rank, put });
    }
    r.finish().map_err(|_| Defect::Length)
}

impl SnapshotHeader {
    /// The 64 bytes.
    pub fn encode(&self, salt: Salt) -> Vec<u8> {
        let mut out = Vec::with_capacity(SNAPSHOT_EDGE_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.dataset_id);
        out.extend_from_slice(&self.begin.to_le_bytes());
        out.extend_from_slice(&self.begin_crc.to_le_bytes());
        seal_edge(out, salt)
    }

    /// Checks and reads the header at the start of a file.
    ///
    /// # Errors
    /// The [`Defect`]; `Magic` and `Version` are told before the checksum.
    pub fn decode(bytes: &[u8], salt: Salt) -> Result<SnapshotHeader, Defect> {
        let mut r = Reader::new(bytes);
        if r.array()? != MAGIC {
            return Err(Defect::Magic);
        }
        let version = r.u16()?;
        if version > FORMAT_VERSION {
            return Err(Defect::Version(version));
        }
        check_edge(bytes, salt)?;
        let group = r.u16()?;
        let features = r.u32()?;
        if features != 0 {
            return Err(Defect::Features(features));
        }
        let header = SnapshotHeader { group, dataset_id: r.array()?, begin: r.u64()?, begin_crc: r.u32()? };
        rest_is_zero(bytes, 44).map(|()| header)
    }
}

impl SnapshotFooter {
    /// The 84 bytes that end a file: an empty block header and the footer.
    pub fn encode(&self, salt: Salt) -> Vec<u8> {
        let mut out = Vec::with_capacity(SNAPSHOT_EDGE_LEN);
        out.extend_from_slice(&MAGIC_END);
        out.extend_from_slice(&self.end.to_le_bytes());
        out.extend_from_slice(&u64::from(self.end_crc).to_le_bytes());
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.extend_from_slice(&self.file_len.to_le_bytes());
        let mut whole = vec![0; BLOCK_HEADER_LEN];
        whole.extend_from_slice(&seal_edge(out, salt));
        whole
    }

    fn decode(bytes: &[u8], salt: Salt) -> Result<SnapshotFooter, Defect> {
        let mut r = Reader::new(bytes);
        if r.array()? != MAGIC_END {
            return Err(Defect::Magic);
        }
        check_edge(bytes, salt)?;
        rest_is_zero(bytes, 48)?;
        Ok(SnapshotFooter {
            end: r.u64()?,
            end_crc: u32::try_from(r.u64()?).map_err(|_| Defect::Reserved)?,
            entries: r.u64()?,
            blocks: r.u64()?,
            file_len: r.u64()?,
        })
    }
}

fn seal_edge(mut out: Vec<u8>, salt: Salt) -> Vec<u8> {
    out.resize(SNAPSHOT_EDGE_LEN - 4, 0);
    out.extend_from_slice(&salt.crc32(&[&out]).to_le_bytes());
    out
}

/// From byte `from` of a header or footer that verifies, up to its checksum.
fn rest_is_zero(bytes: &[u8], from: usize) -> Result<(), Defect> {
    let rest = bytes.get(from..SNAPSHOT_EDGE_LEN - 4).ok_or(Defect::Truncated)?;
    if rest.iter().all(|b| *b == 0) { Ok(()) } else { Err(Defect::Reserved) }
}

fn check_edge(bytes: &[u8], salt: Salt) -> Result<(), Defect> {
    let edge = bytes.first_chunk::<SNAPSHOT_EDGE_LEN>().ok_or(Defect::Truncated)?;
    let (body, crc) = edge.split_at(SNAPSHOT_EDGE_LEN - 4);
    if salt.crc32(&[body]).to_le_bytes() == *crc { Ok(()) } else { Err(Defect::HeaderChecksum) }
}

/// Compresses the raw bytes of a block and gives what stands in the file.
pub fn encode_block(raw: &[u8], entries: u32, salt: Salt) -> Vec<u8> {
    assert!(entries > 0 && raw.len() <= BLOCK_RAW_MAX);
    let stored = zstd::bulk::compress(raw, ZSTD_LEVEL).expect("zstd compresses memory to memory");
    let mut out = Vec::with_capacity(BLOCK_HEADER_LEN + stored.len());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    out.extend_from_slice(&entries.to_le_bytes());
    out.extend_from_slice(&CODEC_ZSTD.to_le_bytes());
    out.extend_from_slice(&stored);
    let crc = salt.crc32(&[&out[4..]]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out
}

/// What stands next in a snapshot file.
#[derive(Debug)]
pub enum Block {
    /// A block: its inflated bytes, its number of entries, its length in the file.
    Entries(Vec<u8>, u32, usize),
    /// The end of the file.
    Footer(SnapshotFooter),
}

/// Checks and inflates the block at the start of `bytes`.
///
/// # Errors
/// The [`Defect`]. Inflating never gives more than the length that the checksummed header tells.
pub fn decode_block(bytes: &[u8], salt: Salt) -> Result<Block, Defect> {
    let head = bytes.first_chunk::<BLOCK_HEADER_LEN>().ok_or(Defect::Truncated)?;
    if head.iter().all(|b| *b == 0) {
        let footer = SnapshotFooter::decode(&bytes[BLOCK_HEADER_LEN..], salt)?;
        return Ok(Block::Footer(footer));
    }
    let mut r = Reader::new(bytes);
    let crc = r.u32()?;
    let stored_len = r.u32()? as usize;
    let raw_len = r.u32()? as usize;
    let entries = r.u32()?;
    let codec = r.u32()?;
    let stored = r.bytes(stored_len)?;
    if salt.crc32(&[&head[4..], stored]) != crc {
        return Err(Defect::PayloadChecksum);
    }
    if codec != CODEC_ZSTD {
        return Err(Defect::Unknown);
    }
    if raw_len > BLOCK_RAW_MAX || entries == 0 {
        return Err(Defect::Length);
    }
    let raw = zstd::bulk::decompress(stored, raw_len).map_err(|_| Defect::Malformed)?;
    if raw.len() != raw_len {
        return Err(Defect::Length);
    }
    Ok(Block::Entries(raw, entries, BLOCK_HEADER_LEN + stored_len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;

    const SALT: Salt = Salt(77);

    fn entry(key: &[u8]) -> SnapshotEntry<'_> {
        let put = Put {
            key: key.into(),
            type_tag: 0,
            deadline: Some(UnixMillis(9)),
            version: None,
            encoding: None,
            content_type: b"text/plain",
            value: b"value",
        };
        SnapshotEntry { lsn: 5, hint: 3, rank: 700, put }
    }

    fn block() -> Vec<u8> {
        let mut raw = Vec::new();
        entry(b"a").encode(&mut raw);
        entry(b"bb").encode(&mut raw);
        encode_block(&raw, 2, SALT)
    }

    #[test]
    fn a_block_survives_the_round_trip() {
        let bytes = block();
        let Ok(Block::Entries(raw, 2, len)) = decode_block(&bytes, SALT) else { panic!() };
        assert_eq!(len, bytes.len());
        let mut seen = Vec::new();
        decode_entries(&raw, 2, |e| seen.push(e)).unwrap();
        assert_eq!(seen, [entry(b"a"), entry(b"bb")]);
        assert_eq!(decode_entries(&raw, 1, |_| {}), Err(Defect::Length));
    }

    #[test]
    fn header_and_footer_survive_the_round_trip() {
        let header = SnapshotHeader { group: 1, dataset_id: [2; 16], begin: 3, begin_crc: 4 };
        assert_eq!(SnapshotHeader::decode(&header.encode(SALT), SALT), Ok(header));
        let footer = SnapshotFooter { end: 1, end_crc: 2, entries: 3, blocks: 4, file_len: 5 };
        let Ok(Block::Footer(decoded)) = decode_block(&footer.encode(SALT), SALT) else { panic!() };
        assert_eq!(decoded, footer);
    }

    #[test]
    fn every_single_bit_flip_is_detected() {
        let header = SnapshotHeader { group: 1, dataset_id: [2; 16], begin: 3, begin_crc: 4 }.encode(SALT);
        let footer = SnapshotFooter { end: 1, end_crc: 2, entries: 3, blocks: 4, file_len: 5 }.encode(SALT);
        let flipped = |bytes: &[u8], bit: usize| {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged
        };
        for bit in 0..header.len() * 8 {
            assert!(SnapshotHeader::decode(&flipped(&header, bit), SALT).is_err(), "bit={bit}");
        }
        for bytes in [block(), footer] {
            for bit in 0..bytes.len() * 8 {
                assert!(decode_block(&flipped(&bytes, bit), SALT).is_err(), "bit={bit}");
            }
        }
    }
}
