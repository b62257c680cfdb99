//! A file system that forgets the log, so that the work in memory can be measured alone.
//!
//! Whatever is written to a segment is thrown away, and no blocks are set aside for it. All else
//! is done as usual. What an engine writes here can never be opened again.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

use crate::{
    sim::around::{Around, wrap},
    vfs::{File, Vfs},
};

/// A file system like `inner`, without the contents of the log.
pub fn no_log(inner: Arc<dyn Vfs>) -> Arc<dyn Vfs> {
    wrap(inner, NoLog)
}

#[derive(Debug)]
struct NoLog;

/// Segments, those that are prepared included, lie in a directory of their own.
fn is_log(path: &Path) -> bool {
    path.parent().is_some_and(|dir| dir.ends_with("wal"))
}

impl Around for NoLog {
    fn write_at(
        &self,
        path: &Path,
        inner: &dyn File,
        offset: u64,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if is_log(path) { Ok(bufs.iter().map(|buf| buf.len()).sum()) } else { inner.write_at(offset, bufs) }
    }

    fn allocate(&self, path: &Path, inner: &dyn File, len: u64) -> io::Result<()> {
        if is_log(path) { inner.set_len(len) } else { inner.allocate(len) }
    }
}
