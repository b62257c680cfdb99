//! What a power cut decides, one independent decision at a time.
//!
//! The un-synced operations of a crash point are taken apart into units: the length of a file, each
//! of its sectors, each change to names. A unit has two or more versions in the order in which they
//! came about; 0 is what is durable. Which of them the disk holds is for
//! [`choice`](super::choice) to say, one by one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use super::op::{Bytes, Change, Ino, NameOp};

/// What a disk writes whole or not at all, as far as the model goes.
pub const SECTOR: u64 = 512;

/// The kernel moves the length of a file forward page by page while it takes a large write.
const PAGE: u64 = 4096;

/// One independent decision of a power cut.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The operation that made it a decision, counted from 0.
    pub(super) first_op: u64,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The length of a file, apart from its data.
    Len { ino: Ino, lens: Vec<u64> },
    /// A sector and the fills (by their place in the list of the file) that touch it. `first_byte`
    /// is the first byte of the sector that any of them touches.
    Sector { ino: Ino, sector: u64, fills: Vec<usize>, first_byte: u64 },
    /// A change to names, by its place among those of the crash point.
    Name { op: NameOp },
}

impl Unit {
    /// Number of versions, at least two.
    pub fn versions(&self) -> usize {
        match &self.kind {
            Kind::Len { lens, .. } => lens.len(),
            Kind::Sector { fills, .. } => fills.len() + 1,
            Kind::Name { .. } => 2,
        }
    }

    pub(super) fn first_byte(&self) -> Option<u64> {
        match &self.kind {
            Kind::Sector { first_byte, .. } => Some(*first_byte),
            _ => None,
        }
    }

    /// The order of operations; a length comes before the data that goes with it.
    pub(super) fn rank(&self) -> (u64, u64) {
        let within = match &self.kind {
            Kind::Len { .. } | Kind::Name { .. } => 0,
            Kind::Sector { sector, .. } => sector + 1,
        };
        (self.first_op, within)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Len { ino, lens } => write!(f, "length of #{ino}: {lens:?}"),
            Kind::Sector { ino, sector, fills, .. } => {
                write!(f, "sector {sector} of #{ino}: {} versions", fills.len() + 1)
            }
            Kind::Name { op } => write!(f, "{op:?}"),
        }
    }
}

/// New bytes for a range of a file; zeros where there is no data.
#[derive(Clone, Debug)]
pub(super) struct Fill {
    start: u64,
    end: u64,
    data: Option<Arc<[u8]>>,
}

impl Fill {
    /// Writes that part of the fill which lies in `within` and before the end of the content.
    pub(super) fn apply(&self, content: &mut [u8], within: std::ops::Range<u64>) {
        let start = self.start.max(within.start);
        let end = self.end.min(within.end).min(content.len() as u64);
        if start >= end {
            return;
        }
        let target = &mut content[start as usize..end as usize];
        match &self.data {
            Some(data) => {
                let skip = (start - self.start) as usize;
                target.copy_from_slice(&data[skip..skip + target.len()]);
            }
            None => target.fill(0),
        }
    }
}

/// Takes the un-synced changes of one file apart.
pub(super) struct Splitter {
    ino: Ino,
    len: u64,
    /// Beyond the length and below this, an image may hold bytes that were cut off before.
    high: u64,
    lens: Vec<u64>,
    lens_first_op: u64,
    fills: Vec<Fill>,
    sectors: BTreeMap<u64, Sector>,
}

struct Sector {
    first_op: u64,
    first_byte: u64,
    fills: Vec<usize>,
}

impl Splitter {
    /// Adds the units of a file to `units`, and returns its fills.
    pub(super) fn split(
        ino: Ino,
        durable: &Bytes,
        pending: &[(u64, Change)],
        units: &mut Vec<Unit>,
    ) -> Vec<Fill> {
        let len = durable.len() as u64;
        let mut splitter = Splitter {
            ino,
            len,
            high: len,
            lens: vec![len],
            lens_first_op: 0,
            fills: Vec::new(),
            sectors: BTreeMap::new(),
        };
        for (op, change) in pending {
            splitter.add(*op, change);
        }
        splitter.finish(units)
    }

    fn add(&mut self, op: u64, change: &Change) {
        let len_after = change.len_after(self.len);
        if let Change::Write { offset, data } = change {
            self.zeros(op, *offset);
            // A write of several pages can stop in the middle, with the length at a page.
            let page = |len: u64| len / PAGE * PAGE + PAGE;
            let mut between = page(self.len);
            while between < len_after {
                self.resize(op, between);
                between += PAGE;
            }
            self.resize(op, len_after);
            self.fill(op, *offset, offset + data.len() as u64, Some(data.clone()));
        } else {
            self.zeros(op, len_after);
            self.resize(op, len_after);
        }
    }

    /// What lies between the end of the file and `to` reads as zeros from now on. Matters only where
    /// something was cut off since the last sync: elsewhere it is zeros anyway.
    fn zeros(&mut self, op: u64, to: u64) {
        let to = to.min(self.high);
        if to > self.len {
            self.fill(op, self.len, to, None);
        }
    }

    fn resize(&mut self, op: u64, len: u64) {
        if len != self.len {
            if self.lens.len() == 1 {
                self.lens_first_op = op;
            }
            self.lens.push(len);
            self.len = len;
            self.high = self.high.max(len);
        }
    }

    fn fill(&mut self, op: u64, start: u64, end: u64, data: Option<Arc<[u8]>>) {
        let index = self.fills.len();
        self.fills.push(Fill { start, end, data });
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            let first_byte = start.saturating_sub(sector * SECTOR);
            let entry = self.sectors.entry(sector);
            let sector = entry.or_insert(Sector { first_op: op, first_byte, fills: Vec::new() });
            sector.first_byte = sector.first_byte.min(first_byte);
            sector.fills.push(index);
        }
    }

    fn finish(self, units: &mut Vec<Unit>) -> Vec<Fill> {
        let ino = self.ino;
        // A length that came back to where it was is a decision only if it was another in between.
        if self.lens.iter().collect::<BTreeSet<_>>().len() > 1 {
            units.push(Unit { first_op: self.lens_first_op, kind: Kind::Len { ino, lens: self.lens } });
        }
        for (sector, Sector { first_op, first_byte, fills }) in self.sectors {
            units.push(Unit { first_op, kind: Kind::Sector { ino, sector, fills, first_byte } });
        }
        self.fills
    }
}
