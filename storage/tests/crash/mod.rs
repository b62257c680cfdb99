//! Power cuts: a recorded workload is cut after every operation on the disk, over the images that
//! the disk may legally hold then, and every image is recovered and compared with the history.
//!
//! What is checked for each image (the numbers of the invariants are those of `DESIGN.md`):
//! it opens, unattended; what was acknowledged at the disk or observed is there (I1, I5); the
//! state is exactly the one after some frame of the log (I2, I3, I4, I10); the next frame has a
//! number that was never handed out (I7); recovering again changes nothing (I9); the index is
//! sound (I13). Some images are cut again during their own recovery.
//!
//! A failure names the workload, the operation and the image, and the command that replays it.

mod history;
mod workload;

use std::{collections::BTreeMap, env, panic};

use emberkeep_storage::{
    Engine, Fsync, Lsn, Settings,
    sim::{
        choice::{Choice, Plan},
        clock::SimClock,
        crash::CrashPoint,
        disk::SimDisk,
    },
};

use self::{
    history::{History, State, state_of},
    workload::{Run, Spec},
};
use crate::lab::Lab;

/// Images per crash point where not all combinations can be tried.
const PLAN: Plan =
    Plan { exhaustive_max: 256, class_max: 3, seeded: 3, garbage: 2, unsafe_overwrite: 0, seed: 0 };
/// One image in so many is opened, closed, opened again, and cut during its own recovery.
const DEEP_EVERY: usize = 40;

/// What the images of one workload came to.
#[derive(Debug, Default)]
struct Tally {
    images: usize,
    deep: usize,
    torn: usize,
    snapshots: usize,
}

#[test]
fn every_cut_in_always_mode_keeps_what_was_acknowledged_or_observed() {
    explore(Spec { fsync: Fsync::Always, seed: 1, steps: 230 }, 4_000);
}

#[test]
fn every_cut_in_always_mode_keeps_what_was_acknowledged_another_workload() {
    explore(Spec { fsync: Fsync::Always, seed: 2, steps: 230 }, 4_000);
}

#[test]
fn every_cut_in_interval_mode_leaves_a_prefix_with_all_that_was_synced() {
    explore(Spec { fsync: Fsync::Interval, seed: 3, steps: 300 }, 6_000);
}

#[test]
fn every_cut_in_never_mode_leaves_a_prefix_with_all_that_was_synced() {
    explore(Spec { fsync: Fsync::Never, seed: 4, steps: 300 }, 6_000);
}

/// Sectors that break the assumption about powersafe overwrite: the loss is reported.
#[test]
fn a_disk_that_spoils_durable_bytes_beside_new_ones_is_found_out() {
    let run = Run::record(Spec { fsync: Fsync::Always, seed: 5, steps: 60 });
    let history = History::of(&run.disk);
    let plan = Plan { exhaustive_max: 0, class_max: 0, seeded: 0, garbage: 0, unsafe_overwrite: 4, seed: 5 };
    let mut refused = 0;
    for point in run.disk.crash_points() {
        for choice in point.choices(&plan) {
            let lab = lab_of(&run, point.image(&choice));
            let Ok(engine) = lab.open() else {
                refused += 1;
                continue;
            };
            let report = engine.recovery();
            let kept = report.last_lsn >= run.required_at(point.k(), &history);
            assert!(kept || report.torn_bytes > 0, "{}", label(&run, &point, &choice));
            assert_same(&state_of(&engine), &expected(&history, report.last_lsn, &engine));
        }
    }
    assert!(refused > 0, "no image broke the assumption");
}

/// A killed process leaves everything that it has written, in every mode.
#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    for (seed, fsync) in [(6, Fsync::Always), (7, Fsync::Interval), (8, Fsync::Never)] {
        let run = Run::record(Spec { fsync, seed, steps: 300 });
        let history = History::of(&run.disk);
        for kill in &run.kills {
            let lab = lab_of(&run, kill.disk.after_kill());
            let engine = lab.open().unwrap();
            assert!(engine.recovery().last_lsn >= kill.acknowledged);
            assert_same(&state_of(&engine), &expected(&history, engine.recovery().last_lsn, &engine));
        }
        assert!(run.kills.len() >= 5);
    }
}

/// After a kill the page cache may show what the disk never got. What a restart has served from it
/// must survive a power cut that comes later, so recovery may not trust what it merely reads.
#[test]
fn what_a_restart_after_a_kill_has_served_survives_a_power_cut() {
    for (seed, fsync) in [(9, Fsync::Always), (10, Fsync::Interval), (11, Fsync::Never)] {
        let run = Run::record(Spec { fsync, seed, steps: 300 });
        let history = History::of(&run.disk);
        for kill in &run.kills {
            let lab = lab_of(&run, kill.disk.after_kill());
            let engine = lab.open().unwrap();
            let served = engine.recovery().last_lsn;
            let state = state_of(&engine);
            let opened_at = lab.disk.op_count();
            drop(engine);
            let mut crasher = lab.disk.crash_points();
            crasher.seek(opened_at);
            for point in crasher {
                for choice in point.choices(&Plan { seed: point.k(), ..PLAN }) {
                    let lab = lab_of(&run, point.image(&choice));
                    let engine = lab.open().unwrap();
                    assert!(engine.recovery().last_lsn >= served, "cut at {} {choice}", point.k());
                    let alive = expected(&history, served, &engine);
                    assert!(alive.len() <= state.len());
                    assert_same(&state_of(&engine), &alive);
                }
            }
        }
    }
}

/// Replays one image: `EMBERKEEP_CRASH="<fsync> <seed> <steps> <operation> <image>"`.
#[test]
fn replay() {
    let Ok(text) = env::var("EMBERKEEP_CRASH") else { return };
    let mut words = text.split_whitespace();
    let mut word = || words.next().expect("five words: fsync seed steps operation image");
    let fsync = match word() {
        "always" => Fsync::Always,
        "interval" => Fsync::Interval,
        _ => Fsync::Never,
    };
    let spec = Spec { fsync, seed: word().parse().unwrap(), steps: word().parse().unwrap() };
    let (k, choice): (u64, Choice) = (word().parse().unwrap(), word().parse().unwrap());
    let run = Run::record(spec);
    let history = History::of(&run.disk);
    let mut crasher = run.disk.crash_points();
    crasher.seek(k);
    let point = crasher.point();
    for op in k.saturating_sub(10)..=(k + 3).min(run.disk.op_count() - 1) {
        eprintln!("{} {op}: {}", if op < k { "done" } else { "    " }, run.disk.describe_op(op));
    }
    eprintln!("units: {:#?}", point.units());
    check(&run, &history, &point, &choice, true, &mut Tally::default());
}

fn explore(spec: Spec, at_least: usize) {
    let run = Run::record(spec);
    let history = History::of(&run.disk);
    history.agrees_with_the_end_of(&run);
    let mut tally = Tally::default();
    for point in run.disk.crash_points() {
        for choice in point.choices(&Plan { seed: spec.seed ^ point.k(), ..PLAN }) {
            tally.images += 1;
            let deep = tally.images % DEEP_EVERY == 0;
            let checked = panic::catch_unwind(panic::AssertUnwindSafe(|| {
                check(&run, &history, &point, &choice, deep, &mut tally);
            }));
            if let Err(cause) = checked {
                eprintln!("{}", label(&run, &point, &choice));
                panic::resume_unwind(cause);
            }
        }
    }
    eprintln!("{spec:?}: {} operations, {tally:?}", run.disk.op_count());
    assert!(tally.images >= at_least, "{tally:?}");
    // The workload must reach what it is there for.
    assert!(tally.torn > 0 && tally.snapshots > 0 && tally.deep > 0, "{tally:?}");
}

fn label(run: &Run, point: &CrashPoint, choice: &Choice) -> String {
    let Spec { fsync, seed, steps } = run.spec;
    let image = format!("{fsync:?} {seed} {steps} {} {choice}", point.k()).to_lowercase();
    format!(
        "replay with: EMBERKEEP_CRASH=\"{image}\" cargo test -p emberkeep-storage --test main crash::replay -- --nocapture"
    )
}

fn lab_of(run: &Run, disk: SimDisk) -> Lab {
    // The clock of the machine may come up anywhere; time that the log has seen does not come again.
    // Without a limit, so that nothing but the past decides what is there.
    let settings = Settings { max_items: None, ..run.settings.clone() };
    Lab { disk, clock: SimClock::at(run.begin), settings }
}

fn expected(history: &History, last: Lsn, engine: &Engine) -> State {
    let now = engine.now();
    let alive = history.state_at(last).iter().filter(|(_, e)| e.deadline.is_none_or(|d| d > now));
    alive.map(|(k, e)| (k.clone(), e.clone())).collect::<BTreeMap<_, _>>()
}

fn check(run: &Run, history: &History, point: &CrashPoint, choice: &Choice, deep: bool, tally: &mut Tally) {
    let lab = lab_of(run, point.image(choice));
    let engine = lab.open().unwrap_or_else(|e| panic!("it does not start after a cut: {e}"));
    let report = engine.recovery().clone();
    let last = report.last_lsn;
    let required = run.required_at(point.k(), history);
    assert!(last >= required, "lost: the log ends at {last}, {required} was acknowledged or observed");
    let state = state_of(&engine);
    assert_same(&state, &expected(history, last, &engine));
    engine.check();
    tally.torn += usize::from(report.torn_bytes > 0);
    tally.snapshots += usize::from(report.snapshot.is_some());

    let begun = engine.stats().appended;
    let handed_out = run.handed_out_at(point.k());
    assert!(begun > handed_out, "lsn={begun} is used again, handed_out={handed_out}");
    if deep {
        tally.deep += 1;
        again(run, history, &lab, engine, last, &state);
    }
}

/// Recovers again: after a cut at any operation of the first recovery, and after a clean stop.
fn again(run: &Run, history: &History, lab: &Lab, engine: Engine, last: Lsn, state: &State) {
    let written = engine.put("again", emberkeep_storage::Write::new(b"x")).unwrap().wait().unwrap();
    engine.close().unwrap();
    for point in lab.disk.crash_points() {
        let plan = Plan {
            exhaustive_max: 8,
            class_max: 1,
            seeded: 1,
            garbage: 1,
            unsafe_overwrite: 0,
            seed: point.k(),
        };
        for choice in point.choices(&plan) {
            let second = lab_of(run, point.image(&choice));
            let engine =
                second.open().unwrap_or_else(|e| panic!("second cut at {} {choice}: {e}", point.k()));
            let mut found = state_of(&engine);
            if let Some(entry) = found.remove(&b"again"[..]) {
                assert_eq!(entry.version, written.lsn.0);
            }
            let mut wanted = expected(history, last, &engine);
            wanted.remove(&b"again"[..]);
            assert_same(&found, &wanted);
        }
    }
    let engine = lab.open().unwrap();
    assert!(engine.recovery().clean);
    let mut found = state_of(&engine);
    assert_eq!(found.remove(&b"again"[..]).map(|e| e.version), Some(written.lsn.0));
    let now = engine.now();
    let alive: State = state
        .iter()
        .filter(|(_, e)| e.deadline.is_none_or(|d| d > now))
        .map(|(k, e)| (k.clone(), e.clone()))
        .collect();
    assert_same(&found, &alive);
}

/// Compares two states and names the keys in which they differ, not all of them.
fn assert_same(found: &State, wanted: &State) {
    let keys = found.keys().chain(wanted.keys());
    let differ = keys.filter(|key| found.get(*key) != wanted.get(*key));
    let differ: Vec<_> = differ
        .map(|key| {
            let short = |state: &State| state.get(key).map(|e| (e.version, e.deadline, e.value.len()));
            (String::from_utf8_lossy(key).into_owned(), short(found), short(wanted))
        })
        .collect();
    assert!(differ.is_empty(), "key, found, wanted (version, deadline, length): {differ:?}");
}
