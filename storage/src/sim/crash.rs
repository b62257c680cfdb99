//! What a disk may hold after a power cut.
//!
//! The model, as legal as a real disk and more hostile than most:
//!
//! - What was synced stays: bytes and length after `sync_data`, names after `sync_dir`.
//! - An un-synced write: each 512-byte sector that it touches holds any of its versions since the
//!   last sync, whatever the other sectors hold. The length is apart from the data, and is any that
//!   the file had since (within one write also any page boundary): a length that arrived without its
//!   data shows zeros, data without its length is cut off.
//! - An un-synced change to names arrives or does not, whatever the others do. A rename is whole,
//!   and so is an exchange of two names. A rename between directories needs the sync of both, unless a synced change builds upon it. No
//!   inode gets lost because something is missing: a name is created only where it is free.
//! - `sync_data` makes no name durable, `sync_dir` no content.
//! - A sync that failed and dropped its pages: what they held is in no image.
//! - Garbage ([`Choice::Garbage`]): an un-synced sector holds anything, but only from the first byte
//!   on that an un-synced write changes (powersafe overwrite). [`Choice::UnsafeOverwrite`] spoils
//!   the sector from its start, which we do not survive but must report.
//!
//! [`Crasher`] goes over a record operation by operation; [`CrashPoint`] is one place in it, from
//! which any number of images can be built. Contents are shared until they differ.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{
    choice::{Choice, Garbage, Pick, Plan, Radix},
    disk::SimDisk,
    op::{Bytes, Change, Entries, Ino, NameOp, Op, ROOT, flip},
    state::Tree,
    units::{Fill, Kind, SECTOR, Splitter, Unit},
};

/// Goes over the record of a disk. As an iterator it gives every crash point, the initial state
/// first; cloned, parts of the record can be gone over in several threads.
#[derive(Clone, Debug)]
pub struct Crasher {
    ops: Arc<Vec<Op>>,
    k: u64,
    started: bool,
    files: BTreeMap<Ino, OnDisk>,
    dirs: BTreeMap<Ino, Entries>,
    names: Vec<PendingName>,
}

/// A file as the disk has it, and what is on its way.
#[derive(Clone, Debug, Default)]
struct OnDisk {
    durable: Bytes,
    /// With the number of the operation, from 0.
    pending: Vec<(u64, Change)>,
}

#[derive(Clone, Debug)]
struct PendingName {
    at: u64,
    op: NameOp,
    /// The directories whose sync it needs.
    waits_for: Vec<Ino>,
}

impl Crasher {
    pub(super) fn new(start: &Tree, ops: Vec<Op>) -> Self {
        let on_disk = |durable: &Bytes| OnDisk { durable: durable.clone(), pending: Vec::new() };
        Crasher {
            ops: Arc::new(ops),
            k: 0,
            started: false,
            files: start.files.iter().map(|(ino, durable)| (*ino, on_disk(durable))).collect(),
            dirs: start.dirs.clone(),
            names: Vec::new(),
        }
    }

    /// Operations gone over so far.
    pub fn k(&self) -> u64 {
        self.k
    }

    /// Goes over one more operation. False at the end.
    pub fn advance(&mut self) -> bool {
        let ops = self.ops.clone();
        let Some(op) = ops.get(self.k as usize) else { return false };
        match op {
            Op::Change(ino, change) => {
                if let Some(file) = self.files.get_mut(ino) {
                    file.pending.push((self.k, change.clone()));
                }
            }
            Op::Name(op) => self.rename(op),
            Op::SyncData { ino, upto } => self.settle(*ino, *upto, true),
            Op::DropDirty { ino, upto } => self.settle(*ino, *upto, false),
            Op::SyncDir(dir) => self.sync_dir(*dir),
            Op::Rot { ino, offset, bit } => self.rot(*ino, *offset, *bit),
        }
        self.k += 1;
        true
    }

    /// Goes on to operation `k`.
    ///
    /// # Panics
    /// If it is behind, or there are fewer operations.
    pub fn seek(&mut self, k: u64) {
        assert!(k >= self.k && k <= self.ops.len() as u64, "no crash point {k} from {} on", self.k);
        while self.k < k {
            self.advance();
        }
    }

    /// Every image of the points since the last sync is an image of this one too: the next operation
    /// makes something durable, or there is none. Who checks more the later the cut needs only these.
    pub fn is_maximal(&self) -> bool {
        !matches!(self.ops.get(self.k as usize), Some(Op::Change(..) | Op::Name(_)))
    }

    /// The place where it stands.
    pub fn point(&self) -> CrashPoint {
        let mut units = Vec::new();
        let mut fills = BTreeMap::new();
        for (ino, file) in self.files.iter().filter(|(_, file)| !file.pending.is_empty()) {
            fills.insert(*ino, Splitter::split(*ino, &file.durable, &file.pending, &mut units));
        }
        let names = self.names.iter();
        units.extend(names.map(|n| Unit { first_op: n.at, kind: Kind::Name { op: n.op.clone() } }));
        units.sort_by_key(Unit::rank);
        let files = self.files.iter().map(|(ino, file)| (*ino, file.durable.clone())).collect();
        CrashPoint { k: self.k, durable: Tree { files, dirs: self.dirs.clone() }, fills, units }
    }

    /// The content of a file if all that is on its way arrives.
    pub(super) fn newest(&self, ino: Ino) -> Option<Bytes> {
        let file = self.files.get(&ino)?;
        let mut content = file.durable.clone();
        file.pending.iter().for_each(|(_, change)| change.apply(&mut content));
        Some(content)
    }

    /// The changes before operation `upto` arrive, or are dropped.
    fn settle(&mut self, ino: Ino, upto: u64, arrive: bool) {
        let Some(file) = self.files.get_mut(&ino) else { return };
        let count = file.pending.partition_point(|(at, _)| *at < upto);
        for (_, change) in file.pending.drain(..count) {
            if arrive {
                change.apply(&mut file.durable);
            }
        }
    }

    fn rename(&mut self, op: &NameOp) {
        let waits_for = match op {
            NameOp::Add { dir, ino, is_dir: true, .. } => {
                self.dirs.insert(*ino, Entries::default());
                vec![*dir]
            }
            NameOp::Add { dir, ino, .. } => {
                self.files.insert(*ino, OnDisk::default());
                vec![*dir]
            }
            NameOp::Remove { dir, .. } => vec![*dir],
            NameOp::Move { from: one, to: other, .. } | NameOp::Exchange { one, other, .. } => {
                if one.0 == other.0 { vec![one.0] } else { vec![one.0, other.0] }
            }
        };
        self.names.push(PendingName { at: self.k, op: op.clone(), waits_for });
    }

    fn sync_dir(&mut self, dir: Ino) {
        let mut names = std::mem::take(&mut self.names);
        names.iter_mut().for_each(|name| name.waits_for.retain(|d| *d != dir));
        // What a synced change builds upon is durable with it: otherwise a synced name could be
        // taken back by an older change.
        for i in (0..names.len()).rev() {
            let (earlier, later) = names.split_at_mut(i + 1);
            if later.iter().any(|l| l.waits_for.is_empty() && l.op.meets(&earlier[i].op)) {
                earlier[i].waits_for.clear();
            }
        }
        for name in names {
            if name.waits_for.is_empty() { self.arrive(&name.op) } else { self.names.push(name) }
        }
    }

    fn arrive(&mut self, op: &NameOp) {
        // The file that loses its last name is in no later image, whatever is still written to it.
        let gone = match op {
            NameOp::Add { .. } | NameOp::Exchange { .. } => None,
            NameOp::Remove { ino, .. } => Some(*ino),
            NameOp::Move { to, .. } => self.dirs[&to.0].get(&to.1).copied(),
        };
        op.apply(&mut self.dirs);
        gone.into_iter().for_each(|ino| drop(self.files.remove(&ino)));
    }

    fn rot(&mut self, ino: Ino, offset: u64, bit: u8) {
        let Some(file) = self.files.get_mut(&ino) else { return };
        flip(Arc::make_mut(&mut file.durable).as_mut_slice(), offset, bit);
        for (_, change) in &mut file.pending {
            if let Change::Write { offset: start, data } = change
                && let Some(at) = offset.checked_sub(*start)
            {
                flip(Arc::make_mut(data), at, bit);
            }
        }
    }
}

impl Iterator for Crasher {
    type Item = CrashPoint;

    fn next(&mut self) -> Option<CrashPoint> {
        if self.started && !self.advance() {
            return None;
        }
        self.started = true;
        Some(self.point())
    }
}

/// A power cut right after operation `k`: what is durable, and what it decides about.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    k: u64,
    durable: Tree,
    fills: BTreeMap<Ino, Vec<Fill>>,
    units: Vec<Unit>,
}

impl CrashPoint {
    /// Operations before the cut.
    pub fn k(&self) -> u64 {
        self.k
    }

    /// The independent decisions, in the order of the operations that made them.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// How many combinations there are, garbage apart.
    pub fn combinations(&self) -> u128 {
        self.units.iter().fold(1, |product: u128, unit| product.saturating_mul(unit.versions() as u128))
    }

    /// Every combination, as [`Choice::Mask`].
    pub fn exhaustive(&self) -> impl Iterator<Item = Choice> + use<> {
        Radix::new(self.units.iter().map(Unit::versions).collect()).map(Choice::Mask)
    }

    /// The images that `plan` asks for.
    pub fn choices(&self, plan: &Plan) -> Vec<Choice> {
        plan.choices(self)
    }

    /// The image that `choice` names: a fresh disk with all of it durable, no locks, no faults.
    ///
    /// # Panics
    /// If the choice does not fit this point (it was made for another one).
    pub fn image(&self, choice: &Choice) -> SimDisk {
        let mut dirs = self.durable.dirs.clone();
        let mut edits: BTreeMap<Ino, Edit<'_>> = BTreeMap::new();
        for (unit, pick) in self.units.iter().zip(choice.picks(&self.units)) {
            match &unit.kind {
                Kind::Name { op } if pick.version > 0 => op.apply(&mut dirs),
                Kind::Name { .. } => {}
                Kind::Len { ino, lens } => edits.entry(*ino).or_default().len = Some(lens[pick.version]),
                Kind::Sector { ino, sector, fills, .. } => {
                    if pick.version > 0 || pick.garbage.is_some() {
                        edits.entry(*ino).or_default().sectors.push((*sector, &fills[..pick.version], pick));
                    }
                }
            }
        }
        let mut tree = Tree { files: BTreeMap::new(), dirs: BTreeMap::new() };
        self.reach(ROOT, &dirs, &edits, &mut tree);
        SimDisk::holding(tree)
    }

    /// Takes over what has a name.
    fn reach(
        &self,
        dir: Ino,
        dirs: &BTreeMap<Ino, Entries>,
        edits: &BTreeMap<Ino, Edit<'_>>,
        tree: &mut Tree,
    ) {
        let Some(entries) = dirs.get(&dir) else { return };
        tree.dirs.insert(dir, entries.clone());
        for ino in entries.values() {
            match self.durable.files.get(ino) {
                Some(durable) => {
                    let edit = edits.get(ino);
                    let content =
                        edit.map_or_else(|| durable.clone(), |edit| self.content(*ino, durable, edit));
                    tree.files.insert(*ino, content);
                }
                None => self.reach(*ino, dirs, edits, tree),
            }
        }
    }

    fn content(&self, ino: Ino, durable: &Bytes, edit: &Edit<'_>) -> Bytes {
        let len = edit.len.unwrap_or(durable.len() as u64) as usize;
        if edit.sectors.is_empty() && len == durable.len() {
            return durable.clone();
        }
        let mut content = Vec::with_capacity(len);
        content.extend_from_slice(&durable[..len.min(durable.len())]);
        content.resize(len, 0);
        for (sector, fills, pick) in &edit.sectors {
            let start = sector * SECTOR;
            for fill in *fills {
                self.fills[&ino][*fill].apply(&mut content, start..start + SECTOR);
            }
            if let Some(garbage) = pick.garbage {
                spoil(&mut content, start + garbage.from..start + SECTOR, garbage);
            }
        }
        Arc::new(content)
    }
}

/// What a choice makes of one file.
#[derive(Default)]
struct Edit<'a> {
    len: Option<u64>,
    sectors: Vec<(u64, &'a [usize], Pick)>,
}

fn spoil(content: &mut [u8], range: Range<u64>, garbage: Garbage) {
    let end = range.end.min(content.len() as u64);
    if range.start < end {
        garbage.fill(&mut content[range.start as usize..end as usize]);
    }
}
