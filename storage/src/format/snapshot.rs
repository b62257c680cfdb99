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
//!    8 u32  raw length       after inflating
//!   12 u32  entries          >= 1
//!   16 u32  codec            1 = zstd, 2 = as it is
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

use std::fmt;

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
/// A block is closed when its entries have this many bytes: little to keep in memory, and done in
/// a short time, so that a snapshot never keeps a core for long.
pub const BLOCK_TARGET_LEN: usize = 256 << 10;
/// What a block's header and its stored bytes may have. Any compressor makes less of the worst case.
pub const BLOCK_LEN_MAX: usize = BLOCK_HEADER_LEN + 2 * BLOCK_RAW_MAX;

const MAGIC: [u8; 8] = *b"EMBRKSNP";
const MAGIC_END: [u8; 8] = *b"EMBRKEND";
const CODEC_ZSTD: u32 = 1;
const CODEC_NONE: u32 = 2;
const ZSTD_LEVEL: i32 = 1;
/// A block is compressed if so much of it, tried first, gets shorter by a quarter. For less it is
/// not worth the time, here and at the next start.
const PROBE_LEN: usize = 4 << 10;
/// The longest block that is read: what gathers by then, and one entry of the largest size.
const BLOCK_RAW_MAX: usize = (1 << 20) + VALUE_LEN_MAX + (64 << 10);

const _: () = assert!(BLOCK_TARGET_LEN <= 1 << 20, "a block that is written can be read");

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

/// Makes blocks, one after the other, in memory that it keeps: a new piece of memory for each block
/// would hold up whoever else maps memory meanwhile.
pub struct BlockEncoder {
    zstd: zstd::bulk::Compressor<'static>,
    compressed: Vec<u8>,
    block: Vec<u8>,
}

impl Default for BlockEncoder {
    fn default() -> Self {
        let zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("zstd has this level");
        BlockEncoder { zstd, compressed: Vec::new(), block: Vec::new() }
    }
}

impl fmt::Debug for BlockEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockEncoder").finish_non_exhaustive()
    }
}

impl BlockEncoder {
    /// Compresses the raw bytes of a block, if that is worth it, and gives what stands in the file.
    pub fn encode(&mut self, raw: &[u8], entries: u32, salt: Salt) -> &[u8] {
        assert!(entries > 0 && raw.len() <= BLOCK_RAW_MAX);
        // What one huge value needed is not kept.
        self.compressed.shrink_to(2 * BLOCK_TARGET_LEN);
        self.block.clear();
        self.block.shrink_to(2 * BLOCK_TARGET_LEN);
        let (stored, codec) = if self.shrinks(raw) {
            self.compress(raw);
            (&self.compressed[..], CODEC_ZSTD)
        } else {
            (raw, CODEC_NONE)
        };
        write_block(&mut self.block, stored, raw.len(), entries, codec, salt);
        &self.block
    }

    /// Tried in the middle: the first entries of a stripe may be unlike the rest.
    fn shrinks(&mut self, raw: &[u8]) -> bool {
        let from = raw.len().saturating_sub(PROBE_LEN) / 2;
        let probe = &raw[from..raw.len().min(from + PROBE_LEN)];
        self.compress(probe);
        self.compressed.len() <= probe.len() / 4 * 3
    }

    fn compress(&mut self, raw: &[u8]) {
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.zstd.compress_to_buffer(raw, &mut self.compressed).expect("zstd compresses memory to memory");
    }
}

fn write_block(out: &mut Vec<u8>, stored: &[u8], raw_len: usize, entries: u32, codec: u32, salt: Salt) {
    out.extend_from_slice(&[0; 4]);
    for number in [stored.len() as u32, raw_len as u32, entries, codec] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(stored);
    let crc = salt.crc32(&[&out[4..]]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
}

/// What stands next in a snapshot file.
#[derive(Debug)]
pub enum Block<'a> {
    /// A block: its inflated bytes, its number of entries, its length in the file.
    Entries(&'a [u8], u32, usize),
    /// The end of the file.
    Footer(SnapshotFooter),
}

/// The length of the block or footer that begins with these bytes, as its header has it. Nothing
/// of it is checked but that it is not absurd.
pub fn block_len_claimed(head: &[u8; BLOCK_HEADER_LEN]) -> usize {
    if head.iter().all(|b| *b == 0) {
        return BLOCK_HEADER_LEN + SNAPSHOT_EDGE_LEN;
    }
    let [_, _, _, _, a, b, c, d, ..] = *head;
    BLOCK_HEADER_LEN.saturating_add(u32::from_le_bytes([a, b, c, d]) as usize).min(BLOCK_LEN_MAX)
}

/// Reads blocks, one after the other, with memory that it keeps.
#[derive(Default)]
pub struct BlockDecoder {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    raw: Vec<u8>,
}

impl fmt::Debug for BlockDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockDecoder").finish_non_exhaustive()
    }
}

impl BlockDecoder {
    /// Checks and inflates the block at the start of `bytes`.
    ///
    /// # Errors
    /// The [`Defect`]. Inflating never gives more than the length that the checksummed header tells.
    pub fn decode<'a>(&'a mut self, bytes: &'a [u8], salt: Salt) -> Result<Block<'a>, Defect> {
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
        if raw_len > BLOCK_RAW_MAX || entries == 0 {
            return Err(Defect::Length);
        }
        let raw = match codec {
            CODEC_ZSTD => self.inflate(stored, raw_len)?,
            CODEC_NONE => stored,
            _ => return Err(Defect::Unknown),
        };
        if raw.len() != raw_len {
            return Err(Defect::Length);
        }
        Ok(Block::Entries(raw, entries, BLOCK_HEADER_LEN + stored_len))
    }

    fn inflate(&mut self, stored: &[u8], raw_len: usize) -> Result<&[u8], Defect> {
        let zstd = self.zstd.get_or_insert_with(|| zstd::bulk::Decompressor::new().expect("memory"));
        self.raw.clear();
        // What one huge value needed is not kept; nothing is inflated beyond the capacity.
        self.raw.shrink_to(raw_len.max(2 * BLOCK_TARGET_LEN));
        self.raw.reserve(raw_len);
        zstd.decompress_to_buffer(stored, &mut self.raw).map_err(|_| Defect::Malformed)?;
        Ok(&self.raw)
    }
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
        BlockEncoder::default().encode(&raw, 2, SALT).to_vec()
    }

    #[test]
    fn a_block_survives_the_round_trip() {
        let bytes = block();
        let mut decoder = BlockDecoder::default();
        let Ok(Block::Entries(raw, 2, len)) = decoder.decode(&bytes, SALT) else { panic!() };
        assert_eq!(len, bytes.len());
        let mut seen = Vec::new();
        decode_entries(raw, 2, |e| seen.push(e)).unwrap();
        assert_eq!(seen, [entry(b"a"), entry(b"bb")]);
        assert_eq!(decode_entries(raw, 1, |_| {}), Err(Defect::Length));
    }

    /// Bytes without a pattern, and some with one.
    fn raw(pattern: bool) -> Vec<u8> {
        let byte =
            |i: u32| if pattern { b'x' } else { (i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 24) as u8 };
        let value: Vec<u8> = (0..100_000).map(byte).collect();
        let put = Put { value: &value, ..entry(b"a").put };
        let mut raw = Vec::new();
        SnapshotEntry { put, ..entry(b"a") }.encode(&mut raw);
        raw
    }

    #[test]
    fn a_block_is_compressed_only_if_that_makes_it_shorter_and_survives_either_way() {
        let (mut encoder, mut decoder) = (BlockEncoder::default(), BlockDecoder::default());
        for (pattern, codec) in [(true, CODEC_ZSTD), (false, CODEC_NONE)] {
            let raw = raw(pattern);
            let bytes = encoder.encode(&raw, 1, SALT).to_vec();
            assert_eq!(bytes[16..20], codec.to_le_bytes());
            let Ok(Block::Entries(decoded, 1, len)) = decoder.decode(&bytes, SALT) else { panic!() };
            assert!(*decoded == *raw && len == bytes.len());
        }
    }

    #[test]
    fn a_block_that_is_not_compressed_has_exactly_its_bytes() {
        for raw_len in [99, 101] {
            let mut bytes = Vec::new();
            write_block(&mut bytes, &[7; 100], raw_len, 1, CODEC_NONE, SALT);
            assert_eq!(BlockDecoder::default().decode(&bytes, SALT).map(drop), Err(Defect::Length));
        }
        let mut bytes = Vec::new();
        write_block(&mut bytes, &[7; 100], 100, 1, 3, SALT);
        assert_eq!(BlockDecoder::default().decode(&bytes, SALT).map(drop), Err(Defect::Unknown));
    }

    #[test]
    fn header_and_footer_survive_the_round_trip() {
        let header = SnapshotHeader { group: 1, dataset_id: [2; 16], begin: 3, begin_crc: 4 };
        assert_eq!(SnapshotHeader::decode(&header.encode(SALT), SALT), Ok(header));
        let footer = SnapshotFooter { end: 1, end_crc: 2, entries: 3, blocks: 4, file_len: 5 };
        let (mut decoder, bytes) = (BlockDecoder::default(), footer.encode(SALT));
        let Ok(Block::Footer(decoded)) = decoder.decode(&bytes, SALT) else { panic!() };
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
                assert!(BlockDecoder::default().decode(&flipped(&bytes, bit), SALT).is_err(), "bit={bit}");
            }
        }
    }
}
