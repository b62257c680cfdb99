//! The n-th call of one kind fails while the server starts: over nothing, and over what a kill has
//! left behind.
//!
//! It comes up anyway, or it is refused with 5 and words that name what failed; never with 6, for
//! a disk that fails for a moment has damaged nothing. The next start finds everything.

use std::{fs, path::Path};

use super::{
    load::Load,
    syncs::wait_until,
    tracer::{Fault, SMALL, injected, serve_with_fault},
};
use crate::support::{place::Place, process::Process};

/// No start makes more calls of one kind, or this test does not end.
const CALLS_MAX: usize = 200;

/// Every n until a run makes no n-th call on a file of ours.
#[track_caller]
fn each(before: Option<&Before>, call: &'static str, errors: [&'static str; 2], least: usize) {
    let mut met = 0;
    for n in 1..CALLS_MAX {
        // The errors take turns: which one it was only matters to the words.
        let fault = Fault { call, error: errors[n % 2], n, and_later: false };
        match run(before, fault) {
            Met::Ours => met += 1,
            // Loading the program and its libraries comes first.
            Met::Another => {}
            Met::Nothing => break,
        }
    }
    assert!(met >= least, "{call} failed in {met} runs only");
}

/// What the fault has met.
enum Met {
    /// A call on a file of the data directory, by the thread that opens it.
    Ours,
    Another,
    Nothing,
}

/// A directory that a killed server left behind, and what it must hold.
struct Before {
    place: Place,
    load: Load,
}

impl Before {
    fn new() -> Before {
        let (place, mut load) = (Place::new(), Load::new(true));
        let mut server =
            Process::serve(&place.data_dir(), &[&SMALL[..], &["--checkpoint-size", "64KiB"]].concat());
        load.connect(server.address().unwrap());
        load.run(12);
        wait_until(&mut load, |stats| stats["checkpoints"].as_u64() > Some(0));
        load.run(12);
        server.kill();
        Before { place, load }
    }
}

fn run(before: Option<&Before>, fault: Fault) -> Met {
    println!("{fault:?}");
    let place = Place::new();
    let mut load = match before {
        None => Load::new(true),
        Some(before) => {
            copy(&before.place.data_dir(), &place.data_dir());
            before.load.copied()
        }
    };
    let mut server = serve_with_fault(&place.data_dir(), &SMALL, &place.trace(), fault);
    let up = server.address_or_end();
    if let Some(address) = up {
        load.connect(address);
        load.run(2);
        load.hang_up();
        server.signal("TERM");
    }
    let (main, status) = (server.id(), server.wait());
    let said = server.output();
    assert!(!said.contains("panicked"), "{said}");
    let data_dir = place.data_dir();
    let lines = injected(&place.trace());
    let ours = |line: &&String| {
        line.starts_with(&main.to_string()) && line.contains(data_dir.to_str().expect("plain names"))
    };
    let met = match (lines.iter().find(ours), lines.is_empty()) {
        (Some(_), _) => Met::Ours,
        (None, false) => Met::Another,
        (None, true) => Met::Nothing,
    };
    match (up, status.code(), &met) {
        (Some(_), Some(0), _) => {}
        (Some(_), Some(7), Met::Ours | Met::Another) => {}
        (None, Some(5), Met::Ours) => assert!(said.contains("os error"), "{said}"),
        // The loader, or the runtime.
        (None, Some(_), Met::Another) => {}
        _ => panic!("{status}, {lines:?}\n{said}"),
    }
    place.check(&mut load, &SMALL);
    met
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn any_step_of_the_first_start_may_fail() {
    for call in ["mkdir", "openat", "pwrite64", "fallocate"] {
        each(None, call, ["EIO", "ENOSPC"], 1);
    }
    for call in ["fdatasync", "fsync", "rename"] {
        each(None, call, ["EIO", "EIO"], 3);
    }
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn any_step_of_a_start_after_a_kill_may_fail() {
    let before = Before::new();
    for call in ["openat", "pwrite64"] {
        each(Some(&before), call, ["EIO", "ENOSPC"], 3);
    }
    for call in ["fdatasync", "fsync", "rename", "pread64"] {
        each(Some(&before), call, ["EIO", "EIO"], 1);
    }
    // EINVAL: a file system that cannot exchange two names.
    for error in ["EIO", "EINVAL"] {
        each(Some(&before), "renameat2", [error, error], 1);
    }
}
