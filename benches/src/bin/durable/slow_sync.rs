//! A file system whose syncs take as long as we say: that of the operating system, on tmpfs, with
//! a pause in each sync. So a slow disk can be measured on any machine.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use emberkeep_storage::vfs::{DirEntry, DirLock, File, Mapped, OpenMode, Vfs, os::OsVfs};

/// A sleep may end late by this much; the rest of the pause is spun.
const SPUN: Duration = Duration::from_micros(80);

/// The file system of the operating system with slower syncs of files.
#[derive(Debug)]
pub struct SlowSync(pub Duration);

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn File>,
    sync: Duration,
}

/// Returns `span` after `begin`.
fn pause(begin: Instant, span: Duration) {
    let asleep = span.saturating_sub(begin.elapsed()).saturating_sub(SPUN);
    if !asleep.is_zero() {
        thread::sleep(asleep);
    }
    while begin.elapsed() < span {
        std::hint::spin_loop();
    }
}

impl Vfs for SlowSync {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SlowFile { file: OsVfs.open(path, mode)?, sync: self.0 }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsVfs.rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        OsVfs.exchange(one, other)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsVfs.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        OsVfs.remove_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsVfs.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        OsVfs.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsVfs.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        OsVfs.lock(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        OsVfs.free_space(path)
    }
}

impl File for SlowFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.file.write_at(offset, bufs)
    }

    fn sync_data(&self) -> io::Result<()> {
        let begin = Instant::now();
        self.file.sync_data()?;
        pause(begin, self.sync);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn map(&self) -> io::Result<Mapped> {
        self.file.map()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}
