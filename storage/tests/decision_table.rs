//! Torn, corrupt, unsupported, locked: one test per row of the table at the head of
//! `wal/recover.rs`, and of what `engine/open.rs` refuses before it comes to the log.
//!
//! Each test damages the files of a data directory and opens it. Where the answer is a refusal,
//! [`Case::refused`] checks what every refusal promises: no file, no directory and no byte is
//! changed by it, and with the damage undone the directory opens with all that was in it.

use std::path::{Path, PathBuf};

use emberkeep_storage::{
    Condition, Engine, Error, ErrorKind, Fsync, RecoveryReport, Write,
    error::Place,
    format::{
        FORMAT_VERSION,
        checksum::{Salt, crc32},
        frame::{HEADER_LEN, Header, Kind, disk_len},
        manifest::Manifest,
        payload::MARK_LEN,
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    sim::{clock::SimClock, disk::SimDisk},
    wal::scan::{Chain, Scan},
};

use crate::lab::{DIR, Lab, Tree, Values, same_tree, small, tree, values};

/// Something done to the bytes of a file.
type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);

/// A data directory at rest, what is in it, and what it was before it was damaged.
struct Case {
    lab: Lab,
    values: Values,
    whole: Tree,
}

/// Where a frame is, and which.
#[derive(Clone, Copy, Debug)]
struct Spot {
    offset: usize,
    len: usize,
    kind: Kind,
    index: u64,
}

impl Case {
    /// Killed with everything vouched for: 90 keys over four segments.
    fn killed() -> Case {
        Self::run(|engine, values| {
            fill(engine, values, 0..90);
            engine.idle().unwrap();
        })
        .0
    }

    /// Killed right after the last acknowledgement: no Mark vouches for the last group.
    fn killed_at_once() -> Case {
        Self::run(|engine, values| fill(engine, values, 0..90)).0
    }

    /// Closed. With a snapshot in the middle, and a few segments before and behind it.
    fn closed() -> Case {
        let (case, running) = Self::run(|engine, values| {
            fill(engine, values, 0..90);
            engine.checkpoint().unwrap();
            fill(engine, values, 60..150);
            engine.delete("key-007", Condition::Always, None).unwrap().wait().unwrap();
            values.remove("key-007");
        });
        running.engine.close().unwrap();
        Self::at_rest(running.disk.after_kill(), running.clock, case.values)
    }

    fn run(work: impl FnOnce(&Engine, &mut Values)) -> (Case, Running) {
        let lab = Lab::new(small(Fsync::Always));
        let engine = lab.open().unwrap();
        let mut values = Values::new();
        work(&engine, &mut values);
        let case = Self::at_rest(lab.disk.after_kill(), lab.clock.clone(), values);
        (case, Running { engine, disk: lab.disk, clock: lab.clock })
    }

    fn at_rest(disk: SimDisk, clock: SimClock, values: Values) -> Case {
        let lab = Lab { disk, clock, settings: small(Fsync::Always) };
        let whole = tree(&lab.disk);
        Case { lab, values, whole }
    }

    fn segments(&self) -> Vec<PathBuf> {
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|e| e == "wal");
        self.lab.disk.tree().into_iter().map(|(path, _)| path).filter(is_segment).collect()
    }

    fn segment(&self, from_end: usize) -> PathBuf {
        let segments = self.segments();
        segments[segments.len() - 1 - from_end].clone()
    }

    fn bytes(&self, path: impl AsRef<Path>) -> Vec<u8> {
        self.lab.disk.read_file(path).unwrap()
    }

    fn header(&self, segment: &Path) -> SegmentHeader {
        SegmentHeader::decode(&self.bytes(segment)).unwrap()
    }

    /// The frames of a segment, and the chain behind the last one.
    fn frames(&self, segment: &Path) -> (Vec<Spot>, Chain) {
        let bytes = self.bytes(segment);
        let header = self.header(segment);
        let chain = Chain {
            index: header.prev_index,
            crc: header.prev_crc,
            term: header.prev_term,
            ..Chain::default()
        };
        let mut scan = Scan::new(&bytes, header, chain);
        let mut frames = Vec::new();
        loop {
            let offset = scan.offset() as usize;
            let Some(Ok((frame, _))) = scan.next() else { break };
            let Header { kind, index, .. } = frame.header;
            frames.push(Spot { offset, len: frame.disk_len(), kind, index });
        }
        let end = scan.chain();
        (frames, end)
    }

    fn end_of(&self, segment: &Path) -> usize {
        self.frames(segment).0.last().map_or(SEGMENT_HEADER_LEN, |f| f.offset + f.len)
    }

    fn remove(&self, path: impl AsRef<Path>) {
        assert!(self.lab.disk.remove(&path), "{}", path.as_ref().display());
    }

    fn edit(&self, path: impl AsRef<Path>, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes(&path);
        edit(&mut bytes);
        self.lab.disk.write_file(&path, &bytes);
    }

    /// Opening is refused with this kind, changes nothing, and works again once the damage is
    /// undone. Leaves the directory as it was before it was damaged.
    fn refused(&self, kind: ErrorKind) -> Error {
        self.refused_unrepaired(kind, || self.repair())
    }

    fn refused_unrepaired(&self, kind: ErrorKind, repair: impl FnOnce()) -> Error {
        let before = tree(&self.lab.disk);
        let error = match self.lab.open() {
            Err(error) => error,
            Ok(engine) => panic!("opened, {:?}", engine.recovery()),
        };
        assert_eq!(error.kind(), kind, "{error}");
        same_tree(&before, &tree(&self.lab.disk), &error);
        // A second try is no different from the first.
        assert_eq!(self.lab.open().unwrap_err().to_string(), error.to_string());
        repair();
        self.opens();
        self.repair();
        error
    }

    fn corrupt(&self) -> (Error, Place) {
        let error = self.refused(ErrorKind::Corrupt);
        let place = error.place().cloned().unwrap_or_else(|| panic!("no place: {error}"));
        assert!(place.lsns.is_some_and(|(first, last)| first <= last), "no LSNs: {error}");
        (error, place)
    }

    fn repair(&self) {
        for path in tree(&self.lab.disk).keys().filter(|path| !self.whole.contains_key(*path)) {
            self.lab.disk.remove(path);
        }
        for (path, content) in &self.whole {
            if let Some(content) = content {
                self.lab.disk.write_file(path, content);
            }
        }
    }

    /// Opens with all values and nothing else.
    fn opens(&self) -> RecoveryReport {
        let engine = self.lab.open().unwrap();
        assert_eq!(values(&engine), self.values);
        engine.check();
        engine.recovery().clone()
    }
}

/// An engine that goes on while its disk was copied.
struct Running {
    engine: Engine,
    disk: SimDisk,
    clock: SimClock,
}

fn fill(engine: &Engine, values: &mut Values, range: std::ops::Range<u32>) {
    for i in range {
        let (key, value) = (format!("key-{i:03}"), format!("value-{i}-").repeat(40).into_bytes());
        engine.put(key.as_str(), Write::new(&value)).unwrap().wait().unwrap();
        values.insert(key, value);
    }
}

fn manifests() -> [PathBuf; 2] {
    ["MANIFEST-0", "MANIFEST-1"].map(|name| Path::new(DIR).join(name))
}

/// A frame that verifies and continues the chain, of any kind and with any payload.
fn forged(salt: Salt, chain: Chain, kind: u8, payload: &[u8]) -> Vec<u8> {
    let header =
        Header { kind: Kind::Put, index: chain.index + 1, term: chain.term, prev: chain.crc, ts: chain.ts };
    let mut out = header.encode(payload.len(), crc32(&[payload]), salt).to_vec();
    out[12] = kind;
    let crc = salt.crc32(&[&out[4..HEADER_LEN]]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(disk_len(payload.len()), 0);
    out
}

// ---- in a sealed segment ----

#[test]
fn a_bad_place_in_a_sealed_segment_is_corruption() {
    let case = Case::killed();
    assert!(case.segments().len() >= 4, "{:?}", case.segments());
    let segment = case.segment(2);
    let next = case.header(&case.segment(1));
    let frames = case.frames(&segment).0;
    let (first, middle, last) = (frames[0], frames[frames.len() / 2], *frames.last().unwrap());
    for (frame, byte) in [(first, 0), (middle, 20), (middle, HEADER_LEN + 3), (last, last.len - 1)] {
        case.edit(&segment, |bytes| bytes[frame.offset + byte] ^= 0x10);
        let (error, place) = case.corrupt();
        assert_eq!((&place.file, place.offset), (&segment, frame.offset as u64), "{error}");
        let replicated = |f: &&Spot| f.kind.is_replicated() && f.offset >= frame.offset;
        let from = frames.iter().find(replicated).map_or(next.prev_index + 1, |f| f.index);
        assert_eq!(place.lsns, Some((from, next.prev_index.max(from))), "{error}");
    }
}

#[test]
fn a_sealed_segment_of_a_wrong_length_is_corruption() {
    let case = Case::killed();
    let segment = case.segment(1);
    let len = case.bytes(&segment).len();
    for new_len in [0, 100, SEGMENT_HEADER_LEN, len - 8, len - 1, len + 1, len + 512] {
        case.edit(&segment, |bytes| bytes.resize(new_len, 0));
        let (error, place) = case.corrupt();
        assert_eq!(place.file, segment, "{error}");
    }
}

#[test]
fn zeroed_space_in_a_sealed_segment_is_corruption() {
    let case = Case::killed();
    let segment = case.segment(1);
    let frames = case.frames(&segment).0;
    let from = frames[frames.len() / 2].offset;
    case.edit(&segment, |bytes| bytes[from..].fill(0));
    let (error, place) = case.corrupt();
    assert_eq!((place.file, place.offset), (segment, from as u64), "{error}");
}

// ---- in the last segment ----

#[test]
fn a_bad_place_that_a_later_mark_vouches_for_is_corruption() {
    let case = Case::killed();
    let segment = case.segment(0);
    let frames = case.frames(&segment).0;
    let marks: Vec<_> = frames.iter().filter(|f| f.kind == Kind::Mark).collect();
    assert!(marks.len() > 2);
    for frame in frames.iter().filter(|f| f.kind.is_replicated()) {
        for byte in [3, HEADER_LEN] {
            case.edit(&segment, |bytes| bytes[frame.offset + byte] ^= 1);
            let (error, place) = case.corrupt();
            assert_eq!((&place.file, place.offset), (&segment, frame.offset as u64), "{error}");
            assert_eq!(place.lsns.map(|(first, _)| first), Some(frame.index), "{error}");
            assert!(error.to_string().contains("durable"), "{error}");
        }
    }
}

#[test]
fn a_lost_sector_that_a_later_mark_vouches_for_is_corruption() {
    let case = Case::killed();
    let segment = case.segment(0);
    let last_mark = case.frames(&segment).0.last().unwrap().offset;
    for sector in (SEGMENT_HEADER_LEN..last_mark - 512).step_by(512) {
        case.edit(&segment, |bytes| bytes[sector..sector + 512].fill(0));
        let (error, place) = case.corrupt();
        assert_eq!(place.file, segment, "{error}");
        assert!((place.offset as usize) < sector + 512, "{error}");
    }
}

#[test]
fn a_bad_last_group_without_a_voucher_is_torn_cut_and_kept() {
    let mut case = Case::killed_at_once();
    let segment = case.segment(0);
    let frame = *case.frames(&segment).0.last().unwrap();
    assert_eq!(frame.kind, Kind::Put);
    let whole = case.bytes(&segment);
    case.values.remove("key-089");
    for byte in [0, 9, 20, HEADER_LEN, frame.len - 1] {
        case.edit(&segment, |bytes| bytes[frame.offset + byte] ^= 0x40);
        let damaged = case.bytes(&segment);
        let report = case.opens();
        assert_eq!(report.torn_bytes, cut_of(&damaged, frame.offset).len() as u64);
        let copy = report.lost_copy.expect("the disk has room for a copy");
        assert_eq!(copy.parent().unwrap(), Path::new(DIR).join("lost"));
        assert_eq!(case.bytes(&copy), cut_of(&damaged, frame.offset));
        let rewritten = case.bytes(&segment);
        assert!(rewritten[..frame.offset] == damaged[..frame.offset], "what is valid stays as it was");
        // The log goes on there, with a Mark, and nothing of what was cut.
        assert_eq!(&rewritten[frame.offset + 12..][..1], [Kind::Mark as u8]);
        assert_eq!(report.last_lsn.0, frame.index - 1);
        assert_eq!(case.opens().torn_bytes, 0, "it is cut once");
        case.repair();
        assert_eq!(case.bytes(&segment), whole);
    }
}

/// From the end of the log to the last byte that is not zero.
fn cut_of(bytes: &[u8], end: usize) -> &[u8] {
    let rest = &bytes[end..];
    &rest[..rest.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1)]
}

#[test]
fn a_last_group_that_arrived_in_part_is_torn() {
    let mut case = Case::killed_at_once();
    let segment = case.segment(0);
    let frame = *case.frames(&segment).0.last().unwrap();
    case.values.remove("key-089");
    // Cut at every eighth byte of the frame, zeros or the end of the file behind.
    for end in (frame.offset..frame.offset + frame.len).step_by(8) {
        for shorten in [false, true] {
            case.edit(&segment, |bytes| {
                bytes[end..].fill(0);
                bytes.truncate(if shorten { end } else { bytes.len() });
            });
            let report = case.opens();
            let left = cut_of(&case.whole[&segment].as_ref().unwrap()[..end], frame.offset).len() as u64;
            assert_eq!(report.torn_bytes, left, "end={end}");
            case.repair();
        }
    }
}

#[test]
fn zeros_behind_the_last_frame_are_the_end_and_nothing_is_torn() {
    for case in [Case::killed(), Case::killed_at_once()] {
        let segment = case.segment(0);
        let end = case.end_of(&segment);
        let all = case.bytes(&segment).len();
        for len in [end, end + 1, end + 4096, all, 2 * all] {
            case.edit(&segment, |bytes| bytes.resize(len, 0));
            let report = case.opens();
            assert_eq!((report.torn_bytes, report.lost_copy), (0, None));
            assert!(!report.clean);
            case.repair();
        }
    }
}

#[test]
fn garbage_behind_the_last_frame_is_cut_and_reported() {
    for case in [Case::killed(), Case::killed_at_once()] {
        let segment = case.segment(0);
        let end = case.end_of(&segment);
        for (from, fill) in [(end, 0xff), (end + 8, 0x5a), (end + 512, 0x01)] {
            case.edit(&segment, |bytes| bytes[from..from + 700].fill(fill));
            let garbage = case.bytes(&segment);
            let report = case.opens();
            assert_eq!(report.torn_bytes as usize, from + 700 - end);
            assert_eq!(case.bytes(report.lost_copy.unwrap()), cut_of(&garbage, end));
            case.repair();
        }
    }
}

#[test]
fn an_old_piece_of_the_same_segment_behind_the_end_is_cut() {
    let case = Case::killed();
    let segment = case.segment(0);
    let (frames, end) = (case.frames(&segment).0, case.end_of(&segment));
    // Frames that verify, Marks among them, at a place where they do not belong.
    let piece = case.bytes(&segment)[SEGMENT_HEADER_LEN..frames[6].offset].to_vec();
    case.edit(&segment, |bytes| bytes[end..end + piece.len()].copy_from_slice(&piece));
    let report = case.opens();
    assert!(report.torn_bytes > 0);
}

#[test]
fn a_log_that_ends_before_its_snapshot_is_corruption() {
    let (case, _running) = Case::run(|engine, values| {
        fill(engine, values, 0..30);
        engine.checkpoint().unwrap();
        engine.idle().unwrap();
    });
    let segment = case.segment(0);
    let frames = case.frames(&segment).0;
    let put = frames.iter().find(|f| f.kind == Kind::Put).unwrap();
    // All Marks that would vouch are gone with the rest: only the snapshot knows.
    case.edit(&segment, |bytes| bytes[put.offset..].fill(0));
    let (error, place) = case.corrupt();
    assert_eq!((&place.file, place.offset), (&segment, put.offset as u64), "{error}");
    assert_eq!(place.lsns.map(|(first, _)| first), Some(put.index), "{error}");
    assert!(error.to_string().contains("snapshot"), "{error}");
}

#[test]
fn a_snapshot_of_another_history_is_corruption() {
    // Two histories with the same identity: same seeds, other values.
    let run = |value: &'static [u8]| {
        let (case, _running) = Case::run(|engine, values| {
            fill(engine, values, 0..10);
            engine.put("x", Write::new(value)).unwrap().wait().unwrap();
            values.insert("x".into(), value.to_vec());
            engine.checkpoint().unwrap();
        });
        case
    };
    let (one, other) = (run(b"1"), run(b"2"));
    assert_eq!(one.segments(), other.segments());
    let segment = one.segment(0);
    one.lab.disk.write_file(&segment, &other.bytes(&segment));
    let (error, place) = one.corrupt();
    assert_eq!(place.file, segment, "{error}");
    assert!(error.to_string().contains("snapshot"), "{error}");
}

// ---- after a clean stop ----

#[test]
fn damage_after_a_clean_stop_is_corruption() {
    let case = Case::closed();
    let segment = case.segment(0);
    let frames = case.frames(&segment).0;
    for frame in [frames[0], frames[frames.len() / 2], *frames.last().unwrap()] {
        case.edit(&segment, |bytes| bytes[frame.offset + 17] ^= 2);
        let (error, place) = case.corrupt();
        assert_eq!((&place.file, place.offset), (&segment, frame.offset as u64), "{error}");
        let first = frame.index + u64::from(!frame.kind.is_replicated());
        assert_eq!(place.lsns.map(|(first, _)| first), Some(first), "{error}");
    }
}

#[test]
fn a_log_that_grew_or_shrank_after_a_clean_stop_is_corruption() {
    let case = Case::closed();
    let segment = case.segment(0);
    let frames = case.frames(&segment).0;
    let (len, last) = (case.bytes(&segment).len(), frames.last().unwrap().offset);
    for new_len in
        [0, 10, SEGMENT_HEADER_LEN, frames[1].offset, last, len - 8, len - 1, len + 1, len + 8, len + 4096]
    {
        case.edit(&segment, |bytes| bytes.resize(new_len, 0));
        let (error, place) = case.corrupt();
        assert_eq!(place.file, segment, "{error}");
    }
    // Even by a frame that would fit.
    let (_, chain) = case.frames(&segment);
    let payload = [3, 0, 0, 0, 1, b'k'];
    let frame = forged(case.header(&segment).salt, chain, Kind::Touch as u8, &payload);
    case.edit(&segment, |bytes| bytes.extend(&frame));
    let (error, _) = case.corrupt();
    assert!(error.to_string().contains("clean"), "{error}");
}

// ---- of a newer version ----

#[test]
fn a_frame_of_an_unknown_kind_that_verifies_is_unsupported() {
    let case = Case::killed();
    let segment = case.segment(0);
    let (end, chain) = (case.end_of(&segment), case.frames(&segment).1);
    let salt = case.header(&segment).salt;
    let unknown_flag = [1, 0x40, 0, 0, 1, b'k', 0];
    let unknown_tag = [1, 0, 0, 9, 1, b'k', 0];
    for (kind, payload) in [
        (0x08, &b"a digest"[..]),
        (0x20, b""),
        (0x85, b"a checkpoint"),
        (0xff, &[0; 100]),
        (Kind::Put as u8, &unknown_flag),
        (Kind::Put as u8, &unknown_tag),
        (Kind::Remove as u8, &[9, 1, 0, 1, b'k', 1]),
    ] {
        let frame = forged(salt, chain, kind, payload);
        case.edit(&segment, |bytes| bytes[end..end + frame.len()].copy_from_slice(&frame));
        let error = case.refused(ErrorKind::Unsupported);
        let message = error.to_string();
        assert!(message.contains(&segment.display().to_string()), "{error}");
        assert!(message.contains(&format!("offset={end}")), "{error}");
    }
}

#[test]
fn a_segment_of_a_newer_version_is_unsupported() {
    let case = Case::killed();
    for segment in case.segments() {
        case.edit(&segment, |bytes| bytes[8..10].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes()));
        let error = case.refused(ErrorKind::Unsupported);
        assert!(error.to_string().contains(&segment.display().to_string()), "{error}");
    }
}

#[test]
fn a_snapshot_of_a_newer_version_is_unsupported() {
    let case = Case::closed();
    let group = snapshot_files(&case)[1].clone();
    case.edit(&group, |bytes| bytes[8..10].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes()));
    let error = case.refused(ErrorKind::Unsupported);
    assert!(error.to_string().contains(&group.display().to_string()), "{error}");
}

// ---- segments as files ----

#[test]
fn a_segment_header_that_does_not_verify_is_corruption() {
    let case = Case::killed();
    for segment in case.segments() {
        for byte in [0, 16, 32, 56, 64, 88, 200, 4095] {
            case.edit(&segment, |bytes| bytes[byte] ^= 4);
            let (error, place) = case.corrupt();
            assert_eq!((&place.file, place.offset), (&segment, 0), "{error}");
        }
    }
}

#[test]
fn a_missing_segment_is_corruption() {
    for case in [Case::killed(), Case::closed()] {
        let segments = case.segments();
        assert!(segments.len() >= 3);
        // The last one only after a clean stop: otherwise nobody has noted that it was there.
        let known = if case.opens_clean() { segments.len() } else { segments.len() - 1 };
        for segment in &segments[..known] {
            case.remove(segment);
            let (error, place) = case.corrupt();
            assert!(place.lsns.is_some(), "{error}");
            // The last one is missed by where the log was to end.
            assert!(place.file == *segment || *segment == segments[segments.len() - 1], "{error}");
        }
    }
}

#[test]
fn all_segments_missing_is_corruption() {
    let case = Case::killed();
    let segments = case.segments();
    segments.iter().for_each(|segment| case.remove(segment));
    let (error, place) = case.corrupt();
    assert_eq!(place.file, segments[0], "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
    // The whole directory of the log, and something else in its place.
    case.remove(Path::new(DIR).join("wal"));
    case.lab.disk.write_file(Path::new(DIR).join("wal/readme"), b"");
    case.corrupt();
}

#[test]
fn a_segment_under_a_wrong_name_is_corruption() {
    let case = Case::killed();
    for (n, segment) in case.segments().into_iter().enumerate() {
        let first = case.header(&segment).first_index;
        for name in [format!("{:020}.wal", first + 3), format!("{:020}.wal", first + 1_000_000)] {
            let wrong = segment.with_file_name(name);
            case.lab.disk.write_file(&wrong, &case.bytes(&segment));
            case.remove(&segment);
            let (error, place) = case.corrupt();
            assert_eq!(place.file, wrong, "segment {n}: {error}");
        }
    }
}

#[test]
fn swapped_segments_are_corruption() {
    let case = Case::killed();
    let segments = case.segments();
    let (a, b) = (&segments[1], &segments[2]);
    let (bytes_a, bytes_b) = (case.bytes(a), case.bytes(b));
    case.lab.disk.write_file(a, &bytes_b);
    case.lab.disk.write_file(b, &bytes_a);
    let (error, place) = case.corrupt();
    assert!(place.file == *a || place.file == *b, "{error}");
}

#[test]
fn a_segment_of_another_data_set_is_corruption() {
    let case = Case::killed();
    let foreign = |edit: &dyn Fn(&mut SegmentHeader)| {
        for segment in case.segments() {
            let mut header = case.header(&segment);
            edit(&mut header);
            case.edit(&segment, |bytes| bytes[..SEGMENT_HEADER_LEN].copy_from_slice(&header.encode()));
            let (error, place) = case.corrupt();
            assert_eq!(place.file, segment, "{error}");
            assert!(error.to_string().contains("another data set"), "{error}");
        }
    };
    foreign(&|header| header.dataset_id[3] ^= 1);
    foreign(&|header| header.salt = Salt(header.salt.0 + 1));
}

#[test]
fn a_segment_of_another_run_does_not_continue_the_chain() {
    let (case, other) = (Case::killed(), Case::run(|engine, values| fill(engine, values, 5..95)).0);
    let segment = case.segment(1);
    assert_eq!(case.header(&segment).dataset_id, other.header(&other.segment(1)).dataset_id);
    case.lab.disk.write_file(&segment, &other.bytes(other.segment(1)));
    case.corrupt();
}

// ---- the MANIFEST ----

#[test]
fn one_damaged_generation_of_the_manifest_is_a_warning() {
    for case in [Case::killed(), Case::closed()] {
        for path in manifests() {
            let damages: [Damage<'_>; 4] =
                [&|bytes| bytes[0] ^= 1, &|bytes| bytes[40] ^= 1, &|bytes| bytes[..512].fill(0), &|bytes| {
                    bytes.truncate(30)
                }];
            for damage in damages {
                case.edit(&path, damage);
                let report = case.opens();
                let name = path.file_name().unwrap().to_str().unwrap();
                assert!(report.warnings.iter().any(|w| w.contains(name)), "{:?}", report.warnings);
                assert_eq!(case.opens().warnings, Vec::<String>::new(), "the start has made it whole");
                case.repair();
            }
        }
    }
}

#[test]
fn one_missing_generation_of_the_manifest_is_a_warning() {
    let case = Case::killed();
    for path in manifests() {
        case.remove(&path);
        let report = case.opens();
        assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
        assert_eq!(case.opens().warnings, Vec::<String>::new());
        case.repair();
    }
}

#[test]
fn no_whole_generation_of_the_manifest_is_corruption() {
    let case = Case::killed();
    manifests().iter().for_each(|path| case.edit(path, |bytes| bytes[60] ^= 8));
    let (error, place) = case.corrupt();
    assert!(manifests().contains(&place.file), "{error}");
    case.edit(&manifests()[0], |bytes| bytes.clear());
    case.remove(&manifests()[1]);
    case.corrupt();
}

#[test]
fn data_without_a_manifest_is_corruption() {
    for case in [Case::killed(), Case::closed()] {
        manifests().iter().for_each(|path| case.remove(path));
        let (error, _) = case.corrupt();
        assert!(error.to_string().contains("MANIFEST is missing"), "{error}");
        // Also if only a snapshot is left.
        manifests().iter().for_each(|path| case.remove(path));
        if case.segments().len() < case.whole.len() && !snapshot_files(&case).is_empty() {
            case.segments().iter().for_each(|path| case.remove(path));
            case.corrupt();
        }
    }
}

#[test]
fn a_manifest_of_a_newer_version_is_unsupported() {
    let case = Case::killed();
    let newer_version =
        |bytes: &mut Vec<u8>| bytes[8..10].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let newer_feature = |bytes: &mut Vec<u8>| {
        let (generation, manifest) = Manifest::decode(bytes).unwrap();
        *bytes = Manifest { features: 1, ..manifest }.encode(generation);
    };
    let damages: [Damage<'_>; 2] = [&newer_version, &newer_feature];
    for newer in damages {
        manifests().iter().for_each(|path| case.edit(path, newer));
        let error = case.refused(ErrorKind::Unsupported);
        assert!(error.to_string().contains("newer"), "{error}");
        // Both are written before anything rests on them; so one alone counts like a torn one.
        for path in manifests() {
            case.edit(&path, newer);
            assert_eq!(case.opens().warnings.len(), 1);
            case.repair();
        }
    }
}

// ---- the snapshot ----

fn snapshot_files(case: &Case) -> Vec<PathBuf> {
    let is_group = |path: &PathBuf| path.extension().is_some_and(|e| e == "snap");
    case.lab.disk.tree().into_iter().map(|(path, _)| path).filter(is_group).collect()
}

#[test]
fn a_damaged_file_of_the_snapshot_is_corruption() {
    let case = Case::closed();
    let files = snapshot_files(&case);
    assert_eq!(files.len(), 4);
    for file in &files {
        let len = case.bytes(file).len();
        for byte in [0, 20, 40, 64, 70, len / 2, len - 84, len - 64, len - 30, len - 1] {
            case.edit(file, |bytes| bytes[byte] ^= 0x20);
            let (error, place) = case.corrupt();
            assert_eq!(&place.file, file, "{error}");
            assert!(place.offset as usize <= byte, "{error}");
        }
        for new_len in [0, 64, len - 1, len + 1] {
            case.edit(file, |bytes| bytes.resize(new_len, 0));
            let (error, place) = case.corrupt();
            assert_eq!(&place.file, file, "{error}");
        }
    }
}

#[test]
fn swapped_files_of_the_snapshot_are_corruption() {
    let case = Case::closed();
    let files = snapshot_files(&case);
    let (a, b) = (case.bytes(&files[0]), case.bytes(&files[1]));
    case.lab.disk.write_file(&files[0], &b);
    case.lab.disk.write_file(&files[1], &a);
    case.corrupt();
}

// ---- whose directory is it ----

#[test]
fn a_directory_of_another_program_is_unsupported_and_stays_as_it_is() {
    let foreign: [&[(&str, &[u8])]; 4] = [
        &[("photo.jpg", b"\xff\xd8")],
        &[("dump.rdb", b"REDIS0011"), ("appendonlydir/appendonly.aof.1.incr.aof", b"*1")],
        &[("wal/000000010000000000000001", b"x"), ("PG_VERSION", b"17"), ("base/1/1", b"")],
        &[(".hidden", b"")],
    ];
    for files in foreign {
        let lab = Lab::new(small(Fsync::Always));
        for (name, content) in files {
            lab.disk.write_file(Path::new(DIR).join(name), content);
        }
        let before = tree(&lab.disk);
        let error = lab.open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        same_tree(&before, &tree(&lab.disk), &error);
    }
}

#[test]
fn a_directory_that_is_open_is_locked_and_its_owner_goes_on() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let mut expected = Values::new();
    fill(&engine, &mut expected, 0..20);
    let before = tree(&lab.disk);
    let error = lab.open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    same_tree(&before, &tree(&lab.disk), &error);
    fill(&engine, &mut expected, 10..30);
    assert_eq!(values(&engine), expected);
    drop(engine);
    let engine = lab.open().unwrap();
    assert_eq!(values(&engine), expected);
}

#[test]
fn on_a_read_only_disk_nothing_is_changed() {
    for case in [Case::killed(), Case::killed_at_once(), Case::closed()] {
        case.lab.disk.set_read_only(true);
        let error = case.refused_unrepaired(ErrorKind::Io, || case.lab.disk.set_read_only(false));
        assert!(std::error::Error::source(&error).is_some(), "{error}");
    }
}

impl Case {
    fn opens_clean(&self) -> bool {
        let clean = self.opens().clean;
        self.repair();
        clean
    }
}

/// A Mark is what vouches; its length is part of how far the log reads ahead.
const _: () = assert!(disk_len(MARK_LEN) == 88);
