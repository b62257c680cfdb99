//! The bytes of format version 1, pinned: a log segment, a MANIFEST, a file of a snapshot, and a
//! whole data directory as a crash has left it. Every later release must read them.
//!
//! `EMBERKEEP_BLESS=1 cargo test -p emberkeep-storage --test main golden` writes the files anew.
//! That is for a new version of the format, beside the old files; after version 1 was released, a
//! changed file under `golden/v1/` is forbidden: it would mean that data on somebody's disk is not
//! readable any more, or not any more what it was.
//!
//! What zstd makes of a block may change with zstd: of snapshots the decoding is pinned, and the
//! encoding of everything but the compressed bytes.

#![expect(clippy::disallowed_methods, reason = "golden files are files of the repository")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use emberkeep_storage::{
    Action, BatchOp, Condition, ErrorKind, Expiry, Fsync, Key, Settings, UnixMillis, Write,
    format::{
        checksum::{Salt, crc32},
        frame::{Frame, Header, Kind, disk_len},
        manifest::{CleanStop, GroupMeta, Manifest, SegmentMeta, SnapshotMeta},
        op::{Encoding, Op, Put},
        payload::{MARK_LEN, Mark, Payload, Reason, TermStart, encode_flush, encode_remove, encode_txn},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
        snapshot::{
            BLOCK_HEADER_LEN, Block, BlockDecoder, BlockEncoder, SNAPSHOT_EDGE_LEN, SnapshotEntry,
            SnapshotFooter, SnapshotHeader, decode_entries,
        },
    },
    lsn::LogPosition,
    sim::{clock::SimClock, disk::SimDisk},
    wal::scan::{Chain, Scan},
};

use crate::lab::{DIR, Lab, same_tree, small, tree};

const SALT: Salt = Salt(0x0123_4567_89ab_cdef);
const DATASET: [u8; 16] = *b"golden data set.";
const NODE: [u8; 16] = *b"golden node 0001";
const RUN: [u8; 16] = *b"golden run 00042";
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(name)
}

fn blessing() -> bool {
    std::env::var_os("EMBERKEEP_BLESS").is_some_and(|v| v == "1")
}

/// The golden bytes, which `encoded` must be; or, if so asked, makes `encoded` the golden bytes.
fn pinned(name: &str, encoded: &[u8]) -> Vec<u8> {
    let path = golden(name);
    if blessing() {
        fs::write(&path, encoded).unwrap();
    }
    let golden = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; {HOW_TO_BLESS}", path.display()));
    same_bytes(name, encoded, &golden);
    golden
}

const HOW_TO_BLESS: &str = "to write it: EMBERKEEP_BLESS=1 cargo test -p emberkeep-storage --test main golden; \
     but a file of golden/v1 that was released may never change: a new layout is a new version in a new directory";

fn same_bytes(name: &str, encoded: &[u8], golden: &[u8]) {
    let differs = encoded.iter().zip(golden).position(|(a, b)| a != b);
    let at = differs.unwrap_or(encoded.len().min(golden.len()));
    assert!(
        encoded == golden,
        "golden/v1/{name} is not what is encoded today: first difference at offset={at} encoded={:02x?} golden={:02x?} encoded_len={} golden_len={}; {HOW_TO_BLESS}",
        encoded.get(at),
        golden.get(at),
        encoded.len(),
        golden.len()
    );
}

// ---- a log segment ----

fn segment_header() -> SegmentHeader {
    SegmentHeader {
        dataset_id: DATASET,
        salt: SALT,
        run_id: RUN,
        first_index: 1042,
        prev_crc: 0xfeed_beef,
        prev_term: 6,
        prev_index: 41,
        prev_segment: 7,
        prev_end: 8192,
        created: NOW,
    }
}

fn key(namespace: u16, bytes: &[u8]) -> Key<'_> {
    Key { namespace, bytes }
}

/// A put with every field that is optional.
fn full_put() -> Put<'static> {
    Put {
        key: key(515, b"full/\x00\xff"),
        type_tag: 0,
        deadline: Some(UnixMillis(NOW.0 + 3_600_000)),
        version: Some(0x0102_0304_0506_0708),
        encoding: Some(Encoding { codec: 2, raw_len: 70_000 }),
        content_type: b"image/jpeg; q=1",
        value: b"compressed bytes, so it says",
    }
}

fn plain_put() -> Put<'static> {
    Put {
        key: key(0, b"plain"),
        type_tag: 0,
        deadline: None,
        version: None,
        encoding: None,
        content_type: b"",
        value: b"",
    }
}

/// What a payload says, owned, so that lists can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Said<'a> {
    Op(Op<'a>),
    Txn(Vec<Op<'a>>),
    Remove(Reason, Vec<(Key<'a>, u64)>),
    Flush(Option<u16>),
    TermStart(TermStart),
    Mark(Mark),
}

impl<'a> Said<'a> {
    fn of(payload: Payload<'a>) -> Said<'a> {
        match payload {
            Payload::Op(op) => Said::Op(op),
            Payload::Txn(ops) => Said::Txn(ops.iter().collect()),
            Payload::Remove(reason, entries) => Said::Remove(reason, entries.iter().collect()),
            Payload::Flush(namespace) => Said::Flush(namespace),
            Payload::TermStart(start) => Said::TermStart(start),
            Payload::Mark(mark) => Said::Mark(mark),
        }
    }

    fn encode(&self) -> (Kind, Vec<u8>) {
        let mut out = Vec::new();
        let kind = match self {
            Said::Op(op) => {
                op.encode(&mut out);
                emberkeep_storage::format::payload::op_kind(op)
            }
            Said::Txn(ops) => {
                encode_txn(ops, &mut out);
                Kind::Txn
            }
            Said::Remove(reason, entries) => {
                encode_remove(*reason, entries.iter().copied(), &mut out);
                Kind::Remove
            }
            Said::Flush(namespace) => {
                encode_flush(*namespace, &mut out);
                Kind::Flush
            }
            Said::TermStart(start) => {
                start.encode(&mut out);
                Kind::TermStart
            }
            Said::Mark(mark) => {
                out.extend_from_slice(&mark.encode());
                Kind::Mark
            }
        };
        (kind, out)
    }
}

fn mark(offset: u64) -> Said<'static> {
    let durable = LogPosition { segment: 1042, offset };
    Said::Mark(Mark { run_id: RUN, durable, wall: UnixMillis(NOW.0 + 5) })
}

/// Every kind of frame, every kind of op, every optional field.
fn log() -> Vec<Said<'static>> {
    let touch = |deadline| Op::Touch { key: key(0, b"plain"), deadline };
    let start = TermStart { run_id: RUN, node_id: NODE, prev_term: 6, prev_index: 41, prev_crc: 0xfeed_beef };
    vec![
        mark(0),
        Said::TermStart(start),
        mark(SEGMENT_HEADER_LEN as u64 + 88),
        Said::Op(Op::Put(full_put())),
        Said::Op(Op::Put(plain_put())),
        Said::Op(Op::Delete(key(65_535, b"gone"))),
        Said::Op(touch(Some(UnixMillis(NOW.0 + 1)))),
        Said::Op(touch(None)),
        Said::Txn(vec![Op::Put(plain_put()), Op::Delete(key(3, b"b")), Op::Put(full_put())]),
        Said::Remove(Reason::Expired, vec![(key(0, b"late"), 1043), (key(300, b"later"), u64::MAX)]),
        Said::Remove(Reason::Evicted, vec![(key(0, b"cold"), 127)]),
        Said::Flush(None),
        Said::Flush(Some(0)),
        Said::Flush(Some(515)),
        mark(SEGMENT_HEADER_LEN as u64 + 1000),
    ]
}

fn chain_before(header: &SegmentHeader) -> Chain {
    Chain { index: header.prev_index, crc: header.prev_crc, term: header.prev_term, ..Chain::default() }
}

fn encode_segment(header: &SegmentHeader, log: &[Said<'_>]) -> Vec<u8> {
    let mut out = header.encode();
    let (mut index, mut prev) = (header.prev_index, header.prev_crc);
    let mut term = 6;
    for (i, said) in log.iter().enumerate() {
        let (kind, payload) = said.encode();
        if kind == Kind::TermStart {
            (index, term) = (header.first_index - 1, 7);
        }
        index += u64::from(kind.is_replicated());
        let head = Header { kind, index, term, prev, ts: UnixMillis(NOW.0 + i as u64) };
        let bytes = head.encode(payload.len(), crc32(&[&payload]), SALT);
        if kind.is_replicated() {
            prev = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        }
        out.extend_from_slice(&bytes);
        out.extend_from_slice(&payload);
        out.resize(out.len().next_multiple_of(8), 0);
    }
    out
}

#[test]
fn a_log_segment_has_these_bytes_and_reads_back() {
    let encoded = encode_segment(&segment_header(), &log());
    let golden = pinned("segment.wal", &encoded);

    let header = SegmentHeader::decode(&golden).unwrap();
    assert_eq!(header, segment_header());
    let mut scan = Scan::new(&golden, header, chain_before(&header));
    let mut said = Vec::new();
    let mut len = SEGMENT_HEADER_LEN;
    while let Some(next) = scan.next() {
        let (frame, payload): (Frame<'_>, _) = next.expect("every frame verifies and is at its place");
        assert_eq!(frame.header.ts, UnixMillis(NOW.0 + said.len() as u64));
        assert_eq!(frame.disk_len(), disk_len(frame.payload.len()));
        len += frame.disk_len();
        said.push(Said::of(payload));
    }
    assert_eq!(len, golden.len());
    assert_eq!(said, log());
    let marks = log().iter().filter(|said| matches!(said, Said::Mark(_))).count();
    assert_eq!(scan.chain().index, 1042 + (log().len() - marks) as u64 - 1);
}

// ---- a MANIFEST ----

fn manifest() -> Manifest {
    Manifest {
        dataset_id: DATASET,
        node_id: NODE,
        salt: SALT.0,
        features: 0,
        term: 7,
        snapshot: Some(SnapshotMeta {
            begin: 1044,
            begin_crc: 0x0bad_cafe,
            end: 1046,
            end_crc: 0x600d_cafe,
            groups: vec![GroupMeta { len: 300, entries: 2 }, GroupMeta { len: 148, entries: 0 }],
        }),
        segments: vec![SegmentMeta { first_index: 7, end: 8192 }, SegmentMeta { first_index: 1042, end: 0 }],
        clean: Some(CleanStop { segment: 1042, end: 5000, last_index: 1053, last_crc: 0x1234_5678 }),
        clock_floor_ms: NOW.0,
    }
}

#[test]
fn a_manifest_has_these_bytes_and_reads_back() {
    let golden = pinned("MANIFEST", &manifest().encode(12));
    assert_eq!(Manifest::decode(&golden), Ok((12, manifest())));
    let fresh = Manifest { dataset_id: DATASET, node_id: NODE, salt: SALT.0, ..Manifest::default() };
    let golden = pinned("MANIFEST.fresh", &fresh.encode(1));
    assert_eq!(Manifest::decode(&golden), Ok((1, fresh)));
}

// ---- a file of a snapshot ----

fn snapshot_header() -> SnapshotHeader {
    SnapshotHeader { group: 3, dataset_id: DATASET, begin: 1044, begin_crc: 0x0bad_cafe }
}

fn snapshot_entries() -> [SnapshotEntry<'static>; 3] {
    [
        SnapshotEntry { lsn: 1043, hint: 0, rank: 0, put: full_put() },
        SnapshotEntry { lsn: 1044, hint: 3, rank: 40_000, put: plain_put() },
        SnapshotEntry { lsn: 1046, hint: 0x83, rank: 65_535, put: Put { key: key(0, b"z"), ..full_put() } },
    ]
}

fn raw_entries(entries: &[SnapshotEntry<'_>]) -> Vec<u8> {
    let mut raw = Vec::new();
    entries.iter().for_each(|e| e.encode(&mut raw));
    raw
}

/// Two blocks: of two entries and of one.
fn encode_snapshot() -> Vec<u8> {
    let entries = snapshot_entries();
    let mut out = snapshot_header().encode(SALT);
    let mut encoder = BlockEncoder::default();
    out.extend(encoder.encode(&raw_entries(&entries[..2]), 2, SALT));
    out.extend(encoder.encode(&raw_entries(&entries[2..]), 1, SALT));
    let file_len = (out.len() + BLOCK_HEADER_LEN + SNAPSHOT_EDGE_LEN) as u64;
    out.extend(snapshot_footer(file_len).encode(SALT));
    out
}

fn snapshot_footer(file_len: u64) -> SnapshotFooter {
    SnapshotFooter { end: 1046, end_crc: 0x600d_cafe, entries: 3, blocks: 2, file_len }
}

#[test]
fn the_entries_of_a_snapshot_block_have_these_bytes() {
    pinned("snapshot.block.raw", &raw_entries(&snapshot_entries()));
}

/// What does not get shorter stands in the file as it is, so all its bytes are pinned.
#[test]
fn a_snapshot_block_that_is_not_compressed_has_these_bytes() {
    let noise: Vec<u8> =
        (0..500u32).map(|i| (i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let entry = SnapshotEntry { lsn: 1043, hint: 1, rank: 7, put: Put { value: &noise, ..plain_put() } };
    let golden =
        pinned("snapshot.block.as-is", BlockEncoder::default().encode(&raw_entries(&[entry]), 1, SALT));
    let mut decoder = BlockDecoder::default();
    let Ok(Block::Entries(raw, 1, len)) = decoder.decode(&golden, SALT) else { panic!("no block") };
    assert_eq!((raw, len), (&raw_entries(&[entry])[..], golden.len()));
    assert_eq!(golden[BLOCK_HEADER_LEN..], *raw);
}

#[test]
fn a_snapshot_file_has_these_edges_and_reads_back_whatever_zstd_does_today() {
    if blessing() {
        fs::write(golden("snapshot.snap"), encode_snapshot()).unwrap();
    }
    let golden = fs::read(golden("snapshot.snap")).expect(HOW_TO_BLESS);
    same_bytes("snapshot.snap (header)", &snapshot_header().encode(SALT), &golden[..SNAPSHOT_EDGE_LEN]);
    let footer_at = golden.len() - BLOCK_HEADER_LEN - SNAPSHOT_EDGE_LEN;
    let footer = snapshot_footer(golden.len() as u64);
    same_bytes("snapshot.snap (footer)", &footer.encode(SALT), &golden[footer_at..]);

    assert_eq!(SnapshotHeader::decode(&golden, SALT), Ok(snapshot_header()));
    let expected = snapshot_entries();
    let (mut decoder, mut at) = (BlockDecoder::default(), SNAPSHOT_EDGE_LEN);
    for block in [&expected[..2], &expected[2..]] {
        let Ok(Block::Entries(raw, count, len)) = decoder.decode(&golden[at..], SALT) else {
            panic!("no block at offset={at}")
        };
        let mut seen = Vec::new();
        decode_entries(raw, count, |e| seen.push(e)).unwrap();
        assert_eq!(seen, block);
        at += len;
    }
    let Ok(Block::Footer(found)) = decoder.decode(&golden[at..], SALT) else { panic!("no footer") };
    assert_eq!((found, at), (footer, footer_at));
}

// ---- a whole data directory ----

const DATA_DIR: &str = "data-dir";

fn data_dir_settings() -> Settings {
    small(Fsync::Always)
}

/// Runs an engine and kills it: a snapshot, the log behind it over two segments, every kind of
/// change, and a group that never got whole.
fn make_data_dir() -> SimDisk {
    let lab = Lab::new(data_dir_settings());
    let engine = lab.open().unwrap();
    let put = |key: Key<'_>, write: Write<'_>| {
        engine.put(key, write).unwrap().wait().unwrap();
    };
    for i in 0..40 {
        put(Key::from(format!("old/{i:02}").as_str()), Write::new(&[i; 200]));
    }
    engine.delete("old/00", Condition::Always, None).unwrap().wait().unwrap();
    engine.checkpoint().unwrap();
    let expiry = Expiry::In(Duration::from_secs(1000));
    put(Key::from("typed"), Write { content_type: Some("text/plain"), expiry, ..Write::new(b"hello") });
    put(Key::from("short"), Write { expiry: Expiry::In(Duration::from_millis(10)), ..Write::new(b"x") });
    put(key(7, b"other"), Write::new(b"namespace"));
    put(key(8, b"flushed"), Write::new(b"x"));
    engine.flush(Some(8), None).unwrap().wait().unwrap();
    engine.incr("counter", 42, Default::default()).unwrap().wait().unwrap();
    engine.touch("old/01", expiry, Condition::Always, None).unwrap().wait().unwrap();
    let step = |key: &'static str, action| BatchOp { key: Key::from(key), action };
    let batch = [
        step("batch/a", Action::Put(Write::new(b"1"))),
        step("batch/b", Action::Put(Write::new(b"2"))),
        step("old/02", Action::Delete(Condition::Always)),
    ];
    engine.batch(&batch, None).unwrap().wait().unwrap();
    // Time enough for the expirer to have removed "short".
    lab.pass(Duration::from_secs(2));
    engine.step().unwrap();
    for i in 0..60 {
        put(Key::from(format!("new/{i:02}").as_str()), Write::new(&[i; 200]));
    }
    engine.idle().unwrap();
    // What comes now is torn in the middle of its frame.
    let before = lab.disk.after_kill();
    put(Key::from("torn"), Write::new(&[0xee; 1000]));
    let (segment, end) = end_of_log(&before);
    let whole = lab.disk.read_file(&segment).unwrap();
    let mut torn = before.read_file(&segment).unwrap();
    torn[end..end + 600].copy_from_slice(&whole[end..end + 600]);
    before.write_file(&segment, &torn);
    before
}

fn data_dir_keys() -> BTreeMap<(u16, Vec<u8>), Vec<u8>> {
    let mut keys = BTreeMap::new();
    for i in 0..40u8 {
        keys.insert((0, format!("old/{i:02}").into_bytes()), vec![i; 200]);
    }
    for i in 0..60u8 {
        keys.insert((0, format!("new/{i:02}").into_bytes()), vec![i; 200]);
    }
    keys.remove(&(0, b"old/00".to_vec()));
    keys.remove(&(0, b"old/02".to_vec()));
    for (namespace, key, value) in [
        (0, "typed", "hello"),
        (7, "other", "namespace"),
        (0, "counter", "42"),
        (0, "batch/a", "1"),
        (0, "batch/b", "2"),
    ] {
        keys.insert((namespace, key.into()), value.into());
    }
    keys
}

/// The last segment, and the byte behind its last frame.
fn end_of_log(disk: &SimDisk) -> (PathBuf, usize) {
    let mut segments = disk.tree();
    segments.retain(|(path, _)| path.extension().is_some_and(|e| e == "wal"));
    let (path, _) = segments.pop().unwrap();
    let bytes = disk.read_file(&path).unwrap();
    let header = SegmentHeader::decode(&bytes).unwrap();
    let mut scan = Scan::new(&bytes, header, chain_before(&header));
    while let Some(Ok(_)) = scan.next() {}
    let end = scan.offset() as usize;
    (path, end)
}

/// Spares are left out: they hold nothing. The last segment and the MANIFESTs end in zeros, which
/// are left out too and put back on loading; their lengths are in `LENGTHS`.
fn write_data_dir(disk: &SimDisk) {
    let dir = golden(DATA_DIR);
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    let mut lengths = String::new();
    for (path, len) in disk.tree() {
        let name = path.strip_prefix(DIR).unwrap();
        if name.extension().is_some_and(|e| e == "spare") {
            continue;
        }
        let content = disk.read_file(&path).unwrap();
        let end = content.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        let to = dir.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, &content[..end]).unwrap();
        lengths += &format!("{} {len}\n", name.display());
    }
    fs::write(dir.join("LENGTHS"), lengths).unwrap();
}

fn load_data_dir() -> Lab {
    let dir = golden(DATA_DIR);
    let disk = SimDisk::new();
    for line in fs::read_to_string(dir.join("LENGTHS")).expect(HOW_TO_BLESS).lines() {
        let (name, len) = line.split_once(' ').unwrap();
        let mut content = fs::read(dir.join(name)).unwrap();
        content.resize(len.parse().unwrap(), 0);
        disk.write_file(Path::new(DIR).join(name), &content);
    }
    Lab { disk, clock: SimClock::at(UnixMillis(NOW.0 + 5000)), settings: data_dir_settings() }
}

fn check_data_dir(lab: &Lab) {
    let engine = lab.open().unwrap();
    let report = engine.recovery();
    assert!(!report.clean && !report.created, "{report:?}");
    assert_eq!(report.warnings, Vec::<String>::new());
    // Of the 600 bytes that arrived, the Mark in front of the group is whole.
    assert_eq!(report.torn_bytes, 600 - disk_len(MARK_LEN) as u64, "{report:?}");
    assert_eq!(report.snapshot_entries, 39);
    assert!(report.replayed_frames > 60);
    let mut found = BTreeMap::new();
    for namespace in 0..10 {
        let mut cursor = Some(emberkeep_storage::Cursor::START);
        while let Some(at) = cursor {
            let page = engine.scan(at, key(namespace, b""), 1000).wait().unwrap();
            for e in &page.entries {
                found.insert((namespace, e.key().bytes.to_vec()), e.value().unwrap().to_vec());
            }
            cursor = page.next;
        }
    }
    assert_eq!(found, data_dir_keys());
    let typed = engine.get("typed").wait().unwrap().unwrap();
    assert_eq!(typed.content_type(), Some("text/plain"));
    assert_eq!(typed.deadline(), Some(UnixMillis(NOW.0 + 1_000_000)));
    let touched = engine.get("old/01").wait().unwrap().unwrap();
    assert_eq!(touched.deadline(), Some(UnixMillis(NOW.0 + 1_000_000)));
    engine.check();
}

#[test]
fn todays_engine_opens_the_data_directory_of_version_1() {
    if blessing() {
        write_data_dir(&make_data_dir());
    }
    let lab = load_data_dir();
    let names: Vec<_> = lab.disk.tree().into_iter().map(|(path, _)| path).collect();
    for part in ["MANIFEST-0", "MANIFEST-1", "wal", "snap"] {
        let path = Path::new(DIR).join(part);
        assert!(names.iter().any(|name| name.starts_with(&path)), "{part}");
    }
    check_data_dir(&lab);
    // What it made of it is its own now, and reads back the same; this time after a clean stop.
    let engine = lab.open().unwrap();
    assert!(engine.recovery().clean);
    assert_eq!(engine.stats().items as usize, data_dir_keys().len());
}

// ---- what a later release may write ----

/// Something done to the bytes of a file, with its checksum made right again.
type Change = fn(&mut Vec<u8>, Salt);

/// The version is told before the checksum; everything else only behind a right one.
const NEWER: [(&str, Change, &str); 8] = [
    ("wal", |bytes, _| bytes[8] = 2, "format version 2 is newer than 1"),
    ("wal", |bytes, _| reseal(bytes, 12, |b| crc32(&[b]), 4092), "feature bits 0x4 are not known"),
    ("wal", |bytes, _| reseal(bytes, 200, |b| crc32(&[b]), 4092), "reserved bytes are not zero"),
    ("snap", |bytes, _| bytes[8] = 2, "format version 2 is newer than 1"),
    ("snap", |bytes, salt| reseal(bytes, 12, |b| salt.crc32(&[b]), 60), "feature bits 0x4 are not known"),
    ("snap", |bytes, salt| reseal(bytes, 50, |b| salt.crc32(&[b]), 60), "reserved bytes are not zero"),
    ("MANIFEST", |bytes, _| bytes[8] = 2, "format version 2 is newer than 1"),
    (
        "MANIFEST",
        |bytes, _| {
            let (generation, manifest) = Manifest::decode(bytes).unwrap();
            *bytes = Manifest { features: 4, ..manifest }.encode(generation);
        },
        "feature bits 0x4 are not known to format version 1",
    ),
];

fn reseal(bytes: &mut [u8], at: usize, crc: impl Fn(&[u8]) -> u32, crc_at: usize) {
    bytes[at] = 4;
    let crc = crc(&bytes[..crc_at]);
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// What was found, and what this version can read; and nothing is changed.
#[test]
fn a_newer_version_or_an_unknown_feature_of_any_file_is_refused_by_name() {
    for (kind, change, words) in NEWER {
        let lab = load_data_dir();
        let path = Path::new(DIR).join("MANIFEST-0");
        let salt = Salt(Manifest::decode(&lab.disk.read_file(&path).unwrap()).unwrap().1.salt);
        let of_kind = |path: &PathBuf| path.to_string_lossy().contains(kind);
        for (path, _) in lab.disk.tree().into_iter().filter(|(path, _)| of_kind(path)) {
            let mut bytes = lab.disk.read_file(&path).unwrap();
            change(&mut bytes, salt);
            lab.disk.write_file(&path, &bytes);
        }
        let before = tree(&lab.disk);
        let error = lab.open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{kind}: {error}");
        let message = error.to_string();
        assert!(message.contains(words) && message.contains(kind), "{kind}: {error}");
        same_tree(&before, &tree(&lab.disk), &error);
    }
}
