//! What the committer takes in one turn: frames as they will stand in the segments.

use crate::{
    format::{
        checksum::crc32,
        frame::{self, Header},
        payload::MARK_LEN,
        segment::SegmentHeader,
    },
    lsn::{LogPosition, Lsn},
};

/// Bytes on disk of a Mark.
pub(crate) const MARK_FRAME_LEN: u64 = frame::disk_len(MARK_LEN) as u64;
/// Values from this size on are not copied into the buffer.
const SHARE_LEN_MIN: usize = 64 << 10;

/// Bytes that stay where they are until the committer has written them.
pub type SharedBytes = Box<dyn AsRef<[u8]> + Send + Sync>;

/// The payload of a frame, in two pieces, and its checksum, computed before any lock is taken.
pub struct Body<'a> {
    head: &'a [u8],
    tail: &'a [u8],
    shared: Option<SharedBytes>,
    pub(super) crc: u32,
}

impl<'a> Body<'a> {
    /// A payload that is copied.
    pub fn copied(payload: &'a [u8]) -> Self {
        Body { head: payload, tail: &[], shared: None, crc: crc32(&[payload]) }
    }

    /// A payload whose second piece is the value; `share` gives a handle on the same bytes, which
    /// is kept instead of a copy if the value is large.
    pub fn with_value(head: &'a [u8], value: &'a [u8], share: impl FnOnce() -> SharedBytes) -> Self {
        let shared = (value.len() >= SHARE_LEN_MIN).then(share);
        Body { head, tail: value, shared, crc: crc32(&[head, value]) }
    }

    pub(super) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Bytes on disk of the frame.
    pub fn frame_len(&self) -> u64 {
        frame::disk_len(self.len()) as u64
    }
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

/// What goes to one segment with one write.
pub(crate) struct Part {
    /// This part begins a segment: its header and its capacity.
    pub begins: Option<(SegmentHeader, u64)>,
    /// Where it goes.
    pub at: LogPosition,
    /// The Mark in front, whose content is filled in when it is written.
    pub mark: Header,
    /// The frames; the first `MARK_FRAME_LEN` bytes are left for the Mark.
    pub bytes: Vec<u8>,
    /// Large values: each stands before the byte at this position of `bytes`.
    pub shared: Vec<(usize, SharedBytes)>,
    /// Length on disk.
    pub len: u64,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Part({} bytes at {})", self.len, self.at)
    }
}

/// What one turn of the committer writes.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// In order; more than one only if the log rotated.
    pub parts: Vec<Part>,
    /// Frames in it that somebody waits for.
    pub frames: usize,
    /// The last LSN handed out.
    pub last: Lsn,
    /// Somebody waits for the disk.
    pub sync: bool,
    /// Bytes of the buffer that this group occupies.
    pub bytes: u64,
}

impl Group {
    /// The first LSN that can be in it.
    pub(super) fn first(&self) -> Lsn {
        Lsn(self.parts.first().map_or(self.last.0, |p| p.mark.index) + 1)
    }

    /// Appends a frame to the last part.
    pub(super) fn push(&mut self, head: &[u8], body: Body<'_>, frame_len: u64) {
        let part = self.parts.last_mut().expect("placed before");
        let payload_len = body.len();
        part.bytes.extend_from_slice(head);
        part.bytes.extend_from_slice(body.head);
        match body.shared {
            Some(shared) => part.shared.push((part.bytes.len(), shared)),
            None => part.bytes.extend_from_slice(body.tail),
        }
        let padding = payload_len.next_multiple_of(frame::ALIGN) - payload_len;
        part.bytes.extend_from_slice(&[0; frame::ALIGN][..padding]);
        part.len += frame_len;
        self.bytes += frame_len;
    }
}
