//! One file of the exports directory, written or read front to back through the `Vfs`.
//!
//! A [`NewFile`] has a temporary name until [`NewFile::publish`]: a crash before leaves the old
//! file in place, a crash after leaves the new one. A name that starts with a dot can never be
//! asked for by a client.

use std::{
    io::{self, IoSlice, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use emberkeep_storage::vfs::{File, OpenMode, Vfs, write_all_at};

const BUFFER: usize = 256 << 10;

/// A file that is not there yet for anybody else.
pub(super) struct NewFile<'v> {
    vfs: &'v dyn Vfs,
    file: Arc<dyn File>,
    dir: PathBuf,
    temporary: PathBuf,
    target: PathBuf,
    buffer: Vec<u8>,
    written: u64,
    published: bool,
}

impl<'v> NewFile<'v> {
    pub(super) fn create(vfs: &'v dyn Vfs, dir: &Path, name: &str) -> io::Result<Self> {
        let temporary = dir.join(format!(".{name}.tmp"));
        // What a crash may have left behind. Exports take turns, so nobody is writing it.
        match vfs.remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = vfs.open(&temporary, OpenMode::CreateNew)?;
        let buffer = Vec::with_capacity(BUFFER);
        let target = dir.join(name);
        Ok(NewFile {
            vfs,
            file,
            dir: dir.to_owned(),
            temporary,
            target,
            buffer,
            written: 0,
            published: false,
        })
    }

    /// Gives the file its name; returns its length. On `Ok` it survives a power cut.
    pub(super) fn publish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.file.sync_data()?;
        self.vfs.rename(&self.temporary, &self.target)?;
        self.published = true;
        self.vfs.sync_dir(&self.dir)?;
        Ok(self.written)
    }

    fn write_out(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_all_at(&*self.file, self.written, &mut [IoSlice::new(bytes)])?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl Write for NewFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            self.write_out(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut full = std::mem::take(&mut self.buffer);
        let result = self.write_out(&full);
        full.clear();
        self.buffer = full;
        result
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if !self.published {
            // Best effort: the next save of this name removes it too.
            self.vfs.remove_file(&self.temporary).ok();
        }
    }
}

/// A file read front to back.
pub(super) struct Source {
    file: Arc<dyn File>,
    len: u64,
    /// Where the next byte to be read from the file lies.
    offset: u64,
    buffer: Vec<u8>,
    taken: usize,
}

impl Source {
    pub(super) fn open(vfs: &dyn Vfs, path: &Path) -> io::Result<Self> {
        let file = vfs.open(path, OpenMode::Read)?;
        let len = file.len()?;
        Ok(Source { file, len, offset: 0, buffer: Vec::new(), taken: 0 })
    }

    /// Bytes between here and the end.
    pub(super) fn remaining(&self) -> u64 {
        self.len.saturating_sub(self.offset) + (self.buffer.len() - self.taken) as u64
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.resize(BUFFER, 0);
        self.taken = 0;
        loop {
            match self.file.read_at(self.offset, &mut self.buffer) {
                Ok(n) => {
                    self.buffer.truncate(n);
                    self.offset += n as u64;
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.buffer.clear();
                    return Err(e);
                }
            }
        }
    }
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.buffer.len() {
            self.fill()?;
        }
        let n = out.len().min(self.buffer.len() - self.taken);
        out[..n].copy_from_slice(&self.buffer[self.taken..self.taken + n]);
        self.taken += n;
        Ok(n)
    }
}
