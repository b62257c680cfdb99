//! Atomicity, the order of removals, and numbers.

use super::*;

#[test]
fn a_batch_is_there_whole_or_not_at_all_after_every_cut() {
    for fsync in [Fsync::Always, Fsync::Never] {
        let lab = Lab::new(small(fsync));
        let engine = lab.open().unwrap();
        put(&engine, "c", b"old");
        engine.sync().wait().unwrap();
        let begun = lab.disk.op_count();
        for round in 0..4u8 {
            let value = vec![round; 1500];
            let step = |key: &'static str, action| BatchOp { key: Key::from(key), action };
            let ops = [
                step("a", Action::Put(Write::new(&value))),
                step("b", Action::Put(Write::new(&value))),
                if round % 2 == 0 {
                    step("c", Action::Delete(Condition::Always))
                } else {
                    step("c", Action::Put(Write::new(&value)))
                },
            ];
            let committed = engine.batch(&ops, Some(Level::Disk)).unwrap().wait().unwrap();
            assert!(matches!(committed.outcome, BatchOutcome::Applied(_)));
        }
        let mut crasher = lab.disk.crash_points();
        crasher.seek(begun);
        for point in crasher {
            let plan = Plan { exhaustive_max: 64, class_max: 3, ..few(point.k()) };
            for choice in point.choices(&plan) {
                let engine = lab_on(point.image(&choice), &lab.clock, &lab.settings).open().unwrap();
                let [a, b, c] = ["a", "b", "c"].map(|key| value(&engine, key).map(|v| v[0]));
                let whole = match a {
                    None => b.is_none() && c == Some(b'o'),
                    Some(round) => b == Some(round) && c == (round % 2 == 1).then_some(round),
                };
                assert!(whole, "{a:?} {b:?} {c:?}, cut at {} {choice}", point.k());
            }
        }
    }
}

/// At no frame of the log does it hold more entries than the limit: who makes room is logged
/// before who takes it, so a cut between the two brings nobody back.
#[test]
fn who_leaves_is_logged_before_who_comes() {
    let settings = Settings { max_items: Some(10), ..small(Fsync::Always) };
    let lab = Lab::new(settings);
    let engine = lab.open().unwrap();
    for i in 0..300 {
        drop(put_unsynced(&engine, &format!("key-{i}"), b"v"));
        if i % 9 == 0 {
            let steps = ["x", "y", "z"]
                .map(|key| BatchOp { key: Key::from(key), action: Action::Put(Write::new(b"v")) });
            drop(engine.batch(&steps, None).unwrap());
            drop(delete(&engine, "y"));
        }
    }
    engine.sync().wait().unwrap();
    let mut live = std::collections::BTreeSet::new();
    let segments: BTreeMap<PathBuf, _> = lab.disk.all_contents_ever(".wal").into_iter().collect();
    for bytes in segments.values() {
        let salt = SegmentHeader::decode(bytes).unwrap().salt;
        let mut at = SEGMENT_HEADER_LEN;
        while let Ok(frame) = frame::decode(&bytes[at..], salt) {
            at += frame.disk_len();
            let mut apply = |op: &Op<'_>| {
                _ = match op {
                    Op::Delete(key) => live.remove(key.bytes),
                    op => live.insert(op.key().bytes.to_vec()),
                }
            };
            match payload::decode(&frame).unwrap() {
                Payload::Op(op) => apply(&op),
                Payload::Txn(ops) => ops.iter().for_each(|op| apply(&op)),
                Payload::Remove(_, keys) => keys.iter().for_each(|(key, _)| assert!(live.remove(key.bytes))),
                _ => {}
            }
            assert!(live.len() <= 10, "lsn={}: {} entries", frame.header.index, live.len());
        }
    }
    let expected: Vec<_> = state(&engine).into_keys().map(String::into_bytes).collect();
    assert_eq!(live.into_iter().collect::<Vec<_>>(), expected);
}

/// I7. A start that is cut itself does not forget how much the run before it may have lost.
#[test]
fn no_number_is_used_twice_when_a_restart_is_cut_too() {
    let settings = Settings { segment_bytes: 64 << 10, staging_bytes: 4 << 10, ..small(Fsync::Never) };
    let lab = Lab::new(Settings { checkpoint_bytes: 1 << 20, ..settings });
    let engine = lab.open().unwrap();
    put(&engine, "k", b"v");
    engine.sync().wait().unwrap();
    let mut handed_out = Lsn::ZERO;
    for i in 0..400 {
        handed_out = put(&engine, "k", format!("{i}").as_bytes());
    }
    let first = lab_on(cut(&lab.disk, &Choice::None), &lab.clock, &lab.settings);
    drop(first.open().unwrap());
    for point in first.disk.crash_points() {
        for choice in [Choice::None, Choice::All] {
            let second = lab_on(point.image(&choice), &lab.clock, &lab.settings);
            let engine = second.open().unwrap();
            let next = put(&engine, "other", b"v");
            assert!(next > handed_out, "lsn={next} is used again, cut at {} {choice}", point.k());
        }
    }
}
