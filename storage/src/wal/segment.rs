//! The files of the log: prepared ahead, put into use, sealed.
//!
//! A *spare* is a file of full size whose blocks were written with zeros and synced: overwriting
//! such blocks costs about half of what growing a file does, and cannot fail for lack of space.
//! It becomes the *active* segment when its header is durable and its name is; only then does it
//! get its first frame. A *sealed* segment has its exact length and never changes again.

use std::{
    io::IoSlice,
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
    sync::thread,
    vfs::{File, OpenMode, Vfs, write_all_at},
};

/// Zeros are written in slices of this size, with pauses, so that a sync of the log never queues
/// behind a whole segment.
const SLICE_LEN: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(1);

/// A prepared file.
#[derive(Debug)]
pub(crate) struct Spare {
    pub path: PathBuf,
    pub file: Arc<dyn File>,
    pub capacity: u64,
}

/// Creates a file of `capacity` bytes of zeros, synced. If that fails the file is removed again
/// and nothing was harmed.
pub(crate) fn create_spare(vfs: &dyn Vfs, path: PathBuf, capacity: u64, pause: bool) -> Result<Spare> {
    let file = vfs
        .open(&path, OpenMode::CreateNew)
        .map_err(|e| Error::io(format!("cannot create a log segment file={}", path.display()), e))?;
    match fill_with_zeros(&*file, capacity, pause) {
        Ok(()) => Ok(Spare { path, file, capacity }),
        Err(e) => {
            if let Err(e) = vfs.remove_file(&path) {
                tracing::warn!(file = %path.display(), error = %e, "an unfinished log segment stays behind");
            }
            Err(Error::io(format!("cannot prepare a log segment file={}", path.display()), e))
        }
    }
}

fn fill_with_zeros(file: &dyn File, capacity: u64, pause: bool) -> std::io::Result<()> {
    file.allocate(capacity)?;
    let zeros = vec![0; SLICE_LEN.min(capacity as usize)];
    let mut offset = 0;
    while offset < capacity {
        let len = zeros.len().min((capacity - offset) as usize);
        write_all_at(file, offset, &mut [IoSlice::new(&zeros[..len])])?;
        offset += len as u64;
        if pause && offset < capacity {
            thread::sleep(PAUSE);
        }
    }
    file.sync_data()
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
pub(crate) fn seal(file: &dyn File, first_index: u64, end: u64) -> Result<()> {
    file.set_len(end).and_then(|()| file.sync_data()).map_err(|e| {
        let name = file_name::segment(first_index);
        Error::io(format!("cannot seal a log segment file={name} end={end}"), e)
    })
}
