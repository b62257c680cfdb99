//! The files of the log: which, from where to where, and whether they follow each other.
//!
//! Of sealed segments only headers are read: the next one's header tells where this one ends.
//! The frames of the last one are read, because nothing else tells its last LSN. Whether every
//! byte verifies is the matter of `verify`.

use std::ops::ControlFlow;

use crate::{
    error::{Error, Result},
    format::{
        file_name::{self, WAL_DIR},
        segment::SegmentHeader,
    },
    offline::{
        Directory,
        walk::{self, Read},
    },
    wal::{recover::Segment, staging::SPARES_SET_ASIDE},
};

/// What a file of the log is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Another segment follows: it never changes again.
    Sealed,
    /// The last one, and a server is writing to it.
    Active,
    /// The last one, and nobody is.
    Last,
    /// The MANIFEST names it, and it is not there.
    Missing,
    /// Prepared, to be the next one.
    Spare,
    /// Prepared, and kept for a full disk.
    SetAside,
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its name in `wal/`.
    pub name: String,
    /// What it is for.
    pub state: State,
    /// The first and the last LSN in it; none if there is none in it, or if nobody can tell.
    pub lsns: Option<(u64, u64)>,
    /// Its length in bytes.
    pub bytes: u64,
    /// Why it does not continue the one before, or cannot be read. Never set for prepared files.
    pub broken: Option<String>,
}

/// All files of the log, in the order of the log, prepared ones last.
///
/// # Errors
/// `Io`, and `Unsupported` where a segment is of a newer version.
pub fn log_files(directory: &Directory) -> Result<Vec<LogFile>> {
    let mut segments = Vec::new();
    for (index, len) in walk::segment_files(directory)? {
        if let Some(segment) = walk::open(directory, index)? {
            segments.push((index, len, segment));
        }
    }
    let mut files = Vec::new();
    for (at, (index, len, segment)) in segments.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| &segments[at]);
        let next = segments.get(at + 1);
        let state = match (next, directory.in_use()) {
            (Some(_), _) => State::Sealed,
            (None, true) => State::Active,
            (None, false) => State::Last,
        };
        let (last, broken) = match segment {
            Err(bad) => (None, Some(bad.clone())),
            Ok(segment) => {
                let follows = match before {
                    Some((index, len, before)) => joined(&segment.header, *index, *len, before),
                    None => None,
                };
                let (last, unread) = last_lsn(directory, segment, next.map(|(_, _, next)| next))?;
                (last, follows.or(unread))
            }
        };
        let lsns = last.filter(|last| last >= index).map(|last| (*index, last));
        files.push(LogFile { name: file_name::segment(*index), state, lsns, bytes: *len, broken });
    }
    files.extend(walk::missing(directory, segments.iter().map(|(index, ..)| *index))?.into_iter().map(gone));
    // Numbers of twenty digits: the order of names is that of the log.
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files.extend(prepared(directory)?);
    Ok(files)
}

fn gone(index: u64) -> LogFile {
    let broken = Some("the file is missing".to_owned());
    LogFile { name: file_name::segment(index), state: State::Missing, lsns: None, bytes: 0, broken }
}

fn joined(
    header: &SegmentHeader,
    before: u64,
    before_len: u64,
    segment: &Result<Segment, String>,
) -> Option<String> {
    if segment.is_err() {
        return Some("the segment before cannot be read".into());
    }
    if header.prev_segment != before {
        return Some(format!("a segment is missing before it, first_index={}", header.prev_segment));
    }
    (header.prev_end != before_len)
        .then(|| format!("the segment before has a wrong length, len={before_len} end={}", header.prev_end))
}

fn last_lsn(
    directory: &Directory,
    segment: &Segment,
    next: Option<&Result<Segment, String>>,
) -> Result<(Option<u64>, Option<String>)> {
    if let Some(Ok(next)) = next {
        return Ok((Some(next.header.prev_index), None));
    }
    let (read, _) = walk::one(segment, segment.header.first_index, &mut |_| ControlFlow::Continue(()))?;
    let Read { bad, end, unread, last_lsn, .. } = read;
    // What a server is writing is not there yet.
    let told = bad.filter(|_| !directory.in_use());
    Ok((Some(last_lsn), told.map(|bad| format!("{bad}, offset={end} unread_bytes={unread}"))))
}

fn prepared(directory: &Directory) -> Result<Vec<LogFile>> {
    let dir = directory.path().join(WAL_DIR);
    let entries = directory
        .vfs()
        .list(&dir)
        .map_err(|e| Error::io(format!("cannot list the log dir={}", dir.display()), e))?;
    let mut spares: Vec<_> = entries.into_iter().filter(|e| file_name::is_spare(&e.name)).collect();
    spares.sort_by(|a, b| a.name.cmp(&b.name));
    let aside = spares.len().saturating_sub(SPARES_SET_ASIDE);
    let file = |(at, entry): (usize, crate::vfs::DirEntry)| LogFile {
        state: if at < aside { State::Spare } else { State::SetAside },
        name: entry.name,
        lsns: None,
        bytes: entry.len,
        broken: None,
    };
    Ok(spares.into_iter().enumerate().map(file).collect())
}
