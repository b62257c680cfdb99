//! A file of a snapshot. First byte: 0 header and blocks as they are, 1 a block with a right
//! checksum, else the rest is the inflated content of a block in a file that is right otherwise,
//! and is read as a start reads it.
#![no_main]

use std::path::Path;

use emberkeep_fuzz::{DATASET, SALT};
use emberkeep_storage::{
    ErrorKind,
    format::{
        manifest::{GroupMeta, SnapshotMeta},
        snapshot::{
            BLOCK_HEADER_LEN, Block, BlockDecoder, BlockEncoder, SNAPSHOT_EDGE_LEN, SnapshotFooter,
            SnapshotHeader, decode_entries,
        },
    },
    sim::disk::SimDisk,
    snapshot::reader::{Expected, read_group},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else { return };
    match mode {
        0 => {
            if let Ok(header) = SnapshotHeader::decode(bytes, SALT) {
                assert_eq!(header.encode(SALT)[..12], bytes[..12]);
            }
            block(bytes);
        }
        1 => {
            let mut bytes = bytes.to_vec();
            if bytes.len() >= BLOCK_HEADER_LEN {
                let stored_len = (bytes.len() - BLOCK_HEADER_LEN) as u32;
                bytes[4..8].copy_from_slice(&stored_len.to_le_bytes());
                // What a block may inflate to is bounded elsewhere; here it only takes time.
                bytes[11] = 0;
                bytes[16..20].copy_from_slice(&1u32.to_le_bytes());
                let crc = SALT.crc32(&[&bytes[4..]]);
                bytes[..4].copy_from_slice(&crc.to_le_bytes());
            }
            block(&bytes);
        }
        count => file(bytes, u32::from(*count - 1)),
    }
});

fn block(bytes: &[u8]) {
    match BlockDecoder::default().decode(bytes, SALT) {
        Ok(Block::Footer(footer)) => {
            let again = footer.encode(SALT);
            assert_eq!(again[..60], bytes[..60]);
        }
        Ok(Block::Entries(raw, count, len)) => {
            assert!(len <= bytes.len());
            entries(raw, count);
        }
        Err(_) => {}
    }
}

fn entries(raw: &[u8], count: u32) -> Option<u32> {
    let mut again = Vec::new();
    let mut seen = 0;
    let outcome = decode_entries(raw, count, |entry| {
        entry.encode(&mut again);
        seen += 1;
    });
    assert_eq!(again, raw[..again.len()], "what decodes is what we write");
    outcome.ok().map(|()| {
        assert_eq!((seen, again.len()), (count, raw.len()));
        seen
    })
}

fn file(raw: &[u8], count: u32) {
    let mut bytes = SnapshotHeader { group: 0, dataset_id: DATASET, begin: 5, begin_crc: 6 }.encode(SALT);
    bytes.extend(BlockEncoder::default().encode(raw, count, SALT));
    let file_len = (bytes.len() + BLOCK_HEADER_LEN + SNAPSHOT_EDGE_LEN) as u64;
    let footer = SnapshotFooter { end: 7, end_crc: 8, entries: u64::from(count), blocks: 1, file_len };
    bytes.extend(footer.encode(SALT));
    let disk = SimDisk::new();
    let path = Path::new("/000.snap");
    disk.write_file(path, &bytes);
    let meta = SnapshotMeta {
        begin: 5,
        begin_crc: 6,
        end: 7,
        end_crc: 8,
        groups: vec![GroupMeta { len: file_len, entries: u64::from(count) }],
    };
    let expected = Expected { snapshot: &meta, group: 0, dataset_id: DATASET, salt: SALT };
    let mut seen = 0;
    match read_group(&disk, path, expected, &mut |_| seen += 1) {
        Ok(()) => assert_eq!(entries(raw, count), Some(seen)),
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{e}");
            assert_eq!(entries(raw, count), None);
        }
    }
}
