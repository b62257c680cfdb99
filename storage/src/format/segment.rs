//! The header of a log segment: its first 4,096 bytes, so that no frame shares a sector with it.
//!
//! ```text
//!    0 [8]  magic "EMBRKWAL"
//!    8 u16  format version     10 u16 zero    12 u32 feature bits (zero)
//!   16 [16] data set id
//!   32 u64  salt
//!   40 [16] run id              of the run that began it; all Marks in here carry it
//!   56 u64  first index         of the first replicated frame; the file name
//!   64 u32  prev                header_crc of the replicated frame before it, 0 for none
//!   68 u32  previous term     of that frame, 0 for none
//!   72 u64  previous index      the index of that frame, 0 for none
//!   80 u64  previous segment    its first index, 0 for none
//!   88 u64  previous end        the exact length of that file in bytes
//!   96 u64  created ms
//!  104 ..   zeros
//! 4092 u32  CRC-32 of bytes 0..4092
//! ```

use super::{Defect, FORMAT_VERSION, checksum::Salt, checksum::crc32, reader::Reader};
use crate::clock::UnixMillis;

/// Length of the header: frames start here.
pub const SEGMENT_HEADER_LEN: usize = 4096;

const MAGIC: [u8; 8] = *b"EMBRKWAL";
const CRC_AT: usize = SEGMENT_HEADER_LEN - 4;

/// What a segment says about itself and about the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Which data set.
    pub dataset_id: [u8; 16],
    /// Seed of the frame header checksums.
    pub salt: Salt,
    /// The run that began it. All its Marks carry this id, also those of a later run that goes on in it.
    pub run_id: [u8; 16],
    /// Index of the first replicated frame.
    pub first_index: u64,
    /// The chain: header checksum of the replicated frame before, 0 for none.
    pub prev_crc: u32,
    /// The term of that frame, 0 for none.
    pub prev_term: u32,
    /// The index of that frame, 0 for none.
    pub prev_index: u64,
    /// First index of the segment before, 0 for none.
    pub prev_segment: u64,
    /// Exact length in bytes of the segment before.
    pub prev_end: u64,
    /// When it came into use.
    pub created: UnixMillis,
}

impl SegmentHeader {
    /// The 4,096 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.dataset_id);
        out.extend_from_slice(&self.salt.0.to_le_bytes());
        out.extend_from_slice(&self.run_id);
        out.extend_from_slice(&self.first_index.to_le_bytes());
        out.extend_from_slice(&self.prev_crc.to_le_bytes());
        out.extend_from_slice(&self.prev_term.to_le_bytes());
        out.extend_from_slice(&self.prev_index.to_le_bytes());
        out.extend_from_slice(&self.prev_segment.to_le_bytes());
        out.extend_from_slice(&self.prev_end.to_le_bytes());
        out.extend_from_slice(&self.created.0.to_le_bytes());
        out.resize(CRC_AT, 0);
        out.extend_from_slice(&crc32(&[&out]).to_le_bytes());
        out
    }

    /// Checks and reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// The [`Defect`]; `Version` and `Magic` are told before the checksum, so that a newer or a
    /// foreign file is named as such.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, Defect> {
        let bytes = bytes.first_chunk::<SEGMENT_HEADER_LEN>().ok_or(Defect::Truncated)?;
        let mut r = Reader::new(&bytes[..CRC_AT]);
        if r.array()? != MAGIC {
            return Err(Defect::Magic);
        }
        let version = r.u16()?;
        if version > FORMAT_VERSION {
            return Err(Defect::Version(version));
        }
        if crc32(&[&bytes[..CRC_AT]]).to_le_bytes() != bytes[CRC_AT..] {
            return Err(Defect::HeaderChecksum);
        }
        let (zero, features) = (r.u16()?, r.u32()?);
        if zero != 0 || version == 0 {
            return Err(Defect::Unknown);
        }
        if features != 0 {
            return Err(Defect::Features(features));
        }
        let header = SegmentHeader {
            dataset_id: r.array()?,
            salt: Salt(r.u64()?),
            run_id: r.array()?,
            first_index: r.u64()?,
            prev_crc: r.u32()?,
            prev_term: r.u32()?,
            prev_index: r.u64()?,
            prev_segment: r.u64()?,
            prev_end: r.u64()?,
            created: UnixMillis(r.u64()?),
        };
        let zeros = r.bytes(r.remaining())?;
        if zeros.iter().any(|b| *b != 0) { Err(Defect::Reserved) } else { Ok(header) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn sample() -> SegmentHeader {
        SegmentHeader {
            dataset_id: [1; 16],
            salt: Salt(2),
            run_id: [3; 16],
            first_index: 4,
            prev_crc: 5,
            prev_term: 9,
            prev_index: 3,
            prev_segment: 1,
            prev_end: 8192,
            created: UnixMillis(6),
        }
    }

    #[test]
    fn a_header_survives_the_round_trip() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), SEGMENT_HEADER_LEN);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn every_single_bit_flip_is_detected() {
        let bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err(), "bit={bit}");
        }
    }
}
