//! The files of the log: prepared ahead, put into use, sealed.
//!
//! A *spare* is a file of full size whose blocks were written with zeros and synced: overwriting
//! such blocks costs about half of what growing a file does, and cannot fail for lack of space.
//! It becomes the *active* segment when its header is durable and its name is; only then does it
//! get its first frame. A *sealed* segment has its exact length and never changes again.

use std::{
    io::{self, IoSlice},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    error::{Error, Result},
    format::{
        file_name::{self, WAL_DIR},
        segment::SegmentHeader,
    },
    lsn::LogPosition,
    sync::thread,
    vfs::{DIRECT_ALIGN, File, OpenMode, Vfs, write_all_at},
};

/// Zeros are written in slices of this size, with pauses, and synced on the way, so that a sync of
/// the log never queues behind a whole segment.
const SLICE_LEN: usize = 1 << 20;
const SYNC_EVERY: u64 = 4 << 20;
/// Pause between two slices: some 200 MiB/s …
const PAUSE: Duration = Duration::from_millis(4);
/// … or, in haste, as much as the disk takes.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Asked after each slice whether there is no time for long pauses; `None`: pauses are not wanted at all,
/// and nothing is synced on the way.
pub(crate) type Haste<'a> = Option<&'a dyn Fn() -> bool>;

/// A prepared file.
#[derive(Debug)]
pub(crate) struct Spare {
    pub path: PathBuf,
    pub file: Arc<dyn File>,
    pub capacity: u64,
}

/// Creates a file of `capacity` bytes of zeros, synced. If that fails the file is removed again
/// and nothing was harmed.
pub(crate) fn create_spare(
    vfs: &dyn Vfs,
    path: PathBuf,
    capacity: u64,
    in_haste: Haste<'_>,
) -> Result<Spare> {
    let file = vfs
        .open(&path, OpenMode::CreateNew)
        .map_err(|e| Error::io(format!("cannot create a log segment file={}", path.display()), e))?;
    match fill_with_zeros(&*file, capacity, in_haste) {
        Ok(()) => Ok(Spare { path, file, capacity }),
        Err(e) => {
            if let Err(e) = vfs.remove_file(&path) {
                tracing::warn!(file = %path.display(), error = %e, "an unfinished log segment stays behind");
            }
            Err(Error::io(format!("cannot prepare a log segment file={}", path.display()), e))
        }
    }
}

fn fill_with_zeros(file: &dyn File, capacity: u64, in_haste: Haste<'_>) -> io::Result<()> {
    file.allocate(capacity)?;
    write_zeros(file, 0..capacity, in_haste)?;
    file.sync_data()
}

/// Writes zeros, with a pause after each slice; the last ones are not synced.
pub(crate) fn write_zeros(file: &dyn File, range: Range<u64>, in_haste: Haste<'_>) -> io::Result<()> {
    let zeros = vec![0; SLICE_LEN.min((range.end - range.start) as usize) + DIRECT_ALIGN];
    let zeros = &zeros[zeros.as_ptr().align_offset(DIRECT_ALIGN)..][..zeros.len() - DIRECT_ALIGN];
    let mut offset = range.start;
    while offset < range.end {
        let len = zeros.len().min((range.end - offset) as usize);
        write_past_cache(file, offset, &zeros[..len])?;
        offset += len as u64;
        if let Some(in_haste) = in_haste.filter(|_| offset < range.end) {
            if in_haste() {
                thread::sleep(PAUSE_MIN);
                continue;
            }
            if (offset - range.start).is_multiple_of(SYNC_EVERY) {
                file.sync_data()?;
            }
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// All of it, and not through the page cache: these pages are overwritten and never read.
fn write_past_cache(file: &dyn File, mut offset: u64, mut buf: &[u8]) -> io::Result<()> {
    while !buf.is_empty() {
        // What is no whole block goes the usual way.
        let whole = buf.len() - buf.len() % DIRECT_ALIGN;
        match file.write_past_cache(offset, &buf[..if whole > 0 { whole } else { buf.len() }]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                buf = &buf[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Makes a spare of a used file of full size: overwritten where it lies, so that the space never
/// leaves our hands. If the power fails before the end it is still a used one.
pub(crate) fn renew(vfs: &dyn Vfs, used: &Path, capacity: u64, in_haste: Haste<'_>) -> Result<Spare> {
    let path = file_name::renewed(used);
    let renew = || {
        let file = vfs.open(used, OpenMode::ReadWrite)?;
        fill_with_zeros(&*file, capacity, in_haste)?;
        vfs.rename(used, &path)?;
        Ok(file)
    };
    let file = renew()
        .map_err(|e| Error::io(format!("cannot prepare a log segment again file={}", used.display()), e))?;
    Ok(Spare { path, file, capacity })
}

/// Puts a spare into use. When this returns, header and name are durable; if the power fails
/// before, recovery finds either no such segment or one without frames.
pub(crate) fn activate(
    vfs: &dyn Vfs,
    data_dir: &Path,
    spare: Spare,
    header: &SegmentHeader,
) -> Result<Arc<dyn File>> {
    let path = file_name::segment_path(data_dir, header.first_index);
    let activate = || {
        write_all_at(&*spare.file, 0, &mut [IoSlice::new(&header.encode())])?;
        spare.file.sync_data()?;
        vfs.rename(&spare.path, &path)?;
        vfs.sync_dir(&data_dir.join(WAL_DIR))
    };
    activate()
        .map_err(|e| Error::io(format!("cannot put a log segment into use file={}", path.display()), e))?;
    Ok(spare.file)
}

/// Cuts a segment to its exact length and syncs it. If the power fails before, zeros follow the
/// last frame, which recovery takes for the end as long as no later segment exists.
pub(crate) fn seal(file: &dyn File, end: LogPosition) -> Result<()> {
    file.set_len(end.offset).and_then(|()| file.sync_data()).map_err(|e| {
        let name = file_name::segment(end.segment);
        Error::io(format!("cannot seal a log segment file={name} offset={}", end.offset), e)
    })
}
