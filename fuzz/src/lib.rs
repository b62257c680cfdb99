//! What the fuzz targets share: bytes with right checksums, so that the parser behind the
//! checksums is reached, and payloads written back, because what decodes must be what we write.

pub mod history;
pub mod replies;

use emberkeep_storage::{
    UnixMillis,
    format::{
        checksum::{Salt, crc32},
        frame::{ALIGN, Frame, HEADER_LEN, Header, Kind},
        payload::{Payload, encode_flush, encode_remove, encode_txn},
        segment::SegmentHeader,
    },
};

/// The salt of all that is made here.
pub const SALT: Salt = Salt(0x5eed);
/// The run that wrote it.
pub const RUN: [u8; 16] = [3; 16];
/// The data set that it belongs to.
pub const DATASET: [u8; 16] = [1; 16];

/// The header of the segment that frames are put into.
pub fn segment_header() -> SegmentHeader {
    SegmentHeader {
        dataset_id: DATASET,
        salt: SALT,
        run_id: RUN,
        first_index: 1,
        prev_crc: 0,
        prev_term: 0,
        prev_index: 0,
        prev_segment: 0,
        prev_end: 0,
        created: UnixMillis(1),
    }
}

/// Makes both checksums of the frame at the front of `bytes` right, if its payload is there.
pub fn fix_checksums(bytes: &mut [u8]) {
    if bytes.len() < HEADER_LEN {
        return;
    }
    let len = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes")) as usize;
    if let Some(payload) = bytes[HEADER_LEN..].get(..len) {
        let crc = crc32(&[payload]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    }
    let crc = SALT.crc32(&[&bytes[4..HEADER_LEN]]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
}

/// A frame with this header (as its fields say), kind and payload, checksums right.
pub fn frame(header: Header, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = header.encode(payload.len(), crc32(&[payload]), SALT).to_vec();
    out[12] = kind;
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    fix_checksums(&mut out);
    out
}

/// What decoded is exactly what we would have written.
pub fn assert_canonical(bytes: &[u8], frame: &Frame<'_>) {
    let again = frame.header.encode(frame.payload.len(), crc32(&[frame.payload]), SALT);
    assert_eq!(again, bytes[..HEADER_LEN]);
    assert_eq!(frame.payload, &bytes[HEADER_LEN..HEADER_LEN + frame.payload.len()]);
    assert!(bytes[HEADER_LEN + frame.payload.len()..frame.disk_len()].iter().all(|b| *b == 0));
}

/// What a payload says is exactly what we would have written.
pub fn assert_canonical_payload(frame: &Frame<'_>, payload: &Payload<'_>) {
    let mut out = Vec::new();
    let kind = match payload {
        Payload::Op(op) => {
            op.encode(&mut out);
            emberkeep_storage::format::payload::op_kind(op)
        }
        Payload::Txn(ops) => {
            let ops: Vec<_> = ops.iter().collect();
            assert!(!ops.is_empty());
            encode_txn(&ops, &mut out);
            Kind::Txn
        }
        Payload::Remove(reason, entries) => {
            let entries: Vec<_> = entries.iter().collect();
            assert!(!entries.is_empty());
            encode_remove(*reason, entries.into_iter(), &mut out);
            Kind::Remove
        }
        Payload::Flush(namespace) => {
            encode_flush(*namespace, &mut out);
            Kind::Flush
        }
        Payload::TermStart(start) => {
            start.encode(&mut out);
            Kind::TermStart
        }
        Payload::Mark(mark) => {
            out.extend_from_slice(&mark.encode());
            Kind::Mark
        }
    };
    assert_eq!((frame.header.kind, frame.payload), (kind, &out[..]));
}
