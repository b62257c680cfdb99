//! The n-th call of one kind in one thread fails while the server serves.
//!
//! For each n until a run has no n-th call. Each run has a directory of its own: seeds, then the
//! fault, a load, SIGTERM, and a start without the tracer that must find everything.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    load::Load,
    tracer::{Attached, Fault, SMALL, injected},
};
use crate::support::{place::Place, process::Process};

/// Longer than any thread takes to do what a load has given it to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// Enough writes for three rotations.
const ROUNDS: usize = 18;

/// Where and when a fault is put.
#[derive(Clone, Copy, PartialEq)]
enum When {
    /// From before the load.
    Load,
    /// The same, and the load waits until the thread has met the fault or has done all its work.
    LoadThenWait(&'static str),
    /// Only while it stops.
    Stop,
}

/// A kind of run.
#[derive(Clone, Copy)]
struct Kind {
    mode: &'static str,
    /// Whose calls are counted; `None` for all threads, each by itself.
    thread: Option<&'static str>,
    when: When,
    flags: &'static [&'static str],
}

const COMMITTER: Kind = Kind { mode: "always", thread: Some("committer"), when: When::Load, flags: &[] };

impl Kind {
    /// Every n until a run makes no n-th call. There are at least `least`: a call that is never made
    /// would test nothing.
    fn each(self, call: &'static str, errors: &[&'static str], least: usize) {
        let mut n = 1;
        loop {
            let faults = errors.iter().map(|error| Fault { call, error, n, and_later: false });
            let met = faults.map(|fault| self.run(fault)).filter(|met| *met).count();
            if met == 0 {
                break;
            }
            // The first ones one by one; in a long row of the same call, every so many.
            n += 1 + n / 6;
        }
        assert!(n > least, "{call} was called fewer times than it must be: n={n}");
    }

    /// One run; whether the fault was met.
    fn run(self, fault: Fault) -> bool {
        println!("{fault:?}");
        let place = Place::new();
        let flags = [&["--fsync", self.mode, "--halt-grace", "none"], &SMALL[..], self.flags].concat();
        let mut server = Process::serve(&place.data_dir(), &flags);
        let mut load = Load::new(self.mode == "always");
        load.connect(server.address().unwrap());
        load.seed();
        let attach = |server: &Process| Attached::to(server, self.thread, &place.trace(), fault);
        let mut tracer = (self.when != When::Stop).then(|| attach(&server));
        load.run(ROUNDS);
        if let When::LoadThenWait(done) = self.when {
            self.wait(&mut load, &place, done);
        }
        load.check_seeds();
        if self.when == When::Stop {
            tracer = Some(attach(&server));
        }
        load.hang_up();
        server.signal("TERM");
        let status = server.wait();
        drop(tracer);
        let met = !injected(&place.trace()).is_empty();
        let said = server.output();
        assert!(!said.contains("panicked"), "{said}");
        match status.code() {
            Some(0) => {
                assert!(!load.halted, "a stopped log is told by the exit code: {said}");
                // Whatever fails in the log itself is final: nothing is tried again.
                let final_for_the_log = met && self.thread == COMMITTER.thread;
                assert!(!final_for_the_log, "it went on after a failure of the log: {said}");
            }
            Some(7) => {
                assert!(met, "{said}");
                for words in [place_of_error(fault.error), "check the disk", "start again"] {
                    assert!(said.contains(words), "{words:?} is not in: {said}");
                }
            }
            _ => panic!("an exit code that is not documented: {status}\n{said}"),
        }
        place.check(&mut load, &flags);
        met
    }

    /// Until the fault was met, or the counter of that name says that the work is done.
    fn wait(self, load: &mut Load, place: &Place, done: &str) {
        let give_up = Instant::now() + PATIENCE;
        while injected(&place.trace()).is_empty() {
            let stats = load.request("GET", "/stats", "stats", b"").expect("it answers").body;
            let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
            if stats[done].as_u64().is_none_or(|n| n > 0) {
                break;
            }
            assert!(Instant::now() < give_up, "nothing happens: {stats}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn place_of_error(error: &str) -> &'static str {
    match error {
        "EIO" => "Input/output error",
        "ENOSPC" => "No space left on device",
        _ => unreachable!("no other error is used"),
    }
}

impl Place {
    pub(super) fn trace(&self) -> PathBuf {
        self.dir.path().join("trace")
    }

    /// Starts it on a disk that works: everything is there, it takes writes, and it stops cleanly.
    pub(super) fn check(&self, load: &mut Load, flags: &[&str]) {
        let mut server = Process::serve(&self.data_dir(), flags);
        load.connect(server.address().unwrap());
        load.check_all();
        let before = load.acknowledged;
        load.put("after".into());
        assert_eq!(load.acknowledged, before + 1, "{}", server.output());
        load.hang_up();
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{}", server.output());
    }
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn any_sync_of_the_log_may_fail() {
    COMMITTER.each("fdatasync", &["EIO"], 20);
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn any_write_of_the_log_may_fail() {
    COMMITTER.each("pwritev", &["EIO", "ENOSPC"], 20);
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn any_step_of_a_rotation_may_fail() {
    for call in ["ftruncate", "rename", "openat", "fsync"] {
        COMMITTER.each(call, &["EIO"], 2);
    }
    COMMITTER.each("rename", &["ENOSPC"], 2);
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn a_disk_that_stays_broken_takes_nothing_more_and_loses_nothing() {
    for call in ["fdatasync", "pwritev"] {
        for n in [1, 7] {
            let fault = Fault { call, error: "EIO", n, and_later: true };
            assert!(Kind { thread: None, ..COMMITTER }.run(fault));
        }
    }
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn any_step_of_preparing_a_log_file_may_fail() {
    let kind = Kind { thread: Some("preparer"), ..COMMITTER };
    kind.each("fallocate", &["ENOSPC", "EIO"], 1);
    for call in ["openat", "pwrite64", "fdatasync"] {
        kind.each(call, &["EIO"], 1);
    }
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn any_step_of_a_snapshot_may_fail() {
    let kind = Kind {
        thread: Some("checkpointer"),
        when: When::LoadThenWait("checkpoints"),
        flags: &["--checkpoint-size", "64KiB"],
        ..COMMITTER
    };
    kind.each("mkdir", &["ENOSPC"], 1);
    kind.each("pwrite64", &["ENOSPC"], 3);
    for call in ["openat", "fdatasync", "fsync", "rename", "unlink"] {
        kind.each(call, &["EIO"], 1);
    }
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn any_step_of_a_stop_may_fail() {
    let kind = Kind { thread: None, when: When::Stop, ..COMMITTER };
    for call in ["ftruncate", "fdatasync", "openat", "pwrite64"] {
        kind.each(call, &["EIO"], 1);
    }
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn a_write_of_the_log_may_fail_in_the_modes_that_do_not_wait_for_a_sync() {
    for mode in ["interval", "never"] {
        let kind = Kind { mode, ..COMMITTER };
        kind.each("pwritev", &["EIO"], 10);
        kind.each("ftruncate", &["EIO"], 2);
    }
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn a_server_whose_disk_has_failed_ends_by_itself_and_says_what_is_known() {
    let table = [
        ("always", "every acknowledged write is on the disk"),
        ("interval", "acknowledged since the last sync may be lost"),
    ];
    for (mode, known) in table {
        let place = Place::new();
        let flags = [&["--fsync", mode, "--halt-grace", "0"], &SMALL[..]].concat();
        let mut server = Process::serve(&place.data_dir(), &flags);
        let mut load = Load::new(mode == "always");
        load.connect(server.address().unwrap());
        load.seed();
        let fault = Fault { call: "pwritev", error: "EIO", n: 1, and_later: false };
        let _tracer = Attached::to(&server, Some("committer"), &place.trace(), fault);
        load.put("k".into());
        assert!(load.halted);
        // Nobody sends a signal.
        assert_eq!(server.wait().code(), Some(7), "{}", server.output());
        let words = [
            "cannot write the log file=00000000000000000001.wal",
            "Input/output error",
            known,
            "may have happened or not",
            "start again",
        ];
        for words in words {
            assert!(server.output().contains(words), "{words:?} is not in: {}", server.output());
        }
        place.check(&mut load, &flags);
    }
}
