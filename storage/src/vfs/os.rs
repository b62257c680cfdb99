//! The real disk: `std::fs` and Linux system calls, nothing on top.
//!
//! Every error of the kernel is handed up as it is; nothing is retried but interrupted calls. A
//! failed sync is never repeated here, because the second one may report success for pages that
//! the first one has thrown away.
//!
//! Files are private to the user (0600, directories 0700) and closed in child processes. The lock
//! is a `flock`: it belongs to the open file, so it ends with the process however that ends.
//!
//! Not here: what is synced when (`wal`, `snapshot`, `manifest`), and any retry policy.

#![expect(clippy::disallowed_methods, reason = "the only caller of the file system")]

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, IoSlice},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use memmap2::{Advice, Mmap, MmapOptions};
use rustix::{
    fs::{CWD, FallocateFlags, OFlags, RenameFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

use super::{DIRECT_ALIGN, DirEntry, DirLock, File, Mapped, OpenMode, Vfs, read_exact_at};

/// How much of a mapping is faulted in by one call. Larger gains nothing and holds the memory map
/// of the process for longer.
const POPULATE_WINDOW: usize = 8 << 20;

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsVfs;

impl Vfs for OsVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::ReadWrite => options.read(true).write(true),
            OpenMode::CreateNew => options.read(true).write(true).create_new(true).mode(0o600),
        };
        // The standard library opens everything with O_CLOEXEC.
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
            // So say file systems that do not know the flag, and old kernels.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
            outcome => Ok(outcome?),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(or_here(dir))? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since its name was read, so it is not there.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: metadata.is_dir(),
                len: if metadata.is_dir() { 0 } else { metadata.len() },
            });
        }
        Ok(entries)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(or_here(dir))?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // Qualified, because std has methods of similar names on `File`.
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => Ok(Some(Box::new(OsLock { _file: file }))),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        fs2::available_space(or_here(path))
    }
}

/// The parent of a relative name is the empty path, which the kernel does not know.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// The lock lives as long as this descriptor.
#[derive(Debug)]
struct OsLock {
    _file: fs::File,
}

impl DirLock for OsLock {}

#[derive(Debug)]
struct OsFile(fs::File);

impl File for OsFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [] => Ok(0),
            [buf] => self.0.write_at(buf, offset),
            bufs => Ok(rustix::io::pwritev(&self.0, bufs, offset)?),
        }
    }

    fn write_past_cache(&self, offset: u64, buf: &[u8]) -> io::Result<usize> {
        let is_aligned = |n: usize| n.is_multiple_of(DIRECT_ALIGN);
        if is_aligned(offset as usize) && is_aligned(buf.len()) && is_aligned(buf.as_ptr().addr()) {
            let flags = fcntl_getfl(&self.0)?;
            // Not every file system knows the flag, and some know it and want more alignment.
            let written = fcntl_setfl(&self.0, flags | OFlags::DIRECT)
                .map_err(io::Error::from)
                .and_then(|()| self.0.write_at(buf, offset));
            fcntl_setfl(&self.0, flags)?;
            if !written.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::InvalidInput) {
                return written;
            }
        }
        self.0.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(()); // The kernel calls this invalid.
        }
        loop {
            match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                // Such a file system (NFS, for one) cannot reserve: ENOSPC then comes from a write.
                Err(Errno::OPNOTSUPP) if self.len()? < len => return self.set_len(len),
                Err(Errno::OPNOTSUPP) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn map(&self) -> io::Result<Mapped> {
        let len = usize::try_from(self.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if len == 0 {
            return Ok(Box::new(Vec::new())); // An empty mapping does not exist.
        }
        match map_populated(&self.0, len) {
            Ok(map) => Ok(Box::new(map)),
            // Before Linux 5.14 the kernel does not know the advice (EINVAL). A page that cannot be
            // had is only a bad address (EFAULT): the read names the real error of the disk.
            Err(_) => Ok(Box::new(read_whole(self, len)?)),
        }
    }

    fn drop_cache(&self) -> io::Result<()> {
        // Dirty pages stay in the cache, so they are written first.
        self.0.sync_data()?;
        rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

/// Maps the first `len` bytes and has the kernel read them all now, so that a page that cannot be
/// read is an error here and not a SIGBUS later.
fn map_populated(file: &fs::File, len: usize) -> io::Result<Mmap> {
    #[expect(unsafe_code, reason = "there is no safe way to map a file")]
    // SAFETY: the mapping is read-only and callers map only sealed files of a directory that we
    // hold the lock of, which nobody writes to or cuts while they are mapped.
    let map = unsafe { MmapOptions::new().len(len).map(file) }?;
    for start in (0..len).step_by(POPULATE_WINDOW) {
        map.advise_range(Advice::PopulateRead, start, POPULATE_WINDOW.min(len - start))?;
    }
    Ok(map)
}

fn read_whole(file: &dyn File, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    bytes.resize(len, 0);
    read_exact_at(file, 0, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages behind the end of a file cannot be had: touched, they would end the process.
    #[test]
    fn a_file_that_was_cut_behind_a_mapping_is_an_error_and_not_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsVfs.open(&dir.path().join("cut"), OpenMode::CreateNew).unwrap();
        file.set_len(64 << 10).unwrap();
        let len = file.len().unwrap() as usize;
        file.set_len(4096).unwrap();
        let raw = fs::File::open(dir.path().join("cut")).unwrap();
        assert!(map_populated(&raw, len).is_err());
        // What is tried then names the reason.
        let error = read_whole(&*file, len).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
