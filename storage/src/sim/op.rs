//! What the simulated disk records: every operation that changes it, in the order of the calls.
//!
//! The live state and the crash cursor apply the same operations with the functions of this file,
//! so that "everything arrived" is by construction what the running process saw.

use std::{collections::BTreeMap, sync::Arc};

/// The number of a file or directory. Never used again.
pub(super) type Ino = u64;

/// The directory `/`.
pub(super) const ROOT: Ino = 1;

/// One component of a path.
pub(super) type Name = Arc<str>;

/// The content of a file. Shared between a disk and its images until one of them writes.
pub(super) type Bytes = Arc<Vec<u8>>;

/// A directory. Shared like [`Bytes`].
pub(super) type Entries = Arc<BTreeMap<Name, Ino>>;

/// One recorded operation.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A change to the content or length of a file.
    Change(Ino, Change),
    /// A change to names.
    Name(NameOp),
    /// The content and length after the first `upto` operations became durable.
    SyncData { ino: Ino, upto: u64 },
    /// A sync failed, and what the first `upto` operations did to the file will never be written.
    DropDirty { ino: Ino, upto: u64 },
    /// The names in a directory became durable.
    SyncDir(Ino),
    /// A bit turned over at rest.
    Rot { ino: Ino, offset: u64, bit: u8 },
}

/// A change to the content or length of a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        offset: u64,
        data: Arc<[u8]>,
    },
    SetLen(u64),
    /// Like `SetLen`, but never cuts.
    Allocate(u64),
}

impl Change {
    /// The length of a file of `len` bytes afterwards.
    pub(super) fn len_after(&self, len: u64) -> u64 {
        match self {
            Change::Write { offset, data } => len.max(offset + data.len() as u64),
            Change::SetLen(to) => *to,
            Change::Allocate(to) => len.max(*to),
        }
    }

    pub(super) fn apply(&self, content: &mut Bytes) {
        let len = self.len_after(content.len() as u64) as usize;
        let content = Arc::make_mut(content);
        content.resize(len, 0);
        if let Change::Write { offset, data } = self {
            let offset = *offset as usize;
            content[offset..offset + data.len()].copy_from_slice(data);
        }
    }
}

/// Turns one bit over; nothing if the file ends before.
pub(super) fn flip(content: &mut [u8], offset: u64, bit: u8) {
    if let Some(byte) = usize::try_from(offset).ok().and_then(|at| content.get_mut(at)) {
        *byte ^= 1 << (bit & 7);
    }
}

/// A change to names. Each arrives on the disk whole or not at all.
#[derive(Clone, Debug)]
pub(super) enum NameOp {
    /// A new file, or a new directory.
    Add {
        dir: Ino,
        name: Name,
        ino: Ino,
        is_dir: bool,
    },
    Remove {
        dir: Ino,
        name: Name,
        ino: Ino,
    },
    /// A rename: `to` names the inode, `from` does not.
    Move {
        from: (Ino, Name),
        to: (Ino, Name),
        ino: Ino,
    },
    /// Two files change names: `other` names the first inode from now on, `one` the second.
    Exchange {
        one: (Ino, Name),
        other: (Ino, Name),
        inos: (Ino, Ino),
    },
}

impl NameOp {
    /// The names that it touches.
    pub(super) fn names(&self) -> [Option<(Ino, &Name)>; 2] {
        match self {
            NameOp::Add { dir, name, .. } | NameOp::Remove { dir, name, .. } => [Some((*dir, name)), None],
            NameOp::Move { from, to, .. } => [Some((from.0, &from.1)), Some((to.0, &to.1))],
            NameOp::Exchange { one, other, .. } => [Some((one.0, &one.1)), Some((other.0, &other.1))],
        }
    }

    /// Whether both touch one name.
    pub(super) fn meets(&self, other: &NameOp) -> bool {
        self.names().into_iter().flatten().any(|name| other.names().into_iter().flatten().any(|n| n == name))
    }

    /// Applies to directories of which earlier operations may be missing, so that no inode is lost
    /// or named twice that way: a name is added only where it is free, and removed only from the
    /// inode that it was removed from.
    pub(super) fn apply(&self, dirs: &mut BTreeMap<Ino, Entries>) {
        match self {
            NameOp::Add { dir, name, ino, .. } => {
                Arc::make_mut(entries(dirs, *dir)).entry(name.clone()).or_insert(*ino);
            }
            NameOp::Remove { dir, name, ino } => {
                let entries = entries(dirs, *dir);
                if entries.get(name) == Some(ino) {
                    Arc::make_mut(entries).remove(name);
                }
            }
            NameOp::Move { from, to, ino } => {
                if entries(dirs, from.0).get(&from.1) == Some(ino) {
                    Arc::make_mut(entries(dirs, from.0)).remove(&from.1);
                } else {
                    unname(dirs, *ino);
                }
                Arc::make_mut(entries(dirs, to.0)).insert(to.1.clone(), *ino);
            }
            NameOp::Exchange { one, other, inos } => {
                // Wherever the two are, should an earlier rename be missing.
                unname(dirs, inos.0);
                unname(dirs, inos.1);
                Arc::make_mut(entries(dirs, one.0)).insert(one.1.clone(), inos.1);
                Arc::make_mut(entries(dirs, other.0)).insert(other.1.clone(), inos.0);
            }
        }
    }
}

fn entries(dirs: &mut BTreeMap<Ino, Entries>, dir: Ino) -> &mut Entries {
    dirs.get_mut(&dir).expect("a directory that was used exists")
}

/// An earlier rename of the same inode is missing, so it still has an older name: the later rename
/// moves it from there.
fn unname(dirs: &mut BTreeMap<Ino, Entries>, ino: Ino) {
    for entries in dirs.values_mut() {
        let name = entries.iter().find(|(_, i)| **i == ino).map(|(name, _)| name.clone());
        if let Some(name) = name {
            Arc::make_mut(entries).remove(&name);
        }
    }
}
