//! Reads one file of a snapshot and checks every byte of it.

use std::path::Path;

use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        Defect,
        checksum::Salt,
        manifest::{GroupMeta, SnapshotMeta},
        snapshot::{
            Block, SNAPSHOT_EDGE_LEN, SnapshotEntry, SnapshotFooter, SnapshotHeader, decode_block,
            decode_entries,
        },
    },
    vfs::{OpenMode, Vfs},
};

/// What a file must be to belong to the snapshot that the MANIFEST names.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The snapshot.
    pub snapshot: &'a SnapshotMeta,
    /// Which of its files.
    pub group: usize,
    /// Which data set.
    pub dataset_id: [u8; 16],
    /// Seed of the checksums.
    pub salt: Salt,
}

/// Gives every entry of the file to `each`. An error may come after some entries were given.
///
/// # Errors
/// `Corrupt` with file and offset; `Unsupported` for a newer format; `Io`.
pub fn read_group(
    vfs: &dyn Vfs,
    path: &Path,
    expected: Expected<'_>,
    each: &mut dyn FnMut(SnapshotEntry<'_>),
) -> Result<()> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::corrupt(path, 0, "snapshot file is missing").with_lsns(0, expected.snapshot.end)
        }
        _ => Error::io(format!("cannot read a snapshot file={}", path.display()), e),
    };
    let bytes = vfs.open(path, OpenMode::Read).and_then(|file| file.map()).map_err(failed)?;
    check(&bytes, expected, each).map_err(|(offset, defect)| match defect {
        // All but the version stand behind a checksum that is right.
        Defect::Version(_) | Defect::Features(_) | Defect::Unknown | Defect::Reserved => {
            Error::new(ErrorKind::Unsupported, format!("snapshot: {defect} file={}", path.display()))
        }
        defect => Error::corrupt(path, offset as u64, format!("snapshot: {defect}"))
            .with_lsns(0, expected.snapshot.end),
    })
}

fn check(
    bytes: &[u8],
    expected: Expected<'_>,
    each: &mut dyn FnMut(SnapshotEntry<'_>),
) -> Result<(), (usize, Defect)> {
    let Expected { snapshot, group, dataset_id, salt } = expected;
    let meta: &GroupMeta = snapshot.groups.get(group).ok_or((0, Defect::Length))?;
    if bytes.len() as u64 != meta.len {
        return Err((bytes.len().min(meta.len as usize), Defect::Length));
    }
    let header = SnapshotHeader::decode(bytes, salt).map_err(|d| (0, d))?;
    let right = SnapshotHeader {
        group: group as u16,
        dataset_id,
        begin: snapshot.begin,
        begin_crc: snapshot.begin_crc,
    };
    if header != right {
        return Err((0, Defect::Malformed));
    }
    let mut offset = SNAPSHOT_EDGE_LEN;
    let (mut entries, mut blocks) = (0, 0);
    let footer = loop {
        match decode_block(&bytes[offset..], salt).map_err(|d| (offset, d))? {
            Block::Footer(footer) => break footer,
            Block::Entries(raw, count, len) => {
                decode_entries(&raw, count, &mut *each).map_err(|d| (offset, d))?;
                entries += u64::from(count);
                blocks += 1;
                offset += len;
            }
        }
    };
    let right = SnapshotFooter {
        end: snapshot.end,
        end_crc: snapshot.end_crc,
        entries,
        blocks,
        file_len: bytes.len() as u64,
    };
    if footer != right || entries != meta.entries {
        return Err((offset, Defect::Malformed));
    }
    Ok(())
}
