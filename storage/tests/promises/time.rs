//! Deadlines under clocks that are set, restarts and kills.

use super::*;

/// How late a deadline may be noticed, and how early.
const LATE_MAX: Duration = Duration::from_secs(1);
const EARLY_MAX: Duration = Duration::from_millis(10);
const TTL: Duration = Duration::from_secs(30);
const HOUR_MS: i64 = 3_600_000;

fn put_for(engine: &Engine, key: &str, ttl: Duration) {
    engine.put(key, Write { expiry: Expiry::In(ttl), ..Write::new(b"v") }).unwrap().wait().unwrap();
}

/// The wall clock is set forward and back while keys that were written before, between and after
/// run down. `true_time` is what a clock that nobody sets would show.
#[test]
fn a_wall_clock_that_is_set_again_and_again_moves_no_deadline() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let mut true_time = Duration::ZERO;
    let mut deadlines: Vec<(String, Duration)> = Vec::new();
    let tick = Duration::from_millis(250);
    for round in 0..600u32 {
        if round < 400 && round % 7 == 0 {
            let (key, ttl) =
                (format!("key-{round}"), Duration::from_millis(1 + u64::from(round * 37 % 20_000)));
            put_for(&engine, &key, ttl);
            deadlines.push((key, true_time + ttl));
        }
        match round % 23 {
            3 => lab.clock.jump_wall(HOUR_MS),
            9 | 17 => lab.clock.jump_wall(-HOUR_MS),
            _ => {}
        }
        engine.step().unwrap();
        lab.pass(tick);
        true_time += tick;
        for (key, deadline) in &deadlines {
            let there = value(&engine, key).is_some();
            assert!(there || true_time + EARLY_MAX >= *deadline, "{key} early: {true_time:?} {deadline:?}");
            assert!(!there || true_time <= *deadline + EARLY_MAX, "{key} late: {true_time:?} {deadline:?}");
        }
        // And it stops taking up memory within a second.
        let due =
            deadlines.iter().filter(|(_, deadline)| *deadline + LATE_MAX + tick < true_time).count() as u64;
        assert!(engine.stats().expired >= due, "{} of {due} at {true_time:?}", engine.stats().expired);
    }
    assert_eq!(engine.stats().items, 0);
}

/// A stop takes time. The clock comes up an hour behind: what had expired stays away, and what had
/// not lives at most as long as it had left.
#[test]
fn after_a_restart_under_a_clock_that_was_set_back_nothing_that_had_expired_is_there() {
    for how in ["closed", "killed", "cut"] {
        let lab = Lab::new(small(Fsync::Always));
        let engine = lab.open().unwrap();
        put_for(&engine, "gone", Duration::from_secs(5));
        put_for(&engine, "left", TTL);
        lab.pass(Duration::from_secs(10));
        assert_eq!(value(&engine, "gone"), None);
        // A stop in order, or any write, tells the log what time it is.
        match how {
            "closed" => engine.close().unwrap(),
            _ => drop(put(&engine, "other", b"v")),
        }
        let disk = if how == "cut" { cut(&lab.disk, &Choice::None) } else { lab.disk.after_kill() };
        let clock = SimClock::new();
        clock.jump_wall(-HOUR_MS);
        let second = lab_on(disk, &clock, &lab.settings);
        let engine = second.open().unwrap();
        assert_eq!(value(&engine, "gone"), None, "{how}");
        assert!(value(&engine, "left").is_some(), "{how}");
        clock.advance(TTL - Duration::from_secs(10) - EARLY_MAX);
        assert!(value(&engine, "left").is_some(), "{how}: early");
        clock.advance(EARLY_MAX);
        assert_eq!(value(&engine, "left"), None, "{how}: late");
        // Nor does time come again for the start after it, which comes up even earlier.
        put(&engine, "another", b"v");
        let third = lab_on(second.disk.after_kill(), &SimClock::at(UnixMillis(0)), &lab.settings);
        let engine = third.open().unwrap();
        assert_eq!((value(&engine, "gone"), value(&engine, "left")), (None, None), "{how}");
    }
}

/// Killed at any write: whoever was seen to be gone is gone, whatever the clock says then.
#[test]
fn a_key_that_was_seen_to_have_expired_is_not_served_after_a_kill_under_any_clock() {
    for jump_ms in [-HOUR_MS, -20_000, 0, HOUR_MS] {
        let lab = Lab::new(small(Fsync::Always));
        let engine = lab.open().unwrap();
        put_for(&engine, "k", Duration::from_secs(5));
        lab.pass(Duration::from_secs(6));
        // Seen to be gone by a delete: the answer rests on a removal that is in the log.
        let outcome = delete(&engine, "k").wait().unwrap().outcome;
        assert_eq!(outcome, DeleteOutcome::Absent);
        let killed = lab.disk.op_count();
        put(&engine, "other", b"v");
        let mut points = lab.disk.crash_points();
        points.seek(killed);
        loop {
            let point = points.point();
            for choice in point.choices(&few(point.k())) {
                let clock = SimClock::new();
                clock.jump_wall(jump_ms);
                let engine = lab_on(point.image(&choice), &clock, &lab.settings).open().unwrap();
                assert_eq!(value(&engine, "k"), None, "jump_ms={jump_ms} cut at {} {choice}", point.k());
            }
            if !points.advance() {
                break;
            }
        }
    }
}

/// A session that is extended with each request.
#[test]
fn extending_a_deadline_a_hundred_thousand_times_costs_no_memory() {
    let lab = Lab::new(Settings { staging_bytes: 1 << 20, ..small(Fsync::Never) });
    let engine = lab.open().unwrap();
    for i in 0..100 {
        put_for(&engine, &format!("session-{i}"), TTL);
    }
    let before = engine.stats();
    for round in 0..100_000u32 {
        let key = format!("session-{}", round % 100);
        drop(engine.touch(key.as_str(), Expiry::In(TTL), Condition::Always, None).unwrap());
        if round % 100 == 0 {
            lab.pass(Duration::from_millis(100));
            engine.step().unwrap();
        }
    }
    let after = engine.stats();
    assert_eq!((after.items, after.bytes, after.expired), (before.items, before.bytes, 0));
    // One timer for each entry, no matter how often it was moved.
    engine.check();
    lab.pass(TTL + LATE_MAX);
    engine.step().unwrap();
    engine.step().unwrap();
    assert_eq!(engine.stats().items, 0);
}
