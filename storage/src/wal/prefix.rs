//! The longest beginning of the log that verifies, whatever stands behind it.
//!
//! [`recover`](super::recover::recover) decides whether a log may be used. This decides nothing:
//! where `recover` has found corruption, it tells up to where every frame verifies and continues
//! the one before, which is what a repair can keep. It reads headers and frames with the same
//! code as a start.
//!
//! Not here: what happens to the rest (`offline::repair`). Changes nothing on the disk.

use std::path::PathBuf;

use crate::{
    clock::UnixMillis,
    error::{Error, ErrorKind, Result},
    format::{
        file_name::{self, WAL_DIR},
        manifest::SnapshotMeta,
        payload::Payload,
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    lsn::Lsn,
    wal::{
        recover::{Segment, SegmentReader, Source, open_segment},
        scan::Chain,
    },
};

/// A segment of which at least one frame belongs to the beginning that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its first index, which is its name.
    pub first_index: u64,
    /// Its frames verify up to here.
    pub end: u64,
    /// The length of the file.
    pub len: u64,
}

/// Where the next segment would have to continue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joint {
    /// First index of the segment before, 0 for none.
    pub segment: u64,
    /// Its exact length once cut.
    pub end: u64,
}

/// The longest beginning of the log that verifies.
#[derive(Clone, Debug, Default)]
pub struct Prefix {
    /// Its segments, in order. Only of the last one a part may not belong to it.
    pub kept: Vec<Kept>,
    /// Where a segment behind it would have to continue.
    pub joint: Joint,
    /// The chain at its end.
    pub chain: Chain,
    /// The latest time in it.
    pub clock: UnixMillis,
    /// The files of the log behind it, in order.
    pub behind: Vec<u64>,
}

/// Reads the log from the snapshot on, as far as it verifies.
///
/// # Errors
/// `Unsupported` if something in it is from a newer version, `Corrupt` if it is of another history
/// than the snapshot, `Io`.
pub fn valid_prefix(source: Source<'_>) -> Result<Prefix> {
    let snapshot = source.manifest.snapshot.as_ref();
    let begin = snapshot.map_or(0, |s| s.begin);
    let mut segments = all_segments(source)?;
    let reaches_back = |s: &Option<Segment>| s.as_ref().is_some_and(|s| s.header.prev_index <= begin);
    let Some(first) = segments.iter().rposition(|(_, s)| reaches_back(s)) else {
        return Ok(nothing_of(segments, snapshot, source.manifest.term));
    };
    // What is older than the snapshot is not needed, whatever its state.
    let needed = segments.split_off(first);
    let prefix = follow(source, &needed)?;
    // The snapshot is complete in itself: what of the log is older does not matter.
    match snapshot {
        Some(s) if s.begin == s.end && prefix.chain.index < s.end => {
            Ok(nothing_of(needed, snapshot, source.manifest.term))
        }
        _ => Ok(prefix),
    }
}

/// Every file with the name of a segment, in order; `None` where the header does not verify.
fn all_segments(source: Source<'_>) -> Result<Vec<(u64, Option<Segment>)>> {
    let dir = source.data_dir.join(WAL_DIR);
    let names = source
        .vfs
        .list(&dir)
        .map_err(|e| Error::io(format!("cannot list the log dir={}", dir.display()), e))?;
    let mut indexes: Vec<u64> = names.iter().filter_map(|e| file_name::parse_segment(&e.name)).collect();
    indexes.sort_unstable();
    let open = |index| match open_segment(source, index) {
        Ok(segment) => Ok((index, Some(segment))),
        Err(e) if e.kind() == ErrorKind::Corrupt => Ok((index, None)),
        Err(e) => Err(e),
    };
    indexes.into_iter().map(open).collect()
}

/// No frame can be kept: the log would begin anew behind the snapshot, or at its very beginning.
fn nothing_of(segments: Vec<(u64, Option<Segment>)>, snapshot: Option<&SnapshotMeta>, term: u64) -> Prefix {
    let chain = match snapshot.filter(|s| s.begin == s.end) {
        // The snapshot does not tell its term; the highest one that was begun is at least that.
        Some(s) => {
            let term = u32::try_from(term).unwrap_or(u32::MAX);
            Chain { index: s.end, crc: s.end_crc, term, ..Chain::default() }
        }
        None => Chain::default(),
    };
    let behind = segments.into_iter().map(|(index, _)| index).collect();
    Prefix { chain, behind, ..Prefix::default() }
}

fn follow(source: Source<'_>, needed: &[(u64, Option<Segment>)]) -> Result<Prefix> {
    let mut ignore = |_: Lsn, _: &Payload<'_>| {};
    let first = needed[0].1.as_ref().expect("the first one verifies");
    let mut reader = SegmentReader::behind(source.manifest, first, &mut ignore)?;
    let mut joint = Joint { segment: first.header.prev_segment, end: first.header.prev_end };
    let mut kept = Vec::new();
    let mut in_it = 0;
    for (_, segment) in needed {
        let Some(segment) = segment.as_ref().filter(|s| continues(&s.header, joint, reader.chain)) else {
            break;
        };
        let (_, end, bad) = reader.last(segment)?;
        let whole = end == segment.len && bad.is_none();
        if end == SEGMENT_HEADER_LEN as u64 && !whole {
            break;
        }
        let first_index = segment.header.first_index;
        kept.push(Kept { first_index, end, len: segment.len });
        joint = Joint { segment: first_index, end };
        in_it += 1;
        if !whole {
            break;
        }
    }
    let behind = needed[in_it..].iter().map(|(index, _)| *index).collect();
    Ok(Prefix { kept, joint, chain: reader.chain, clock: reader.clock, behind })
}

fn continues(header: &SegmentHeader, joint: Joint, chain: Chain) -> bool {
    (header.prev_segment, header.prev_end) == (joint.segment, joint.end)
        && (header.prev_index, header.prev_crc) == (chain.index, chain.crc)
}

impl Prefix {
    /// The last kept segment, if a part of it does not belong to the prefix.
    pub fn cut(&self) -> Option<&Kept> {
        self.kept.last().filter(|kept| kept.end < kept.len)
    }

    /// The paths of the files behind it.
    pub fn paths_behind(&self, data_dir: &std::path::Path) -> Vec<PathBuf> {
        self.behind.iter().map(|index| file_name::segment_path(data_dir, *index)).collect()
    }
}
