//! What bounds a restart, and what that costs in writing.

use super::*;

/// 400 keys, overwritten again and again: the data does not grow, and is several times as large
/// as the log that makes a snapshot due.
const KEYS: u64 = 400;

fn settings(max_replay_bytes: u64) -> Settings {
    Settings { checkpoint_bytes: 64 << 10, max_replay_bytes, max_bytes: None, ..small(Fsync::Never) }
}

fn overwrite(engine: &Engine, random: &mut Random) -> Lsn {
    let value: Vec<u8> = (0..60).flat_map(|_| random.next_u64().to_le_bytes()).collect();
    put(engine, &format!("key-{}", random.next_u64() % KEYS), &value)
}

#[test]
fn snapshots_of_data_that_does_not_grow_write_no_more_than_the_log_does() {
    let lab = Lab::new(settings(1 << 40));
    lab.disk.stop_recording();
    let engine = lab.open().unwrap();
    let mut random = Random::from_seed([1; 32]);
    for _ in 0..5 * KEYS {
        overwrite(&engine, &mut random);
    }
    let first = engine.checkpoint().unwrap();
    assert!(first.bytes > 2 * (64 << 10), "{first:?}");
    let (log_before, mut snapshots, mut snapshot_bytes) = (engine.stats().log_bytes, 0, 0);
    while snapshots < 10 {
        overwrite(&engine, &mut random);
        if let Some(report) = engine.checkpoint_if_due().unwrap() {
            snapshots += 1;
            snapshot_bytes += report.bytes;
            assert!(engine.checkpoint_if_due().unwrap().is_none(), "one was just taken");
        }
    }
    let log_bytes = engine.stats().log_bytes - log_before;
    let amplification = (log_bytes + snapshot_bytes) as f64 / log_bytes as f64;
    assert!((1.9..=2.0).contains(&amplification), "{amplification} {log_bytes} {snapshot_bytes}");
}

#[test]
fn the_log_that_a_restart_replays_is_bounded_however_large_the_data_is() {
    let max = 80 << 10;
    let lab = Lab::new(settings(max));
    lab.disk.stop_recording();
    let engine = lab.open().unwrap();
    let mut random = Random::from_seed([2; 32]);
    let (mut snapshots, mut last) = (0, None);
    while snapshots < 8 {
        overwrite(&engine, &mut random);
        assert!(engine.restart().log_bytes <= max + 1000, "{:?}", engine.restart());
        if let Some(report) = engine.checkpoint_if_due().unwrap() {
            snapshots += 1;
            last = Some(report);
        }
    }
    assert!(last.unwrap().bytes > max, "the snapshot is larger than the log that may gather");
    // As far behind the last snapshot as it gets.
    while engine.restart().log_bytes < max - 1000 {
        overwrite(&engine, &mut random);
    }
    let told = engine.restart();
    let engine = lab_on(lab.disk.after_kill(), &lab.clock, &lab.settings).open().unwrap();
    let found = engine.recovery();
    assert_eq!(found.snapshot_bytes, told.snapshot_bytes);
    // What lies before the snapshot's begin in its segment, and the headers.
    let segments = max / lab.settings.segment_bytes + 2;
    let slack = lab.settings.segment_bytes + segments * SEGMENT_HEADER_LEN as u64;
    assert!((told.log_bytes..=told.log_bytes + slack).contains(&found.replayed_bytes), "{told:?} {found:?}");
}

#[test]
fn what_a_restart_would_read_counts_from_the_last_snapshot_also_over_a_restart() {
    let lab = Lab::new(settings(1 << 40));
    let engine = lab.open().unwrap();
    let mut random = Random::from_seed([3; 32]);
    assert_eq!(engine.restart().snapshot_bytes, 0);
    for _ in 0..50 {
        overwrite(&engine, &mut random);
    }
    let before = engine.restart();
    assert!(before.log_bytes > 50 * 480 && !before.measured && !before.took.is_zero(), "{before:?}");
    let report = engine.checkpoint().unwrap();
    let after = engine.restart();
    assert_eq!((after.snapshot_bytes, after.log_bytes), (report.bytes, 0));
    overwrite(&engine, &mut random);
    engine.close().unwrap();
    let again = lab.open().unwrap().restart();
    assert_eq!(again.snapshot_bytes, report.bytes);
    assert!(again.log_bytes >= 480, "{again:?}");
}
