//! Fills a data directory in a process of its own, so that the way it ends is a real one.

use std::{
    path::Path,
    process::{Command, exit},
};

use emberkeep_benches::{fill_engine, settings};
use emberkeep_storage::{Components, Engine, Fsync, Settings};

/// What is in the directory, and how the process that wrote it ended.
#[derive(Clone, Copy, Debug)]
pub struct Data {
    /// Entries.
    pub entries: u64,
    /// Bytes of each value.
    pub value_len: usize,
    /// In a snapshot, with next to no log behind it; else all of it in the log.
    pub snapshot: bool,
    /// By SIGKILL; else in order.
    pub killed: bool,
}

/// The argument that makes this program the one that fills.
pub const ARGUMENT: &str = "fill-and-end";

/// Fills `dir` in a child.
///
/// # Panics
/// If that fails.
pub fn fill(dir: &Path, data: Data) {
    let numbers = [data.entries, data.value_len as u64, data.snapshot.into(), data.killed.into()];
    let status = Command::new(std::env::current_exe().expect("this program has a path"))
        .arg(ARGUMENT)
        .arg(dir)
        .args(numbers.map(|n| n.to_string()))
        .status()
        .expect("this program can be started again");
    assert!(status.success() != data.killed, "the child has filled the directory: {status}");
}

/// The child.
pub fn run(arguments: &[String]) -> ! {
    let numbers: Vec<u64> =
        arguments[1..].iter().map(|n| n.parse().expect("the parent writes numbers")).collect();
    let [entries, value_len, snapshot, killed] = numbers[..] else { panic!("the parent gives four numbers") };
    let settings = Settings { fsync: Fsync::Never, ..settings(Path::new(&arguments[0])) };
    let engine = Engine::open(settings, Components::os().expect("random bytes")).expect("the engine opens");
    fill_engine(&engine, entries, value_len as usize);
    if snapshot != 0 {
        engine.checkpoint().expect("the disk works");
    }
    if killed != 0 {
        // As SIGKILL does it: nothing of ours runs any more.
        std::process::abort();
    }
    engine.close().expect("the disk works");
    exit(0)
}
