//! Snapshots on disk: written beside, verified by reading back, published by a rename.
//!
//! A snapshot is a directory `snap/<begin>/` with one file per group of stripes. It is *fuzzy*:
//! it holds everything up to `begin` and some of what came until `end`; entries carry their LSN,
//! so that snapshot + log gives the exact state at any LSN from `end` on. The caller waits until
//! the log is durable up to `end` before it publishes.
//!
//! After a crash: an unfinished snapshot has a name that ends in `.tmp` and is removed at the
//! next start. One counts only when the MANIFEST names it, which is written after [`publish`].
//!
//! Not here: what the entries are and when a snapshot is due (`engine`).

pub mod reader;
pub mod writer;

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    format::file_name::{self, SNAP_DIR, TMP},
    vfs::Vfs,
};

/// The directory of a published snapshot.
pub fn path(data_dir: &Path, begin: u64) -> PathBuf {
    data_dir.join(SNAP_DIR).join(file_name::snapshot(begin))
}

/// The directory of an unfinished one.
pub fn unfinished_path(data_dir: &Path, begin: u64) -> PathBuf {
    data_dir.join(SNAP_DIR).join(file_name::snapshot(begin) + TMP)
}

/// Gives a finished snapshot its name. Durable when it returns; a power cut before leaves the old
/// name or the new one, and nobody refers to either yet.
///
/// # Errors
/// `Io`: the snapshot is not published.
pub fn publish(vfs: &dyn Vfs, data_dir: &Path, begin: u64) -> Result<()> {
    let (from, to) = (unfinished_path(data_dir, begin), path(data_dir, begin));
    let publish = || {
        vfs.sync_dir(&from)?;
        vfs.rename(&from, &to)?;
        vfs.sync_dir(&data_dir.join(SNAP_DIR))
    };
    publish().map_err(|e| Error::io(format!("cannot publish a snapshot dir={}", to.display()), e))
}

/// Removes a snapshot directory, if it is there.
///
/// # Errors
/// What the file system says; some files may be gone.
pub fn remove(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
    let entries = match vfs.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome?,
    };
    for entry in entries {
        vfs.remove_file(&dir.join(entry.name))?;
    }
    vfs.remove_dir(dir)
}
