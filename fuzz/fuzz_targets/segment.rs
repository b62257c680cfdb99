//! The frames of a segment: the scan, the search for a Mark, and what a start decides. First byte
//! even: the rest is what stands behind the header. Odd: frames are made from the rest, most of
//! them right, so that the scan gets past the first.
#![no_main]

use std::path::Path;

use arbitrary::Unstructured;
use emberkeep_fuzz::{DATASET, RUN, SALT, assert_canonical, assert_canonical_payload, frame, segment_header};
use emberkeep_storage::{
    ErrorKind, Lsn, UnixMillis,
    format::{
        file_name,
        frame::{Header, Kind},
        manifest::{Manifest, SegmentMeta},
        payload::{Mark, Payload, TermStart},
        segment::SEGMENT_HEADER_LEN,
    },
    lsn::LogPosition,
    sim::disk::SimDisk,
    wal::{
        recover::{Source, recover},
        scan::{Chain, Scan, vouching_mark},
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    let mut bytes = segment_header().encode();
    if mode % 2 == 0 {
        bytes.extend_from_slice(rest);
    } else {
        // What was made before the input ran out counts.
        let _ = frames(&mut Unstructured::new(rest), &mut bytes);
    }
    let (chain, end) = scan(&bytes);
    start(&bytes, chain, end);
});

/// Reads all frames; each is what we would have written, and a bad place stays a bad place. Gives
/// the chain and where it ends for a start, which also asks that the first frame is the one that
/// the header names.
fn scan(bytes: &[u8]) -> (Chain, u64) {
    let mut ends_at_the_first = None;
    let mut is_first = true;
    let mut scan = Scan::new(bytes, segment_header(), Chain::default());
    let bad = loop {
        let (at, chain) = (scan.offset() as usize, scan.chain());
        match scan.next() {
            None => {
                assert_eq!(at, bytes.len());
                break at;
            }
            Some(Err(bad)) => {
                assert_eq!(scan.next().map(Result::err), Some(Some(bad)));
                assert_eq!((scan.offset() as usize, scan.chain()), (at, chain));
                break at;
            }
            Some(Ok((frame, payload))) => {
                assert_canonical(&bytes[at..], &frame);
                assert_canonical_payload(&frame, &payload);
                assert_eq!(scan.offset() as usize, at + frame.disk_len());
                assert!(scan.chain().index >= chain.index);
                let replicated = frame.header.kind.is_replicated();
                if replicated && std::mem::take(&mut is_first) && frame.header.index != 1 {
                    ends_at_the_first = Some((chain, at as u64));
                }
            }
        }
    };
    let bad = LogPosition { segment: 1, offset: bad as u64 };
    if let Some(mark) = vouching_mark(bytes, &segment_header(), bad) {
        assert!(mark.durable > bad && mark.run_id == RUN);
    }
    ends_at_the_first.unwrap_or((scan.chain(), scan.offset()))
}

/// A start decides: it recovers what the scan found, or it refuses; it never changes anything.
fn start(bytes: &[u8], chain: Chain, end: u64) {
    let disk = SimDisk::new();
    let data_dir = Path::new("/data");
    disk.write_file(file_name::segment_path(data_dir, 1), bytes);
    let ops = disk.op_count();
    let segments = vec![SegmentMeta { first_index: 1, end: 0 }];
    let manifest = Manifest { dataset_id: DATASET, salt: SALT.0, segments, ..Manifest::default() };
    let source = Source { vfs: &disk, data_dir, manifest: &manifest };
    let mut last = 0;
    let mut apply = |lsn: Lsn, _: &Payload<'_>| {
        assert!(lsn.0 > last);
        last = lsn.0;
    };
    match recover(source, &mut apply, &|_, _| {}) {
        Ok(found) => {
            assert_eq!((found.tail.index, found.tail.crc), (chain.index, chain.crc));
            assert_eq!(found.tail.end, LogPosition { segment: 1, offset: end });
            assert!(found.next_index > chain.index && last == chain.index);
        }
        Err(e) => assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{e}"),
    }
    assert_eq!(disk.op_count(), ops, "recovering only reads");
}

fn frames(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> arbitrary::Result<()> {
    let mut chain = Chain::default();
    while !u.is_empty() {
        let what: u8 = u.arbitrary()?;
        let kind = [1, 2, 3, 4, 5, 6, 7, 0x80][usize::from(what % 8)];
        let odd: u8 = if what & 0x80 != 0 { u.arbitrary()? } else { 0 };
        let mut header = Header {
            kind: Kind::Put,
            index: chain.index.wrapping_add(u64::from(kind < 0x80)),
            term: chain.term.wrapping_add(u32::from(kind == 7)),
            prev: chain.crc,
            ts: chain.ts,
        };
        match odd % 8 {
            1 => header.index = u.arbitrary()?,
            2 => header.term = u.arbitrary()?,
            3 => header.prev ^= 1,
            4 => header.ts = UnixMillis(u.arbitrary()?),
            5 if kind == 7 => header.index = header.index.saturating_add(u.arbitrary::<u32>()?.into()),
            _ => {}
        }
        let payload = match (kind, what & 0x40) {
            (7, 0) => term_start(chain),
            (0x80, 0) => {
                let offset = u.int_in_range(0..=2 * out.len() as u64)?;
                Mark { run_id: RUN, durable: LogPosition { segment: 1, offset }, wall: chain.ts }
                    .encode()
                    .to_vec()
            }
            _ => {
                let len = u.int_in_range(0..=120)?;
                u.bytes(len)?.to_vec()
            }
        };
        let at = out.len();
        out.extend(frame(header, kind, &payload));
        if odd & 0x10 != 0 {
            let flip = u.choose_index(out.len() - at)?;
            out[at + flip] ^= 1 << (odd >> 5);
        }
        if odd & 8 != 0 {
            out.resize(out.len() + 8 * usize::from(odd >> 5), odd);
        }
        if kind < 0x80 {
            let crc = u32::from_le_bytes(out[at..at + 4].try_into().expect("four bytes"));
            chain = Chain { index: header.index, crc, term: header.term, ts: header.ts };
        }
    }
    Ok(())
}

fn term_start(chain: Chain) -> Vec<u8> {
    let mut out = Vec::new();
    let (prev_term, prev_index, prev_crc) = (u64::from(chain.term), chain.index, chain.crc);
    TermStart { run_id: RUN, node_id: [2; 16], prev_term, prev_index, prev_crc }.encode(&mut out);
    out
}

const _: () = assert!(SEGMENT_HEADER_LEN == 4096);
