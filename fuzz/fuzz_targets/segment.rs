//! The frames of a segment: the scan, the search for a Mark, and what a start decides, by every row of
//! the table in `wal/recover.rs`. First byte even: the rest is what stands behind the header. Odd:
//! frames are made from the rest, most of them right, so that the scan gets past the first. Second
//! byte: what else is there ([`Around`]).
//!
//! `EMBERKEEP_FUZZ_TRACE=1` prints each decision.
#![no_main]

use std::path::Path;

use arbitrary::Unstructured;
use emberkeep_fuzz::{DATASET, RUN, SALT, assert_canonical, assert_canonical_payload, frame, segment_header};
use emberkeep_storage::{
    ErrorKind, Lsn, UnixMillis,
    format::{
        file_name,
        frame::{Header, Kind},
        manifest::{CleanStop, Manifest, SegmentMeta, SnapshotMeta},
        payload::{Mark, Payload, TermStart},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    lsn::LogPosition,
    sim::disk::SimDisk,
    vfs::Vfs,
    wal::{
        Tail,
        recover::{Source, recover},
        scan::{Chain, Scan, vouching_mark},
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [mode, around, rest @ ..] = data else { return };
    let mut bytes = segment_header().encode();
    if mode % 2 == 0 {
        bytes.extend_from_slice(rest);
    } else {
        // What was made before the input ran out counts.
        let _ = frames(&mut Unstructured::new(rest), &mut bytes);
    }
    let (chain, end) = scan(&bytes);
    start(&bytes, chain, end);
    Around(*around).start(bytes, chain, end);
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
                // A segment that a crash left without frames may begin behind a gap.
                let begins = frame.header.index == 1 || matches!(payload, Payload::TermStart(_));
                if replicated && std::mem::take(&mut is_first) && !begins {
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

/// What else a start finds, bit by bit.
#[derive(Clone, Copy)]
struct Around(u8);

impl Around {
    /// A segment behind this one, which names where this one ended and is empty itself.
    const SEALED: u8 = 1;
    /// This one does not end where its frames do; the next one says so too, but not together with
    /// `ENDED_BEHIND`.
    const LONGER: u8 = 2;
    /// The MANIFEST tells of a clean stop at the end …
    const CLEAN: u8 = 4;
    /// … or behind it.
    const CLEAN_BEHIND: u8 = 8;
    /// The MANIFEST tells that this segment ended behind its end.
    const ENDED_BEHIND: u8 = 16;
    /// A snapshot holds a frame behind the end.
    const SNAPSHOT_BEHIND: u8 = 32;
    /// The last header is wrong: a byte of it, or by the bits of `CLEAN` the data set, the number, or
    /// the chain.
    const BAD_HEADER: u8 = 64;
    /// This segment is not there.
    const MISSING: u8 = 128;

    fn has(self, what: u8) -> bool {
        self.0 & what != 0
    }

    /// A start in these circumstances goes on where the scan ended, or refuses and says where; and it
    /// refuses whenever something tells of more than is there.
    fn start(self, mut bytes: Vec<u8>, chain: Chain, end: u64) {
        let next = chain.index.checked_add(1).filter(|next| self.has(Self::SEALED) && *next > 1);
        if next.is_some() && !self.has(Self::LONGER) {
            bytes.truncate(end as usize);
        }
        let exact = bytes.len() as u64 == end;
        let told =
            if self.has(Self::LONGER) && !self.has(Self::ENDED_BEHIND) { bytes.len() as u64 } else { end };
        let mut files = vec![(1, bytes)];
        files.extend(next.map(|next| (next, behind(next, chain, told).encode())));
        if self.has(Self::BAD_HEADER) {
            self.spoil(files.last_mut().expect("at least one"));
        }
        if self.has(Self::MISSING) {
            files.remove(0);
        }
        let last = next.map_or(LogPosition { segment: 1, offset: end }, |segment| LogPosition {
            segment,
            offset: SEGMENT_HEADER_LEN as u64,
        });
        let manifest = self.manifest(last, chain, end);
        let decided = decide(&files, &manifest);
        let damaged =
            self.0 & (Self::ENDED_BEHIND | Self::SNAPSHOT_BEHIND | Self::BAD_HEADER | Self::MISSING) != 0
                || (next.is_some() && !exact)
                || (manifest.clean.is_some() && (self.has(Self::CLEAN_BEHIND) || (next.is_none() && !exact)));
        match decided {
            Ok((tail, clean)) => {
                assert!(!damaged, "{:#x}", self.0);
                assert_eq!((tail.index, tail.crc, tail.end), (chain.index, chain.crc, last));
                assert_eq!(clean, manifest.clean.is_some());
            }
            Err(ErrorKind::Unsupported) => {}
            Err(_) => {
                assert!(damaged || manifest.clean.is_some() || next.is_some() || !exact, "{:#x}", self.0)
            }
        }
    }

    fn spoil(self, (number, bytes): &mut (u64, Vec<u8>)) {
        let mut header = SegmentHeader::decode(bytes).expect("made here");
        match self.0 & (Self::CLEAN | Self::CLEAN_BEHIND) {
            0 => bytes[100] ^= 1,
            Self::CLEAN_BEHIND => header.first_index += 1,
            // A first segment has nothing to continue.
            12 if *number > 1 => header.prev_crc ^= 1,
            _ => header.dataset_id = [9; 16],
        }
        if self.0 & (Self::CLEAN | Self::CLEAN_BEHIND) != 0 {
            bytes[..SEGMENT_HEADER_LEN].copy_from_slice(&header.encode());
        }
    }

    fn manifest(self, last: LogPosition, chain: Chain, end: u64) -> Manifest {
        let clean = self.has(Self::CLEAN) || self.has(Self::CLEAN_BEHIND);
        let beyond = u64::from(self.has(Self::CLEAN_BEHIND));
        let clean = clean.then_some(CleanStop {
            // Behind is further on in this segment, or a segment that nobody has.
            segment: last.segment + if last.segment > 1 { beyond } else { 0 },
            end: last.offset + 8 * beyond,
            last_index: chain.index,
            last_crc: chain.crc,
        });
        let snapshot = self.has(Self::SNAPSHOT_BEHIND).then_some(SnapshotMeta {
            begin: 0,
            begin_crc: 0,
            end: chain.index.saturating_add(1),
            end_crc: 0,
            groups: Vec::new(),
        });
        let ended = if self.has(Self::ENDED_BEHIND) { end + 8 } else { 0 };
        let segments = vec![SegmentMeta { first_index: 1, end: ended }];
        Manifest { dataset_id: DATASET, salt: SALT.0, segments, clean, snapshot, ..Manifest::default() }
    }
}

/// The header of the segment behind the first.
fn behind(first_index: u64, chain: Chain, end: u64) -> SegmentHeader {
    SegmentHeader {
        first_index,
        prev_crc: chain.crc,
        prev_term: chain.term,
        prev_index: chain.index,
        prev_segment: 1,
        prev_end: end,
        ..segment_header()
    }
}

/// What a start makes of these segments. A refusal of damage names file, offset and LSNs.
fn decide(files: &[(u64, Vec<u8>)], manifest: &Manifest) -> Result<(Tail, bool), ErrorKind> {
    let disk = SimDisk::new();
    let data_dir = Path::new("/data");
    disk.write_file("/data/LOCK", b"");
    disk.create_dir(&data_dir.join("wal")).expect("a new directory");
    for (first, bytes) in files {
        disk.write_file(file_name::segment_path(data_dir, *first), bytes);
    }
    let ops = disk.op_count();
    let source = Source { vfs: &disk, data_dir, manifest };
    let decided = recover(source, &mut |_, _| {}, &|_, _| {});
    assert_eq!(disk.op_count(), ops, "recovering only reads");
    if std::env::var_os("EMBERKEEP_FUZZ_TRACE").is_some() {
        let told = match &decided {
            Ok(found) => {
                format!("ok clean={} torn={} sealed={}", found.clean, found.torn.is_some(), files.len() > 1)
            }
            Err(e) => e
                .to_string()
                .split([' ', '='])
                .filter(|w| !w.contains(['0', '/']))
                .collect::<Vec<_>>()
                .join(" "),
        };
        eprintln!("decision: {told}");
    }
    match decided {
        Ok(found) => Ok((found.tail, found.clean)),
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{e}");
            let told = e.place().is_some_and(|p| p.lsns.is_some_and(|(first, last)| first <= last));
            assert!(told || e.kind() == ErrorKind::Unsupported, "{e}");
            Err(e.kind())
        }
    }
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
