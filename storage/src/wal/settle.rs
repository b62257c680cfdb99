//! Makes what recovery has found the truth on the disk, before anything is served.
//!
//! After an unclean stop the page cache may show what the disk never got, so the valid part of the
//! last segment is written to another file, synced, and only then put under the segment's name.
//! The log goes on in that file. It is one that was set aside, and it changes names with the old
//! one in one step, so that afterwards as many files of full size are set aside as before: a start
//! takes nothing from the disk, however often it is repeated on a full one.
//!
//! A crash at any point leaves the segment under its name whole, the old file or the new one, and
//! the other under a name that says that its bytes mean nothing. The next start does it again.
//!
//! Where nothing is set aside (or nothing long enough) a new file of exact length is written, and
//! the log goes on in a new segment: that needs free space. Where the file system cannot exchange
//! names, the old file is replaced, and one less is set aside afterwards.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{Error, Result},
    format::file_name::{self, LOST_DIR, TMP, WAL_DIR},
    lsn::LogPosition,
    vfs::{File, OpenMode, Vfs, read_exact_at, write_all_at},
    wal::{
        recover::Found,
        segment::{Spare, write_zeros},
    },
};

/// A torn tail of more than this is not kept whole in `lost/`.
const LOST_LEN_MAX: usize = 16 << 20;

/// The last segment, rewritten, with room behind its last frame: zeros, on the disk.
#[derive(Clone, Debug)]
pub struct Active {
    /// The file that has its name now.
    pub(crate) file: Arc<dyn File>,
    /// Length of the file.
    pub(crate) capacity: u64,
    /// The run that began the segment: its Marks carry this id to the end.
    pub(crate) run_id: [u8; 16],
}

impl Found {
    /// After an unclean stop: keeps a copy of what is cut, and rewrites the valid part of the last
    /// segment. When this returns, everything up to the end is on the disk under its name. Gives
    /// the segment if the log can go on in it.
    ///
    /// # Errors
    /// `Io` or `Full`: the segment under its name is whole, old or new.
    pub fn settle(&mut self, vfs: &dyn Vfs, data_dir: &Path) -> Result<Option<Active>> {
        let Some(last) = self.last.take() else { return Ok(None) };
        let end = self.tail.end.offset as usize;
        if let Some(torn) = &mut self.torn {
            let rest = &last.bytes[end..end + torn.bytes as usize];
            match keep_lost(vfs, data_dir, torn.at, rest) {
                Ok(path) => torn.copy = Some(path),
                Err(e) => tracing::warn!(error = %e, "no copy of the torn tail could be kept"),
            }
        }
        let rewritten =
            rewrite(vfs, &data_dir.join(WAL_DIR), &last.path, &last.bytes[..end]).map_err(|e| {
                Error::io(format!("cannot rewrite the last log segment file={}", last.path.display()), e)
            })?;
        Ok(rewritten.map(|(file, capacity)| Active { file, capacity, run_id: last.run_id }))
    }
}

fn keep_lost(vfs: &dyn Vfs, data_dir: &Path, at: LogPosition, bytes: &[u8]) -> io::Result<PathBuf> {
    let bytes = &bytes[..bytes.len().min(LOST_LEN_MAX)];
    let path = data_dir.join(LOST_DIR).join(format!("{:020}-{}.bin", at.segment, at.offset));
    remove_if_there(vfs, &path)?;
    let file = vfs.open(&path, OpenMode::CreateNew)?;
    let written = write_all_at(&*file, 0, &mut [IoSlice::new(bytes)]).and_then(|()| file.sync_data());
    if let Err(e) = written {
        // A part would look like the whole, and hold the last of the space.
        remove_if_there(vfs, &path)?;
        return Err(e);
    }
    vfs.sync_dir(&data_dir.join(LOST_DIR))?;
    Ok(path)
}

fn remove_if_there(vfs: &dyn Vfs, path: &Path) -> io::Result<()> {
    match vfs.remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// The file that has the segment's name now and its length, if there is room behind the bytes.
fn rewrite(vfs: &dyn Vfs, dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<Option<(Arc<dyn File>, u64)>> {
    let Some(Spare { path: from, file, capacity }) = take_set_aside(vfs, dir, bytes.len() as u64)? else {
        write_new(vfs, path, bytes)?;
        vfs.sync_dir(dir)?;
        return Ok(None);
    };
    write_checked(&*file, bytes)?;
    match vfs.exchange(&from, path) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => vfs.rename(&from, path)?,
        outcome => outcome?,
    }
    vfs.sync_dir(dir)?;
    Ok(Some((file, capacity)))
}

fn write_new(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let from = path.with_extension(format!("wal{TMP}"));
    // A start that was cut here has left one behind.
    remove_if_there(vfs, &from)?;
    let file = vfs.open(&from, OpenMode::CreateNew)?;
    write_checked(&*file, bytes)?;
    vfs.rename(&from, path)
}

/// What takes the place of the only other copy is read back from the disk before.
fn write_checked(file: &dyn File, bytes: &[u8]) -> io::Result<()> {
    write_all_at(file, 0, &mut [IoSlice::new(bytes)])?;
    file.sync_data()?;
    file.drop_cache()?;
    let mut found = vec![0; bytes.len()];
    read_exact_at(file, 0, &mut found)?;
    if found != bytes {
        return Err(io::Error::other("what was written is not what is read back"));
    }
    Ok(())
}

/// A file of at least `len` bytes, all zeros behind them, under the name of a used one.
fn take_set_aside(vfs: &dyn Vfs, dir: &Path, len: u64) -> io::Result<Option<Spare>> {
    let entries = vfs.list(dir)?;
    let find = |is: fn(&str) -> bool| entries.iter().find(|e| is(&e.name) && e.len >= len);
    if let Some(spare) = find(file_name::is_spare) {
        let from = dir.join(&spare.name);
        let used = file_name::used(&from);
        // What has the name of a spare is all zeros, also after a cut in the middle of what comes.
        vfs.rename(&from, &used)?;
        vfs.sync_dir(dir)?;
        let file = vfs.open(&used, OpenMode::ReadWrite)?;
        return Ok(Some(Spare { path: used, file, capacity: spare.len }));
    }
    // An earlier start was stopped before it had made a spare of it.
    let Some(entry) = find(file_name::is_used) else { return Ok(None) };
    let used = dir.join(&entry.name);
    let file = vfs.open(&used, OpenMode::ReadWrite)?;
    write_zeros(&*file, len..entry.len, None)?;
    Ok(Some(Spare { path: used, file, capacity: entry.len }))
}
