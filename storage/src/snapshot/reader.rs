//! Reads one file of a snapshot and checks every byte of it.

use std::{io, path::Path, sync::Arc};

use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        Defect,
        checksum::Salt,
        manifest::{GroupMeta, SnapshotMeta},
        snapshot::{
            BLOCK_HEADER_LEN, Block, BlockDecoder, SNAPSHOT_EDGE_LEN, SnapshotEntry, SnapshotFooter,
            SnapshotHeader, block_len_claimed, decode_entries,
        },
    },
    vfs::{File, Mapped, OpenMode, Vfs, read_exact_at},
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
    let opened = vfs.open(path, OpenMode::Read).and_then(|file| file.map());
    let outcome = opened
        .map_err(Failed::Io)
        .and_then(|bytes| check(&mut Source::Mapped(bytes), expected, each, &mut |_| Ok(())));
    outcome.map_err(|failed| failed.told(path, expected))
}

/// Checks the file while other work goes on: reads block after block into one buffer and maps
/// nothing, and calls `pace` after each with its length.
///
/// # Errors
/// As [`read_group`], and what `pace` returns.
pub fn verify_group(
    vfs: &dyn Vfs,
    path: &Path,
    expected: Expected<'_>,
    pace: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let opened = vfs.open(path, OpenMode::Read).and_then(|file| {
        let len = file.len()?;
        Ok(Source::Streamed { file, len, buffer: Vec::new() })
    });
    let outcome =
        opened.map_err(Failed::Io).and_then(|mut source| check(&mut source, expected, &mut |_| {}, pace));
    outcome.map_err(|failed| failed.told(path, expected))
}

/// Where the bytes come from.
enum Source {
    Mapped(Mapped),
    Streamed { file: Arc<dyn File>, len: u64, buffer: Vec<u8> },
}

impl Source {
    fn len(&self) -> u64 {
        match self {
            Source::Mapped(bytes) => bytes.len() as u64,
            Source::Streamed { len, .. } => *len,
        }
    }

    /// The bytes from `offset` on: a whole block at least, or all there are.
    fn block(&mut self, offset: usize) -> io::Result<&[u8]> {
        let (file, len, buffer) = match self {
            Source::Mapped(bytes) => return Ok(&bytes[offset..]),
            Source::Streamed { file, len, buffer } => (file, *len as usize, buffer),
        };
        buffer.clear();
        read_more(&**file, offset, BLOCK_HEADER_LEN.min(len - offset), buffer)?;
        if let Some(head) = buffer.first_chunk() {
            let claimed = block_len_claimed(head).min(len - offset);
            read_more(&**file, offset, claimed, buffer)?;
        }
        Ok(buffer)
    }
}

/// Reads on until there are `len` bytes from `offset` on.
fn read_more(file: &dyn File, offset: usize, len: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    let had = buffer.len();
    buffer.resize(len, 0);
    read_exact_at(file, (offset + had) as u64, &mut buffer[had..])
}

enum Failed {
    Io(io::Error),
    Defect(usize, Defect),
    /// `pace` has ended it.
    Ended(Error),
}

impl Failed {
    fn told(self, path: &Path, expected: Expected<'_>) -> Error {
        let corrupt = |offset: usize, what: String| {
            Error::corrupt(path, offset as u64, what).with_lsns(0, expected.snapshot.end)
        };
        match self {
            Failed::Ended(error) => error,
            Failed::Io(e) if e.kind() == io::ErrorKind::NotFound => {
                corrupt(0, "snapshot file is missing".into())
            }
            Failed::Io(e) => Error::io(format!("cannot read a snapshot file={}", path.display()), e),
            // All but the version stand behind a checksum that is right.
            Failed::Defect(
                _,
                defect @ (Defect::Version(_) | Defect::Features(_) | Defect::Unknown | Defect::Reserved),
            ) => Error::new(ErrorKind::Unsupported, format!("snapshot: {defect} file={}", path.display())),
            Failed::Defect(offset, defect) => corrupt(offset, format!("snapshot: {defect}")),
        }
    }
}

fn check(
    source: &mut Source,
    expected: Expected<'_>,
    each: &mut dyn FnMut(SnapshotEntry<'_>),
    pace: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<(), Failed> {
    let Expected { snapshot, group, dataset_id, salt } = expected;
    let meta: &GroupMeta = snapshot.groups.get(group).ok_or(Failed::Defect(0, Defect::Length))?;
    let file_len = source.len();
    if file_len != meta.len {
        return Err(Failed::Defect(file_len.min(meta.len) as usize, Defect::Length));
    }
    let header = header(source).map_err(Failed::Io)?;
    let header = SnapshotHeader::decode(&header, salt).map_err(|d| Failed::Defect(0, d))?;
    let right = SnapshotHeader {
        group: group as u16,
        dataset_id,
        begin: snapshot.begin,
        begin_crc: snapshot.begin_crc,
    };
    if header != right {
        return Err(Failed::Defect(0, Defect::Malformed));
    }
    let mut offset = SNAPSHOT_EDGE_LEN;
    let (mut entries, mut blocks) = (0, 0);
    let mut decoder = BlockDecoder::default();
    let footer = loop {
        let bytes = source.block(offset).map_err(Failed::Io)?;
        match decoder.decode(bytes, salt).map_err(|d| Failed::Defect(offset, d))? {
            Block::Footer(footer) => break footer,
            Block::Entries(raw, count, len) => {
                decode_entries(raw, count, &mut *each).map_err(|d| Failed::Defect(offset, d))?;
                entries += u64::from(count);
                blocks += 1;
                offset += len;
                pace(len as u64).map_err(Failed::Ended)?;
            }
        }
    };
    let right = SnapshotFooter { end: snapshot.end, end_crc: snapshot.end_crc, entries, blocks, file_len };
    if footer != right || entries != meta.entries {
        return Err(Failed::Defect(offset, Defect::Malformed));
    }
    Ok(())
}

/// The first bytes of the file, fewer if it is shorter.
fn header(source: &mut Source) -> io::Result<Vec<u8>> {
    let len = source.len().min(SNAPSHOT_EDGE_LEN as u64) as usize;
    match source {
        Source::Mapped(bytes) => Ok(bytes[..len].to_vec()),
        Source::Streamed { file, .. } => {
            let mut header = Vec::new();
            read_more(&**file, 0, len, &mut header)?;
            Ok(header)
        }
    }
}
