//! What a single file is: told by its first bytes, checked as far as it can be by itself.
//!
//! Secrets are not told: the salt, and what is computed from it. A snapshot file can only be
//! checked with the salt of its data set, which is looked for in the MANIFEST of the directory
//! that it lies in, or of the one that is named.

use std::{path::Path, sync::Arc};

use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        Defect, FORMAT_VERSION,
        checksum::Salt,
        frame,
        manifest::{MANIFEST_BODY_MAX, Manifest},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
        snapshot::{Block, BlockDecoder, SNAPSHOT_EDGE_LEN, SnapshotEntry, SnapshotHeader, decode_entries},
    },
    lsn::LogPosition,
    manifest::ManifestStore,
    offline::walk::chain_before,
    vfs::{OpenMode, Vfs, read_exact_at},
    wal::scan::{Scan, vouching_mark},
};

/// A number or a text about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

/// How sound the file is, by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Soundness {
    /// Every checksum is right.
    Whole,
    /// A segment ends in bytes that do not verify, and nothing in it says that they ever did.
    Torn(String),
    /// A checksum is wrong, or something is missing.
    Damaged(String),
    /// It cannot be checked by itself.
    Unchecked(String),
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// In words.
    pub what: &'static str,
    /// What it says, by name, in order.
    pub facts: Vec<(&'static str, Fact)>,
    /// How sound it is.
    pub soundness: Soundness,
}

/// Looks at one file; `data_dir` is where the MANIFEST is, unless it is two directories above.
///
/// # Errors
/// `Unsupported` if the file is not ours or from a newer version, `Io`.
pub fn inspect(vfs: &Arc<dyn Vfs>, path: &Path, data_dir: Option<&Path>) -> Result<Inspection> {
    let bytes = read(&**vfs, path)
        .map_err(|e| Error::io(format!("cannot read the file file={}", path.display()), e))?;
    let found = match bytes.first_chunk::<8>() {
        Some(b"EMBRKWAL") => segment(&bytes),
        Some(b"EMBRKMAN") => manifest(&bytes),
        Some(b"EMBRKSNP") => snapshot(&bytes, salt_for(vfs, path, data_dir)),
        _ if path.extension().is_some_and(|e| e == "spare") => spare(&bytes),
        _ => Err(Defect::Magic),
    };
    found.map_err(|defect| {
        let what = match defect {
            Defect::Magic if bytes.is_empty() => "an empty file: nothing tells what it is".to_owned(),
            Defect::Magic => "this is no file of ours".to_owned(),
            defect => format!("this file is of a newer version: {defect}"),
        };
        Error::new(ErrorKind::Unsupported, format!("{what} file={}", path.display()))
    })
}

fn read(vfs: &dyn Vfs, path: &Path) -> std::io::Result<Vec<u8>> {
    let file = vfs.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; file.len()? as usize];
    read_exact_at(&*file, 0, &mut bytes)?;
    Ok(bytes)
}

fn is_newer(defect: Defect) -> bool {
    matches!(defect, Defect::Version(_) | Defect::Unknown)
}

fn damaged(what: &'static str, facts: Vec<(&'static str, Fact)>, why: impl ToString) -> Inspection {
    Inspection { what, facts, soundness: Soundness::Damaged(why.to_string()) }
}

fn number(name: &'static str, n: u64) -> (&'static str, Fact) {
    (name, Fact::Number(n))
}

fn id(name: &'static str, id: [u8; 16]) -> (&'static str, Fact) {
    (name, Fact::Text(id.iter().map(|b| format!("{b:02x}")).collect()))
}

fn version() -> (&'static str, Fact) {
    number("format_version", u64::from(FORMAT_VERSION))
}

fn segment(bytes: &[u8]) -> Result<Inspection, Defect> {
    const WHAT: &str = "log segment";
    let header = match SegmentHeader::decode(bytes) {
        Ok(header) => header,
        Err(defect) if is_newer(defect) => return Err(defect),
        Err(defect) => return Ok(damaged(WHAT, vec![number("bytes", bytes.len() as u64)], defect)),
    };
    let mut scan = Scan::new(bytes, header, chain_before(&header));
    let (mut frames, mut marks) = (0, 0);
    let bad = loop {
        match scan.next() {
            None => break None,
            Some(Err(bad)) => break Some(bad),
            Some(Ok((frame, _))) if frame.header.kind == frame::Kind::Mark => marks += 1,
            Some(Ok(_)) => frames += 1,
        }
    };
    let end = scan.offset();
    let rest = bytes[end as usize..].iter().rposition(|b| *b != 0).map_or(0, |at| at as u64 + 1);
    let facts = vec![
        version(),
        id("dataset_id", header.dataset_id),
        id("run_id", header.run_id),
        number("created_ms", header.created.0),
        number("first_lsn", header.first_index),
        number("last_lsn", scan.chain().index),
        number("term", u64::from(scan.chain().term)),
        number("previous_segment", header.prev_segment),
        number("previous_bytes", header.prev_end),
        number("frames", frames),
        number("marks", marks),
        number("end", end),
        number("bytes", bytes.len() as u64),
        number("unread_bytes", rest),
    ];
    let at = LogPosition { segment: header.first_index, offset: end };
    let soundness = match bad.filter(|_| rest > 0) {
        None => Soundness::Whole,
        Some(bad) if vouching_mark(bytes, &header, at).is_some() => {
            Soundness::Damaged(format!("{bad}, offset={end}; these bytes were durable once"))
        }
        Some(bad) => Soundness::Torn(format!("{bad}, offset={end}")),
    };
    Ok(Inspection { what: WHAT, facts, soundness })
}

fn manifest(bytes: &[u8]) -> Result<Inspection, Defect> {
    const WHAT: &str = "MANIFEST";
    let bytes = &bytes[..bytes.len().min(MANIFEST_BODY_MAX + SEGMENT_HEADER_LEN)];
    let (generation, m) = match Manifest::decode(bytes) {
        Ok(found) => found,
        Err(defect) if is_newer(defect) => return Err(defect),
        Err(defect) => return Ok(damaged(WHAT, vec![], defect)),
    };
    let mut facts = vec![
        version(),
        number("generation", generation),
        id("dataset_id", m.dataset_id),
        id("node_id", m.node_id),
        number("term", m.term),
        number("clock_floor_ms", m.clock_floor_ms),
        number("segments", m.segments.len() as u64),
    ];
    if let (Some(first), Some(last)) = (m.segments.first(), m.segments.last()) {
        facts.push(number("first_segment", first.first_index));
        facts.push(number("last_segment", last.first_index));
    }
    if let Some(s) = &m.snapshot {
        facts.push(number("snapshot_begin", s.begin));
        facts.push(number("snapshot_end", s.end));
        facts.push(number("snapshot_files", s.groups.len() as u64));
        facts.push(number("snapshot_entries", s.groups.iter().map(|g| g.entries).sum()));
    }
    let stop = match &m.clean {
        Some(clean) => {
            format!("clean, last_lsn={} segment={} end={}", clean.last_index, clean.segment, clean.end)
        }
        None => "unclean, or still running".to_owned(),
    };
    facts.push(("last_stop", Fact::Text(stop)));
    Ok(Inspection { what: WHAT, facts, soundness: Soundness::Whole })
}

fn salt_for(vfs: &Arc<dyn Vfs>, path: &Path, data_dir: Option<&Path>) -> Option<Salt> {
    let above = path.ancestors().nth(3);
    let here = Path::new(".");
    let dir = data_dir.or(above.map(|dir| if dir.as_os_str().is_empty() { here } else { dir }))?;
    // Without a MANIFEST the file is not checked, which is told.
    let (store, _) = ManifestStore::load(vfs, dir).ok()??;
    Some(Salt(store.current().salt))
}

fn snapshot(bytes: &[u8], salt: Option<Salt>) -> Result<Inspection, Defect> {
    const WHAT: &str = "snapshot file";
    let mut facts = vec![number("bytes", bytes.len() as u64)];
    if bytes.len() < SNAPSHOT_EDGE_LEN {
        return Ok(damaged(WHAT, facts, Defect::Truncated));
    }
    let Some(salt) = salt else {
        let why = "its checksums need the MANIFEST of its data directory; name that with --data-dir";
        return Ok(Inspection { what: WHAT, facts, soundness: Soundness::Unchecked(why.into()) });
    };
    let header = match SnapshotHeader::decode(bytes, salt) {
        Ok(header) => header,
        Err(defect) if is_newer(defect) => return Err(defect),
        Err(defect) => return Ok(damaged(WHAT, facts, defect)),
    };
    facts.insert(0, version());
    facts.push(id("dataset_id", header.dataset_id));
    facts.push(number("group", u64::from(header.group)));
    facts.push(number("begin", header.begin));
    let (mut entries, mut blocks, mut offset) = (0, 0, SNAPSHOT_EDGE_LEN);
    let (mut compressed, mut value_bytes, mut raw_value_bytes) = (0, 0, 0);
    let mut decoder = BlockDecoder::default();
    let outcome = loop {
        match decoder.decode(&bytes[offset..], salt) {
            Err(defect) => break Err(defect),
            Ok(Block::Footer(footer)) => {
                facts.push(number("end", footer.end));
                let right = (footer.entries, footer.blocks, footer.file_len);
                let same = right == (entries, blocks, bytes.len() as u64);
                break if same { Ok(()) } else { Err(Defect::Malformed) };
            }
            Ok(Block::Entries(raw, count, len)) => {
                let add = |entry: SnapshotEntry<'_>| {
                    let put = entry.put;
                    compressed += u64::from(put.encoding.is_some());
                    value_bytes += put.value.len() as u64;
                    raw_value_bytes += put.encoding.map_or(put.value.len() as u64, |e| u64::from(e.raw_len));
                };
                if let Err(defect) = decode_entries(raw, count, add) {
                    break Err(defect);
                }
                (entries, blocks, offset) = (entries + u64::from(count), blocks + 1, offset + len);
            }
        }
    };
    facts.push(number("entries", entries));
    facts.push(number("blocks", blocks));
    facts.push(number("value_bytes", value_bytes));
    facts.push(number("raw_value_bytes", raw_value_bytes));
    facts.push(number("compressed_values", compressed));
    match outcome {
        Ok(()) => Ok(Inspection { what: WHAT, facts, soundness: Soundness::Whole }),
        Err(defect) if is_newer(defect) => Err(defect),
        Err(defect) => Ok(damaged(WHAT, facts, format!("{defect}, offset={offset}"))),
    }
}

fn spare(bytes: &[u8]) -> Result<Inspection, Defect> {
    if bytes.iter().any(|b| *b != 0) && bytes.first_chunk::<8>() != Some(b"EMBRKWAL") {
        return Err(Defect::Magic);
    }
    let facts = vec![number("bytes", bytes.len() as u64)];
    Ok(Inspection { what: "prepared log segment, zeros only", facts, soundness: Soundness::Whole })
}
