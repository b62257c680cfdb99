//! Reads the frames of a segment in order and checks that each stands at its place in the chain.

use std::fmt;

use crate::{
    clock::UnixMillis,
    format::{
        Defect,
        frame::{self, Frame, Kind},
        payload::{self, Mark, Payload},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    lsn::LogPosition,
};

/// Where the chain stands: what the next frame must follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The last replicated index, 0 for none.
    pub index: u64,
    /// Its header checksum.
    pub crc: u32,
    /// Its term.
    pub term: u32,
    /// Its time.
    pub ts: UnixMillis,
}

/// Why a place is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// The bytes do not verify.
    Defect(Defect),
    /// The frame verifies, and does not belong here.
    Chain,
    /// The frame verifies, and says what this version does not understand: written by a newer
    /// version, never torn.
    Unsupported(Defect),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Defect(defect) | Bad::Unsupported(defect) => defect.fmt(f),
            Bad::Chain => f.write_str("a frame that does not belong here"),
        }
    }
}

/// The frames of one segment.
#[derive(Debug)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    header: SegmentHeader,
    offset: usize,
    chain: Chain,
}

impl<'a> Scan<'a> {
    /// Starts behind the header; `chain` is where the segment before ended.
    pub fn new(bytes: &'a [u8], header: SegmentHeader, chain: Chain) -> Self {
        Scan { bytes, header, offset: SEGMENT_HEADER_LEN.min(bytes.len()), chain }
    }

    /// Where the next frame is expected.
    pub fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// The chain up to here.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// The next frame and what it says. `None` at the end of the bytes.
    ///
    /// # Errors
    /// Why the next place is bad; the scan stays before it.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Option<Result<(Frame<'a>, Payload<'a>), Bad>> {
        let rest = &self.bytes[self.offset..];
        if rest.is_empty() {
            return None;
        }
        Some(self.check(rest))
    }

    fn check(&mut self, rest: &'a [u8]) -> Result<(Frame<'a>, Payload<'a>), Bad> {
        let frame = frame::decode(rest, self.header.salt).map_err(|defect| match defect {
            Defect::Unknown | Defect::Reserved => Bad::Unsupported(defect),
            defect => Bad::Defect(defect),
        })?;
        let payload = payload::decode(&frame).map_err(Bad::Unsupported)?;
        if !self.belongs(&frame, &payload) {
            return Err(Bad::Chain);
        }
        if frame.header.kind.is_replicated() {
            let h = frame.header;
            self.chain = Chain { index: h.index, crc: frame.header_crc, term: h.term, ts: h.ts };
        }
        self.offset += frame.disk_len();
        Ok((frame, payload))
    }

    fn belongs(&self, frame: &Frame<'_>, payload: &Payload<'_>) -> bool {
        let (h, chain) = (frame.header, self.chain);
        let in_order = h.prev == chain.crc && h.term >= chain.term && h.ts >= chain.ts;
        let place = match payload {
            Payload::Mark(mark) => h.index == chain.index && mark.run_id == self.header.run_id,
            // Only a new term may leave a gap: nobody has ever seen the indexes in it.
            Payload::TermStart(start) => {
                h.index > chain.index
                    && h.term > chain.term
                    && start.prev_index == chain.index
                    && start.prev_crc == chain.crc
                    && start.prev_term == u64::from(chain.term)
                    && h.index >= self.header.first_index
                    // Behind the first index, a later run goes on in a segment that it has found.
                    && (h.index > self.header.first_index || start.run_id == self.header.run_id)
            }
            _ => Some(h.index) == chain.index.checked_add(1) && h.term == chain.term,
        };
        in_order && place
    }
}

/// Looks behind a bad place for a Mark of this segment that was written when bytes beyond
/// the bad place were known durable. Finding one proves that what is bad here was once good.
pub fn vouching_mark(bytes: &[u8], header: &SegmentHeader, bad: LogPosition) -> Option<Mark> {
    let begin = bad.offset as usize;
    (begin..bytes.len()).step_by(frame::ALIGN).find_map(|at| {
        // Cheap first: most places are no Mark.
        let looks_like_one =
            frame::peek_kind_and_len(&bytes[at..]) == Some((Kind::Mark as u8, payload::MARK_LEN));
        if !looks_like_one {
            return None;
        }
        let frame = frame::decode(&bytes[at..], header.salt).ok()?;
        match payload::decode(&frame) {
            Ok(Payload::Mark(mark)) if mark.run_id == header.run_id && mark.durable > bad => Some(mark),
            _ => None,
        }
    })
}
