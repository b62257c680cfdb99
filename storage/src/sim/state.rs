//! The live state of a simulated disk: what a process that uses it sees, and the record of how it
//! came about. Plain data; the lock, the faults and the handles are in `disk`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;

use super::{
    crash::Crasher,
    faults::Armed,
    op::{Bytes, Change, Entries, Ino, Name, NameOp, Op, ROOT, flip},
};
use crate::vfs::{DirEntry, OpenMode};

/// Files lie in memory, holes included: a wrong length must be an error, not the end of the test.
const FILE_LEN_MAX: u64 = 8 << 30;

/// What a disk held before the first recorded operation: all of it durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<Ino, Bytes>,
    pub(super) dirs: BTreeMap<Ino, Entries>,
}

/// A file, also when it has no name any more.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) content: Bytes,
    /// What the disk holds where that is no longer what the cache shows: after a sync that failed
    /// and dropped its pages.
    pub(super) on_disk: Option<Bytes>,
    /// Every path that it had, in order.
    pub(super) paths: Vec<PathBuf>,
    pub(super) linked: bool,
    pub(super) handles: usize,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) start: Tree,
    pub(super) ops: Vec<Op>,
    pub(super) recording: bool,
    pub(super) files: BTreeMap<Ino, Inode>,
    pub(super) dirs: BTreeMap<Ino, Entries>,
    pub(super) locked: BTreeSet<Ino>,
    pub(super) armed: Armed,
    pub(super) capacity: Option<u64>,
    pub(super) read_only: bool,
    next_ino: Ino,
}

impl State {
    /// A disk on which all of `start` is durable.
    pub(super) fn new(mut start: Tree) -> Self {
        start.dirs.entry(ROOT).or_default();
        let last = start.files.keys().chain(start.dirs.keys()).max().copied().unwrap_or(ROOT);
        let mut state = State {
            ops: Vec::new(),
            recording: true,
            files: BTreeMap::new(),
            dirs: start.dirs.clone(),
            locked: BTreeSet::new(),
            armed: Armed::default(),
            capacity: None,
            read_only: false,
            next_ino: last + 1,
            start,
        };
        for (path, ino) in state.walk() {
            let content = state.start.files[&ino].clone();
            state
                .files
                .insert(ino, Inode { content, on_disk: None, paths: vec![path], linked: true, handles: 0 });
        }
        state
    }

    /// The same disk in the hands of another process: the cache of the system is as it was, handles
    /// and locks are gone.
    pub(super) fn for_next_process(&self) -> Self {
        let mut next = self.clone();
        next.locked.clear();
        next.armed = Armed::default();
        next.files.values_mut().for_each(|file| file.handles = 0);
        next
    }

    pub(super) fn record(&mut self, op: Op) {
        if self.recording {
            self.ops.push(op);
        }
    }

    // ---- paths ----

    fn components(path: &Path) -> io::Result<Vec<&str>> {
        let parts = path.components().filter(|c| !matches!(c, Component::RootDir | Component::CurDir));
        parts
            .map(|c| match c {
                Component::Normal(name) => name.to_str().ok_or_else(|| Errno::INVAL.into()),
                _ => Err(Errno::INVAL.into()),
            })
            .collect()
    }

    fn walk_to(&self, components: &[&str]) -> io::Result<Ino> {
        components.iter().try_fold(ROOT, |dir, name| {
            let entries = self.dirs.get(&dir).ok_or(Errno::NOTDIR)?;
            entries.get(*name).copied().ok_or_else(|| Errno::NOENT.into())
        })
    }

    pub(super) fn lookup(&self, path: &Path) -> io::Result<Ino> {
        self.walk_to(&Self::components(path)?)
    }

    fn lookup_dir(&self, path: &Path) -> io::Result<Ino> {
        let ino = self.lookup(path)?;
        if self.dirs.contains_key(&ino) { Ok(ino) } else { Err(Errno::NOTDIR.into()) }
    }

    fn lookup_file(&self, path: &Path) -> io::Result<Ino> {
        let ino = self.lookup(path)?;
        if self.files.contains_key(&ino) { Ok(ino) } else { Err(Errno::ISDIR.into()) }
    }

    /// The directory that a name is or will be in, and the name.
    fn parent(&self, path: &Path) -> io::Result<(Ino, Name)> {
        let components = Self::components(path)?;
        let (name, parents) = components.split_last().ok_or(Errno::BUSY)?;
        let dir = self.walk_to(parents)?;
        if self.dirs.contains_key(&dir) { Ok((dir, Name::from(*name))) } else { Err(Errno::NOTDIR.into()) }
    }

    fn child(&self, dir: Ino, name: &Name) -> Option<Ino> {
        self.dirs[&dir].get(name).copied()
    }

    /// Every file that has a name.
    pub(super) fn walk(&self) -> Vec<(PathBuf, Ino)> {
        let mut found = Vec::new();
        let mut dirs = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, dir)) = dirs.pop() {
            for (name, ino) in self.dirs[&dir].iter() {
                let path = path.join(&**name);
                if self.dirs.contains_key(ino) { dirs.push((path, *ino)) } else { found.push((path, *ino)) }
            }
        }
        found.sort();
        found
    }

    // ---- names ----

    fn apply_name(&mut self, op: NameOp) {
        op.apply(&mut self.dirs);
        self.record(Op::Name(op));
    }

    fn add(&mut self, path: &Path, is_dir: bool) -> io::Result<Ino> {
        let (dir, name) = self.parent(path)?;
        if self.child(dir, &name).is_some() {
            return Err(Errno::EXIST.into());
        }
        let ino = self.next_ino;
        self.next_ino += 1;
        if is_dir {
            self.dirs.insert(ino, Entries::default());
        } else {
            let paths = vec![path.to_owned()];
            let content = Bytes::default();
            self.files.insert(ino, Inode { content, on_disk: None, paths, linked: true, handles: 0 });
        }
        self.apply_name(NameOp::Add { dir, name, ino, is_dir });
        Ok(ino)
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<Ino> {
        let ino = match mode {
            OpenMode::Read | OpenMode::ReadWrite => self.lookup_file(path)?,
            OpenMode::CreateNew => self.add(path, false)?,
        };
        self.file(ino).handles += 1;
        Ok(ino)
    }

    pub(super) fn close(&mut self, ino: Ino) {
        self.file(ino).handles -= 1;
        self.forget_if_unused(ino);
    }

    /// A file without name and handle takes no space. Its content stays for the record.
    fn unlink(&mut self, ino: Ino) {
        if let Some(file) = self.files.get_mut(&ino) {
            file.linked = false;
            self.forget_if_unused(ino);
        }
    }

    fn forget_if_unused(&mut self, ino: Ino) {
        let file = &self.files[&ino];
        if !self.recording && !file.linked && file.handles == 0 {
            self.files.remove(&ino);
        }
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.add(path, true).map(drop)
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.lookup_file(path)?;
        let (dir, name) = self.parent(path)?;
        self.apply_name(NameOp::Remove { dir, name, ino });
        self.unlink(ino);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.lookup_dir(path)?;
        let (dir, name) = self.parent(path)?;
        if !self.dirs[&ino].is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        self.apply_name(NameOp::Remove { dir, name, ino });
        Ok(())
    }

    pub(super) fn rename(&mut self, from_path: &Path, to_path: &Path) -> io::Result<()> {
        let ino = self.lookup(from_path)?;
        let (from, to) = (self.parent(from_path)?, self.parent(to_path)?);
        if from == to {
            return Ok(());
        }
        let is_dir = self.dirs.contains_key(&ino);
        if is_dir && to_path.starts_with(from_path) {
            return Err(Errno::INVAL.into());
        }
        let replaced = self.child(to.0, &to.1);
        if let Some(replaced) = replaced {
            match (is_dir, self.dirs.get(&replaced)) {
                (true, None) => return Err(Errno::NOTDIR.into()),
                (false, Some(_)) => return Err(Errno::ISDIR.into()),
                (true, Some(entries)) if !entries.is_empty() => return Err(Errno::NOTEMPTY.into()),
                _ => {}
            }
        }
        self.apply_name(NameOp::Move { from, to, ino });
        if let Some(file) = self.files.get_mut(&ino) {
            file.paths.push(to_path.to_owned());
        }
        replaced.into_iter().for_each(|replaced| self.unlink(replaced));
        Ok(())
    }

    pub(super) fn exchange(&mut self, one_path: &Path, other_path: &Path) -> io::Result<()> {
        let (one, other) = (self.lookup_file(one_path)?, self.lookup_file(other_path)?);
        let names = (self.parent(one_path)?, self.parent(other_path)?);
        self.apply_name(NameOp::Exchange { one: names.0, other: names.1, inos: (one, other) });
        self.file(one).paths.push(other_path.to_owned());
        self.file(other).paths.push(one_path.to_owned());
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = &self.dirs[&self.lookup_dir(path)?];
        let entry = |(name, ino): (&Name, &Ino)| DirEntry {
            name: name.to_string(),
            is_dir: self.dirs.contains_key(ino),
            len: self.files.get(ino).map_or(0, |file| file.content.len() as u64),
        };
        Ok(entries.iter().map(entry).collect())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.lookup_dir(path)?;
        self.record(Op::SyncDir(dir));
        Ok(())
    }

    /// Takes the lock on a file. `None`: it is taken.
    pub(super) fn lock(&mut self, path: &Path) -> io::Result<Option<Ino>> {
        let ino = match self.lookup_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.read_only => return Err(Errno::ROFS.into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.add(path, false)?,
            found => found?,
        };
        Ok(self.locked.insert(ino).then_some(ino))
    }

    // ---- contents ----

    pub(super) fn file(&mut self, ino: Ino) -> &mut Inode {
        self.files.get_mut(&ino).expect("a file that is open exists")
    }

    /// Bytes that can still be allocated.
    pub(super) fn room(&self) -> u64 {
        let Some(capacity) = self.capacity else { return u64::MAX >> 1 };
        let used = self.files.values().filter(|f| f.linked || f.handles > 0).map(|f| f.content.len() as u64);
        capacity.saturating_sub(used.sum())
    }

    /// Makes a change for which there is room.
    pub(super) fn change(&mut self, ino: Ino, change: Change) -> io::Result<()> {
        let len = self.file(ino).content.len() as u64;
        let len_after = change.len_after(len);
        if len_after > FILE_LEN_MAX {
            return Err(Errno::FBIG.into());
        }
        let growth = len_after.saturating_sub(len);
        if self.capacity.is_some() && growth > self.room() {
            return Err(Errno::NOSPC.into());
        }
        let file = self.file(ino);
        change.apply(&mut file.content);
        if let Some(on_disk) = &mut file.on_disk {
            change.apply(on_disk);
        }
        self.record(Op::Change(ino, change));
        Ok(())
    }

    /// A write without the bytes at both ends that are there already; `None` if all of them are. A
    /// disk gets whole sectors from the cache, so it cannot know that somebody wrote these again.
    fn differing(&mut self, ino: Ino, mut offset: u64, mut data: Vec<u8>) -> Option<(u64, Vec<u8>)> {
        let file = self.file(ino);
        let there = file.content.get(offset as usize..).unwrap_or_default();
        // What a failed sync has dropped may be brought back by being written again.
        if file.on_disk.is_none() {
            if there.len() >= data.len() {
                let same = data.iter().zip(&there[..data.len()]).rev().take_while(|(a, b)| a == b).count();
                data.truncate(data.len() - same);
            }
            let same = data.iter().zip(there).take_while(|(a, b)| a == b).count();
            data.drain(..same);
            offset += same as u64;
        }
        (!data.is_empty()).then_some((offset, data))
    }

    /// Writes what there is room for; an error if that is nothing.
    pub(super) fn write(&mut self, ino: Ino, offset: u64, mut data: Vec<u8>) -> io::Result<usize> {
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::FBIG)?;
        if self.capacity.is_some() {
            let end_max = (self.file(ino).content.len() as u64).saturating_add(self.room());
            if end > end_max {
                data.truncate(end_max.saturating_sub(offset) as usize);
                if data.is_empty() {
                    return Err(Errno::NOSPC.into());
                }
            }
        }
        if data.is_empty() {
            return Ok(0);
        }
        let written = data.len();
        if let Some((offset, data)) = self.differing(ino, offset, data) {
            self.change(ino, Change::Write { offset, data: data.into() })?;
        }
        Ok(written)
    }

    /// A sync of the first `upto` operations failed and dropped the pages. What the disk then holds
    /// follows from the record.
    pub(super) fn drop_dirty(&mut self, ino: Ino, upto: u64) {
        self.record(Op::DropDirty { ino, upto });
        if self.recording {
            let mut crasher = Crasher::new(&self.start, self.ops.clone());
            crasher.seek(self.ops.len() as u64);
            self.file(ino).on_disk = crasher.newest(ino);
        }
    }

    /// Turns a bit over, in the cache and on the disk.
    pub(super) fn rot(&mut self, ino: Ino, offset: u64, bit: u8) {
        let file = self.file(ino);
        flip(Arc::make_mut(&mut file.content).as_mut_slice(), offset, bit);
        if let Some(on_disk) = &mut file.on_disk {
            flip(Arc::make_mut(on_disk).as_mut_slice(), offset, bit);
        }
        self.record(Op::Rot { ino, offset, bit });
    }

    // ---- by the hand of the test: durable at once ----

    pub(super) fn plant(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            self.plant_dirs(parent)?;
        }
        let ino = match self.lookup_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.add(path, false)?,
            found => found?,
        };
        self.change(ino, Change::SetLen(0))?;
        self.change(ino, Change::Write { offset: 0, data: content.into() })?;
        self.record(Op::SyncData { ino, upto: self.ops.len() as u64 });
        self.sync_parent(path)
    }

    fn plant_dirs(&mut self, path: &Path) -> io::Result<()> {
        if self.lookup(path).is_ok() {
            return Ok(());
        }
        path.parent().map_or(Ok(()), |parent| self.plant_dirs(parent))?;
        self.create_dir(path)?;
        self.sync_parent(path)
    }

    fn sync_parent(&mut self, path: &Path) -> io::Result<()> {
        let (dir, _) = self.parent(path)?;
        self.record(Op::SyncDir(dir));
        Ok(())
    }

    pub(super) fn uproot(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.lookup(path)?;
        let Some(entries) = self.dirs.get(&ino).cloned() else {
            self.remove_file(path)?;
            return self.sync_parent(path);
        };
        for name in entries.keys() {
            self.uproot(&path.join(&**name))?;
        }
        self.remove_dir(path)?;
        self.sync_parent(path)
    }
}
