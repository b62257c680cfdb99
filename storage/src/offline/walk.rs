//! Every frame that can be read, one after the other.
//!
//! Each segment is read by itself, from its header up to the first place that is bad, so that
//! damage in one hides nothing of the next. Frames that no start would read, because a snapshot
//! is newer, are shown too.
//!
//! Not here: whether that is torn or corrupt (`verify`).

use std::{collections::BTreeSet, io, ops::ControlFlow};

use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        file_name::{self, WAL_DIR},
        frame::Frame,
        payload::Payload,
        segment::SegmentHeader,
    },
    offline::{Directory, Progress},
    vfs::read_exact_at,
    wal::{
        recover::{Segment, open_segment},
        scan::{Chain, Scan},
    },
};

/// A frame and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// First index of the segment, which is its name.
    pub segment: u64,
    /// Byte offset of the frame in it.
    pub offset: u64,
    /// The frame.
    pub frame: &'a Frame<'a>,
    /// What it says.
    pub payload: &'a Payload<'a>,
}

/// How far one segment could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// First index of the segment, which is its name.
    pub segment: u64,
    /// The frames verify up to here.
    pub end: u64,
    /// The length of the file.
    pub len: u64,
    /// Bytes behind the end, up to the last one that is not zero.
    pub unread: u64,
    /// Why it could not be read, or not to the end.
    pub bad: Option<String>,
    /// Time of the last frame with an LSN, and that LSN.
    pub last_lsn: u64,
}

/// Gives every frame of every segment to `each`, until that breaks.
///
/// # Errors
/// `Io`, and `Unsupported` where a segment is of a newer version. A segment that a server has
/// removed meanwhile is left out; one that should be there stands first in the result.
pub fn walk(
    directory: &Directory,
    each: &mut dyn FnMut(&Seen<'_>) -> ControlFlow<()>,
    progress: Progress<'_>,
) -> Result<Vec<Read>> {
    let files = segment_files(directory)?;
    let total = files.iter().map(|(_, len)| len).sum();
    let growing = files.last().map(|(index, _)| *index).filter(|_| directory.in_use);
    let (mut reads, mut done) = (Vec::new(), 0);
    for segment in missing(directory, files.iter().map(|(index, _)| *index))? {
        let bad = Some("log segment is missing".to_owned());
        reads.push(Read { segment, end: 0, len: 0, unread: 0, bad, last_lsn: 0 });
    }
    for (index, len) in files {
        match open(directory, index)? {
            None => {}
            Some(Err(bad)) => {
                reads.push(Read { segment: index, end: 0, len, unread: len, bad: Some(bad), last_lsn: 0 });
            }
            Some(Ok(segment)) => {
                let (mut read, flow) = one(&segment, index, each)?;
                // What a server has half written is not bad, it is not there yet.
                read.bad = read.bad.filter(|_| growing != Some(index));
                reads.push(read);
                if flow.is_break() {
                    break;
                }
            }
        }
        done += len;
        progress(done, total);
    }
    Ok(reads)
}

/// What the MANIFEST names and is not `there`, in order. While a server removes files, nothing is
/// missing that it has not named again.
pub(super) fn missing(directory: &Directory, there: impl Iterator<Item = u64>) -> Result<Vec<u64>> {
    let there: BTreeSet<u64> = there.collect();
    let named = directory.manifest.segments.iter().map(|s| s.first_index);
    let named: BTreeSet<u64> = named.chain(directory.manifest.clean.as_ref().map(|c| c.segment)).collect();
    let missing: Vec<u64> = named.difference(&there).copied().collect();
    let is_old_news = !missing.is_empty() && !directory.unchanged()?;
    Ok(if is_old_news { Vec::new() } else { missing })
}

/// Name and length of every segment, in order.
pub(super) fn segment_files(directory: &Directory) -> Result<Vec<(u64, u64)>> {
    let dir = directory.path.join(WAL_DIR);
    let entries = directory
        .vfs
        .list(&dir)
        .map_err(|e| Error::io(format!("cannot list the log dir={}", dir.display()), e))?;
    let mut files: Vec<_> =
        entries.iter().filter_map(|e| Some((file_name::parse_segment(&e.name)?, e.len))).collect();
    files.sort_unstable();
    Ok(files)
}

/// `None` if the file is gone; the inner error says in words why the header is no good.
pub(super) fn open(directory: &Directory, index: u64) -> Result<Option<Result<Segment, String>>> {
    match open_segment(directory.source(), index) {
        Ok(segment) => Ok(Some(Ok(segment))),
        Err(e) if e.kind() == ErrorKind::Corrupt => Ok(Some(Err(e.to_string()))),
        Err(e) if directory.in_use && is_gone(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

fn is_gone(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|e| e.downcast_ref::<io::Error>());
    source.is_some_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// The frames of one segment, read into memory: it may be cut or grow while it is read, which
/// would end a process that has it mapped.
pub(super) fn one(
    segment: &Segment,
    index: u64,
    each: &mut dyn FnMut(&Seen<'_>) -> ControlFlow<()>,
) -> Result<(Read, ControlFlow<()>)> {
    let bytes = content(segment)?;
    let mut scan = Scan::new(&bytes, segment.header, chain_before(&segment.header));
    let mut flow = ControlFlow::Continue(());
    let bad = loop {
        let offset = scan.offset();
        match scan.next() {
            None => break None,
            Some(Err(bad)) => break Some(bad),
            Some(Ok((frame, payload))) => {
                flow = each(&Seen { segment: index, offset, frame: &frame, payload: &payload });
                if flow.is_break() {
                    break None;
                }
            }
        }
    };
    let end = scan.offset();
    let rest = &bytes[end as usize..];
    let unread =
        if flow.is_break() { 0 } else { rest.iter().rposition(|b| *b != 0).map_or(0, |at| at as u64 + 1) };
    let bad = bad.filter(|_| unread > 0).map(|bad| bad.to_string());
    let last_lsn = scan.chain().index;
    Ok((Read { segment: index, end, len: bytes.len() as u64, unread, bad, last_lsn }, flow))
}

pub(super) fn content(segment: &Segment) -> Result<Vec<u8>> {
    let failed = |e| Error::io(format!("cannot read a log segment file={}", segment.path.display()), e);
    // A server that seals it now makes it shorter.
    let len = segment.file.len().map_err(failed)?.min(segment.len);
    let mut bytes = vec![0; len as usize];
    read_exact_at(&*segment.file, 0, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Where the chain stands before the first frame of a segment, by its own account.
pub(super) fn chain_before(header: &SegmentHeader) -> Chain {
    Chain { index: header.prev_index, crc: header.prev_crc, term: header.prev_term, ..Chain::default() }
}
