//! What has left the cache does not come back with a value that its owner has replaced elsewhere.
//!
//! The scenario: a value is written and durable; it is evicted (or expires); its owner changes the
//! original and deletes the cached copy, which finds nothing; the power fails. A log that knows
//! the write and not the removal would serve the old value.

use super::*;

/// A cache that holds three entries, in one stripe.
fn full() -> Settings {
    Settings { max_items: Some(3), stripes: Some(1), ..small(Fsync::Always) }
}

/// Writes `k`, waits until it is on the disk, and writes others until it is gone.
fn evict_k(engine: &Engine) {
    put(engine, "k", b"stale");
    for i in 0.. {
        drop(put_unsynced(engine, &format!("other-{i}"), b"v"));
        // That it is gone may have to wait for the disk: then nobody was told yet.
        if !ready(&mut engine.peek("k")) || value(engine, "k").is_none() {
            return;
        }
        assert!(i < 100, "k is not evicted");
    }
}

fn expire_k(lab: &Lab, engine: &Engine) {
    let write = Write { expiry: Expiry::In(Duration::from_secs(10)), ..Write::new(b"stale") };
    engine.put("k", write).unwrap().wait().unwrap();
    lab.pass(Duration::from_secs(11));
}

/// Cuts at every operation from here on, in every mode of failing that the plan draws, also under
/// a clock that was set back to before everything.
fn after_every_cut(lab: &Lab, from: u64, holds: impl Fn(&Engine, &str)) {
    // Who restarts has no limits, so that only the log decides who is there.
    let settings = Settings { max_items: None, ..lab.settings.clone() };
    let mut images = 0;
    let mut points = lab.disk.crash_points();
    points.seek(from);
    loop {
        let point = points.point();
        let plan = Plan { exhaustive_max: 64, class_max: 4, seeded: 4, ..few(point.k()) };
        for choice in point.choices(&plan) {
            let what = format!("cut at {} {choice}", point.k());
            let clock = SimClock::new();
            let engine = lab_on(point.image(&choice), &clock, &settings).open().unwrap();
            holds(&engine, &what);
            images += 1;
        }
        if !points.advance() {
            break;
        }
    }
    assert!(images > 5, "images={images}");
}

fn k_is_absent(engine: &Engine, what: &str) {
    assert_eq!(value(engine, "k"), None, "{what}");
    engine.check();
}

/// Something happens after the acknowledgement, so that there is something to cut.
fn go_on(engine: &Engine) {
    for i in 0..6 {
        put(engine, &format!("later-{i}"), &[i; 700]);
    }
    engine.checkpoint().unwrap();
    put(engine, "last", b"v");
}

#[test]
fn a_value_that_was_evicted_and_then_deleted_by_its_owner_never_comes_back() {
    let lab = Lab::new(full());
    let engine = lab.open().unwrap();
    evict_k(&engine);
    assert_eq!(delete(&engine, "k").wait().unwrap().outcome, DeleteOutcome::Absent);
    let acknowledged = lab.disk.op_count();
    go_on(&engine);
    after_every_cut(&lab, acknowledged, k_is_absent);
}

#[test]
fn a_value_that_expired_and_was_then_deleted_by_its_owner_never_comes_back() {
    for removed_first in [false, true] {
        let lab = Lab::new(full());
        let engine = lab.open().unwrap();
        expire_k(&lab, &engine);
        if removed_first {
            engine.step().unwrap();
            assert_eq!(engine.stats().expired, 1);
        }
        assert_eq!(delete(&engine, "k").wait().unwrap().outcome, DeleteOutcome::Absent);
        let acknowledged = lab.disk.op_count();
        go_on(&engine);
        after_every_cut(&lab, acknowledged, k_is_absent);
    }
}

/// Whoever was told "created" is not answered with the value of somebody before him.
#[test]
fn a_put_if_absent_after_an_eviction_leaves_its_own_value_and_never_the_evicted_one() {
    let lab = Lab::new(full());
    let engine = lab.open().unwrap();
    evict_k(&engine);
    let begun = lab.disk.op_count();
    let absent = Write { condition: Condition::Absent, ..Write::new(b"fresh") };
    let outcome = engine.put("k", absent).unwrap().wait().unwrap().outcome;
    assert_eq!(outcome, PutOutcome::Created);
    let acknowledged = lab.disk.op_count();
    put(&engine, "last", b"v");
    after_every_cut(&lab, acknowledged, |engine, what| {
        assert_eq!(value(engine, "k").as_deref(), Some(&b"fresh"[..]), "{what}");
    });
    // Before the answer both are possible, but who finds the new value finds no trace of the old.
    after_every_cut(&lab, begun, |engine, what| {
        if let Some(found) = value(engine, "k") {
            assert!(found == b"fresh" || found == b"stale", "{what}");
            assert_eq!(engine.put("k", absent).unwrap().wait().unwrap().outcome, refused(engine), "{what}");
        }
    });
}

fn refused(engine: &Engine) -> PutOutcome {
    PutOutcome::Refused { current: engine.peek("k").wait().unwrap().map(|entry| entry.version()) }
}

/// Removal frames are the price of that promise. Several victims share one.
#[test]
fn under_a_limit_of_bytes_victims_share_their_frames_and_a_limit_of_items_is_exact() {
    let limits = [(Some(4 << 20), None), (None, Some(5000))];
    for (max_bytes, max_items) in limits {
        let sizes = Settings { segment_bytes: 1 << 20, staging_bytes: 1 << 20, ..small(Fsync::Never) };
        let settings = Settings { max_bytes, max_items, stripes: Some(16), ..sizes };
        let engine = Lab::new(Settings { checkpoint_bytes: 1 << 40, max_replay_bytes: 1 << 40, ..settings })
            .open()
            .unwrap();
        let write = |i: u32| {
            drop(put_unsynced(&engine, &format!("key:{i:012}"), &[7; 512]));
            if i.is_multiple_of(64) {
                engine.step().unwrap();
            }
        };
        let mut i = 0;
        while engine.stats().evictions < 1000 {
            write(i);
            i += 1;
        }
        let before = engine.stats();
        for i in i..i + 8000 {
            write(i);
            let stats = engine.stats();
            assert!(stats.bytes <= max_bytes.unwrap_or(u64::MAX), "{stats:?}");
            assert!(max_items.is_none_or(|max| stats.items == max), "{stats:?}");
        }
        let after = engine.stats();
        // One frame for each put; what is beyond that removes.
        let removals = after.appended.0 - before.appended.0 - 8000;
        let evicted = after.evictions - before.evictions;
        match max_bytes {
            Some(_) => assert!(removals * 5 < evicted, "removals={removals} evicted={evicted}"),
            None => assert_eq!((removals, evicted), (8000, 8000)),
        }
        engine.check();
    }
}

/// The fill of the stripes does not drift apart: one that has less than its share gives nothing
/// ahead.
#[test]
fn however_long_it_goes_on_a_full_cache_keeps_what_was_written_last() {
    let sizes = Settings { segment_bytes: 1 << 20, staging_bytes: 1 << 20, ..small(Fsync::Never) };
    let settings = Settings { max_bytes: Some(1 << 20), stripes: Some(16), ..sizes };
    let lab = Lab::new(Settings {
        eviction: Eviction::Lru,
        checkpoint_bytes: 1 << 40,
        max_replay_bytes: 1 << 40,
        ..settings
    });
    let engine = lab.open().unwrap();
    let name = |i: u32| format!("key:{i:012}");
    let last = 300_000;
    for i in 0..last {
        drop(put_unsynced(&engine, &name(i), &[7; 100]));
        if i % 512 == 0 {
            engine.step().unwrap();
        }
    }
    let items = engine.stats().items as u32;
    let recent = (last - items / 2..last).filter(|i| value(&engine, &name(*i)).is_some()).count() as u32;
    assert!(recent * 100 >= items / 2 * 95, "recent={recent} items={items}");
}

#[test]
fn what_expires_together_leaves_in_few_frames_whatever_the_longest_key_may_be() {
    let settings = Settings {
        max_key_bytes: 4096,
        segment_bytes: 1 << 20,
        staging_bytes: 1 << 20,
        stripes: Some(4),
        ..small(Fsync::Always)
    };
    let lab = Lab::new(settings);
    let engine = lab.open().unwrap();
    let soon = |value| Write { expiry: Expiry::In(Duration::from_secs(10)), ..Write::new(value) };
    for i in 0..2000 {
        drop(engine.put(format!("key:{i:012}").as_str(), soon(b"v")).unwrap());
        if i % 100 == 0 {
            engine.step().unwrap();
        }
    }
    // The longest keys leave as well, if need be alone.
    for i in 0..20 {
        drop(engine.put(format!("{i:04096}").as_str(), soon(b"v")).unwrap());
        engine.step().unwrap();
    }
    engine.sync().wait().unwrap();
    lab.pass(Duration::from_secs(11));
    let before = engine.stats();
    for _ in 0..40 {
        engine.step().unwrap();
    }
    let after = engine.stats();
    assert_eq!((after.items, after.expired), (0, 2020));
    let frames = after.appended.0 - before.appended.0;
    assert!(frames <= 60, "frames={frames}");
    engine.check();
    drop(engine);
    assert_eq!(lab.open().unwrap().stats().items, 0);
}
