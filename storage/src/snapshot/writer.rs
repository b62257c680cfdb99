//! Writes one file of a snapshot, block by block; holds one block in memory.

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
            BLOCK_HEADER_LEN, BLOCK_TARGET_LEN, SNAPSHOT_EDGE_LEN, SnapshotEntry, SnapshotFooter,
            SnapshotHeader, encode_block,
        },
    },
    vfs::{File, OpenMode, Vfs, write_all_at},
};

/// A snapshot file in the making.
#[derive(Debug)]
pub struct GroupWriter {
    file: Arc<dyn File>,
    path: PathBuf,
    salt: Salt,
    offset: u64,
    raw: Vec<u8>,
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
            raw: Vec::new(),
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

    /// Writes what is left and the footer, and syncs the file.
    ///
    /// # Errors
    /// `Io` or `Full`: the file is to be thrown away, its sync is not repeated.
    pub fn finish(mut self, end: u64, end_crc: u32) -> Result<GroupMeta> {
        self.close_block()?;
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
        let block = encode_block(&self.raw, self.in_block, self.salt);
        self.raw.clear();
        // One huge value must not keep its memory for the rest of the snapshot.
        self.raw.shrink_to(2 * BLOCK_TARGET_LEN);
        self.in_block = 0;
        self.blocks += 1;
        self.write(&block)?;
        Ok(block.len() as u64)
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
