//! Numbers that name a place in the history of a data set.

use std::fmt;

/// The number of a replicated frame in its stream: 1, 2, 3, … Dense within a run; after an
/// unclean stop the numbering skips more than can have been lost, so that a number never names
/// two different contents. It is also the version (ETag) of the entry that the frame wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first frame.
    pub const ZERO: Lsn = Lsn(0);

    /// The number that follows.
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in the log as the disk sees it: the segment, by its first LSN, and a byte offset in
/// that file. Ordered as the bytes were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// First LSN of the segment, which is also its file name.
    pub segment: u64,
    /// Offset in bytes from the start of the file, header included.
    pub offset: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.segment, self.offset)
    }
}
