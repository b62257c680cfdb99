//! `emberkeep crash-test` as a user calls it: words, data, exit codes, and what is left on disk.

use std::fs;

use crate::support::process::Process;

/// Runs it over `dir/scratch`; gives its exit code and what it said.
fn crash_test(dir: &std::path::Path, flags: &[&str]) -> (Option<i32>, String) {
    let scratch = dir.join("scratch");
    let scratch = scratch.to_str().expect("temporary directories have plain names");
    let mut command = Process::run(&[&["crash-test", "--data-dir", scratch], flags].concat());
    (command.wait().code(), command.output())
}

#[test]
fn a_run_that_held_ends_with_0_says_what_it_did_and_leaves_nothing() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (code, output) = crash_test(dir.path(), &["--rounds=2", "--seed=7", "--fsync=interval"]);
    assert_eq!(code, Some(0), "{output}");
    for words in ["every acknowledged write was kept", "2 rounds", "seed 7", "power cut", "0 keys lost"] {
        assert!(output.contains(words), "{words:?} is not in: {output}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_verdict_comes_as_data_too() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (code, output) = crash_test(dir.path(), &["--rounds=1", "--seed=18446744073709551615", "--json"]);
    assert_eq!(code, Some(0), "{output}");
    let json: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(json["held"], true);
    assert_eq!(json["seed"], "18446744073709551615");
    assert_eq!(json["rounds"], 1);
    assert_eq!(json["lost"], 0);
    assert!(json["verified"].as_u64().unwrap() > 0, "{output}");
}

#[test]
fn a_foreign_directory_ends_with_5_and_is_not_touched() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(dir.path().join("scratch")).unwrap();
    fs::write(dir.path().join("scratch/thesis.tex"), "do not touch").unwrap();
    let (code, output) = crash_test(dir.path(), &[]);
    assert_eq!(code, Some(5), "{output}");
    assert!(output.contains("thesis.tex"), "{output}");
    assert_eq!(fs::read_dir(dir.path().join("scratch")).unwrap().count(), 1);
}

#[test]
fn an_interrupted_run_ends_its_server_and_leaves_nothing() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let scratch = dir.path().join("scratch");
    let mut command = Process::run(&["crash-test", "--seconds=600", "--data-dir", scratch.to_str().unwrap()]);
    // The first server is there once it has a data directory.
    let is_started = || {
        let runs = fs::read_dir(&scratch).into_iter().flatten().flatten();
        runs.into_iter().any(|run| run.path().join("data").exists())
    };
    while !is_started() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    command.signal("TERM");
    assert_eq!(command.wait().code(), Some(5));
    assert!(command.output().contains("interrupted"), "{}", command.output());
    // A server that lived on would make its files again, or hold them.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn wrong_flags_end_with_2() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (flag, right) in
        [("--clients=0", "1..=16"), ("--fsync=often", "always"), ("--max-items=0", "at least 1")]
    {
        let (code, output) = crash_test(dir.path(), &[flag]);
        assert_eq!(code, Some(2), "{flag}: {output}");
        assert!(output.contains(right), "{right:?} is not in: {output}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn help_says_what_a_kill_does_not_show() {
    let mut help = Process::run(&["crash-test", "--help"]);
    assert_eq!(help.wait().code(), Some(0));
    for words in ["--rounds", "--seconds", "--seed", "--json", "power cut"] {
        assert!(help.output().contains(words), "{words:?} is not in: {}", help.output());
    }
}
