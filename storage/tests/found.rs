//! What fuzzing and the decision table have found. Each test is one defect, named after what must
//! hold; its head says what happened instead.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use emberkeep_storage::{
    Action, BatchOp, BatchOutcome, Condition, ErrorKind, Expiry, Fsync, Key, Settings, UnixMillis, Write,
    format::{
        checksum::crc32,
        frame::{Header, Kind, disk_len},
        manifest::Manifest,
        payload::TermStart,
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    offline::repair::{Assessment, Exclusive},
    sim::faults::{Call, Effect, Errno, Fault},
    vfs::Vfs,
    wal::scan::{Chain, Scan},
};

use crate::lab::{DIR, Lab, small};

/// Killed after some writes: `rounds` segments, about.
fn killed(rounds: usize) -> Lab {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    for i in 0..rounds * 10 {
        engine.put(format!("key-{i}").as_str(), Write::new(&[b'v'; 1000])).unwrap().wait().unwrap();
    }
    engine.idle().unwrap();
    Lab { disk: lab.disk.after_kill(), clock: lab.clock, settings: lab.settings }
}

fn segments(lab: &Lab) -> Vec<PathBuf> {
    let names = lab.files("wal").into_iter().map(|(name, _)| name).filter(|name| name.ends_with(".wal"));
    names.map(|name| Path::new(DIR).join("wal").join(name)).collect()
}

fn scanned(bytes: &[u8]) -> (SegmentHeader, Chain, usize) {
    let header = SegmentHeader::decode(bytes).unwrap();
    let chain =
        Chain { index: header.prev_index, crc: header.prev_crc, term: header.prev_term, ..Chain::default() };
    let mut scan = Scan::new(bytes, header, chain);
    while let Some(Ok(_)) = scan.next() {}
    (header, scan.chain(), scan.offset() as usize)
}

/// Fuzz target `segment`: `chain.index + gap + 1` in `wal::recover::recover` overflowed, and so
/// would `chain.index + 1` in `Scan`. Only a writer that is wrong or hostile comes so far, but a
/// data directory that cannot be read is refused, not the end of the process.
#[test]
fn a_log_that_has_used_up_all_numbers_is_refused() {
    for (index, and_one_more) in [(u64::MAX, false), (u64::MAX, true), (u64::MAX - 100, false)] {
        let lab = killed(1);
        let segment = segments(&lab).pop().unwrap();
        let mut bytes = lab.disk.read_file(&segment).unwrap();
        let (header, chain, end) = scanned(&bytes);
        let start = TermStart {
            run_id: header.run_id,
            node_id: [0; 16],
            prev_term: chain.term.into(),
            prev_index: chain.index,
            prev_crc: chain.crc,
        };
        let mut payload = Vec::new();
        start.encode(&mut payload);
        let mut head =
            Header { kind: Kind::TermStart, index, term: chain.term + 1, prev: chain.crc, ts: chain.ts };
        let mut at = end;
        for _ in 0..1 + usize::from(and_one_more) {
            let encoded = head.encode(payload.len(), crc32(&[&payload]), header.salt);
            bytes[at..at + encoded.len()].copy_from_slice(&encoded);
            bytes[at + encoded.len()..][..payload.len()].copy_from_slice(&payload);
            at += disk_len(payload.len());
            head = Header {
                kind: Kind::Flush,
                prev: u32::from_le_bytes(encoded[..4].try_into().unwrap()),
                ..head
            };
            payload = vec![0, 0];
        }
        lab.disk.write_file(&segment, &bytes);
        assert!(matches!(lab.open().unwrap_err().kind(), ErrorKind::Corrupt | ErrorKind::Unsupported));
    }
}

/// Fuzz target `segment`: the first frame of the last segment verified and had another number than
/// the segment's header said. The log was taken to end *behind* that frame, while the chain ended
/// before it: the start went on, and the next one found its own log corrupt.
#[test]
fn a_frame_that_is_not_the_first_of_its_segment_is_not_kept_in_it() {
    // A second run that has written nothing: no Mark vouches for the start of its term.
    let lab = killed(1);
    let engine = lab.open().unwrap();
    let lab = Lab { disk: lab.disk.after_kill(), clock: lab.clock, settings: lab.settings };
    drop(engine);
    let segment = segments(&lab).pop().unwrap();
    let bytes = lab.disk.read_file(&segment).unwrap();
    let header = SegmentHeader::decode(&bytes).unwrap();
    // The last segment, under the name of another first frame, header and MANIFEST alike.
    let forged = SegmentHeader { first_index: header.first_index + 1, ..header };
    let mut moved = forged.encode();
    moved.extend_from_slice(&bytes[SEGMENT_HEADER_LEN..]);
    assert!(lab.disk.remove(&segment));
    lab.disk.write_file(segment.with_file_name(format!("{:020}.wal", forged.first_index)), &moved);
    for name in ["MANIFEST-0", "MANIFEST-1"] {
        let path = Path::new(DIR).join(name);
        let (generation, mut manifest) = Manifest::decode(&lab.disk.read_file(&path).unwrap()).unwrap();
        manifest.segments.last_mut().unwrap().first_index = forged.first_index;
        lab.disk.write_file(&path, &manifest.encode(generation));
    }
    match lab.open() {
        Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}"),
        Ok(engine) => {
            drop(engine);
            lab.open().unwrap();
        }
    }
}

/// Fuzz target `engine`: `Expiry::At` of an instant that has passed makes an entry "absent at
/// once", and so it is for the next write; but for the later steps of the same batch it was
/// present, and a batch was refused that does nothing but what single writes may do.
#[test]
fn a_batch_step_does_not_see_an_entry_that_an_earlier_step_has_let_expire() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let past = Write { expiry: Expiry::At(UnixMillis(1)), ..Write::new(b"1") };
    let absent = Write { condition: Condition::Absent, ..Write::new(b"2") };
    engine.put("single", past).unwrap().wait().unwrap();
    engine.put("single", absent).unwrap().wait().unwrap();
    assert!(engine.get("single").wait().unwrap().is_some());

    let key = Key::from("batch");
    let ops = [past, absent].map(|write| BatchOp { key, action: Action::Put(write) });
    let committed = engine.batch(&ops, None).unwrap().wait().unwrap();
    assert!(matches!(committed.outcome, BatchOutcome::Applied(_)), "{:?}", committed.outcome);
}

/// Decision table: the refusal was right, but a missing generation of the MANIFEST had been
/// written anew before the log was looked at.
#[test]
fn a_refused_start_does_not_create_the_missing_manifest() {
    let lab = killed(3);
    let segment = &segments(&lab)[0];
    lab.disk.flip_bit(segment, SEGMENT_HEADER_LEN as u64 + 60, 0);
    assert!(lab.disk.remove(Path::new(DIR).join("MANIFEST-1")));
    let before = lab.disk.tree();
    assert_eq!(lab.open().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(lab.disk.tree(), before);
}

/// Decision table: a file of the snapshot that the MANIFEST names was gone, and the error was `Io`
/// ("the operating system refused"), with no place.
#[test]
fn a_missing_file_of_the_snapshot_is_corruption() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    engine.put("k", Write::new(b"v")).unwrap().wait().unwrap();
    engine.checkpoint().unwrap();
    engine.close().unwrap();
    let group =
        lab.disk.tree().into_iter().map(|(path, _)| path).find(|path| path.ends_with("002.snap")).unwrap();
    assert!(lab.disk.remove(&group));
    let error = lab.open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.place().map(|p| p.file.as_path()), Some(&*group));
}

/// Decision table: after a clean stop the last LSN is known, but the LSNs at risk were told as
/// `n..=18446744073709551615`, because another row of the table was looked at first.
#[test]
fn the_lsns_at_risk_after_a_clean_stop_end_where_the_log_ended() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let mut last = 0;
    for i in 0..5 {
        last = engine.put(format!("key-{i}").as_str(), Write::new(b"v")).unwrap().wait().unwrap().lsn.0;
    }
    engine.close().unwrap();
    let segment = segments(&lab).pop().unwrap();
    let len = lab.disk.read_file(&segment).unwrap().len() as u64;
    lab.disk.flip_bit(&segment, len - 20, 0);
    let error = lab.open().unwrap_err();
    assert_eq!(error.place().unwrap().lsns, Some((last, last)), "{error}");
}

/// Decision table: rotation was not noted in the MANIFEST, so after an unclean stop nothing knew
/// that the last segment had been there. Without its file the engine opened, 10 of 40 acknowledged
/// keys were gone, and neither `torn_bytes` nor a warning said so.
#[test]
fn a_missing_last_segment_after_an_unclean_stop_is_corruption() {
    let lab = killed(4);
    assert!(lab.disk.remove(segments(&lab).pop().unwrap()));
    let opened = lab.open().map(|engine| engine.recovery().clone());
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A failing test had printed it: the salt and the hash keys stood in the `Debug` of the engine.
#[test]
fn what_is_secret_is_not_in_the_debug_output() {
    let lab = killed(1);
    let engine = lab.open().unwrap();
    let (_, manifest) =
        Manifest::decode(&lab.disk.read_file(Path::new(DIR).join("MANIFEST-0")).unwrap()).unwrap();
    let commit = engine.put("k", Write::new(b"v")).unwrap();
    for text in [format!("{engine:?}"), format!("{commit:?}")] {
        assert!(!text.contains(&manifest.salt.to_string()), "{text}");
    }
}

/// Fuzz target `engine`: a read that failed while rotation was noted ended `idle` with `Io`, where
/// only `Halted` is promised: a pause of writes is not the caller's to repeat.
#[test]
fn rotation_is_noted_later_when_the_log_cannot_be_listed_now() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    for i in 0..20 {
        engine.put(format!("key-{i}").as_str(), Write::new(&[b'v'; 1000])).unwrap().wait().unwrap();
    }
    let last = segments(&lab).pop().unwrap();
    let named = || {
        let path = Path::new(DIR).join("MANIFEST-0");
        let newest = [path.clone(), path.with_file_name("MANIFEST-1")]
            .map(|path| Manifest::decode(&lab.disk.read_file(path).unwrap()).unwrap())
            .into_iter()
            .max_by_key(|(generation, _)| *generation);
        format!("{:020}.wal", newest.unwrap().1.segments.last().unwrap().first_index)
    };
    lab.disk.arm(Fault::next(Call::List, Effect::Fail(Errno::IO)));
    engine.idle().unwrap();
    assert!(!last.ends_with(named()));
    engine.idle().unwrap();
    assert!(last.ends_with(named()));
}

/// Every read of a start with a bit turned over: the header of the last segment was checked in one
/// read and written back, into the file that replaces it, from another. One wrong bit on its way
/// from the disk became damage on the disk, and the next start was refused.
#[test]
fn a_header_that_was_misread_is_not_written_back() {
    for n in 1.. {
        let lab = killed(2);
        lab.disk.arm(Fault::nth(Call::Read, n, Effect::FlipBit { offset: 0, bit: 0 }));
        if let Err(e) = lab.open() {
            assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Io), "n={n}: {e}");
        }
        if lab.disk.fault_hits() == 0 {
            break;
        }
        let lab = Lab { disk: lab.disk.after_kill(), clock: lab.clock, settings: lab.settings };
        assert_eq!(lab.open().unwrap().stats().items, 20, "n={n}");
    }
}

/// A copy of a torn tail that did not fit stayed behind, cut short: nothing said that it was a part,
/// and on a disk that was nearly full it took the last free bytes for good.
#[test]
fn a_copy_of_the_torn_tail_that_does_not_fit_is_not_left_in_part() {
    let lab = killed(1);
    let segment = segments(&lab).pop().unwrap();
    let mut bytes = lab.disk.read_file(&segment).unwrap();
    let (_, _, end) = scanned(&bytes);
    let torn = bytes.len() - end;
    bytes[end..].fill(0xee);
    lab.disk.write_file(&segment, &bytes);
    let used: u64 = lab.disk.tree().into_iter().map(|(_, len)| len).sum();
    lab.disk.set_capacity(Some(used + torn as u64 / 2));
    let engine = lab.open().unwrap();
    assert_eq!((engine.recovery().torn_bytes, &engine.recovery().lost_copy), (torn as u64, &None));
    assert_eq!(lab.files("lost"), []);
}

/// The empty segment that a repair leaves names no run, and runs go on in it: what they write is
/// vouched for as everywhere.
#[test]
fn what_is_written_into_the_fence_of_a_repair_is_proven_by_its_marks() {
    let lab = killed(3);
    let path = &segments(&lab)[1];
    lab.disk.flip_bit(path, SEGMENT_HEADER_LEN as u64 + 4000, 0);
    let vfs = Arc::new(lab.disk.clone());
    let exclusive = Exclusive::open(vfs, Path::new(DIR), true).unwrap();
    let Assessment::Damaged(plan) = exclusive.assess(&|_, _| {}).unwrap() else { panic!("it is damaged") };
    exclusive.repair(&plan, lab.clock_wall()).unwrap();
    drop(exclusive);
    let fence = segments(&lab).pop().unwrap();
    let mut disk = lab.disk.clone();
    for run in 0..3 {
        let lab = Lab { disk, clock: lab.clock.clone(), settings: lab.settings.clone() };
        let engine = lab.open().unwrap();
        for i in 0..run {
            assert!(engine.get(format!("run-{i}").as_str()).wait().unwrap().is_some());
        }
        engine.put(format!("run-{run}").as_str(), Write::new(b"v")).unwrap().wait().unwrap();
        engine.idle().unwrap();
        disk = lab.disk.after_kill();
        drop(engine);
    }
    let lab = Lab { disk, clock: lab.clock.clone(), settings: lab.settings.clone() };
    assert_eq!(segments(&lab).pop().unwrap(), fence);
    let bytes = lab.disk.read_file(&fence).unwrap();
    let (_, _, end) = scanned(&bytes);
    // Everything but the last Mark is vouched for.
    lab.disk.flip_bit(&fence, end as u64 - 200, 0);
    assert_eq!(lab.open().unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A trial by hand: after `rm -r wal` a start was refused as `Io` ("cannot list the log"), exit
/// code 5, where everything that the MANIFEST names is gone.
#[test]
fn a_missing_log_directory_is_corruption() {
    let lab = killed(2);
    for (name, _) in lab.files("wal") {
        assert!(lab.disk.remove(Path::new(DIR).join("wal").join(name)));
    }
    Vfs::remove_dir(&lab.disk, &Path::new(DIR).join("wal")).unwrap();
    let error = lab.open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.place().unwrap().lsns.is_some());
}

/// Crash laboratory, `never large 770003`: without threads a write made room once. One that found
/// the buffer taken and then needed a segment of its own was refused.
#[test]
fn a_large_write_behind_one_that_waits_finds_room() {
    let lab = Lab::new(Settings { staging_bytes: 4 << 10, ..small(Fsync::Never) });
    let engine = lab.open().unwrap();
    drop(engine.put("waits", Write::new(&[b'v'; 2000])).unwrap());
    engine.put("large", Write::new(&[b'v'; 9000])).unwrap().wait().unwrap();
    assert!(engine.get("waits").wait().unwrap().is_some());
}
