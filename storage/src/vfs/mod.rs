//! The seam to the disk: every byte that this crate reads or writes goes through [`Vfs`].
//!
//! [`os::OsVfs`] is the real file system and the only code that calls it. `sim::SimDisk`
//! records what was done and can build every image that a disk may legally hold after a crash.
//!
//! What an implementation promises: bytes are durable after [`File::sync_data`], a name in a
//! directory after [`Vfs::sync_dir`], and not before. An error from a write or a sync says
//! nothing about what reached the disk.

#[cfg(test)]
mod contract;
pub mod os;

use std::{
    fmt,
    io::{self, IoSlice},
    ops::Deref,
    path::Path,
    sync::Arc,
};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A new file, for reading and writing; an error if the name exists. Mode 0600.
    CreateNew,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The last component of the path. Names that are not UTF-8 are shown with replacements.
    pub name: String,
    /// A directory, not a file.
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// The bytes of a whole sealed file.
pub type Mapped = Box<dyn Deref<Target = [u8]> + Send + Sync>;

/// What the offset, the length and the address of a write past the page cache are multiples of.
pub const DIRECT_ALIGN: usize = 4096;

/// Held for as long as the directory is ours; dropping it releases the lock.
pub trait DirLock: Send + Sync + fmt::Debug {}

/// A file system.
pub trait Vfs: Send + Sync + fmt::Debug {
    /// Opens or creates a file. A created name is durable only after `sync_dir` of its parent.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Renames, replacing `to` if it exists. Atomic; durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Exchanges two names of existing files. Atomic: whatever happens, each file has one of the two
    /// names; durable after `sync_dir`. `Unsupported` if the file system cannot do it, as the
    /// default here.
    fn exchange(&self, _one: &Path, _other: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates one directory (mode 0700); its parent must exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no order. `NotFound` if there is none.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock on a file, creating it if need be. `None`: somebody else has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>>;
    /// Bytes that can still be written on the file system of `path`.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
}

/// An open file. All methods take an offset: there is no cursor.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads up to `buf.len()` bytes; 0 at the end of the file. May be short.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Writes the buffers one behind the other; may be short. Extends the file if need be.
    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
    /// As [`write_at`](Self::write_at), of bytes that nobody will read soon: they do not pass through the
    /// page cache where the system can do without, and then offset, length and address must be multiples
    /// of [`DIRECT_ALIGN`]. Nobody else may use the file meanwhile.
    fn write_past_cache(&self, offset: u64, buf: &[u8]) -> io::Result<usize> {
        self.write_at(offset, &[IoSlice::new(buf)])
    }
    /// Makes all that was written, and the length, durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves blocks for the first `len` bytes and extends the file to it.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts or extends (with zeros) the file to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// The whole file as one slice. Only for sealed files that nobody cuts: an error while
    /// populating is returned here, one that comes later would end the process.
    fn map(&self) -> io::Result<Mapped>;
    /// Asks the system to forget cached pages, so that the next read comes from the disk.
    fn drop_cache(&self) -> io::Result<()>;
    /// Length zero.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Reads exactly `buf.len()` bytes.
///
/// # Errors
/// `UnexpectedEof` if the file ends before.
pub fn read_exact_at(file: &dyn File, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
    while !buf.is_empty() {
        match file.read_at(offset, buf) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buf = &mut buf[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes all of the buffers, one behind the other, continuing after short writes.
///
/// # Errors
/// The first error; what was written by then is unknown.
pub fn write_all_at(file: &dyn File, mut offset: u64, mut bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Linux takes at most 1,024 buffers in one call.
    const BUFFERS_MAX: usize = 1024;
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        match file.write_at(offset, &bufs[..bufs.len().min(BUFFERS_MAX)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                IoSlice::advance_slices(&mut bufs, n);
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
