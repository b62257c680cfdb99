//! Looking at a data directory without serving it: what is in it, is it sound, what can be saved.
//!
//! Everything here reads without changing anything and without holding the directory, so a start
//! never has to wait for a tool; only [`repair`] takes the lock, and only when it is told to
//! write. That a reader saw one state of the directory is checked afterwards: every start, every
//! rotation and every snapshot writes the MANIFEST, so the same MANIFEST before and after, and
//! nobody holding the lock, means that nothing has moved meanwhile.
//!
//! Whether a log is sound is decided by `wal::recover`, as at a start; there is no second opinion.
//!
//! Not here: how it is shown, and exit codes.

pub mod inspect;
pub mod repair;
pub mod salvage;
pub mod segments;
pub mod snapshots;
pub mod statistics;
pub mod verify;
pub mod walk;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        file_name::{self, LOCK, MANIFESTS, SNAP_DIR, WAL_DIR},
        manifest::Manifest,
    },
    manifest::ManifestStore,
    vfs::{DirLock, Vfs},
    wal::recover::Source,
};

/// Told how far something has come: bytes done, of how many.
pub type Progress<'p> = &'p dyn Fn(u64, u64);

/// A data directory that is looked at.
#[derive(Debug)]
pub struct Directory {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    manifest: Manifest,
    warning: Option<String>,
    in_use: bool,
}

impl Directory {
    /// Reads the MANIFEST, and tells whether somebody has the directory open. Creates nothing.
    ///
    /// To find that out the lock is tried for a moment: a start in that very moment is refused, as
    /// if the tool were a server.
    ///
    /// # Errors
    /// `Unsupported` if this is no data directory or one of a newer version, `Corrupt` if its
    /// MANIFEST is damaged or missing, `Io`.
    pub fn open(vfs: Arc<dyn Vfs>, path: &Path) -> Result<Directory> {
        let names = list(&*vfs, path)?;
        let (manifest, warning) = load(&vfs, path)?;
        let in_use = names.iter().any(|name| name == LOCK) && lock(&*vfs, path)?.is_none();
        Ok(Directory { vfs, path: path.to_owned(), manifest, warning, in_use })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it must contain.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What was wrong with one generation of the MANIFEST while the other one is whole.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Somebody has it open, most likely a server: files come and go, and the last segment grows.
    pub fn in_use(&self) -> bool {
        self.in_use
    }

    pub(crate) fn vfs(&self) -> &dyn Vfs {
        &*self.vfs
    }

    pub(crate) fn source(&self) -> Source<'_> {
        Source { vfs: &*self.vfs, data_dir: &self.path, manifest: &self.manifest }
    }

    /// Nobody has changed anything since it was opened; a server that holds it may have written
    /// to the last segment.
    pub(crate) fn unchanged(&self) -> Result<bool> {
        let now = Directory::open(self.vfs.clone(), &self.path)?;
        Ok(now.manifest == self.manifest && now.in_use == self.in_use)
    }
}

fn list(vfs: &dyn Vfs, path: &Path) -> Result<Vec<String>> {
    let entries = vfs
        .list(path)
        .map_err(|e| Error::io(format!("cannot read the data directory dir={}", path.display()), e))?;
    Ok(entries.into_iter().map(|e| e.name).collect())
}

fn load(vfs: &Arc<dyn Vfs>, path: &Path) -> Result<(Manifest, Option<String>)> {
    if let Some((store, warning)) = ManifestStore::load(vfs, path)? {
        return Ok((store.current().clone(), warning));
    }
    for (dir, is_data) in [
        (WAL_DIR, (|name| file_name::parse_segment(name).is_some()) as fn(&str) -> bool),
        (SNAP_DIR, |name| file_name::parse_snapshot(name).is_some()),
    ] {
        let names = match vfs.list(&path.join(dir)) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            names => {
                names.map_err(|e| Error::io(format!("cannot read dir={}", path.join(dir).display()), e))?
            }
        };
        if let Some(entry) = names.iter().find(|e| is_data(&e.name)) {
            let what = format!("the MANIFEST is missing and there is data holds={dir}/{}", entry.name);
            return Err(Error::corrupt(path.join(MANIFESTS[0]), 0, what));
        }
    }
    let what = format!("this is no data directory: it has no MANIFEST dir={}", path.display());
    Err(Error::new(ErrorKind::Unsupported, what))
}

/// The lock, if nobody has it. Who may not write to the directory cannot tell, and is told so;
/// on a disk that nobody can write to, nobody serves.
fn lock(vfs: &dyn Vfs, path: &Path) -> Result<Option<Box<dyn DirLock>>> {
    #[derive(Debug)]
    struct ReadOnly;
    impl DirLock for ReadOnly {}
    match vfs.lock(&path.join(LOCK)) {
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(Some(Box::new(ReadOnly))),
        outcome => outcome
            .map_err(|e| Error::io(format!("cannot lock the data directory dir={}", path.display()), e)),
    }
}
