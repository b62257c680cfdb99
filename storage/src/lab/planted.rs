//! Bugs on purpose, each one that databases really had: the laboratory must find every one of
//! them, or its silence about the real code means nothing.
//!
//! They are planted between the engine and its disk, so the engine has no line for them: a sync
//! that is not done, an error that is swallowed, a checksum that is made right on reading.

use std::{
    fmt,
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

use crate::{
    format::{
        checksum::crc32,
        file_name,
        frame::{self, HEADER_LEN},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    sim::around::{Around, wrap},
    vfs::{File, Vfs},
};

/// A bug that is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The log is acknowledged without having been synced.
    AcknowledgeBeforeSync,
    /// Names are never made durable: a file that was created, renamed or pruned may come or go.
    SkipDirectorySync,
    /// A snapshot is published before its blocks are on the disk.
    PublishUnsyncedSnapshot,
    /// The MANIFEST is not synced before what it no longer names is deleted.
    SkipManifestSync,
    /// After a failed sync the next one is believed (the bug class of "fsyncgate", 2018).
    IgnoreSyncError,
    /// A frame is taken for what its bytes say, whatever its checksum says.
    IgnoreChecksum,
    /// The log is pruned when the snapshot has its name, before the MANIFEST knows of it.
    PruneBeforePublish,
    /// A write that was cut short is taken for whole.
    IgnoreShortWrite,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 8] = [
        Planted::AcknowledgeBeforeSync,
        Planted::SkipDirectorySync,
        Planted::PublishUnsyncedSnapshot,
        Planted::SkipManifestSync,
        Planted::IgnoreSyncError,
        Planted::IgnoreChecksum,
        Planted::PruneBeforePublish,
        Planted::IgnoreShortWrite,
    ];

    /// It shows only when the disk fails.
    pub(super) fn needs_a_fault(self) -> bool {
        matches!(self, Planted::IgnoreSyncError | Planted::IgnoreShortWrite)
    }

    /// The file system as the engine with this bug would use it.
    pub(super) fn around(self, disk: Arc<dyn Vfs>) -> Arc<dyn Vfs> {
        wrap(disk, self)
    }
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Planted::AcknowledgeBeforeSync => "acknowledge before sync",
            Planted::SkipDirectorySync => "skip directory syncs",
            Planted::PublishUnsyncedSnapshot => "publish a snapshot that is not synced",
            Planted::SkipManifestSync => "skip the sync of the MANIFEST",
            Planted::IgnoreSyncError => "ignore a failed sync",
            Planted::IgnoreChecksum => "ignore a wrong checksum",
            Planted::PruneBeforePublish => "prune before the MANIFEST names the snapshot",
            Planted::IgnoreShortWrite => "ignore that a write was short",
        })
    }
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "wal")
}

fn is_in_snapshot(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "snap")
}

fn is_manifest(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST"))
}

impl Around for Planted {
    fn sync_data(&self, path: &Path, inner: &dyn File) -> io::Result<()> {
        match self {
            // The log is written to under the name that it was prepared with.
            Planted::AcknowledgeBeforeSync if !is_in_snapshot(path) && !is_manifest(path) => Ok(()),
            Planted::PublishUnsyncedSnapshot if is_in_snapshot(path) => Ok(()),
            Planted::SkipManifestSync if is_manifest(path) => Ok(()),
            Planted::IgnoreSyncError => inner.sync_data().or(Ok(())),
            _ => inner.sync_data(),
        }
    }

    fn sync_dir(&self, inner: &dyn Vfs, dir: &Path) -> io::Result<()> {
        if *self == Planted::SkipDirectorySync { Ok(()) } else { inner.sync_dir(dir) }
    }

    fn write_at(&self, _: &Path, inner: &dyn File, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = inner.write_at(offset, bufs)?;
        let whole = bufs.iter().map(|buf| buf.len()).sum();
        Ok(if *self == Planted::IgnoreShortWrite { whole } else { written })
    }

    fn rename(&self, inner: &dyn Vfs, from: &Path, to: &Path) -> io::Result<()> {
        inner.rename(from, to)?;
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_snapshot = name(to).is_some_and(|name| file_name::parse_snapshot(&name).is_some());
        match (self, to.parent().and_then(Path::parent)) {
            (Planted::PruneBeforePublish, Some(data)) if is_snapshot => {
                prune(inner, &data.join(file_name::WAL_DIR))
            }
            _ => Ok(()),
        }
    }

    fn drop_cache(&self, path: &Path, inner: &dyn File) -> io::Result<()> {
        // It would sync what is still on its way.
        if *self == Planted::PublishUnsyncedSnapshot && is_in_snapshot(path) {
            Ok(())
        } else {
            inner.drop_cache()
        }
    }

    fn read_at(&self, path: &Path, inner: &dyn File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let read = inner.read_at(offset, buf)?;
        if *self == Planted::IgnoreChecksum && is_segment(path) && offset == 0 {
            believe_frames(&mut buf[..read]);
        }
        Ok(read)
    }
}

/// Removes all segments but the newest.
fn prune(inner: &dyn Vfs, wal: &Path) -> io::Result<()> {
    let mut segments: Vec<String> = inner.list(wal)?.into_iter().map(|entry| entry.name).collect();
    segments.retain(|name| file_name::parse_segment(name).is_some());
    segments.sort();
    segments.pop();
    segments.iter().try_for_each(|name| inner.remove_file(&wal.join(name)))
}

/// Makes the checksum of every frame fit its payload. The last segment is the one that a start reads
/// whole, from its first byte.
fn believe_frames(bytes: &mut [u8]) {
    let Ok(header) = SegmentHeader::decode(bytes) else { return };
    let mut at = SEGMENT_HEADER_LEN;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| rest.len() >= HEADER_LEN) {
        let len = u32::from_le_bytes([rest[8], rest[9], rest[10], rest[11]]) as usize;
        let end = HEADER_LEN + len;
        if rest[12] == 0 || end > rest.len() {
            return;
        }
        let (head, payload) = rest.split_at_mut(HEADER_LEN);
        let crc = crc32(&[&payload[..len]]);
        if head[4..8] != crc.to_le_bytes() {
            head[4..8].copy_from_slice(&crc.to_le_bytes());
            let crc = header.salt.crc32(&[&head[4..]]);
            head[..4].copy_from_slice(&crc.to_le_bytes());
        }
        at += frame::disk_len(len);
    }
}
