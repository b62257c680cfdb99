//! Every call takes long: the clocks go on during it. Nothing fails, nothing is lost, no deadline
//! is missed, and the window of `interval` mode holds.

use std::time::Duration;

use emberkeep_storage::{
    Expiry, Lsn,
    sim::faults::{Call, Effect, Fault},
};

use super::*;

const STALL: Duration = Duration::from_secs(10);

/// A disk that stalls on the `n`-th call.
fn stalling(fsync: Fsync, n: u64) -> Lab {
    let lab = Lab::new(small(fsync));
    lab.disk.set_clock(&lab.clock);
    lab.disk.arm(Fault::nth(Call::Any, n, Effect::Stall(STALL)));
    lab
}

#[test]
fn any_call_may_stall_and_nothing_fails_is_lost_or_outlives_its_deadline() {
    for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
        for n in 1.. {
            let lab = stalling(fsync, n);
            let (mut known, mut random) = (Values::new(), Random::from_seed([7; 32]));
            let engine = lab.open().unwrap();
            let short = Write { expiry: Expiry::In(Duration::from_secs(3)), ..Write::new(b"short") };
            let written = engine.now();
            engine.put("short", short).unwrap().wait().unwrap();
            fill(&engine, &mut known, &mut random, 0..12, 900);
            engine.checkpoint().unwrap();
            fill(&engine, &mut known, &mut random, 8..20, 900);
            engine.idle().unwrap();
            let seen = engine.get("short").wait().unwrap();
            let late = engine.now().since(written) >= Duration::from_secs(3);
            assert!(seen.is_none() || !late, "{fsync:?} n={n}");
            engine.close().unwrap();
            lab.pass(STALL);
            let stalled = lab.disk.fault_hits();
            match Start::of(&on(lab.disk.after_kill(), &lab), &|| format!("{fsync:?} n={n}")) {
                Start::Served(found, report) => assert!(found == known && report.clean, "{fsync:?} n={n}"),
                Start::Refused(error) => panic!("{fsync:?} n={n}: {error}"),
            }
            if stalled == 0 {
                assert!(n > 50, "{n}");
                break;
            }
        }
    }
}

#[test]
fn an_acknowledgement_after_a_stall_leaves_nothing_older_unsynced() {
    for n in 1.. {
        let lab = stalling(Fsync::Interval, n);
        let engine = lab.open().unwrap();
        let window = 2 * lab.settings.fsync_interval;
        let mut written: Vec<(_, Lsn)> = Vec::new();
        for i in 0..12 {
            let lsn = put(&engine, &format!("key-{i}"), &[7; 900]).wait().unwrap().lsn;
            let (now, durable) = (engine.now(), engine.stats().durable);
            written.push((now, lsn));
            let too_old = written.iter().find(|(at, lsn)| *lsn > durable && now.since(*at) >= window);
            assert_eq!(too_old, None, "n={n} durable={durable}");
        }
        if lab.disk.fault_hits() == 0 {
            break;
        }
    }
}
