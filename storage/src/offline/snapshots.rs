//! The snapshots of a data directory, and whether the one that counts is whole.

use std::io;

use crate::{
    error::{Error, Result},
    format::file_name::{self, SNAP_DIR, TMP},
    offline::{Directory, Progress, verify::read_snapshot},
};

/// What a directory in `snap/` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The MANIFEST names it: a start begins with it.
    Current,
    /// The MANIFEST names it, and it is not there.
    Missing,
    /// The MANIFEST names it, and some of its files are not there.
    Incomplete,
    /// It was being written when something stopped it, or is being written now. The next start
    /// removes it.
    Unfinished,
    /// Nobody names it. The next start removes it.
    Superseded,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name in `snap/`.
    pub name: String,
    /// What it is.
    pub state: State,
    /// Every frame up to the first is in it, none after the second; known of the current one.
    pub lsns: Option<(u64, u64)>,
    /// Entries in it; known of the current one.
    pub entries: Option<u64>,
    /// Its files.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
}

/// All that is in `snap/`, and what should be.
///
/// # Errors
/// `Io`.
pub fn snapshots(directory: &Directory) -> Result<Vec<Snapshot>> {
    let dir = directory.path().join(SNAP_DIR);
    let mut names: Vec<String> = match directory.vfs().list(&dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => entries
            .map_err(|e| Error::io(format!("cannot list the snapshots dir={}", dir.display()), e))?
            .into_iter()
            .filter(|e| e.is_dir && (file_name::parse_snapshot(&e.name).is_some() || e.name.ends_with(TMP)))
            .map(|e| e.name)
            .collect(),
    };
    names.sort();
    let current = directory.manifest().snapshot.as_ref();
    let mut found = Vec::new();
    for name in names {
        let files: Vec<_> = match directory.vfs().list(&dir.join(&name)) {
            // A server that takes snapshots removes the old ones.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            files => files.map_err(|e| Error::io(format!("cannot list a snapshot name={name}"), e))?,
        };
        let meta = current.filter(|s| file_name::parse_snapshot(&name) == Some(s.begin));
        let state = match meta {
            Some(s) if files.len() < s.groups.len() && directory.unchanged()? => State::Incomplete,
            Some(_) => State::Current,
            None if name.ends_with(TMP) => State::Unfinished,
            None => State::Superseded,
        };
        found.push(Snapshot {
            name,
            state,
            lsns: meta.map(|s| (s.begin, s.end)),
            entries: meta.map(|s| s.groups.iter().map(|g| g.entries).sum()),
            files: files.len() as u64,
            bytes: files.iter().map(|f| f.len).sum(),
        });
    }
    if let Some(s) = current.filter(|_| found.iter().all(|s| s.lsns.is_none())) {
        found.push(Snapshot {
            name: file_name::snapshot(s.begin),
            state: State::Missing,
            lsns: Some((s.begin, s.end)),
            entries: Some(s.groups.iter().map(|g| g.entries).sum()),
            files: 0,
            bytes: 0,
        });
    }
    Ok(found)
}

/// Reads every byte of the snapshot that the MANIFEST names, as a start does; gives the number of
/// its entries, 0 if there is no snapshot.
///
/// # Errors
/// `Corrupt` with file and offset, `Unsupported`, `Io`.
pub fn verify_snapshot(directory: Directory, progress: Progress<'_>) -> Result<u64> {
    // Of a snapshot that was replaced while it was read, nothing follows: read the new one.
    let mut directory = directory;
    for _ in 0..3 {
        let outcome = read_snapshot(&directory, progress);
        if directory.unchanged()? {
            return outcome;
        }
        directory = Directory::open(directory.vfs.clone(), directory.path())?;
    }
    read_snapshot(&directory, progress)
}
