//! Making a damaged log usable again, by giving up what stands behind the damage.
//!
//! What is kept is a prefix: every frame before the first bad place, so the state after a repair
//! is one that the cache was really in. Whole frames behind the damage are listed, not applied:
//! the frames that are missing between them may have been deletes, and a key that somebody was
//! told is gone must not come back. A damaged snapshot, or damage in frames that the snapshot
//! partly holds already, leaves no such state; that is not repaired.
//!
//! Nothing is deleted. Files behind the damage are moved whole to `lost/<ms>-repair/`; of the file
//! with the damage a whole copy is put there, and the file is replaced by its valid part. An empty
//! segment, the *fence*, is put behind: its number is above every number that was ever handed
//! out, so none is used for a second content.
//!
//! The order makes a power cut harmless. First the copies; then the fence, and from then on a start
//! is refused, because the fence continues the cut file and nothing else; then the moves and the
//! replacement, in any order; last the MANIFEST. So a start finds the damage, or a broken chain,
//! or the repaired log; and a repair that begins again finds the same prefix.

use std::{
    collections::BTreeSet,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    clock::UnixMillis,
    error::{Error, ErrorKind, Result},
    format::{
        checksum::Salt,
        file_name::{self, LOCK, LOST_DIR, TMP, WAL_DIR},
        manifest::SegmentMeta,
        segment::SegmentHeader,
    },
    manifest::ManifestStore,
    offline::{
        Directory, Progress,
        salvage::Salvage,
        verify::{Verdict, read_snapshot},
    },
    vfs::{DirLock, OpenMode, Vfs, read_exact_at, write_all_at},
    wal::{
        prefix::{Prefix, valid_prefix},
        recover::recover,
    },
};

/// A fence above this would leave no numbers for the future: such a name was never ours.
const FENCE_MAX: u64 = 1 << 62;

/// What a repair finds.
#[derive(Debug)]
pub enum Assessment {
    /// A start is not refused; there is nothing to repair.
    Sound(Verdict),
    /// The log is damaged, and this can be done.
    Damaged(Box<Plan>),
    /// A start is refused because of this, and a repair of the log does not help, for that reason.
    Beyond(Error, &'static str),
}

/// What a repair does, and what it gives up.
#[derive(Debug)]
pub struct Plan {
    /// Why a start is refused.
    pub cause: Error,
    /// The last frame that is kept, 0 for none.
    pub last_kept: u64,
    /// The file with the damage: up to which offset it is kept, and its length.
    pub cut: Option<(PathBuf, u64, u64)>,
    /// The files that are moved away whole.
    pub moved: Vec<PathBuf>,
    /// The LSNs that are given up, from the first to the last one that is known of. There may be
    /// later ones that nothing tells of any more.
    pub lost: (u64, u64),
    /// What of it can still be read.
    pub readable: Salvage,
    /// No number up to here has ever been handed out above it.
    fence: u64,
    prefix: Prefix,
}

/// A data directory that nobody else can open.
#[derive(Debug)]
pub struct Exclusive {
    directory: Directory,
    /// None only where there is no lock file and nothing will be written.
    _lock: Option<Box<dyn DirLock>>,
}

impl Exclusive {
    /// Takes the lock and reads the MANIFEST. Creates the lock file only if `to_write`.
    ///
    /// # Errors
    /// `Locked`, and those of [`Directory::open`].
    pub fn open(vfs: Arc<dyn Vfs>, path: &Path, to_write: bool) -> Result<Exclusive> {
        let names = super::list(&*vfs, path)?;
        super::load(&vfs, path)?;
        let lock = if to_write || names.iter().any(|name| name == LOCK) {
            let what = format!("another process has the data directory open dir={}", path.display());
            let lock = super::lock(&*vfs, path)?;
            Some(lock.ok_or_else(|| Error::new(ErrorKind::Locked, what))?)
        } else {
            None
        };
        // Read again: only now nobody changes it.
        let (manifest, warning) = super::load(&vfs, path)?;
        let directory = Directory { vfs, path: path.to_owned(), manifest, warning, in_use: false };
        Ok(Exclusive { directory, _lock: lock })
    }

    /// Says what a start would say, and what could be done about it. Changes nothing.
    ///
    /// # Errors
    /// `Unsupported` for what is from a newer version, `Io`.
    pub fn assess(&self, progress: Progress<'_>) -> Result<Assessment> {
        let directory = &self.directory;
        if let Err(e) = read_snapshot(directory, &|_, _| {}) {
            return beyond(e, "the snapshot itself is damaged, and the log does not hold what is in it");
        }
        let cause = match recover(directory.source(), &mut |_, _| {}, progress) {
            Ok(found) => {
                return Ok(Assessment::Sound(found.torn.map_or(Verdict::Clean, Verdict::Torn)));
            }
            Err(e) if e.kind() == ErrorKind::Corrupt => e,
            Err(e) => return Err(e),
        };
        let prefix = match valid_prefix(directory.source()) {
            Ok(prefix) => prefix,
            Err(e) => return beyond(e, "snapshot and log are of different histories"),
        };
        if directory.manifest.snapshot.as_ref().is_some_and(|s| s.end > prefix.chain.index) {
            let why = "the damage lies in frames that the snapshot holds in part; without all of them it is the \
                       state at no point in time";
            return Ok(Assessment::Beyond(cause, why));
        }
        plan(directory, cause, prefix).map(|plan| Assessment::Damaged(Box::new(plan)))
    }

    /// Carries the plan out. When this returns, a start is not refused any more, and what was
    /// given up is in the directory that is returned. If it is cut or fails, nothing that the plan
    /// keeps is lost, and another repair goes on from there.
    ///
    /// # Errors
    /// `Io` or `Full`.
    pub fn repair(&self, plan: &Plan, now: UnixMillis) -> Result<PathBuf> {
        let failed = |e| Error::io(format!("cannot repair dir={}", self.directory.path.display()), e);
        let quarantine = self.quarantine(now).map_err(failed)?;
        self.prepare(plan, &quarantine).map_err(failed)?;
        self.fence(plan, now).map_err(failed)?;
        self.clear_away(plan, &quarantine).map_err(failed)?;
        self.record(plan)?;
        Ok(quarantine)
    }

    /// A new directory for what is moved away.
    fn quarantine(&self, now: UnixMillis) -> io::Result<PathBuf> {
        let (vfs, data_dir) = (self.directory.vfs(), self.directory.path());
        let lost = data_dir.join(LOST_DIR);
        match vfs.create_dir(&lost) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => vfs.sync_dir(data_dir)?,
        }
        let mut number = now.0;
        loop {
            let dir = lost.join(format!("{number}-repair"));
            match vfs.create_dir(&dir) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
                outcome => {
                    outcome?;
                    vfs.sync_dir(&lost)?;
                    return Ok(dir);
                }
            }
        }
    }

    /// A whole copy of the damaged file, and its valid part beside it, both on the disk.
    fn prepare(&self, plan: &Plan, quarantine: &Path) -> io::Result<()> {
        let vfs = self.directory.vfs();
        let Some((path, end, len)) = &plan.cut else { return Ok(()) };
        let file = vfs.open(path, OpenMode::Read)?;
        let mut bytes = vec![0; *len as usize];
        read_exact_at(&*file, 0, &mut bytes)?;
        let name = path.file_name().expect("a segment has a name");
        write_new(vfs, &quarantine.join(name), &bytes)?;
        vfs.sync_dir(quarantine)?;
        write_new(vfs, &unfinished(path), &bytes[..*end as usize])
    }

    /// An empty segment behind the prefix. From here on until the end a start is refused.
    fn fence(&self, plan: &Plan, now: UnixMillis) -> io::Result<()> {
        let Directory { vfs, path: data_dir, manifest, .. } = &self.directory;
        let header = SegmentHeader {
            dataset_id: manifest.dataset_id,
            salt: Salt(manifest.salt),
            // No run has begun it. The next start goes on in it, and its Marks carry this id, too.
            run_id: [0; 16],
            first_index: plan.fence,
            prev_crc: plan.prefix.chain.crc,
            prev_term: plan.prefix.chain.term,
            prev_index: plan.prefix.chain.index,
            prev_segment: plan.prefix.joint.segment,
            prev_end: plan.prefix.joint.end,
            created: now,
        };
        let path = file_name::segment_path(data_dir, plan.fence);
        write_new(&**vfs, &unfinished(&path), &header.encode())?;
        vfs.rename(&unfinished(&path), &path)?;
        vfs.sync_dir(&data_dir.join(WAL_DIR))
    }

    fn clear_away(&self, plan: &Plan, quarantine: &Path) -> io::Result<()> {
        let vfs = self.directory.vfs();
        for path in &plan.moved {
            let name = path.file_name().expect("a segment has a name");
            vfs.rename(path, &quarantine.join(name))?;
        }
        vfs.sync_dir(quarantine)?;
        if let Some((path, ..)) = &plan.cut {
            vfs.rename(&unfinished(path), path)?;
        }
        vfs.sync_dir(&self.directory.path.join(WAL_DIR))
    }

    /// The MANIFEST names what is there now. Its clock and its term stay above all that was seen.
    fn record(&self, plan: &Plan) -> Result<()> {
        let Directory { vfs, path, .. } = &self.directory;
        let (mut store, _) = ManifestStore::load(vfs, path)?
            .ok_or_else(|| Error::corrupt(path, 0, "the MANIFEST has vanished during a repair"))?;
        let mut manifest = store.current().clone();
        let kept = plan.prefix.kept.iter();
        manifest.segments =
            kept.map(|kept| SegmentMeta { first_index: kept.first_index, end: kept.end }).collect();
        manifest.segments.push(SegmentMeta { first_index: plan.fence, end: 0 });
        manifest.clean = None;
        manifest.term = manifest.term.max(u64::from(plan.readable.term));
        let seen = plan.readable.clock.max(plan.prefix.clock);
        manifest.clock_floor_ms = manifest.clock_floor_ms.max(seen.0);
        store.commit(manifest)
    }
}

fn beyond(error: Error, why: &'static str) -> Result<Assessment> {
    match error.kind() {
        ErrorKind::Corrupt => Ok(Assessment::Beyond(error, why)),
        _ => Err(error),
    }
}

fn plan(directory: &Directory, cause: Error, prefix: Prefix) -> Result<Plan> {
    let Directory { vfs, path: data_dir, manifest, .. } = directory;
    let after = prefix.chain.index;
    let cut =
        prefix.cut().map(|kept| (file_name::segment_path(data_dir, kept.first_index), kept.end, kept.len));
    let moved = prefix.paths_behind(data_dir);
    let mut readable = Salvage::default();
    let parts = cut.iter().map(|(path, end, _)| (path, *end)).chain(moved.iter().map(|path| (path, 0)));
    for (path, from) in parts {
        let bytes = read_from(&**vfs, path, from)
            .map_err(|e| Error::io(format!("cannot read a log segment file={}", path.display()), e))?;
        readable.look(&bytes, Salt(manifest.salt), after);
    }
    let told =
        cause.place().and_then(|p| p.lsns).map_or(0, |(_, last)| if last == u64::MAX { 0 } else { last });
    let last_lost =
        readable.last_lsn.max(told).max(manifest.clean.as_ref().map_or(0, |c| c.last_index)).max(after + 1);
    let names: BTreeSet<u64> = manifest
        .segments
        .iter()
        .map(|s| s.first_index)
        .chain(prefix.behind.iter().copied())
        .chain(prefix.kept.iter().map(|kept| kept.first_index))
        .collect();
    let fence = names.last().copied().unwrap_or(0).max(last_lost).saturating_add(1);
    if fence > FENCE_MAX {
        let what = format!("a segment has a name that was never given, first_index={}", fence - 1);
        return Err(Error::new(ErrorKind::Unsupported, what));
    }
    Ok(Plan { cause, last_kept: after, cut, moved, lost: (after + 1, last_lost), readable, fence, prefix })
}

fn read_from(vfs: &dyn Vfs, path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let file = vfs.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; file.len()?.saturating_sub(from) as usize];
    read_exact_at(&*file, from, &mut bytes)?;
    Ok(bytes)
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(format!("wal{TMP}"))
}

/// A file with this content, on the disk; its name is not yet.
fn write_new(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    match vfs.remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = vfs.open(path, OpenMode::CreateNew)?;
    write_all_at(&*file, 0, &mut [IoSlice::new(bytes)])?;
    file.sync_data()
}
