//! Writes one file of a snapshot, block by block.
//!
//! Holds one block in memory, and nothing after [`end_entries`](GroupWriter::end_entries). Syncs on
//! the way: a sync of everything at the end would keep the disk from the log for long.

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{Error, Result},
    format::{
        checksum::Salt,
        manifest::GroupMeta,
        snapshot::{
            BLOCK_HEADER_LEN, BLOCK_TARGET_LEN, BlockEncoder, SNAPSHOT_EDGE_LEN, SnapshotEntry,
            SnapshotFooter, SnapshotHeader,
        },
    },
    vfs::{File, OpenMode, Vfs, write_all_at},
};

/// Bytes after which what was written is synced.
const SYNC_EVERY: u64 = 4 << 20;

/// A snapshot file in the making.
#[derive(Debug)]
pub struct GroupWriter {
    file: Arc<dyn File>,
    path: PathBuf,
    salt: Salt,
    offset: u64,
    synced: u64,
    raw: Vec<u8>,
    encoder: BlockEncoder,
    in_block: u32,
    entries: u64,
    blocks: u64,
}

impl GroupWriter {
    /// Creates the file and writes its header.
    ///
    /// # Errors
    /// `Io` or `Full`.
    pub fn create(vfs: &dyn Vfs, path: &Path, header: &SnapshotHeader, salt: Salt) -> Result<GroupWriter> {
        let file = vfs
            .open(path, OpenMode::CreateNew)
            .map_err(|e| Error::io(format!("cannot create a snapshot file={}", path.display()), e))?;
        let mut writer = GroupWriter {
            file,
            path: path.to_owned(),
            salt,
            offset: 0,
            synced: 0,
            raw: Vec::new(),
            encoder: BlockEncoder::default(),
            in_block: 0,
            entries: 0,
            blocks: 0,
        };
        writer.write(&header.encode(salt))?;
        Ok(writer)
    }

    /// Adds an entry; gives the bytes that went to the file by it, mostly none.
    ///
    /// # Errors
    /// `Io` or `Full`.
    pub fn push(&mut self, entry: &SnapshotEntry<'_>) -> Result<u64> {
        entry.encode(&mut self.raw);
        self.in_block += 1;
        self.entries += 1;
        if self.raw.len() < BLOCK_TARGET_LEN { Ok(0) } else { self.close_block() }
    }

    /// Writes what is left of the entries; gives the bytes that went to the file by it.
    ///
    /// # Errors
    /// `Io` or `Full`.
    pub fn end_entries(&mut self) -> Result<u64> {
        let wrote = self.close_block()?;
        (self.raw, self.encoder) = (Vec::new(), BlockEncoder::default());
        Ok(wrote)
    }

    /// Writes the footer, and syncs the file.
    ///
    /// # Errors
    /// `Io` or `Full`: the file is to be thrown away, its sync is not repeated.
    pub fn finish(mut self, end: u64, end_crc: u32) -> Result<GroupMeta> {
        self.end_entries()?;
        let file_len = self.offset + (BLOCK_HEADER_LEN + SNAPSHOT_EDGE_LEN) as u64;
        let footer = SnapshotFooter { end, end_crc, entries: self.entries, blocks: self.blocks, file_len };
        self.write(&footer.encode(self.salt))?;
        self.file.sync_data().map_err(|e| self.failed(e))?;
        // What is verified next must come from the disk.
        self.file.drop_cache().map_err(|e| self.failed(e))?;
        Ok(GroupMeta { len: file_len, entries: self.entries })
    }

    fn close_block(&mut self) -> Result<u64> {
        if self.in_block == 0 {
            return Ok(0);
        }
        let block = self.encoder.encode(&self.raw, self.in_block, self.salt);
        let len = block.len() as u64;
        write_all_at(&*self.file, self.offset, &mut [IoSlice::new(block)]).map_err(|e| self.failed(e))?;
        self.offset += len;
        self.raw.clear();
        // One huge value must not keep its memory for the rest of the snapshot.
        self.raw.shrink_to(2 * BLOCK_TARGET_LEN);
        self.in_block = 0;
        self.blocks += 1;
        if self.offset - self.synced >= SYNC_EVERY {
            self.file.sync_data().map_err(|e| self.failed(e))?;
            self.synced = self.offset;
        }
        Ok(len)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        write_all_at(&*self.file, self.offset, &mut [IoSlice::new(bytes)]).map_err(|e| self.failed(e))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, e: std::io::Error) -> Error {
        Error::io(format!("cannot write a snapshot file={}", self.path.display()), e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::op::Put, sim::disk::SimDisk};

    /// A fork of the process doubles its memory elsewhere.
    #[test]
    fn a_file_in_the_making_keeps_no_more_than_a_block_and_a_finished_one_nothing() {
        let header = SnapshotHeader { group: 0, dataset_id: [1; 16], begin: 1, begin_crc: 2 };
        let mut writer = GroupWriter::create(&SimDisk::new(), Path::new("/file"), &header, Salt(3)).unwrap();
        let value = [7; 10_000];
        let put = Put {
            key: "key".into(),
            type_tag: 0,
            deadline: None,
            version: None,
            encoding: None,
            content_type: b"",
            value: &value,
        };
        let mut wrote = 0;
        for lsn in 1..=200 {
            wrote += writer.push(&SnapshotEntry { lsn, hint: 0, rank: 0, put }).unwrap();
            assert!(writer.raw.capacity() <= 2 * BLOCK_TARGET_LEN, "lsn={lsn}");
        }
        assert!(wrote > 0 && writer.blocks == 7);
        assert!(writer.end_entries().unwrap() > 0);
        assert_eq!(writer.raw.capacity(), 0);
    }
}
