//! Bugs of other caches that no other test would meet; `docs/bug-book.md` has them all.

use super::*;

/// Elsewhere what was saved at the limit did not fit when it was loaded.
#[test]
fn a_full_cache_is_restarted_fifty_times_and_each_time_it_is_all_there_and_takes_writes() {
    let settings = Settings { max_bytes: Some(64 << 10), checkpoint_bytes: 64 << 10, ..small(Fsync::Always) };
    let lab = Lab::new(settings);
    let mut engine = lab.open().unwrap();
    for i in 0..300 {
        put(&engine, &format!("key-{i}"), &vec![b'x'; 100 + i * 7]);
    }
    for round in 0..50 {
        if round % 3 == 0 {
            engine.checkpoint().unwrap();
        }
        let (before, evicted) = (state(&engine), engine.stats().evictions);
        assert!(engine.stats().bytes > (64 << 10) * 9 / 10, "round={round} {:?}", engine.stats());
        assert!(evicted > 0, "round={round}");
        match round % 2 {
            0 => engine.close().unwrap(),
            _ => engine.idle().map(drop).unwrap(),
        }
        drop(engine);
        engine = lab.open().unwrap();
        assert_eq!(state(&engine), before, "round={round}");
        put(&engine, &format!("round-{round}"), &[b'y'; 2000]);
        put(&engine, &format!("round-{round}-more"), &[b'z'; 1500]);
    }
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
