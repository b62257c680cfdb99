//! The MANIFEST: what a data directory is, and what it must contain. Small, whole, checksummed,
//! in two generations with the same content.
//!
//! ```text
//!  0 [8] magic "EMBRKMAN"
//!  8 u16 format version   10 u16 zero   12 u32 body length
//! 16 u64 generation       the higher one of two that verify counts
//! 24 u32 CRC-32 of bytes 0..24 and the body
//! 28     body: bincode 2 (little-endian, fixed-width integers) of `Manifest`
//! ```
//!
//! Bytes behind the body are ignored: the file is overwritten in place and never shrinks.

use bincode::{
    Decode, Encode,
    config::{Configuration, Fixint, Limit, LittleEndian},
};

use super::{Defect, FORMAT_VERSION, checksum::crc32, reader::Reader};

/// The longest body that is read or written: some ten thousand segments.
pub const MANIFEST_BODY_MAX: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"EMBRKMAN";
const HEAD_LEN: usize = 28;

const CODEC: Configuration<LittleEndian, Fixint, Limit<MANIFEST_BODY_MAX>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<MANIFEST_BODY_MAX>();

/// What a data directory is, and what it must contain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    /// Random, for life, the same on replicas.
    pub dataset_id: [u8; 16],
    /// Random, for life; which copy of the data set this is.
    pub node_id: [u8; 16],
    /// Seed of all header checksums. Secret.
    pub salt: u64,
    /// Features that a reader must know; none yet.
    pub features: u32,
    /// The highest term that was begun here.
    pub term: u64,
    /// The snapshot that recovery starts from.
    pub snapshot: Option<SnapshotMeta>,
    /// The segments that exist, in order; only the last one may still grow.
    pub segments: Vec<SegmentMeta>,
    /// Where the log ends, if the last stop was clean.
    pub clean: Option<CleanStop>,
    /// No start may set its clock (ms since 1970) before this.
    pub clock_floor_ms: u64,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotMeta {
    /// Every frame up to here is in it; the name of its directory.
    pub begin: u64,
    /// The chain at `begin`.
    pub begin_crc: u32,
    /// Frames up to here may be in it.
    pub end: u64,
    /// The chain at `end`.
    pub end_crc: u32,
    /// Its files, by number.
    pub groups: Vec<GroupMeta>,
}

impl SnapshotMeta {
    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.groups.iter().map(|g| g.len).sum()
    }

    /// Entries in all its files.
    pub fn entries(&self) -> u64 {
        self.groups.iter().map(|g| g.entries).sum()
    }
}

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct GroupMeta {
    /// Exact length in bytes.
    pub len: u64,
    /// Entries in it.
    pub entries: u64,
}

/// One log segment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SegmentMeta {
    /// Its first index, which is its name.
    pub first_index: u64,
    /// Exact length in bytes once sealed; 0 for the active one.
    pub end: u64,
}

/// Proof of a clean stop: the log ends exactly here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CleanStop {
    /// The last segment.
    pub segment: u64,
    /// Its exact length in bytes.
    pub end: u64,
    /// The last replicated index.
    pub last_index: u64,
    /// Its header checksum.
    pub last_crc: u32,
}

impl Manifest {
    /// The bytes of one generation.
    pub fn encode(&self, generation: u64) -> Vec<u8> {
        let body = bincode::encode_to_vec(self, CODEC).expect("a manifest of bounded size encodes");
        assert!(body.len() <= MANIFEST_BODY_MAX, "body_len={}", body.len());
        let mut out = Vec::with_capacity(HEAD_LEN + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&generation.to_le_bytes());
        out.extend_from_slice(&crc32(&[&out, &body]).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Checks and reads one generation: its number and its content.
    ///
    /// # Errors
    /// The [`Defect`]; `Magic` and `Version` are told before the checksum.
    pub fn decode(bytes: &[u8]) -> Result<(u64, Manifest), Defect> {
        let mut r = Reader::new(bytes);
        if r.array()? != MAGIC {
            return Err(Defect::Magic);
        }
        let version = r.u16()?;
        if version > FORMAT_VERSION {
            return Err(Defect::Version(version));
        }
        let zero = r.u16()?;
        let body_len = r.u32()? as usize;
        let generation = r.u64()?;
        let crc = r.u32()?;
        if body_len > MANIFEST_BODY_MAX {
            return Err(Defect::Length);
        }
        let body = r.bytes(body_len)?;
        if crc != crc32(&[&bytes[..HEAD_LEN - 4], body]) {
            return Err(Defect::PayloadChecksum);
        }
        if zero != 0 || version == 0 {
            return Err(Defect::Reserved);
        }
        let (manifest, used) =
            bincode::decode_from_slice::<Manifest, _>(body, CODEC).map_err(|_| Defect::Malformed)?;
        match (used == body.len(), manifest.features) {
            (true, 0) => Ok((generation, manifest)),
            (true, bits) => Err(Defect::Features(bits)),
            (false, _) => Err(Defect::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Manifest {
        Manifest {
            dataset_id: [1; 16],
            node_id: [2; 16],
            salt: 3,
            features: 0,
            term: 4,
            snapshot: Some(SnapshotMeta {
                begin: 5,
                begin_crc: 6,
                end: 7,
                end_crc: 8,
                groups: vec![GroupMeta { len: 9, entries: 10 }],
            }),
            segments: vec![SegmentMeta { first_index: 1, end: 4242 }, SegmentMeta { first_index: 6, end: 0 }],
            clean: Some(CleanStop { segment: 6, end: 5000, last_index: 8, last_crc: 11 }),
            clock_floor_ms: 12,
        }
    }

    #[test]
    fn a_manifest_survives_the_round_trip_with_old_bytes_behind_it() {
        let mut bytes = sample().encode(17);
        bytes.extend_from_slice(&[0xaa; 100]);
        assert_eq!(Manifest::decode(&bytes), Ok((17, sample())));
    }

    #[test]
    fn every_single_bit_flip_is_detected() {
        let bytes = sample().encode(17);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&damaged).is_err(), "bit={bit}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bodies_with_a_right_checksum_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = Vec::new();
            bytes.extend_from_slice(&MAGIC);
            bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
            bytes.extend_from_slice(&[0; 2]);
            bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&1u64.to_le_bytes());
            bytes.extend_from_slice(&crc32(&[&bytes, &body]).to_le_bytes());
            bytes.extend_from_slice(&body);
            let outcome = Manifest::decode(&bytes);
            prop_assert!(outcome.is_ok() || outcome.is_err());
        }
    }
}
