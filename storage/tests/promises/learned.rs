//! Bugs of other caches that no other test would meet; `docs/bug-book.md` has them all.

use super::*;

/// Elsewhere what was saved at the limit did not fit when it was loaded. Here the cache is at its
/// limit of bytes, of entries, or both, values have all sizes, some have a deadline, and what is
/// there comes from a snapshot, from the log, or from both, after a clean stop or a kill.
#[test]
fn a_full_cache_is_restarted_fifty_times_and_each_time_it_is_all_there_and_takes_writes() {
    for (max_bytes, max_items) in [(Some(64 << 10), None), (None, Some(60)), (Some(64 << 10), Some(60))] {
        restart_fifty_times(Settings {
            max_bytes,
            max_items,
            checkpoint_bytes: 64 << 10,
            ..small(Fsync::Always)
        });
    }
}

fn restart_fifty_times(settings: Settings) {
    let mut lab = Lab::new(settings);
    let mut engine = lab.open().unwrap();
    for i in 0..300 {
        put_for_a_while(&engine, &format!("key-{i}"), &vec![b'x'; 100 + i * 7], i);
    }
    for round in 0..50 {
        let stats = engine.stats();
        let is_full = |max: Option<u64>, used: u64| max.is_none_or(|max| used <= max && used > max * 9 / 10);
        let bytes = stats.bytes - stats.tombstone_bytes;
        assert!(is_full(stats.max_bytes, bytes) || is_full(stats.max_items, stats.items), "{stats:?}");
        assert!(stats.evictions > 0, "round={round}");
        if round % 3 == 0 {
            engine.checkpoint().unwrap();
        }
        if round % 6 == 0 {
            put_for_a_while(&engine, &format!("behind-{round}"), &[b'w'; 700], round);
        }
        let before = state(&engine);
        if round % 2 == 0 {
            engine.close().unwrap();
        }
        // What the engine does when it is dropped, it does to another disk.
        lab = lab_on(lab.disk.after_kill(), &lab.clock, &lab.settings);
        lab.disk.stop_recording();
        engine = lab.open().unwrap();
        assert_eq!(engine.recovery().clean, round % 2 == 0, "round={round}");
        assert_eq!(state(&engine), before, "round={round}");
        assert_eq!(engine.stats().evictions, 0, "round={round}: nothing leaves because of a restart");
        engine.check();
        put_for_a_while(&engine, &format!("round-{round}"), &[b'y'; 2000], round);
        put_for_a_while(&engine, &format!("round-{round}-more"), &[b'z'; 1500], round + 1);
    }
}

/// Every third has a deadline, which does not come.
fn put_for_a_while(engine: &Engine, key: &str, value: &[u8], number: usize) {
    let expiry =
        if number.is_multiple_of(3) { Expiry::In(Duration::from_secs(10_000)) } else { Expiry::Never };
    engine.put(key, Write { expiry, ..Write::new(value) }).unwrap().wait().unwrap();
}

/// Elsewhere lifetimes followed the wall clock: an hour's jump expired keys early or kept them.
#[test]
fn a_wall_clock_that_jumps_expires_nothing_early_and_keeps_nothing_longer() {
    for jump_ms in [3_600_000, -3_600_000] {
        let lab = Lab::new(small(Fsync::Always));
        let engine = lab.open().unwrap();
        let soon = Write { expiry: Expiry::In(Duration::from_secs(10)), ..Write::new(b"v") };
        engine.put("k", soon).unwrap().wait().unwrap();
        lab.clock.jump_wall(jump_ms);
        engine.step().unwrap();
        lab.pass(Duration::from_millis(9_990));
        assert!(value(&engine, "k").is_some(), "jump_ms={jump_ms}: early");
        lab.pass(Duration::from_millis(20));
        engine.step().unwrap();
        assert_eq!(value(&engine, "k"), None, "jump_ms={jump_ms}: late");
    }
}
