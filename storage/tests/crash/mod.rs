//! A part of what the crash laboratory does with more time (`emberkeep crash-explore`): the same
//! scenarios on every run, each mode, small runs with every legal image and large ones with drawn
//! ones; and that it finds the bugs that are planted for it.
//!
//! A failure prints a scenario, an operation and an image; `EMBERKEEP_CRASH="<that line>"` with
//! `cargo test -p emberkeep-storage --test main crash::replay_one` repeats it.

use std::{env, panic};

use emberkeep_storage::{
    Fsync,
    lab::{
        Machine,
        check::Tally,
        explore::{describe, explore, find, replay},
        history::{History, difference, state_of},
        planted::Planted,
        record::{BEGIN, Run},
        scenario::{Scenario, Size},
        shrink::shrink,
    },
    sim::{
        choice::{Choice, Plan},
        crash::CrashPoint,
    },
};

/// Explores, and leaves a short list of steps if something is found.
fn explored(scenarios: impl Iterator<Item = Scenario>, at_least: u64) {
    let mut sum = Tally::default();
    for scenario in scenarios {
        match explore(&scenario, None) {
            Ok(tally) => sum.add(tally),
            Err(failure) => {
                let short = shrink(failure.clone(), None);
                panic!("{failure}\nmade short: {short}\n{}", describe(&short.scenario));
            }
        }
    }
    eprintln!("{sum:?}");
    assert!(sum.images >= at_least, "{sum:?}");
    // The workloads must reach what they are there for.
    assert!(sum.torn > 0 && sum.snapshots > 0 && sum.deep > 0, "{sum:?}");
}

/// Without those that try thousands of images at a point.
fn small(fsync: Fsync, seeds: std::ops::Range<u64>) -> impl Iterator<Item = Scenario> {
    let quick = seeds.filter(|seed| !seed.is_multiple_of(8));
    quick.map(move |seed| Scenario::new(fsync, Size::Small, seed))
}

#[test]
fn every_image_of_small_runs_in_always_mode_keeps_what_was_acknowledged_or_observed() {
    explored(small(Fsync::Always, 17..24), 5_000);
}

#[test]
fn every_image_of_small_runs_in_interval_mode_is_a_prefix_within_the_window() {
    explored(small(Fsync::Interval, 1..16), 5_000);
}

#[test]
fn every_image_of_small_runs_in_never_mode_is_a_prefix() {
    explored(small(Fsync::Never, 1..8), 5_000);
}

#[test]
fn images_of_a_large_run_keep_every_promise() {
    explored([Scenario::new(Fsync::Always, Size::Large, 4)].into_iter(), 10_000);
}

/// The laboratory finds what it claims to find. Each of these bugs was in a real database.
#[test]
fn every_planted_bug_is_found() {
    for planted in Planted::ALL {
        let (_, failure) = find(planted, 1, 100).unwrap_or_else(|| panic!("not found: {planted}"));
        assert!(
            explore(&failure.scenario, None).is_ok(),
            "{planted}: it fails without the bug too: {failure}"
        );
    }
}

/// A failure of many steps comes out as one of few.
#[test]
fn a_failure_is_made_short() {
    let bug = Planted::PublishUnsyncedSnapshot;
    let (_, failure) = find(bug, 1, 100).expect("every run takes a snapshot");
    let short = shrink(failure.clone(), Some(bug));
    assert!(short.scenario.steps().len() <= 3, "{}", describe(&short.scenario));
    assert!(short.cut.is_some());
}

/// Sectors that break the assumption about powersafe overwrite: the loss is reported.
#[test]
fn a_disk_that_spoils_durable_bytes_beside_new_ones_is_found_out() {
    let plan = Plan { exhaustive_max: 0, class_max: 0, seeded: 0, garbage: 0, unsafe_overwrite: 4, seed: 5 };
    let mut refused = 0;
    for scenario in small(Fsync::Always, 17..23) {
        let run = Run::record(&scenario, None).unwrap();
        let history = History::of(&run.disk).unwrap();
        for point in run.disk.crash_points() {
            for choice in point.choices(&plan) {
                refused += u64::from(!reports_what_is_spoiled(&run, &history, &point, &choice));
            }
        }
    }
    assert!(refused > 0, "no image broke the assumption");
}

/// The loss is reported, or nothing is lost; false if the start was refused.
fn reports_what_is_spoiled(run: &Run, history: &History, point: &CrashPoint, choice: &Choice) -> bool {
    let machine = Machine::new(point.image(choice), BEGIN, None);
    let Ok(engine) = machine.open(&run.settings, 1) else { return false };
    let report = engine.recovery();
    let kept = report.last_lsn >= run.required_at(point.k(), history);
    assert!(kept || report.torn_bytes > 0, "cut at {} {choice}", point.k());
    let wanted = history.alive_at(report.last_lsn, engine.now()).unwrap();
    assert_eq!(difference(&state_of(&engine).unwrap(), &wanted), "");
    true
}

/// Replays one image: `EMBERKEEP_CRASH="<mode> <size> <seed> @ <operation> <image>"`.
#[test]
fn replay_one() {
    let Ok(text) = env::var("EMBERKEEP_CRASH") else { return };
    let (scenario, cut) = text.split_once(" @ ").expect("a scenario and a cut with @ in between");
    let (k, choice) = cut.split_once(' ').expect("an operation and an image");
    let scenario = scenario.parse().unwrap();
    eprintln!("{}", describe(&scenario));
    let replayed = panic::catch_unwind(|| replay(&scenario, k.parse().unwrap(), &choice.parse().unwrap()));
    if let Err(failure) = replayed.expect("the cut is one of this scenario") {
        panic!("{failure}");
    }
}
