//! A hundred rounds of load, kill and restart.
//!
//! `EMBERKEEP_KILL_SEED` and `EMBERKEEP_KILL_ROUNDS` repeat a run, or make it longer.

use std::{path::Path, time::Duration};

use emberkeep::{
    node::Fsync,
    tool::crash_test::{self, Options, Verdict},
};

use crate::support::process::binary;

/// Runs all rounds; a broken promise fails the test, and its directory is kept.
#[track_caller]
fn run(test: &str, change: impl FnOnce(&mut Options)) -> Verdict {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let mut options = Options {
        program: binary().to_owned(),
        server_flags: Vec::new(),
        modes: vec![Fsync::Always, Fsync::Interval, Fsync::Never],
        evicts: false,
        rounds: 0,
        stop_after: None,
        clients: 4,
        keys: 32,
        load_max: Duration::from_millis(250),
        heavy_every: 0,
        seed: number("EMBERKEEP_KILL_SEED").unwrap_or_else(crash_test::fresh_seed),
        scratch: Path::new(env!("CARGO_TARGET_TMPDIR")).join(test),
    };
    change(&mut options);
    options.rounds = number("EMBERKEEP_KILL_ROUNDS").unwrap_or(options.rounds);
    let verdict = crash_test::run(options, &mut |_| (), std::future::pending()).unwrap();
    eprint!("{}", verdict.text());
    assert!(
        verdict.held,
        "{}again: EMBERKEEP_KILL_SEED={} cargo test --test main {test} -- --nocapture",
        verdict.text(),
        verdict.seed
    );
    assert!(verdict.counts.acknowledged > 0, "no write was acknowledged: this has tested nothing");
    verdict
}

fn has_default_length() -> bool {
    std::env::var_os("EMBERKEEP_KILL_ROUNDS").is_none()
}

#[test]
fn a_killed_server_has_everything_that_was_acknowledged_and_its_answers_fit_one_order() {
    let name = "a_killed_server_has_everything_that_was_acknowledged_and_its_answers_fit_one_order";
    let verdict = run(name, |options| options.rounds = 70);
    let counts = verdict.counts;
    if has_default_length() {
        let kills = [counts.kills_under_load, counts.kills_in_recovery, counts.kills_in_shutdown];
        assert!(kills.iter().all(|kills| *kills > 0), "some kind of kill never happened: {counts:?}");
        assert!(counts.unknown > 0, "no kill hit an operation under way: {counts:?}");
    }
}

#[test]
fn a_server_killed_while_the_log_rotates_and_snapshots_are_written_has_everything() {
    let name = "a_server_killed_while_the_log_rotates_and_snapshots_are_written_has_everything";
    let verdict = run(name, |options| {
        // Not a multiple of the modes, so that each of them has its heavy rounds.
        (options.rounds, options.heavy_every) = (14, 2);
    });
    if has_default_length() {
        assert!(verdict.counts.snapshots_loaded > 0, "no start from a snapshot: {:?}", verdict.counts);
    }
}

#[test]
fn a_killed_server_that_evicts_never_serves_a_stale_value() {
    let verdict = run("a_killed_server_that_evicts_never_serves_a_stale_value", |options| {
        (options.rounds, options.keys, options.evicts) = (16, 300, true);
        options.server_flags = ["--max-items", "100"].map(Into::into).to_vec();
    });
    assert!(verdict.counts.evicted > 0, "nothing was evicted: this has tested nothing");
}
