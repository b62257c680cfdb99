//! A file system around another one, in which some calls are done otherwise: slower, wrong, or not
//! at all. [`Around`] names those that are; all others go through.

use std::{
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::vfs::{DirEntry, DirLock, File, Mapped, OpenMode, Vfs};

/// What is done instead of a call. Each default is the call itself.
pub trait Around: fmt::Debug + Send + Sync + 'static {
    /// Instead of `Vfs::rename`.
    fn rename(&self, inner: &dyn Vfs, from: &Path, to: &Path) -> io::Result<()> {
        inner.rename(from, to)
    }
    /// Instead of `Vfs::sync_dir`.
    fn sync_dir(&self, inner: &dyn Vfs, dir: &Path) -> io::Result<()> {
        inner.sync_dir(dir)
    }
    /// Instead of `File::read_at` of the file at `path` (its name when it was opened).
    fn read_at(&self, _path: &Path, inner: &dyn File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        inner.read_at(offset, buf)
    }
    /// Instead of `File::write_at`.
    fn write_at(
        &self,
        _path: &Path,
        inner: &dyn File,
        offset: u64,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        inner.write_at(offset, bufs)
    }
    /// Instead of `File::allocate`.
    fn allocate(&self, _path: &Path, inner: &dyn File, len: u64) -> io::Result<()> {
        inner.allocate(len)
    }
    /// Instead of `File::sync_data`.
    fn sync_data(&self, _path: &Path, inner: &dyn File) -> io::Result<()> {
        inner.sync_data()
    }
    /// Instead of `File::drop_cache`.
    fn drop_cache(&self, _path: &Path, inner: &dyn File) -> io::Result<()> {
        inner.drop_cache()
    }
}

/// `inner`, with `around` in between.
pub fn wrap(inner: Arc<dyn Vfs>, around: impl Around) -> Arc<dyn Vfs> {
    Arc::new(Wrapped { inner, around: Arc::new(around) })
}

#[derive(Debug)]
struct Wrapped {
    inner: Arc<dyn Vfs>,
    around: Arc<dyn Around>,
}

#[derive(Debug)]
struct WrappedFile {
    path: PathBuf,
    inner: Arc<dyn File>,
    around: Arc<dyn Around>,
}

impl Vfs for Wrapped {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.open(path, mode)?;
        Ok(Arc::new(WrappedFile { path: path.to_owned(), inner, around: self.around.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.around.rename(&*self.inner, from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.inner.exchange(one, other)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.around.sync_dir(&*self.inner, dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        self.inner.lock(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_space(path)
    }
}

impl File for WrappedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.around.read_at(&self.path, &*self.inner, offset, buf)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.around.write_at(&self.path, &*self.inner, offset, bufs)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.around.sync_data(&self.path, &*self.inner)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.around.allocate(&self.path, &*self.inner, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn map(&self) -> io::Result<Mapped> {
        self.inner.map()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.around.drop_cache(&self.path, &*self.inner)
    }
}
