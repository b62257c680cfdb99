//! Reads the log at start, and decides what is a torn tail and what is corruption.
//!
//! | where the first bad place is | what else is there | decision |
//! | --- | --- | --- |
//! | in a sealed segment | | corruption |
//! | in the last segment, at P | a Mark of this segment that knew bytes beyond P durable | corruption |
//! | in the last segment, at P | P is before the clean end, or the sealed end in the MANIFEST | corruption |
//! | in the last segment, at P | a published snapshot holds frames beyond P | corruption |
//! | in the last segment, at P | none of these | torn: the log ends at P |
//! | nowhere | zeros, or nothing, behind the last frame | the log ends there |
//! | a frame verifies and says what we do not know | | unsupported, written by a newer version |
//! | a segment is missing, has a wrong header, or does not continue the chain | | corruption |
//!
//! Corruption is never skipped: nothing is changed, and the error names file, offset and LSNs.
//! Here nothing is changed at all: what is cut, and what becomes of the last segment after an unclean
//! stop, is in [`settle`](super::settle).

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    clock::UnixMillis,
    error::{Error, ErrorKind, Result},
    format::{
        Defect,
        checksum::Salt,
        file_name::{self, WAL_DIR},
        frame::HEADER_LEN,
        manifest::{Manifest, SegmentMeta},
        payload::Payload,
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    limits::{SEGMENT_LEN_MAX, STAGING_LEN_MAX},
    lsn::{LogPosition, Lsn},
    vfs::{File, OpenMode, Vfs, read_exact_at},
    wal::{
        Tail,
        scan::{Bad, Chain, Scan, vouching_mark},
    },
};

/// No run begins above this number, so that none comes to the end of them.
const INDEX_MAX: u64 = u64::MAX >> 1;
/// Bytes of the last segment that are read at once.
const CHUNK_LEN: usize = 256 << 10;

/// What the log holds.
#[derive(Debug)]
pub struct Found {
    /// The segments from the first one that is needed, all sealed.
    pub segments: Vec<SegmentMeta>,
    /// Where the log ends.
    pub tail: Tail,
    /// The index of the next frame: dense after a clean stop, else behind a gap that is larger
    /// than what can have been lost.
    pub next_index: u64,
    /// The last stop was clean.
    pub clean: bool,
    /// Frames behind the snapshot.
    pub frames: u64,
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// The latest time that the log has seen.
    pub clock: UnixMillis,
    /// The time of the last frame that the snapshot surely holds, else of the first behind it.
    pub snapshot_at: Option<UnixMillis>,
    /// What was behind the end, if anything.
    pub torn: Option<Torn>,
    /// What is to be rewritten.
    pub(super) last: Option<LastSegment>,
}

/// What was behind the end of the log after an unclean stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where the log ends.
    pub at: LogPosition,
    /// From there to the last byte that is not zero.
    pub bytes: u64,
    /// Where a copy was left.
    pub copy: Option<PathBuf>,
}

#[derive(Debug)]
pub(super) struct LastSegment {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub run_id: [u8; 16],
}

/// Where the log is.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file system.
    pub vfs: &'a dyn Vfs,
    /// The data directory.
    pub data_dir: &'a Path,
    /// What it must contain.
    pub manifest: &'a Manifest,
}

/// A segment whose header verified.
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    pub(crate) len: u64,
    pub(crate) header: SegmentHeader,
}

/// Reads the log behind the snapshot that the MANIFEST names, and gives every frame to `apply` in
/// order. Changes nothing on the disk.
///
/// # Errors
/// `Corrupt`, `Unsupported` or `Io`, by the table above.
pub fn recover(
    source: Source<'_>,
    apply: &mut dyn FnMut(Lsn, &Payload<'_>),
    progress: &dyn Fn(u64, u64),
) -> Result<Found> {
    let segments = needed_segments(source)?;
    let Some(first) = segments.first() else { return Ok(empty()) };
    let total = segments.iter().map(|s| s.len).sum();
    let mut reader = SegmentReader::behind(source.manifest, first, apply)?;
    let mut bytes = 0;
    let mut found = reader.all_sealed(&segments, &mut |len| {
        bytes += len;
        progress(bytes, total);
    })?;
    let last = segments.last().expect("there is a first one");
    let (Content { bytes: content, zeros_from }, end, bad) = reader.last(last)?;
    // Memory behind this was never touched, and need not be.
    let touched = &content[..zeros_from.max(end as usize)];
    progress(total, total);
    let SegmentReader { chain, frames, clock, snapshot_at, .. } = reader;

    let end_at = LogPosition { segment: last.header.first_index, offset: end };
    let clean = judge_end(source, last, touched, end_at, chain, bad)?;
    let rest = &touched[end as usize..];
    let torn_len = rest.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    found.push(SegmentMeta { first_index: last.header.first_index, end });
    // More frames than these cannot have been handed out behind the end, whatever the settings of
    // that run were, and however short an earlier start that was cut has left the segment.
    let lost_max = SEGMENT_LEN_MAX.max(content.len() as u64) + STAGING_LEN_MAX;
    let gap = lost_max / HEADER_LEN as u64 + 1;
    let before =
        if clean { chain.index } else { chain.index.max(last.header.first_index).saturating_add(gap) };
    let next_index = before.checked_add(1).filter(|next| *next < INDEX_MAX).ok_or_else(|| {
        let what =
            format!("the log has used up its numbers, last={} file={}", chain.index, last.path.display());
        Error::new(ErrorKind::Unsupported, what)
    })?;
    Ok(Found {
        segments: found,
        tail: Tail { index: chain.index, crc: chain.crc, term: chain.term, ts: chain.ts, end: end_at },
        next_index,
        clean,
        frames,
        bytes: bytes + end,
        clock,
        snapshot_at,
        torn: (torn_len > 0).then_some(Torn { at: end_at, bytes: torn_len as u64, copy: None }),
        last: (!clean).then(|| LastSegment {
            path: last.path.clone(),
            bytes: content,
            run_id: last.header.run_id,
        }),
    })
}

/// Checks everything that a start would check, but for the frames of the last segment: a server
/// may be writing them. Gives the number of segments, of frames behind the snapshot, and of bytes.
///
/// # Errors
/// As [`recover`].
pub fn check_sealed(source: Source<'_>, progress: &dyn Fn(u64, u64)) -> Result<(u64, u64, u64)> {
    let segments = needed_segments(source)?;
    let Some(first) = segments.first() else { return Ok((0, 0, 0)) };
    let total = segments.iter().rev().skip(1).map(|s| s.len).sum();
    let mut ignore = |_: Lsn, _: &Payload<'_>| {};
    let mut reader = SegmentReader::behind(source.manifest, first, &mut ignore)?;
    let mut bytes = 0;
    let found = reader.all_sealed(&segments, &mut |len| {
        bytes += len;
        progress(bytes, total);
    })?;
    Ok((found.len() as u64, reader.frames, total))
}

fn empty() -> Found {
    let tail = Tail { index: 0, crc: 0, term: 0, ts: UnixMillis(0), end: LogPosition::default() };
    Found {
        segments: Vec::new(),
        tail,
        next_index: 1,
        clean: true,
        frames: 0,
        bytes: 0,
        clock: UnixMillis(0),
        snapshot_at: None,
        torn: None,
        last: None,
    }
}

/// The segments from the one that holds the first frame behind the snapshot, in order.
fn needed_segments(source: Source<'_>) -> Result<Vec<Segment>> {
    let Source { vfs, data_dir, manifest, .. } = source;
    let dir = data_dir.join(WAL_DIR);
    let names = match vfs.list(&dir) {
        // Then every segment that the MANIFEST names is missing.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|e| Error::io(format!("cannot list the log dir={}", dir.display()), e))?,
    };
    let mut indexes: Vec<u64> = names.iter().filter_map(|e| file_name::parse_segment(&e.name)).collect();
    indexes.sort_unstable();
    let begin = manifest.snapshot.as_ref().map_or(0, |s| s.begin);

    let mut needed: Vec<Segment> = Vec::new();
    for index in indexes.into_iter().rev() {
        // Opened from the newest on: the one behind says where this one ends.
        let last = needed.last().map_or(u64::MAX, |next| next.header.prev_index.max(index));
        let segment = open_segment(source, index).map_err(|e| e.with_lsns(index, last))?;
        let reaches_back = segment.header.prev_index <= begin;
        needed.push(segment);
        if reaches_back {
            break;
        }
    }
    needed.reverse();
    check_against_manifest(source, &needed, begin)?;
    Ok(needed)
}

/// Opens a segment and checks its header.
///
/// # Errors
/// `Corrupt` if the header is bad or belongs elsewhere, `Unsupported`, `Io`.
pub(crate) fn open_segment(source: Source<'_>, index: u64) -> Result<Segment> {
    let path = file_name::segment_path(source.data_dir, index);
    let failed = |e| Error::io(format!("cannot read a log segment file={}", path.display()), e);
    let file = source.vfs.open(&path, OpenMode::Read).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let mut bytes = vec![0; len.min(SEGMENT_HEADER_LEN as u64) as usize];
    read_exact_at(&*file, 0, &mut bytes).map_err(failed)?;
    let corrupt = |what: String| Error::corrupt(&path, 0, what);
    // The header was durable before the segment got its name, so a bad one is never torn.
    let header = SegmentHeader::decode(&bytes).map_err(|defect| match defect {
        // All but the version stand behind a checksum that is right.
        Defect::Version(_) | Defect::Features(_) | Defect::Unknown | Defect::Reserved => {
            Error::new(ErrorKind::Unsupported, format!("log segment: {defect} file={}", path.display()))
        }
        defect => corrupt(format!("log segment header: {defect}")),
    })?;
    let ours = header.dataset_id == source.manifest.dataset_id && header.salt == Salt(source.manifest.salt);
    if !ours {
        return Err(corrupt("log segment of another data set".into()));
    }
    if header.first_index != index {
        return Err(corrupt(format!("log segment under a wrong name, first_index={}", header.first_index)));
    }
    Ok(Segment { path, file, len, header })
}

fn check_against_manifest(source: Source<'_>, needed: &[Segment], begin: u64) -> Result<()> {
    let missing = |index: u64| {
        let path = file_name::segment_path(source.data_dir, index);
        Error::corrupt(path, 0, "log segment is missing").with_lsns(begin + 1, u64::MAX)
    };
    let known = &source.manifest.segments;
    let Some(first) = needed.first() else {
        return known.first().map_or(Ok(()), |meta| Err(missing(meta.first_index)));
    };
    if first.header.prev_index > begin {
        return Err(missing(first.header.prev_segment).with_lsns(begin + 1, first.header.prev_index));
    }
    for meta in known.iter().filter(|meta| meta.first_index >= first.header.first_index) {
        let Some(segment) = needed.iter().find(|s| s.header.first_index == meta.first_index) else {
            return Err(missing(meta.first_index));
        };
        if segment.len < meta.end {
            let what = format!("log segment is too short, sealed_end={}", meta.end);
            let next = needed.iter().find(|s| s.header.prev_segment == meta.first_index);
            let last = next.map_or(u64::MAX, |next| next.header.prev_index.max(meta.first_index));
            return Err(Error::corrupt(&segment.path, segment.len, what).with_lsns(meta.first_index, last));
        }
    }
    Ok(())
}

/// Follows the chain through the segments.
pub(super) struct SegmentReader<'f> {
    begin: (u64, u32),
    pub(super) chain: Chain,
    frames: u64,
    pub(super) clock: UnixMillis,
    snapshot_at: Option<UnixMillis>,
    apply: &'f mut dyn FnMut(Lsn, &Payload<'_>),
}

impl<'f> SegmentReader<'f> {
    /// Stands before the first frame of `first`.
    pub(super) fn behind(
        manifest: &Manifest,
        first: &Segment,
        apply: &'f mut dyn FnMut(Lsn, &Payload<'_>),
    ) -> Result<Self> {
        let begin = manifest.snapshot.as_ref().map(|s| (s.begin, s.begin_crc)).unwrap_or_default();
        let chain = Chain {
            index: first.header.prev_index,
            crc: first.header.prev_crc,
            term: first.header.prev_term,
            ..Chain::default()
        };
        let reader =
            SegmentReader { begin, chain, frames: 0, clock: UnixMillis(0), snapshot_at: None, apply };
        reader.check_begin(first, 0)?;
        Ok(reader)
    }

    /// All segments but the last.
    fn all_sealed(&mut self, segments: &[Segment], read: &mut dyn FnMut(u64)) -> Result<Vec<SegmentMeta>> {
        let mut found = Vec::new();
        for pair in segments.windows(2) {
            self.sealed(&pair[0], &pair[1].header)?;
            found.push(SegmentMeta { first_index: pair[0].header.first_index, end: pair[1].header.prev_end });
            read(pair[0].len);
        }
        Ok(found)
    }

    /// A sealed segment: every byte up to the end that the next one names must verify.
    fn sealed(&mut self, segment: &Segment, next: &SegmentHeader) -> Result<()> {
        let at_risk = |chain: Chain| (chain.index + 1, next.prev_index.max(chain.index + 1));
        let corrupt = |offset: u64, chain: Chain, what: String| {
            let (first, last) = at_risk(chain);
            Error::corrupt(&segment.path, offset, what).with_lsns(first, last)
        };
        if next.prev_segment != segment.header.first_index {
            let path = segment.path.with_file_name(file_name::segment(next.prev_segment));
            return Err(Error::corrupt(path, 0, "log segment is missing")
                .with_lsns(self.chain.index + 1, next.prev_index));
        }
        if segment.len != next.prev_end {
            let what = format!(
                "sealed log segment has a wrong length, len={} sealed_end={}",
                segment.len, next.prev_end
            );
            return Err(corrupt(segment.len.min(next.prev_end), self.chain, what));
        }
        let bytes = segment.file.map().map_err(|e| {
            Error::io(format!("cannot read a log segment file={}", segment.path.display()), e)
        })?;
        let (end, bad) = self.frames(segment, &bytes)?;
        if let Some(bad) = bad {
            return Err(corrupt(end, self.chain, format!("sealed log segment: {bad}")));
        }
        if (self.chain.index, self.chain.crc) != (next.prev_index, next.prev_crc) {
            return Err(corrupt(end, self.chain, "the next log segment does not continue this one".into()));
        }
        Ok(())
    }

    /// A segment that need not be sealed: its bytes, where the valid frames end, and why if not at
    /// the end.
    pub(super) fn last(&mut self, segment: &Segment) -> Result<(Content, u64, Option<Bad>)> {
        let content = read_sparse(&*segment.file, segment.len).map_err(|e| {
            Error::io(format!("cannot read a log segment file={}", segment.path.display()), e)
        })?;
        // These bytes may be written back (`settle`), so all of them are checked as read this time.
        if SegmentHeader::decode(&content.bytes) != Ok(segment.header) {
            let what = "log segment header: not what it was when it was read before";
            let first = segment.header.first_index;
            return Err(Error::corrupt(&segment.path, 0, what).with_lsns(first, u64::MAX));
        }
        let (end, bad) = self.frames(segment, &content.bytes)?;
        Ok((content, end, bad))
    }

    fn frames(&mut self, segment: &Segment, bytes: &[u8]) -> Result<(u64, Option<Bad>)> {
        let mut scan = Scan::new(bytes, segment.header, self.chain);
        let mut first = true;
        // The end is where the first bad frame begins, also if it verified by itself.
        let (end, bad) = loop {
            let offset = scan.offset();
            match scan.next() {
                None => break (offset, None),
                Some(Err(Bad::Unsupported(defect))) => {
                    let what = format!(
                        "log frame of a newer version: {defect} file={} offset={offset}",
                        segment.path.display()
                    );
                    return Err(Error::new(ErrorKind::Unsupported, what));
                }
                Some(Err(bad)) => break (offset, Some(bad)),
                Some(Ok((frame, payload))) => {
                    if frame.header.kind.is_replicated() {
                        // A segment that a crash left without frames may begin behind a gap.
                        let begins = frame.header.index == segment.header.first_index
                            || matches!(payload, Payload::TermStart(_));
                        if std::mem::take(&mut first) && !begins {
                            break (offset, Some(Bad::Chain));
                        }
                        self.clock = self.clock.max(frame.header.ts);
                        if frame.header.index <= self.begin.0 || self.snapshot_at.is_none() {
                            self.snapshot_at = Some(frame.header.ts);
                        }
                        self.chain = scan.chain();
                        self.check_begin(segment, offset)?;
                        if frame.header.index > self.begin.0 {
                            self.frames += 1;
                            (self.apply)(Lsn(frame.header.index), &payload);
                        }
                    } else if let Payload::Mark(mark) = payload {
                        self.clock = self.clock.max(mark.wall);
                    }
                }
            }
        };
        Ok((end, bad))
    }

    /// Snapshot and log are of one history.
    fn check_begin(&self, segment: &Segment, offset: u64) -> Result<()> {
        let (begin, begin_crc) = self.begin;
        if self.chain.index == begin && self.chain.crc != begin_crc {
            let what = format!("the snapshot does not belong to this log, begin={begin}");
            return Err(Error::corrupt(&segment.path, offset, what).with_lsns(begin, u64::MAX));
        }
        Ok(())
    }
}

/// What was read of a segment.
pub(super) struct Content {
    /// As long as the file.
    bytes: Vec<u8>,
    /// From here on all of them are zero.
    zeros_from: usize,
}

/// The first `len` bytes. Most of an active segment are zeros: memory that is new holds them
/// already, and costs nothing until it is touched.
fn read_sparse(file: &dyn File, len: u64) -> io::Result<Content> {
    let zeros = vec![0; CHUNK_LEN.min(len as usize)];
    let mut chunk = zeros.clone();
    let mut content = Content { bytes: vec![0; len as usize], zeros_from: 0 };
    for (n, place) in content.bytes.chunks_mut(CHUNK_LEN).enumerate() {
        let (chunk, begin) = (&mut chunk[..place.len()], n * CHUNK_LEN);
        read_exact_at(file, begin as u64, chunk)?;
        if *chunk != zeros[..chunk.len()] {
            place.copy_from_slice(chunk);
            content.zeros_from = begin + chunk.len();
        }
    }
    Ok(content)
}

/// Torn or corrupt: see the table. True if the last stop was clean.
fn judge_end(
    source: Source<'_>,
    last: &Segment,
    touched: &[u8],
    end: LogPosition,
    chain: Chain,
    bad: Option<Bad>,
) -> Result<bool> {
    let manifest = source.manifest;
    let clean = manifest.clean.as_ref();
    if let Some(clean) = clean.filter(|clean| clean.segment > end.segment) {
        let path = file_name::segment_path(source.data_dir, clean.segment);
        let what = "log segment is missing, the last stop was clean and ended in it";
        return Err(Error::corrupt(path, 0, what).with_lsns(chain.index + 1, clean.last_index));
    }
    // Where the log is known to have ended, or at least to have been.
    let known_last =
        clean.filter(|clean| clean.segment == end.segment).map_or(u64::MAX, |clean| clean.last_index);
    let corrupt = |what: String| {
        let reason = bad.map_or("the log ends too early".into(), |bad| bad.to_string());
        let first = chain.index.saturating_add(1);
        Err(Error::corrupt(&last.path, end.offset, format!("{reason}: {what}"))
            .with_lsns(first, known_last.max(first)))
    };
    if let Some(mark) = bad.and_then(|_| vouching_mark(touched, &last.header, end)) {
        return corrupt(format!("these bytes were durable, durable_to={}", mark.durable));
    }
    if let Some(meta) = manifest.segments.iter().find(|m| m.first_index == end.segment && m.end > end.offset)
    {
        return corrupt(format!("this segment was sealed, end={}", meta.end));
    }
    if let Some(snapshot) = manifest.snapshot.as_ref().filter(|s| s.end > chain.index) {
        return corrupt(format!("a snapshot holds frames up to lsn={}", snapshot.end));
    }
    let Some(clean) = clean else { return Ok(false) };
    let clean_end = LogPosition { segment: clean.segment, offset: clean.end };
    if end < clean_end {
        return corrupt(format!("the last stop was clean and ended at {clean_end}"));
    }
    if end.segment != clean.segment {
        return Ok(false);
    }
    let exact = end == clean_end && last.len == clean.end;
    if exact && (chain.index, chain.crc) == (clean.last_index, clean.last_crc) {
        return Ok(true);
    }
    corrupt(format!("the log was changed after a clean stop at {clean_end}"))
}
