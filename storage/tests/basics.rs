//! What a user of the engine sees: reads, writes, conditions, counters, batches, scans, restarts.

use std::time::Duration;

use emberkeep_storage::{
    Action, ActionOutcome, BatchOp, BatchOutcome, Condition, Cursor, DeleteOutcome, Engine, ErrorKind,
    Expiry, Fsync, Incr, IncrOutcome, Key, Level, PutOutcome, Settings, TouchOutcome, Write,
};

use crate::lab::{Lab, small, values};

fn put(engine: &Engine, key: &str, value: &[u8]) -> u64 {
    engine.put(key, Write::new(value)).unwrap().wait().unwrap().lsn.0
}

fn value(engine: &Engine, key: &str) -> Option<Vec<u8>> {
    engine.get(key).wait().unwrap().map(|e| e.value().unwrap().to_vec())
}

#[test]
fn what_was_put_is_read_back_and_survives_a_clean_restart() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    assert!(engine.recovery().created);
    let write = Write { content_type: Some("text/plain"), ..Write::new(b"v") };
    let committed = engine.put("k", write).unwrap().wait().unwrap();
    assert_eq!((committed.outcome, committed.level), (PutOutcome::Created, Level::Disk));
    engine.close().unwrap();

    let engine = lab.open().unwrap();
    assert!(engine.recovery().clean);
    assert!(!engine.recovery().created);
    let entry = engine.get("k").wait().unwrap().unwrap();
    assert_eq!((&*entry.value().unwrap(), entry.content_type()), (&b"v"[..], Some("text/plain")));
    assert_eq!(entry.version(), committed.lsn.0);
    engine.check();
}

#[test]
fn conditions_are_decided_with_the_write() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    fn put_if(engine: &Engine, condition: Condition<'_>) -> PutOutcome {
        let write = Write { condition, ..Write::new(b"v") };
        engine.put("k", write).unwrap().wait().unwrap().outcome
    }
    let put_if = |condition: Condition<'_>| put_if(&engine, condition);
    assert_eq!(put_if(Condition::Present), PutOutcome::Refused { current: None });
    assert_eq!(put_if(Condition::Absent), PutOutcome::Created);
    let version = engine.get("k").wait().unwrap().unwrap().version();
    assert_eq!(put_if(Condition::Absent), PutOutcome::Refused { current: Some(version) });
    assert_eq!(put_if(Condition::VersionIn(&[version + 1])), PutOutcome::Refused { current: Some(version) });
    assert_eq!(put_if(Condition::VersionIn(&[1, version])), PutOutcome::Replaced);
    let deleted = engine.delete("k", Condition::VersionIn(&[version]), None).unwrap().wait().unwrap();
    assert!(matches!(deleted.outcome, DeleteOutcome::Refused { current: Some(_) }));
    let deleted = engine.delete("k", Condition::Always, None).unwrap().wait().unwrap();
    assert_eq!(deleted.outcome, DeleteOutcome::Deleted);
    let deleted = engine.delete("k", Condition::Always, None).unwrap().wait().unwrap();
    assert_eq!(deleted.outcome, DeleteOutcome::Absent);
}

#[test]
fn an_entry_is_gone_at_its_deadline_and_a_touch_moves_it() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    for key in ["a", "b"] {
        let write = Write { expiry: Expiry::In(Duration::from_secs(10)), ..Write::new(b"v") };
        engine.put(key, write).unwrap().wait().unwrap();
    }
    let touch = engine.touch("b", Expiry::In(Duration::from_secs(100)), Condition::Always, None).unwrap();
    assert!(matches!(touch.wait().unwrap().outcome, TouchOutcome::Touched { deadline: Some(_) }));
    lab.pass(Duration::from_millis(9_999));
    assert!(value(&engine, "a").is_some());
    lab.pass(Duration::from_millis(1));
    assert_eq!(value(&engine, "a"), None);
    assert!(value(&engine, "b").is_some());
    assert_eq!(engine.stats().items, 2);
    lab.pass(Duration::from_secs(1));
    engine.step().unwrap();
    assert_eq!((engine.stats().items, engine.stats().expired), (1, 1));
    engine.check();
    drop(engine);
    let engine = lab.open().unwrap();
    assert_eq!(value(&engine, "a"), None);
    lab.pass(Duration::from_secs(100));
    assert_eq!(value(&engine, "b"), None);
}

#[test]
fn a_counter_counts_and_says_when_it_cannot() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let incr = |key: &str, by| {
        engine.incr(key, by, Incr { initial: 10, ..Incr::default() }).unwrap().wait().unwrap().outcome
    };
    assert_eq!(incr("n", 5), IncrOutcome::Value(15));
    assert_eq!(incr("n", -20), IncrOutcome::Value(-5));
    assert_eq!(value(&engine, "n"), Some(b"-5".to_vec()));
    assert_eq!(incr("n", i64::MIN), IncrOutcome::Overflow);
    put(&engine, "text", b"x");
    assert_eq!(incr("text", 1), IncrOutcome::NotAnInteger);
}

#[test]
fn a_batch_is_all_or_nothing_and_later_steps_see_earlier_ones() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    put(&engine, "gone", b"x");
    let step = |key: &'static str, action| BatchOp { key: Key::from(key), action };
    let ops = [
        step("a", Action::Put(Write::new(b"1"))),
        step("a", Action::Incr(4, Incr::default())),
        step("gone", Action::Delete(Condition::Present)),
        step("b", Action::Put(Write::new(b"2"))),
        step("b", Action::Delete(Condition::Always)),
    ];
    let committed = engine.batch(&ops, None).unwrap().wait().unwrap();
    let BatchOutcome::Applied(outcomes) = committed.outcome else { panic!() };
    assert_eq!(outcomes[1], ActionOutcome::Incr(IncrOutcome::Value(5)));
    assert_eq!(value(&engine, "a"), Some(b"5".to_vec()));
    assert_eq!((value(&engine, "b"), value(&engine, "gone")), (None, None));

    let ops = [step("c", Action::Put(Write::new(b"1"))), step("a", Action::Delete(Condition::Absent))];
    let committed = engine.batch(&ops, None).unwrap().wait().unwrap();
    assert!(matches!(committed.outcome, BatchOutcome::Refused { index: 1, .. }));
    assert_eq!(value(&engine, "c"), None);
    engine.check();
    drop(engine);
    let engine = lab.open().unwrap();
    assert_eq!(
        (value(&engine, "a"), value(&engine, "b"), value(&engine, "c")),
        (Some(b"5".to_vec()), None, None)
    );
}

#[test]
fn a_scan_finds_every_key_with_the_prefix_once() {
    let lab = Lab::new(small(Fsync::Never));
    let engine = lab.open().unwrap();
    for i in 0..500 {
        put(&engine, &format!("user/{i}"), b"v");
        put(&engine, &format!("other/{i}"), b"v");
    }
    let mut found = Vec::new();
    let mut cursor = Some(Cursor::START);
    while let Some(at) = cursor {
        let page = engine.scan(at, Key::from("user/"), 7).wait().unwrap();
        found.extend(page.entries.iter().map(|e| e.key().bytes.to_vec()));
        cursor = page.next;
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 500);
}

#[test]
fn a_flush_ends_one_namespace_or_all() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let other = Key { namespace: 3, bytes: b"k" };
    put(&engine, "k", b"v");
    engine.put(other, Write::new(b"v")).unwrap().wait().unwrap();
    engine.flush(Some(0), None).unwrap().wait().unwrap();
    assert_eq!(value(&engine, "k"), None);
    assert!(engine.get(other).wait().unwrap().is_some());
    engine.flush(None, None).unwrap().wait().unwrap();
    put(&engine, "later", b"v");
    drop(engine);
    let engine = lab.open().unwrap();
    assert!(engine.get(other).wait().unwrap().is_none());
    assert!(value(&engine, "later").is_some());
}

#[test]
fn the_cache_stays_within_its_limits() {
    let settings = Settings { max_items: Some(50), max_bytes: Some(64 << 10), ..small(Fsync::Always) };
    let lab = Lab::new(settings);
    let engine = lab.open().unwrap();
    for i in 0..2000 {
        put(&engine, &format!("key-{i}"), &vec![b'x'; i % 3000]);
        let stats = engine.stats();
        assert!(stats.items <= 50, "{stats:?}");
        assert!(stats.bytes <= (64 << 10) + (64 << 10) / 50, "{stats:?}");
    }
    assert!(engine.stats().evictions > 1900);
    engine.check();
    let before: Vec<_> =
        (0..2000).filter(|i| engine.peek(format!("key-{i}").as_str()).wait().unwrap().is_some()).collect();
    drop(engine);
    let engine = lab.open().unwrap();
    let after: Vec<_> =
        (0..2000).filter(|i| engine.peek(format!("key-{i}").as_str()).wait().unwrap().is_some()).collect();
    assert_eq!(before, after, "what was evicted does not come back, and nothing else is gone");
}

#[test]
fn a_checkpoint_prunes_the_log_and_a_restart_loads_it() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    for round in 0..3 {
        for i in 0..200 {
            put(&engine, &format!("key-{i}"), format!("value-{round}-{i}").as_bytes());
        }
        let report = engine.checkpoint().unwrap();
        assert_eq!(report.entries, 200);
        assert!(report.pruned_segments > 0);
    }
    put(&engine, "after", b"x");
    engine.delete("key-0", Condition::Always, None).unwrap().wait().unwrap();
    drop(engine);
    assert_eq!(lab.files("snap").len(), 4, "one snapshot of four stripes is left");
    let engine = lab.open().unwrap();
    let report = engine.recovery();
    assert_eq!(report.snapshot_entries, 200);
    assert!(report.replayed_frames <= 3, "{report:?}");
    assert_eq!(value(&engine, "key-0"), None);
    assert_eq!(value(&engine, "key-199"), Some(b"value-2-199".to_vec()));
    assert_eq!(value(&engine, "after"), Some(b"x".to_vec()));
    engine.check();
}

#[test]
fn values_larger_than_a_segment_get_one_of_their_own() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let large: Vec<u8> = (0..50_000u32).map(|i| i as u8).collect();
    for i in 0..4 {
        put(&engine, &format!("small-{i}"), b"v");
        engine.ready(large.len() + 20).wait().unwrap();
        put(&engine, &format!("large-{i}"), &large);
    }
    put(&engine, "last", b"v");
    drop(engine);
    let engine = lab.open().unwrap();
    for i in 0..4 {
        assert_eq!(value(&engine, &format!("large-{i}")).as_deref(), Some(&large[..]));
    }
    assert!(value(&engine, "last").is_some());
}

#[test]
fn bad_input_is_refused_with_a_message_that_says_what_would_be_right() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let refused = |key: &[u8], write: Write<'_>| {
        let error = engine.put(key, write).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    assert_eq!(refused(b"", Write::new(b"v")), "the key is empty");
    assert_eq!(refused(&[1; 65], Write::new(b"v")), "the key is too long, len=65 max=64");
    assert!(refused(b"k", Write::new(&vec![0; 70_000])).contains("max=65536"));
    assert!(
        refused(b"k", Write { content_type: Some("a\nb"), ..Write::new(b"v") }).contains("visible ASCII")
    );
    assert!(refused(b"k", Write { level: Some(Level::Os), ..Write::new(b"v") }).contains("allows no less"));
    assert_eq!(engine.stats().items, 0);
}

#[test]
fn a_batch_with_a_check_happens_only_if_it_holds() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let version = put(&engine, "lock", b"mine");
    let batch = |condition: Condition<'_>| {
        let check = BatchOp { key: "lock".into(), action: Action::Check(condition) };
        let put = BatchOp { key: "a".into(), action: Action::Put(Write::new(b"1")) };
        engine.batch(&[check, put], None).unwrap().wait().unwrap().outcome
    };
    let wrong = [version + 1];
    let refused = BatchOutcome::Refused { index: 0, outcome: ActionOutcome::Check(false) };
    assert_eq!(batch(Condition::VersionIn(&wrong)), refused);
    assert_eq!(value(&engine, "a"), None);
    assert!(matches!(batch(Condition::VersionIn(&[version])), BatchOutcome::Applied(_)));
    assert_eq!(value(&engine, "a"), Some(b"1".to_vec()));
    // A check writes nothing, so the version is as it was.
    assert_eq!(engine.get("lock").wait().unwrap().unwrap().version(), version);
}

#[test]
fn entries_are_counted_by_namespace_whatever_happens_to_them() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let key = |namespace, name: &'static str| Key { namespace, bytes: name.as_bytes() };
    let put = |namespace, name| {
        engine.put(key(namespace, name), Write::new(b"v")).unwrap().wait().unwrap();
    };
    let counts = |engine: &Engine| [0, 1, 15].map(|namespace| engine.count(namespace).unwrap());
    for name in ["a", "b", "c"] {
        put(0, name);
        put(1, name);
    }
    put(15, "a");
    put(700, "a");
    put(0, "a");
    assert_eq!(counts(&engine), [3, 3, 1]);
    engine.delete(key(0, "b"), Condition::Always, None).unwrap().wait().unwrap();
    engine.flush(Some(1), None).unwrap().wait().unwrap();
    assert_eq!(counts(&engine), [2, 0, 1]);
    let any = engine.any_of(0, 7).wait().unwrap().unwrap();
    assert!(["a", "c"].map(str::as_bytes).contains(&any.key().bytes));
    assert!(engine.any_of(1, 7).wait().unwrap().is_none());
    assert_eq!(engine.count(16).unwrap_err().kind(), ErrorKind::Invalid);
    drop(engine);
    let engine = lab.open().unwrap();
    assert_eq!(counts(&engine), [2, 0, 1]);
    engine.check();
}

#[test]
fn without_a_log_everything_works_and_nothing_survives() {
    let lab = Lab::new(small(Fsync::Off));
    let engine = lab.open().unwrap();
    let committed = engine.put("k", Write::new(b"v")).unwrap().wait().unwrap();
    assert_eq!(committed.level, Level::Memory);
    let incr = engine.incr("n", 5, Incr::default()).unwrap().wait().unwrap();
    assert_eq!(incr.outcome, IncrOutcome::Value(5));
    let ops = [BatchOp { key: "k".into(), action: Action::Delete(Condition::Present) }];
    engine.batch(&ops, None).unwrap().wait().unwrap();
    assert_eq!((value(&engine, "k"), value(&engine, "n")), (None, Some(b"5".to_vec())));
    // What it cannot do it does not promise.
    let asked = Write { level: Some(Level::Disk), ..Write::new(b"v") };
    assert_eq!(engine.put("k", asked).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(engine.checkpoint().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(engine.stats().log_bytes, 0);
    engine.flush(None, None).unwrap().wait().unwrap();
    assert_eq!(value(&engine, "n"), None);
    put(&engine, "again", b"v");
    engine.check();
    engine.close().unwrap();
    assert!(values(&lab.open().unwrap()).is_empty());
}
