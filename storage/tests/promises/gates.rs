//! What may not leave yet: each kind of answer waits for what it rests on.

use super::*;

/// The answer waits as long as a power cut could take back what it rests on, and no longer.
fn waits<T: Unpin + std::fmt::Debug>(
    what: &str,
    engine: &Engine,
    mut answer: impl Future<Output = T> + Unpin,
) {
    assert!(!ready(&mut answer), "{what}: the answer left before it was durable");
    let before = engine.stats();
    assert!(before.durable < before.appended, "{what}: there was nothing to wait for");
    engine.step().unwrap();
    assert!(ready(&mut answer), "{what}: the answer did not leave when it was durable");
}

#[test]
fn an_entry_is_not_shown_before_it_is_durable() {
    let engine = Lab::new(small(Fsync::Always)).open().unwrap();
    put(&engine, "k", b"old");
    let write = put_unsynced(&engine, "k", b"new");
    waits("get", &engine, engine.get("k"));
    assert_eq!(write.wait().unwrap().level, Level::Disk);
    drop(put_unsynced(&engine, "k", b"newer"));
    waits("peek", &engine, engine.peek("k"));
    drop(put_unsynced(&engine, "k", b"newest"));
    waits("scan", &engine, engine.scan(Cursor::START, Key::from("k"), 10));
    assert!(ready(&mut engine.get("k")) && ready(&mut engine.get("never there")));
}

#[test]
fn that_a_key_was_deleted_is_not_shown_before_it_is_durable() {
    let engine = Lab::new(small(Fsync::Always)).open().unwrap();
    let gone = |engine: &Engine| {
        put(engine, "k", b"v");
        drop(delete(engine, "k"));
    };
    gone(&engine);
    waits("get", &engine, engine.get("k"));
    gone(&engine);
    waits("scan", &engine, engine.scan(Cursor::START, Key::from(""), 10));
    gone(&engine);
    // A round of the expirer frees no tombstone that somebody may still have to wait for.
    let (expirer, answer) = (&engine, engine.get("k"));
    let mut write = put_unsynced(expirer, "other", b"v");
    assert!(!ready(&mut write));
    waits("get", &engine, answer);
    gone(&engine);
    waits("delete again", &engine, delete(&engine, "k"));
    gone(&engine);
    let present = Write { condition: Condition::Present, ..Write::new(b"v") };
    waits("put if present", &engine, engine.put("k", present).unwrap());
    gone(&engine);
    waits("touch", &engine, engine.touch("k", Expiry::Never, Condition::Always, None).unwrap());
    gone(&engine);
    let refused = [BatchOp { key: Key::from("k"), action: Action::Put(present) }];
    waits("batch", &engine, engine.batch(&refused, None).unwrap());
    engine.check();
}

#[test]
fn a_tombstone_stays_until_its_removal_is_durable_whoever_writes_beside_it() {
    let settings = Settings { stripes: Some(1), ..small(Fsync::Always) };
    let engine = Lab::new(settings).open().unwrap();
    put(&engine, "k", b"v");
    drop(delete(&engine, "k"));
    // Every write begins by freeing the tombstones that nobody has to wait for any more.
    drop(put_unsynced(&engine, "other", b"v"));
    waits("get", &engine, engine.get("k"));
}

#[test]
fn that_a_key_was_flushed_is_not_shown_before_it_is_durable() {
    let engine = Lab::new(small(Fsync::Always)).open().unwrap();
    put(&engine, "k", b"v");
    drop(engine.flush(None, None).unwrap());
    waits("get", &engine, engine.get("k"));
    put(&engine, "k", b"v");
    drop(engine.flush(Some(0), None).unwrap());
    waits("scan", &engine, engine.scan(Cursor::START, Key::from(""), 10));
    drop(engine.flush(None, None).unwrap());
    waits("delete", &engine, delete(&engine, "k"));
}

#[test]
fn that_a_key_was_evicted_is_not_shown_before_it_is_durable() {
    let settings = Settings { max_items: Some(3), stripes: Some(1), ..small(Fsync::Always) };
    let engine = Lab::new(settings).open().unwrap();
    let keys = ["a", "b", "c"];
    for key in keys {
        put(&engine, key, b"v");
    }
    let newer = put_unsynced(&engine, "d", b"v").lsn();
    let evicted: Vec<_> = keys.into_iter().filter(|key| !ready(&mut engine.peek(*key))).collect();
    assert_eq!(evicted.len(), 1, "{evicted:?}");
    assert!(engine.stats().durable < newer);
    waits("get", &engine, engine.get(evicted[0]));
    assert_eq!(value(&engine, evicted[0]), None);
}

#[test]
fn that_a_key_has_expired_is_not_shown_before_its_deadline_is_durable() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    put(&engine, "k", b"v");
    drop(engine.touch("k", Expiry::In(Duration::from_secs(1)), Condition::Always, None).unwrap());
    lab.pass(Duration::from_secs(2));
    let (mut get, mut scan) = (engine.get("k"), engine.scan(Cursor::START, Key::from(""), 10));
    assert!(!ready(&mut get) && !ready(&mut scan), "without that deadline the key would be there");
    engine.sync().wait().unwrap();
    assert!(ready(&mut get) && ready(&mut scan));
    // Removed by whoever writes to the key: the answer rests on the removal.
    waits("delete", &engine, delete(&engine, "k"));
    let soon = Write { expiry: Expiry::In(Duration::from_secs(1)), ..Write::new(b"v") };
    engine.put("k", soon).unwrap().wait().unwrap();
    lab.pass(Duration::from_secs(2));
    let present = Write { condition: Condition::Present, ..Write::new(b"v") };
    waits("put if present", &engine, engine.put("k", present).unwrap());
}

#[test]
fn a_refusal_is_not_told_before_what_it_rests_on_is_durable() {
    let engine = Lab::new(small(Fsync::Always)).open().unwrap();
    let written = |engine: &Engine| put_unsynced(engine, "k", b"text").lsn();
    let absent = Write { condition: Condition::Absent, ..Write::new(b"v") };
    written(&engine);
    waits("put if absent", &engine, engine.put("k", absent).unwrap());
    let version = written(&engine).0;
    let other = Condition::VersionIn(&[1]);
    waits("put if version", &engine, engine.put("k", Write { condition: other, ..absent }).unwrap());
    assert_ne!(version, 1);
    written(&engine);
    waits("delete if version", &engine, engine.delete("k", other, None).unwrap());
    written(&engine);
    waits("touch if version", &engine, engine.touch("k", Expiry::Never, other, None).unwrap());
    written(&engine);
    let incr = engine.incr("k", 1, Incr::default()).unwrap();
    waits("incr", &engine, incr);
    written(&engine);
    let refused = [BatchOp { key: Key::from("k"), action: Action::Put(absent) }];
    waits("batch", &engine, engine.batch(&refused, None).unwrap());
    written(&engine);
    let incr = engine.incr("k", 1, Incr::default()).unwrap().wait().unwrap();
    assert_eq!(incr.outcome, IncrOutcome::NotAnInteger);
}
